//! Tokens that were refused, by the address that sent them: who sends too many is not looked at for a while.
//!
//! In:  a client's address, the time, the verification of its token. Out: what came of it, or that it was not made.
//! A signature takes milliseconds to verify: without a bound, a few hundred made-up tokens a second would take a
//! processor from everybody. Good tokens cost nothing here, however many viewers share an address; beside a flood from
//! their own address they get in as often as tries are left. Bounded: addresses that share a bucket cannot tell.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::rules::Refusal;
use crate::origin::playback_token::Invalid;

/// How long it takes until one more may fail.
const PERIOD: Duration = Duration::from_millis(50);
/// How many may fail at once.
const MOST: u32 = 100;
/// Buckets of tries; an address has one of them by chance.
const BUCKETS: usize = 1 << 14;

/// How many tries each bucket has left.
#[derive(Debug)]
pub struct Tries {
    by_chance: RandomState,
    /// When each will be full again; none: it is.
    full_at: Mutex<Vec<Option<Instant>>>,
}

impl Default for Tries {
    fn default() -> Self {
        Self {
            by_chance: RandomState::new(),
            full_at: Mutex::new(vec![None; BUCKETS]),
        }
    }
}

impl Tries {
    /// What comes of the verification, if the address has tries left. It uses one up if it fails for more than the form.
    pub fn judge<T>(
        &self,
        address: IpAddr,
        now: Instant,
        verify: impl FnOnce() -> Result<T, Invalid>,
    ) -> Result<T, Refusal> {
        let bucket = self.bucket(address);
        if !self.take(bucket, now) {
            return Err(Refusal::Busy);
        }
        let outcome = verify();
        let is_cheap = matches!(
            outcome,
            Ok(_) | Err(Invalid::TooLong | Invalid::Malformed | Invalid::Algorithm)
        );
        if is_cheap {
            self.give_back(bucket);
        }
        Ok(outcome?)
    }

    /// A client of IPv6 has a whole network of addresses.
    fn bucket(&self, address: IpAddr) -> usize {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        let chance = self.by_chance.hash_one(network) % BUCKETS as u64;
        usize::try_from(chance).unwrap_or(0)
    }

    fn take(&self, bucket: usize, now: Instant) -> bool {
        let mut buckets = self.lock();
        let Some(bucket) = buckets.get_mut(bucket) else {
            return false;
        };
        let full_at = bucket.map_or(now, |full_at| full_at.max(now)) + PERIOD;
        let is_left = full_at <= now + PERIOD * MOST;
        if is_left {
            *bucket = Some(full_at);
        }
        is_left
    }

    fn give_back(&self, bucket: usize) {
        if let Some(bucket) = self.lock().get_mut(bucket) {
            *bucket = bucket.and_then(|full_at| full_at.checked_sub(PERIOD));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Instant>>> {
        // A lock whose holder panicked still guards whole entries.
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 1,000 such tokens are verified.
    fn verified(tries: &Tries, address: &str, now: Instant, outcome: Result<(), Invalid>) -> u32 {
        let mut count = 0;
        for _ in 0..1000 {
            let verify = || {
                count += 1;
                outcome
            };
            tries.judge(address.parse().unwrap(), now, verify).ok();
        }
        count
    }

    #[test]
    fn a_flood_of_forged_tokens_is_looked_at_now_and_then() {
        let (tries, now) = (Tries::default(), Instant::now());
        let forged = Err(Invalid::Signature);
        assert_eq!(verified(&tries, "192.0.2.1", now, forged), MOST);
        let later = now + Duration::from_secs(1);
        assert_eq!(verified(&tries, "192.0.2.1", later, forged), 20);
        assert_eq!(verified(&tries, "::ffff:192.0.2.1", later, forged), 0);
        let good: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(tries.judge(good, later, || Ok(())), Err(Refusal::Busy));
        let later = later + PERIOD;
        assert_eq!(verified(&tries, "192.0.2.1", later, Ok(())), 1000);
        let hour = now + Duration::from_hours(1);
        assert_eq!(verified(&tries, "192.0.2.1", hour, forged), MOST);
    }

    #[test]
    fn good_and_shapeless_tokens_use_nothing_up_and_each_network_has_its_own_tries() {
        let (tries, now) = (Tries::default(), Instant::now());
        for outcome in [Ok(()), Err(Invalid::Malformed), Err(Invalid::TooLong)] {
            assert_eq!(verified(&tries, "2001:db8::1", now, outcome), 1000);
        }
        let expired = Err(Invalid::Expired);
        assert_eq!(verified(&tries, "2001:db8::1", now, expired), MOST);
        assert_eq!(verified(&tries, "2001:db8::2", now, expired), 0);
        // By chance, some share a bucket with the first; hardly ever do three of three.
        let others = ["2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"];
        let others = others.map(|other| verified(&tries, other, now, expired));
        assert!(others.contains(&MOST), "{others:?}");
    }
}
