//! Who asks for a rendition that is made on demand, and for what of it.
//!
//! In:  each request for the rendition, and the segments whose media is waited for. Out: when somebody asked last; the
//! segments, once each. The rendition's owner is woken when there is something new to know.
//! A request costs a load and, once a second, a store; only one that has to wait for media takes a lock.
//! Not here: making media (`live`), what a request is answered with (`origin`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Most segments that may be asked for and not begun; the oldest are forgotten, for players have moved on.
const MOST_WANTED: usize = 64;

/// What viewers want of one rendition.
#[derive(Debug)]
pub struct RungDemand {
    started: Instant,
    /// The second of the last request, from 1 on; 0 before the first.
    asked: AtomicU64,
    wanted: Mutex<BTreeSet<u64>>,
    /// Wakes the owner.
    wake: Arc<Notify>,
}

impl RungDemand {
    /// Nobody has asked; time is counted from `now`.
    pub fn new(now: Instant, wake: Arc<Notify>) -> Self {
        Self {
            started: now,
            asked: AtomicU64::new(0),
            wanted: Mutex::default(),
            wake,
        }
    }

    /// A viewer asks for anything of the rendition at `now`.
    pub fn ask(&self, now: Instant) {
        let second = self.second(now);
        if self.asked.load(Ordering::Relaxed) != second {
            self.asked.store(second, Ordering::Relaxed);
            self.wake.notify_one();
        }
    }

    /// A viewer waits for media of segment `msn`.
    pub fn want(&self, msn: u64) {
        let mut wanted = self.wanted();
        if wanted.insert(msn) {
            if wanted.len() > MOST_WANTED {
                wanted.pop_first();
            }
            self.wake.notify_one();
        }
    }

    /// Whether somebody asked within `patience` of `now`.
    pub fn is_asked(&self, now: Instant, patience: Duration) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked > 0 && self.second(now).saturating_sub(asked) < patience.as_secs()
    }

    /// The segments that were asked for since the last call, the oldest first.
    pub fn take_wanted(&self) -> Vec<u64> {
        std::mem::take(&mut *self.wanted()).into_iter().collect()
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() + 1
    }

    /// A panic while the lock was held leaves a set that is still whole.
    fn wanted(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_woken(wake: &Notify) -> bool {
        use futures_util::FutureExt as _;
        wake.notified().now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_request_wakes_the_owner_once_a_second_and_is_forgotten_in_time() {
        let (start, wake) = (Instant::now(), Arc::new(Notify::new()));
        let at = |ms| start + Duration::from_millis(ms);
        let demand = RungDemand::new(start, Arc::clone(&wake));
        let patience = Duration::from_secs(30);
        assert!(!demand.is_asked(at(0), patience), "nobody has asked");
        demand.ask(at(10));
        assert!(is_woken(&wake));
        demand.ask(at(900));
        assert!(!is_woken(&wake), "the same second");
        demand.ask(at(1200));
        assert!(is_woken(&wake));
        assert!(demand.is_asked(at(1200), patience));
        assert!(demand.is_asked(at(30_900), patience));
        assert!(!demand.is_asked(at(31_200), patience));
        assert!(!demand.is_asked(at(1200), Duration::ZERO));
    }

    #[tokio::test]
    async fn segments_are_wanted_once_and_not_without_end() {
        let wake = Arc::new(Notify::new());
        let demand = RungDemand::new(Instant::now(), Arc::clone(&wake));
        demand.want(7);
        assert!(is_woken(&wake));
        demand.want(7);
        assert!(!is_woken(&wake), "it is known");
        demand.want(5);
        assert_eq!(demand.take_wanted(), [5, 7]);
        assert!(demand.take_wanted().is_empty());
        (0..100).for_each(|msn| demand.want(msn));
        let wanted = demand.take_wanted();
        assert_eq!((wanted[0], wanted.len()), (36, MOST_WANTED));
    }
}
