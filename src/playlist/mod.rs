//! Playlist: parts become a live window and its text. Step 11 of the walk.
//!
//! In:  `packaging::Part`s of one rendition, in order, on timelines opened by their owner.
//! Out: after each part an immutable `Snapshot` with the playlists' text and everything they
//!      name; a `Directory` from which the origin watches snapshots.
//! Not here: HTTP (`origin`), waiting, disk, the wall clock (it is an argument).
//! Read: draft-pantos-hls-rfc8216bis-22.

pub mod ad_break;
pub mod audience;
pub mod demand;
pub mod directory;
pub mod file_name;
pub mod multivariant;
pub mod plain;
pub mod snapshot;
pub mod window;
mod media;
mod scte35;
mod tags;

#[cfg(test)]
pub(crate) mod fixtures;

pub use ad_break::AdBreak;
pub use audience::Audience;
pub use demand::RungDemand;
pub use directory::{Directory, Expected, Listed, LiveChannel, RenditionHandle};
pub use file_name::{MediaFile, Position};
pub use multivariant::Variant;
pub use plain::{Plain, PlainSegment};
pub use snapshot::Snapshot;
pub use tags::Seconds5;
pub use window::restore::{Past, PastSegment};
pub use window::{RenditionReport, Segment, Window};

use serde::{Deserialize, Serialize};

use crate::media::Timescale;

/// Fewest segments that a playlist shrinks to (Apple's authoring specification 8.11).
pub const MIN_SEGMENTS: u32 = 6;
/// Longest window; what is longer belongs on disk.
const MAX_WINDOW_SECONDS: u32 = 3600;
/// Delta updates are offered for windows longer than this.
const DELTA_ABOVE_SECONDS: u32 = 60;

/// What every playlist of a channel declares. It is frozen for an epoch and never measured:
/// players treat a change of these numbers as fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// EXT-X-TARGETDURATION.
    pub target_duration_s: u32,
    /// PART-TARGET.
    pub part_target_ms: u32,
    /// Least media a playlist lists once it has it.
    pub window_seconds: u32,
    /// Whether anything is listed before its segment is complete. Each channel says for itself.
    #[serde(skip)]
    pub is_low_latency: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target_duration_s: 2,
            part_target_ms: 334,
            window_seconds: 30,
            is_low_latency: true,
        }
    }
}

impl Config {
    /// Refuses numbers no player could follow.
    pub fn validate(&self) -> Result<(), Error> {
        if !(1..=10).contains(&self.target_duration_s) {
            return Err(Error::TargetDuration(self.target_duration_s));
        }
        let most = self.target_duration_s * 1000;
        if !(100..=most).contains(&self.part_target_ms) {
            let given = self.part_target_ms;
            return Err(Error::PartTarget { given, most });
        }
        let least = MIN_SEGMENTS * self.target_duration_s;
        if !(least..=MAX_WINDOW_SECONDS).contains(&self.window_seconds) {
            let given = self.window_seconds;
            return Err(Error::Window { given, least });
        }
        Ok(())
    }

    /// HOLD-BACK: where players without parts start, three target durations from the end.
    pub fn hold_back_ms(&self) -> u32 {
        self.target_duration_s.saturating_mul(3000)
    }

    /// PART-HOLD-BACK: three part targets.
    pub fn part_hold_back_ms(&self) -> u32 {
        self.part_target_ms.saturating_mul(3)
    }

    /// CAN-SKIP-UNTIL, where delta updates are offered.
    pub fn skip_until_ms(&self) -> Option<u32> {
        let is_offered = self.is_low_latency && self.window_seconds > DELTA_ABOVE_SECONDS;
        is_offered.then(|| self.target_duration_s.saturating_mul(6000))
    }

    /// How many parts ahead of the newest a blocking reload may ask: the draft's Advance Part
    /// Limit (§6.2.5.2), or a segment's parts if those are more.
    pub fn advance_part_limit(&self) -> u32 {
        let part_ms = self.part_target_ms.max(1);
        let specified = 3000_u32.div_ceil(part_ms).max(3);
        let longest_segment_ms = self.target_duration_s.saturating_mul(1000) + 490;
        specified.max(longest_segment_ms.div_ceil(part_ms))
    }

    /// The longest EXTINF that still rounds to the target duration, in ticks.
    fn longest_segment_ticks(&self) -> i64 {
        ticks(i64::from(self.target_duration_s) * 1000) + i64::from(Timescale::VIDEO.hz()) / 2 - 2
    }
}

/// Milliseconds in 90 kHz ticks.
fn ticks(millis: i64) -> i64 {
    Timescale::MILLIS.convert(millis, Timescale::VIDEO)
}

/// What is wrong with a [`Config`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A target duration out of range.
    #[error("target_duration_s {0} is not between 1 and 10")]
    TargetDuration(u32),
    /// A part target out of range.
    #[error("part_target_ms {given} is not between 100 and {most} (one target duration)")]
    PartTarget {
        /// As configured.
        given: u32,
        /// The target duration.
        most: u32,
    },
    /// A window out of range.
    #[error("window_seconds {given} is not between {least} (6 target durations) and 3600")]
    Window {
        /// As configured.
        given: u32,
        /// Six target durations.
        least: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validates_the_numbers_players_depend_on() {
        let (td, pt, window) = (2, 334, 30);
        let cases = [
            (td, pt, window, None),
            (td, 1000, 12, None),
            (0, pt, window, Some("target_duration_s 0 ")),
            (11, pt, 100, Some("target_duration_s 11 ")),
            (td, 99, window, Some("part_target_ms 99 ")),
            (td, 2001, window, Some("part_target_ms 2001 ")),
            (td, pt, 11, Some("window_seconds 11 is not between 12 ")),
            (td, pt, 3601, Some("window_seconds 3601 ")),
        ];
        for (target_duration_s, part_target_ms, window_seconds, refusal) in cases {
            let config = Config {
                target_duration_s,
                part_target_ms,
                window_seconds,
                ..Config::default()
            };
            let error = config.validate().err().map(|e| e.to_string());
            match refusal {
                None => assert_eq!(error, None),
                Some(text) => assert!(error.as_deref().unwrap_or("").starts_with(text)),
            }
        }
    }

    #[test]
    fn derives_what_server_control_declares() {
        let config = Config::default();
        assert_eq!(config.part_hold_back_ms(), 1002);
        assert_eq!(config.hold_back_ms(), 6000);
        assert_eq!(config.skip_until_ms(), None);
        assert_eq!(config.advance_part_limit(), 9);
        let long = Config {
            part_target_ms: 1000,
            window_seconds: 61,
            ..config
        };
        assert_eq!(long.skip_until_ms(), Some(12_000));
        assert_eq!(long.advance_part_limit(), 3);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let parse = serde_json::from_str::<Config>;
        assert_eq!(
            parse(r#"{"window_seconds":60}"#).unwrap().window_seconds,
            60
        );
        assert!(parse(r#"{"windowseconds":60}"#).is_err());
    }
}
