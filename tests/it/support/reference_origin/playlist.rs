//! The reference origin's playlists, right or wrong in one thing.
//!
//! In:  a rendition and how many parts exist. Out: text.

use std::fmt::Write as _;
use std::ops::Range;

use weir::base::clock::WallTime;

use super::media::{PARTS, SEGMENT_MS, codecs, is_independent};
use super::{Defect, Origin, PREFILL_MS};

/// The number of the first segment.
pub(super) const FIRST_MSN: u64 = 100;
/// Complete segments listed.
pub(super) const WINDOW: usize = 10;
/// Complete segments whose parts are listed.
pub(super) const WITH_PARTS: usize = 3;
/// The segment with a DISCONTINUITY; it leaves the window within four seconds.
const BREAK: usize = 6;
/// What a rendition that is behind begins with: complete two seconds after the start.
const FIRST_WITH_MEDIA: usize = 15;
/// The first segment of which nothing exists when an origin starts; the one before is under way then.
pub(super) const NEXT: usize = 16;
/// Numbers of parts, where they come again.
pub(super) const NAMES: usize = 4;
/// A segment that stays in the window while a check runs.
const MARKED: usize = 13;

impl Origin {
    pub(super) fn multivariant(&self) -> String {
        let mut text = "#EXTM3U\n#EXT-X-VERSION:6\n".to_owned();
        if !self.is(Defect::NoIndependentSegments) {
            text += "#EXT-X-INDEPENDENT-SEGMENTS\n";
        }
        let (file, query) = if self.is(Defect::Variables) {
            text += "#EXT-X-DEFINE:NAME=\"file\",VALUE=\"live\"\n";
            ("{$file}", "?key=7")
        } else {
            ("live", "")
        };
        if self.is(Defect::NamelessMedia) {
            text += "#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID=\"a\"\n";
        }
        let peak = if self.is(Defect::BandwidthLow) {
            100_000
        } else {
            700_000
        };
        let sizes = if self.is(Defect::ResolutionUntrue) {
            ["640x360"; 2]
        } else {
            ["320x180", "854x480"]
        };
        let rate = if self.is(Defect::FrameRateUntrue) {
            "15.000"
        } else {
            "30.000"
        };
        let mut variants: Vec<_> = [("low", peak), ("high", peak * 2)]
            .into_iter()
            .enumerate()
            .collect();
        if !self.is(Defect::FirstVariant) {
            variants.reverse();
        }
        for (index, (name, bps)) in variants {
            let average = if self.is(Defect::NoAverageBandwidth) {
                String::new()
            } else {
                format!("AVERAGE-BANDWIDTH={},", bps * 4 / 5)
            };
            let captions = match self.defect {
                Some(Defect::CaptionsMixed) if index == 0 => "",
                _ => ",CLOSED-CAPTIONS=NONE",
            };
            let codecs = match self.defect {
                Some(Defect::CodecsUntrue) => "avc1.42C01E,mp4a.40.2".to_owned(),
                Some(Defect::CodecAbsent) => format!("{},ac-3", codecs(index)),
                _ => codecs(index).to_owned(),
            };
            writeln!(
                text,
                "#EXT-X-STREAM-INF:BANDWIDTH={bps},{average}CODECS=\"{codecs}\",RESOLUTION={},FRAME-RATE={rate}{captions}\n{name}/{file}.m3u8{query}",
                sizes[index]
            )
            .unwrap();
        }
        if self.is(Defect::IFramesUndescribed) {
            text += "#EXT-X-I-FRAME-STREAM-INF:URI=\"low/i.m3u8\"\n";
        }
        text
    }

    /// Whether a rendition has nothing of a segment yet.
    pub(super) fn is_gap(&self, rendition: usize, segment: usize) -> bool {
        match self.defect {
            Some(Defect::GapsAtFirst) => rendition == 1 && segment < FIRST_WITH_MEDIA,
            Some(Defect::GapMissesTimeline) => segment + 1 == NEXT,
            _ => false,
        }
    }

    /// A playlist without anything of low latency.
    pub(super) fn plain(&self, rendition: usize, edge: usize, is_ended: bool) -> String {
        let complete = if is_ended { 14 } else { edge / PARTS };
        let first = complete - WINDOW;
        let mut text = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n".to_owned();
        if is_ended {
            text += "#EXT-X-PLAYLIST-TYPE:VOD\n";
        }
        let msn = FIRST_MSN + first as u64;
        let passed = u64::from(first > BREAK);
        writeln!(
            text,
            "#EXT-X-MEDIA-SEQUENCE:{msn}\n#EXT-X-DISCONTINUITY-SEQUENCE:{passed}"
        )
        .unwrap();
        for segment in first..complete {
            self.segment_text(&mut text, rendition, segment, segment == first, 0..0);
            self.segment_end(&mut text, rendition, segment);
        }
        if is_ended {
            text += "#EXT-X-ENDLIST\n";
        }
        text
    }

    /// The playlist of a rendition of which `edge` parts exist.
    pub(super) fn render(&self, rendition: usize, edge: usize, skip: bool) -> String {
        let complete = edge / PARTS;
        let window = if self.is(Defect::WindowShort) {
            2
        } else {
            WINDOW
        };
        let first = if self.is(Defect::FirstListEmpty) {
            (complete - window).max(NEXT - 1)
        } else {
            complete - window
        };
        let mut skipped = if skip {
            (complete - first).saturating_sub(6)
        } else {
            0
        };
        if self.is(Defect::DeltaSkipsTooMuch) && skip {
            skipped += 2;
        }
        let mut text = String::new();
        self.header(&mut text, rendition, first, skipped);
        for segment in first + skipped..=complete {
            let parts = if segment == complete {
                edge % PARTS
            } else {
                PARTS
            };
            if parts == 0 {
                break;
            }
            let has_parts = self.is(Defect::PartsListedLong) || segment + WITH_PARTS >= complete;
            let listed = match self.defect {
                _ if !has_parts => parts..parts,
                // Of the first segment with parts those are stale that the open segment has replaced.
                Some(Defect::PartsDroppedSingly) if segment + WITH_PARTS == complete => {
                    edge % PARTS..parts
                }
                Some(Defect::PartsDroppedEarly) if segment + 1 == complete => 1..parts,
                _ => 0..parts,
            };
            self.segment_text(&mut text, rendition, segment, segment == first, listed);
            if segment < complete {
                self.segment_end(&mut text, rendition, segment);
            }
        }
        self.tail(&mut text, rendition, edge);
        text
    }

    fn version(&self, skipped: usize) -> u8 {
        match self.defect {
            Some(Defect::VersionTooLow) => 3,
            Some(Defect::Variables) => 11,
            _ if skipped > 0 => 9,
            _ => 6,
        }
    }

    fn header(&self, text: &mut String, rendition: usize, first: usize, skipped: usize) {
        if self.is(Defect::ByteOrderMark) {
            text.push('\u{feff}');
        }
        let is_second = rendition == 1;
        let version = self.version(skipped);
        let target = if self.is(Defect::TargetDiffers) && is_second {
            3
        } else {
            2
        };
        write!(text, "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:{target}\n").unwrap();
        if self.is(Defect::RepeatedTag) {
            writeln!(text, "#EXT-X-VERSION:{version}").unwrap();
        }
        if self.is(Defect::Variables) {
            text.push_str("#EXT-X-DEFINE:IMPORT=\"file\"\n#EXT-X-DEFINE:QUERYPARAM=\"key\"\n");
        }
        if self.is(Defect::RemovedFromEvent) {
            text.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n");
        }
        let block = if self.is(Defect::NoBlocking) {
            ""
        } else {
            "CAN-BLOCK-RELOAD=YES,"
        };
        let part_hold = if self.is(Defect::PartHoldBackShort) {
            "0.9"
        } else {
            "1.002"
        };
        let hold = match self.defect {
            Some(Defect::HoldBackShort) => "5.0",
            Some(Defect::ServerControlDiffers) if is_second => "7.0",
            _ => "6.0",
        };
        let until = match self.defect {
            Some(Defect::SkipUntilShort) => ",CAN-SKIP-UNTIL=11.0",
            Some(Defect::DeltaUnannounced) => "",
            _ => ",CAN-SKIP-UNTIL=12.0",
        };
        writeln!(
            text,
            "#EXT-X-SERVER-CONTROL:{block}PART-HOLD-BACK={part_hold},HOLD-BACK={hold}{until}"
        )
        .unwrap();
        let part_target = match self.defect {
            Some(Defect::PartOverTarget) => "0.330",
            Some(Defect::PartTargetChanges) if self.elapsed_ms() > 3_000 => "0.335",
            _ => "0.334",
        };
        if !self.is(Defect::NoPartTarget) {
            writeln!(text, "#EXT-X-PART-INF:PART-TARGET={part_target}").unwrap();
        }
        let extra = if self.is(Defect::MediaSequenceSkips) {
            first as u64
        } else {
            0
        };
        writeln!(
            text,
            "#EXT-X-MEDIA-SEQUENCE:{}",
            FIRST_MSN + first as u64 + extra
        )
        .unwrap();
        let has_break = !(self.is(Defect::DiscontinuityInOne) && is_second);
        let passed =
            u64::from(first > BREAK && has_break && !self.is(Defect::DiscontinuitySequenceStuck));
        if !self.is(Defect::NoDiscontinuitySequence) {
            writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{passed}").unwrap();
        }
        if skipped > 0 {
            writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}").unwrap();
        }
        if self.is(Defect::DateRangeWithoutId) {
            text.push_str("#EXT-X-DATERANGE:START-DATE=\"2026-10-01T10:00:00.000Z\"\n");
        }
    }

    fn date(&self, rendition: usize, segment: usize) -> String {
        let start = segment as u64 * SEGMENT_MS;
        let mut ms =
            self.start_wall_ms + i64::try_from(start).unwrap() - i64::try_from(PREFILL_MS).unwrap();
        match self.defect {
            Some(Defect::DateOff) if segment == MARKED => ms -= 5_000,
            Some(Defect::DatesDiffer) if rendition == 1 => ms += 400,
            _ => {}
        }
        format!("#EXT-X-PROGRAM-DATE-TIME:{}\n", WallTime(ms))
    }

    /// A segment's tags and parts.
    fn segment_text(
        &self,
        text: &mut String,
        rendition: usize,
        segment: usize,
        is_first: bool,
        parts: Range<usize>,
    ) {
        let has_break = match self.defect {
            Some(Defect::DiscontinuityInOne) => segment == BREAK && rendition == 0,
            Some(Defect::HoleBehindDiscontinuity) => [BREAK, NEXT].contains(&segment),
            _ => segment == BREAK,
        };
        if has_break {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let has_changed = self.changes_section() && segment == NEXT;
        if (is_first || has_changed) && !self.is(Defect::NoMap) {
            let name = if self.changes_section() && segment >= NEXT {
                "init-2.mp4"
            } else {
                "init.mp4"
            };
            writeln!(text, "#EXT-X-MAP:URI=\"{name}\"").unwrap();
        }
        let is_dated = !self.is(Defect::NoDate);
        let is_late = self.is(Defect::TagBehindPart) && !parts.is_empty();
        if is_dated && !is_late {
            *text += &self.date(rendition, segment);
        }
        for part in parts {
            self.part_text(text, rendition, segment, part);
            if is_late && part == 0 {
                *text += &self.date(rendition, segment);
            }
        }
    }

    fn changes_section(&self) -> bool {
        let changes = [Defect::SectionHintNotKept, Defect::SectionNotHinted];
        self.defect.is_some_and(|defect| changes.contains(&defect))
    }

    /// The number in the names of a segment's parts.
    fn number(&self, segment: usize) -> u64 {
        let segment = if self.is(Defect::UrisReused) {
            segment % NAMES
        } else {
            segment
        };
        FIRST_MSN + segment as u64
    }

    fn part_text(&self, text: &mut String, rendition: usize, segment: usize, part: usize) {
        let msn = self.number(segment);
        let duration = if self.is(Defect::PartShort) && part == 2 {
            "0.28000"
        } else {
            "0.33333"
        };
        write!(
            text,
            "#EXT-X-PART:DURATION={duration},URI=\"{msn}.{part}.m4s\""
        )
        .unwrap();
        let is_independent = match self.defect {
            Some(Defect::IndependentUntrue) if part == 3 => true,
            Some(Defect::IndependentUnsaid) => false,
            _ if self.is_gap(rendition, segment) => false,
            _ => is_independent(rendition, segment * PARTS + part),
        };
        if is_independent {
            text.push_str(",INDEPENDENT=YES");
        }
        let is_gap = self.is_gap(rendition, segment);
        if is_gap || (self.is(Defect::GapPartWithoutGap) && part == 4) {
            text.push_str(",GAP=YES");
        }
        if self.is(Defect::RangeWithoutOffset) && part == 1 {
            text.push_str(",BYTERANGE=\"1000\"");
        }
        text.push('\n');
    }

    fn segment_end(&self, text: &mut String, rendition: usize, segment: usize) {
        if self.is_gap(rendition, segment) {
            text.push_str("#EXT-X-GAP\n");
        }
        let is_later = self.elapsed_ms() > 3_000 && segment == MARKED;
        let duration = match self.defect {
            Some(Defect::ExtinfOverTarget) if segment == MARKED => "2.60000",
            Some(Defect::ExtinfUntrue) => "1.90000",
            Some(Defect::ExtinfChanges) if is_later => "1.99000",
            _ => "2.00000",
        };
        let suffix = match self.defect {
            Some(Defect::UriChanges) if is_later => "?again",
            Some(Defect::Variables) => "?{$file}={$key}",
            Some(Defect::UndefinedVariable) => "?{$key}",
            _ => "",
        };
        let msn = FIRST_MSN + segment as u64;
        write!(text, "#EXTINF:{duration},\n{msn}.m4s{suffix}\n").unwrap();
    }

    /// Hints, reports, the end.
    fn tail(&self, text: &mut String, rendition: usize, edge: usize) {
        let is_ended = self.is_ended();
        let (msn, part) = (self.number(edge / PARTS), edge % PARTS);
        if self.is(Defect::SectionHintNotKept) && edge == NEXT * PARTS {
            text.push_str("#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"init-3.mp4\"\n");
        }
        let name = if self.is(Defect::HintNotKept) {
            "next-"
        } else {
            ""
        };
        let is_hinted = !is_ended || self.is(Defect::HintBehindEnd);
        if is_hinted && !self.is(Defect::NoHint) {
            writeln!(
                text,
                "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}{msn}.{part}.m4s\""
            )
            .unwrap();
        }
        if is_ended {
            text.push_str("#EXT-X-ENDLIST\n");
            return;
        }
        let other = 1 - rendition;
        let last = match self.defect {
            Some(Defect::StaleReports) => self.edge(other) - 13,
            Some(Defect::ReportsAhead) => self.edge(other) + 12,
            _ => self.edge(other) - 1,
        };
        if !self.is(Defect::NoReports) {
            let (msn, part) = (FIRST_MSN + (last / PARTS) as u64, last % PARTS);
            let name = ["low", "high"][other];
            writeln!(text, "#EXT-X-RENDITION-REPORT:URI=\"../{name}/live.m3u8\",LAST-MSN={msn},LAST-PART={part}").unwrap();
        }
    }
}
