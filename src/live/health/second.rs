//! One second of a stream, measured.

use crate::base::clock::WallTime;

/// What came within about a second. Counts are of this second, unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Its end.
    pub at: WallTime,
    /// How long it was: a task that was busy closes it late.
    pub elapsed_ms: u64,
    /// Bits of pictures.
    pub video_bits: u64,
    /// Bits of sound.
    pub audio_bits: u64,
    /// Pictures.
    pub pictures: u64,
    /// Frames of sound.
    pub sounds: u64,
    /// By how much the stream's own clock went on.
    pub media_ms: u64,
    /// Pictures that a steady rate has and this stream has not.
    pub missing_pictures: u64,
    /// Pictures that come sooner or later than a steady rate has them.
    pub uneven_pictures: u64,
    /// The keyframe interval now: that of the newest whole GOP, or of the open one if that is longer
    /// already; none before the second keyframe.
    pub keyframe_interval_ms: Option<u64>,
    /// By how much sound runs ahead of the picture (behind: negative), compared with the stream's
    /// start; none without both.
    pub av_drift_ms: Option<i64>,
    /// Units that were broken, or had no place in time.
    pub dropped_units: u64,
    /// Jumps of the encoder's timestamps.
    pub jumps: u64,
    /// Parts that viewers were given.
    pub parts: u64,
    /// Those of them that came later than the playlist promises.
    pub late_parts: u64,
    /// Whether fewer bits or less media came than there should.
    pub is_starving: bool,
}

impl Second {
    /// Bits per second of both tracks, as they came.
    pub fn bitrate_bps(&self) -> u64 {
        per_second(self.video_bits + self.audio_bits, self.elapsed_ms)
    }

    /// Bits per second of the pictures.
    pub fn video_bitrate_bps(&self) -> u64 {
        per_second(self.video_bits, self.elapsed_ms)
    }

    /// Bits per second of the sound.
    pub fn audio_bitrate_bps(&self) -> u64 {
        per_second(self.audio_bits, self.elapsed_ms)
    }

    /// Pictures per 1000 seconds, as they came.
    pub fn fps_millis(&self) -> u64 {
        per_second(self.pictures * 1000, self.elapsed_ms)
    }
}

/// `count` things in `elapsed_ms`, per second.
pub(super) fn per_second(count: u64, elapsed_ms: u64) -> u64 {
    count.saturating_mul(1000) / elapsed_ms.max(1)
}
