//! Blocking reload: what a request gets now, or that it has to wait.
//!
//! In:  where a playlist stands, and what was asked. Out: ready, wait or refuse. A request that
//! waits is decided again on each later snapshot; it then becomes ready or missing, never a
//! refusal. Not here: the waiting itself and its limit, HTTP.
//! Read: rfc8216bis §6.2.5.2; appendix B.1 for how long answers may be cached.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::request::Directives;
use crate::playlist::{Position, Snapshot};

/// Where a playlist stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The newest listed part; of a segment that is listed as a whole: any.
    pub last: Option<Position>,
    /// The part that comes next; none after ENDLIST.
    pub next: Option<Position>,
    /// Whether there is enough for a first answer.
    pub is_startable: bool,
}

impl From<&Snapshot> for Edge {
    fn from(snapshot: &Snapshot) -> Self {
        let whole = |msn| Position {
            msn,
            part: u32::MAX,
        };
        let complete = snapshot.last_complete_msn().map(whole);
        Self {
            last: snapshot.last().or(complete),
            next: snapshot.hint(),
            is_startable: snapshot.has_full_segment_and_part(),
        }
    }
}

/// What `_HLS_msn` without `_HLS_part` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MsnOnly {
    /// The whole segment, as the draft says.
    #[default]
    Segment,
    /// Its first part: some versions of Safari are said to stall otherwise.
    FirstPart,
}

/// What does not change from request to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `playlist::Config::advance_part_limit`.
    pub advance_part_limit: u32,
    /// As configured.
    pub msn_only: MsnOnly,
}

/// What a playlist request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The current playlist.
    Ready,
    /// Nothing before a later snapshot.
    Wait,
    /// 400.
    Refuse(Refusal),
}

/// Why a reload is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A part of no segment.
    #[error("_HLS_part without _HLS_msn")]
    PartWithoutMsn,
    /// Beyond what could be made while the request waits.
    #[error("asks too far ahead of the playlist")]
    TooFarAhead,
}

/// Decides a playlist request. While nothing can be played yet, every request waits.
pub fn decide(edge: &Edge, policy: &Policy, directives: &Directives) -> Answer {
    let Some(next) = edge.next else {
        return Answer::Ready;
    };
    let is_reached = match (directives.msn, directives.part) {
        (None, Some(_)) => return Answer::Refuse(Refusal::PartWithoutMsn),
        (None, None) => true,
        (Some(msn), part) if is_too_far(next, msn, part, policy.advance_part_limit) => {
            return Answer::Refuse(Refusal::TooFarAhead);
        }
        (Some(msn), None) if policy.msn_only == MsnOnly::Segment => msn < next.msn,
        // A part beyond the last of a complete segment is older than part 0 of the next, and
        // newer than everything before: the order of positions says all of it.
        (Some(msn), part) => {
            let part = part.unwrap_or(0);
            edge.last >= Some(Position { msn, part })
        }
    };
    if is_reached && edge.is_startable {
        Answer::Ready
    } else {
        Answer::Wait
    }
}

/// More than two segments beyond the last complete one, or in the second of them beyond `limit`
/// parts. In the first no part is refused: hls.js asks there for the index it last saw.
fn is_too_far(next: Position, msn: u64, part: Option<u32>, limit: u32) -> bool {
    match msn.saturating_sub(next.msn) {
        0 => false,
        1 => part.is_some_and(|part| part > limit),
        _ => true,
    }
}

/// What a request for a part gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartAnswer {
    /// It is there.
    Ready,
    /// It is the hinted one, or is being made for who asks for it.
    Wait,
    /// 404: never hinted, forgotten, or a hint that was given up.
    Missing,
}

/// Decides a request for the part at `wanted`.
pub fn decide_part(snapshot: &Snapshot, wanted: Position) -> PartAnswer {
    if snapshot.part(wanted).is_some() {
        PartAnswer::Ready
    } else if snapshot.hint() == Some(wanted) || snapshot.is_promised(wanted) {
        PartAnswer::Wait
    } else {
        PartAnswer::Missing
    }
}

/// What a request for a segment gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentAnswer {
    /// All of it.
    Whole,
    /// What there is of it, and the rest as it is made.
    Growing,
    /// It is named by EXT-X-PREFETCH, and nothing of it can be had yet; or it is being made for who asks for it.
    Wait,
    /// 404: a gap, never named, forgotten, or not to come.
    Missing,
}

/// Decides a request for segment `msn`.
pub fn decide_segment(snapshot: &Snapshot, msn: u64) -> SegmentAnswer {
    match snapshot.segment(msn) {
        Some(segment) if segment.has_gap => SegmentAnswer::Missing,
        Some(segment) if segment.is_promised() => SegmentAnswer::Wait,
        Some(_) => SegmentAnswer::Whole,
        None if snapshot.growing() == Some(msn) => SegmentAnswer::Growing,
        None if snapshot.is_awaited(msn) => SegmentAnswer::Wait,
        None => SegmentAnswer::Missing,
    }
}

/// How long a request may wait before it is answered with 503: three target durations.
pub fn longest_wait(target_duration_s: u32) -> Duration {
    Duration::from_secs(u64::from(target_duration_s) * 3)
}

/// Answers that differ in how long they may be cached (rule 45). Media never changes under its URI
/// and is not among them; 503 and refusals for want of permission are not stored at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// A playlist with `_HLS_msn`: its URL never gets another answer that matters.
    BlockedPlaylist,
    /// Its failure.
    BlockedPlaylistFailure,
    /// A playlist as it is.
    Playlist,
    /// Its failure, and that of media.
    Failure,
}

impl Cached {
    /// Seconds for `Cache-Control: max-age`.
    pub fn max_age_s(self, target_duration_s: u32) -> u32 {
        match self {
            Self::BlockedPlaylist => target_duration_s.saturating_mul(6),
            Self::BlockedPlaylistFailure => target_duration_s.saturating_mul(4),
            Self::Playlist => target_duration_s / 2,
            Self::Failure => target_duration_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Answer::{Ready, Refuse, Wait};
    use super::*;
    use crate::playlist::{Config, Past, PastSegment, Plain, Window, fixtures};

    const POLICY: Policy = Policy {
        advance_part_limit: 9,
        msn_only: MsnOnly::Segment,
    };

    fn ask(msn: Option<u64>, part: Option<u32>) -> Directives {
        Directives {
            msn,
            part,
            skip: false,
        }
    }

    /// Segments 10 to 20 are complete with six parts each, of 21 `parts` are there.
    fn edge(parts: u32) -> Edge {
        let (msn, part) = if parts == 0 { (20, 5) } else { (21, parts - 1) };
        Edge {
            last: Some(Position { msn, part }),
            next: Some(Position {
                msn: 21,
                part: parts,
            }),
            is_startable: true,
        }
    }

    #[test]
    fn a_segment_that_is_listed_as_a_whole_has_every_part() {
        let config = Config::default();
        let before = fixtures::window(&config, 10, 4, 0).snapshot();
        let text = before.mirror_playlist(0..=u64::MAX).unwrap();
        let plain = Plain::parse(&text).unwrap();
        let segments = plain.segments.into_iter().map(|listed| PastSegment {
            init: fixtures::init(&listed.init_hash),
            bytes: None,
            listed,
        });
        let past = Past {
            first_msn: 10,
            discontinuity_sequence: 0,
            segments: segments.collect(),
        };
        let mut window = Window::restore(&config, &past).unwrap();
        let decided = |window: &Window, msn, part| {
            let edge = Edge::from(&*window.snapshot());
            decide(&edge, &POLICY, &ask(Some(msn), part))
        };
        assert_eq!(decided(&window, 13, None), Ready);
        assert_eq!(decided(&window, 13, Some(5)), Ready);
        assert_eq!(decided(&window, 14, Some(0)), Wait);
        window.start_timeline(fixtures::init("0badcafe"), fixtures::START);
        fixtures::push_parts(&mut window, 0, &[fixtures::PART], false);
        assert_eq!(decided(&window, 14, Some(0)), Ready);
        assert_eq!(decided(&window, 14, Some(1)), Wait);
    }

    #[test]
    fn every_rule_of_blocking_reload() {
        let too_far = Refuse(Refusal::TooFarAhead);
        let cases = [
            ("plain", 2, None, None, Ready),
            ("32: a complete segment", 2, Some(20), None, Ready),
            ("32: an open segment", 2, Some(21), None, Wait),
            ("32: a listed part", 2, Some(21), Some(1), Ready),
            ("32: the next part", 2, Some(21), Some(2), Wait),
            (
                "32: a part, and later ones are listed",
                2,
                Some(21),
                Some(0),
                Ready,
            ),
            (
                "33: last part of a complete segment",
                0,
                Some(20),
                Some(5),
                Ready,
            ),
            (
                "33: beyond it, before part 0 of the next",
                0,
                Some(20),
                Some(6),
                Wait,
            ),
            ("33: beyond it, far", 0, Some(20), Some(u32::MAX), Wait),
            (
                "33: beyond it, part 0 of the next is there",
                1,
                Some(20),
                Some(6),
                Ready,
            ),
            ("33: beyond an older one", 0, Some(19), Some(6), Ready),
            ("34: older than the window", 2, Some(3), None, Ready),
            (
                "34: older than the window, with a part",
                2,
                Some(3),
                Some(9),
                Ready,
            ),
            ("34: zero", 2, Some(0), Some(0), Ready),
            (
                "35: a part of nothing",
                2,
                None,
                Some(0),
                Refuse(Refusal::PartWithoutMsn),
            ),
            (
                "36: the segment after the open one",
                2,
                Some(22),
                None,
                Wait,
            ),
            ("36: two beyond the open one", 2, Some(23), None, too_far),
            ("36: no end of it", 2, Some(u64::MAX), Some(0), too_far),
            ("36: within the part limit", 2, Some(22), Some(9), Wait),
            ("36: beyond the part limit", 2, Some(22), Some(10), too_far),
            (
                "36: never for the segment after the last",
                0,
                Some(21),
                Some(99),
                Wait,
            ),
        ];
        for (rule, parts, msn, part, expected) in cases {
            assert_eq!(
                decide(&edge(parts), &POLICY, &ask(msn, part)),
                expected,
                "{rule}"
            );
        }
    }

    #[test]
    fn rule_38_after_the_end_directives_are_ignored() {
        let ended = Edge {
            next: None,
            ..edge(2)
        };
        for (msn, part) in [
            (None, None),
            (None, Some(1)),
            (Some(u64::MAX), None),
            (Some(22), Some(7)),
        ] {
            assert_eq!(decide(&ended, &POLICY, &ask(msn, part)), Ready);
        }
    }

    #[test]
    fn rule_40_a_segment_alone_may_mean_its_first_part() {
        let policy = Policy {
            msn_only: MsnOnly::FirstPart,
            ..POLICY
        };
        let cases = [(0, 20, Ready), (0, 21, Wait), (1, 21, Ready), (1, 22, Wait)];
        for (parts, msn, expected) in cases {
            assert_eq!(
                decide(&edge(parts), &policy, &ask(Some(msn), None)),
                expected
            );
        }
    }

    #[test]
    fn rule_64_the_first_answer_waits_for_a_segment_and_a_part() {
        let config = Config::default();
        let cases = [
            (0, 0, Wait),
            (0, 5, Wait),
            (1, 0, Wait),
            (1, 1, Ready),
            (2, 0, Ready),
        ];
        for (segments, parts, expected) in cases {
            let mut window = fixtures::window(&config, 1, segments, parts);
            let edge = Edge::from(&*window.snapshot());
            assert_eq!(decide(&edge, &POLICY, &ask(None, None)), expected);
            assert_eq!(decide(&edge, &POLICY, &ask(Some(0), None)), expected);
            window.end();
            let ended = Edge::from(&*window.snapshot());
            assert_eq!(decide(&ended, &POLICY, &ask(None, None)), Ready);
        }
    }

    #[test]
    fn whoever_waits_is_answered_by_the_last_part_that_can_answer() {
        // Whatever a player may ask at one state becomes ready within two segments, once.
        let config = Config::default();
        for (msn, part) in [
            (2, None),
            (2, Some(3)),
            (2, Some(6)),
            (3, Some(9)),
            (1, Some(6)),
        ] {
            let mut was_ready = false;
            for done in 0..=18_usize {
                let window = fixtures::window(&config, 1, 1 + done / 6, done % 6);
                let edge = Edge::from(&*window.snapshot());
                let answer = decide(&edge, &POLICY, &ask(Some(msn), part));
                assert!(!was_ready || answer == Ready);
                was_ready = answer == Ready;
            }
            assert!(was_ready || (msn, part) == (3, Some(9)));
        }
    }

    #[test]
    fn parts_are_there_hinted_or_missing() {
        let mut window = fixtures::window(&Config::default(), 1, 2, 2);
        let at = |msn, part| Position { msn, part };
        let snapshot = window.snapshot();
        for (position, expected) in [
            (at(1, 0), PartAnswer::Ready),
            (at(3, 1), PartAnswer::Ready),
            (at(3, 2), PartAnswer::Wait),
            (at(3, 3), PartAnswer::Missing),
            (at(4, 0), PartAnswer::Missing),
            (at(2, 6), PartAnswer::Missing),
            (at(0, 0), PartAnswer::Missing),
        ] {
            assert_eq!(decide_part(&snapshot, position), expected, "{position:?}");
        }
        window.end();
        assert_eq!(
            decide_part(&window.snapshot(), at(3, 2)),
            PartAnswer::Missing
        );
    }

    #[test]
    fn segments_are_whole_growing_awaited_or_missing() {
        use SegmentAnswer::{Growing, Missing, Wait, Whole};
        let answers = |window: &Window| {
            let snapshot = window.snapshot();
            [0, 2, 3, 4, 5].map(|msn| decide_segment(&snapshot, msn))
        };
        let config = Config::default();
        let between = fixtures::window(&config, 1, 2, 0);
        assert_eq!(answers(&between), [Missing, Whole, Wait, Wait, Missing]);
        let normal = Config {
            is_low_latency: false,
            ..config
        };
        let normal = fixtures::window(&normal, 1, 2, 2);
        let nothing_early = [Missing, Whole, Missing, Missing, Missing];
        assert_eq!(answers(&normal), nothing_early);
        let mut open = fixtures::window(&config, 1, 2, 2);
        assert_eq!(answers(&open), [Missing, Whole, Growing, Wait, Missing]);
        let at = 14 * fixtures::PART;
        fixtures::push_parts_with_gaps(&mut open, at, &[fixtures::PART], false, &[0]);
        open.end();
        assert_eq!(
            answers(&open),
            [Missing, Whole, Whole, Missing, Missing],
            "nothing is awaited after the end; a gap is missing"
        );
    }

    #[test]
    fn lifetimes_of_appendix_b1() {
        let ages = [
            (Cached::BlockedPlaylist, 12),
            (Cached::BlockedPlaylistFailure, 8),
            (Cached::Playlist, 1),
            (Cached::Failure, 2),
        ];
        for (cached, age) in ages {
            assert_eq!(cached.max_age_s(2), age);
        }
        assert_eq!(longest_wait(2), Duration::from_secs(6));
    }
}
