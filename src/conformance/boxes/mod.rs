//! What fragmented MP4 says: tracks of initialization sections, samples of parts and segments.
//!
//! In:  bytes of any server. Out: [`Init`], [`Media`], with oddities as facts; an error only for bytes that
//! cannot be walked. Not here: which oddity breaks which rule (`media`). Only H.264, HEVC, AV1 and AAC are looked into.
//! Read: ISO/IEC 14496-12 §8, 23000-19 §7.
//!
//! Our own walk instead of `mp4_atom`, which refuses a whole file for one odd box: here the oddities are the point.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod init;
mod media;
mod walk;

pub use init::{Init, Kind, Track};
pub use media::{Media, Sample};

#[cfg(test)]
mod tests;
