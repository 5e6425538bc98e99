//! Packaging: samples become CMAF. Step 10 of the walk.
//!
//! In:  `media::Sample`s of one rendition, each track in decode order.
//! Out: one `InitSection`, then gapless `Part`s; a segment is the concatenation of its
//! parts, from the one that opens it, on a sync sample, to the one that closes it. A leader cuts by
//! its own samples; followers fill the spans of the leader's parts, one part each.
//! Not here: URLs and playlist text (`playlist`), what the wall clock says (`live`), policy on codecs.
//! Read: ISO/IEC 14496-12 for boxes, 14496-14 and -15 for sample entries, 23000-19 for CMAF.

pub mod segmenter;
pub mod fragment;
mod cue;
mod init;
mod read_fragment;
mod read_init;
mod packager;

pub use cue::{Author, Cue, MAX_TEXT_BYTES};
pub use packager::Packager;
pub use read_fragment::pictures;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::media::{TrackKind, Tracks};

/// The grid; frozen for as long as a playlist lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// PART-TARGET: no part lasts longer. 334 holds ten frames at 29.97 fps.
    pub part_target_ms: u32,
    /// EXT-X-TARGETDURATION: no segment lasts longer, rounded to the nearest second.
    pub target_duration_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            part_target_ms: 334,
            target_duration_s: 2,
        }
    }
}

impl Config {
    /// Refuses a grid that cannot be cut.
    pub fn validate(&self) -> Result<(), Error> {
        let target_ms = u64::from(self.target_duration_s).saturating_mul(1000);
        if !(100..=target_ms).contains(&u64::from(self.part_target_ms)) {
            return Err(Error::Config {
                part_target_ms: self.part_target_ms,
                target_ms,
            });
        }
        Ok(())
    }
}

/// `ftyp` and `moov`: what a decoder needs before the first part. Equal tracks give equal bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct InitSection {
    /// The section.
    pub bytes: Bytes,
    /// Eight hex digits of the content's SHA-256; they name its URI.
    pub hash: String,
    /// The tracks it describes.
    pub tracks: Tracks,
}

impl fmt::Debug for InitSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InitSection")
            .field("hash", &self.hash)
            .field("codecs", &self.tracks.codecs())
            .finish_non_exhaustive()
    }
}

/// A partial segment: one fragment, `moof` and `mdat`, behind the `emsg` boxes of what is said in it.
///
/// Times are the video's decoding times in 90 kHz ticks. Parts follow each other without a gap,
/// `start + duration` of one being `start` of the next, with one exception: a stretch longer than
/// the part target in which no sample of any track begins belongs to no part.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Part {
    /// `emsg`s, `moof` and `mdat`.
    pub bytes: Bytes,
    /// When it begins.
    pub start: i64,
    /// How long it lasts; never more than the part target.
    pub duration: i64,
    /// Whether it holds a video sync sample.
    pub is_independent: bool,
    /// Whether it is the first of a segment; then its first video sample is a sync sample.
    pub opens_segment: bool,
    /// Whether it is the last of its segment.
    pub closes_segment: bool,
    /// Whether it is missing: then it has no bytes. Only followers have such parts.
    pub is_gap: bool,
    /// Whether its bytes are made when somebody asks for them; until then it has none. A promise that cannot be kept
    /// is taken back: such a part has neither bytes nor a gap, for it was listed without one.
    pub is_promised: bool,
}

impl Part {
    /// The stretch of the timeline that it takes.
    pub fn span(&self) -> segmenter::Span {
        segmenter::Span {
            start: self.start,
            end: self.start.saturating_add(self.duration),
            opens_segment: self.opens_segment,
            closes_segment: self.closes_segment,
        }
    }

    /// A part of a rendition that begins each segment with a sync sample, to be made when somebody asks for it.
    pub fn promised(span: &segmenter::Span) -> Self {
        Self {
            is_independent: span.opens_segment,
            is_gap: false,
            is_promised: true,
            ..Self::gap(span)
        }
    }

    /// A part that is missing.
    fn gap(span: &segmenter::Span) -> Self {
        Self {
            bytes: Bytes::new(),
            start: span.start,
            duration: span.end - span.start,
            is_independent: false,
            opens_segment: span.opens_segment,
            closes_segment: span.closes_segment,
            is_gap: true,
            is_promised: false,
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("start", &self.start)
            .field("duration", &self.duration)
            .field("bytes", &self.bytes.len())
            .field("is_independent", &self.is_independent)
            .field("opens_segment", &self.opens_segment)
            .field("closes_segment", &self.closes_segment)
            .field("is_gap", &self.is_gap)
            .field("is_promised", &self.is_promised)
            .finish()
    }
}

/// Why samples could not be packaged. None is cured by trying again; what is complete can still
/// be had with [`Packager::finish`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The grid cannot be cut.
    #[error("part target of {part_target_ms} ms is not within 100 and {target_ms} ms")]
    Config {
        /// What was asked for.
        part_target_ms: u32,
        /// The target duration.
        target_ms: u64,
    },
    /// The open segment would outgrow the target duration: the encoder's keyframes are too far
    /// apart for passthrough.
    #[error("no keyframe came in time to close a segment, {elapsed_ms} ms after it began")]
    GopTooLong {
        /// Media time since the open segment's start.
        elapsed_ms: i64,
    },
    /// Decoding times are not negative, increase within a track, and end at 2^60.
    #[error("{track:?} sample at tick {dts} does not follow tick {previous}")]
    OutOfOrder {
        /// The track.
        track: TrackKind,
        /// The sample's decoding time.
        dts: i64,
        /// The decoding time before it; -1 before the first.
        previous: i64,
    },
    /// One part's worth of samples is larger than any real stream's.
    #[error("samples of {held_bytes} bytes wait to become a part")]
    TooMuchHeld {
        /// What waits, the refused sample included.
        held_bytes: usize,
    },
}

/// Track id of the picture.
const VIDEO_TRACK_ID: u32 = 1;
/// Track id of the sound.
const AUDIO_TRACK_ID: u32 = 2;
