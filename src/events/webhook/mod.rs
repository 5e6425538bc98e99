//! Webhooks: what happened is posted to those who want to know.
//!
//! In:  the outbox, and word that there is something new in it. Out: signed posts, each receiver's in order, at least once;
//! how far each receiver is; dead letters.
//! Not here: when something is tried again (`model::webhook`), what is told (`events`), how receivers are managed (`api`).
//! Standard: Standard Webhooks 1.0.

mod delivery;
mod signer;
mod target;

use serde::{Deserialize, Serialize};

pub use delivery::{Deliverer, Error};
pub use target::{InvalidTarget, check};

/// Who may be told, and how patiently.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most webhooks.
    pub max_webhooks: u32,
    /// Seconds in which a receiver has to answer.
    pub timeout_seconds: u64,
    /// Whether receivers may be on this machine or in private networks.
    pub allow_private_targets: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_webhooks: 100,
            timeout_seconds: 15,
            allow_private_targets: false,
        }
    }
}

impl Config {
    /// Refuses patience that is none, or that holds a receiver's next events up for too long.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if (1..=60).contains(&self.timeout_seconds) {
            return Ok(());
        }
        Err(("events.timeout_seconds", "it must be 1 to 60".to_owned()))
    }
}
