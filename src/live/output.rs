//! A channel's playlists while it is live: samples in, announced windows out.
//!
//! In:  samples with their arrival, tracks when they change. Out: parts in the window, the window's
//! snapshot in the directory. One source rendition; the ladder will stand beside it.
//! Order at each part: bytes reachable, then waiters woken (both are one snapshot).

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::start::Ready;
use crate::base::clock::WallTime;
use crate::media::{Sample, TrackKind, Tracks};
use crate::packaging::{self, Packager, Part};
use crate::playlist::{self, Directory, LiveChannel, RenditionHandle, Snapshot, Variant, Window};

/// Directory name of the passed-through rendition: stable while its size may change.
const SOURCE: &str = "source";

/// The window of one playlist epoch, and what feeds it.
pub(super) struct Output {
    packaging: packaging::Config,
    window: Window,
    packager: Option<Packager>,
    arrivals: Arrivals,
    /// When the last pictures of the parts arrived that are about to be fetchable.
    unreported: Vec<Instant>,
    snapshot_tx: watch::Sender<Arc<Snapshot>>,
    variant_tx: watch::Sender<Variant>,
    directory: Arc<Directory>,
    channel: Arc<LiveChannel>,
    is_announced: bool,
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

impl Output {
    /// An empty window; nothing is announced before the first part.
    pub(super) fn new(place: Place, grid: &playlist::Config, directory: Arc<Directory>) -> Self {
        let packaging = packaging::Config {
            part_target_ms: grid.part_target_ms,
            target_duration_s: grid.target_duration_s,
        };
        let window = Window::new(grid, place.first_msn);
        let (snapshot_tx, snapshot) = watch::channel(window.snapshot());
        let (variant_tx, variant) = watch::channel(Variant::default());
        let rendition = Arc::new(RenditionHandle {
            name: SOURCE.into(),
            snapshot,
            variant,
        });
        let channel = Arc::new(LiveChannel {
            channel_id: place.channel_id,
            epoch: place.epoch,
            renditions: vec![rendition],
        });
        Self {
            packaging,
            window,
            packager: None,
            arrivals: Arrivals::default(),
            unreported: Vec::new(),
            snapshot_tx,
            variant_tx,
            directory,
            channel,
            is_announced: false,
        }
    }

    /// A publisher's stream begins, or returns: from here the window shows `ready`'s tracks.
    pub(super) fn begin(
        &mut self,
        ready: &Ready,
        declared_bps: Option<u64>,
        at: WallTime,
    ) -> Result<(), packaging::Error> {
        self.variant_tx.send_replace(variant(ready, declared_bps));
        self.change_tracks(ready.tracks.clone(), at)
    }

    /// The tracks change at the next sample, which is an IDR picture: DISCONTINUITY and a new MAP.
    pub(super) fn change_tracks(
        &mut self,
        tracks: Tracks,
        at: WallTime,
    ) -> Result<(), packaging::Error> {
        self.interrupt();
        let config = Arc::clone(&tracks.video.config);
        let codecs = tracks.codecs();
        let packager = Packager::new(&self.packaging, tracks)?;
        self.window.start_timeline(Arc::clone(packager.init()), at);
        self.packager = Some(packager);
        self.variant_tx.send_modify(|variant| {
            (variant.width, variant.height) = (config.width, config.height);
            variant.codecs = codecs;
        });
        if self.is_announced {
            // The hint of the coming MAP (rule 29).
            self.publish();
        }
        Ok(())
    }

    /// A sample that arrived at `arrival`; `None` for one that was held while the start was decided.
    pub(super) fn push(
        &mut self,
        sample: Sample,
        arrival: Option<Instant>,
    ) -> Result<(), packaging::Error> {
        let Some(packager) = &mut self.packager else {
            return Ok(());
        };
        if let Some(arrival) = arrival.filter(|_| sample.track == TrackKind::Video) {
            self.arrivals.note(sample.dts, arrival);
        }
        packager.push(sample)?;
        if self.drain() {
            self.publish();
            if let Some(arrival) = arrival {
                metrics::histogram!("weir_part_own_delay_seconds").record(arrival.elapsed());
            }
        }
        Ok(())
    }

    /// Closes the open part and segment; the window waits for the next timeline.
    pub(super) fn interrupt(&mut self) {
        if let Some(packager) = &mut self.packager {
            packager.finish();
            self.drain();
            self.packager = None;
            self.arrivals = Arrivals::default();
            self.publish();
        }
    }

    /// Ends the playlists; returns the first media sequence number not used.
    pub(super) fn end(&mut self) -> u64 {
        self.interrupt();
        self.window.end();
        self.publish();
        if self.is_announced {
            self.directory
                .withdraw(&self.channel.channel_id, self.channel.epoch);
        }
        self.window.next_msn()
    }

    /// The first media sequence number not used yet.
    pub(super) fn next_msn(&self) -> u64 {
        self.window.next_msn()
    }

    /// Moves finished parts into the window; whether there were any.
    fn drain(&mut self) -> bool {
        let mut has_moved = false;
        while let Some(part) = self.packager.as_mut().and_then(Packager::poll) {
            if let Some(arrival) = self.arrivals.last_before(&part) {
                self.unreported.push(arrival);
            }
            metrics::counter!("weir_parts_total").increment(1);
            self.window.push(part);
            has_moved = true;
        }
        has_moved
    }

    fn publish(&mut self) {
        self.snapshot_tx.send_replace(self.window.snapshot());
        for arrival in self.unreported.drain(..) {
            metrics::histogram!("weir_part_delay_seconds").record(arrival.elapsed());
        }
        if !self.is_announced && self.packager.is_some() {
            self.is_announced = true;
            self.directory.announce(Arc::clone(&self.channel));
        }
    }
}

/// What the multivariant playlist promises of a passed-through stream.
fn variant(ready: &Ready, declared_bps: Option<u64>) -> Variant {
    let config = &ready.tracks.video.config;
    // Encoders overshoot what they declare: half again as much, and never below what was seen.
    let average = declared_bps.unwrap_or(ready.measured_bps).max(1);
    Variant {
        name: format!("{}p{}", config.height, (ready.fps_millis + 500) / 1000),
        bandwidth_bps: (average * 3 / 2).max(ready.measured_bps * 11 / 10),
        average_bandwidth_bps: average,
        codecs: ready.tracks.codecs(),
        width: config.width,
        height: config.height,
        frame_rate_millis: ready.fps_millis,
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

    /// Arrival of the last video sample of `part`; forgets all up to it.
    fn last_before(&mut self, part: &Part) -> Option<Instant> {
        let end = part.start.saturating_add(part.duration);
        let mut last = None;
        while let Some((_, arrival)) = self.0.pop_front_if(|(dts, _)| *dts < end) {
            last = Some(arrival);
        }
        last
    }
}
