//! An audio configuration of any codec that is taken. Only AAC is ever in a rendition.
//!
//! In:  configurations and frames. Out: [`AudioConfig`]: what all codecs have in common, how long a frame lasts.
//! Not here: the codecs' own bytes (`aac`, `opus`, `flac`, `mp3`).

use std::sync::Arc;

use bytes::Bytes;

use super::{Error, aac, flac, mp3, opus};
use crate::media::time::Timescale;

/// The codecs that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioKind {
    /// AAC.
    Aac,
    /// Opus.
    Opus,
    /// FLAC.
    Flac,
    /// MP3, which has no configuration of its own: each frame says all.
    Mp3,
}

/// A decoder configuration of a source's sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioConfig {
    /// AAC.
    Aac(Arc<aac::Config>),
    /// Opus.
    Opus(opus::Config),
    /// FLAC.
    Flac(flac::Config),
    /// MP3.
    Mp3(mp3::Config),
}

impl AudioConfig {
    /// Parses a configuration; of MP3, a frame.
    pub fn parse(kind: AudioKind, bytes: &Bytes) -> Result<Self, Error> {
        Ok(match kind {
            AudioKind::Aac => Self::Aac(Arc::new(aac::Config::parse(bytes)?)),
            AudioKind::Opus => Self::Opus(opus::Config::parse(bytes)?),
            AudioKind::Flac => Self::Flac(flac::Config::parse(bytes)?),
            AudioKind::Mp3 => Self::Mp3(mp3::Config::of_frame(bytes)?),
        })
    }

    /// Which codec.
    pub fn kind(&self) -> AudioKind {
        match self {
            Self::Aac(_) => AudioKind::Aac,
            Self::Opus(_) => AudioKind::Opus,
            Self::Flac(_) => AudioKind::Flac,
            Self::Mp3(_) => AudioKind::Mp3,
        }
    }

    /// AAC's, which alone can be in a rendition as it is.
    pub fn as_aac(&self) -> Option<&Arc<aac::Config>> {
        match self {
            Self::Aac(config) => Some(config),
            _ => None,
        }
    }

    /// Samples per second, of AAC its core's; never zero.
    pub fn sample_rate(&self) -> u32 {
        match self {
            Self::Aac(config) => config.sample_rate,
            Self::Opus(_) => opus::SAMPLE_RATE,
            Self::Flac(config) => config.sample_rate,
            Self::Mp3(config) => config.sample_rate,
        }
    }

    /// Ticks per second of the track: the sampling rate.
    pub fn timescale(&self) -> Timescale {
        Timescale::new(self.sample_rate()).unwrap_or(Timescale::MILLIS)
    }

    /// RFC 6381's name of it, for example `mp4a.40.2`.
    pub fn codec_string(&self) -> String {
        match self {
            Self::Aac(config) => config.codec_string(),
            Self::Opus(_) => "Opus".to_owned(),
            Self::Flac(_) => "fLaC".to_owned(),
            Self::Mp3(_) => "mp4a.40.34".to_owned(),
        }
    }

    /// How many channels are coded: 1 or more.
    pub fn channels(&self) -> u8 {
        match self {
            Self::Aac(config) => config.channels,
            Self::Opus(config) => config.channels,
            Self::Flac(config) => config.channels,
            Self::Mp3(config) => config.channels,
        }
    }

    /// Whether it has one channel, however that is coded.
    pub fn is_mono(&self) -> bool {
        match self {
            // HE-AAC v2 carries stereo in one channel.
            Self::Aac(config) => config.channels == 1 && config.object_type != 29,
            _ => self.channels() == 1,
        }
    }

    /// How many samples a frame has, for what is decoded has to be placed; none if it is no frame of this codec.
    pub fn samples_in(&self, frame: &[u8]) -> Option<i64> {
        match self {
            Self::Aac(_) => Some(aac::SAMPLES_PER_FRAME),
            Self::Opus(_) => opus::samples_in(frame),
            Self::Flac(_) => flac::samples_in(frame),
            Self::Mp3(_) => mp3::samples_in(frame),
        }
    }

    /// The fewest samples that its frames usually have.
    pub fn least_samples(&self) -> i64 {
        match self {
            Self::Aac(_) => aac::SAMPLES_PER_FRAME,
            Self::Opus(_) => opus::LEAST_SAMPLES,
            Self::Flac(config) => config.least_samples,
            Self::Mp3(config) => config.samples,
        }
    }

    /// The configuration as a decoder takes it; empty if it needs none.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Aac(config) => &config.bytes,
            Self::Opus(config) => &config.bytes,
            Self::Flac(config) => &config.bytes,
            Self::Mp3(_) => &[],
        }
    }

    /// Whether every player takes it as it is: AAC-LC, mono or stereo.
    pub fn is_stereo_or_mono_lc(&self) -> bool {
        self.as_aac().is_some_and(|aac| aac.is_stereo_or_mono_lc())
    }

    /// Whether it is passed through where that is asked for.
    pub fn is_widely_playable(&self) -> bool {
        self.as_aac().is_some_and(|aac| aac.is_widely_playable())
    }

    /// The configuration in words, for notices and logs.
    pub fn describe(&self) -> String {
        let words = |name: &str| {
            let layout = match self.channels() {
                1 => "mono".to_owned(),
                2 => "stereo".to_owned(),
                n => format!("{n} channels"),
            };
            format!("{name}, {layout}, {} Hz", self.sample_rate())
        };
        match self {
            Self::Aac(config) => config.describe(),
            Self::Opus(_) => words("Opus"),
            Self::Flac(_) => words("FLAC"),
            Self::Mp3(_) => words("MP3"),
        }
    }
}
