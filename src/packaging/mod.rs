//! Packaging: samples become CMAF. Step 10 of the walk.

use bytes::Bytes;

use crate::media::Tracks;

/// An initialization section: `ftyp` and `moov`.
#[derive(Clone, Debug)]
pub struct InitSection {
    /// The boxes.
    pub bytes: Bytes,
    /// Eight hexadecimal digits of the content's digest; they name the URI.
    pub hash: String,
    /// What it describes.
    pub tracks: Tracks,
}

/// An LL-HLS partial segment.
#[derive(Clone, Debug)]
pub struct Part {
    /// `moof` and `mdat`.
    pub bytes: Bytes,
    /// Decoding time of the first video sample, in 90 kHz ticks.
    pub start: i64,
    /// Ticks.
    pub duration: i64,
    /// Whether it holds a sync sample.
    pub is_independent: bool,
    /// First of its segment.
    pub opens_segment: bool,
    /// Last of its segment.
    pub closes_segment: bool,
}
