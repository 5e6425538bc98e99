//! A window as an earlier process showed it, made again from what that left in a mirror.
//!
//! In:  [`Past`]: the text of its segments and what there is of their media. Out: a [`Window`] that
//! renders the same lines for them, and goes on as after the loss of a publisher.
//! Parts are gone: their number and durations stand in no plain playlist.

use std::sync::Arc;

use bytes::Bytes;

use super::{Segment, Timeline, Window};
use crate::packaging::InitSection;
use crate::playlist::Config;
use crate::playlist::plain::PlainSegment;
use crate::playlist::tags::Seconds5;

/// Nine ticks are ten units of EXTINF: offsets that differ by a multiple of nine round alike.
const ROUNDING_PERIOD: i64 = 9;

/// A rendition's segments, without a hole in their numbers.
#[derive(Clone, Debug)]
pub struct Past {
    /// Number of the first segment.
    pub first_msn: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE of a playlist that begins with it.
    pub discontinuity_sequence: u64,
    /// At least one.
    pub segments: Vec<PastSegment>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct PastSegment {
    /// What its lines said.
    pub listed: PlainSegment,
    /// What a decoder needs before it.
    pub init: Arc<InitSection>,
    /// Its media; none if it is a gap.
    pub bytes: Option<Bytes>,
}

/// Durations that no timeline of 90 kHz ticks has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the durations listed from segment {0} on are not of a timeline in 90 kHz ticks")]
pub struct NoTimeline(u64);

impl Window {
    /// The window that listed `past`, less what its length leaves out.
    pub fn restore(config: &Config, past: &Past) -> Result<Self, NoTimeline> {
        let mut window = Self::new(config, past.first_msn);
        window.listing.discontinuity_sequence = past.discontinuity_sequence;
        let mut segments = past.segments.as_slice();
        while let Some(timeline) = first_timeline(segments) {
            let offsets = offsets(timeline).ok_or(NoTimeline(window.next_msn()))?;
            for (segment, ends) in timeline.iter().zip(offsets.windows(2)) {
                window.push_past(segment, ends[0], ends[1] - ends[0]);
            }
            segments = &segments[timeline.len()..];
        }
        window.timeline = past.segments.last().map(|last| Timeline {
            init: Arc::clone(&last.init),
            at: last.listed.until(),
            origin: None,
            until: last.listed.until(),
        });
        Ok(window)
    }

    fn push_past(&mut self, past: &PastSegment, offset: i64, duration: i64) {
        self.published = self.published.saturating_add(duration);
        self.longest = self.longest.max(self.listed.saturating_add(duration));
        self.listing.open = Some(Segment {
            msn: self.next_msn(),
            parts: Vec::new(),
            whole: past.bytes.clone(),
            offset,
            duration,
            program_date_time: past.listed.program_date_time,
            discontinuity: past.listed.discontinuity,
            init: Arc::clone(&past.init),
            has_gap: past.bytes.is_none(),
        });
        self.close_segment();
        self.forget();
    }
}

/// The segments up to the next discontinuity; none if there are no segments.
fn first_timeline(segments: &[PastSegment]) -> Option<&[PastSegment]> {
    let (_, others) = segments.split_first()?;
    let others = others
        .iter()
        .take_while(|segment| !segment.listed.discontinuity);
    segments.get(..=others.count())
}

/// Where on a timeline segments begin, and where the last one ends, so that each of their EXTINFs
/// reads as it did. The text tells the distances of rounded ends only: of the nine places in a
/// rounding period at which the first can lie, one that makes all of them possible. What is only assumed
/// to have been listed is as long as it can be.
fn offsets(timeline: &[PastSegment]) -> Option<Vec<i64>> {
    (0..ROUNDING_PERIOD).find_map(|first| {
        let mut end = Seconds5::nearest(first);
        let ends = timeline.iter().map(|segment| {
            end = end.plus(segment.listed.duration);
            if segment.listed.is_assumed {
                end = Seconds5::nearest(end.nearest_ticks());
            }
            end.ticks()
        });
        std::iter::once(Some(first)).chain(ends).collect()
    })
}

/// The fragment at `index` of a segment: all that follows an `mdat`, up to the end of the next one.
pub(super) fn fragment(segment: &Bytes, index: usize) -> Option<Bytes> {
    let (mut at, mut begins) = (0_usize, Vec::new());
    let mut is_first = true;
    while let Some(header) = segment.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let [a, b, c, d, kind @ ..] = *header;
        if is_first {
            begins.push(at);
        }
        is_first = &kind == b"mdat";
        let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        at = at.checked_add(size.max(8))?;
    }
    let begin = *begins.get(index)?;
    let end = begins.get(index + 1).copied().unwrap_or(segment.len());
    segment
        .get(begin..end)
        .map(|bytes| segment.slice_ref(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::clock::WallTime;
    use crate::playlist::fixtures::{self, PART, START, push_parts_with_gaps, push_segment};
    use crate::playlist::{Plain, Snapshot};

    /// What a mirror of all that `snapshot` lists holds.
    fn mirrored(snapshot: &Snapshot) -> String {
        snapshot.mirror_playlist(0..=u64::MAX).unwrap()
    }

    fn past(text: &str) -> Past {
        let plain = Plain::parse(text).unwrap();
        let segments = (plain.first_msn..).zip(plain.segments);
        Past {
            first_msn: plain.first_msn,
            discontinuity_sequence: plain.discontinuity_sequence,
            segments: segments
                .map(|(msn, listed)| PastSegment {
                    init: fixtures::init(&listed.init_hash),
                    bytes: (!listed.is_gap).then(|| format!("segment {msn}").into()),
                    listed,
                })
                .collect(),
        }
    }

    fn restored(text: &str) -> Window {
        Window::restore(&Config::default(), &past(text)).unwrap()
    }

    /// The lines of a live playlist that must stay: all but parts, hints and reports.
    fn lasting(snapshot: &Snapshot) -> Vec<String> {
        let text = String::from_utf8(snapshot.playlist(false, false).to_vec()).unwrap();
        let passing = ["#EXT-X-PART:", "#EXT-X-PRELOAD-HINT", "#EXT-X-RENDITION"];
        let is_lasting = |line: &&str| !passing.iter().any(|tag| line.starts_with(tag));
        text.lines().filter(is_lasting).map(str::to_owned).collect()
    }

    #[test]
    fn the_parts_of_a_whole_segment_are_its_fragments() {
        let boxed = |kind: &str, len: usize| {
            let size = u32::try_from(len + 8).unwrap().to_be_bytes();
            [&size[..], kind.as_bytes(), &vec![7; len]].concat()
        };
        let parts = [
            [boxed("moof", 3), boxed("mdat", 40)].concat(),
            [boxed("emsg", 2), boxed("moof", 1), boxed("mdat", 0)].concat(),
        ];
        let whole = Bytes::from(parts.concat());
        let found: Vec<_> = (0..3).map(|index| fragment(&whole, index)).collect();
        let [first, last] = parts.map(|part| Some(Bytes::from(part)));
        assert_eq!(found, [first, last, None]);
        // What is no media ends; nothing is read beyond it.
        for bytes in [&b"\0\0\0\0moof"[..], b"\xff\xff\xff\xffmoof.", b"moof", b""] {
            let cut = Bytes::copy_from_slice(bytes);
            assert!((1..3).all(|index| fragment(&cut, index).is_none()));
        }
    }

    #[test]
    fn goes_on_where_it_was() {
        let mut window = fixtures::window(&Config::default(), 1042, 20, 0);
        window.start_timeline(fixtures::init("0badcafe"), START.plus_millis(60_000));
        push_parts_with_gaps(&mut window, 7, &[30_030; 6], true, &[2]);
        let before = window.snapshot();
        let mut again = restored(&mirrored(&before));
        let after = again.snapshot();
        assert_eq!(lasting(&before), lasting(&after));
        assert_eq!(before.hint(), after.hint());
        assert_eq!(after.last(), None, "no part is known");
        let segment = after.segment(1050).unwrap();
        assert_eq!(segment.pieces().collect::<Vec<_>>(), ["segment 1050"]);
        assert_eq!(after.segment(1062).unwrap().byte_len(), 0);
        assert!(after.has_full_segment_and_part());

        // Dates do not run backwards, though the clock does.
        again.start_timeline(fixtures::init("00c0ffee"), START);
        window.start_timeline(fixtures::init("00c0ffee"), START);
        for window in [&mut window, &mut again] {
            push_segment(window, 0, &[PART; 6]);
        }
        assert_eq!(lasting(&window.snapshot()), lasting(&again.snapshot()));
        assert!(again.snapshot().part(again.last().unwrap()).is_some());
    }

    #[test]
    fn what_is_too_much_is_not_listed_but_there() {
        let config = Config {
            window_seconds: 60,
            ..Config::default()
        };
        let long = fixtures::window(&config, 1, 30, 0);
        let window = restored(&mirrored(&long.snapshot()));
        let snapshot = window.snapshot();
        assert_eq!(snapshot.listed().count(), 15);
        let first = snapshot.listed().next().unwrap().msn;
        assert!(snapshot.segment(first - 5).is_some());
    }

    #[test]
    fn durations_that_no_ticks_have_are_refused() {
        let text = mirrored(&fixtures::window(&Config::default(), 1, 12, 0).snapshot());
        // Wherever the first begins, one of ten ends between two ticks.
        let text = text.replace("2.00000", "1.99901");
        let refused = Window::restore(&Config::default(), &past(&text)).map(drop);
        assert_eq!(refused, Err(NoTimeline(1)));
    }

    #[test]
    fn what_is_assumed_is_rounded_to_ticks() {
        let mut past = past(&mirrored(
            &fixtures::window(&Config::default(), 1, 3, 0).snapshot(),
        ));
        let odd = Seconds5::parse("1.99901").unwrap();
        for _ in 0..10 {
            let last = past.segments.last().unwrap().clone();
            past.segments.push(PastSegment {
                listed: last.listed.gap_after(odd),
                bytes: None,
                ..last
            });
        }
        let window = Window::restore(&Config::default(), &past).unwrap();
        let text = mirrored(&window.snapshot());
        assert_eq!(text.matches("#EXT-X-GAP\n#EXTINF:1.9990").count(), 10);
        assert_eq!(window.next_msn(), 14);
    }

    proptest! {
        /// Any run of timelines, wherever the playlist begins.
        #[test]
        fn renders_the_same_text(
            timelines in prop::collection::vec(
                (0_i64..9_000, prop::collection::vec(90_000_i64..220_000, 1..12)), 1..5),
            first in 0_u64..20,
        ) {
            let config = Config::default();
            let mut window = Window::new(&config, 1);
            let mut at = START;
            for (millis, durations) in &timelines {
                at = WallTime(at.0 + millis);
                window.start_timeline(fixtures::init("7f3a09bc"), at);
                let mut start = 17;
                for duration in durations {
                    start = push_segment(&mut window, start, &[*duration]);
                }
                at = at.plus_millis(start / 90);
            }
            let snapshot = window.snapshot();
            let last = snapshot.last_complete_msn().unwrap();
            let text = snapshot.mirror_playlist(first.min(last)..=last).unwrap();
            prop_assert_eq!(mirrored(&restored(&text).snapshot()), text);
        }
    }
}
