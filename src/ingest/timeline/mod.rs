//! Encoders' timestamps become exact, monotone media time. Step 5 of the walk.
//!
//! In:  wrapping 32-bit milliseconds of two tracks, and `now` for the rare case that they jump.
//! Out: decoding times: video in 90 kHz ticks on the frame grid, audio in samples. Both count from
//! one zero, never go below it, and strictly increase within their track.
//! Not here: B-frame order (the encoder's), discontinuities of playlists (`live`).
//!
//! What encoders do, and what becomes of it:
//! - timestamps wrap after 49.7 days: unwrapped by signed differences;
//! - milliseconds are rounded: video goes onto its frame grid, audio is counted in
//!   samples and only moved when sound is missing, or too much of it has come;
//! - a timestamp repeats or steps back: that frame gets the next free tick (video) or is left out
//!   (audio, which cannot be shortened); if it stays behind, it is a jump;
//! - timestamps jump by more than 3 s: the track goes on where wall time puts it, the other track
//!   follows with the same shift when it makes the same jump.

mod drift;
mod frame_grid;

use std::time::Duration;

use self::drift::Drift;
use self::frame_grid::{FrameGrid, Placed};
use crate::media::{Timescale, TrackKind};

/// Output time of the first message, so that an earlier one of the other track is not negative.
const BASE_MS: i64 = FIRST_APART_MS;
/// A larger step between two messages of a track is a jump.
const JUMP_MS: i64 = 3000;
/// How far from where wall time expects a track another known shift may put it.
const NEAR_MS: i64 = 1000;
/// The same for the first message of a track.
const FIRST_APART_MS: i64 = 3000;
/// Frames behind their predecessors in a row that make a jump.
const MAX_VIDEO_BEHIND: u32 = 8;
const MAX_AUDIO_BEHIND: u32 = 150;

/// When a video frame is decoded and shown, in 90 kHz ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoTime {
    /// Decoding time.
    pub dts: i64,
    /// Presentation time minus decoding time.
    pub composition_offset: i32,
}

/// The media time of one publisher.
#[derive(Debug)]
pub struct Timeline {
    /// Unwrapped milliseconds of the last message, and as it was sent.
    last_raw: Option<(i64, u32)>,
    /// Where the track that spoke last stands.
    front: Option<Position>,
    video: Track,
    audio: Track,
    grid: FrameGrid,
    last_video_dts: i64,
    audio_scale: Timescale,
    /// Start of the next audio frame in samples.
    next_audio: Option<i64>,
    drift: Drift,
    jumps: u32,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    ms: i64,
    at: Duration,
}

#[derive(Debug, Default)]
struct Track {
    shift: i64,
    last: Option<Position>,
    last_raw: i64,
    step_ms: i64,
    behind: u32,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            last_raw: None,
            front: None,
            video: Track::default(),
            audio: Track::default(),
            grid: FrameGrid::default(),
            last_video_dts: -1,
            audio_scale: Timescale::MILLIS,
            next_audio: None,
            drift: Drift::default(),
            jumps: 0,
        }
    }
}

impl Timeline {
    /// A timeline whose zero the first message sets.
    pub fn new() -> Self {
        Self::default()
    }

    /// The encoder's frame rate in thousandths, from metadata or the sequence parameter set.
    pub fn hint_frame_rate(&mut self, fps_millis: u32) {
        self.grid.set_hint(fps_millis);
    }

    /// The sampling rate of the audio that follows.
    pub fn set_audio_scale(&mut self, scale: Timescale) {
        if scale != self.audio_scale {
            let next = self
                .next_audio
                .map(|ticks| self.audio_scale.convert(ticks, scale));
            self.next_audio = next.map(|ticks| ticks.saturating_add(1));
            self.audio_scale = scale;
        }
    }

    /// Jumps of the timestamps since the last call; one that both tracks make counts once.
    pub fn take_jumps(&mut self) -> u32 {
        std::mem::take(&mut self.jumps)
    }

    /// Places a video frame.
    pub fn video(&mut self, timestamp: u32, composition_ms: i32, now: Duration) -> VideoTime {
        let ms = self.place(TrackKind::Video, timestamp, now);
        let is_behind = self.video.last.is_some_and(|last| ms <= last.ms);
        self.video.record(ms, now, is_behind);
        let Placed { dts, pts } = if is_behind {
            let dts = ms.saturating_mul(90);
            Placed {
                dts,
                pts: dts.saturating_add(i64::from(composition_ms).saturating_mul(90)),
            }
        } else {
            self.front = self.video.last;
            self.grid.place(ms, composition_ms)
        };
        let dts = dts.max(self.last_video_dts.saturating_add(1));
        self.last_video_dts = dts;
        let offset = pts
            .saturating_sub(dts)
            .clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        VideoTime {
            dts,
            composition_offset: i32::try_from(offset).unwrap_or(0),
        }
    }

    /// Places an audio frame of so many samples; `None` if there is no room for it.
    pub fn audio(&mut self, timestamp: u32, samples: i64, now: Duration) -> Option<i64> {
        let ms = self.place(TrackKind::Audio, timestamp, now);
        let sent = Timescale::MILLIS.convert(ms, self.audio_scale);
        let counted = self.next_audio.unwrap_or(sent);
        let drift = sent.saturating_sub(counted);
        let correction = self.drift.correct(drift, samples, self.audio_scale);
        let is_behind = correction < 0;
        self.audio.record(ms, now, is_behind);
        if is_behind {
            return None;
        }
        self.front = self.audio.last;
        let start = counted.saturating_add(correction);
        self.next_audio = Some(start.saturating_add(samples));
        Some(start)
    }

    /// Output milliseconds of a message, before rounding and order are repaired.
    fn place(&mut self, kind: TrackKind, timestamp: u32, now: Duration) -> i64 {
        let raw = self.unwrapped_ms(timestamp);
        let (track, other, max_behind) = match kind {
            TrackKind::Video => (&self.video, &self.audio, MAX_VIDEO_BEHIND),
            TrackKind::Audio => (&self.audio, &self.video, MAX_AUDIO_BEHIND),
        };
        let is_jump = track.last.is_none()
            || raw.abs_diff(track.last_raw) > JUMP_MS.unsigned_abs()
            || track.behind >= max_behind;
        // A track that fell behind follows a shift that the other one has chosen in the meantime.
        let may_follow = track.behind > 0 && track.shift != other.shift;
        let mut shift = track.shift;
        let is_first = track.last.is_none();
        let mut is_new_shift = false;
        if is_jump || may_follow {
            match self.known_shift(track, other, raw, now) {
                Some(known) => shift = known,
                None if is_jump => {
                    is_new_shift = !is_first;
                    shift = self
                        .expected(track, now)
                        .unwrap_or(BASE_MS)
                        .saturating_sub(raw);
                }
                None => {}
            }
        }
        let track = match kind {
            TrackKind::Video => &mut self.video,
            TrackKind::Audio => &mut self.audio,
        };
        track.shift = shift;
        track.last_raw = raw;
        if is_new_shift {
            self.jumps = self.jumps.saturating_add(1);
        }
        raw.saturating_add(shift)
    }

    /// The track's own or the other track's shift, if it puts the message near where it is
    /// expected, by the track's own pace or beside the other track.
    fn known_shift(&self, track: &Track, other: &Track, raw: i64, now: Duration) -> Option<i64> {
        let front = self.front?.after(now, 0);
        let tolerance = if track.last.is_none() {
            FIRST_APART_MS
        } else {
            NEAR_MS
        };
        let mut known = [track, other]
            .into_iter()
            .filter(|t| t.last.is_some())
            .map(|t| t.shift);
        known.find(|shift| {
            let ms = raw.saturating_add(*shift);
            let is_near = |expected: i64| ms.abs_diff(expected) <= tolerance.unsigned_abs();
            let is_forward = track.last.is_none_or(|last| ms > last.ms);
            let by_own_pace = track.last.map(|last| last.after(now, track.step_ms));
            is_forward && (by_own_pace.is_some_and(is_near) || is_near(front))
        })
    }

    /// Where wall time expects the track's next message.
    fn expected(&self, track: &Track, now: Duration) -> Option<i64> {
        let own = track.last.map(|last| last.after(now, track.step_ms));
        own.or_else(|| self.front.map(|front| front.after(now, 0)))
    }

    /// Unwraps a timestamp by its signed difference to the last one of either track.
    fn unwrapped_ms(&mut self, timestamp: u32) -> i64 {
        let raw = match self.last_raw {
            None => i64::from(timestamp),
            Some((raw, sent)) => {
                raw.saturating_add(i64::from(timestamp.wrapping_sub(sent).cast_signed()))
            }
        };
        self.last_raw = Some((raw, timestamp));
        raw
    }
}

impl Position {
    /// Where one stands at `now`, at least `step_ms` later.
    fn after(self, now: Duration, step_ms: i64) -> i64 {
        let elapsed = i64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(i64::MAX);
        self.ms.saturating_add(elapsed.max(step_ms))
    }
}

impl Track {
    fn record(&mut self, ms: i64, now: Duration, is_behind: bool) {
        if is_behind {
            self.behind = self.behind.saturating_add(1);
            return;
        }
        self.behind = 0;
        if let Some(last) = self.last {
            self.step_ms = ms.saturating_sub(last.ms).clamp(1, NEAR_MS);
        }
        self.last = Some(Position { ms, at: now });
    }
}

#[cfg(test)]
mod tests;
