//! The nouns of media: values, bitstream parsing, exact arithmetic.
//!
//! Not here: async, locks, IO, logs, FFmpeg, containers (`packaging`), wire formats (`ingest`).
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod time;
pub mod sample;
pub mod track;
pub mod codec;

pub use sample::{Sample, TrackKind};
pub use time::Timescale;
pub use track::{AudioTrack, Tracks, VideoTrack};
