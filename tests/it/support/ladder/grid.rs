//! One grid for all renditions: what one list cuts, dates and breaks, all do (rules 10, 20, 22, 30, 51).

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;

use super::super::fragments::{self, Start, Track};
use super::super::viewer::Watched;
use super::{Ladder, Rendition};

/// Seconds that may lie between two lists' numbers for the same instant: they print three decimals.
const MILLISECOND: f64 = 0.0011;
/// Parts by which a report may be behind: the lists are rendered one after the other, and this
/// machine may be busy. A report may never be ahead.
const REPORT_LAG: usize = 6;
/// 90 kHz ticks a picture may be off: the other renditions count in the same ticks.
const TICK: i64 = 1;
/// Samples of an AAC frame.
const AAC_FRAME: i64 = 1024;

impl Rendition {
    /// Rules that need no other rendition: parts add up, a segment opens independently, a gap is one
    /// in all its tags.
    pub(super) fn check_itself(&self) {
        let Self { variant, watched } = self;
        let name = &variant.name;
        let mut first = true;
        for (msn, extinf) in &watched.segments {
            let parts: Vec<_> = watched
                .parts
                .range((*msn, 0)..(msn + 1, 0))
                .map(|(_, (part, _))| part)
                .collect();
            let is_gap = watched.gaps.contains(msn);
            // The segments before the viewer came may be listed without their parts, and gaps too.
            let may_be_bare = std::mem::take(&mut first) || is_gap;
            if !may_be_bare || !parts.is_empty() {
                let sum: f64 = parts.iter().map(|part| part.duration).sum();
                assert!(
                    (sum - extinf).abs() < MILLISECOND,
                    "{name}: {msn} has {sum} s in parts, EXTINF {extinf}"
                );
            }
            // A picture that stands still for long may leave a part, or all of them, to the sound.
            let opening = parts.iter().find(|part| {
                let begin = self.start((*msn, part.part));
                part.is_gap || part.is_independent || matches!(begin, Some(Begin::Picture(_)))
            });
            assert!(
                opening.is_none_or(|part| part.is_gap || part.is_independent),
                "{name}: segment {msn} does not open independently: {parts:?}"
            );
            let has_gap = parts.iter().any(|part| part.is_gap);
            assert!(
                is_gap || !has_gap,
                "{name}: {msn} has a gap in it, yet no EXT-X-GAP"
            );
            assert!(watched.dates.contains_key(msn), "{name}: {msn} has no date");
        }
        let dates: Vec<i64> = watched.dates.values().map(|date| millis(date)).collect();
        assert!(dates.is_sorted(), "{name}: dates go back: {dates:?}");
    }

    /// Each list reports on each other one, never more than is there.
    pub(super) fn check_reports(&self, ladder: &Ladder) {
        let name = &self.variant.name;
        let grid: Vec<(u64, u32)> = self.watched.parts.keys().copied().collect();
        for (index, (own, reports)) in self.watched.reports.iter().enumerate() {
            let mut reported = BTreeSet::new();
            // What was held at the start is in the source's list before an encoder has made it, or even a part.
            let is_first = own.0 <= grid[0].0 + 1;
            for report in reports {
                let url = self.variant.url.join(&report.uri).unwrap();
                let of = ladder
                    .renditions
                    .iter()
                    .find(|other| other.variant.url.path() == url.path());
                let of =
                    of.unwrap_or_else(|| panic!("{name} reports on {url}, which is no variant"));
                assert!(
                    of.watched.parts.contains_key(&report.last) || report.last < grid[0],
                    "{name} at {own:?} reports {:?} of {}, which never was",
                    report.last,
                    of.variant.name
                );
                let position = |at| grid.iter().position(|part| *part == at);
                if let (Some(here), Some(there)) = (position(*own), position(report.last)) {
                    assert!(
                        is_first || here.abs_diff(there) <= REPORT_LAG,
                        "{name} at {own:?} reports {:?} of {}",
                        report.last,
                        of.variant.name
                    );
                }
                reported.insert(&of.variant.name);
            }
            // The list that ends needs none.
            let is_last = self.watched.last.is_ended && index + 1 == self.watched.reports.len();
            if is_last || is_first {
                continue;
            }
            assert_eq!(
                reported.len() + 1,
                ladder.renditions.len(),
                "{name} at {own:?} reports on {reported:?} only"
            );
        }
    }

    /// The same numbers and durations, dates and discontinuities as `first`.
    pub(super) fn check_numbers(&self, first: &Self) {
        let pair = format!("{} beside {}", self.variant.name, first.variant.name);
        let (own, other) = (&self.watched, &first.watched);
        let shared = |keys: BTreeSet<u64>| -> BTreeSet<u64> {
            // A viewer may come a segment later to one list than to the other; from there on all is equal.
            let begin = *own
                .segments
                .keys()
                .next()
                .max(other.segments.keys().next())
                .unwrap();
            keys.into_iter().filter(|msn| *msn >= begin).collect()
        };
        let numbers = |map: &BTreeMap<u64, f64>| shared(map.keys().copied().collect());
        assert_eq!(
            numbers(&own.segments),
            numbers(&other.segments),
            "{pair}: segments"
        );
        for msn in numbers(&own.segments) {
            let (a, b) = (own.segments[&msn], other.segments[&msn]);
            assert!(
                (a - b).abs() < MILLISECOND,
                "{pair}: EXTINF of {msn}: {a}, {b}"
            );
            let (a, b) = (millis(&own.dates[&msn]), millis(&other.dates[&msn]));
            assert!(a.abs_diff(b) <= 1, "{pair}: date of {msn}: {a}, {b}");
            let durations = |watched: &Watched| -> Vec<f64> {
                let parts = watched.parts.range((msn, 0)..(msn + 1, 0));
                parts.map(|(_, (part, _))| part.duration).collect()
            };
            let (a, b) = (durations(own), durations(other));
            // Parts that left the list before the viewer came are unknown.
            let is_known = !a.is_empty() && !b.is_empty();
            assert!(
                !is_known || a.len() == b.len(),
                "{pair}: parts of {msn}: {a:?}, {b:?}"
            );
            let is_close = std::iter::zip(&a, &b).all(|(a, b)| (a - b).abs() < MILLISECOND);
            assert!(is_close, "{pair}: parts of {msn}: {a:?}, {b:?}");
            assert_eq!(
                own.discontinuity_sequences.get(&msn),
                other.discontinuity_sequences.get(&msn),
                "{pair}: discontinuity sequence of {msn}"
            );
        }
        let breaks = |watched: &Watched| shared(watched.discontinuities.iter().copied().collect());
        assert_eq!(breaks(own), breaks(other), "{pair}: discontinuities");
    }

    /// Each part begins at the same instant as in `first`, in media time.
    pub(super) fn check_times(&self, first: &Self) {
        let pair = format!("{} beside {}", self.variant.name, first.variant.name);
        // At a lower frame rate the first picture of a part may be one of its own frames later.
        let frame = |rendition: &Self| {
            rendition
                .variant
                .frame_rate()
                .map_or(0.0, |rate| 90_000.0 / rate)
        };
        #[expect(clippy::cast_possible_truncation, reason = "ticks of one frame")]
        let slack = (frame(self) - frame(first)).abs() as i64 + TICK;
        for key in self.watched.parts.keys() {
            let (Some(own), Some(other)) = (self.start(*key), first.start(*key)) else {
                continue;
            };
            match (own, other) {
                (Begin::Picture(own), Begin::Picture(other)) => {
                    let slack = if key.1 == 0 { TICK } else { slack };
                    let off = own.decode - other.decode;
                    assert!(
                        off.abs() <= slack,
                        "{pair}: part {key:?} begins {off} ticks later"
                    );
                    let off = own.presentation - other.presentation;
                    assert!(
                        key.1 > 0 || off.abs() <= TICK,
                        "{pair}: segment {key:?} shows {off} ticks later"
                    );
                }
                (Begin::Sound { at, rate }, Begin::Picture(other))
                | (Begin::Picture(other), Begin::Sound { at, rate }) => {
                    let off = at - other.decode * rate / 90_000;
                    assert!(
                        off.abs() <= 2 * AAC_FRAME,
                        "{pair}: part {key:?} sounds {off} samples later"
                    );
                }
                (Begin::Sound { .. }, Begin::Sound { .. }) => {}
            }
        }
    }

    /// Where a part begins, by its picture if it has one.
    fn start(&self, key: (u64, u32)) -> Option<Begin> {
        let (part, bytes) = self.watched.parts.get(&key)?;
        if part.is_gap {
            return None;
        }
        let (_, init) = self.watched.inits.range(..=key.0).next_back()?;
        let tracks = fragments::tracks(init);
        let of = |track: &Track| fragments::start(bytes, track.id);
        match tracks.iter().find(|track| track.is_video) {
            Some(video) => of(video).map(Begin::Picture),
            None => tracks.first().and_then(|audio| {
                Some(Begin::Sound {
                    at: of(audio)?.decode,
                    rate: audio.timescale.into(),
                })
            }),
        }
    }
}

/// What a part begins with.
#[derive(Clone, Copy, Debug)]
enum Begin {
    Picture(Start),
    Sound { at: i64, rate: i64 },
}

/// A date as milliseconds since 1970.
pub(super) fn millis(date: &str) -> i64 {
    DateTime::parse_from_rfc3339(date)
        .unwrap()
        .timestamp_millis()
}
