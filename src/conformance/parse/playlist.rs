//! What a media playlist says, as values; times are microseconds.
//!
//! Not here: how it is read (`media`), what may be said (`single`, `successive`).

use std::fmt;
use std::sync::Arc;

use super::Flaw;
use crate::conformance::Position;

/// EXT-X-PLAYLIST-TYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaylistType {
    /// Only appended to.
    Event,
    /// Never changed.
    Vod,
}

/// EXT-X-SERVER-CONTROL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerControl {
    /// CAN-BLOCK-RELOAD=YES.
    pub can_block_reload: bool,
    /// HOLD-BACK.
    pub hold_back_us: Option<u64>,
    /// PART-HOLD-BACK.
    pub part_hold_back_us: Option<u64>,
    /// CAN-SKIP-UNTIL.
    pub can_skip_until_us: Option<u64>,
    /// CAN-SKIP-DATERANGES=YES.
    pub can_skip_dateranges: bool,
}

/// A sub-range; the offset may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRange {
    /// Bytes.
    pub length: u64,
    /// From the start of the resource.
    pub offset: Option<u64>,
}

/// EXT-X-MAP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// As written.
    pub uri: String,
    /// Of the resource.
    pub range: Option<ByteRange>,
    /// Whether it is encrypted as a whole.
    pub is_encrypted: bool,
}

/// EXT-X-PART.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Line, from 1.
    pub line: usize,
    /// As written.
    pub uri: String,
    /// DURATION.
    pub duration_us: u64,
    /// INDEPENDENT=YES.
    pub is_independent: bool,
    /// GAP=YES.
    pub is_gap: bool,
    /// BYTERANGE, its offset filled in.
    pub range: Option<ByteRange>,
}

/// A segment, or the open one at the end, which has no URI yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent tags")]
pub struct Segment {
    /// Line of its URI, or of its first tag.
    pub line: usize,
    /// Media sequence number.
    pub msn: u64,
    /// EXTINF.
    pub duration_us: u64,
    /// As written; empty for the open segment.
    pub uri: String,
    /// EXT-X-BYTERANGE, its offset filled in.
    pub range: Option<ByteRange>,
    /// EXT-X-DISCONTINUITY before it.
    pub has_discontinuity: bool,
    /// EXT-X-GAP.
    pub is_gap: bool,
    /// EXT-X-PROGRAM-DATE-TIME, microseconds since the Unix epoch.
    pub date_us: Option<i64>,
    /// The EXT-X-MAP it stands under.
    pub map: Option<Arc<Map>>,
    /// Whether it is encrypted as a whole.
    pub is_encrypted: bool,
    /// Whether EXTINF was there.
    pub has_extinf: bool,
    /// In order.
    pub parts: Vec<Part>,
}

impl Segment {
    /// The durations of its parts together.
    pub fn parts_us(&self) -> u64 {
        let parts = self.parts.iter().map(|part| part.duration_us);
        parts.fold(0, u64::saturating_add)
    }
}

/// EXT-X-PRELOAD-HINT's TYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintKind {
    /// The next part.
    Part,
    /// The next initialization section.
    Map,
}

/// EXT-X-PRELOAD-HINT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Line, from 1.
    pub line: usize,
    /// TYPE.
    pub kind: HintKind,
    /// As written.
    pub uri: String,
    /// BYTERANGE-START.
    pub start: u64,
    /// BYTERANGE-LENGTH.
    pub length: Option<u64>,
}

impl Hint {
    /// Whether only a range of the resource is meant.
    pub fn has_range(&self) -> bool {
        self.start > 0 || self.length.is_some()
    }

    /// Whether `part` is what was hinted.
    pub fn is_of(&self, part: &Part) -> bool {
        let start = part.range.and_then(|range| range.offset).unwrap_or(0);
        let length = part.range.map(|range| range.length);
        let is_long = self.length.is_none() || self.length == length;
        self.uri == part.uri && self.start == start && is_long
    }
}

/// EXT-X-RENDITION-REPORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Line, from 1.
    pub line: usize,
    /// As written.
    pub uri: String,
    /// LAST-MSN.
    pub last_msn: Option<u64>,
    /// LAST-PART.
    pub last_part: Option<u64>,
}

/// EXT-X-DATERANGE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateRange {
    /// Line, from 1.
    pub line: usize,
    /// ID.
    pub id: String,
    /// START-DATE.
    pub start_us: Option<i64>,
    /// END-DATE.
    pub end_us: Option<i64>,
    /// DURATION.
    pub duration_us: Option<u64>,
}

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent tags")]
pub struct MediaPlaylist {
    /// EXT-X-VERSION.
    pub version: Option<u64>,
    /// EXT-X-TARGETDURATION, seconds.
    pub target_s: Option<u64>,
    /// EXT-X-MEDIA-SEQUENCE.
    pub media_sequence: Option<u64>,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: Option<u64>,
    /// EXT-X-PLAYLIST-TYPE.
    pub playlist_type: Option<PlaylistType>,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub has_independent_segments: bool,
    /// EXT-X-I-FRAMES-ONLY.
    pub is_iframes_only: bool,
    /// EXT-X-ENDLIST.
    pub is_ended: bool,
    /// EXT-X-DEFINE.
    pub has_variables: bool,
    /// EXT-X-DEFINE with QUERYPARAM.
    pub has_query_parameters: bool,
    /// It was too long to be read to its end.
    pub is_cut: bool,
    /// EXT-X-SERVER-CONTROL.
    pub server_control: Option<ServerControl>,
    /// EXT-X-PART-INF's PART-TARGET.
    pub part_target_us: Option<u64>,
    /// EXT-X-SKIP's SKIPPED-SEGMENTS.
    pub skipped: Option<u64>,
    /// Complete segments.
    pub segments: Vec<Segment>,
    /// The segment that has parts but is not complete.
    pub open: Option<Segment>,
    /// In order.
    pub hints: Vec<Hint>,
    /// In order.
    pub reports: Vec<Report>,
    /// In order.
    pub date_ranges: Vec<DateRange>,
    /// What is malformed.
    pub flaws: Vec<Flaw>,
}

impl MediaPlaylist {
    /// MSN of the first listed segment, skipped ones counted.
    pub fn first_msn(&self) -> u64 {
        self.media_sequence.unwrap_or(0)
    }

    /// MSN of the segment after the last complete one.
    pub fn next_msn(&self) -> u64 {
        match self.segments.last() {
            Some(segment) => segment.msn.saturating_add(1),
            None => self.first_msn().saturating_add(self.skipped.unwrap_or(0)),
        }
    }

    /// Complete segments, then the open one.
    pub fn all_segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().chain(&self.open)
    }

    /// The last part, or the last segment if parts are not listed there.
    pub fn last_position(&self) -> Option<Position> {
        let last = self
            .all_segments()
            .rev()
            .find(|segment| !segment.uri.is_empty() || !segment.parts.is_empty())?;
        Some(Position {
            msn: last.msn,
            part: u64::try_from(last.parts.len().saturating_sub(1)).unwrap_or(0),
        })
    }

    /// What a client asks for next.
    pub fn next_position(&self) -> Position {
        let part = self.open.as_ref().map_or(0, |open| open.parts.len());
        Position {
            msn: self.next_msn(),
            part: u64::try_from(part).unwrap_or(0),
        }
    }

    /// Media listed in complete segments and the open one's parts, skipped ones left out.
    pub fn duration_us(&self) -> u64 {
        let open = self.open.as_ref().map(Segment::parts_us);
        let segments = self.segments.iter().map(|segment| segment.duration_us);
        segments.chain(open).fold(0, u64::saturating_add)
    }

    /// Whether it lists parts or promises to.
    pub fn is_low_latency(&self) -> bool {
        self.part_target_us.is_some()
            || self.all_segments().any(|segment| !segment.parts.is_empty())
    }

    /// How far behind the end players stay: PART-HOLD-BACK where there are parts, else HOLD-BACK, or what stands for
    /// them.
    pub fn hold_back_us(&self) -> u64 {
        let control = self.server_control.as_ref();
        match self.part_target_us {
            Some(target) => control
                .and_then(|control| control.part_hold_back_us)
                .unwrap_or(target.saturating_mul(3)),
            None => control
                .and_then(|control| control.hold_back_us)
                .unwrap_or(self.target_s.unwrap_or(6).saturating_mul(3_000_000)),
        }
    }

    /// Whether blocking reload is promised and can be used.
    pub fn can_block(&self) -> bool {
        let control = self.server_control.as_ref();
        !self.is_ended && control.is_some_and(|control| control.can_block_reload)
    }

    /// The part that is hinted.
    pub fn part_hint(&self) -> Option<&Hint> {
        self.hints.iter().find(|hint| hint.kind == HintKind::Part)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.length, self.offset.unwrap_or(0))
    }
}
