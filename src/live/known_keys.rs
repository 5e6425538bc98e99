//! Stream keys that opened a channel lately: with them encoders get in while the database is away.
//!
//! In:  a key and the channel that the database said it opens. Out: that channel, as it was then.
//! Keys are remembered by their digest only, for a day, and so many at most. What the database denies is forgotten;
//! while it is away, nobody can delete a key or change a channel either.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tokio::time::Instant;

use crate::model::Channel;
use crate::model::breaks::FailoverSlateConfiguration;

/// How long a key is good without the database.
const GOOD_FOR: Duration = Duration::from_hours(24);
/// Most keys: beyond that the oldest is forgotten.
const MAX_KEYS: usize = 10_000;

type Digest = [u8; 32];

/// What a key opens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Opened {
    /// The channel.
    pub(super) channel: Channel,
    /// What it refers to, if it does.
    pub(super) failover: Option<FailoverSlateConfiguration>,
}

/// The keys, by their digest.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    channels: Mutex<HashMap<Digest, (Opened, Instant)>>,
}

impl KnownKeys {
    /// The key opens this channel; none: nothing.
    pub(super) fn learn(&self, key: &str, opened: Option<&Opened>, now: Instant) {
        let mut channels = self.lock();
        let Some(opened) = opened else {
            channels.remove(&digest_of(key));
            return;
        };
        if channels.len() >= MAX_KEYS && !channels.contains_key(&digest_of(key)) {
            let oldest = channels.iter().min_by_key(|(_, (_, at))| *at);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                channels.remove(&oldest);
            }
        }
        channels.insert(digest_of(key), (opened.clone(), now));
    }

    /// What the key opened lately.
    pub(super) fn opened(&self, key: &str, now: Instant) -> Option<Opened> {
        let channels = self.lock();
        let (opened, at) = channels.get(&digest_of(key))?;
        (now.duration_since(*at) < GOOD_FOR).then(|| opened.clone())
    }

    /// A lock whose holder panicked still guards a usable map.
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, (Opened, Instant)>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest_of(key: &str) -> Digest {
    let digest = digest(&SHA256, key.as_bytes());
    digest.as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::WallTime;
    use crate::model::channel::Settings;

    fn opened() -> Opened {
        Opened {
            channel: Channel::create(&Settings::default(), WallTime(0)).unwrap(),
            failover: None,
        }
    }

    #[test]
    fn a_key_is_known_for_a_day_and_until_it_is_denied() {
        let (keys, now) = (KnownKeys::default(), Instant::now());
        let opened = opened();
        assert_eq!(keys.opened("sk_a", now), None);
        keys.learn("sk_a", Some(&opened), now);
        assert_eq!(keys.opened("sk_a", now), Some(opened.clone()));
        assert_eq!(keys.opened("sk_b", now), None);
        let almost = now + GOOD_FOR - Duration::from_secs(1);
        assert_eq!(keys.opened("sk_a", almost), Some(opened.clone()));
        assert_eq!(keys.opened("sk_a", now + GOOD_FOR), None);
        keys.learn("sk_a", None, now);
        assert_eq!(keys.opened("sk_a", now), None);
    }

    #[test]
    fn of_too_many_keys_the_oldest_is_forgotten() {
        let (keys, now) = (KnownKeys::default(), Instant::now());
        let opened = opened();
        for n in 0..=MAX_KEYS {
            let at = now + Duration::from_millis(u64::try_from(n).unwrap());
            keys.learn(&n.to_string(), Some(&opened), at);
        }
        assert_eq!(keys.opened("0", now), None);
        assert!(keys.opened("1", now).is_some());
        assert_eq!(keys.lock().len(), MAX_KEYS);
    }
}
