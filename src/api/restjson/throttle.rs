//! How often something may be asked: one bucket of tokens per name.
//!
//! In:  a name, its rate, the time. Out: yes or no. A bucket holds what a second brings.
//! Pure but for its lock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// Buckets from which those that are full are forgotten.
const MAX_BUCKETS: usize = 1000;

/// Buckets by name.
#[derive(Debug, Default)]
pub(in crate::api) struct Throttle {
    /// When each will be full again.
    full_at: Mutex<HashMap<String, Instant>>,
}

impl Throttle {
    /// Takes a token from the bucket `name`, which gains `rate` of them each second; no rate: as many as you like.
    pub(in crate::api) fn take(&self, name: &str, rate: u32, now: Instant) -> bool {
        if rate == 0 {
            return true;
        }
        // A lock whose holder panicked still guards whole entries.
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let full_at = buckets.get(name).copied().unwrap_or(now).max(now);
        let full_at = full_at + SECOND / rate;
        let is_there = full_at <= now + SECOND;
        if is_there {
            buckets.insert(name.to_owned(), full_at);
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_brings_what_the_rate_says_and_no_more_is_kept() {
        let throttle = Throttle::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let took = |name, rate, ms| {
            (0..10)
                .filter(|_| throttle.take(name, rate, at(ms)))
                .count()
        };
        assert_eq!(took("a", 5, 0), 5);
        assert_eq!(took("b", 1, 0), 1, "each has its own");
        assert_eq!(took("a", 5, 200), 1);
        assert_eq!(took("a", 5, 10_000), 5);
        assert_eq!(took("free", 0, 0), 10);
    }
}
