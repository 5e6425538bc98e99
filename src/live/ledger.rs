//! The stream sessions of a channel of which not all has been told: what began and has not ended.
//!
//! In:  each event of the channel's task. Out: the events that are still due when it cannot tell them itself.
//! Bounded: a channel has a publisher and one that waits.
//! Not here: how events are told (`events`).

use std::sync::Mutex;

use super::registry::lock;
use crate::events::Kind;

/// What has begun of one stream session.
#[derive(Debug)]
struct Open {
    stream_id: String,
    is_live: bool,
    is_starving: bool,
}

/// The open stream sessions of one channel.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Vec<Open>>);

impl Ledger {
    /// An event is told.
    pub(super) fn note(&self, stream_id: &str, kind: &Kind) {
        let mut open = lock(&self.0);
        if matches!(kind, Kind::SessionCreated) {
            open.push(Open {
                stream_id: stream_id.to_owned(),
                is_live: false,
                is_starving: false,
            });
        }
        let Some(index) = open.iter().position(|open| open.stream_id == stream_id) else {
            return;
        };
        match kind {
            Kind::StreamStart => open[index].is_live = true,
            Kind::StreamEnd => open[index].is_live = false,
            Kind::StarvationStart => open[index].is_starving = true,
            Kind::StarvationEnd => open[index].is_starving = false,
            Kind::SessionEnded { .. } => drop(open.swap_remove(index)),
            _ => {}
        }
    }

    /// The ends of all that is open, in the order in which they are told; then nothing is open.
    pub(super) fn take_ends(&self) -> Vec<(String, Kind)> {
        let mut ends = Vec::new();
        for open in std::mem::take(&mut *lock(&self.0)) {
            let kinds = [
                open.is_starving.then_some(Kind::StarvationEnd),
                open.is_live.then_some(Kind::StreamEnd),
                Some(Kind::SessionEnded { code: None }),
            ];
            let due = kinds.into_iter().flatten();
            ends.extend(due.map(|kind| (open.stream_id.clone(), kind)));
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_and_has_not_ended_is_due() {
        let ledger = Ledger::default();
        assert_eq!(ledger.take_ends(), []);
        for (stream_id, kind) in [
            ("st-a", Kind::SessionCreated),
            ("st-a", Kind::StreamStart),
            ("st-a", Kind::StarvationStart),
            ("st-b", Kind::SessionCreated),
            ("st-c", Kind::SessionCreated),
            ("st-c", Kind::StreamStart),
            ("st-c", Kind::StreamEnd),
            ("st-c", Kind::SessionEnded { code: None }),
            // Nobody told of its beginning.
            ("st-d", Kind::StreamEnd),
        ] {
            ledger.note(stream_id, &kind);
        }
        let ended = |stream_id: &str| (stream_id.to_owned(), Kind::SessionEnded { code: None });
        let due = [
            ("st-a".to_owned(), Kind::StarvationEnd),
            ("st-a".to_owned(), Kind::StreamEnd),
            ended("st-a"),
            ended("st-b"),
        ];
        assert_eq!(ledger.take_ends(), due);
        assert_eq!(ledger.take_ends(), []);
    }
}
