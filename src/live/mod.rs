//! One stream from publish to unpublish: the conductor. Steps 6 to 8 of the walk.
//!
//! In:  publish requests and media events (`ingest`), channels (`model`).
//! Out: announced live channels (`playlist::Directory`), the status of each ([`Registry::list`]).
//! Not here: media bytes, SQL, HTTP.
//!
//! A channel that publishes is one task ([`session`]); it owns the channel's playlists. A publisher
//! attaches to it, is replaced in it by a newer connection, or leaves it: an explicit end closes the
//! playlists, a loss holds them for [`Config::hold_seconds`].

pub mod gate;
pub mod registry;
mod session;
mod start;
mod output;

pub use gate::Admission;
pub use registry::{Registry, State, Status};

use serde::{Deserialize, Serialize};

/// What happens around a stream.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Seconds the playlists wait for a publisher that was lost without an unpublish.
    pub hold_seconds: u64,
    /// Seconds an ended stream's playlists and media stay fetchable.
    pub ended_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hold_seconds: 30,
            ended_seconds: 90,
        }
    }
}
