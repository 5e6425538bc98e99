//! Tokens that can be used once: which were.
//!
//! In:  a token's UUID, when it expires, the time. Out: whether this is its first use. Pure.
//! Remembered until the token has expired; in memory only, so that no start of playback waits for a database. A token
//! that was used just before a restart can be used again, for the ten minutes at most for which it is good.

use std::collections::HashMap;

/// Most tokens remembered; a few megabytes.
const MOST: usize = 1 << 18;

/// The tokens that were used and have not expired.
#[derive(Debug, Default)]
pub struct UsedTokens {
    expiries_s: HashMap<u128, u64>,
}

/// What became of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The first.
    First,
    /// It was used before.
    Again,
    /// There is no room to remember it.
    Full,
}

impl UsedTokens {
    /// Uses a token that has not expired.
    pub fn spend(&mut self, uuid: u128, expires_s: u64, now_s: u64) -> Use {
        if self.expiries_s.contains_key(&uuid) {
            return Use::Again;
        }
        // When it is full, and as often as it has doubled: a token's share of that is small.
        if self.expiries_s.len() == self.expiries_s.capacity().min(MOST) {
            self.expiries_s.retain(|_, expires_s| *expires_s > now_s);
        }
        if self.expiries_s.len() >= MOST {
            return Use::Full;
        }
        self.expiries_s.insert(uuid, expires_s);
        Use::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_is_once_until_there_is_no_room() {
        let mut used = UsedTokens::default();
        for uuid in 0..MOST as u128 {
            assert_eq!(used.spend(uuid, 1600, 1000), Use::First);
        }
        assert_eq!(used.spend(0, 1600, 1000), Use::Again);
        assert_eq!(used.spend(MOST as u128, 1600, 1599), Use::Full);
        assert_eq!(
            used.spend(MOST as u128, 1700, 1600),
            Use::First,
            "the others have expired"
        );
        assert_eq!(used.spend(MOST as u128, 1700, 1600), Use::Again);
        assert_eq!(used.expiries_s.len(), 1);
    }
}
