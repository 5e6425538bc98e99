//! Who publishes on a channel: one publisher at a time, and perhaps one that is about to take its place.
//!
//! In:  the publisher there is, a newcomer's priority, the rule. Out: a [`Seating`]. Pure.
//! A newcomer is a candidate first: the older one goes on, or goes on starting, until the newcomer's pictures can
//! be shown. So two encoders that return again and again do not keep each other from the start.
//! Priorities are those of Amazon IVS's stream takeover.
//! Not here: stopping and starting (`session`).

use serde::{Deserialize, Serialize};

use super::Publisher;

/// Takeovers of one stream session, as IVS limits them.
const MAX_TAKEOVERS: u32 = 100;

/// What becomes of a newer connection with the same stream key.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Takeover {
    /// It replaces the older one, which may be half-open; not one of a higher priority.
    #[default]
    Newest,
    /// It is refused unless its priority is higher.
    Ivs,
}

/// A channel's publishers.
#[derive(Default)]
pub(super) struct Seats {
    pub(super) current: Option<Publisher>,
    pub(super) candidate: Option<Publisher>,
}

/// Where a publisher sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// Viewers see it, or will.
    Current,
    /// It waits until its pictures can be shown.
    Candidate,
}

/// The publisher there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sitting {
    pub(super) is_live: bool,
    pub(super) priority: Option<u32>,
    /// How often its stream session was taken over.
    pub(super) takeovers: u32,
}

/// What becomes of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seating {
    /// It publishes from now on; whoever only starts to, with a lower priority, has to go.
    Current,
    /// It takes the place once its pictures can be shown; in a takeover the stream session goes on.
    Candidate {
        /// Its priority is higher.
        is_takeover: bool,
    },
    /// Somebody publishes already.
    Occupied,
    /// A priority that does not suffice.
    InvalidPriority,
    /// Too many takeovers of one stream.
    LimitBreached,
}

/// Decides about a newcomer of `priority`.
pub(super) fn seat(sitting: Option<Sitting>, priority: Option<u32>, rule: Takeover) -> Seating {
    let Some(sitting) = sitting else {
        return Seating::Current;
    };
    if priority < sitting.priority {
        return Seating::InvalidPriority;
    }
    if !sitting.is_live && priority > sitting.priority {
        return Seating::Current;
    }
    match (priority > sitting.priority, rule) {
        (true, _) if sitting.takeovers >= MAX_TAKEOVERS => Seating::LimitBreached,
        (true, _) => Seating::Candidate { is_takeover: true },
        (false, Takeover::Newest) => Seating::Candidate { is_takeover: false },
        (false, Takeover::Ivs) => Seating::Occupied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_or_the_highest_priority_publishes() {
        use Seating::{Candidate, Current, InvalidPriority, LimitBreached, Occupied};
        use Takeover::{Ivs, Newest};
        let sitting = |is_live, priority, takeovers| {
            Some(Sitting {
                is_live,
                priority,
                takeovers,
            })
        };
        let taken = Candidate { is_takeover: true };
        let replaced = Candidate { is_takeover: false };
        for (there, newcomer, newest, ivs) in [
            (None, None, Current, Current),
            (None, Some(3), Current, Current),
            (sitting(true, None, 0), None, replaced, Occupied),
            (sitting(true, None, 0), Some(1), taken, taken),
            (sitting(true, Some(5), 1), Some(6), taken, taken),
            (sitting(true, Some(5), 1), Some(5), replaced, Occupied),
            (
                sitting(true, Some(5), 1),
                Some(4),
                InvalidPriority,
                InvalidPriority,
            ),
            (
                sitting(true, Some(5), 1),
                None,
                InvalidPriority,
                InvalidPriority,
            ),
            (
                sitting(true, Some(5), 100),
                Some(6),
                LimitBreached,
                LimitBreached,
            ),
            (sitting(false, None, 0), None, replaced, Occupied),
            (sitting(false, None, 0), Some(1), Current, Current),
            (
                sitting(false, Some(2), 0),
                Some(1),
                InvalidPriority,
                InvalidPriority,
            ),
        ] {
            assert_eq!(
                seat(there, newcomer, Newest),
                newest,
                "{there:?} {newcomer:?}"
            );
            assert_eq!(seat(there, newcomer, Ivs), ivs, "{there:?} {newcomer:?}");
        }
    }
}
