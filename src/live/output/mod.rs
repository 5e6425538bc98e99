//! A channel's playlists while it is live: the source's samples in, announced windows out.
//!
//! In:  samples with their arrival, the transcoder's products, a new [`Setup`] when the source
//! changes. Out: parts in the windows, their snapshots in the directory.
//! One grid: either the passed-through source leads and every part of it is a span that all other
//! renditions fill, or the transcoder's frame grid is cut and all renditions fill the spans.
//! Order at each part: bytes reachable, then waiters woken (both are one snapshot).
//! Not here: one rendition's own state (`rendition`), which renditions there are (`plan`).

mod brew;
mod cadence;
mod ending;
mod filler;
mod missing;
mod on_demand;
mod rendition;
mod restored;
mod run;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

pub(super) use self::filler::{Filler, Slate, SlatePlan};
pub(super) use self::on_demand::RungEvent;

use self::cadence::Cadence;
use self::on_demand::OnDemand;
use self::rendition::{Rendition, variant};
use self::run::{Cutter, Run, silence};
use super::SourceConfig;
use super::plan::Setup;
use crate::base::clock::WallTime;
use crate::media::codec::VideoConfig;
use crate::media::{Sample, TrackKind};
use crate::packaging::segmenter::{Segmenter, Span};
use crate::packaging::{self, Author, Cue, Packager, Part};
use crate::playlist::{self, AdBreak, Directory, Expected, LiveChannel, RungDemand, Variant};
use crate::transcode::ladder::{Ladder, RungAudio, RungVideo};
use crate::transcode::{Output as Made, Started};

/// How far pictures may be ahead of sound that is being encoded: as much as a start holds back.
const ENCODED_AUDIO_WAIT: i64 = 270_000;

/// The windows of one playlist epoch, and what feeds them.
pub(super) struct Output {
    packaging: packaging::Config,
    ladder: Ladder,
    renditions: Vec<Rendition>,
    run: Option<Run>,
    /// If rungs are encoded on demand; who asks for one wakes it.
    on_demand: Option<OnDemand>,
    wake: Arc<Notify>,
    cadence: Cadence,
    /// How many texts have been shown.
    said: u32,
    directory: Arc<Directory>,
    channel: Arc<LiveChannel>,
    /// Until it is announced: who asks for the channel meanwhile waits. A transcoder's first part comes later than
    /// the word that the channel is live.
    expected: Option<Expected>,
    is_ended: bool,
}

/// What happens without the publisher.
pub(super) enum Next {
    /// The transcoder made something, or has ended.
    Made(Option<Made>),
    /// Something about the rungs that are encoded on demand.
    Rung(RungEvent),
}

/// Which channel and epoch an [`Output`] writes.
pub(super) struct Place {
    /// The channel's id.
    pub(super) channel_id: String,
    /// The durable epoch.
    pub(super) epoch: u64,
    /// The epoch's first media sequence number.
    pub(super) first_msn: u64,
}

/// What a timeline begins with.
pub(super) struct Beginning<'a> {
    /// What the source sends.
    pub(super) source: &'a SourceConfig,
    /// The renditions; as many as the epoch has.
    pub(super) setup: Setup,
    /// What the setup's job became.
    pub(super) started: Option<Started>,
    /// What the multivariant playlist says of a source that is passed through.
    pub(super) source_variant: Variant,
    /// When the first picture was taken.
    pub(super) at: WallTime,
}

impl Output {
    /// Empty windows of the renditions of `ladder`; nothing is announced before the first part.
    pub(super) fn new(
        place: Place,
        grid: &playlist::Config,
        ladder: &Ladder,
        directory: Arc<Directory>,
    ) -> Self {
        let wake = Arc::new(Notify::new());
        let demand = || RungDemand::new(Instant::now(), Arc::clone(&wake));
        let rungs = ladder.rungs.iter().map(|rung| {
            let is_encoded = matches!(rung.video, RungVideo::Encode { .. });
            let demand = is_encoded.then(|| Arc::new(demand()));
            Rendition::new(
                &rung.name,
                rung.is_listed_always,
                (grid, place.first_msn),
                demand,
            )
        });
        let (renditions, handles) = rungs.unzip();
        let expected = directory.expect(&place.channel_id);
        let channel = directory.prepare(place.channel_id, place.epoch, handles);
        Self {
            packaging: packaging::Config {
                part_target_ms: grid.part_target_ms,
                target_duration_s: grid.target_duration_s,
            },
            ladder: ladder.clone(),
            renditions,
            run: None,
            on_demand: None,
            wake,
            cadence: Cadence::new(grid.part_target_ms),
            said: 0,
            directory,
            channel: Arc::new(channel),
            expected: Some(expected),
            is_ended: false,
        }
    }

    /// The renditions of this epoch.
    pub(super) fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// A timeline begins; the one before it has been closed by [`Output::interrupt`].
    pub(super) fn begin(&mut self, beginning: Beginning<'_>) -> Result<(), packaging::Error> {
        let Beginning {
            source,
            setup,
            started,
            source_variant,
            at,
        } = beginning;
        let makes_rungs = setup.recipe.is_some();
        let (transcoder, made_rx, made) = match started {
            None => (None, None, (Vec::new(), Vec::new())),
            // Nothing is encoded all the time.
            Some(started) if makes_rungs && setup.encode_slots.is_empty() => {
                (None, None, (started.video, started.audio))
            }
            Some(started) => (
                Some(started.transcoder),
                Some(started.output_rx),
                (started.video, started.audio),
            ),
        };
        let mut run = Run {
            needs_transcoder: transcoder.is_some(),
            transcoder,
            made_rx,
            is_on_demand: makes_rungs,
            rung_slots: setup.rung_slots,
            encode_slots: setup.encode_slots,
            ..Run::led_by_ticks(Segmenter::new(&self.packaging, true))
        };
        for (slot, rung) in setup.ladder.rungs.iter().enumerate() {
            if rung.video == RungVideo::Missing {
                run.missing_slots.push(slot);
                continue;
            }
            let tracks = run.tracks(slot, rung, source, &made);
            let is_leader = matches!(rung.video, RungVideo::Source);
            let mut packager = if is_leader {
                run.cutter = Cutter::Leader(slot);
                Packager::new(&self.packaging, tracks)?
            } else {
                Packager::following(&self.packaging, tracks)?
            };
            if matches!(rung.audio, RungAudio::Encode { .. }) {
                packager.wait_for_audio(ENCODED_AUDIO_WAIT);
            }
            if matches!(rung.audio, RungAudio::Source) && source.audio.is_some() {
                run.source_audio_slots.push(slot);
            }
            if matches!(rung.video, RungVideo::None) {
                run.sound_only_slots.push(slot);
            }
            let variant = if is_leader {
                Variant {
                    codecs: packager.init().tracks.codecs(),
                    ..source_variant.clone()
                }
            } else {
                variant(rung, &packager)
            };
            let Some(rendition) = self.renditions.get_mut(slot) else {
                continue;
            };
            rendition.begin(packager, variant, at);
            if slot == 0 {
                rendition.keep_gop();
            }
        }
        self.begin_missing(&run.missing_slots, at)?;
        run.silence = silence(source, run.source_audio_slots.is_empty());
        if let Some(job) = setup.recipe {
            self.begin_rungs(job, &run, &setup.ladder);
        }
        self.ladder = setup.ladder;
        self.run = Some(run);
        if self.is_announced() {
            // The hint of the coming MAP (rule 29).
            self.publish(&vec![true; self.renditions.len()]);
        }
        Ok(())
    }

    /// A sample of the source that arrived at `arrival`; `None` for one that was held.
    pub(super) fn push(
        &mut self,
        sample: Sample,
        arrival: Option<Instant>,
    ) -> Result<(), packaging::Error> {
        let Some(run) = &mut self.run else {
            return Ok(());
        };
        if sample.track == TrackKind::Video {
            let dts = sample.dts;
            let silent = run.silence.as_mut().map(|silence| silence.before(dts));
            for sample in silent.unwrap_or_default() {
                self.push_sound(&sample);
            }
            self.push_picture(sample, arrival)?;
            self.brew();
        } else if run.silence.as_mut().is_none_or(|s| s.admit(&sample)) {
            self.push_sound(&sample);
        }
        self.settle(Vec::new(), arrival);
        Ok(())
    }

    fn push_picture(
        &mut self,
        sample: Sample,
        arrival: Option<Instant>,
    ) -> Result<(), packaging::Error> {
        let Some(run) = &mut self.run else {
            return Ok(());
        };
        let mut opens_at = None;
        run.seen = sample.dts;
        if let Cutter::Leader(slot) = run.cutter
            && let Some(leader) = self.renditions.get_mut(slot)
        {
            let has_opened = leader.push(sample.clone(), arrival)?;
            let shift = leader.packager.as_ref().map_or(0, Packager::decode_shift);
            opens_at = has_opened.then_some(sample.dts + shift);
            run.shift = shift;
            if let Some(on_demand) = &mut self.on_demand {
                if has_opened {
                    on_demand.open(sample.dts, shift, &mut self.renditions);
                }
                on_demand.picture(&sample, arrival, opens_at);
            }
            for slot in &run.sound_only_slots {
                self.renditions[*slot].picture_until(sample.dts, false);
            }
        }
        for slot in &run.missing_slots {
            self.renditions[*slot].picture_until(sample.dts, true);
        }
        if let Some(transcoder) = &mut run.transcoder
            && !transcoder.video(sample, arrival, opens_at)
        {
            // Without a handle its other threads end too, and then the products, which tells that it is lost.
            run.transcoder = None;
        }
        self.miss_pictures();
        Ok(())
    }

    /// While a transcoder is lost nothing will come of the pictures up to now: their spans are gaps at once.
    fn miss_pictures(&mut self) {
        let is_lost = |run: &&Run| run.is_lost() && !run.is_on_demand;
        let Some(run) = self.run.as_ref().filter(is_lost) else {
            return;
        };
        for slot in &run.rung_slots {
            self.renditions[*slot].picture_until(run.seen + 1, true);
        }
    }

    fn push_sound(&mut self, sample: &Sample) {
        let Some(run) = &mut self.run else { return };
        for slot in &run.source_audio_slots {
            push_made(&mut self.renditions[*slot], sample.clone(), None);
        }
        if let Some(transcoder) = &mut run.transcoder {
            transcoder.audio(sample.clone());
        }
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.sound(0, sample);
        }
    }

    /// What the multivariant playlist says of a source that is passed through.
    pub(super) fn describe_source(&mut self, variant: Variant) {
        if let Some(Cutter::Leader(slot)) = self.run.as_ref().map(|run| &run.cutter) {
            self.renditions[*slot].describe(variant);
        }
    }

    /// The source's parameter sets change, at the next picture; viewers see nothing of it.
    pub(super) fn reconfigure(&mut self, config: &Arc<VideoConfig>) {
        if let Some(transcoder) = self.run.as_mut().and_then(|run| run.transcoder.as_mut()) {
            transcoder.video_config(Arc::clone(config));
        }
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.reconfigure(config);
        }
    }

    /// What the transcoder made next, `None` when it has ended; or what happened to the rungs that are encoded on
    /// demand. Never resolves without either. Cancel safe.
    pub(super) async fn next(&mut self) -> Next {
        let made = async {
            match self.run.as_mut().and_then(|run| run.made_rx.as_mut()) {
                Some(made_rx) => made_rx.recv().await,
                None => std::future::pending().await,
            }
        };
        let rung = async {
            match &mut self.on_demand {
                Some(on_demand) => on_demand.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            made = made => Next::Made(made),
            event = rung => Next::Rung(event),
        }
    }

    /// The transcoder has ended without being asked to: what it owes becomes gaps. Who passes the source on does not
    /// wait for sound that was to be encoded.
    pub(super) fn lose_transcoder(&mut self) {
        let Some(run) = &mut self.run else { return };
        (run.transcoder, run.made_rx) = (None, None);
        for slot in run.encode_slots.iter().flatten() {
            self.renditions[*slot].wait_for_sound(0);
        }
        self.miss_pictures();
        self.settle(Vec::new(), None);
    }

    /// Whether a transcoder was lost and not replaced.
    pub(super) fn lacks_transcoder(&self) -> bool {
        let run = self.run.as_ref();
        run.is_some_and(Run::is_lost)
    }

    /// Goes on with a new transcoder of the same job, from the next picture on, an IDR picture; whether
    /// what it makes can be decoded with what viewers have.
    pub(super) fn replace_transcoder(&mut self, started: Started) -> bool {
        let Some(run) = &mut self.run else {
            return false;
        };
        let tracks = |slot: &usize| self.renditions.get(*slot).and_then(Rendition::tracks);
        let sees = |(slot, config): (&usize, &Arc<_>)| {
            let video = tracks(slot).and_then(|tracks| tracks.video.as_ref());
            video.is_some_and(|track| track.config == *config)
        };
        let fits = run.rung_slots.len() == started.video.len()
            && run.rung_slots.iter().zip(&started.video).all(sees);
        if fits {
            run.transcoder = Some(started.transcoder);
            run.made_rx = Some(started.output_rx);
            for slot in run.encode_slots.iter().flatten() {
                self.renditions[*slot].wait_for_sound(ENCODED_AUDIO_WAIT);
            }
        }
        fits
    }

    /// Whether the transcoder's frames are the clock, and not the source's pictures.
    pub(super) fn is_led_by_ticks(&self) -> bool {
        let run = self.run.as_ref();
        run.is_some_and(|run| matches!(run.cutter, Cutter::Ticks(_)))
    }

    /// Whether a timeline has begun and is not closed.
    pub(super) fn is_running(&self) -> bool {
        self.run.is_some()
    }

    /// Takes a product of the transcoder; whether its timeline can go on.
    pub(super) fn take(&mut self, made: Made) -> bool {
        let Some(run) = &mut self.run else {
            return true;
        };
        let mut fits = true;
        let mut spans = Vec::new();
        match made {
            Made::Tick { pts, opens_segment } => {
                if let Cutter::Ticks(segmenter) = &mut run.cutter {
                    if let Err(error) = segmenter.push(pts, opens_segment) {
                        tracing::error!(%error, pts, "the frame grid does not fit its segments");
                        fits = false;
                    }
                    spans.extend(std::iter::from_fn(|| segmenter.poll()));
                }
                run.ticked = pts;
                for slot in &run.sound_only_slots {
                    self.renditions[*slot].picture_until(pts, false);
                }
                for slot in &run.missing_slots {
                    self.renditions[*slot].picture_until(pts, true);
                }
            }
            Made::Video {
                rung,
                sample,
                arrival,
            } => {
                let slot = run.rung_slots.get(rung);
                if let Some(rendition) = slot.and_then(|slot| self.renditions.get_mut(*slot)) {
                    push_made(rendition, run.on_the_grid(sample), Some(arrival));
                }
            }
            Made::VideoUntil {
                rung,
                until,
                is_lost,
            } => {
                let slot = run.rung_slots.get(rung);
                if let Some(rendition) = slot.and_then(|slot| self.renditions.get_mut(*slot)) {
                    rendition.picture_until(until - run.shift, is_lost);
                }
            }
            Made::Audio { encode, sample } => {
                for slot in run.encode_slots.get(encode).into_iter().flatten() {
                    push_made(&mut self.renditions[*slot], sample.clone(), None);
                }
                if let Some(on_demand) = &mut self.on_demand {
                    on_demand.sound(1 + encode, &sample);
                }
            }
            Made::Shed { .. } | Made::Restored { .. } | Made::Failed { .. } => return true,
        }
        self.settle(spans, None);
        fits
    }

    /// The name of the rendition that a rung of the transcoder is.
    pub(super) fn rung_name(&self, rung: usize) -> Arc<str> {
        let slot = self.run.as_ref().and_then(|run| run.rung_slots.get(rung));
        slot.and_then(|slot| self.renditions.get(*slot))
            .map_or_else(|| "?".into(), |rendition| Arc::clone(&rendition.name))
    }

    /// Moves finished parts into the windows, the leader's first: they are the spans of the others.
    fn settle(&mut self, mut spans: Vec<Span>, arrival: Option<Instant>) {
        let mut has_changed = vec![false; self.renditions.len()];
        let leader = match self.run.as_ref().map(|run| &run.cutter) {
            Some(Cutter::Leader(slot)) => Some(*slot),
            _ => None,
        };
        let mut parts = 0;
        if let Some(slot) = leader {
            has_changed[slot] = self.renditions[slot].drain(|part| {
                spans.push(part.span());
                parts += 1;
            });
        }
        if let Some(on_demand) = &mut self.on_demand {
            for span in &spans {
                on_demand.span(*span);
            }
        }
        for (slot, rendition) in self.renditions.iter_mut().enumerate() {
            if Some(slot) != leader {
                for span in &spans {
                    rendition.owe(*span);
                }
                let counted = u64::from(slot == 0 && leader.is_none());
                has_changed[slot] = rendition.drain(|_: &Part| parts += counted);
            }
        }
        self.cadence.note(parts, Instant::now());
        if has_changed.contains(&true) {
            self.publish(&has_changed);
            if let Some(arrival) = arrival.filter(|_| leader.is_some()) {
                metrics::histogram!("weir_part_own_delay_seconds").record(arrival.elapsed());
            }
        }
    }

    /// Has a text shown in all renditions at the newest moment, which none has made a part of yet; whether there is one.
    pub(super) fn say(&mut self, author: Author, text: &str) -> bool {
        let Some((at, shift)) = self.run.as_ref().and_then(Run::newest) else {
            return false;
        };
        let cue = Cue::text(at, shift, self.said, author, text);
        self.said = self.said.wrapping_add(1);
        for rendition in &mut self.renditions {
            if let Some(packager) = rendition.taker() {
                packager.push_cue(cue.clone());
            }
        }
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.say(&cue);
        }
        true
    }

    /// Lists an ad break in all renditions, each from its next part on.
    pub(super) fn add_break(&mut self, ad_break: &AdBreak) {
        for rendition in &mut self.renditions {
            rendition.window.add_break(ad_break.clone());
        }
    }

    /// What became of the sound since the last call, in words.
    pub(super) fn take_notice(&mut self) -> Option<&'static str> {
        self.run.as_mut()?.silence.as_mut()?.take_notice()
    }

    /// Parts that became fetchable since the last call, and how many of them were late.
    pub(super) fn take_cadence(&mut self) -> (u64, u64) {
        self.cadence.take()
    }

    /// The first media sequence number that no rendition has used yet.
    pub(super) fn next_msn(&self) -> u64 {
        let msns = self.renditions.iter().map(Rendition::next_msn);
        msns.max().unwrap_or(0)
    }

    /// Shows the renditions that have changed, each with what the others have.
    fn publish(&mut self, has_changed: &[bool]) {
        let reports: Vec<_> = self.renditions.iter().map(Rendition::report).collect();
        for (slot, rendition) in self.renditions.iter_mut().enumerate() {
            if has_changed.get(slot) == Some(&true) {
                let others = reports
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != slot);
                rendition.publish(others.filter_map(|(_, report)| report.clone()).collect());
            }
        }
        if !self.is_announced() && self.run.is_some() && reports.iter().any(Option::is_some) {
            self.announce();
        }
    }

    fn announce(&mut self) {
        self.directory.announce(Arc::clone(&self.channel));
        self.expected = None;
    }

    fn is_announced(&self) -> bool {
        self.expected.is_none()
    }
}

impl Drop for Output {
    /// Playlists that nobody has ended, because their task panicked, would say for ever that they are live.
    fn drop(&mut self) {
        if self.is_announced() && !self.is_ended {
            self.directory
                .forget(&self.channel.channel_id, self.channel.epoch);
        }
    }
}

/// A follower's packager fails by what the transcoder made only if that is no stream at all; its
/// rendition then has a gap.
fn push_made(rendition: &mut Rendition, sample: Sample, arrival: Option<Instant>) {
    if let Err(error) = rendition.push(sample, arrival) {
        tracing::error!(rendition = &*rendition.name, %error, "cannot package what was encoded");
        rendition.abandon();
    }
}

#[cfg(test)]
mod tests;
