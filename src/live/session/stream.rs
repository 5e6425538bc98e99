//! What a publisher's events do to its channel's playlists: the part of the task that carries out
//! [`Action`]s.
//!
//! In:  actions, the transcoder's products. Out: timelines begun and fed (`output`), the status.
//! Not here: who publishes and for how long (`session`), what an event means (`intake`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{ChannelTask, EPOCH_DEADLINE, Publisher};
use crate::base::clock::WallTime;
use crate::events::Kind;
use crate::live::SourceConfig;
use crate::live::health::Code;
use crate::live::intake::{Action, Ending};
use crate::live::metadata::Insert;
use crate::live::output::{Beginning, Next, Output, Place};
use crate::live::plan::{self, Facts, Setup};
use crate::live::registry::{State, lock};
use crate::live::start::{Ready, Way};
use crate::media::{Sample, TrackKind};
use crate::model::repository::EPOCH_MSN_RESERVE;
use crate::packaging::{self, Author};
use crate::transcode::ladder::Ladder;
use crate::transcode::{self, FrameRate, Job, Started, Transcoder};

impl ChannelTask {
    pub(super) async fn act(
        &mut self,
        publisher: &mut Publisher,
        action: Action,
    ) -> Result<(), Ending> {
        match action {
            Action::Begin(ready) => self.go_live(publisher, ready).await,
            Action::Tell(code, words) => {
                self.tell(publisher, code, words);
                Ok(())
            }
            Action::Say(text) => {
                self.say(Author::Publisher, &text);
                Ok(())
            }
            Action::Leave(ending) => Err(ending),
            Action::Wait => Ok(()),
            other => {
                self.package(publisher, other).await?;
                self.reserve_msn();
                Ok(())
            }
        }
    }

    /// Puts something of the owner's into the stream.
    pub(super) fn insert(&mut self, insert: Insert) {
        match (insert, &mut self.output) {
            (Insert::Text(text), _) => self.say(Author::Owner, &text),
            (Insert::AdBreak(ad_break), Some(output)) => output.add_break(&ad_break),
            (Insert::AdBreak(ad_break), None) => {
                tracing::warn!(ad_break.id, "an ad break that no playlist can list");
            }
        }
    }

    /// Has a text shown to all who watch.
    pub(super) fn say(&mut self, author: Author, text: &str) {
        let is_said = self
            .output
            .as_mut()
            .is_some_and(|output| output.say(author, text));
        if !is_said {
            tracing::debug!(?author, "metadata that nobody can be shown");
        }
    }

    /// Carries out what concerns an open output.
    async fn package(&mut self, publisher: &mut Publisher, action: Action) -> Result<(), Ending> {
        let mut action = action;
        loop {
            let sample = match action {
                Action::Push(sample) => sample,
                Action::Reconfigure(source, sample) => {
                    self.reconfigure(publisher, source).await?;
                    sample
                }
                Action::Change(source, sample) => {
                    self.change(publisher, source).await?;
                    sample
                }
                Action::Transcode(source, samples, reason) => {
                    return self
                        .transcode_from(publisher, source, samples, reason)
                        .await;
                }
                Action::Resume(source, samples) => {
                    tracing::info!(session.id = publisher.stream_id, "transcoding anew");
                    return self.begin_within(publisher, source, samples).await;
                }
                Action::Interrupt => {
                    tracing::warn!(
                        session.id = publisher.stream_id,
                        "no keyframe in time; waiting"
                    );
                    self.begin_filler().await;
                    return Ok(());
                }
                Action::Leave(ending) => return Err(ending),
                Action::Wait | Action::Tell(..) | Action::Say(_) | Action::Begin(_) => {
                    return Ok(());
                }
            };
            let Some(output) = &mut self.output else {
                return Ok(());
            };
            if sample.track == TrackKind::Video && !output.is_led_by_ticks() {
                publisher.seen = Instant::now();
            }
            if sample.is_sync && sample.track == TrackKind::Video {
                self.replace_transcoder(publisher.facts.clone()).await;
                self.describe_source(publisher);
            }
            let Some(output) = &mut self.output else {
                return Ok(());
            };
            match output.push(sample.clone(), Some(publisher.media_rx.arrival())) {
                Ok(()) => return Ok(()),
                Err(packaging::Error::GopTooLong { .. }) => {
                    action = publisher.intake.overrun(sample);
                }
                Err(error) => return Err(refused(&error)),
            }
        }
    }

    /// What the multivariant playlist says of a source that is passed on is kept true.
    fn describe_source(&mut self, publisher: &mut Publisher) {
        if let (Some(facts), Some(output)) = (&mut publisher.facts, &mut self.output) {
            facts.measure(publisher.intake.measured());
            output.describe_source(plan::source_variant(facts));
        }
    }

    /// The source changes: DISCONTINUITY and a new MAP in all renditions.
    async fn change(
        &mut self,
        publisher: &mut Publisher,
        source: SourceConfig,
    ) -> Result<(), Ending> {
        let Some(facts) = publisher.changed(source) else {
            return Ok(());
        };
        let facts = facts.clone();
        let at = self.context.clock.now();
        self.begin(publisher, &facts, None, at).await
    }

    /// The pictures of a transcoded source change: hidden from viewers if the renditions stay as they
    /// are.
    async fn reconfigure(
        &mut self,
        publisher: &mut Publisher,
        source: SourceConfig,
    ) -> Result<(), Ending> {
        let colour = |facts: &Facts| facts.source.video.picture.colour;
        let known = publisher.facts.as_ref().map(colour);
        let (Some(facts), Some(output)) = (publisher.changed(source), &mut self.output) else {
            return Ok(());
        };
        let channel = lock(&self.status).channel.clone();
        let planned = self
            .context
            .transcoding
            .plan(&channel, facts, Some(output.ladder()));
        // What is encoded says which colours it has: those of the source that it began with.
        if planned.ladder == *output.ladder() && known == Some(colour(facts)) {
            output.reconfigure(&facts.source.video);
            return Ok(());
        }
        let facts = facts.clone();
        let at = self.context.clock.now();
        self.begin(publisher, &facts, None, at).await
    }

    /// The source cannot be passed through any more: the top rendition is encoded.
    async fn transcode_from(
        &mut self,
        publisher: &mut Publisher,
        source: SourceConfig,
        samples: Vec<Sample>,
        reason: String,
    ) -> Result<(), Ending> {
        if let Some(facts) = &mut publisher.facts {
            facts.way = Way::Transcode {
                rate: FrameRate::near(facts.fps_millis),
                reason: Some(reason),
            };
        }
        self.begin_within(publisher, source, samples).await
    }

    /// Begins a timeline in the middle of a GOP, from the last picture in `samples` on.
    async fn begin_within(
        &mut self,
        publisher: &mut Publisher,
        source: SourceConfig,
        samples: Vec<Sample>,
    ) -> Result<(), Ending> {
        let Some(facts) = &mut publisher.facts else {
            return Ok(());
        };
        facts.source = source;
        let facts = facts.clone();
        // What is shown first came when the last picture did.
        let age = publisher.seen.elapsed().as_millis();
        let age = i64::try_from(age).unwrap_or(i64::MAX);
        let at = self.context.clock.now().plus_millis(-age);
        self.begin(publisher, &facts, first_unseen(&samples), at)
            .await?;
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        for sample in samples {
            output.push(sample, None).map_err(|error| refused(&error))?;
        }
        Ok(())
    }

    /// Begins a timeline in all renditions; the one before it is brought to its end.
    async fn begin(
        &mut self,
        publisher: &mut Publisher,
        facts: &Facts,
        first_pts: Option<i64>,
        at: WallTime,
    ) -> Result<(), Ending> {
        if let Some(output) = &mut self.output {
            output.interrupt().await;
        }
        (self.filling, self.lacks_slate) = (None, false);
        if let Way::Transcode {
            reason: Some(reason),
            ..
        } = &facts.way
        {
            let words = format!("the top quality is transcoded: {reason}");
            self.tell(publisher, Code::VideoTranscoded, words);
        }
        let mut facts = facts.clone();
        let (setup, started) = match self.set_up(&facts, first_pts).await {
            Ok(ready) => ready,
            Err(words) if facts.source.audio.is_some() => {
                let words = format!("the audio is left out: {words}");
                self.tell(publisher, Code::AudioUnsupported, words);
                facts.source.audio = None;
                let ready = self.set_up(&facts, first_pts).await;
                ready.map_err(|words| self.failed(publisher, words))?
            }
            Err(words) => return Err(self.failed(publisher, words)),
        };
        if self.output.is_none() {
            self.output = Some(self.open_output(&setup.ladder).await?);
        }
        self.keep_shed(publisher, &setup.shed);
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        let beginning = Beginning {
            source: &facts.source,
            setup,
            started,
            source_variant: plan::source_variant(&facts),
            at,
        };
        output.begin(beginning).map_err(|error| refused(&error))?;
        publisher.intake.is_led_by_ticks(output.is_led_by_ticks());
        publisher.begun = Instant::now();
        publisher.seen = publisher.begun;
        let (width, height) = facts.source.display_size();
        tracing::info!(
            session.id = publisher.stream_id,
            width,
            height,
            fps_millis = facts.fps_millis,
            renditions = output.ladder().rungs.len(),
            way = ?facts.way,
            "timeline begins"
        );
        let mut ingest = facts.source.ingest(&publisher.encoder, facts.declared_bps);
        ingest.tracks.clone_from(&publisher.tracks);
        let mut status = lock(&self.status);
        (status.size, status.fps_millis) = ((width, height), facts.fps_millis);
        status.ingest = Some(ingest);
        Ok(())
    }

    /// These renditions stay shed; all others that were are back.
    pub(super) fn keep_shed(&self, publisher: &Publisher, kept: &BTreeSet<String>) {
        let known = std::mem::replace(&mut lock(&self.status).shed, kept.clone());
        for rendition in known.difference(kept).cloned() {
            self.emit(publisher, Kind::RenditionRestored { rendition });
        }
    }

    /// The stream cannot be carried, by the server's fault.
    fn failed(&self, publisher: &Publisher, words: String) -> Ending {
        let reason = words.clone();
        self.emit(publisher, Kind::StreamFailure { reason });
        Ending::Refused(words)
    }

    /// The renditions of a source, and the transcoder they need; words if it cannot be had.
    async fn set_up(
        &self,
        facts: &Facts,
        first_pts: Option<i64>,
    ) -> Result<(Setup, Option<Started>), String> {
        let channel = lock(&self.status).channel.clone();
        let slots = self.output.as_ref().map(Output::ladder);
        let mut setup = self.context.transcoding.plan(&channel, facts, slots);
        setup.leave_out(&lock(&self.status).shed);
        let Some(job) = setup.job.take() else {
            return Ok((setup, None));
        };
        let job = Job {
            first_pts,
            begins_short: slots.is_none(),
            ..job
        };
        let is_on_demand = setup.on_demand(&job);
        let words = match start_transcoder(job, is_on_demand).await {
            Ok(started) => return Ok((setup, Some(started))),
            Err(words) => words,
        };
        // The source can do without, if it can pass.
        let transcoding = &self.context.transcoding;
        match transcoding.plan_without_encoding(&channel, facts, slots) {
            Some(setup) => Ok((setup, None)),
            None => Err(words),
        }
    }

    /// What happened without the publisher.
    pub(super) async fn take_next(&mut self, next: Next, publisher: &mut Option<Publisher>) {
        match next {
            Next::Made(made) => self.take_made(made, publisher).await,
            Next::Rung(event) => {
                let output = self.output.as_mut();
                if let Some(made) = output.and_then(|output| output.take_rung(event)) {
                    self.take_made(Some(made), publisher).await;
                }
            }
        }
    }

    /// What the transcoder made; `None` if it has ended by itself.
    async fn take_made(
        &mut self,
        made: Option<transcode::Output>,
        publisher: &mut Option<Publisher>,
    ) {
        let Some(output) = &mut self.output else {
            return;
        };
        match made {
            Some(transcode::Output::Shed { rung }) => {
                let name = output.rung_name(rung);
                tracing::warn!(rendition = &*name, "overload: a rendition is shed");
                lock(&self.status).shed.insert(name.to_string());
                let rendition = name.to_string();
                self.emit_made(publisher.as_ref(), Kind::RenditionShed { rendition });
            }
            Some(transcode::Output::Restored { rung }) => {
                let name = output.rung_name(rung);
                tracing::info!(rendition = &*name, "a shed rendition is back");
                lock(&self.status).shed.remove(&*name);
                let rendition = name.to_string();
                self.emit_made(publisher.as_ref(), Kind::RenditionRestored { rendition });
            }
            Some(transcode::Output::Failed { what }) => {
                tracing::error!(what, "the transcoder restarts a part of itself");
            }
            Some(made) => {
                if matches!(made, transcode::Output::Tick { .. })
                    && let Some(publisher) = publisher
                {
                    publisher.seen = Instant::now();
                }
                if !output.take(made) {
                    self.lose_transcoder(publisher).await;
                }
            }
            None => self.lose_transcoder(publisher).await,
        }
    }

    /// Tells what the transcoder made of the publisher's stream.
    fn emit_made(&self, publisher: Option<&Publisher>, kind: Kind) {
        if let Some(publisher) = publisher {
            self.emit(publisher, kind);
        }
    }

    /// The transcoder has ended without being asked to. A source that is passed on goes on, and the other
    /// renditions have gaps until there is a new transcoder, at its next IDR picture; else all go on with the
    /// next picture, or wait for such a one.
    async fn lose_transcoder(&mut self, publisher: &mut Option<Publisher>) {
        tracing::error!("the transcoder has ended; starting anew");
        metrics::counter!("weir_transcode_restarts_total", "what" => "transcoder").increment(1);
        let Some(output) = &mut self.output else {
            return;
        };
        output.lose_transcoder();
        if !output.is_led_by_ticks() {
            return;
        }
        let mut goes_on = false;
        if let Some(publisher) = publisher {
            goes_on = publisher.begin_anew();
            publisher.seen = Instant::now();
        }
        if !goes_on {
            self.begin_filler().await;
        }
    }

    /// At an IDR picture of a source that is passed on: replaces a transcoder that was lost.
    async fn replace_transcoder(&mut self, facts: Option<Facts>) {
        let lacks = self.output.as_ref().is_some_and(Output::lacks_transcoder);
        let Some(facts) = facts.filter(|_| lacks) else {
            return;
        };
        match self.set_up(&facts, None).await {
            Ok((_, Some(started))) => {
                if let Some(output) = &mut self.output
                    && !output.replace_transcoder(started)
                {
                    tracing::error!("the new transcoder does not fit the playlists");
                }
            }
            Ok((_, None)) => {}
            Err(words) => tracing::error!(words, "still no transcoder"),
        }
    }

    /// The stream can begin: epoch, announcement, the held samples.
    pub(super) async fn go_live(
        &mut self,
        publisher: &mut Publisher,
        mut ready: Ready,
    ) -> Result<(), Ending> {
        let facts = Facts {
            bps: publisher
                .intake
                .declared_bps()
                .unwrap_or(ready.measured_bps),
            declared_bps: publisher.intake.declared_bps(),
            measured_bps: ready.measured_bps,
            source: ready.source.clone(),
            fps_millis: ready.fps_millis,
            way: ready.way.clone(),
            segment_ms: self.context.grid.target_duration_s * 1000,
        };
        publisher.facts = Some(facts.clone());
        let mut first_pts = None;
        if self.output.is_some() {
            // Viewers have seen something else meanwhile: they go on with what is newest.
            ready.skip_to_newest();
            first_pts = (ready.way != Way::Pass).then(|| first_unseen(&ready.samples));
        }
        let at = self.context.clock.now().plus_millis(-ready.held_millis());
        self.begin(publisher, &facts, first_pts.flatten(), at)
            .await?;
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        for sample in ready.samples {
            output.push(sample, None).map_err(|error| refused(&error))?;
        }
        tracing::info!(session.id = publisher.stream_id, "live");
        self.held_until = None;
        publisher.seen = Instant::now();
        if publisher.live_since.is_none() {
            publisher.live_since = Some(publisher.seen);
            lock(&self.status).started = at;
            self.emit(publisher, Kind::StreamStart);
        }
        let mut status = lock(&self.status);
        status.stream_id.clone_from(&publisher.stream_id);
        (status.state, status.fps_millis) = (State::Live, facts.fps_millis);
        Ok(())
    }

    /// Rungs of these playlists are encoded when somebody asks, if that is configured.
    pub(super) fn encode_on_demand(&self, output: &mut Output) {
        let config = &self.context.transcoding.config;
        if config.ladder == transcode::Mode::OnDemand {
            let patience = Duration::from_secs(config.idle_rung_seconds);
            output.encode_on_demand(self.context.tasks.clone(), patience);
        }
    }

    async fn open_output(&mut self, ladder: &Ladder) -> Result<Output, Ending> {
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
        let channel = lock(&self.status).channel.clone();
        let grid = self.grid(&channel, channel.part_target_ms);
        self.open_grid = Some(grid);
        let directory = Arc::clone(&self.context.directory);
        let mut output = Output::new(place, &grid, ladder, directory);
        self.encode_on_demand(&mut output);
        Ok(output)
    }
}

impl Publisher {
    /// What is known of its stream from now on, as its source is another one.
    fn changed(&mut self, source: SourceConfig) -> Option<&Facts> {
        let facts = self.facts.as_mut()?;
        facts.change(source, self.intake.declared_bps());
        facts.measure(self.intake.measured());
        Some(facts)
    }
}

/// From when on pictures have to be shown if all of `samples` but the last picture were: the picture
/// that is seen now, if none is new.
fn first_unseen(samples: &[Sample]) -> Option<i64> {
    let mut pictures = samples.iter().filter(|s| s.track == TrackKind::Video);
    let last = pictures.next_back()?.pts();
    match pictures.map(Sample::pts).max() {
        Some(seen) if seen < last => Some(seen + 1),
        Some(seen) => Some(seen),
        None => Some(last),
    }
}

/// Opens decoder and encoders, which takes some hundredths of a second of a processor.
async fn start_transcoder(job: Job, is_on_demand: bool) -> Result<Started, String> {
    let span = tracing::Span::current();
    let start = move || {
        span.in_scope(|| {
            if is_on_demand {
                Transcoder::start_sound(&job)
            } else {
                Transcoder::start(&job)
            }
        })
    };
    let opened = tokio::task::spawn_blocking(start).await;
    let words = match opened {
        Ok(Ok(started)) => return Ok(started),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(words, "cannot start the transcoder");
    Err(format!("the stream cannot be transcoded: {words}"))
}

fn refused(error: &packaging::Error) -> Ending {
    Ending::Refused(error.to_string())
}
