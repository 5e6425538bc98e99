//! The start of a publish: the first GOP is held until the stream is known to be passable.
//!
//! In:  media events since publish. Out: a [`Verdict`]: hold on, go with these tracks and samples,
//! or refuse in words. Pure. The rule is "Passthrough" of the design: two IDR pictures no more than
//! a segment's limit apart; audio is waited for at most one second.
//! Not here: transcoding what cannot pass (the ladder); later GOPs (`packaging` measures them).

use std::sync::Arc;

use crate::media::codec::{aac, avc};
use crate::media::{AudioTrack, Sample, Timescale, TrackKind, Tracks, VideoTrack};
use crate::playlist::Config;

/// How long audio may stay away before the stream starts without it.
const AUDIO_WAIT_TICKS: i64 = 90_000;
/// Audio without any picture for this long means there is none to come, in microseconds.
const VIDEO_WAIT_MICROS: i64 = 5_000_000;
/// Most bytes held while deciding: 2.49 s at 100 Mb/s.
const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;
/// No player is offered less than ten frames a second, in millihertz.
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
#[derive(Debug)]
pub(super) struct Start {
    grid: Config,
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
    /// Nothing known yet; parts and segments will be those of `grid`.
    pub(super) fn new(grid: Config) -> Self {
        Self {
            grid,
            video: None,
            audio: None,
            held: Vec::new(),
            held_bytes: 0,
            first_video_dts: None,
            first_audio_dts: None,
            last_idr_dts: None,
            idr_count: 0,
            frames: 0,
        }
    }

    /// A video configuration arrived; one that differs mid-way starts the deciding anew.
    pub(super) fn video_config(&mut self, config: Arc<avc::Config>) {
        if self.video.as_ref().is_some_and(|known| *known != config) {
            let audio = self.audio.take();
            *self = Self {
                audio,
                ..Self::new(self.grid)
            };
        }
        self.video = Some(config);
    }

    /// The audio configuration in force changed; `None` if the new one cannot be carried.
    pub(super) fn audio_config(&mut self, config: Option<Arc<aac::Config>>) {
        if self.audio != config {
            self.held.retain(|sample| sample.track == TrackKind::Video);
            self.first_audio_dts = None;
        }
        self.audio = config;
    }

    /// A sample arrived.
    pub(super) fn push(&mut self, sample: Sample) -> Verdict {
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
        self.hold(sample);
        Verdict::Hold
    }

    fn hold(&mut self, sample: Sample) {
        self.held_bytes += sample.data.len();
        self.held.push(sample);
    }

    fn push_video(&mut self, sample: Sample) -> Verdict {
        let Some(video) = &self.video else {
            return Verdict::Hold;
        };
        let first = *self.first_video_dts.get_or_insert(sample.dts);
        let gop = sample.dts - self.last_idr_dts.unwrap_or(first);
        if gop > segment_limit_ms(&self.grid) * 90 {
            return Verdict::Refuse(long_gop(&self.grid));
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
            self.hold(sample);
        }
        let elapsed = dts - self.first_video_dts.unwrap_or(dts);
        // A configuration promises nothing: only samples make a track.
        let has_audio_decided = self.first_audio_dts.is_some() || elapsed >= AUDIO_WAIT_TICKS;
        if !(is_decidable && has_audio_decided) {
            return Verdict::Hold;
        }
        self.decide(video, elapsed)
    }

    /// Whether whole frames fill a part well enough: rule 19 wants 85 % of the target.
    fn fits(&self, fps_millis: i64) -> bool {
        let target_ms = i64::from(self.grid.part_target_ms);
        // Half a frame in a thousand parts: what measuring adds to a rate that just fits.
        let frames = (target_ms * fps_millis + 1_000) / 1_000_000;
        let filled_ms = frames * 1_000_000 / fps_millis.max(1);
        fps_millis >= MIN_FPS_MILLIS && filled_ms * 100 >= target_ms * 85
    }

    /// At an IDR picture `elapsed` ticks (more than none) after the first.
    fn decide(&mut self, video: Arc<avc::Config>, elapsed: i64) -> Verdict {
        let fps_millis = (self.frames - 1) * 90_000_000 / elapsed.max(1);
        if !self.fits(fps_millis) {
            return Verdict::Refuse(format!(
                "{}.{} frames per second cannot be carried yet; set 24 or more in the encoder",
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

/// What no segment may reach: what still rounds to the target duration, less 10 ms.
fn segment_limit_ms(grid: &Config) -> i64 {
    i64::from(grid.target_duration_s) * 1000 + 490
}

/// The refusal of a keyframe interval that no segment can hold.
pub(super) fn long_gop(grid: &Config) -> String {
    let limit_ms = segment_limit_ms(grid);
    format!(
        "the keyframe interval is longer than {}.{:02} s and cannot be carried yet; set it to {} s \
         (OBS: Settings, Output, Keyframe Interval)",
        limit_ms / 1000,
        limit_ms % 1000 / 10,
        grid.target_duration_s
    )
}

#[cfg(test)]
pub(super) mod tests;
