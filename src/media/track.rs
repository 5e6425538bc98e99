//! A track: one video or audio sequence with one timescale and one codec configuration.

use std::sync::Arc;

use super::codec::{VideoConfig, aac};
use super::time::Timescale;

/// A video track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// Decoder configuration with what its parameter sets say.
    pub config: Arc<VideoConfig>,
}

impl VideoTrack {
    /// Always 90 kHz.
    pub const TIMESCALE: Timescale = Timescale::VIDEO;
}

/// An audio track; its timescale is its sampling rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// Decoder configuration.
    pub config: Arc<aac::Config>,
}

impl AudioTrack {
    /// Ticks per second: the sampling rate.
    pub fn timescale(&self) -> Timescale {
        self.config.timescale()
    }
}

/// The tracks of one rendition, at least one. Sources always have a picture: IVS has no audio-only
/// input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracks {
    /// The picture; none in an audio-only rendition.
    pub video: Option<VideoTrack>,
    /// The sound, if there is any.
    pub audio: Option<AudioTrack>,
}

impl Tracks {
    /// RFC 6381 codec strings of all tracks, comma-separated, as CODECS wants them.
    pub fn codecs(&self) -> String {
        let video = self.video.iter().map(|track| track.config.codec_string());
        let audio = self.audio.iter().map(|track| track.config.codec_string());
        video.chain(audio).collect::<Vec<_>>().join(",")
    }
}
