//! The task of one publishing channel: step 7 of the walk.
//!
//! In:  publishers, one after the other, and their media events. Out: the channel's playlists
//! (`output`), its [`Status`].
//! Life: Starting -> Live -> (lost) Held -> Live … -> ended by an explicit unpublish, a refusal, the
//! hold's expiry or the server's stop. The playlists belong to the channel, each stream session to
//! one publish. The first durable step is the epoch: nothing is announced before it is stored.
//! Not here: what an event means (`intake`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::intake::{Action, Ending, Intake};
use super::output::{Output, Place};
use super::registry::{Attach, Context, State, Status, lock};
use super::start::Ready;
use crate::ingest::{EndReason, MediaEvent, MediaReceiver, Refusal, RefusalCode};
use crate::media::TrackKind;
use crate::model::repository::EPOCH_MSN_RESERVE;
use crate::packaging;

/// How long storing an epoch may take before the publisher is turned away.
const EPOCH_DEADLINE: Duration = Duration::from_secs(10);
/// How long after its attachment a publisher must have become watchable.
const START_DEADLINE: Duration = Duration::from_secs(15);
/// How long before ENDLIST the last part is listed.
const LAST_PART_LEAD: Duration = Duration::from_secs(1);
/// Most notices kept for the streamer.
const MAX_NOTICES: usize = 16;

/// One publisher of the channel.
struct Publisher {
    stream_id: String,
    media_rx: MediaReceiver,
    stop_tx: oneshot::Sender<Refusal>,
    intake: Intake,
    /// When it must be watchable, or its next picture must have come.
    deadline: Instant,
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
        let mut publisher = Some(self.welcome(first));
        loop {
            // With a publisher its own deadline counts, without one the hold's.
            let deadline = publisher.as_ref().map(|p| p.deadline).or(self.held_until);
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                Some(attach) = attach_rx.recv() => {
                    if let Some(old) = publisher.take() {
                        self.replace(old);
                    }
                    publisher = Some(self.welcome(attach));
                }
                event = next_event(&mut publisher) => {
                    let Some(current) = &mut publisher else { continue };
                    let action = current.intake.take(event);
                    let Err(ending) = self.act(current, action).await else { continue };
                    if let Some(current) = publisher.take() && self.part_with(current, ending) {
                        break;
                    }
                }
                () = sleep_until(deadline) => {
                    let Some(current) = publisher.take() else {
                        tracing::info!("the publisher did not return; ending the stream");
                        break;
                    };
                    let ending = current.overdue();
                    if self.part_with(current, ending) {
                        break;
                    }
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

    fn welcome(&self, attach: Attach) -> Publisher {
        tracing::info!(
            session.id = attach.stream_id,
            encoder = attach.encoder,
            "publisher attached"
        );
        let mut grid = self.context.grid;
        if let Some(part_target_ms) = attach.channel.part_target_ms {
            grid.part_target_ms = part_target_ms;
        }
        let mut status = lock(&self.status);
        status.channel = attach.channel;
        status.notices.clear();
        Publisher {
            stream_id: attach.stream_id,
            media_rx: attach.media_rx,
            stop_tx: attach.stop_tx,
            intake: Intake::new(grid),
            deadline: Instant::now() + START_DEADLINE,
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
                publisher.stop(&reason);
                self.hold();
                self.output.is_none()
            }
            Ending::Refused(reason) => {
                tracing::warn!(session.id = stream_id, reason, "publisher refused");
                metrics::counter!("weir_streams_refused_total").increment(1);
                publisher.stop(&reason);
                // Refused before it was live, it leaves the hold as it found it.
                self.output.is_none() || self.held_until.is_none()
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

    async fn act(&mut self, publisher: &mut Publisher, action: Action) -> Result<(), Ending> {
        match action {
            Action::Begin(ready) => self.go_live(publisher, ready).await,
            Action::Tell(words) => {
                self.notice(words);
                Ok(())
            }
            Action::Leave(ending) => Err(ending),
            other => {
                self.package(publisher, other)?;
                self.reserve_msn();
                Ok(())
            }
        }
    }

    /// Carries out what concerns an open output.
    fn package(&mut self, publisher: &mut Publisher, action: Action) -> Result<(), Ending> {
        let at = self.context.clock.now();
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        let sample = match action {
            Action::Push(sample) => sample,
            Action::Change(tracks, sample) => {
                output
                    .change_tracks(tracks, at)
                    .map_err(|error| refused(&error))?;
                sample
            }
            Action::Interrupt => {
                tracing::warn!(
                    session.id = publisher.stream_id,
                    "no keyframe in time; waiting"
                );
                output.interrupt();
                return Ok(());
            }
            Action::Leave(ending) => return Err(ending),
            Action::Wait | Action::Tell(_) | Action::Begin(_) => return Ok(()),
        };
        if sample.track == TrackKind::Video {
            let silence = Duration::from_secs(self.context.config.video_silence_seconds);
            publisher.deadline = Instant::now() + silence;
        }
        match output.push(sample.clone(), Some(publisher.media_rx.arrival())) {
            Ok(()) => Ok(()),
            Err(packaging::Error::GopTooLong { .. }) => {
                let action = publisher.intake.overrun(sample);
                self.package(publisher, action)
            }
            Err(error) => Err(refused(&error)),
        }
    }

    /// The stream can pass: epoch, announcement, the held samples.
    async fn go_live(&mut self, publisher: &mut Publisher, ready: Ready) -> Result<(), Ending> {
        if self.output.is_none() {
            self.output = Some(self.open_output().await?);
        }
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        let at = self.context.clock.now().plus_millis(-ready.held_millis());
        output
            .begin(&ready, publisher.intake.declared_bps(), at)
            .map_err(|error| refused(&error))?;
        for sample in ready.samples {
            output.push(sample, None).map_err(|error| refused(&error))?;
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
        self.held_until = None;
        let silence = Duration::from_secs(self.context.config.video_silence_seconds);
        publisher.deadline = Instant::now() + silence;
        let mut status = lock(&self.status);
        status.stream_id.clone_from(&publisher.stream_id);
        (status.state, status.started, status.fps_millis) = (State::Live, at, ready.fps_millis);
        status.size = (tracks.video.config.width, tracks.video.config.height);
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
        if !notices.contains(&words) && notices.len() < MAX_NOTICES {
            notices.push(words);
        }
    }

    /// Ends the playlists; they stay fetchable for a while.
    async fn finish(&mut self) {
        let Some(mut output) = self.output.take() else {
            return;
        };
        // Low-latency players take no more parts from a playlist that has ENDLIST: they get to
        // know the last one first.
        output.interrupt();
        tokio::time::sleep(LAST_PART_LEAD).await;
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
        // Rule 12: not before a player that starts now could have played it all.
        let window = u64::from(context.grid.window_seconds + context.grid.target_duration_s);
        let ended = Duration::from_secs(context.config.ended_seconds.max(window));
        let directory = Arc::clone(&context.directory);
        context.tasks.spawn_cancellable("retire epoch", async move {
            tokio::time::sleep(ended).await;
            directory.forget(channel_id.as_str(), epoch);
            drop(output);
        });
    }
}

impl Publisher {
    /// What it means that the deadline has passed.
    fn overdue(&self) -> Ending {
        if self.intake.is_live() {
            Ending::Lost("no picture came for too long".to_owned())
        } else {
            let seconds = START_DEADLINE.as_secs();
            Ending::Refused(format!("no watchable picture came within {seconds} s"))
        }
    }

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

fn refused(error: &packaging::Error) -> Ending {
    Ending::Refused(error.to_string())
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
