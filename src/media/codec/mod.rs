//! Codec configurations and the few bitstream facts the pipeline needs.

pub mod avc;
pub mod hevc;
pub mod av1;
pub mod vp9;
pub mod aac;
pub mod opus;
pub mod flac;
pub mod mp3;
pub mod nal;
pub mod audio;
pub mod video;
mod bits;
mod picture;

pub use audio::{AudioConfig, AudioKind};
pub use picture::{Colour, Picture};
pub use video::{VideoConfig, VideoKind};

/// Why a codec configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end too early or contradict themselves.
    #[error("malformed {what}: {detail}")]
    Malformed {
        /// Which structure.
        what: &'static str,
        /// What was wrong.
        detail: String,
    },
    /// Well formed, but nothing Weir carries.
    #[error("unsupported {what}: {detail}")]
    Unsupported {
        /// Which structure.
        what: &'static str,
        /// What it asked for.
        detail: String,
    },
}
