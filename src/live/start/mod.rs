//! The start of a publish: the first GOP is held until the stream is known to be passable.
//!
//! In:  media events since publish. Out: a [`Verdict`]: hold on, go with these tracks and samples,
//! or refuse in words. Pure. The rule is "Passthrough" of the design: two IDR pictures no more than
//! [`SEGMENT_LIMIT_TICKS`] apart; audio is waited for at most one second.
//! Not here: transcoding what cannot pass (the ladder); later GOPs (`packaging` measures them).

use std::sync::Arc;

use crate::media::codec::{aac, avc};
use crate::media::{AudioTrack, Sample, Timescale, TrackKind, Tracks, VideoTrack};

/// No segment may reach this: 2.49 s of video ticks.
const SEGMENT_LIMIT_TICKS: i64 = 249 * 900;
/// How long audio may stay away before the stream starts without it.
const AUDIO_WAIT_TICKS: i64 = 90_000;
/// Audio without any picture for this long means there is none to come, in microseconds.
const VIDEO_WAIT_MICROS: i64 = 5_000_000;
/// Most bytes held while deciding: 2.49 s at 100 Mb/s.
const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;
/// Below this frame rate (in millihertz) parts would miss their target.
const MIN_FPS_MILLIS: i64 = 9_900;

/// What to do with the publish.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Not known yet.
    Hold,
    /// Pass it through.
    Go(Ready),
    /// Cannot be carried; the text is for the streamer.
    Refuse(String),
}

/// A stream that can pass.
#[derive(Debug)]
pub(super) struct Ready {
    /// What to package.
    pub(super) tracks: Tracks,
    /// The held samples, first IDR first.
    pub(super) samples: Vec<Sample>,
    /// Frames per 1000 seconds, measured over the first GOPs.
    pub(super) fps_millis: u32,
    /// Bits per second of everything held.
    pub(super) measured_bps: u64,
}

impl Ready {
    /// Milliseconds from the first held picture to the last.
    pub(super) fn held_millis(&self) -> i64 {
        let mut pictures = self
            .samples
            .iter()
            .filter(|sample| sample.track == TrackKind::Video);
        let first = pictures.next().map_or(0, |sample| sample.dts);
        let last = pictures.next_back().map_or(first, |sample| sample.dts);
        Timescale::VIDEO.convert(last - first, Timescale::MILLIS)
    }
}

/// The deciding state.
#[derive(Debug, Default)]
pub(super) struct Start {
    video: Option<Arc<avc::Config>>,
    audio: Option<Arc<aac::Config>>,
    held: Vec<Sample>,
    held_bytes: usize,
    first_video_dts: Option<i64>,
    first_audio_dts: Option<i64>,
    last_idr_dts: Option<i64>,
    idr_count: u32,
    frames: i64,
}

impl Start {
    /// A video configuration arrived; one that differs mid-way starts the deciding anew.
    pub(super) fn video_config(&mut self, config: Arc<avc::Config>) {
        if self.video.as_ref().is_some_and(|known| *known != config) {
            *self = Self {
                audio: self.audio.take(),
                ..Self::default()
            };
        }
        self.video = Some(config);
    }

    /// An audio configuration that can be carried arrived.
    pub(super) fn audio_config(&mut self, config: Arc<aac::Config>) {
        if self.audio.as_ref().is_some_and(|known| *known != config) {
            self.held.retain(|sample| sample.track == TrackKind::Video);
            self.first_audio_dts = None;
        }
        self.audio = Some(config);
    }

    /// A sample arrived.
    pub(super) fn push(&mut self, sample: Sample) -> Verdict {
        self.held_bytes += sample.data.len();
        if self.held_bytes > MAX_HELD_BYTES {
            return Verdict::Refuse("the bitrate is too high to be carried".to_owned());
        }
        match sample.track {
            TrackKind::Audio => self.push_audio(sample),
            TrackKind::Video => self.push_video(sample),
        }
    }

    fn push_audio(&mut self, sample: Sample) -> Verdict {
        let Some(config) = &self.audio else {
            return Verdict::Hold;
        };
        let first = *self.first_audio_dts.get_or_insert(sample.dts);
        let waited = config
            .timescale()
            .convert(sample.dts - first, Timescale::MICROS);
        if self.first_video_dts.is_none() && waited > VIDEO_WAIT_MICROS {
            return Verdict::Refuse(
                "the stream has no picture; audio-only input is not supported".to_owned(),
            );
        }
        self.held.push(sample);
        Verdict::Hold
    }

    fn push_video(&mut self, sample: Sample) -> Verdict {
        let Some(video) = &self.video else {
            return Verdict::Hold;
        };
        let first = *self.first_video_dts.get_or_insert(sample.dts);
        let gop = sample.dts - self.last_idr_dts.unwrap_or(first);
        if gop > SEGMENT_LIMIT_TICKS {
            return Verdict::Refuse(LONG_GOP.to_owned());
        }
        let video = Arc::clone(video);
        let dts = sample.dts;
        if sample.is_sync {
            if self.last_idr_dts.is_none() {
                self.first_video_dts = Some(dts);
                self.frames = 0;
            }
            self.last_idr_dts = Some(dts);
            self.idr_count += 1;
        }
        self.frames += 1;
        let is_decidable = sample.is_sync && self.idr_count >= 2;
        if self.last_idr_dts.is_some() {
            self.held.push(sample);
        }
        let elapsed = dts - self.first_video_dts.unwrap_or(dts);
        // A configuration promises nothing: only samples make a track.
        let has_audio_decided = self.first_audio_dts.is_some() || elapsed >= AUDIO_WAIT_TICKS;
        if !(is_decidable && has_audio_decided) {
            return Verdict::Hold;
        }
        self.decide(video, elapsed)
    }

    /// At an IDR picture `elapsed` ticks (more than none) after the first.
    fn decide(&mut self, video: Arc<avc::Config>, elapsed: i64) -> Verdict {
        let fps_millis = (self.frames - 1) * 90_000_000 / elapsed.max(1);
        if fps_millis < MIN_FPS_MILLIS {
            return Verdict::Refuse(format!(
                "{}.{} frames per second cannot be carried yet; set 10 or more in the encoder",
                fps_millis / 1000,
                fps_millis % 1000 / 100
            ));
        }
        let bits = 8 * u64::try_from(self.held_bytes).unwrap_or(u64::MAX / 8);
        let measured_bps = bits.saturating_mul(90_000) / elapsed.max(1).unsigned_abs();
        let audio = self.first_audio_dts.and(self.audio.clone());
        let audio = audio.map(|config| AudioTrack { config });
        Verdict::Go(Ready {
            tracks: Tracks {
                video: VideoTrack { config: video },
                audio,
            },
            samples: std::mem::take(&mut self.held),
            fps_millis: u32::try_from(fps_millis).unwrap_or(u32::MAX),
            measured_bps,
        })
    }
}

/// The refusal of a keyframe interval that no segment can hold.
pub(super) const LONG_GOP: &str = "the keyframe interval is longer than 2.49 s and cannot be \
    carried yet; set it to 2 s (OBS: Settings, Output, Keyframe Interval)";

#[cfg(test)]
mod tests;
