//! What is known of a source, and the sizes and rates that follow from that.
//!
//! In:  the upright picture's size, its rates. Out: sizes within boxes, frame rates, the rate of the source's own size.
//! Not here: which renditions there are.

use super::{HALVED_ABOVE, SourceRate, Table};
use crate::media::codec::video::Passing;

/// What a passed sound is announced with at least.
const LEAST_PASSED_BPS: u32 = 96_000;
/// Pixels by which a rung may miss the source's size and be given it.
const SAME_SIZE: u32 = 4;

/// What is known of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Of the upright picture, in square pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Frames in 1000 seconds.
    pub fps_millis: u32,
    /// Whether its pictures can be passed through, and how.
    pub passing: Passing,
    /// Of both tracks.
    pub bitrate_bps: Option<u64>,
    /// None: it has no sound.
    pub audio: Option<SourceAudio>,
}

/// A source's sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAudio {
    /// Whether every player takes it as it is.
    pub is_passable: bool,
    /// Bits per second, as it began.
    pub bitrate_bps: u32,
}

impl SourceAudio {
    /// Bits per second that are announced where it is passed on: it may have begun with silence.
    pub fn passed_bps(&self) -> u32 {
        self.bitrate_bps.max(LEAST_PASSED_BPS)
    }
}

impl Source {
    /// Longer and shorter edge.
    pub(super) fn edges(&self) -> (u32, u32) {
        let (width, height) = (u32::from(self.width), u32::from(self.height));
        (width.max(height), width.min(height))
    }

    /// Whether it is larger than a box of `height` lines, in one dimension at least.
    pub(super) fn exceeds(&self, height: u16) -> bool {
        let (long, short) = self.edges();
        let height = u32::from(height);
        short > height + SAME_SIZE || long > height * 16 / 9 + SAME_SIZE
    }

    /// The even size of the source itself.
    pub(super) fn own_size(&self) -> (u16, u16) {
        ((self.width & !1).max(2), (self.height & !1).max(2))
    }

    /// The size of this source in a box of `height` lines.
    pub(super) fn size_in(&self, height: u16) -> (u16, u16) {
        let (long, short) = self.edges();
        let (box_long, box_short) = (u32::from(height) * 16 / 9, u32::from(height));
        // The box's short edge is met unless the long one would not fit then.
        let (mut to_long, mut to_short) = (long * box_short / short.max(1), box_short);
        if long * 9 > short * 16 + short / 8 {
            (to_long, to_short) = (box_long, short * box_long / long.max(1));
        }
        let (to_long, to_short) = ((to_long & !3).max(4), (to_short & !1).max(2));
        let (own_width, own_height) = self.own_size();
        let own_long = u32::from(own_width.max(own_height));
        let own_short = u32::from(own_width.min(own_height));
        let is_own = to_long + SAME_SIZE >= own_long && to_short + SAME_SIZE >= own_short;
        if is_own {
            return (own_width, own_height);
        }
        let narrow = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX);
        if self.width >= self.height {
            (narrow(to_long), narrow(to_short))
        } else {
            (narrow(to_short), narrow(to_long))
        }
    }

    /// How frames are taken for a rung of at most `max_fps`: every how many, and the rate.
    pub(super) fn frames(&self, max_fps: u32) -> (u32, u32) {
        let most = if max_fps > 30 { 61_000 } else { HALVED_ABOVE };
        let every = self.fps_millis.div_ceil(most).max(1);
        (every, self.fps_millis / every)
    }

    /// The rate of this source's own size, from the table by interpolation.
    pub(super) fn own_bps(&self, table: &Table) -> u32 {
        let is_fast = self.fps_millis > HALVED_ABOVE;
        let pixels = |height: u16| u64::from(height) * u64::from(height) * 16 / 9;
        let own = u64::from(self.width) * u64::from(self.height);
        let kbps = |rate: &SourceRate| u64::from(if is_fast { rate.fast_kbps } else { rate.kbps });
        let above = table
            .source_rates
            .iter()
            .rfind(|rate| pixels(rate.height) >= own);
        let below = table
            .source_rates
            .iter()
            .find(|rate| pixels(rate.height) <= own);
        let from_table = match (above, below) {
            (Some(above), Some(below)) if above != below => {
                let (low, high) = (pixels(below.height), pixels(above.height));
                let span = kbps(above).saturating_sub(kbps(below));
                kbps(below) + span * (own - low) / (high - low).max(1)
            }
            (Some(rate), _) | (None, Some(rate)) => kbps(rate),
            (None, None) => 2000,
        };
        let own_kbps = match table.source_kbps {
            0 => from_table,
            fixed => fixed.into(),
        };
        // More than the source has is wasted; much less than the table's would be seen.
        let wanted = self.bitrate_bps.map_or(own_kbps, |bps| bps / 1000);
        let kbps = own_kbps.min(wanted.max(own_kbps * 6 / 10)).max(50);
        u32::try_from(kbps * 1000).unwrap_or(u32::MAX)
    }
}
