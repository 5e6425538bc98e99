//! The ladder's sound: the source's becomes stereo (or mono) AAC-LC at a few bit rates.
//!
//! In:  samples of any codec that is taken, of any layout and rate, with gaps, overlaps and broken frames.
//! Out: [`AudioOutput`]: samples of each [`AudioEncode`] on one grid of 1024 ticks.
//! Not here: which encodes there are (`ladder`), parts, video.
//! Read: `worker` (the thread), `decoder`, `mixer` (time is made whole here), `encoder`; `silence`.

mod decoder;
mod encoder;
mod mixer;
mod silence;
mod worker;
#[cfg(test)]
mod tests;

use ffmpeg_next as ffmpeg;

use ffmpeg::ChannelLayout;

use super::Error;
use crate::media::Sample;
use crate::media::codec::{AudioConfig, aac};

pub use silence::silent_frame;
pub(super) use worker::AudioWorker;

/// Samples per channel in one AAC frame: the step of the output's grid.
const FRAME: usize = 1024;
/// The same in ticks.
const FRAME_TICKS: i64 = aac::SAMPLES_PER_FRAME;

/// One audio encode: AAC-LC at this rate, stereo or mono as the source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioEncode {
    /// Bits per second, all channels together.
    pub bitrate_bps: u32,
}

/// What the audio thread gives.
#[derive(Debug)]
pub(super) enum AudioOutput {
    /// One AAC frame; `dts` in ticks of the encode's sampling rate, and equal to the pts.
    Sample {
        /// Index into the encodes.
        encode: usize,
        /// The frame.
        sample: Sample,
    },
    /// Something broke and is being restarted, in words for the log.
    Failed {
        /// What happened.
        what: String,
    },
}

/// Why a frame did not get through the pipeline.
#[derive(Debug)]
enum Failure {
    /// Nobody takes the output any more.
    Stopped,
    /// libav failed.
    Broken(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// What all encodes of one stream share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Samples per second.
    pub rate: u32,
    /// 1 or 2; [`silent_frame`] uses more.
    pub channels: usize,
}

impl Shape {
    /// The output for a source: at most stereo, 48 kHz or 44.1 kHz, whichever is nearer in kind.
    fn of(source: &AudioConfig) -> Self {
        let rate = match source.sample_rate() {
            44_100 | 22_050 | 11_025 => 44_100,
            _ => 48_000,
        };
        let channels = if source.is_mono() { 1 } else { 2 };
        Self { rate, channels }
    }

    fn layout(self) -> Result<ChannelLayout, Error> {
        layout(self.channels)
    }
}

/// The layout of AAC's channel configurations, in libav's order of planes.
fn layout(channels: usize) -> Result<ChannelLayout, Error> {
    Ok(match channels {
        1 => ChannelLayout::MONO,
        2 => ChannelLayout::STEREO,
        3 => ChannelLayout::SURROUND,
        4 => ChannelLayout::_4POINT0,
        5 => ChannelLayout::_5POINT0_BACK,
        6 => ChannelLayout::_5POINT1_BACK,
        7 => ChannelLayout::_6POINT1_BACK,
        8 => ChannelLayout::_7POINT1,
        n => return Err(Error::Unsupported(format!("{n} channels"))),
    })
}

/// A count of samples as ticks.
fn ticks(samples: usize) -> i64 {
    i64::try_from(samples).unwrap_or(i64::MAX)
}
