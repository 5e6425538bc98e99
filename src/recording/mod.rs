//! Recording: finished segments leave the live window for the store. For now the live mirror.
//!
//! In:  `playlist`'s windows. Out: objects in `storage`, and after a crash windows again.
//! Not here: the live path, which never waits for this room; what a store is (`storage`).

pub mod mirror;
pub mod restore;

use serde::{Deserialize, Serialize};

/// What is copied to the store while a channel is live.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where recording buckets live: `file:PATH` (each bucket is a folder there) or
    /// `s3://?endpoint=…`; empty: the folder `recordings` in the data directory.
    pub store_url: String,
    /// Whether live segments and playlists are mirrored as plain HLS.
    pub mirror_enabled: bool,
    /// How much longer than the window a mirrored segment stays after it left the playlist.
    pub mirror_grace_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store_url: String::new(),
            mirror_enabled: true,
            mirror_grace_seconds: 60,
        }
    }
}
