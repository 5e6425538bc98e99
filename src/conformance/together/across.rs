//! Renditions beside each other: rules 4, 10, 13, 30 and 51.
//!
//! In:  what each rendition has told. Out: judgements, on pages of their own.

use url::Url;

use super::super::Position;
use super::super::boxes::Kind;
use super::super::findings::{Book, Page};
use super::super::media::Facts;
use super::super::parse::MediaPlaylist;
use super::super::rendition::{Record, Rendition, ReportSeen};
use super::super::rules::{must, should};
use super::super::single::{DATE_TOLERANCE_US, Seconds};

/// Boundaries of sound and picture may differ by this much.
const SOUND_TOLERANCE_US: u64 = 100_000;
/// Segments of which at least one must begin with one of the other rendition.
const ENOUGH_PAIRS: usize = 3;

/// Judges all pairs with the first rendition that has pictures, and all reports.
pub(in super::super) fn judge(
    renditions: &[&Rendition],
    known: &[Url],
    (now_ms, delay_ms): (u64, u64),
    book: &mut Book,
) {
    let has_picture = |rendition: &&&Rendition| {
        rendition
            .sections()
            .any(|init| init.first(Kind::Video).is_some())
    };
    let leader = renditions.iter().find(has_picture).or(renditions.first());
    let Some(leader) = leader else { return };
    for other in renditions.iter().filter(|other| other.url != leader.url) {
        let page = &mut book.page(&other.name, now_ms);
        constants(leader, other, page);
        let pairs = matched(leader, other);
        alignment(leader, &pairs, page);
        spread(other, &pairs, delay_ms, page);
    }
    for rendition in renditions {
        let page = &mut book.page(&rendition.name, now_ms);
        reports(rendition, renditions, delay_ms, page);
        for report in &rendition.reports {
            let path = report.url.path();
            let is_known = renditions.iter().any(|other| other.is_at(path))
                || known.iter().any(|url| url.path() == path);
            page.check(should(30, "report-of-unknown"), is_known, "", || {
                format!("a report of {path}, which no variant names")
            });
        }
    }
}

fn constants(leader: &Rendition, other: &Rendition, page: &mut Page<'_>) {
    let (Some(one), Some(two)) = (leader.history.newest(), other.history.newest()) else {
        return;
    };
    page.check(
        must(51, "target-differs"),
        one.target_s == two.target_s,
        "",
        || {
            format!(
                "TARGETDURATION {:?}, {} has {:?}",
                two.target_s, leader.name, one.target_s
            )
        },
    );
    if one.server_control.is_some() || two.server_control.is_some() {
        let same = one.server_control == two.server_control;
        page.check(must(13, "server-control-differs"), same, "", || {
            format!(
                "{:?}, {} has {:?}",
                two.server_control, leader.name, one.server_control
            )
        });
    }
}

type Pair<'a> = (&'a Record, &'a Record, u64);

/// Segments of `other` with those of `leader` that begin next to them, and the distance. Behind a discontinuity
/// timestamps may begin anew, so both have the same discontinuity number, or at least the same MSN.
fn matched<'a>(leader: &'a Rendition, other: &'a Rendition) -> Vec<Pair<'a>> {
    let nearest = |record: &'a Record| {
        let at = start(record)?;
        let starts = leader
            .records
            .values()
            .filter_map(|twin| Some((start(twin)?, twin)));
        let number = record.discontinuity_number;
        let same_number = starts.filter(|(_, twin)| twin.discontinuity_number == number);
        let found = same_number.min_by_key(|(start, _)| start.abs_diff(at));
        let (found, twin) = found.or_else(|| {
            let twin = leader.records.get(&record.segment.msn)?;
            Some((start(twin)?, twin))
        })?;
        Some((twin, record, found.abs_diff(at)))
    };
    other.records.values().filter_map(nearest).collect()
}

fn start(record: &Record) -> Option<i64> {
    Some(record.facts.as_ref()?.reference()?.shown_us)
}

fn has_pictures(record: &Record) -> bool {
    let track = record.facts.as_ref().and_then(Facts::reference);
    track.is_some_and(|track| track.kind == Kind::Video)
}

fn tolerance(one: &Record, two: &Record) -> u64 {
    let frame = |record: &Record| {
        let track = record.facts.as_ref()?.reference()?;
        (track.kind == Kind::Video).then_some(track.frame_us)
    };
    match (frame(one), frame(two)) {
        (Some(one), Some(two)) => one.max(two).saturating_add(1_000),
        _ => SOUND_TOLERANCE_US,
    }
}

/// Rules 10 and 51: the same timeline, cut at the same places.
fn alignment(leader: &Rendition, pairs: &[Pair<'_>], page: &mut Page<'_>) {
    let touch = |(one, two, distance): &Pair<'_>| {
        let has_pictures = has_pictures(one) && has_pictures(two);
        let length = one.segment.duration_us;
        *distance <= tolerance(one, two) || (!has_pictures && *distance <= length)
    };
    let holds = pairs.len() < ENOUGH_PAIRS || pairs.iter().any(touch);
    page.check(must(51, "timelines-apart"), holds, "", || {
        format!(
            "none of {} segments begins with one of {}",
            pairs.len(),
            leader.name
        )
    });
    for (one, two, distance) in pairs {
        let msn = two.segment.msn;
        let most = tolerance(one, two);
        let holds = *distance <= most || is_unseen(leader, two);
        // Nobody demands that sound alone is cut where pictures are.
        let has_pictures = [one, two].iter().all(|record| has_pictures(record));
        let rule = if has_pictures {
            must(51, "not-aligned")
        } else {
            should(51, "sound-not-aligned")
        };
        page.check(rule, holds, msn, || {
            format!(
                "the segment begins {} from the nearest of {}",
                Seconds(*distance),
                leader.name
            )
        });
        if *distance > most {
            continue;
        }
        let (told, other_told) = (two.segment.duration_us, one.segment.duration_us);
        page.check(
            must(51, "durations-differ"),
            told.abs_diff(other_told) <= most,
            msn,
            || {
                format!(
                    "EXTINF {}, in {} {}",
                    Seconds(told),
                    leader.name,
                    Seconds(other_told)
                )
            },
        );
        let same = one.discontinuity_number == two.discontinuity_number
            && one.segment.has_discontinuity == two.segment.has_discontinuity;
        page.check(must(51, "discontinuities-differ"), same, msn, || {
            format!(
                "discontinuity number {}, in {} {}",
                two.discontinuity_number, leader.name, one.discontinuity_number
            )
        });
        if let (Some(one), Some(two)) = (one.segment.date_us, two.segment.date_us) {
            let off = one.abs_diff(two);
            page.check(
                must(10, "dates-differ"),
                off <= DATE_TOLERANCE_US,
                msn,
                || {
                    format!(
                        "PROGRAM-DATE-TIME is {} off that of {}",
                        Seconds(off),
                        leader.name
                    )
                },
            );
        }
    }
}

/// Whether what `leader` has at a segment's time was not seen: it lies before or behind all that is known, or is a
/// gap.
fn is_unseen(leader: &Rendition, record: &Record) -> bool {
    let twin = leader.records.get(&record.segment.msn);
    if twin.is_some_and(|twin| twin.facts.is_none()) {
        return true;
    }
    let number = record.discontinuity_number;
    let same = leader
        .records
        .values()
        .filter(|twin| twin.discontinuity_number == number);
    let known: Vec<_> = same.filter_map(start).collect();
    match (start(record), known.iter().min(), known.iter().max()) {
        (Some(at), Some(first), Some(last)) => at < *first || at > *last,
        _ => true,
    }
}

/// Rule 51: live edges within a part target of each other.
fn spread(other: &Rendition, pairs: &[Pair<'_>], delay_ms: u64, page: &mut Page<'_>) {
    let part_ms = match other.part_target_us() {
        0 => other.target_s().saturating_mul(1000),
        us => us.div_ceil(1000),
    };
    let slack = other.slack_ms.saturating_add(delay_ms);
    for (one, two, distance) in pairs {
        if *distance > tolerance(one, two) {
            continue;
        }
        // Parts of other lengths have other times.
        let is_like = one.part_arrivals().count() == two.part_arrivals().count();
        let both = std::iter::zip(one.part_arrivals(), two.part_arrivals());
        let parts = both.filter(|_| is_like);
        let segments = [(one.arrival_ms, two.arrival_ms)];
        for (one, two) in parts.chain(segments) {
            let (Some(one), Some(two)) = (one, two) else {
                continue;
            };
            let spread = one.abs_diff(two);
            let words = || {
                format!(
                    "renditions are {spread} ms apart; PART-TARGET {part_ms} ms, slack {slack} ms"
                )
            };
            let is_near = spread <= part_ms.saturating_add(slack);
            let is_far = spread > part_ms.saturating_mul(2).saturating_add(slack);
            page.check(should(51, "edges-apart"), is_near || is_far, "", words);
            page.check(must(51, "edges-far-apart"), !is_far, "", words);
        }
    }
}

/// Rule 30.
fn reports(rendition: &Rendition, all: &[&Rendition], delay_ms: u64, page: &mut Page<'_>) {
    let newest = rendition.history.newest();
    let Some(newest) = newest.filter(|list| list.is_low_latency() && !list.is_ended) else {
        return;
    };
    for other in all.iter().filter(|other| other.url != rendition.url) {
        let is_low_latency = other
            .history
            .newest()
            .is_some_and(MediaPlaylist::is_low_latency);
        if !is_low_latency {
            continue;
        }
        let listed = newest
            .reports
            .iter()
            .filter_map(|report| rendition.join(&report.uri));
        let is_there = listed.into_iter().any(|url| other.is_at(url.path()));
        page.check(must(30, "no-report"), is_there, "", || {
            format!("there is no EXT-X-RENDITION-REPORT of {}", other.name)
        });
        let seen = rendition
            .reports
            .iter()
            .filter(|report| other.is_at(report.url.path()));
        for report in seen {
            judge_report(report, other, delay_ms, page);
        }
    }
}

/// A report tells where the other playlist is, give or take a part target.
fn judge_report(report: &ReportSeen, other: &Rendition, delay_ms: u64, page: &mut Page<'_>) {
    let (Some(msn), Some(part)) = (report.last_msn, report.last_part) else {
        page.broken(must(30, "report-incomplete"), "", || {
            format!("a report of {} without LAST-MSN or LAST-PART", other.name)
        });
        return;
    };
    let told = Position { msn, part };
    let give = (other.part_target_us() / 1000)
        .saturating_add(other.slack_ms)
        .saturating_add(delay_ms);
    let at = |at_ms: u64| {
        let upto = other
            .log
            .iter()
            .take_while(|(seen_ms, _)| *seen_ms <= at_ms);
        upto.last().map(|(_, position)| *position)
    };
    if let Some(before) = at(report.at_ms.saturating_sub(give)) {
        page.check(must(30, "report-stale"), told >= before, told, || {
            format!(
                "the report says {told}, but {} was at {before} {give} ms before",
                other.name
            )
        });
    }
    let later = report.at_ms.saturating_add(give);
    let is_covered = other
        .log
        .back()
        .is_some_and(|(seen_ms, _)| *seen_ms >= later);
    if let Some(after) = at(later).filter(|_| is_covered) {
        page.check(must(30, "report-ahead"), told <= after, told, || {
            format!(
                "the report says {told}, but {} was only at {after} {give} ms later",
                other.name
            )
        });
    }
}
