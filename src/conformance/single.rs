//! Rules that one media playlist shows by itself.
//!
//! In:  a parsed playlist. Out: judgements on a page. Not here: what changes between playlists (`successive`),
//! what renditions owe each other (`together`), bytes (`media`).

use std::collections::BTreeMap;

use super::Position;
use super::exchange::has_extension;
use super::findings::Page;
use super::parse::{Flaw, HintKind, MediaPlaylist, Part, Segment};
use super::rules::{must, practice, should};

/// PROGRAM-DATE-TIME may differ from media time by this much: a frame at 10 fps.
pub(super) const DATE_TOLERANCE_US: u64 = 100_000;
/// A window longer than this should offer delta updates.
const DELTA_ABOVE_US: u64 = 120_000_000;
/// Endings of names that fragmented MP4 has.
const FMP4_NAMES: &[&str] = &["m4s", "mp4", "m4v", "m4a", "cmfv", "cmfa"];

/// Judges everything here.
pub(super) fn judge(list: &MediaPlaylist, page: &mut Page<'_>) {
    syntax(&list.flaws, page);
    if list.is_cut {
        page.note("too-long", || {
            format!("only the first {} segments are read", list.segments.len())
        });
    }
    version(list, page);
    durations(list, page);
    discontinuity_sequence(list, page);
    dates(list, page);
    maps(list, page);
    end(list, page);
    server_control(list, page);
    if list.is_low_latency() {
        parts(list, page);
        hints(list, page);
        listed_parts(list, page);
    }
    gaps(list, page);
    date_ranges(list, page);
}

/// What reading a playlist of either kind has shown.
pub(super) fn syntax(flaws: &[Flaw], page: &mut Page<'_>) {
    page.check(must(1, "syntax"), true, "", String::new);
    for flaw in flaws {
        page.broken(flaw.rule, format_args!("line {}", flaw.line), || {
            flaw.text.clone()
        });
    }
}

/// Rule 2.
fn version(list: &MediaPlaylist, page: &mut Page<'_>) {
    let segments = &list.segments;
    let has_map = list.all_segments().any(|segment| segment.map.is_some());
    let is_fractional = |segment: &Segment| !segment.duration_us.is_multiple_of(1_000_000);
    let uses = [
        (segments.iter().any(is_fractional), 3, "decimal EXTINF"),
        (
            segments.iter().any(|segment| segment.range.is_some()),
            4,
            "EXT-X-BYTERANGE",
        ),
        (list.is_iframes_only, 4, "EXT-X-I-FRAMES-ONLY"),
        (has_map && list.is_iframes_only, 5, "EXT-X-MAP for I-frames"),
        (has_map && !list.is_iframes_only, 6, "EXT-X-MAP"),
        (list.has_variables, 8, "EXT-X-DEFINE"),
        (list.skipped.is_some(), 9, "EXT-X-SKIP"),
        (
            list.has_query_parameters,
            11,
            "EXT-X-DEFINE with QUERYPARAM",
        ),
    ];
    let used = uses.into_iter().filter(|(is_used, ..)| *is_used);
    let needed = used.max_by_key(|(_, version, _)| *version);
    let (_, needed, what) = needed.unwrap_or((true, 1, "nothing"));
    let declared = list.version.unwrap_or(1);
    page.check(must(2, "version-too-low"), declared >= needed, "", || {
        format!("EXT-X-VERSION {declared}, but {what} needs {needed}")
    });
    page.check(
        should(2, "version-too-high"),
        declared <= needed.max(6),
        "",
        || format!("EXT-X-VERSION {declared}, though {what} needs {needed} only"),
    );
}

/// Rule 4.
fn durations(list: &MediaPlaylist, page: &mut Page<'_>) {
    let Some(target) = list.target_s else { return };
    page.check(must(4, "target-zero"), target > 0, "", || {
        "EXT-X-TARGETDURATION is 0".to_owned()
    });
    for segment in &list.segments {
        let rounded = segment.duration_us.saturating_add(500_000) / 1_000_000;
        page.check(
            must(4, "segment-over-target"),
            rounded <= target,
            segment.msn,
            || {
                format!(
                    "EXTINF {} over a target duration of {target}",
                    Seconds(segment.duration_us)
                )
            },
        );
    }
}

/// Rule 6, the static half.
fn discontinuity_sequence(list: &MediaPlaylist, page: &mut Page<'_>) {
    if list.is_ended || list.playlist_type.is_some() {
        return;
    }
    let is_there = list.discontinuity_sequence.is_some();
    let first = list
        .all_segments()
        .find(|segment| segment.has_discontinuity);
    if let Some(segment) = first {
        let rule = must(6, "discontinuity-sequence-missing");
        page.check(rule, is_there, segment.msn, || {
            "a live playlist has a DISCONTINUITY but no DISCONTINUITY-SEQUENCE".to_owned()
        });
    } else {
        page.check(
            should(6, "discontinuity-sequence-unsaid"),
            is_there,
            "",
            || {
                "no DISCONTINUITY-SEQUENCE, which must be there once there are discontinuities"
                    .to_owned()
            },
        );
    }
}

/// Rule 10 within a list.
fn dates(list: &MediaPlaylist, page: &mut Page<'_>) {
    let is_dated = list.all_segments().any(|segment| segment.date_us.is_some());
    if !list.is_ended && list.playlist_type.is_none() && !list.segments.is_empty() {
        page.check(must(10, "no-date"), is_dated, "", || {
            "a live playlist without EXT-X-PROGRAM-DATE-TIME".to_owned()
        });
    }
    if !is_dated {
        return;
    }
    let undated = list
        .segments
        .iter()
        .find(|segment| segment.date_us.is_none());
    let place = undated.map_or(0, |segment| segment.msn);
    page.check(
        practice(10, "segment-without-date"),
        undated.is_none(),
        place,
        || "not every segment has an EXT-X-PROGRAM-DATE-TIME".to_owned(),
    );
    let mut expected: Option<i64> = None;
    for segment in list.all_segments() {
        if segment.has_discontinuity {
            expected = None;
        }
        if let (Some(date), Some(expected)) = (segment.date_us, expected) {
            let off = date.abs_diff(expected);
            page.check(
                must(10, "date-off"),
                off <= DATE_TOLERANCE_US,
                segment.msn,
                || {
                    format!(
                        "PROGRAM-DATE-TIME is {} {} than the EXTINFs before it make",
                        Seconds(off),
                        if date < expected { "earlier" } else { "later" }
                    )
                },
            );
        }
        let start = segment.date_us.or(expected);
        expected = start.and_then(|start| start.checked_add_unsigned(segment.duration_us));
    }
}

/// Rule 11.
fn maps(list: &MediaPlaylist, page: &mut Page<'_>) {
    if list.skipped.is_some() {
        return;
    }
    for segment in &list.segments {
        let path = segment.uri.split(['?', '#']).next().unwrap_or_default();
        if has_extension(path, FMP4_NAMES) {
            page.check(
                must(11, "no-map"),
                segment.map.is_some(),
                segment.msn,
                || format!("{} stands under no EXT-X-MAP", segment.uri),
            );
        }
    }
}

/// Rule 12.
fn end(list: &MediaPlaylist, page: &mut Page<'_>) {
    if list.is_ended {
        page.check(
            must(12, "hint-behind-end"),
            list.hints.is_empty(),
            "",
            || "ENDLIST together with a PRELOAD-HINT".to_owned(),
        );
    }
}

/// Rules 14 to 18, the values.
fn server_control(list: &MediaPlaylist, page: &mut Page<'_>) {
    let control = list.server_control.clone().unwrap_or_default();
    if list.is_low_latency() && !list.is_ended {
        page.check(
            must(14, "no-blocking"),
            control.can_block_reload,
            "",
            || "parts are listed without CAN-BLOCK-RELOAD=YES".to_owned(),
        );
        let has_target = list.part_target_us.is_some();
        page.check(must(18, "no-part-target"), has_target, "", || {
            "parts are listed without EXT-X-PART-INF".to_owned()
        });
        part_hold_back(control.part_hold_back_us, list.part_target_us, page);
    }
    let target_us = list.target_s.unwrap_or(0).saturating_mul(1_000_000);
    if let Some(hold_back) = control.hold_back_us {
        let least = target_us.saturating_mul(3);
        page.check(must(16, "hold-back-short"), hold_back >= least, "", || {
            format!(
                "HOLD-BACK {} is less than three target durations, {}",
                Seconds(hold_back),
                Seconds(least)
            )
        });
    }
    if let Some(until) = control.can_skip_until_us {
        let least = target_us.saturating_mul(6);
        page.check(must(17, "skip-until-short"), until >= least, "", || {
            format!(
                "CAN-SKIP-UNTIL {} is less than six target durations, {}",
                Seconds(until),
                Seconds(least)
            )
        });
    } else {
        page.check(
            must(17, "skip-dateranges-alone"),
            !control.can_skip_dateranges,
            "",
            || "CAN-SKIP-DATERANGES without CAN-SKIP-UNTIL".to_owned(),
        );
        let is_short = list.is_ended || list.duration_us() <= DELTA_ABOVE_US;
        page.check(should(17, "no-delta-updates"), is_short, "", || {
            format!(
                "{} are listed without CAN-SKIP-UNTIL",
                Seconds(list.duration_us())
            )
        });
    }
}

/// Rule 15.
fn part_hold_back(hold_back: Option<u64>, target: Option<u64>, page: &mut Page<'_>) {
    let Some(hold_back) = hold_back else {
        page.broken(must(15, "no-part-hold-back"), "", || {
            "parts are listed without PART-HOLD-BACK".to_owned()
        });
        return;
    };
    if let Some(target) = target {
        let least = target.saturating_mul(3);
        page.check(
            must(15, "part-hold-back-short"),
            hold_back >= least,
            "",
            || {
                format!(
                    "PART-HOLD-BACK {} is less than three part targets, {}",
                    Seconds(hold_back),
                    Seconds(least)
                )
            },
        );
    }
}

/// Rules 19 and 24, durations.
fn parts(list: &MediaPlaylist, page: &mut Page<'_>) {
    page.check(
        must(24, "parts-of-iframes"),
        !list.is_iframes_only,
        "",
        || "an I-frame playlist lists parts".to_owned(),
    );
    let stale_us = list.target_s.unwrap_or(0).saturating_mul(3_000_000);
    let mut left_us = list.duration_us();
    for segment in list.all_segments() {
        if let Some(target) = list.part_target_us {
            for (index, part) in (0..).zip(&segment.parts) {
                let msn = segment.msn;
                let next = segment
                    .parts
                    .get(usize::try_from(index).unwrap_or(0).saturating_add(1));
                part_duration(part, next, target, Position { msn, part: index }, page);
            }
        }
        let is_whole = !segment.uri.is_empty() && !segment.parts.is_empty();
        if is_whole {
            let sum = segment.parts_us();
            let count = u64::try_from(segment.parts.len()).unwrap_or(0);
            let tolerance = count.saturating_mul(1_000).saturating_add(5_000);
            // Of a segment that reaches beyond three target durations single parts may be gone.
            let may_lack =
                left_us.saturating_add(tolerance) >= stale_us && sum < segment.duration_us;
            let holds = may_lack || sum.abs_diff(segment.duration_us) <= tolerance;
            page.check(must(24, "durations-differ"), holds, segment.msn, || {
                format!(
                    "parts of {} in a segment of {}",
                    Seconds(sum),
                    Seconds(segment.duration_us)
                )
            });
        }
        left_us = left_us.saturating_sub(segment.duration_us);
    }
}

fn part_duration(
    part: &Part,
    next: Option<&Part>,
    target: u64,
    position: Position,
    page: &mut Page<'_>,
) {
    let duration = part.duration_us;
    page.check(
        must(19, "part-over-target"),
        duration <= target,
        position,
        || {
            format!(
                "a part of {} over a PART-TARGET of {}",
                Seconds(duration),
                Seconds(target)
            )
        },
    );
    // The last part of its segment may be short, and the last listed may be that.
    let is_followed = next.is_some_and(|next| !next.is_gap);
    if !is_followed || part.is_independent || part.is_gap {
        return;
    }
    let least = target.saturating_mul(85) / 100;
    page.check(must(19, "part-short"), duration >= least, position, || {
        format!(
            "a part of {} is under 85 % of a PART-TARGET of {}",
            Seconds(duration),
            Seconds(target)
        )
    });
}

/// Rule 27, the static half.
fn hints(list: &MediaPlaylist, page: &mut Page<'_>) {
    for kind in [HintKind::Part, HintKind::Map] {
        let count = list.hints.iter().filter(|hint| hint.kind == kind).count();
        page.check(must(27, "hints-of-one-type"), count <= 1, "", || {
            format!("{count} hints of type {kind:?}")
        });
    }
    if !list.is_ended {
        let has_hint = list.part_hint().is_some();
        page.check(must(27, "no-hint"), has_hint, list.next_position(), || {
            "a live playlist with parts has no hint for the next part".to_owned()
        });
    }
}

/// Rule 25, the listing.
fn listed_parts(list: &MediaPlaylist, page: &mut Page<'_>) {
    let Some(target) = list.target_s else { return };
    let limit = target.saturating_mul(3_000_000);
    let mut behind = list.open.as_ref().map_or(0, Segment::parts_us);
    for segment in list.segments.iter().rev() {
        let holds = behind <= limit || segment.parts.is_empty();
        page.check(should(25, "parts-listed-long"), holds, segment.msn, || {
            format!(
                "parts are listed {} behind the end, more than three target durations",
                Seconds(behind)
            )
        });
        behind = behind.saturating_add(segment.duration_us);
    }
}

/// Rule 22, the static half.
fn gaps(list: &MediaPlaylist, page: &mut Page<'_>) {
    for segment in &list.segments {
        if segment.parts.iter().any(|part| part.is_gap) {
            page.check(
                must(22, "gap-part-without-gap"),
                segment.is_gap,
                segment.msn,
                || "a segment with a GAP=YES part has no EXT-X-GAP".to_owned(),
            );
        }
    }
}

/// Rule 60.
fn date_ranges(list: &MediaPlaylist, page: &mut Page<'_>) {
    // Of each range the first START-DATE that is told.
    let mut starts = BTreeMap::new();
    for range in &list.date_ranges {
        let place = format!("line {}", range.line);
        page.check(must(60, "no-id"), !range.id.is_empty(), &place, || {
            "an EXT-X-DATERANGE without ID".to_owned()
        });
        let starts_agree = range
            .start_us
            .is_none_or(|own| *starts.entry(range.id.as_str()).or_insert(own) == own);
        page.check(must(60, "start-differs"), starts_agree, &place, || {
            format!("the range `{}` has two START-DATEs", range.id)
        });
        if let (Some(start), Some(end)) = (range.start_us, range.end_us) {
            page.check(must(60, "end-before-start"), end >= start, &place, || {
                format!("the range `{}` ends before it begins", range.id)
            });
        }
    }
}

/// Microseconds printed as seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub(super) u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:05} s", self.0 / 1_000_000, self.0 % 1_000_000 / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings::Book;
    use super::super::parse::tests::{LIVE, media};
    use super::*;

    /// Rules and kinds broken by LIVE with one edit.
    fn broken(from: &str, to: &str) -> Vec<(u8, &'static str)> {
        let text = LIVE.replacen(from, to, 1);
        assert!(from == to || text != LIVE, "{from} is not there");
        let mut book = Book::default();
        judge(&media(&text), &mut book.page("", 0));
        let findings = book.findings();
        findings
            .iter()
            .map(|found| (found.rule, found.kind))
            .collect()
    }

    #[test]
    fn each_edit_breaks_its_rule_and_no_other() {
        let undated = (10, "segment-without-date");
        assert_eq!(broken("", ""), [undated]);
        let edits = [
            ("VERSION:6", "VERSION:5", (2, "version-too-low")),
            ("VERSION:6", "VERSION:10", (2, "version-too-high")),
            (
                "EXTINF:2.00000",
                "EXTINF:2.50000",
                (4, "segment-over-target"),
            ),
            (
                "#EXT-X-DISCONTINUITY-SEQUENCE:3\n",
                "",
                (6, "discontinuity-sequence-missing"),
            ),
            ("#EXT-X-MAP:URI=\"init.mp4\"\n", "", (11, "no-map")),
            ("CAN-BLOCK-RELOAD=YES,", "", (14, "no-blocking")),
            ("PART-HOLD-BACK=1.002,", "", (15, "no-part-hold-back")),
            (
                "PART-HOLD-BACK=1.002",
                "PART-HOLD-BACK=1.001",
                (15, "part-hold-back-short"),
            ),
            (",HOLD-BACK=6.0", ",HOLD-BACK=5.9", (16, "hold-back-short")),
            (
                ",HOLD-BACK=6.0",
                ",CAN-SKIP-UNTIL=11.9",
                (17, "skip-until-short"),
            ),
            (
                ",HOLD-BACK=6.0",
                ",CAN-SKIP-DATERANGES=YES",
                (17, "skip-dateranges-alone"),
            ),
            (
                "DURATION=0.33333",
                "DURATION=0.33401",
                (19, "part-over-target"),
            ),
            ("#EXT-X-GAP\n", "", (22, "gap-part-without-gap")),
            ("EXTINF:0.66667", "EXTINF:0.68000", (24, "durations-differ")),
            (
                "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"12.1.m4s\"\n",
                "",
                (27, "no-hint"),
            ),
            (
                "#EXT-X-REND",
                "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"b\"\n#EXT-X-REND",
                (27, "hints-of-one-type"),
            ),
        ];
        for (from, to, expected) in edits {
            let mut all = vec![undated, expected];
            all.sort_unstable();
            assert_eq!(broken(from, to), all, "{to}");
        }
        assert_eq!(
            broken("#EXT-X-REND", "#EXT-X-ENDLIST\n#EXT-X-REND"),
            [undated, (12, "hint-behind-end")]
        );
        let dates = "#EXTINF:0.66667,live\n";
        let dated = format!("#EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:05Z\n{dates}");
        assert!(broken(dates, &dated).contains(&(23, "tag-behind-part")));
    }

    #[test]
    fn only_what_is_stale_may_lack_parts() {
        let part = "#EXT-X-PART:DURATION=0.33333,URI=\"11.0.m4s\",INDEPENDENT=YES\n";
        let lacking = |target: u64, behind: &str| {
            let text = LIVE.replace("TARGETDURATION:2", &format!("TARGETDURATION:{target}"));
            let text = text.replace(part, "");
            let text = text.replace("11.m4s\n", &format!("11.m4s\n{behind}"));
            let mut book = Book::default();
            judge(&media(&text), &mut book.page("", 0));
            let findings = book.findings();
            findings
                .iter()
                .any(|found| found.kind == "durations-differ")
        };
        assert!(lacking(2, ""));
        let behind = "#EXTINF:2,\na.m4s\n".repeat(3);
        assert!(!lacking(2, &behind));
        assert!(lacking(3, &behind));
    }

    #[test]
    fn short_parts_are_found_where_they_may_not_be() {
        let part = "#EXT-X-PART:DURATION=0.33333,URI=\"12.0.m4s\",INDEPENDENT=YES\n";
        let short = format!(
            "{part}#EXT-X-PART:DURATION=0.28,URI=\"12.1.m4s\"\n#EXT-X-PART:DURATION=0.1,URI=\"12.2.m4s\"\n"
        );
        assert!(broken(part, &short).contains(&(19, "part-short")));
        let last = format!("{part}#EXT-X-PART:DURATION=0.1,URI=\"12.1.m4s\"\n");
        assert!(!broken(part, &last).contains(&(19, "part-short")));
    }
}
