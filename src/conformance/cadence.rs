//! When segments and parts appear: rule 9, judged at the client.
//!
//! In:  arrival times, in milliseconds since the start. Out: judgements. Not here: clocks.
//!
//! A part is due one PART-TARGET after the one before it, a segment 1.5 target durations after it. What the
//! network and the scheduler may add is the slack, plus the delay that this program saw in its own timers. Parts
//! later than that break a "should"; parts later than another PART-TARGET, and late segments, a "must".
//! An interruption that the server admits (503, DISCONTINUITY, GAP) may last longer: a hole beyond what players
//! hold back breaks a "should", for then they run dry, and one beyond three target durations a "must". What was
//! open when the encoder fell silent is listed when the server gives it up: late news right before an interruption
//! belong to its hole and break a "should". Behind an outage, whose length is judged by itself, the count begins anew.

use super::findings::Page;
use super::rules::{Rule, must, should};

/// What a playlist answer brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) at_ms: u64,
    pub(super) has_parts: bool,
    pub(super) has_segments: bool,
    /// Whether the news begin at a discontinuity or a gap.
    pub(super) is_spliced: bool,
    pub(super) part_target_us: Option<u64>,
    /// How far behind the end players stay that follow parts, or segments where there are none.
    pub(super) hold_back_us: u64,
    pub(super) target_s: u64,
    /// Slack for this answer.
    pub(super) slack_ms: u64,
}

/// When the last part and the last segment came.
#[derive(Debug, Default)]
pub(super) struct Cadence {
    part_ms: Option<u64>,
    segment_ms: Option<u64>,
    /// When anything came last, interrupted since or not.
    news_ms: Option<u64>,
    is_interrupted: bool,
    tail: Option<Tail>,
}

/// News that came too late, unless an interruption follows: then they are the last of what it interrupts.
#[derive(Debug)]
struct Tail {
    /// When anything came before them.
    news_ms: Option<u64>,
    broken: Vec<(Rule, String)>,
}

impl Cadence {
    /// The server could not be reached, or had lost the playlist, or the stream has ended.
    pub(super) fn forget(&mut self, page: &mut Page<'_>) {
        self.judge_tail(page);
        *self = Self::default();
    }

    /// The stream is interrupted, and the server says so.
    pub(super) fn interrupt(&mut self) {
        (self.part_ms, self.segment_ms) = (None, None);
        self.is_interrupted = true;
    }

    /// Judges an answer that brought something.
    pub(super) fn push(&mut self, arrival: &Arrival, page: &mut Page<'_>) {
        if arrival.is_spliced
            && let Some(tail) = self.tail.take()
        {
            self.news_ms = tail.news_ms;
            for (rule, words) in tail.broken {
                let admitted = should(rule.number, "late-before-hole");
                page.check(admitted, false, "", || words);
            }
        } else if arrival.has_parts || arrival.part_target_us.is_none() {
            self.judge_tail(page);
        }
        let hole_ms = self
            .news_ms
            .map_or(0, |before| arrival.at_ms.saturating_sub(before));
        if arrival.is_spliced {
            page.note("spliced", || {
                format!("the stream goes on behind a discontinuity or a gap, {hole_ms} ms after what came before")
            });
            self.interrupt();
        }
        if std::mem::take(&mut self.is_interrupted) {
            judge_hole(hole_ms, arrival, page);
        }
        let broken = self.judge(arrival, page);
        if !broken.is_empty() {
            let news_ms = self.news_ms;
            let empty = || Tail {
                news_ms,
                broken: Vec::new(),
            };
            let tail = self.tail.get_or_insert_with(empty);
            tail.broken.extend(broken);
        }
        self.news_ms = Some(arrival.at_ms);
        if arrival.has_parts {
            self.part_ms = Some(arrival.at_ms);
        }
        if arrival.has_segments {
            self.segment_ms = Some(arrival.at_ms);
        }
    }

    /// Judges that nothing more came until the end.
    pub(super) fn finish(&mut self, last: &Arrival, page: &mut Page<'_>) {
        self.judge_tail(page);
        let last = Arrival {
            has_parts: true,
            has_segments: true,
            ..*last
        };
        for (rule, words) in self.judge(&last, page) {
            page.check(rule, false, "", || words);
        }
    }

    /// No interruption followed: what came late came late.
    fn judge_tail(&mut self, page: &mut Page<'_>) {
        for (rule, words) in self.tail.take().into_iter().flat_map(|tail| tail.broken) {
            page.check(rule, false, "", || words);
        }
    }

    /// Judges what holds, and what breaks a "should"; the broken "musts".
    fn judge(&self, arrival: &Arrival, page: &mut Page<'_>) -> Vec<(Rule, String)> {
        let Arrival {
            at_ms, slack_ms, ..
        } = *arrival;
        let mut broken = Vec::new();
        let mut judge = |rule: Rule, holds: bool, words: String, page: &mut Page<'_>| {
            if holds {
                page.check(rule, true, "", String::new);
            } else {
                broken.push((rule, words));
            }
        };
        if let (true, Some(before), Some(target)) =
            (arrival.has_parts, self.part_ms, arrival.part_target_us)
        {
            let waited = at_ms.saturating_sub(before);
            let target = target.div_ceil(1000);
            let words = format!(
                "{waited} ms after the one before; PART-TARGET {target} ms, slack {slack_ms} ms"
            );
            let is_due = waited <= target.saturating_add(slack_ms);
            let is_near = waited <= target.saturating_mul(2).saturating_add(slack_ms);
            let late = || words.clone();
            page.check(should(9, "part-late"), is_due || !is_near, "", late);
            judge(must(9, "part-very-late"), is_near, words, page);
        }
        if let (true, Some(before)) = (arrival.has_segments, self.segment_ms) {
            let waited = at_ms.saturating_sub(before);
            let most = arrival.target_s.saturating_mul(1500);
            let holds = waited <= most.saturating_add(slack_ms);
            let words = format!(
                "a segment came {waited} ms after the one before; 1.5 target durations are {most} ms, slack {slack_ms} ms"
            );
            judge(must(9, "segment-late"), holds, words, page);
        }
        broken
    }
}

/// What came before an interruption and what comes after it are so far apart.
fn judge_hole(hole_ms: u64, arrival: &Arrival, page: &mut Page<'_>) {
    let slack_ms = arrival.slack_ms;
    let held_ms = arrival.hold_back_us.div_ceil(1000);
    let most_ms = arrival.target_s.saturating_mul(3_000).max(held_ms);
    let is_near = hole_ms <= most_ms.saturating_add(slack_ms);
    let words = || {
        format!(
            "nothing came for {hole_ms} ms before a discontinuity, a gap or behind a 503; players hold {held_ms} ms back, three target durations at most, slack {slack_ms} ms"
        )
    };
    let is_bridged = hole_ms <= held_ms.saturating_add(slack_ms);
    page.check(should(9, "hole"), is_bridged || !is_near, "", words);
    page.check(must(9, "hole-very-long"), is_near, "", words);
}

#[cfg(test)]
mod tests {
    use super::super::findings::Book;
    use super::*;

    fn arrival(at_ms: u64) -> Arrival {
        Arrival {
            at_ms,
            has_parts: true,
            has_segments: false,
            is_spliced: false,
            part_target_us: Some(334_000),
            hold_back_us: 1_002_000,
            target_s: 2,
            slack_ms: 150,
        }
    }

    fn kinds(arrivals: &[Arrival]) -> Vec<&'static str> {
        let mut book = Book::default();
        let mut cadence = Cadence::default();
        for arrival in arrivals {
            cadence.push(arrival, &mut book.page("", arrival.at_ms));
        }
        let last = arrivals.last().unwrap();
        cadence.finish(last, &mut book.page("", last.at_ms));
        book.findings().iter().map(|found| found.kind).collect()
    }

    #[test]
    fn what_comes_late_right_before_an_interruption_belongs_to_its_hole() {
        let spliced = |at_ms| Arrival {
            is_spliced: true,
            ..arrival(at_ms)
        };
        let closing = |at_ms| Arrival {
            has_parts: false,
            has_segments: true,
            ..arrival(at_ms)
        };
        let first = closing(500);
        let tail = [first, arrival(1000), arrival(4000), closing(4010)];
        let with = |next: &[Arrival]| kinds(&[&tail[..], next].concat());
        let behind = |hole| [hole, "late-before-hole"];
        let goes_on = [spliced(4400), arrival(4700)];
        assert_eq!(with(&goes_on), behind("hole"));
        assert_eq!(with(&[spliced(7200)]), behind("hole-very-long"));
        let late = ["part-very-late", "segment-late"];
        assert_eq!(with(&[]), late);
        assert_eq!(with(&[arrival(4330)]), late);
        assert_eq!(with(&[arrival(4330), spliced(4700)]), late);
    }

    #[test]
    fn what_comes_late_before_an_outage_or_where_there_are_no_parts_is_late() {
        let mut book = Book::default();
        let mut cadence = Cadence::default();
        cadence.push(&arrival(0), &mut book.page("", 0));
        cadence.push(&arrival(4000), &mut book.page("", 4000));
        cadence.forget(&mut book.page("", 5000));
        assert_eq!(book.findings()[0].kind, "part-very-late");
        let plain = |at_ms, is_spliced| Arrival {
            has_parts: false,
            has_segments: true,
            part_target_us: None,
            hold_back_us: 6_000_000,
            is_spliced,
            ..arrival(at_ms)
        };
        let late = [0, 5000, 7000, 9000].map(|at_ms| plain(at_ms, false));
        let then = [plain(11_000, true), plain(13_000, false)];
        assert_eq!(kinds(&[&late[..], &then].concat()), ["segment-late"]);
    }

    #[test]
    fn parts_are_due_after_a_part_target_and_the_slack() {
        assert_eq!(kinds(&[arrival(1000), arrival(1484)]), [""; 0]);
        assert_eq!(kinds(&[arrival(1000), arrival(1485)]), ["part-late"]);
        assert_eq!(kinds(&[arrival(1000), arrival(1819)]), ["part-very-late"]);
    }

    #[test]
    fn a_hole_that_is_admitted_may_last_as_long_as_players_hold_back() {
        let after = |at_ms| {
            let spliced = Arrival {
                is_spliced: true,
                ..arrival(at_ms)
            };
            kinds(&[arrival(1000), spliced, arrival(at_ms + 300)])
        };
        assert_eq!(after(2_152), [""; 0]);
        assert_eq!(after(2_153), ["hole"]);
        assert_eq!(after(7_150), ["hole"]);
        assert_eq!(after(7_151), ["hole-very-long"]);
    }

    #[test]
    fn a_503_admits_a_hole_and_an_outage_is_judged_elsewhere() {
        let after = |trouble: fn(&mut Cadence, &mut Page<'_>)| {
            let mut book = Book::default();
            let mut cadence = Cadence::default();
            cadence.push(&arrival(1000), &mut book.page("", 1000));
            trouble(&mut cadence, &mut book.page("", 1000));
            cadence.push(&arrival(4000), &mut book.page("", 4000));
            cadence.push(&arrival(4300), &mut book.page("", 4300));
            let findings = book.findings();
            findings.iter().map(|found| found.kind).collect::<Vec<_>>()
        };
        assert_eq!(after(|cadence, _| cadence.interrupt()), ["hole"]);
        assert_eq!(after(Cadence::forget), [""; 0]);
    }

    #[test]
    fn segments_are_due_after_one_and_a_half_target_durations() {
        let segment = |at_ms| Arrival {
            has_segments: true,
            has_parts: false,
            ..arrival(at_ms)
        };
        assert_eq!(kinds(&[segment(0), segment(3150)]), [""; 0]);
        assert_eq!(kinds(&[segment(0), segment(3151)]), ["segment-late"]);
    }

    #[test]
    fn a_stream_that_stands_still_is_late_at_the_end() {
        let mut book = Book::default();
        let mut cadence = Cadence::default();
        cadence.push(&arrival(0), &mut book.page("", 0));
        cadence.finish(&arrival(5000), &mut book.page("", 5000));
        assert_eq!(book.findings()[0].kind, "part-very-late");
    }
}
