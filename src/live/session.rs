//! The task of one publishing channel: step 7 of the walk.
//!
//! In:  publishers, one after the other, and their media events. Out: the channel's playlists
//! (`output`), its [`Status`].
//! Life: Starting -> Live -> (lost) Held -> Live … -> ended by an explicit unpublish, a refusal, the
//! hold's expiry or the server's stop. The playlists belong to the channel, each stream session to
//! one publish. The first durable step is the epoch: nothing is announced before it is stored.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::output::{Output, Place};
use super::registry::{Attach, Context, State, Status, lock};
use super::start::{LONG_GOP, Ready, Start, Verdict};
use crate::ingest::{EndReason, MediaEvent, MediaReceiver, Metadata, Refusal, RefusalCode};
use crate::media::codec::aac;
use crate::media::{AudioTrack, Sample, TrackKind, Tracks};
use crate::model::repository::EPOCH_MSN_RESERVE;
use crate::packaging;

/// How long storing an epoch may take before the publisher is turned away.
const EPOCH_DEADLINE: Duration = Duration::from_secs(10);

/// One publisher of the channel.
struct Publisher {
    stream_id: String,
    media_rx: MediaReceiver,
    stop_tx: oneshot::Sender<Refusal>,
    metadata: Metadata,
    /// The audio configuration in force, if it can be carried.
    audio: Option<Arc<aac::Config>>,
    phase: Phase,
}

enum Phase {
    /// The first GOP is held.
    Starting(Start),
    /// Samples flow; `wanted` becomes `current` at the next IDR picture.
    Live { current: Tracks, wanted: Tracks },
}

/// What ends a publisher.
enum Ending {
    /// It said goodbye.
    Unpublished,
    /// It was lost, in words.
    Lost(String),
    /// It cannot be carried, in words for the streamer.
    Refused(String),
}

/// The task's own state.
pub(super) struct ChannelTask {
    context: Arc<Context>,
    status: Arc<Mutex<Status>>,
    output: Option<Output>,
    epoch: u64,
    /// MSNs below this are reserved in the database.
    reserved_msn: u64,
    held_until: Option<Instant>,
}

impl ChannelTask {
    pub(super) fn new(context: Arc<Context>, status: Arc<Mutex<Status>>) -> Self {
        Self {
            context,
            status,
            output: None,
            epoch: 0,
            reserved_msn: 0,
            held_until: None,
        }
    }

    /// Serves publishers until the channel's playlists end; gives back those not served.
    pub(super) async fn run(
        mut self,
        first: Attach,
        mut attach_rx: mpsc::Receiver<Attach>,
    ) -> Vec<Attach> {
        let token = self.context.tasks.token().clone();
        let mut publisher = Some(Self::welcome(first));
        loop {
            let held_until = self.held_until;
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                Some(attach) = attach_rx.recv() => {
                    if let Some(old) = publisher.take() {
                        self.replace(old);
                    }
                    publisher = Some(Self::welcome(attach));
                }
                event = next_event(&mut publisher) => {
                    let Some(current) = &mut publisher else { continue };
                    let Err(ending) = self.handle(current, event).await else { continue };
                    if let Some(current) = publisher.take() && self.part_with(current, ending) {
                        break;
                    }
                }
                () = sleep_until(held_until), if publisher.is_none() => {
                    tracing::info!("the publisher did not return; ending the stream");
                    break;
                }
            }
        }
        self.finish().await;
        attach_rx.close();
        let mut unserved = Vec::new();
        while let Ok(attach) = attach_rx.try_recv() {
            unserved.push(attach);
        }
        unserved
    }

    fn welcome(attach: Attach) -> Publisher {
        tracing::info!(
            session.id = attach.stream_id,
            encoder = attach.encoder,
            "publisher attached"
        );
        Publisher {
            stream_id: attach.stream_id,
            media_rx: attach.media_rx,
            stop_tx: attach.stop_tx,
            metadata: Metadata::default(),
            audio: None,
            phase: Phase::Starting(Start::default()),
        }
    }

    /// A newer connection takes the channel over: the older one is half-open or unwanted.
    fn replace(&mut self, old: Publisher) {
        tracing::info!(
            session.id = old.stream_id,
            "publisher replaced by a newer connection"
        );
        old.stop("replaced by a newer connection with the same stream key");
        self.hold();
    }

    /// Ends a publisher's part; whether the channel's playlists end with it.
    fn part_with(&mut self, publisher: Publisher, ending: Ending) -> bool {
        let stream_id = publisher.stream_id.as_str();
        match ending {
            Ending::Unpublished => {
                tracing::info!(session.id = stream_id, "publisher unpublished");
                true
            }
            Ending::Lost(reason) => {
                tracing::warn!(session.id = stream_id, reason, "publisher lost");
                self.hold();
                self.output.is_none()
            }
            Ending::Refused(reason) => {
                tracing::warn!(session.id = stream_id, reason, "publisher refused");
                metrics::counter!("weir_streams_refused_total").increment(1);
                let was_live = matches!(publisher.phase, Phase::Live { .. });
                publisher.stop(&reason);
                was_live || self.output.is_none()
            }
        }
    }

    /// Closes the open segment and lets the playlists wait, from the first loss on.
    fn hold(&mut self) {
        if let Some(output) = &mut self.output {
            output.interrupt();
            let hold = Duration::from_secs(self.context.config.hold_seconds);
            self.held_until.get_or_insert_with(|| Instant::now() + hold);
            lock(&self.status).state = State::Held;
        }
    }

    async fn handle(&mut self, publisher: &mut Publisher, event: MediaEvent) -> Result<(), Ending> {
        match event {
            MediaEvent::End(EndReason::Unpublished) => return Err(Ending::Unpublished),
            MediaEvent::End(EndReason::Lost(reason)) => return Err(Ending::Lost(reason)),
            MediaEvent::Metadata(metadata) => publisher.metadata = metadata,
            MediaEvent::Notice(words) => self.notice(words),
            MediaEvent::VideoConfig(config) => match &mut publisher.phase {
                Phase::Starting(start) => start.video_config(config),
                Phase::Live { wanted, .. } => wanted.video.config = config,
            },
            MediaEvent::AudioConfig(config) => self.audio_config(publisher, config),
            MediaEvent::Sample(sample) => return self.sample(publisher, sample).await,
        }
        Ok(())
    }

    /// AAC-LC, mono or stereo, is carried as it is; anything else waits for the ladder.
    fn audio_config(&self, publisher: &mut Publisher, config: Arc<aac::Config>) {
        let is_carried = config.is_stereo_or_mono_lc();
        if !is_carried {
            let words = config.describe();
            self.notice(format!(
                "the audio ({words}) cannot be carried yet: send AAC-LC stereo"
            ));
        } else if !matches!(config.sample_rate, 44_100 | 48_000) {
            let words = config.describe();
            self.notice(format!(
                "the audio ({words}) is passed on as it is; 48000 Hz is safer"
            ));
        }
        publisher.audio = is_carried.then(|| Arc::clone(&config));
        match &mut publisher.phase {
            Phase::Starting(start) if is_carried => start.audio_config(config),
            Phase::Live { wanted, .. } if !is_carried => wanted.audio = None,
            // Only samples make a track: see `live_sample`.
            Phase::Starting(_) | Phase::Live { .. } => {}
        }
    }

    async fn sample(&mut self, publisher: &mut Publisher, sample: Sample) -> Result<(), Ending> {
        match &mut publisher.phase {
            Phase::Starting(start) => match start.push(sample) {
                Verdict::Hold => Ok(()),
                Verdict::Refuse(reason) => Err(Ending::Refused(reason)),
                Verdict::Go(ready) => self.go_live(publisher, ready).await,
            },
            Phase::Live { current, wanted } => {
                let audio = publisher.audio.as_ref();
                self.live_sample(current, wanted, audio, sample)
                    .map_err(refused)
            }
        }
    }

    /// Tracks change at IDR pictures; audio of a configuration not yet in force is left out.
    fn live_sample(
        &mut self,
        current: &mut Tracks,
        wanted: &mut Tracks,
        audio: Option<&Arc<aac::Config>>,
        sample: Sample,
    ) -> Result<(), packaging::Error> {
        let at = self.context.clock.now();
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        match sample.track {
            TrackKind::Video if sample.is_sync && current != wanted => {
                output.change_tracks(wanted.clone(), at)?;
                current.clone_from(wanted);
            }
            TrackKind::Video => {}
            TrackKind::Audio => {
                if wanted.audio.as_ref().map(|track| &track.config) != audio {
                    wanted.audio = audio.map(|config| AudioTrack {
                        config: Arc::clone(config),
                    });
                }
                if current.audio.is_none() || current.audio != wanted.audio {
                    return Ok(());
                }
            }
        }
        output.push(sample, Some(Instant::now()))?;
        self.reserve_msn();
        Ok(())
    }

    /// The stream can pass: epoch, announcement, the held samples.
    async fn go_live(&mut self, publisher: &mut Publisher, ready: Ready) -> Result<(), Ending> {
        if self.output.is_none() {
            self.output = Some(self.open_output().await?);
        }
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        let now = self.context.clock.now();
        let at = now.plus_millis(-ready.held_millis());
        output
            .begin(&ready, declared_bps(&publisher.metadata), at)
            .map_err(refused)?;
        {
            let mut status = lock(&self.status);
            status.stream_id.clone_from(&publisher.stream_id);
            (status.state, status.started, status.fps_millis) = (State::Live, at, ready.fps_millis);
            status.size = (
                ready.tracks.video.config.width,
                ready.tracks.video.config.height,
            );
        }
        self.held_until = None;
        for sample in ready.samples {
            output.push(sample, None).map_err(refused)?;
        }
        let tracks = ready.tracks;
        tracing::info!(
            session.id = publisher.stream_id,
            width = tracks.video.config.width,
            height = tracks.video.config.height,
            fps_millis = ready.fps_millis,
            codecs = tracks.codecs(),
            "live"
        );
        publisher.phase = Phase::Live {
            current: tracks.clone(),
            wanted: tracks,
        };
        Ok(())
    }

    async fn open_output(&mut self) -> Result<Output, Ending> {
        let channel_id = lock(&self.status).channel.id.clone();
        let begun = self.context.epochs.begin_epoch(&channel_id);
        let epoch = match tokio::time::timeout(EPOCH_DEADLINE, begun).await {
            Ok(Ok(epoch)) => epoch,
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot store the playlist epoch");
                return Err(Ending::Refused(
                    "the server's database failed; try again".into(),
                ));
            }
            Err(_) => {
                return Err(Ending::Refused(
                    "the server's database is slow; try again".into(),
                ));
            }
        };
        self.epoch = epoch.number;
        self.reserved_msn = epoch.first_msn + EPOCH_MSN_RESERVE;
        let place = Place {
            channel_id: channel_id.to_string(),
            epoch: epoch.number,
            first_msn: epoch.first_msn,
        };
        let context = &self.context;
        let mut grid = context.grid;
        if let Some(part_target_ms) = lock(&self.status).channel.part_target_ms {
            grid.part_target_ms = part_target_ms;
        }
        Ok(Output::new(place, &grid, Arc::clone(&context.directory)))
    }

    /// Moves the reservation on long before a very long stream reaches its end.
    fn reserve_msn(&mut self) {
        let Some(output) = &self.output else { return };
        if output.next_msn() + EPOCH_MSN_RESERVE / 2 < self.reserved_msn {
            return;
        }
        self.reserved_msn += EPOCH_MSN_RESERVE;
        let (epochs, epoch, until) = (
            Arc::clone(&self.context.epochs),
            self.epoch,
            self.reserved_msn,
        );
        let channel_id = lock(&self.status).channel.id.clone();
        self.context
            .tasks
            .spawn_cancellable("extend epoch", async move {
                if let Err(error) = epochs.extend_epoch(&channel_id, epoch, until).await {
                    tracing::error!(%error, "cannot reserve media sequence numbers");
                }
            });
    }

    fn notice(&self, words: String) {
        tracing::warn!(words, "notice for the streamer");
        let notices = &mut lock(&self.status).notices;
        if !notices.contains(&words) && notices.len() < 16 {
            notices.push(words);
        }
    }

    /// Ends the playlists; they stay fetchable for a while.
    async fn finish(&mut self) {
        let Some(mut output) = self.output.take() else {
            return;
        };
        let next_msn = output.end();
        let (context, epoch) = (Arc::clone(&self.context), self.epoch);
        let channel_id = lock(&self.status).channel.id.clone();
        tracing::info!(channel.id = %channel_id, epoch, next_msn, "stream ended");
        let stored = context.epochs.end_epoch(&channel_id, epoch, next_msn);
        if !matches!(
            tokio::time::timeout(EPOCH_DEADLINE, stored).await,
            Ok(Ok(()))
        ) {
            tracing::warn!(
                "cannot store the last media sequence number; the next epoch skips ahead"
            );
        }
        let ended = Duration::from_secs(context.config.ended_seconds);
        let directory = Arc::clone(&context.directory);
        context.tasks.spawn_cancellable("retire epoch", async move {
            tokio::time::sleep(ended).await;
            directory.forget(channel_id.as_str(), epoch);
            drop(output);
        });
    }
}

impl Publisher {
    fn stop(self, description: &str) {
        if self
            .stop_tx
            .send(Refusal::new(RefusalCode::Rejected, description))
            .is_err()
        {
            tracing::debug!(
                session.id = self.stream_id,
                "the publisher had left already"
            );
        }
    }
}

fn refused(error: packaging::Error) -> Ending {
    match error {
        packaging::Error::GopTooLong { .. } => Ending::Refused(LONG_GOP.to_owned()),
        other => Ending::Refused(other.to_string()),
    }
}

/// Bits per second of both tracks as the encoder declares them, if it declares the video's.
fn declared_bps(metadata: &Metadata) -> Option<u64> {
    let kbps = metadata.video_data_rate_kbps? + metadata.audio_data_rate_kbps.unwrap_or(0.0);
    // What no encoder sends says nothing about this one.
    let is_plausible = (1.0..=1_000_000.0).contains(&kbps);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range"
    )]
    is_plausible.then_some((kbps * 1000.0) as u64)
}

/// The publisher's next event; never resolves without a publisher.
async fn next_event(publisher: &mut Option<Publisher>) -> MediaEvent {
    let Some(publisher) = publisher else {
        return std::future::pending().await;
    };
    let lost = || MediaEvent::End(EndReason::Lost("the connection's task ended".into()));
    publisher.media_rx.recv().await.unwrap_or_else(lost)
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
