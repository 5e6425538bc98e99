//! How a stream comes, second by second, and what is not as it should be, in words.
//!
//! In:  a [`Second`] of measures each second (`meter`), what the rest of the room has to tell the
//! streamer. Out: [`Report`]s for pages and programs, `Change`s that are worth an event.
//! Pure. One `Health` is a channel's, across its publishers. IVS's word for it is HEALTHY, STARVING (too
//! little comes: fewer bits than declared, or less media than there is time) or UNKNOWN.
//! Not here: ending a stream for what it sends (`limits`), who may see it (`api`).

mod finding;
mod meter;
mod rules;
mod second;

use std::collections::VecDeque;

pub use self::finding::{Code, Finding};
pub(super) use self::meter::{Facts, Meter, declared_bps};
pub(super) use self::rules::{Terms, mbps};
pub use self::second::Second;

use self::finding::Findings;
use self::rules::View;
use crate::base::clock::WallTime;

/// Seconds kept of a channel, and most that a report has.
pub const SECONDS: usize = 180;
/// Seconds after which a publisher's health is known.
const KNOWN_SECONDS: usize = 5;
/// So many connections within so long are too many.
const RECONNECTS: usize = 4;
const RECONNECT_WINDOW_MS: i64 = 600_000;

/// IVS's word for how a stream comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Summary {
    /// As it should.
    Healthy,
    /// Too little comes.
    Starving,
    /// Not known yet, or there is no stream.
    #[default]
    Unknown,
}

impl Summary {
    /// As IVS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Starving => "STARVING",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// What is known of a channel's stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In one word.
    pub summary: Summary,
    /// The newest seconds, oldest first.
    pub seconds: Vec<Second>,
    /// What is not as it should be, or was not lately; the newest first.
    pub findings: Vec<Finding>,
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Something was found that was not known.
    Found(Code, String),
    /// Too little comes.
    StarvationStart,
    /// Enough comes again.
    StarvationEnd,
}

/// A channel's health.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The newest first.
    seconds: VecDeque<Second>,
    /// How many of them are the current publisher's.
    current: usize,
    is_starving: bool,
    findings: Findings,
    /// When publishers connected, the newest last.
    connects: VecDeque<WallTime>,
}

impl Health {
    /// A publisher connected; nothing is known of it but that.
    pub(super) fn begin(&mut self, at: WallTime) -> Option<Change> {
        self.current = 0;
        self.is_starving = false;
        self.findings.clear();
        if self.connects.len() == RECONNECTS {
            self.connects.pop_front();
        }
        self.connects.push_back(at);
        let oldest = *self.connects.front()?;
        let is_often =
            self.connects.len() == RECONNECTS && at.millis_since(oldest) <= RECONNECT_WINDOW_MS;
        is_often.then_some(())?;
        let words = format!(
            "the encoder has connected {RECONNECTS} times within ten minutes; check its network, and \
             set a lower bitrate"
        );
        self.tell(Code::ReconnectsOften, words, at)
    }

    /// Something to tell the streamer, measured elsewhere; a change if it is new.
    pub(super) fn tell(&mut self, code: Code, words: String, at: WallTime) -> Option<Change> {
        let is_new = self.findings.see(code, words.clone(), at);
        is_new.then_some(Change::Found(code, words))
    }

    /// A second of the current publisher has passed.
    pub(super) fn push(&mut self, second: Second, facts: Facts, terms: Terms) -> Vec<Change> {
        if self.seconds.len() == SECONDS {
            self.seconds.pop_back();
        }
        self.seconds.push_front(second);
        self.current = (self.current + 1).min(SECONDS);
        let was_starving = self.is_starving;
        let view = View {
            seconds: &self.seconds.make_contiguous()[..self.current],
            facts,
            terms,
        };
        self.is_starving = rules::is_starving(&view, was_starving);
        let found = rules::judge(&view);
        if let Some(newest) = self.seconds.front_mut() {
            newest.is_starving = self.is_starving;
        }
        let mut changes = match (was_starving, self.is_starving) {
            (false, true) => vec![Change::StarvationStart],
            (true, false) => vec![Change::StarvationEnd],
            _ => Vec::new(),
        };
        for (code, words) in found {
            changes.extend(self.tell(code, words, second.at));
        }
        self.findings.settle(second.at);
        changes
    }

    /// Bits per second that a limit is judged by; none before the window is full.
    pub(super) fn sustained_bps(&mut self) -> Option<u64> {
        let seconds = &self.seconds.make_contiguous()[..self.current];
        rules::sustained_bps(seconds)
    }

    /// What is known, in one word.
    pub(super) fn summary(&self) -> Summary {
        match (self.current >= KNOWN_SECONDS, self.is_starving) {
            (false, _) => Summary::Unknown,
            (true, false) => Summary::Healthy,
            (true, true) => Summary::Starving,
        }
    }

    /// What is known, with at most so many seconds.
    pub(super) fn report(&self, most_seconds: usize) -> Report {
        let mut seconds: Vec<_> = self.seconds.iter().take(most_seconds).copied().collect();
        seconds.reverse();
        Report {
            summary: self.summary(),
            seconds,
            findings: self.findings.list(),
        }
    }

    /// The seconds that ended after `time`, the oldest first.
    pub(super) fn since(&self, time: WallTime) -> Vec<Second> {
        let newest = self.seconds.iter().take_while(|second| second.at > time);
        let mut seconds: Vec<_> = newest.copied().collect();
        seconds.reverse();
        seconds
    }

    /// The words that everybody may read.
    pub(super) fn notices(&self) -> Vec<String> {
        let mut findings = self.findings.list();
        findings.retain(|finding| finding.code.is_public());
        findings.into_iter().rev().map(|f| f.words).collect()
    }
}

#[cfg(test)]
mod tests;
