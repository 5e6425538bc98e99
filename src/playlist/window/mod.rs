//! The live window of one rendition: which segments and parts are listed, and what leaves when.
//!
//! In:  timelines and [`Part`]s. Out: a [`Snapshot`] whenever one is asked for.
//! Not here: text (`media`), the clock: how long a removed segment stays fetchable is counted in
//! media time, which runs with wall time while anybody publishes.
//! Read: §6.2.1 and §6.2.2 for what may change between two versions of a playlist.

mod promises;
pub mod restore;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::ad_break::AdBreak;
use super::file_name::Position;
use super::snapshot::Snapshot;
use super::{Config, MIN_SEGMENTS, ticks};
use crate::base::clock::WallTime;
use crate::media::Timescale;
use crate::packaging::{InitSection, Part};

/// A run of parts that opens on a sync sample. Its bytes are its parts' bytes, one after another, or
/// `whole` where the parts are not known any more.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Media sequence number.
    pub msn: u64,
    /// In order; at least one, unless the segment is of an earlier process.
    pub parts: Vec<Arc<Part>>,
    /// The media of a segment without parts, unless it is a gap.
    pub whole: Option<Bytes>,
    /// From the start of its timeline to its start, in 90 kHz ticks.
    pub offset: i64,
    /// 90 kHz ticks.
    pub duration: i64,
    /// When it began, on the wall clock its timeline was anchored to.
    pub program_date_time: WallTime,
    /// Whether it begins a new timeline after an earlier one.
    pub discontinuity: bool,
    /// What a decoder needs before it.
    pub init: Arc<InitSection>,
    /// Whether a part of it is missing.
    pub has_gap: bool,
}

impl Segment {
    /// Its media, in pieces that are shared.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> {
        let parts = self.parts.iter().map(|part| &part.bytes);
        parts.chain(&self.whole).cloned()
    }

    /// The media of one of its parts, unless that is a gap. Each part is one fragment, so the parts of a whole segment
    /// can be told apart: players may still ask for them (rule 25).
    pub fn part(&self, part: u32) -> Option<Bytes> {
        let index = usize::try_from(part).ok()?;
        if let Some(whole) = &self.whole {
            return restore::fragment(whole, index);
        }
        let part = self.parts.get(index)?;
        (!part.bytes.is_empty()).then(|| part.bytes.clone())
    }

    /// Whether it lacks media that is made when somebody asks for it.
    pub fn is_promised(&self) -> bool {
        self.parts.iter().any(|part| part.is_promised)
    }

    /// Whether all of its media is here.
    pub fn is_whole(&self) -> bool {
        !self.has_gap && self.parts.iter().all(|part| !part.bytes.is_empty())
    }

    /// Bytes of all its media.
    pub fn byte_len(&self) -> usize {
        self.pieces().map(|piece| piece.len()).sum()
    }

    /// Wall time at which it ends, so far.
    pub(super) fn until(&self) -> WallTime {
        let millis = Timescale::VIDEO.convert(self.duration, Timescale::MILLIS);
        self.program_date_time.plus_millis(millis)
    }

    /// Position of the newest part.
    pub(super) fn last(&self) -> Option<Position> {
        let part = self.part_count().checked_sub(1)?;
        let msn = self.msn;
        Some(Position { msn, part })
    }

    pub(super) fn part_count(&self) -> u32 {
        u32::try_from(self.parts.len()).unwrap_or(u32::MAX)
    }

    /// Adds `part`. The duration follows the media, which may pause between two parts, up to
    /// `longest`: an EXTINF above the target duration is an error for every player.
    fn push(&mut self, part: Part, longest: i64) {
        let start = self.parts.first().map_or(part.start, |first| first.start);
        let end = part.start.saturating_add(part.duration);
        self.duration = end.saturating_sub(start).clamp(self.duration, longest);
        self.has_gap |= part.is_gap;
        self.parts.push(Arc::new(part));
    }
}

/// The newest position of another rendition, for EXT-X-RENDITION-REPORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionReport {
    /// Its name, which is its folder beside this one's.
    pub rendition: Arc<str>,
    /// Its newest listed part.
    pub last: Position,
}

/// What a playlist shows at one moment, and what it showed lately.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) config: Config,
    /// Complete segments with consecutive numbers: first the removed ones, then the listed.
    pub(super) segments: VecDeque<Arc<Segment>>,
    /// How many of `segments` are no longer listed.
    pub(super) removed: usize,
    /// The segment being made; it has at least one part.
    pub(super) open: Option<Segment>,
    /// Number of the open segment, or of the one to open next.
    pub(super) next_msn: u64,
    pub(super) discontinuity_sequence: u64,
    /// The initialization section of a timeline that has no part yet.
    pub(super) pending_init: Option<Arc<InitSection>>,
    pub(super) is_ended: bool,
    pub(super) reports: Arc<[RenditionReport]>,
    /// Ad breaks that reach into what is listed or are to come, in order.
    pub(super) ad_breaks: Arc<[AdBreak]>,
}

impl Listing {
    /// Wall time at which the newest part ends; none before the first.
    pub(super) fn until(&self) -> Option<WallTime> {
        let newest = self.open.as_ref().or(self.segments.back().map(Arc::as_ref));
        newest.map(Segment::until)
    }
}

/// A timeline: media time tied to the wall clock once.
#[derive(Debug)]
struct Timeline {
    init: Arc<InitSection>,
    at: WallTime,
    /// Start of its first part; none before that came.
    origin: Option<i64>,
    /// Wall time at which its last part ends.
    until: WallTime,
}

/// The live window of one rendition.
#[derive(Debug)]
pub struct Window {
    listing: Listing,
    timeline: Option<Timeline>,
    /// Duration of all parts ever pushed: the clock that forgets removed segments.
    published: i64,
    /// Duration of the listed complete segments.
    listed: i64,
    /// Duration of the longest playlist so far.
    longest: i64,
    /// For each removed segment the value of `published` at which it is forgotten.
    fetchable_until: VecDeque<i64>,
}

impl Window {
    /// An empty window whose first segment will be `first_msn`.
    pub fn new(config: &Config, first_msn: u64) -> Self {
        Self {
            listing: Listing {
                config: *config,
                segments: VecDeque::new(),
                removed: 0,
                open: None,
                next_msn: first_msn,
                discontinuity_sequence: 0,
                pending_init: None,
                is_ended: false,
                reports: Arc::default(),
                ad_breaks: Arc::default(),
            },
            timeline: None,
            published: 0,
            listed: 0,
            longest: 0,
            fetchable_until: VecDeque::new(),
        }
    }

    /// Media sequence number of the open segment, or of the next one if none is open.
    pub fn next_msn(&self) -> u64 {
        self.listing.next_msn
    }

    /// Position of the newest part, or of the newest of the last complete segment.
    pub fn last(&self) -> Option<Position> {
        let complete = self.listing.segments.back().map(Arc::as_ref);
        self.listing.open.as_ref().or(complete)?.last()
    }

    /// Begins a timeline: the next part starts at wall time `at`, but not before the last one ended
    /// (dates do not run backwards), and is decoded with `init`.
    /// If parts came before, its segment carries DISCONTINUITY.
    /// Does nothing after [`Window::end`]. Gives back when it starts.
    pub fn start_timeline(&mut self, init: Arc<InitSection>, at: WallTime) -> WallTime {
        if self.listing.is_ended {
            return at;
        }
        self.close_segment();
        self.listing.pending_init = Some(Arc::clone(&init));
        let at = self.timeline.as_ref().map_or(at, |last| at.max(last.until));
        self.timeline = Some(Timeline {
            init,
            at,
            origin: None,
            until: at,
        });
        at
    }

    /// Appends a part. Without a timeline, or after [`Window::end`], it is dropped.
    pub fn push(&mut self, part: Part) {
        self.published = self.published.saturating_add(part.duration);
        if part.opens_segment {
            self.close_segment();
        }
        let Some(timeline) = self.timeline.as_mut() else {
            debug_assert!(false, "a part outside any timeline");
            return;
        };
        let is_first = timeline.origin.is_none();
        let offset = part
            .start
            .saturating_sub(*timeline.origin.get_or_insert(part.start));
        let end = offset.saturating_add(part.duration);
        let date = |ticks| Timescale::VIDEO.convert(ticks, Timescale::MILLIS);
        timeline.until = timeline.at.plus_millis(date(end));
        let listing = &mut self.listing;
        listing.pending_init = None;
        let open = listing.open.get_or_insert_with(|| Segment {
            msn: listing.next_msn,
            parts: Vec::new(),
            whole: None,
            offset,
            duration: 0,
            program_date_time: timeline.at.plus_millis(date(offset)),
            discontinuity: is_first && !listing.segments.is_empty(),
            init: Arc::clone(&timeline.init),
            has_gap: false,
        });
        let closes_segment = part.closes_segment;
        open.push(part, listing.config.longest_segment_ticks());
        self.longest = self.longest.max(self.listed.saturating_add(open.duration));
        if closes_segment {
            self.close_segment();
        }
        self.forget();
    }

    /// Closes the playlist for ever: a segment under way is listed as it is, then ENDLIST.
    pub fn end(&mut self) {
        self.close_segment();
        self.timeline = None;
        self.listing.pending_init = None;
        self.listing.is_ended = true;
    }

    /// What the next snapshots say about the other renditions.
    pub fn set_reports(&mut self, reports: Vec<RenditionReport>) {
        self.listing.reports = reports.into();
    }

    /// Lists an ad break from the next snapshot on, as long as it reaches into what is listed.
    pub fn add_break(&mut self, ad_break: AdBreak) {
        let mut all = self.listing.ad_breaks.to_vec();
        let place = all.partition_point(|other| other.start <= ad_break.start);
        all.insert(place, ad_break);
        self.listing.ad_breaks = all.into();
    }

    /// The window as it is now. Costs a pointer per segment; text is made when asked for.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot::new(self.listing.clone()))
    }

    fn close_segment(&mut self) {
        if let Some(segment) = self.listing.open.take() {
            self.listing.next_msn = segment.msn.saturating_add(1);
            self.listed = self.listed.saturating_add(segment.duration);
            self.listing.segments.push_back(Arc::new(segment));
            self.trim();
        }
    }

    /// Takes the oldest segments off the list while the window stays long enough without them.
    fn trim(&mut self) {
        let listing = &mut self.listing;
        let window = ticks(i64::from(listing.config.window_seconds) * 1000);
        let least = usize::try_from(MIN_SEGMENTS).unwrap_or(usize::MAX);
        while listing.segments.len() - listing.removed > least {
            let oldest = &listing.segments[listing.removed];
            let remaining = self.listed - oldest.duration;
            if remaining < window {
                break;
            }
            let until = self.published + oldest.duration + self.longest;
            self.fetchable_until.push_back(until);
            listing.discontinuity_sequence += u64::from(oldest.discontinuity);
            listing.removed += 1;
            self.listed = remaining;
        }
        let first = listing.segments.get(listing.removed);
        let is_over = |ad_break: &AdBreak| {
            first.is_some_and(|first| ad_break.end() <= first.program_date_time)
        };
        if listing.ad_breaks.iter().any(is_over) {
            let kept = listing.ad_breaks.iter().filter(|it| !is_over(it)).cloned();
            listing.ad_breaks = kept.collect();
        }
    }

    /// Drops removed segments after their own duration and that of the longest playlist (§6.2.2).
    fn forget(&mut self) {
        let published = self.published;
        while self
            .fetchable_until
            .front()
            .is_some_and(|until| *until <= published)
        {
            self.fetchable_until.pop_front();
            self.listing.segments.pop_front();
            self.listing.removed -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
