//! One immutable state of a window: what the origin serves until the next part comes.
//!
//! In:  a listing. Out: playlist text, rendered when first asked for, once per form, and shared
//! by all who ask; parts, segments and initialization sections by name.
//! Not here: waiting for the next snapshot (`directory` holds the watch handle).

use std::collections::BTreeSet;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Config;
use super::file_name::Position;
use super::media;
use super::window::{Listing, Segment};
use crate::packaging::InitSection;

/// Segments with gaps that a first answer waits through for one without.
const MAX_GAPS_AT_START: usize = 3;

/// One state of a window. It never changes.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) listing: Listing,
    full: Text,
    delta: Text,
}

/// What there is of a segment that a reader has begun to take, part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The next part.
    Ready(Bytes),
    /// It is not made yet.
    Coming,
    /// There is no more: the segment is complete, or has a gap here.
    Over,
    /// The segment is not known any more.
    Lost,
}

/// A playlist's text as it is and compressed.
#[derive(Debug, Default)]
struct Text {
    identity: OnceLock<Bytes>,
    gzip: OnceLock<Bytes>,
}

impl Snapshot {
    pub(super) fn new(listing: Listing) -> Self {
        Self {
            listing,
            full: Text::default(),
            delta: Text::default(),
        }
    }

    /// The media playlist; with `delta` as a delta update if there is anything to skip, with
    /// `gzip` compressed.
    pub fn playlist(&self, delta: bool, gzip: bool) -> Bytes {
        let skipped = if delta {
            media::skippable(&self.listing)
        } else {
            0
        };
        let text = if skipped > 0 { &self.delta } else { &self.full };
        let identity = text
            .identity
            .get_or_init(|| media::render_live(&self.listing, skipped).into());
        if gzip {
            text.gzip.get_or_init(|| compress(identity)).clone()
        } else {
            identity.clone()
        }
    }

    /// A plain HLS playlist of the listed segments within `available`, for a copy that holds
    /// these; none if it holds none. It ends when the window has ended and its last segment is
    /// available.
    pub fn mirror_playlist(&self, available: RangeInclusive<u64>) -> Option<String> {
        self.mirror_playlist_without(&available, &BTreeSet::new())
    }

    /// As [`Snapshot::mirror_playlist`], for a copy that has gaps where it is `missing` a segment.
    pub fn mirror_playlist_without(
        &self,
        available: &RangeInclusive<u64>,
        missing: &BTreeSet<u64>,
    ) -> Option<String> {
        media::render_mirror(&self.listing, available, missing)
    }

    /// Whether the segment behind number `msn` is listed, not complete, and begins a timeline.
    pub fn begins_timeline_after(&self, msn: u64) -> bool {
        let open = self.listing.open.as_ref();
        open.is_some_and(|open| open.discontinuity && msn.checked_add(1) == Some(open.msn))
    }

    /// The frozen numbers of this playlist.
    pub fn config(&self) -> &Config {
        &self.listing.config
    }

    /// A part that is listed or was listed lately, unless it is a gap or still to be made.
    pub fn part(&self, position: Position) -> Option<Bytes> {
        self.any_segment(position.msn)?.part(position.part)
    }

    /// Whether a listed part is made when somebody asks for it.
    pub fn is_promised(&self, position: Position) -> bool {
        let segment = self.any_segment(position.msn);
        let index = usize::try_from(position.part).unwrap_or(usize::MAX);
        let part = segment.and_then(|segment| segment.parts.get(index));
        part.is_some_and(|part| part.is_promised)
    }

    /// Whether a segment, complete or not, lacks media that is made when somebody asks for it.
    pub fn has_promises(&self, msn: u64) -> bool {
        self.any_segment(msn).is_some_and(Segment::is_promised)
    }

    fn any_segment(&self, msn: u64) -> Option<&Segment> {
        let open = self.listing.open.as_ref().filter(|open| open.msn == msn);
        open.or_else(|| self.segment(msn).map(Arc::as_ref))
    }

    /// A complete segment that is listed or was listed lately.
    pub fn segment(&self, msn: u64) -> Option<&Arc<Segment>> {
        let segments = &self.listing.segments;
        let index = msn.checked_sub(segments.front()?.msn)?;
        segments.get(usize::try_from(index).ok()?)
    }

    /// The segment being made, if all of it so far can be had.
    pub fn growing(&self) -> Option<u64> {
        let open = self.listing.open.as_ref()?;
        self.is_awaited(open.msn).then_some(open.msn)
    }

    /// Whether segment `msn` may be asked for before it is complete.
    pub fn is_awaited(&self, msn: u64) -> bool {
        media::prefetched(&self.listing).contains(&msn)
    }

    /// The part of segment `msn` that follows its first `taken`.
    pub fn piece(&self, msn: u64, taken: usize) -> Piece {
        let open = self.listing.open.as_ref().filter(|open| open.msn == msn);
        let is_open = open.is_some();
        let Some(segment) = open.or_else(|| self.segment(msn).map(Arc::as_ref)) else {
            return Piece::Lost;
        };
        match segment.parts.get(taken) {
            Some(part) if part.is_promised => Piece::Coming,
            Some(part) if part.is_gap || part.bytes.is_empty() => Piece::Over,
            Some(part) => Piece::Ready(part.bytes.clone()),
            None if is_open => Piece::Coming,
            None => Piece::Over,
        }
    }

    /// The complete segments now listed, oldest first.
    pub fn listed(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> {
        self.listing.segments.range(self.listing.removed..)
    }

    /// An initialization section that any fetchable part needs.
    pub fn init(&self, hash: &str) -> Option<&Arc<InitSection>> {
        let complete = self.listing.segments.iter().rev().map(|s| &s.init);
        let open = self.listing.open.iter().map(|s| &s.init);
        let mut inits = self.listing.pending_init.iter().chain(open).chain(complete);
        inits.find(|init| init.hash == hash)
    }

    /// The newest listed part.
    pub fn last(&self) -> Option<Position> {
        let complete = self.listing.segments.back().map(Arc::as_ref);
        self.listing.open.as_ref().or(complete)?.last()
    }

    /// Number of the newest complete segment.
    pub fn last_complete_msn(&self) -> Option<u64> {
        self.listing.segments.back().map(|segment| segment.msn)
    }

    /// The part that comes next, as the playlist hints it; none after the end.
    pub fn hint(&self) -> Option<Position> {
        media::hint(&self.listing)
    }

    /// Whether the playlist has ENDLIST.
    pub fn is_ended(&self) -> bool {
        self.listing.is_ended
    }

    /// Whether a first answer can be given: a complete segment and a part after it are listed, one
    /// segment without a gap among them, unless there are several; or nothing more will come.
    pub fn has_full_segment_and_part(&self) -> bool {
        let complete = self.listing.segments.len();
        let after = complete.saturating_sub(1) + usize::from(self.listing.open.is_some());
        let is_whole = |segment: &Arc<Segment>| !segment.has_gap;
        let has_media = complete > MAX_GAPS_AT_START || self.listing.segments.iter().any(is_whole);
        self.listing.is_ended || (complete > 0 && after > 0 && has_media)
    }
}

/// A text in gzip's form.
pub(crate) fn compress(text: &Bytes) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(1024), Compression::default());
    encoder
        .write_all(text)
        .and_then(|()| encoder.finish())
        .expect("a Vec takes every write")
        .into()
}
