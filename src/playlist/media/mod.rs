//! The media playlist's text, for live players and for a plain copy: one renderer.
//!
//! In:  a listing. Out: text whose lines for one segment never change while it is listed, but for
//! its EXT-X-PART lines, which go first. Nothing here depends on who asks.
//! Not here: when to render and for whom (`snapshot`, `origin`).
//! Read: §4.4 for the tags, §6.2.5 for delta updates, appendix B.1 for what low latency requires.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use super::ad_break::BreakLines;
use super::file_name::{MediaFile, Position};
use super::plain::{PART_TARGET, TIMELINE_BEGINS};
use super::tags::{Millis, Seconds5, Tag, put};
use super::ticks;
use super::window::{Listing, Segment};

/// What fMP4 with EXT-X-MAP requires.
const VERSION: u32 = 6;
/// What EXT-X-SKIP requires.
const DELTA_VERSION: u32 = 9;
/// Complete segments that still show their parts; more than three target durations.
const SEGMENTS_WITH_PARTS: usize = 3;
/// Segments that EXT-X-PREFETCH names: the open one and the next, as Amazon IVS does.
const PREFETCHED: u64 = 2;
/// Bytes to set aside for one segment with its parts, and for the rest.
const SEGMENT_TEXT: usize = 128;
const OTHER_TEXT: usize = 4096;

/// Whom the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// With parts, the open segment, server control, hints and reports.
    LowLatency,
    /// Complete segments only.
    Normal,
    /// Complete segments, and what taking them up again needs.
    Mirror,
}

/// Which of a listing's lines to write.
struct Form<'a> {
    /// Complete segments, as indices into `Listing::segments`.
    segments: Range<usize>,
    /// How many of these EXT-X-SKIP stands for.
    skipped: usize,
    kind: Kind,
    /// Whether nothing will follow.
    is_ended: bool,
    /// Segments that a copy lacks.
    missing: Option<&'a BTreeSet<u64>>,
}

/// The playlist that live players load, its first `skipped` segments replaced by EXT-X-SKIP.
pub(super) fn render_live(listing: &Listing, skipped: usize) -> String {
    let form = Form {
        segments: listing.removed..listing.segments.len(),
        skipped,
        kind: if listing.config.is_low_latency {
            Kind::LowLatency
        } else {
            Kind::Normal
        },
        is_ended: listing.is_ended,
        missing: None,
    };
    render(listing, &form)
}

/// A plain playlist of the listed segments within `available`, in which those that are `missing` are gaps; none if
/// there are none.
pub(super) fn render_mirror(
    listing: &Listing,
    available: &RangeInclusive<u64>,
    missing: &BTreeSet<u64>,
) -> Option<String> {
    let first_msn = listing.segments.front()?.msn;
    let index = |msn: u64| usize::try_from(msn.checked_sub(first_msn)?).ok();
    let start = index(*available.start()).unwrap_or(0).max(listing.removed);
    let end = index(*available.end())?.saturating_add(1);
    let segments = start..end.min(listing.segments.len());
    if segments.is_empty() {
        return None;
    }
    let form = Form {
        is_ended: listing.is_ended && segments.end == listing.segments.len(),
        segments,
        skipped: 0,
        kind: Kind::Mirror,
        missing: Some(missing),
    };
    Some(render(listing, &form))
}

/// How many listed segments a delta update may leave out: those that ended at least
/// CAN-SKIP-UNTIL before the end of the last complete one.
pub(super) fn skippable(listing: &Listing) -> usize {
    let Some(skip_until) = listing.config.skip_until_ms().filter(|_| !listing.is_ended) else {
        return 0;
    };
    let boundary = ticks(skip_until.into());
    let listed = listing.segments.range(listing.removed..);
    let mut behind = 0;
    let is_inside = |segment: &&Arc<Segment>| {
        let is_inside = behind < boundary;
        behind += segment.duration;
        is_inside
    };
    let inside = listed.clone().rev().take_while(is_inside).count();
    listed.len() - inside
}

/// The part that comes next.
pub(super) fn hint(listing: &Listing) -> Option<Position> {
    let part = listing.open.as_ref().map_or(0, Segment::part_count);
    let msn = listing.next_msn;
    (!listing.is_ended).then_some(Position { msn, part })
}

fn render(listing: &Listing, form: &Form<'_>) -> String {
    let lines = form.segments.len() - form.skipped;
    let mut text = String::with_capacity(lines * SEGMENT_TEXT + OTHER_TEXT);
    let is_low_latency = form.kind == Kind::LowLatency;
    write_header(&mut text, listing, form);
    let mut breaks = BreakLines::new(listing);
    for index in form.segments.clone().skip(form.skipped) {
        let segment = &listing.segments[index];
        breaks.write_before(&mut text, segment);
        write_segment_head(&mut text, segment, index == form.segments.start);
        if is_low_latency && index + SEGMENTS_WITH_PARTS >= form.segments.end {
            write_parts(&mut text, segment);
        }
        let is_missing = form.missing.is_some_and(|all| all.contains(&segment.msn));
        write_segment_tail(&mut text, segment, is_missing);
    }
    if is_low_latency && let Some(open) = &listing.open {
        breaks.write_before(&mut text, open);
        write_segment_head(&mut text, open, form.segments.is_empty());
        write_parts(&mut text, open);
    }
    breaks.write_rest(&mut text);
    if is_low_latency {
        write_hints(&mut text, listing, form.skipped == 0);
    }
    if form.is_ended {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

fn write_header(text: &mut String, listing: &Listing, form: &Form<'_>) {
    let config = &listing.config;
    let version = if form.skipped > 0 {
        DELTA_VERSION
    } else {
        VERSION
    };
    put(
        text,
        format_args!(
            "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-TARGETDURATION:{}\n",
            config.target_duration_s
        ),
    );
    if form.kind == Kind::LowLatency {
        let tag = Tag::new(text, "#EXT-X-SERVER-CONTROL")
            .attribute("CAN-BLOCK-RELOAD", "YES")
            .attribute("PART-HOLD-BACK", Millis(config.part_hold_back_ms()))
            .attribute("HOLD-BACK", Millis(config.hold_back_ms()));
        match config.skip_until_ms() {
            Some(skip_until) => tag.attribute("CAN-SKIP-UNTIL", Millis(skip_until)).end(),
            None => tag.end(),
        }
        Tag::new(text, "#EXT-X-PART-INF")
            .attribute("PART-TARGET", Millis(config.part_target_ms))
            .end();
    } else if form.kind == Kind::Mirror {
        put(
            text,
            format_args!("{PART_TARGET}:{}\n", config.part_target_ms),
        );
        let is_newest = form.segments.end == listing.segments.len();
        if is_newest && listing.open.as_ref().is_some_and(|open| open.discontinuity) {
            put(text, format_args!("{TIMELINE_BEGINS}\n"));
        }
    }
    let first = listing.segments.get(form.segments.start);
    let left_out = listing.segments.range(listing.removed..form.segments.start);
    let discontinuities = left_out.filter(|segment| segment.discontinuity).count();
    put(
        text,
        format_args!(
            "#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n",
            first.map_or(listing.next_msn, |segment| segment.msn),
            listing.discontinuity_sequence + u64::try_from(discontinuities).unwrap_or(0),
        ),
    );
    if form.skipped > 0 {
        Tag::new(text, "#EXT-X-SKIP")
            .attribute("SKIPPED-SEGMENTS", form.skipped)
            .end();
    }
}

/// What stands before a segment's first part: it is true from then on.
fn write_segment_head(text: &mut String, segment: &Segment, is_first: bool) {
    if segment.discontinuity {
        text.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if segment.discontinuity || is_first {
        Tag::new(text, "#EXT-X-MAP")
            .quoted("URI", MediaFile::Init(&segment.init.hash))
            .end();
    }
    let program_date_time = segment.program_date_time;
    put(
        text,
        format_args!("#EXT-X-PROGRAM-DATE-TIME:{program_date_time}\n"),
    );
}

fn write_parts(text: &mut String, segment: &Segment) {
    let msn = segment.msn;
    for (index, part) in (0..).zip(&segment.parts) {
        let file = MediaFile::Part(Position { msn, part: index });
        let tag = Tag::new(text, "#EXT-X-PART")
            .attribute("DURATION", Seconds5::floor(part.duration))
            .quoted("URI", file);
        if part.is_gap {
            tag.attribute("GAP", "YES").end();
        } else if part.is_independent {
            tag.attribute("INDEPENDENT", "YES").end();
        } else {
            tag.end();
        }
    }
}

/// EXTINF is the distance of the rounded ends on the timeline, so that the sum of any number of
/// them is right to 10 microseconds.
fn write_segment_tail(text: &mut String, segment: &Segment, is_missing: bool) {
    if segment.has_gap || is_missing {
        text.push_str("#EXT-X-GAP\n");
    }
    let start = Seconds5::nearest(segment.offset);
    let end = Seconds5::nearest(segment.offset.saturating_add(segment.duration));
    let file = MediaFile::Segment(segment.msn);
    put(
        text,
        format_args!("#EXTINF:{},live\n{file}\n", end.since(start)),
    );
}

/// The segments that are being made or come next, which players without parts load as they grow: their numbers
/// follow that of the last complete one, so all are named or none. A segment that has a gap is not loaded.
pub(super) fn prefetched(listing: &Listing) -> Range<u64> {
    let is_whole = listing.open.as_ref().is_none_or(|open| !open.has_gap);
    let has_any = listing.config.is_low_latency && !listing.is_ended && is_whole;
    let count = if has_any { PREFETCHED } else { 0 };
    listing.next_msn..listing.next_msn.saturating_add(count)
}

/// Hints and reports. The part's hint is the last of the hints: hls.js keeps only that.
fn write_hints(text: &mut String, listing: &Listing, has_prefetch: bool) {
    let Some(next) = hint(listing) else {
        return;
    };
    let known = listing.segments.back().map(|segment| &segment.init.hash);
    let new_init = listing.pending_init.as_ref();
    if let Some(init) = new_init.filter(|init| known != Some(&init.hash)) {
        Tag::new(text, "#EXT-X-PRELOAD-HINT")
            .attribute("TYPE", "MAP")
            .quoted("URI", MediaFile::Init(&init.hash))
            .end();
    }
    Tag::new(text, "#EXT-X-PRELOAD-HINT")
        .attribute("TYPE", "PART")
        .quoted("URI", MediaFile::Part(next))
        .end();
    for msn in prefetched(listing).filter(|_| has_prefetch) {
        let file = MediaFile::Segment(msn);
        put(text, format_args!("#EXT-X-PREFETCH:{file}\n"));
    }
    for report in listing.reports.iter() {
        let uri = format_args!("../{}/{}", report.rendition, MediaFile::Playlist);
        Tag::new(text, "#EXT-X-RENDITION-REPORT")
            .quoted("URI", uri)
            .attribute("LAST-MSN", report.last.msn)
            .attribute("LAST-PART", report.last.part)
            .end();
    }
}

#[cfg(test)]
mod tests;
