//! Conformance: is a stream, on any server, correct low-latency HLS?
//!
//! In:  the URL of a multivariant or media playlist, and for how long to follow it.
//! Out: a [`Report`]: breaches of numbered rules ([`rules::RULES`]) with their evidence, what could not be
//!      judged, and what happened besides.
//! Not here: Weir's own windows (`playlist`); this room knows only what a viewer sees. Cores judge values
//!      (`parse`, `single`, `successive`, `together`, `boxes`, `media`, `cadence`, `exchange`); `fetch`, `follow`
//!      and `probes` do the HTTP and hold no rules.
//! Read: RFC 8216bis; Apple's HLS Authoring Specification.
//!
//! Foreign input is bounded: playlists of 4 MiB, media of 64 MiB, five redirects, and a deadline on every request.

pub mod boxes;
pub mod parse;
pub mod rules;
mod cadence;
mod check;
mod exchange;
mod fetch;
mod findings;
mod follow;
mod later;
mod media;
mod probes;
mod rendition;
mod report;
mod single;
mod successive;
mod together;

#[cfg(test)]
mod hostile;

use std::fmt;
use std::time::Duration;

use url::Url;

pub use check::check;
pub use findings::{Finding, Note};
pub use report::{Followed, Outcome, Report, RuleOutcome, Summary};
pub use rules::Level;

/// What to check, and how patiently.
#[derive(Clone, Debug)]
pub struct Options {
    /// A multivariant or media playlist, over http or https.
    pub url: Url,
    /// How long a live stream is followed.
    pub duration: Duration,
    /// What network and scheduling may add to a delay before it counts.
    pub slack: Duration,
    /// How long a server may be unreachable before that is a finding.
    pub outage: Duration,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No HTTP client could be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(String),
    /// The playlist at the URL could not be had.
    #[error("cannot load {url}: {why}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The last failure.
        why: String,
    },
    /// What is at the URL is something else.
    #[error("{url} is {why}")]
    NotAPlaylist {
        /// What was asked for.
        url: String,
        /// What is there.
        why: String,
    },
}

/// A part by its segment's media sequence number and its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Media sequence number.
    pub msn: u64,
    /// Index of the part in its segment.
    pub part: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.msn, self.part)
    }
}
