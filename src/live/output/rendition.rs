//! One rendition of a channel: its window and the packager that fills it.
//!
//! In:  samples and, for a follower, the spans its parts must have. Out: its snapshots.
//! Not here: where samples come from, which spans (`output`).

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::base::clock::WallTime;
use crate::media::codec::{VideoConfig, aac};
use crate::media::{Sample, TrackKind, Tracks};
use crate::packaging::segmenter::Span;
use crate::packaging::{Packager, Part};
use crate::playlist::{
    self, RenditionHandle, RenditionReport, RungDemand, Snapshot, Variant, Window,
};
use crate::transcode::ladder::{Rung, RungVideo, SOURCE};
use crate::transcode::silent_frame;

/// Most bytes of the last GOP that are kept for a slate.
const MAX_GOP_BYTES: usize = 16 * 1024 * 1024;
/// How much longer than a start is held a follower may owe parts, in milliseconds. What is later
/// becomes a gap.
const PATIENCE_MS: u32 = 2000;

/// Spans that a follower may owe: a start gives as many at once as a segment has parts.
fn max_owed(grid: &playlist::Config) -> usize {
    let most_ms = grid.target_duration_s.saturating_mul(1000) + PATIENCE_MS;
    usize::try_from(most_ms.div_ceil(grid.part_target_ms.max(1))).unwrap_or(usize::MAX)
}

/// A slot of the channel's ladder.
pub(super) struct Rendition {
    /// Its name and folder.
    pub(super) name: Arc<str>,
    /// Whether the others report on it: it is listed for everybody.
    is_reported: bool,
    /// What fills it; none while nothing runs.
    pub(super) packager: Option<Packager>,
    /// Of the last timeline; none before the first.
    pub(super) tracks: Option<Tracks>,
    /// Where it is noted who asks for it, if it may be made on demand.
    pub(super) demand: Option<Arc<RungDemand>>,
    /// Whether its parts are promises; what fills it until then may still owe some.
    is_cold: bool,
    /// What fills it from the next segment on.
    warming: Option<Packager>,
    /// Whether it is cold from the next segment on.
    cools: bool,
    /// Spans of promises that wait for what is owed before them.
    promised: VecDeque<Span>,
    /// Its last pictures, if a slate is to show them.
    gop: Option<Gop>,
    pub(super) window: Window,
    /// What the wall clock said when its last timeline began.
    pub(super) began: WallTime,
    max_owed: usize,
    arrivals: Arrivals,
    /// When the last pictures of the parts arrived that are about to be fetchable.
    unreported: Vec<Instant>,
    snapshot_tx: watch::Sender<Arc<Snapshot>>,
    pub(super) variant_tx: watch::Sender<Variant>,
}

impl Rendition {
    /// A rendition without media, and how it is watched.
    pub(super) fn new(
        name: &str,
        is_listed_always: bool,
        (grid, first_msn): (&playlist::Config, u64),
        demand: Option<Arc<RungDemand>>,
    ) -> (Self, Arc<RenditionHandle>) {
        let window = Window::new(grid, first_msn);
        let (snapshot_tx, snapshot) = watch::channel(window.snapshot());
        let (variant_tx, variant) = watch::channel(Variant::default());
        let handle = Arc::new(RenditionHandle {
            name: name.to_owned(),
            listed: if is_listed_always {
                playlist::Listed::Always
            } else {
                playlist::Listed::OnRequest
            },
            snapshot,
            variant,
            demand: demand.clone(),
        });
        let rendition = Self {
            name: name.into(),
            is_reported: is_listed_always,
            packager: None,
            tracks: None,
            demand,
            is_cold: false,
            warming: None,
            cools: false,
            promised: VecDeque::new(),
            gop: None,
            window,
            began: WallTime(0),
            max_owed: max_owed(grid),
            arrivals: Arrivals::default(),
            unreported: Vec::new(),
            snapshot_tx,
            variant_tx,
        };
        (rendition, handle)
    }

    /// Begins a timeline at wall time `at` with what fills it. Sound alone will be as long as the pictures of the
    /// other renditions.
    pub(super) fn begin(&mut self, mut packager: Packager, variant: Variant, at: WallTime) {
        self.variant_tx.send_replace(variant);
        let tracks = &packager.init().tracks;
        let alone = tracks.audio.as_ref().filter(|_| tracks.video.is_none());
        if let Some(Ok(frame)) = alone.map(|track| silent_frame(&track.config)) {
            packager.fill_with(frame);
        }
        self.begin_filler(packager, at);
    }

    /// As [`Rendition::begin`]; the multivariant playlist stays as it is.
    pub(super) fn begin_filler(&mut self, mut packager: Packager, at: WallTime) {
        let init = Arc::clone(packager.init());
        self.began = self.window.start_timeline(init, at);
        packager.set_clock(self.began);
        self.tracks = Some(packager.init().tracks.clone());
        self.close();
        self.packager = Some(packager);
    }

    /// The timeline that has begun is one of promises.
    pub(super) fn begin_cold(&mut self) {
        self.packager = None;
        self.is_cold = true;
    }

    /// Whether [`Rendition::warm`] can be asked for.
    pub(super) fn may_warm(&self) -> bool {
        self.is_cold && self.packager.is_none() && self.warming.is_none()
    }

    /// Its parts are made by `packager` from the next segment on, which takes samples from now on.
    pub(super) fn warm(&mut self, packager: Packager) {
        (self.warming, self.cools) = (Some(packager), false);
    }

    /// Its parts are promises from the next segment on.
    pub(super) fn cool(&mut self) {
        (self.warming, self.cools) = (None, true);
    }

    /// Whether the parts of the segment are promises that is under way, or of the one after (`is_next`).
    pub(super) fn is_promising(&self, is_next: bool) -> bool {
        if is_next {
            self.warming.is_none() && (self.is_cold || self.cools)
        } else {
            self.is_cold
        }
    }

    /// A segment opens.
    fn turn(&mut self) {
        if let Some(packager) = self.warming.take() {
            self.packager = Some(packager);
            self.is_cold = false;
        } else if std::mem::take(&mut self.cools) {
            self.is_cold = true;
        }
    }

    /// What takes its samples.
    pub(super) fn taker(&mut self) -> Option<&mut Packager> {
        self.warming.as_mut().or(self.packager.as_mut())
    }

    /// Keeps the last pictures for a slate from now on.
    pub(super) fn keep_gop(&mut self) {
        self.gop.get_or_insert_default();
    }

    /// The last pictures, which begin with a sync sample, if there are any.
    pub(super) fn last_gop(&self) -> Option<(Arc<VideoConfig>, Vec<Sample>)> {
        let gop = self.gop.as_ref()?;
        Some((gop.config.clone()?, gop.samples.clone()))
    }

    /// Of the last timeline.
    pub(super) fn tracks(&self) -> Option<&Tracks> {
        self.tracks.as_ref()
    }

    /// The sound of its last timeline.
    pub(super) fn sound(&self) -> Option<Arc<aac::Config>> {
        let track = self.tracks.as_ref()?.audio.as_ref()?;
        Some(Arc::clone(&track.config))
    }

    /// What the multivariant playlist says of it.
    pub(super) fn variant(&self) -> Variant {
        self.variant_tx.borrow().clone()
    }

    /// The multivariant playlist says this of it from now on; its codecs are what they were.
    pub(super) fn describe(&self, variant: Variant) {
        let codecs = self.variant().codecs;
        self.variant_tx.send_replace(Variant { codecs, ..variant });
    }

    /// Takes a sample of its own timeline. Whether it opened a segment (a leader's only).
    pub(super) fn push(
        &mut self,
        sample: Sample,
        arrival: Option<Instant>,
    ) -> Result<bool, crate::packaging::Error> {
        if self.taker().is_none() {
            return Ok(false);
        }
        let noted = (
            sample.dts,
            arrival.filter(|_| sample.track == TrackKind::Video),
        );
        if let (Some(gop), Some(tracks)) = (&mut self.gop, &self.tracks) {
            gop.push(&sample, tracks);
        }
        let has_opened = match self.taker() {
            Some(packager) => packager.push(sample)?,
            None => false,
        };
        if let (dts, Some(arrival)) = noted {
            self.arrivals.note(dts, arrival);
        }
        Ok(has_opened)
    }

    /// Takes a span that it owes a part for, or promises one.
    pub(super) fn owe(&mut self, span: Span) {
        if span.opens_segment {
            self.turn();
        }
        if self.is_cold {
            self.promised.push_back(span);
            if self.promised.len() > self.max_owed {
                self.abandon();
            }
        } else if let Some(packager) = &mut self.packager {
            packager.push_span(span);
            if packager.owed() > self.max_owed {
                packager.abandon();
            }
        }
    }

    /// No picture that begins before `until` will come any more.
    pub(super) fn picture_until(&mut self, until: i64, is_lost: bool) {
        if let Some(packager) = self.taker() {
            packager.video_until(until, is_lost);
        }
    }

    /// Pictures may be ahead of its sound by so many ticks.
    pub(super) fn wait_for_sound(&mut self, ticks: i64) {
        if let Some(packager) = self.taker() {
            packager.wait_for_audio(ticks);
        }
    }

    /// What it owes becomes gaps.
    pub(super) fn abandon(&mut self) {
        if let Some(packager) = &mut self.packager {
            packager.abandon();
        }
    }

    /// Moves finished parts into the window and hands them to `each`; whether there were any.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&Part)) -> bool {
        let mut has_moved = false;
        while let Some(part) = self.packager.as_mut().and_then(Packager::poll) {
            let arrival = self.arrivals.last_before(&part);
            if part.is_gap {
                metrics::counter!("weir_gap_parts_total", "rendition" => self.name.to_string())
                    .increment(1);
            } else {
                self.unreported.extend(arrival);
                metrics::counter!("weir_parts_total").increment(1);
            }
            each(&part);
            self.window.push(part);
            has_moved = true;
        }
        has_moved | self.promise()
    }

    /// Lists promises, once nothing is owed that comes before them; whether there were any.
    fn promise(&mut self) -> bool {
        if !self.is_cold || self.packager.as_ref().is_some_and(|p| p.owed() > 0) {
            return false;
        }
        self.packager = None;
        let spans = std::mem::take(&mut self.promised);
        for span in &spans {
            self.window.push(Part::promised(span));
        }
        !spans.is_empty()
    }

    /// Its newest part, as the other renditions report it.
    pub(super) fn report(&self) -> Option<RenditionReport> {
        self.is_reported.then_some(())?;
        Some(RenditionReport {
            rendition: Arc::clone(&self.name),
            last: self.window.last()?,
        })
    }

    /// Shows the window as it is now. `reports` are the other renditions'.
    pub(super) fn publish(&mut self, reports: Vec<RenditionReport>) {
        self.window.set_reports(reports);
        self.snapshot_tx.send_replace(self.window.snapshot());
        for arrival in self.unreported.drain(..) {
            let label = self.name.to_string();
            metrics::histogram!("weir_part_delay_seconds", "rendition" => label)
                .record(arrival.elapsed());
        }
    }

    /// Nothing follows on this timeline; what `finish` made complete is in the window.
    pub(super) fn close(&mut self) {
        (self.packager, self.warming) = (None, None);
        (self.is_cold, self.cools) = (false, false);
        self.promised.clear();
        self.arrivals = Arrivals::default();
    }

    /// Ends the playlist.
    pub(super) fn end(&mut self) {
        self.close();
        self.window.end();
    }

    /// The first media sequence number not used yet.
    pub(super) fn next_msn(&self) -> u64 {
        self.window.next_msn()
    }
}

/// The pictures since the last sync sample.
#[derive(Default)]
struct Gop {
    config: Option<Arc<VideoConfig>>,
    samples: Vec<Sample>,
    bytes: usize,
}

impl Gop {
    fn push(&mut self, sample: &Sample, tracks: &Tracks) {
        if sample.track == TrackKind::Audio {
            return;
        }
        if sample.is_sync {
            self.config = tracks.video.as_ref().map(|track| Arc::clone(&track.config));
            self.samples.clear();
            self.bytes = 0;
        }
        self.bytes += sample.data.len();
        // What is beyond the limit is not shown: the picture stands still a little earlier.
        if self.bytes <= MAX_GOP_BYTES && self.config.is_some() {
            self.samples.push(sample.clone());
        }
    }
}

/// What the multivariant playlist promises of an encoded rendition.
pub(super) fn variant(rung: &Rung, packager: &Packager) -> Variant {
    let (width, height, frame_rate_millis) = match rung.video {
        RungVideo::Encode {
            width,
            height,
            fps_millis,
            ..
        } => (width, height, fps_millis),
        _ => (0, 0, 0),
    };
    let name = match rung.name.as_str() {
        SOURCE => format!("{}p{}", width.min(height), (frame_rate_millis + 500) / 1000),
        name => name.to_owned(),
    };
    Variant {
        name,
        bandwidth_bps: rung.max_bandwidth_bps(),
        average_bandwidth_bps: rung.average_bandwidth_bps(),
        codecs: packager.init().tracks.codecs(),
        width,
        height,
        frame_rate_millis,
        is_source: false,
    }
}

/// When the newest video samples arrived, to measure how long a part took to be fetchable.
#[derive(Default)]
struct Arrivals(VecDeque<(i64, Instant)>);

impl Arrivals {
    /// Two seconds at 120 frames per second.
    const MOST: usize = 240;

    fn note(&mut self, dts: i64, arrival: Instant) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back((dts, arrival));
    }

    /// When the video of `part` had arrived as a whole; forgets all up to its end. Pictures that others
    /// refer to come before they are shown.
    fn last_before(&mut self, part: &Part) -> Option<Instant> {
        let end = part.start.saturating_add(part.duration);
        let mut last = None;
        while let Some((_, arrival)) = self.0.pop_front_if(|(dts, _)| *dts < end) {
            last = last.max(Some(arrival));
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_start_fits_what_may_be_owed_on_every_grid() {
        let owed = |target_duration_s, part_target_ms| {
            max_owed(&playlist::Config {
                target_duration_s,
                part_target_ms,
                ..playlist::Config::default()
            })
        };
        assert_eq!(owed(2, 334), 12);
        for (target_duration_s, part_target_ms) in [(1, 100), (2, 1000), (10, 100), (10, 334)] {
            let held = (target_duration_s * 1000 + 490) / part_target_ms;
            let most = owed(target_duration_s, part_target_ms);
            assert!(
                most > usize::try_from(held).unwrap() && most < 128,
                "{most}"
            );
        }
    }
}
