//! Codec configurations and the few bitstream facts the pipeline needs.

pub mod avc;
pub mod aac;

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
