//! Wall-clock time as a value, and the one place that reads it.
//!
//! In:  nothing. Out: [`WallTime`], printed as RFC 3339 with milliseconds and `Z`.
//! Not here: media time (`media::time`); durations and timeouts (tokio time, which tests pause).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

impl WallTime {
    /// This instant moved by `millis` (negative: earlier), saturating.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this instant; negative if `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339 in whole seconds, rounded down, for example `2026-10-01T10:00:00Z`.
    pub fn in_seconds(self) -> String {
        self.instant().format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// For the calendar; instants outside chrono's range are the epoch.
    pub fn instant(self) -> chrono::DateTime<chrono::Utc> {
        chrono::DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339, for example `2026-10-01T10:00:00.000Z`; instants outside chrono's range print
    /// as the epoch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.instant().format("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

/// Text that is not an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date and time")]
pub struct InvalidTime;

impl FromStr for WallTime {
    type Err = InvalidTime;

    /// Reads RFC 3339 to the millisecond.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let instant = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| InvalidTime)?;
        Ok(Self(instant.timestamp_millis()))
    }
}

/// A source of wall-clock time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The current instant.
    fn now(&self) -> WallTime;
}

/// A shared clock handle.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one reader of the system clock"
    )]
    fn now(&self) -> WallTime {
        WallTime(chrono::Utc::now().timestamp_millis())
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct SimulatedClock(AtomicI64);

impl SimulatedClock {
    /// A clock standing at `start`.
    pub fn new(start: WallTime) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves the clock forward by `millis`.
    pub fn advance_millis(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> WallTime {
        WallTime(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for millis in [0, 1_790_848_800_007, -1] {
            let printed = WallTime(millis).to_string();
            assert_eq!(printed.parse(), Ok(WallTime(millis)), "{printed}");
        }
        for text in ["", "2026-10-01", "2026-10-01T10:00:00.000", "x"] {
            assert_eq!(text.parse::<WallTime>(), Err(InvalidTime), "{text}");
        }
    }

    #[test]
    fn prints_milliseconds_or_seconds_and_z() {
        let t = WallTime(1_790_848_800_907);
        assert_eq!(t.to_string(), "2026-10-01T10:00:00.907Z");
        assert_eq!(t.in_seconds(), "2026-10-01T10:00:00Z");
        assert_eq!(WallTime(i64::MAX).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
