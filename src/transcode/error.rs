//! Why something is not transcoded.

use ffmpeg_next as ffmpeg;

/// Why there is no transcoder, or a part of it broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call of libav failed.
    #[error("{what}: {source}")]
    Libav {
        /// What was tried.
        what: &'static str,
        /// What libav says.
        source: ffmpeg::Error,
    },
    /// A configuration that is not decoded or encoded here.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// An encoder wrote a configuration that cannot be read.
    #[error("the encoder's configuration: {0}")]
    Config(#[from] crate::media::codec::Error),
    /// The operating system gave no thread.
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Error {
    /// For `map_err`: names what was tried.
    pub(super) fn at(what: &'static str) -> impl Fn(ffmpeg::Error) -> Self {
        move |source| Self::Libav { what, source }
    }
}
