//! Rules on how a media playlist may change from one reload to the next.
//!
//! In:  the playlists of one rendition, in the order of their answers. Out: judgements, and what changed.
//! Not here: when they came (`cadence`), one playlist alone (`single`).

use std::collections::{BTreeMap, BTreeSet};

use super::Position;
use super::findings::Page;
use super::parse::{ByteRange, Flaw, HintKind, MediaPlaylist, Part, PlaylistType, Segment};
use super::rules::{must, should};
use super::single::Seconds;

/// Fewest segments that a window should keep.
const MIN_SEGMENTS: usize = 6;
/// What rounding may add up to in a list of parts.
const PART_GRAIN_US: u64 = 5_000;

/// What a playlist brought.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Parts that the list before did not have, in order.
    pub(super) parts: Vec<Position>,
    /// Segments that are complete now.
    pub(super) segments: Vec<u64>,
    /// Segments that left the head.
    pub(super) removed: Vec<Segment>,
    /// How long the list was that had them last.
    pub(super) listed_us: u64,
    /// Parts whose tags are gone though their segment is still listed.
    pub(super) untagged: Vec<(Position, Part)>,
    /// Whether the news begin at a discontinuity or a gap: the source was interrupted.
    pub(super) is_spliced: bool,
    /// Whether anything is new.
    pub(super) is_new: bool,
}

/// The newest playlist of a rendition.
#[derive(Debug, Default)]
pub(super) struct History {
    previous: Option<MediaPlaylist>,
}

impl History {
    /// The newest playlist so far.
    pub(super) fn newest(&self) -> Option<&MediaPlaylist> {
        self.previous.as_ref()
    }

    /// Judges `next` as the successor of the playlist before it.
    pub(super) fn push(&mut self, next: MediaPlaylist, page: &mut Page<'_>) -> Changes {
        let Some(previous) = self.previous.take() else {
            self.previous = Some(next);
            return Changes::default();
        };
        if next.next_position() < previous.next_position() {
            page.broken(must(3, "went-back"), next.next_position(), || {
                format!(
                    "a playlist that had come to {} is back at {}",
                    previous.next_position(),
                    next.next_position()
                )
            });
            self.previous = Some(previous);
            return Changes::default();
        }
        constants(&previous, &next, page);
        if !is_shifted(&previous, &next, page) {
            segments(&previous, &next, page);
            discontinuities(&previous, &next, page);
            parts(&previous, &next, page);
            hints(&previous, &next, page);
        }
        let changes = changes(&previous, &next);
        removal(&previous, &next, page);
        self.previous = Some(next);
        changes
    }
}

/// What stays the same for as long as a playlist lives: rules 4, 18, 3, 5, 12.
fn constants(previous: &MediaPlaylist, next: &MediaPlaylist, page: &mut Page<'_>) {
    let same = previous.target_s == next.target_s;
    page.check(must(4, "target-changed"), same, "", || {
        format!(
            "TARGETDURATION {:?} became {:?}",
            previous.target_s, next.target_s
        )
    });
    if !next.is_ended {
        if previous.part_target_us.is_some() || next.part_target_us.is_some() {
            let same = previous.part_target_us == next.part_target_us;
            page.check(must(18, "part-target-changed"), same, "", || {
                format!(
                    "PART-TARGET {:?} us became {:?} us",
                    previous.part_target_us, next.part_target_us
                )
            });
        }
        let same = previous.server_control == next.server_control;
        page.check(must(3, "server-control-changed"), same, "", || {
            format!(
                "{:?} became {:?}",
                previous.server_control, next.server_control
            )
        });
    }
    let is_kept = previous.playlist_type == next.playlist_type;
    page.check(must(5, "type-changed"), is_kept, "", || {
        format!(
            "EXT-X-PLAYLIST-TYPE {:?} became {:?}",
            previous.playlist_type, next.playlist_type
        )
    });
    page.check(
        must(12, "end-withdrawn"),
        !previous.is_ended || next.is_ended,
        "",
        || "EXT-X-ENDLIST is gone again".to_owned(),
    );
    let appended = next.next_msn() > previous.next_msn();
    page.check(
        must(12, "grows-after-end"),
        !previous.is_ended || !appended,
        "",
        || "segments are added after EXT-X-ENDLIST".to_owned(),
    );
}

/// Rule 6: whether segments changed their numbers; then nothing else can be compared.
fn is_shifted(previous: &MediaPlaylist, next: &MediaPlaylist, page: &mut Page<'_>) -> bool {
    let back = previous.first_msn() > next.first_msn();
    page.check(must(6, "media-sequence-back"), !back, "", || {
        format!(
            "MEDIA-SEQUENCE {} became {}",
            previous.first_msn(),
            next.first_msn()
        )
    });
    let Some(first) = next.segments.first() else {
        return back;
    };
    let same = previous
        .segments
        .iter()
        .find(|segment| segment.uri == first.uri && segment.range == first.range);
    let Some(same) = same else { return back };
    page.check(
        must(6, "media-sequence-accounting"),
        same.msn == first.msn,
        first.msn,
        || {
            format!(
                "{} was segment {} and is segment {}",
                first.uri, same.msn, first.msn
            )
        },
    );
    back || same.msn != first.msn
}

/// Rule 3: a listed segment never changes.
fn segments(previous: &MediaPlaylist, next: &MediaPlaylist, page: &mut Page<'_>) {
    let old: BTreeMap<_, _> = previous
        .segments
        .iter()
        .map(|segment| (segment.msn, segment))
        .collect();
    for new in &next.segments {
        let Some(old) = old.get(&new.msn) else {
            continue;
        };
        let msn = new.msn;
        let same = old.uri == new.uri && old.range == new.range;
        page.check(must(3, "uri-changed"), same, msn, || {
            format!("{} became {}", old.uri, new.uri)
        });
        page.check(
            must(3, "extinf-changed"),
            old.duration_us == new.duration_us,
            msn,
            || {
                format!(
                    "EXTINF {} became {}",
                    Seconds(old.duration_us),
                    Seconds(new.duration_us)
                )
            },
        );
        // The head of a list may have to repeat what an earlier segment said.
        let same = old.date_us == new.date_us || old.date_us.is_none() || new.date_us.is_none();
        page.check(must(3, "date-changed"), same, msn, || {
            format!(
                "PROGRAM-DATE-TIME {:?} us became {:?} us",
                old.date_us, new.date_us
            )
        });
        page.check(must(3, "map-changed"), old.map == new.map, msn, || {
            format!("EXT-X-MAP {:?} became {:?}", old.map, new.map)
        });
        let same = old.has_discontinuity == new.has_discontinuity && old.is_gap == new.is_gap;
        page.check(must(3, "tags-changed"), same, msn, || {
            "EXT-X-DISCONTINUITY or EXT-X-GAP came or went".to_owned()
        });
    }
}

/// Rule 6: the discontinuity number of a segment never changes.
fn discontinuities(previous: &MediaPlaylist, next: &MediaPlaylist, page: &mut Page<'_>) {
    let old = discontinuity_numbers(previous);
    let new = discontinuity_numbers(next);
    for (msn, number) in &new {
        if let Some(before) = old.get(msn) {
            let rule = must(6, "discontinuity-sequence-accounting");
            page.check(rule, before == number, msn, || {
                format!("the segment's discontinuity number was {before} and is {number}")
            });
        }
    }
}

/// EXT-X-DISCONTINUITY-SEQUENCE plus the discontinuities up to each segment.
pub(super) fn discontinuity_numbers(list: &MediaPlaylist) -> BTreeMap<u64, u64> {
    let mut number = list.discontinuity_sequence.unwrap_or(0);
    let segments = list.segments.iter().map(|segment| {
        number = number.saturating_add(u64::from(segment.has_discontinuity));
        (segment.msn, number)
    });
    segments.collect()
}

/// Rule 3: a listed part never changes, and a complete segment gets no further parts.
fn parts(previous: &MediaPlaylist, next: &MediaPlaylist, page: &mut Page<'_>) {
    let mut behind_us = 0u64;
    let new = next.all_segments().rev().map(|segment| {
        let is_open = segment.uri.is_empty();
        let own_us = if is_open {
            segment.parts_us()
        } else {
            segment.duration_us
        };
        behind_us = behind_us.saturating_add(own_us);
        (segment.msn, (segment, behind_us))
    });
    let new: BTreeMap<_, _> = new.collect();
    let stale_us = next.target_s.unwrap_or(0).saturating_mul(3_000_000);
    for old in previous.all_segments() {
        let Some((new, behind_us)) = new.get(&old.msn).filter(|(new, _)| !new.parts.is_empty())
        else {
            continue;
        };
        segment_parts(old, new, (*behind_us, stale_us), page);
    }
}

/// The parts of one segment. Those may be gone that begin three target durations before the end; `behind_us` is from the
/// segment's start to the end.
fn segment_parts(
    old: &Segment,
    new: &Segment,
    (mut behind_us, stale_us): (u64, u64),
    page: &mut Page<'_>,
) {
    let msn = old.msn;
    let before: BTreeSet<_> = old.parts.iter().map(name_of).collect();
    let after: BTreeMap<_, _> = new.parts.iter().map(|part| (name_of(part), part)).collect();
    let mut added = new
        .parts
        .iter()
        .filter(|part| !before.contains(&name_of(part)))
        .count();
    for (index, part) in old.parts.iter().enumerate() {
        let at = Position {
            msn,
            part: u64::try_from(index).unwrap_or(u64::MAX),
        };
        let same_place = new
            .parts
            .get(index)
            .filter(|part| !before.contains(&name_of(part)));
        if let Some(after) = after.get(&name_of(part)).or(same_place.as_ref()) {
            added = added.saturating_sub(usize::from(name_of(after) != name_of(part)));
            page.check(must(3, "part-changed"), is_same(part, after), at, || {
                format!("part {part:?} became {after:?}")
            });
        } else {
            let is_stale = behind_us.saturating_add(PART_GRAIN_US) >= stale_us;
            page.check(must(3, "part-dropped"), is_stale, at, || {
                format!(
                    "{} is not listed any more, though it begins only {} before the end; three target durations are {}",
                    part.uri,
                    Seconds(behind_us),
                    Seconds(stale_us)
                )
            });
        }
        behind_us = behind_us.saturating_sub(part.duration_us);
    }
    let is_complete = !old.uri.is_empty() && !old.parts.is_empty();
    page.check(
        must(3, "parts-added"),
        !is_complete || added == 0,
        msn,
        || "parts were added to a complete segment".to_owned(),
    );
}

fn name_of(part: &Part) -> (&str, Option<ByteRange>) {
    (&part.uri, part.range)
}

fn is_same(before: &Part, after: &Part) -> bool {
    name_of(before) == name_of(after)
        && before.duration_us == after.duration_us
        && before.is_independent == after.is_independent
        && before.is_gap == after.is_gap
}

/// Rules 27 and 29: what is hinted is what comes.
fn hints(previous: &MediaPlaylist, next: &MediaPlaylist, page: &mut Page<'_>) {
    let awaited = previous.next_position();
    let mut complete = next.segments.iter();
    if complete.any(|segment| segment.msn == awaited.msn && segment.parts.is_empty()) {
        // The part came and went unseen.
        return;
    }
    let news = next
        .all_segments()
        .filter(|segment| segment.msn >= awaited.msn);
    let first = news
        .flat_map(|segment| {
            let from = if segment.msn == awaited.msn {
                awaited.part
            } else {
                0
            };
            let parts = segment
                .parts
                .iter()
                .skip(usize::try_from(from).unwrap_or(usize::MAX));
            parts.map(move |part| (segment, part))
        })
        .next();
    let Some((segment, part)) = first else { return };
    if segment.msn > awaited.msn.saturating_add(1) {
        return;
    }
    section_hint(previous, segment, page);
    if segment.has_discontinuity || part.is_gap {
        return;
    }
    if let Some(hint) = previous.part_hint() {
        page.check(
            must(27, "hint-not-kept"),
            hint.is_of(part),
            segment.msn,
            || {
                format!(
                    "{} from byte {} on was hinted, {} came",
                    hint.uri, hint.start, part.uri
                )
            },
        );
    }
}

/// Rule 29: the section that `segment`, the first news, stands under. Behind a DISCONTINUITY none may have been hinted:
/// who returns with other parameters does not announce them.
fn section_hint(previous: &MediaPlaylist, segment: &Segment, page: &mut Page<'_>) {
    let Some(map) = &segment.map else { return };
    let mut hints = previous.hints.iter();
    if let Some(hint) = hints.find(|hint| hint.kind == HintKind::Map) {
        let words = || {
            format!(
                "initialization section {} was hinted, {} came",
                hint.uri, map.uri
            )
        };
        let is_kept = hint.uri == map.uri;
        page.check(must(29, "map-hint-not-kept"), is_kept, segment.msn, words);
    } else if !segment.has_discontinuity {
        let before = previous.all_segments().next_back();
        let before = before.and_then(|segment| segment.map.as_ref());
        let is_known = before.is_none_or(|before| before == map);
        page.check(should(29, "no-map-hint"), is_known, segment.msn, || {
            format!("initialization section {} came without a hint", map.uri)
        });
    }
}

/// Rules 5, 6 and 7: what may leave.
fn removal(previous: &MediaPlaylist, next: &MediaPlaylist, page: &mut Page<'_>) {
    let removed = next.first_msn().saturating_sub(previous.first_msn());
    if removed == 0 {
        let first = |list: &MediaPlaylist| list.segments.first().map(|segment| segment.uri.clone());
        let same = first(previous) == first(next) || previous.segments.is_empty();
        page.check(
            must(6, "removed-without-sequence"),
            same,
            next.first_msn(),
            || "the first segment changed, but MEDIA-SEQUENCE did not".to_owned(),
        );
        return;
    }
    let is_fixed = previous.playlist_type.is_some();
    page.check(
        must(5, "removed-from-fixed"),
        !is_fixed,
        next.first_msn(),
        || {
            format!(
                "{removed} segments left a playlist of type {:?}",
                previous.playlist_type
            )
        },
    );
    if next.playlist_type == Some(PlaylistType::Event) || next.is_ended {
        return;
    }
    let target = next.target_s.unwrap_or(0).saturating_mul(3_000_000);
    let listed = next.duration_us();
    page.check(
        must(7, "window-short"),
        listed >= target,
        next.first_msn(),
        || {
            format!(
                "segments are removed though only {} remain, less than three target durations",
                Seconds(listed)
            )
        },
    );
    let count = next.segments.len();
    page.check(
        should(7, "few-segments"),
        count >= MIN_SEGMENTS,
        next.first_msn(),
        || format!("the window holds {count} segments, fewer than {MIN_SEGMENTS}"),
    );
}

fn changes(previous: &MediaPlaylist, next: &MediaPlaylist) -> Changes {
    let awaited = previous.next_position();
    let mut changes = Changes::default();
    for segment in next
        .all_segments()
        .filter(|segment| segment.msn >= awaited.msn)
    {
        let msn = segment.msn;
        let positions = (0u64..)
            .zip(&segment.parts)
            .map(|(part, _)| Position { msn, part });
        let new: Vec<_> = positions.filter(|position| *position >= awaited).collect();
        let is_complete = !segment.uri.is_empty();
        if changes.parts.is_empty() && changes.segments.is_empty() {
            let opens = new.first().is_none_or(|position| position.part == 0);
            let first = new
                .first()
                .and_then(|position| usize::try_from(position.part).ok());
            let is_gap = first
                .and_then(|at| segment.parts.get(at))
                .is_some_and(|part| part.is_gap);
            changes.is_spliced = (opens && segment.has_discontinuity) || segment.is_gap || is_gap;
        }
        changes.parts.extend(new);
        if is_complete {
            changes.segments.push(msn);
        }
    }
    let first = next.first_msn();
    changes.removed = previous
        .segments
        .iter()
        .filter(|segment| segment.msn < first)
        .cloned()
        .collect();
    let new: BTreeMap<_, _> = next
        .segments
        .iter()
        .map(|segment| (segment.msn, segment))
        .collect();
    changes.listed_us = previous.duration_us();
    for old in &previous.segments {
        let msn = old.msn;
        let fewer = new
            .get(&msn)
            .filter(|new| new.parts.len() < old.parts.len());
        if let Some(new) = fewer {
            let listed: BTreeSet<_> = new.parts.iter().map(name_of).collect();
            let parts = (0..)
                .zip(&old.parts)
                .filter(|(_, part)| !part.is_gap && !listed.contains(&name_of(part)));
            let parts = parts.map(|(part, tag)| (Position { msn, part }, tag.clone()));
            changes.untagged.extend(parts);
        }
    }
    changes.is_new = !changes.parts.is_empty() || !changes.segments.is_empty();
    changes
}

/// Rule 31: a delta update, against the full playlist of the same moment or a later one.
pub(super) fn delta(delta: &MediaPlaylist, full: &MediaPlaylist, page: &mut Page<'_>) {
    let mut delta_flaws = delta.flaws.iter();
    let flaw: Option<&Flaw> = delta_flaws.next();
    page.check(must(31, "delta-syntax"), flaw.is_none(), "", || {
        flaw.map(|flaw| flaw.text.clone()).unwrap_or_default()
    });
    let until = full
        .server_control
        .as_ref()
        .and_then(|control| control.can_skip_until_us);
    let Some(skipped) = delta.skipped else {
        return;
    };
    let Some(until) = until else {
        page.broken(must(31, "skip-unannounced"), "", || {
            "EXT-X-SKIP though CAN-SKIP-UNTIL is not declared".to_owned()
        });
        return;
    };
    page.check(must(31, "nothing-skipped"), skipped > 0, "", || {
        "SKIPPED-SEGMENTS=0".to_owned()
    });
    if delta.next_position() != full.next_position() || delta.first_msn() != full.first_msn() {
        // The two are of different moments; what is skipped can still be judged by the older one.
        return;
    }
    let same = delta.discontinuity_sequence == full.discontinuity_sequence;
    page.check(must(31, "sequence-differs"), same, "", || {
        format!(
            "DISCONTINUITY-SEQUENCE {:?} instead of {:?}",
            delta.discontinuity_sequence, full.discontinuity_sequence
        )
    });
    let allowed = skippable(full, until);
    page.check(must(31, "skipped-too-much"), skipped <= allowed, "", || {
        format!("{skipped} segments are skipped, only {allowed} are older than CAN-SKIP-UNTIL")
    });
    let rest = full
        .segments
        .iter()
        .filter(|segment| segment.msn >= full.first_msn().saturating_add(skipped));
    let same = rest.map(|segment| (segment.msn, &segment.uri, segment.duration_us));
    let told = delta
        .segments
        .iter()
        .map(|segment| (segment.msn, &segment.uri, segment.duration_us));
    page.check(must(31, "delta-differs"), same.eq(told), "", || {
        format!("the delta update has {} segments behind {skipped} skipped ones, the full playlist other ones", delta.segments.len())
    });
}

/// How many segments ended at least `until` before the end of the last complete one.
pub(super) fn skippable(full: &MediaPlaylist, until: u64) -> u64 {
    let mut behind = 0u64;
    let inside = full.segments.iter().rev().take_while(|segment| {
        let is_inside = behind < until;
        behind = behind.saturating_add(segment.duration_us);
        is_inside
    });
    let inside = inside.count();
    u64::try_from(full.segments.len().saturating_sub(inside)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
