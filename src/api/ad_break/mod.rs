//! Ad breaks of live streams: one at a time on a channel.
//!
//! In:  when a break begins and how long it is. Out: whether it may be.
//! Not here: the ads themselves, which are a player's or a packager's affair.

pub(super) mod insert;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::base::clock::WallTime;

/// The channels with a break that runs or is to come, by stream id.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<String, WallTime>>);

impl Running {
    /// Whether a break of that stream may begin now and last until `end`; if so, it does.
    fn begin(&self, stream_id: &str, end: WallTime, now: WallTime) -> bool {
        // A lock whose holder panicked still guards whole entries.
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|_, end| *end > now);
        if ends.contains_key(stream_id) {
            return false;
        }
        ends.insert(stream_id.to_owned(), end);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_waits_for_the_end_of_the_one_before() {
        let running = Running::default();
        let begin = |stream: &str, end, now| running.begin(stream, WallTime(end), WallTime(now));
        assert!(begin("a", 10, 0));
        assert!(begin("b", 10, 0), "another stream");
        assert!(!begin("a", 20, 9));
        assert!(begin("a", 20, 10));
        assert!(!begin("a", 30, 11));
    }
}
