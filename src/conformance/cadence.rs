//! When segments and parts appear: rule 9, judged at the client.
//!
//! In:  arrival times, in milliseconds since the start. Out: judgements. Not here: clocks.
//!
//! A part is due one PART-TARGET after the one before it, a segment 1.5 target durations after it. What the
//! network and the scheduler may add is the slack, plus the delay that this program saw in its own timers. Parts
//! later than that break a "should"; parts later than another PART-TARGET, and late segments, a "must".
//! Behind an interruption that the server admits (503, DISCONTINUITY, GAP) or an outage, the count begins anew.

use super::findings::Page;
use super::rules::{must, should};

/// What a playlist answer brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) at_ms: u64,
    pub(super) has_parts: bool,
    pub(super) has_segments: bool,
    /// Whether the news begin at a discontinuity or a gap.
    pub(super) is_spliced: bool,
    pub(super) part_target_us: Option<u64>,
    pub(super) target_s: u64,
    /// Slack for this answer.
    pub(super) slack_ms: u64,
}

/// When the last part and the last segment came.
#[derive(Debug, Default)]
pub(super) struct Cadence {
    part_ms: Option<u64>,
    segment_ms: Option<u64>,
}

impl Cadence {
    /// The stream was interrupted, and says so.
    pub(super) fn interrupt(&mut self) {
        *self = Self::default();
    }

    /// Judges an answer that brought something.
    pub(super) fn push(&mut self, arrival: &Arrival, page: &mut Page<'_>) {
        if arrival.is_spliced {
            let waited = self
                .part_ms
                .map_or(0, |before| arrival.at_ms.saturating_sub(before));
            page.note("spliced", || {
                format!("the stream goes on behind a discontinuity or a gap, {waited} ms after the last part")
            });
            self.interrupt();
        }
        self.judge(arrival, page);
        if arrival.has_parts {
            self.part_ms = Some(arrival.at_ms);
        }
        if arrival.has_segments {
            self.segment_ms = Some(arrival.at_ms);
        }
    }

    /// Judges that nothing more came until the end.
    pub(super) fn finish(&mut self, last: &Arrival, page: &mut Page<'_>) {
        let mut end = Self {
            part_ms: self.part_ms,
            segment_ms: self.segment_ms,
        };
        end.judge(
            &Arrival {
                has_parts: true,
                has_segments: true,
                ..*last
            },
            page,
        );
    }

    fn judge(&mut self, arrival: &Arrival, page: &mut Page<'_>) {
        let Arrival {
            at_ms, slack_ms, ..
        } = *arrival;
        if let (true, Some(before), Some(target)) =
            (arrival.has_parts, self.part_ms, arrival.part_target_us)
        {
            let waited = at_ms.saturating_sub(before);
            let target = target.div_ceil(1000);
            let words = || {
                format!(
                    "{waited} ms after the one before; PART-TARGET {target} ms, slack {slack_ms} ms"
                )
            };
            let is_due = waited <= target.saturating_add(slack_ms);
            let is_near = waited <= target.saturating_mul(2).saturating_add(slack_ms);
            page.check(should(9, "part-late"), is_due || !is_near, "", words);
            page.check(must(9, "part-very-late"), is_near, "", words);
        }
        if let (true, Some(before)) = (arrival.has_segments, self.segment_ms) {
            let waited = at_ms.saturating_sub(before);
            let most = arrival.target_s.saturating_mul(1500);
            let holds = waited <= most.saturating_add(slack_ms);
            page.check(must(9, "segment-late"), holds, "", || {
                format!("a segment came {waited} ms after the one before; 1.5 target durations are {most} ms, slack {slack_ms} ms")
            });
        }
    }
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
        book.findings().iter().map(|found| found.kind).collect()
    }

    #[test]
    fn parts_are_due_after_a_part_target_and_the_slack() {
        assert_eq!(kinds(&[arrival(1000), arrival(1484)]), [""; 0]);
        assert_eq!(kinds(&[arrival(1000), arrival(1485)]), ["part-late"]);
        assert_eq!(kinds(&[arrival(1000), arrival(1819)]), ["part-very-late"]);
        let spliced = Arrival {
            is_spliced: true,
            ..arrival(9000)
        };
        assert_eq!(kinds(&[arrival(1000), spliced, arrival(9300)]), [""; 0]);
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
