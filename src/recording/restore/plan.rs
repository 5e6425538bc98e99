//! What a channel's playlists are to list after a crash: decided from their text, before any media is
//! read. Pure.
//!
//! In:  a [`MirrorCopy`] of the playlists, the time. Out: a [`Plan`], or why there is none.
//! The dead process may have announced segments that its mirror does not have. Their numbers are
//! spent: they are listed as gaps, as many as there can have been if none was shorter than the shortest
//! that is known. So new media gets only numbers that nobody knows. Where the mirror says that a timeline had begun
//! behind its last segment, the first gap has that one's DISCONTINUITY: players have counted it.

use std::time::Duration;

use crate::base::clock::WallTime;
use crate::playlist::{self, Plain, PlainSegment, Seconds5, Variant};

/// Most gaps listed at the end: beyond it nobody waits in front of a player.
const MAX_GAPS: u64 = 1_000;

/// The playlists of one epoch as they lie in the store.
#[derive(Clone, Debug)]
pub(super) struct MirrorCopy {
    /// Of the mirror's folder.
    pub(super) epoch: u64,
    /// At least one.
    pub(super) renditions: Vec<CopiedRendition>,
}

/// One rendition's playlist.
#[derive(Clone, Debug)]
pub(super) struct CopiedRendition {
    pub(super) name: String,
    pub(super) variant: Variant,
    pub(super) plain: Plain,
    /// When it was stored.
    pub(super) stored: WallTime,
}

/// What must hold for playlists to be continued.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Now.
    pub(super) now: WallTime,
    /// How long playlists wait for a publisher.
    pub(super) hold: Duration,
    /// EXT-X-TARGETDURATION of this server.
    pub(super) target_duration_s: u32,
    /// How often the playlists were continued already: each time one number was skipped besides.
    pub(super) resumptions: u64,
}

/// The playlists to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Number of the first segment in all renditions.
    pub(super) first_msn: u64,
    /// The first number for new media.
    pub(super) next_msn: u64,
    /// PART-TARGET in all renditions, if the copy says it.
    pub(super) part_target_ms: Option<u32>,
    /// As those of the copy.
    pub(super) renditions: Vec<PlannedRendition>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedRendition {
    pub(super) discontinuity_sequence: u64,
    /// From `first_msn` on.
    pub(super) segments: Vec<PlainSegment>,
}

/// Why playlists are not continued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the stream had ended")]
    Ended,
    #[error("its target duration was {0} s")]
    TargetDuration(u32),
    #[error("its part target was {0} ms")]
    PartTarget(u32),
    #[error("its renditions have no segment in common")]
    Disjoint,
    #[error("it stopped {0} ms ago, which is longer than playlists are held")]
    TooLate(i64),
}

impl MirrorCopy {
    /// Number of the newest segment of any rendition.
    pub(super) fn last_msn(&self) -> u64 {
        let last = self.renditions.iter().map(|r| r.plain.last_msn());
        last.max().unwrap_or(0)
    }

    /// The playlists that continue these.
    pub(super) fn plan(&self, terms: &Terms) -> Result<Plan, Unfit> {
        for CopiedRendition { plain, .. } in &self.renditions {
            if plain.is_ended {
                return Err(Unfit::Ended);
            }
            if plain.target_duration_s != terms.target_duration_s {
                return Err(Unfit::TargetDuration(plain.target_duration_s));
            }
        }
        let part_target_ms = self.part_target(terms)?;
        let first = self.renditions.iter().map(|r| r.plain.first_msn).max();
        let (first_msn, last_msn) = (first.ok_or(Unfit::Disjoint)?, self.last_msn());
        let segments = (first_msn..=last_msn).map(|msn| self.known(msn));
        let known: Option<Vec<&PlainSegment>> = segments.collect();
        let known = known
            .filter(|known| !known.is_empty())
            .ok_or(Unfit::Disjoint)?;
        let length = shortest(&known, terms);
        let gaps = self.gaps(&known, length, terms)?;
        let newest = self.renditions.iter().map(|r| &r.plain);
        let mut newest = newest.filter(|plain| plain.last_msn() == last_msn);
        let timeline_begins = newest.any(|plain| plain.timeline_begins);
        let renditions = self.renditions.iter();
        Ok(Plan {
            first_msn,
            next_msn: last_msn.saturating_add(1).saturating_add(gaps),
            part_target_ms,
            renditions: renditions
                .map(|r| PlannedRendition {
                    discontinuity_sequence: r.plain.discontinuity_sequence_at(first_msn),
                    segments: r.segments(first_msn, &known, gaps, length, timeline_begins),
                })
                .collect(),
        })
    }

    /// What players know does not change while they know the playlists, whatever the channel is set to by now.
    fn part_target(&self, terms: &Terms) -> Result<Option<u32>, Unfit> {
        let mut told = self.renditions.iter().map(|r| r.plain.part_target_ms);
        let Some(part_target_ms) = told.find_map(|told| told) else {
            return Ok(None);
        };
        let grid = playlist::Config {
            target_duration_s: terms.target_duration_s,
            part_target_ms,
            ..playlist::Config::default()
        };
        match grid.validate() {
            Ok(()) => Ok(Some(part_target_ms)),
            Err(_) => Err(Unfit::PartTarget(part_target_ms)),
        }
    }

    /// A segment as any rendition lists it: number, date and duration are the same in all.
    fn known(&self, msn: u64) -> Option<&PlainSegment> {
        self.renditions.iter().find_map(|r| r.plain.segment(msn))
    }

    /// How many numbers may be spent after the last that is known.
    fn gaps(&self, known: &[&PlainSegment], length: Seconds5, terms: &Terms) -> Result<u64, Unfit> {
        let stored = self.renditions.iter().map(|r| r.stored).max();
        let end = known.last().map(|last| last.until());
        // A publisher that is faster than the clock has dates ahead of it.
        let until = stored.into_iter().chain(end).min().unwrap_or(terms.now);
        let hole_ms = terms.now.millis_since(until).max(0);
        let hold_ms = i64::try_from(terms.hold.as_millis()).unwrap_or(i64::MAX);
        let hole = hole_ms.unsigned_abs();
        let gaps = hole.div_ceil(length.millis().max(1)) + 1 + terms.resumptions;
        if hole_ms > hold_ms || gaps > MAX_GAPS {
            return Err(Unfit::TooLate(hole_ms));
        }
        Ok(gaps)
    }
}

impl CopiedRendition {
    /// Its own segments from `first_msn` on, gaps where only others have `known` ones, and gaps, the first of which
    /// may begin a timeline.
    fn segments(
        &self,
        first_msn: u64,
        known: &[&PlainSegment],
        gaps: u64,
        length: Seconds5,
        timeline_begins: bool,
    ) -> Vec<PlainSegment> {
        let plain = &self.plain;
        let last_init = plain.segments.last().map(|last| last.init_hash.as_str());
        let all = (first_msn..).zip(known).map(|(msn, known)| {
            let own = plain.segment(msn).cloned();
            own.unwrap_or_else(|| known.missing(last_init.unwrap_or_default()))
        });
        let mut segments: Vec<_> = all.collect();
        for gap in 0..gaps {
            segments.extend(segments.last().map(|last| PlainSegment {
                discontinuity: timeline_begins && gap == 0,
                ..last.gap_after(length)
            }));
        }
        segments
    }
}

/// The shortest length of a segment whose end was not that of its timeline. An unsteady encoder's
/// segments can be shorter, but two of them last longer than a target duration.
fn shortest(known: &[&PlainSegment], terms: &Terms) -> Seconds5 {
    let pairs = known.iter().zip(known.iter().skip(1));
    let whole = pairs.filter(|(_, next)| !next.discontinuity);
    let shortest = whole.map(|(segment, _)| segment.duration).min();
    let target = |millis| Seconds5::of_millis(terms.target_duration_s.saturating_mul(millis));
    shortest
        .or(known.last().map(|last| last.duration))
        .unwrap_or(target(1000))
        .clamp(target(500), target(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n";

    /// Segments of two seconds, each at twice its number; a DISCONTINUITY before number 11.
    fn playlist(first: u64, last: u64) -> String {
        let sequence = if first > 11 { 4 } else { 3 };
        let head = format!(
            "{HEAD}#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{sequence}\n"
        );
        let segments = (first..=last).map(|msn| {
            let discontinuity = if msn == 11 {
                "#EXT-X-DISCONTINUITY\n"
            } else {
                ""
            };
            let map = match msn {
                11 => "#EXT-X-MAP:URI=\"init-bb.mp4\"\n",
                _ if msn != first => "",
                _ if msn < 11 => "#EXT-X-MAP:URI=\"init-aa.mp4\"\n",
                _ => "#EXT-X-MAP:URI=\"init-bb.mp4\"\n",
            };
            let second = msn * 2;
            format!(
                "{discontinuity}{map}#EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:{second}.000Z\n\
                 #EXTINF:2.00000,live\n{msn}.m4s\n"
            )
        });
        std::iter::once(head).chain(segments).collect()
    }

    fn at(second: f64) -> WallTime {
        format!("2026-10-01T10:00:{second:06.3}Z").parse().unwrap()
    }

    fn copy(renditions: &[(u64, u64)]) -> MirrorCopy {
        let renditions = renditions.iter().map(|(first, last)| CopiedRendition {
            name: "source".to_owned(),
            variant: Variant::default(),
            plain: Plain::parse(&playlist(*first, *last)).unwrap(),
            stored: at(59.0),
        });
        MirrorCopy {
            epoch: 7,
            renditions: renditions.collect(),
        }
    }

    fn terms(now: f64) -> Terms {
        Terms {
            now: at(now),
            hold: Duration::from_secs(10),
            target_duration_s: 2,
            resumptions: 0,
        }
    }

    #[test]
    fn spends_a_number_for_each_segment_that_there_was_time_for_and_one() {
        // Number 20 ends at second 42.
        for (now, resumptions, gaps) in [
            (41.0, 0, 1),
            (42.0, 0, 1),
            (42.001, 0, 2),
            (44.0, 0, 2),
            (45.5, 0, 3),
            (45.5, 3, 6),
            (52.0, 0, 6),
        ] {
            let terms = Terms {
                resumptions,
                ..terms(now)
            };
            let plan = copy(&[(10, 20)]).plan(&terms).unwrap();
            assert_eq!((plan.first_msn, plan.next_msn), (10, 21 + gaps), "{now}");
            let segments = &plan.renditions[0].segments;
            assert_eq!(u64::try_from(segments.len()).unwrap(), 11 + gaps);
            let dates = segments.iter().map(|s| (s.program_date_time, s.is_gap));
            for (index, (date, is_gap)) in dates.enumerate() {
                let second = f64::from(u32::try_from(20 + 2 * index).unwrap());
                assert_eq!((date, is_gap), (at(second), index >= 11));
            }
        }
    }

    #[test]
    fn unsteady_segments_spend_more_numbers() {
        for (from, to, gaps) in [
            ("2.00000", "1.25000", 4),
            ("2.00000", "0.30000", 5),
            ("2.00000", "2.40000", 3),
        ] {
            let mut copy = copy(&[(12, 20)]);
            let text = playlist(12, 20).replacen(from, to, 2);
            copy.renditions[0].plain = Plain::parse(&text).unwrap();
            let plan = copy.plan(&terms(45.5)).unwrap();
            assert_eq!(plan.next_msn, 21 + gaps, "{to}");
        }
        // What a discontinuity cut short is no measure.
        let mut copy = copy(&[(10, 20)]);
        let text = playlist(10, 20).replacen("2.00000", "0.30000", 1);
        copy.renditions[0].plain = Plain::parse(&text).unwrap();
        assert_eq!(copy.plan(&terms(45.5)).unwrap().next_msn, 21 + 3);
    }

    #[test]
    fn a_fast_publisher_is_measured_by_when_it_was_stored() {
        let mut copy = copy(&[(10, 20)]);
        copy.renditions[0].stored = at(30.0);
        let plan = copy.plan(&terms(33.0)).unwrap();
        assert_eq!(plan.next_msn, 21 + 3);
    }

    #[test]
    fn renditions_begin_together_and_what_one_lacks_is_a_gap() {
        let plan = copy(&[(10, 20), (12, 18), (11, 19)]).plan(&terms(42.0));
        let plan = plan.unwrap();
        assert_eq!((plan.first_msn, plan.next_msn), (12, 22));
        for (rendition, gaps) in plan.renditions.iter().zip([1, 3, 2]) {
            assert_eq!(rendition.discontinuity_sequence, 4);
            let segments = &rendition.segments;
            assert_eq!(segments.len(), 10);
            assert_eq!(segments.iter().filter(|s| s.is_gap).count(), gaps);
            assert!(segments.iter().rev().take(gaps).all(|s| s.is_gap));
            let dates: Vec<_> = segments.iter().map(|s| s.program_date_time).collect();
            let first: Vec<_> = plan.renditions[0].segments.iter().collect();
            assert!(
                dates
                    .iter()
                    .zip(&first)
                    .all(|(date, s)| *date == s.program_date_time)
            );
            assert!(segments.iter().all(|s| s.init_hash == "bb"));
        }
    }

    #[test]
    fn a_timeline_that_had_begun_is_counted_once() {
        // Who says that it begins behind its last segment, and where the first gap is.
        for (renditions, telling, first_gap) in [
            (&[(10, 20), (12, 20)][..], 1, 21),
            (&[(10, 20), (12, 20)], 0, 21),
            (&[(10, 20), (12, 19)], 1, 0),
        ] {
            let mut copy = copy(renditions);
            copy.renditions[telling].plain.timeline_begins = true;
            let plan = copy.plan(&terms(45.5)).unwrap();
            for rendition in &plan.renditions {
                let numbered = (plan.first_msn..).zip(&rendition.segments);
                let begins = numbered.filter(|(_, segment)| segment.discontinuity);
                let begins: Vec<_> = begins.map(|(msn, _)| msn).collect();
                let expected: &[u64] = if first_gap > 0 { &[first_gap] } else { &[] };
                assert_eq!(begins, expected, "{renditions:?} {telling}");
            }
        }
    }

    #[test]
    fn the_part_target_stays_what_players_know() {
        let plan = |told: &[Option<u32>]| {
            let mut copy = copy(&vec![(10, 20); told.len()]);
            for (rendition, told) in copy.renditions.iter_mut().zip(told) {
                rendition.plain.part_target_ms = *told;
            }
            copy.plan(&terms(42.0)).map(|plan| plan.part_target_ms)
        };
        assert_eq!(plan(&[None]), Ok(None));
        assert_eq!(plan(&[Some(1000)]), Ok(Some(1000)));
        assert_eq!(plan(&[None, Some(500)]), Ok(Some(500)));
        for odd in [0, 99, 2001] {
            assert_eq!(plan(&[Some(odd)]), Err(Unfit::PartTarget(odd)));
        }
    }

    #[test]
    fn what_cannot_be_continued() {
        let plan = |copy: &MirrorCopy, now| copy.plan(&terms(now)).map(drop);
        assert_eq!(
            plan(&copy(&[(10, 20)]), 52.001),
            Err(Unfit::TooLate(10_001))
        );
        assert_eq!(plan(&copy(&[]), 42.0), Err(Unfit::Disjoint));
        assert_eq!(plan(&copy(&[(10, 12), (15, 20)]), 42.0), Ok(()));
        assert_eq!(plan(&copy(&[(10, 14), (12, 13), (20, 20)]), 42.0), Ok(()));

        let mut ended = copy(&[(10, 20), (10, 20)]);
        ended.renditions[1].plain.is_ended = true;
        assert_eq!(plan(&ended, 42.0), Err(Unfit::Ended));
        let mut longer = copy(&[(10, 20)]);
        longer.renditions[0].plain.target_duration_s = 4;
        assert_eq!(plan(&longer, 42.0), Err(Unfit::TargetDuration(4)));
        let terms = Terms {
            hold: Duration::from_hours(24),
            ..terms(42.0)
        };
        let late = Terms {
            now: terms.now.plus_millis(2_000_000),
            ..terms
        };
        let outcome = copy(&[(10, 20)]).plan(&late);
        assert_eq!(outcome, Err(Unfit::TooLate(2_000_000)));
    }
}
