//! What happened, as it is kept for those who are told; and who is told: webhooks.
//!
//! In:  an event's JSON, a receiver's address and rules. Out: what a receiver gets next, and when.
//! A receiver gets its events one after the other: what fails is tried again, later and later, for a day, and then put
//! aside as a dead letter. Pure: time and chance are arguments.
//! Not here: sending (`events::webhook`), SQL (`db`).
//! Standard: Standard Webhooks 1.0, "Deliverability and reliability".

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::clock::WallTime;
use crate::base::ids;

/// How long one event is tried.
pub const TRIED_MS: i64 = 24 * 3_600_000;
/// The first pause between two tries; each is twice the one before.
const FIRST_PAUSE_MS: i64 = 1_000;
/// The longest.
const LONGEST_PAUSE_MS: i64 = 3_600_000;
const ID_CHARS: usize = 16;
const SECRET_BYTES: usize = 24;

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its place among all; 0 until it is stored.
    pub seq: i64,
    /// A UUID.
    pub id: String,
    /// For example `IVS Stream State Change`.
    pub detail_type: String,
    /// ARN of the channel that it is about.
    pub resource: String,
    /// When it happened.
    pub at: WallTime,
    /// `EventBridge`'s envelope, as JSON.
    pub body: String,
}

/// A receiver of events.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `wh_…`
    pub id: String,
    /// Where events are posted to.
    pub url: String,
    /// `whsec_…`: what posts are signed with.
    pub secret: String,
    /// The detail-types that it wants; empty: all.
    pub detail_types: Vec<String>,
    /// What the resources begin with that it wants to hear of; empty: all.
    pub resources: Vec<String>,
    /// Creation.
    pub created: WallTime,
    /// How far it is.
    pub progress: Progress,
}

/// How far a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// It has what came up to here, or does not want it.
    pub after_seq: i64,
    /// How often the next event has failed.
    pub attempts: u32,
    /// Since when.
    pub failing: Option<WallTime>,
    /// Not tried before.
    pub due: WallTime,
    /// Why nothing is sent any more.
    pub disabled: Option<String>,
}

/// An event that a receiver did not take in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event's id.
    pub event_id: String,
    /// When it was given up.
    pub failed: WallTime,
    /// What the last try failed with.
    pub reason: String,
    /// As it would have been sent.
    pub body: String,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({}, masked)", self.id)
    }
}

impl Webhook {
    /// A new receiver of what happens after `after_seq`, with a random secret.
    pub fn create(url: &str, after_seq: i64, now: WallTime) -> Self {
        let secret = STANDARD.encode(ids::random_bytes::<SECRET_BYTES>());
        Self {
            id: format!("wh_{}", ids::alphanumeric(ID_CHARS)),
            url: url.to_owned(),
            secret: format!("whsec_{secret}"),
            detail_types: Vec::new(),
            resources: Vec::new(),
            created: now,
            progress: Progress {
                after_seq,
                attempts: 0,
                failing: None,
                due: now,
                disabled: None,
            },
        }
    }

    /// Whether its rules let the event through.
    pub fn wants(&self, told: &Told) -> bool {
        let is_of = |kind: &String| *kind == told.detail_type;
        let begins = |prefix: &String| told.resource.starts_with(prefix.as_str());
        (self.detail_types.is_empty() || self.detail_types.iter().any(is_of))
            && (self.resources.is_empty() || self.resources.iter().any(begins))
    }
}

impl Progress {
    /// The event at `seq` was taken, or is not wanted.
    pub fn pass(&mut self, seq: i64) {
        self.after_seq = seq;
        (self.attempts, self.failing) = (0, None);
    }

    /// The event at `seq` was not taken. Whether it is given up: then the next one's turn has come. `chance` is from 0
    /// to 1 and spreads the tries, so that a receiver that comes back is not met by all at once.
    pub fn fail(&mut self, seq: i64, now: WallTime, chance: f64) -> bool {
        let since = *self.failing.get_or_insert(now);
        if now.millis_since(since) >= TRIED_MS {
            self.pass(seq);
            self.due = now;
            return true;
        }
        let doublings = self.attempts.min(20);
        let pause_ms = (FIRST_PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "at most an hour"
        )]
        let spread_ms = (pause_ms as f64 * 0.2 * chance) as i64;
        self.attempts = self.attempts.saturating_add(1);
        self.due = now.plus_millis(pause_ms + spread_ms);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(detail_type: &str, resource: &str) -> Told {
        Told {
            seq: 7,
            id: "e".to_owned(),
            detail_type: detail_type.to_owned(),
            resource: resource.to_owned(),
            at: WallTime(0),
            body: "{}".to_owned(),
        }
    }

    #[test]
    fn rules_are_by_type_and_by_the_beginning_of_the_resource() {
        let mut webhook = Webhook::create("https://a.example/", 0, WallTime(0));
        let event = told("IVS Limit Breach", "arn:aws:ivs:x:1:channel/abc");
        assert!(webhook.wants(&event));
        webhook.detail_types = vec!["IVS Stream State Change".to_owned()];
        assert!(!webhook.wants(&event));
        webhook.detail_types.push("IVS Limit Breach".to_owned());
        assert!(webhook.wants(&event));
        webhook.resources = vec!["arn:aws:ivs:x:1:channel/b".to_owned()];
        assert!(!webhook.wants(&event));
        webhook.resources.push("arn:aws:ivs:x:1:".to_owned());
        assert!(webhook.wants(&event));
    }

    #[test]
    fn what_fails_is_tried_for_a_day_with_longer_and_longer_pauses() {
        let mut progress = Webhook::create("https://a.example/", 6, WallTime(0)).progress;
        let (mut now, mut pauses) = (WallTime(0), Vec::new());
        while !progress.fail(7, now, 0.0) {
            assert_eq!(progress.after_seq, 6, "the next one waits");
            pauses.push(progress.due.millis_since(now) / 1000);
            now = progress.due;
        }
        assert_eq!(
            pauses[..13],
            [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600]
        );
        assert!(
            now.0 >= TRIED_MS && now.0 < TRIED_MS + LONGEST_PAUSE_MS,
            "{now}"
        );
        assert_eq!(
            (progress.after_seq, progress.attempts, progress.failing),
            (7, 0, None)
        );
        assert_eq!(progress.due, now, "the next one at once");
        progress.fail(8, now, 1.0);
        assert_eq!(progress.due.millis_since(now), 1_200);
        progress.pass(8);
        assert_eq!(
            (progress.after_seq, progress.attempts, progress.failing),
            (8, 0, None)
        );
    }
}
