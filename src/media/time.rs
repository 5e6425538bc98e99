//! Media time: integer ticks of a timescale, one rounding rule, no floats in logic.
//!
//! Ticks are `i64`; 90 kHz lasts 3 million years. Conversions go through `i128` and round down
//! (toward minus infinity), so that `convert` is monotone.

use std::num::NonZeroU32;

/// Ticks per second of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// 90 kHz: video tracks.
    pub const VIDEO: Self = Self(NonZeroU32::new(90_000).expect("not zero"));
    /// 1 kHz: RTMP timestamps.
    pub const MILLIS: Self = Self(NonZeroU32::new(1_000).expect("not zero"));
    /// 1 MHz: comparing tracks with each other.
    pub const MICROS: Self = Self(NonZeroU32::new(1_000_000).expect("not zero"));

    /// A timescale of `hz` ticks per second; `None` if zero.
    pub const fn new(hz: u32) -> Option<Self> {
        match NonZeroU32::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Ticks per second.
    pub const fn hz(self) -> u32 {
        self.0.get()
    }

    /// `ticks` of this timescale in ticks of `to`, rounded down, saturating at `i64`'s ends.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "i64 * u32 fits i128; the divisor is not 0"
    )]
    pub fn convert(self, ticks: i64, to: Self) -> i64 {
        let scaled = i128::from(ticks) * i128::from(to.hz());
        let floored = scaled.div_euclid(i128::from(self.hz()));
        i64::try_from(floored).unwrap_or(if floored < 0 { i64::MIN } else { i64::MAX })
    }

    /// `ticks` in seconds, for text and measurements only.
    #[expect(clippy::cast_precision_loss, reason = "text needs five decimals")]
    pub fn seconds(self, ticks: i64) -> f64 {
        ticks as f64 / f64::from(self.hz())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_rounding_down_on_both_sides_of_zero() {
        let audio = Timescale::new(48_000).unwrap();
        assert_eq!(audio.convert(1024, Timescale::VIDEO), 1920);
        assert_eq!(Timescale::VIDEO.convert(1, Timescale::MILLIS), 0);
        assert_eq!(Timescale::VIDEO.convert(-1, Timescale::MILLIS), -1);
        assert_eq!(
            Timescale::MILLIS.convert(i64::MAX, Timescale::VIDEO),
            i64::MAX
        );
    }
}
