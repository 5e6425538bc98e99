//! The start of a publish: the first GOP is held until it is known how the stream runs.
//!
//! In:  media events since publish. Out: a [`Verdict`]: hold on, go this [`Way`] with these samples,
//! or refuse in words. Pure. The rule is "Passthrough" of the design: two IDR pictures no more than
//! a segment's limit apart, at a steady rate that fills parts, in a form that every player takes, are
//! passed through; everything else is transcoded. Audio is waited for at most one second, pictures for as long as a start
//! may take; a picture that stands still while audio goes on is not waited for any longer.
//! Not here: which renditions there are (`plan`); later GOPs (`packaging` measures them).

mod fit;

use std::sync::Arc;

use super::SourceConfig;
use crate::media::codec::avc::Orientation;
use crate::media::codec::{AudioConfig, VideoConfig};
use crate::media::{Sample, Timescale, TrackKind};
use crate::playlist::Config;
use crate::transcode::FrameRate;

pub(super) use self::fit::{Gaps, constant_rate, unplayable};

/// How long audio may stay away before the stream starts without it.
const AUDIO_WAIT_TICKS: i64 = 90_000;
/// How long a stream is looked at that is transcoded in any case.
const LOOK_TICKS: i64 = 90_000;
/// Audio without any picture for this long means there is none to come, in microseconds. Less than a start may take.
const VIDEO_WAIT_MICROS: i64 = 12_000_000;
/// Audio is of no use so long before the first picture: half a second.
const EARLY_AUDIO_TICKS: i64 = 45_000;
/// A picture stands still if so much audio has come after it: half a second.
const STANDSTILL_TICKS: i64 = 45_000;
/// Of a source that says nothing of it and has sent one picture.
const USUAL_FPS_MILLIS: u32 = 30_000;
/// What is wrong with a source that sends no picture for long, while sound goes on.
pub(super) const STANDS_STILL: &str = "the picture stands still for longer than a segment may be";
/// Most bytes held while deciding: 2.49 s at 100 Mb/s.
const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;

/// What to do with the publish.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Not known yet.
    Hold,
    /// Begin.
    Go(Ready),
    /// Cannot be carried; the text is for the streamer.
    Refuse(String),
}

/// How a stream's top rendition is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The source is passed through.
    Pass,
    /// Every rendition is encoded, on a constant frame rate.
    Transcode {
        /// Of the frame grid.
        rate: FrameRate,
        /// Why the source cannot pass, in words for the streamer; none if the channel's type
        /// never passes it.
        reason: Option<String>,
    },
}

/// A stream that can begin.
#[derive(Debug)]
pub(super) struct Ready {
    /// What the source sends.
    pub(super) source: SourceConfig,
    /// The held samples, first IDR first.
    pub(super) samples: Vec<Sample>,
    /// Frames per 1000 seconds, measured over what is held.
    pub(super) fps_millis: u32,
    /// Bits per second of everything held.
    pub(super) measured_bps: u64,
    /// How it runs.
    pub(super) way: Way,
    /// How far it has come, in decoding time.
    reached: i64,
}

impl Ready {
    /// Drops the pictures before the newest IDR picture.
    pub(super) fn skip_to_newest(&mut self) {
        let is_video = |sample: &Sample| sample.track == TrackKind::Video;
        let newest = self.samples.iter().rposition(|s| is_video(s) && s.is_sync);
        let mut index = 0;
        self.samples.retain(|sample| {
            index += 1;
            !is_video(sample) || newest.is_none_or(|newest| index > newest)
        });
    }

    /// Milliseconds since the first held picture.
    pub(super) fn held_millis(&self) -> i64 {
        let is_video = |sample: &&Sample| sample.track == TrackKind::Video;
        let first = self.samples.iter().find(is_video);
        let first = first.map_or(self.reached, |sample| sample.dts);
        Timescale::VIDEO.convert(self.reached - first, Timescale::MILLIS)
    }
}

/// The deciding state.
#[derive(Debug)]
pub(super) struct Start {
    grid: Config,
    may_pass: bool,
    video: Option<Arc<VideoConfig>>,
    audio: Option<Arc<AudioConfig>>,
    held: Vec<Sample>,
    held_bytes: usize,
    first_audio_dts: Option<i64>,
    /// Of the first IDR picture: what is before it cannot be decoded.
    first_dts: Option<i64>,
    last_dts: i64,
    /// When the last frame of sound begins, in the pictures' ticks.
    heard: i64,
    /// By how much sound was ahead when the last picture came.
    lead: i64,
    idr_count: u32,
    is_turned: bool,
    gaps: Gaps,
}

impl Start {
    /// Nothing known yet; parts and segments will be those of `grid`. Without `may_pass` the
    /// stream is transcoded whatever it is.
    pub(super) fn new(grid: Config, may_pass: bool) -> Self {
        Self {
            grid,
            may_pass,
            video: None,
            audio: None,
            held: Vec::new(),
            held_bytes: 0,
            first_audio_dts: None,
            first_dts: None,
            last_dts: 0,
            heard: i64::MIN,
            lead: 0,
            idr_count: 0,
            is_turned: false,
            gaps: Gaps::default(),
        }
    }

    /// A video configuration arrived; one that differs mid-way starts the deciding anew.
    pub(super) fn video_config(&mut self, config: Arc<VideoConfig>) {
        if self.video.as_ref().is_some_and(|known| *known != config) {
            let audio = self.audio.take();
            *self = Self {
                audio,
                ..Self::new(self.grid, self.may_pass)
            };
        }
        self.video = Some(config);
    }

    /// The audio configuration in force changed.
    pub(super) fn audio_config(&mut self, config: Arc<AudioConfig>) {
        if self.audio.as_ref() != Some(&config) {
            self.held.retain(|sample| sample.track == TrackKind::Video);
            self.first_audio_dts = None;
        }
        self.audio = Some(config);
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
        let timescale = config.timescale();
        let waited = timescale.convert(sample.dts - first, Timescale::MICROS);
        if self.first_dts.is_none() && waited > VIDEO_WAIT_MICROS {
            return Verdict::Refuse(
                "the stream has no picture; audio-only input is not supported".to_owned(),
            );
        }
        self.heard = timescale.convert(sample.dts, Timescale::VIDEO);
        self.hold(sample);
        self.stand_still()
    }

    /// Sound tells how long pictures have been missing: it plays on beside the last one.
    fn stand_still(&mut self) -> Verdict {
        let (Some(video), Some(first)) = (self.video.clone(), self.first_dts) else {
            return Verdict::Hold;
        };
        let now = self.heard.saturating_sub(self.lead);
        let longest = if self.may_pass {
            segment_limit_ms(&self.grid) * 90
        } else {
            LOOK_TICKS
        };
        if now - self.last_dts <= STANDSTILL_TICKS || now - first <= longest {
            return Verdict::Hold;
        }
        let reason = self.may_pass.then(|| STANDS_STILL.to_owned());
        self.go(video, now - first, reason)
    }

    fn hold(&mut self, sample: Sample) {
        self.held_bytes += sample.data.len();
        self.held.push(sample);
    }

    fn push_video(&mut self, sample: Sample) -> Verdict {
        let Some(video) = self.video.clone() else {
            return Verdict::Hold;
        };
        if self.first_dts.is_none() && !sample.is_sync {
            return Verdict::Hold;
        }
        if let Some(words) = fit::too_large(&video) {
            return Verdict::Refuse(words);
        }
        let (dts, is_sync) = (sample.dts, sample.is_sync);
        if self.first_dts.is_none() {
            let orientation = video.display_orientation(&sample.data);
            self.is_turned = orientation.is_some_and(Orientation::is_quarter_turn);
            self.forget_sound_before(dts - EARLY_AUDIO_TICKS);
        }
        let elapsed = dts - *self.first_dts.get_or_insert(dts);
        self.idr_count += u32::from(is_sync);
        self.last_dts = dts;
        self.lead = self.heard.saturating_sub(dts).max(0);
        self.gaps.note(dts);
        self.hold(sample);
        // A configuration promises nothing: only samples make a track.
        if self.first_audio_dts.is_none() && elapsed < AUDIO_WAIT_TICKS {
            return Verdict::Hold;
        }
        if !self.may_pass {
            return if elapsed >= LOOK_TICKS {
                self.go(video, elapsed, None)
            } else {
                Verdict::Hold
            };
        }
        if elapsed > segment_limit_ms(&self.grid) * 90 {
            return self.go(video, elapsed, Some(long_gop(&self.grid)));
        }
        if is_sync && self.idr_count >= 2 {
            let unfit = fit::unfit(&self.grid, &video, &self.gaps, &self.held);
            return self.decide(video, elapsed, unfit);
        }
        Verdict::Hold
    }

    /// Nothing but sound is held yet.
    fn forget_sound_before(&mut self, dts: i64) {
        let Some(audio) = &self.audio else { return };
        let from = Timescale::VIDEO.convert(dts, audio.timescale());
        self.held.retain(|sample| sample.dts >= from);
        self.held_bytes = self.held.iter().map(|sample| sample.data.len()).sum();
    }

    /// At an IDR picture that comes in time: passed through unless something is unfit.
    fn decide(&mut self, video: Arc<VideoConfig>, elapsed: i64, unfit: Option<String>) -> Verdict {
        if unfit.is_some() {
            return self.go(video, elapsed, unfit);
        }
        self.ready(video, elapsed, Way::Pass)
    }

    /// Goes the transcoded way.
    fn go(&mut self, video: Arc<VideoConfig>, elapsed: i64, reason: Option<String>) -> Verdict {
        let rate = constant_rate(&self.grid, self.fps_millis(&video));
        self.ready(video, elapsed, Way::Transcode { rate, reason })
    }

    /// `elapsed` ticks (more than none) after the first picture.
    fn ready(&mut self, video: Arc<VideoConfig>, elapsed: i64, way: Way) -> Verdict {
        let fps_millis = self.fps_millis(&video);
        let bits = 8 * u64::try_from(self.held_bytes).unwrap_or(u64::MAX / 8);
        let measured_bps = bits.saturating_mul(90_000) / elapsed.max(1).unsigned_abs();
        Verdict::Go(Ready {
            source: SourceConfig {
                video,
                audio: self.first_audio_dts.and(self.audio.clone()),
                audio_bps: self.audio_bps(),
                is_turned: self.is_turned,
            },
            samples: std::mem::take(&mut self.held),
            fps_millis,
            measured_bps,
            way,
            reached: self.first_dts.unwrap_or(0) + elapsed,
        })
    }

    /// As measured; of a lone picture, as declared.
    fn fps_millis(&self, video: &VideoConfig) -> u32 {
        let declared = video.declared_fps_millis;
        match self.gaps.fps_millis(declared) {
            0 => declared.unwrap_or(USUAL_FPS_MILLIS),
            measured => measured,
        }
    }

    /// Bits per second of the sound that is held.
    fn audio_bps(&self) -> u32 {
        let Some(audio) = &self.audio else {
            return 0;
        };
        let sounds = self.held.iter().filter(|s| s.track == TrackKind::Audio);
        let (ticks, bytes) = sounds.fold((0_u64, 0), |(ticks, bytes), sample| {
            let lasts = audio.samples_in(&sample.data).unwrap_or(0);
            (
                ticks + lasts.unsigned_abs(),
                bytes + sample.data.len() as u64,
            )
        });
        let bps = (bytes * 8 * u64::from(audio.sample_rate()))
            .checked_div(ticks)
            .unwrap_or(0);
        u32::try_from(bps).unwrap_or(u32::MAX)
    }
}

/// What no segment may reach: what still rounds to the target duration, less 10 ms.
pub(super) fn segment_limit_ms(grid: &Config) -> i64 {
    i64::from(grid.target_duration_s) * 1000 + 490
}

/// What is wrong with a keyframe interval that no segment can hold.
pub(super) fn long_gop(grid: &Config) -> String {
    let limit_ms = segment_limit_ms(grid);
    format!(
        "the keyframe interval is longer than {}.{:02} s; set it to {} s \
         (OBS: Settings, Output, Keyframe Interval)",
        limit_ms / 1000,
        limit_ms % 1000 / 10,
        grid.target_duration_s
    )
}

#[cfg(test)]
pub(super) mod tests;
