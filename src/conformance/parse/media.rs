//! A media playlist: its header, its segments with their parts, and what stands behind them.
//!
//! In:  a document. Out: [`MediaPlaylist`]; times are microseconds. Not here: rules on values (`single`),
//! except those that only the order of lines can show.

use std::sync::Arc;

use super::values::{date_us, integer, micros};
use super::{
    ByteRange, DateRange, Document, Flaws, Hint, HintKind, Line, MAX_ENTRIES, Map, MediaPlaylist,
    Part, PlaylistType, Report, Segment, ServerControl,
};

/// Reads a document line by line.
pub(super) fn read(document: &Document<'_>, flaws: Flaws) -> MediaPlaylist {
    let mut reader = Reader {
        list: MediaPlaylist::default(),
        flaws,
        pending: Segment::default(),
        has_pending: false,
        map: None,
        is_encrypted: false,
        range_end: None,
        part_end: None,
        entries: 0,
    };
    for line in &document.lines {
        if reader.entries >= MAX_ENTRIES {
            reader.list.is_cut = true;
            break;
        }
        match *line {
            Line::Tag {
                number,
                name,
                value,
            } => reader.tag(number, name, value),
            Line::Uri { number, text } => reader.uri(number, text),
        }
    }
    reader.finish()
}

struct Reader {
    list: MediaPlaylist,
    flaws: Flaws,
    /// The segment whose tags are being read.
    pending: Segment,
    has_pending: bool,
    map: Option<Arc<Map>>,
    /// Whether EXT-X-KEY says that whole segments are encrypted.
    is_encrypted: bool,
    /// The resource and the end of the last byte range of a segment, and of a part.
    range_end: Option<(String, u64)>,
    part_end: Option<(String, u64)>,
    /// How many segments, parts and the like there were.
    entries: usize,
}

impl Reader {
    fn tag(&mut self, line: usize, name: &str, value: &str) {
        match name {
            "EXT-X-VERSION"
            | "EXT-X-TARGETDURATION"
            | "EXT-X-MEDIA-SEQUENCE"
            | "EXT-X-DISCONTINUITY-SEQUENCE"
            | "EXT-X-PLAYLIST-TYPE"
            | "EXT-X-SERVER-CONTROL"
            | "EXT-X-PART-INF"
            | "EXT-X-SKIP" => self.header(line, name, value),
            "EXT-X-INDEPENDENT-SEGMENTS" => self.list.has_independent_segments = true,
            "EXT-X-I-FRAMES-ONLY" => self.list.is_iframes_only = true,
            "EXT-X-ENDLIST" => self.list.is_ended = true,
            "EXT-X-DEFINE" => self.list.has_variables = true,
            "EXT-X-PART" => self.part(line, value),
            "EXT-X-PRELOAD-HINT" => self.hint(line, value),
            "EXT-X-RENDITION-REPORT" => self.report(line, value),
            "EXT-X-DATERANGE" => self.date_range(line, value),
            "EXTINF"
            | "EXT-X-BYTERANGE"
            | "EXT-X-DISCONTINUITY"
            | "EXT-X-GAP"
            | "EXT-X-KEY"
            | "EXT-X-MAP"
            | "EXT-X-PROGRAM-DATE-TIME" => self.segment_tag(line, name, value),
            _ => {}
        }
    }

    fn header(&mut self, line: usize, name: &str, value: &str) {
        // EXT-X-MAP, for one, may stand before all segments and be no part of any.
        let pending = &self.pending;
        let has_begun = pending.has_extinf || !pending.parts.is_empty();
        let is_counted = name == "EXT-X-DISCONTINUITY-SEQUENCE" && pending.has_discontinuity;
        if !self.list.segments.is_empty() || has_begun || is_counted {
            let text = || format!("#{name} stands behind the first segment");
            self.flaws.must(1, "header-behind-segment", line, text);
        }
        if !self.list.segments.is_empty() && matches!(name, "EXT-X-MEDIA-SEQUENCE" | "EXT-X-SKIP") {
            // Segments have their numbers already.
            return;
        }
        let number = integer(value);
        match name {
            "EXT-X-VERSION" => self.list.version = self.flaws.required(number, line, name),
            "EXT-X-TARGETDURATION" => self.list.target_s = self.flaws.required(number, line, name),
            "EXT-X-MEDIA-SEQUENCE" => {
                self.list.media_sequence = self.flaws.required(number, line, name);
            }
            "EXT-X-DISCONTINUITY-SEQUENCE" => {
                self.list.discontinuity_sequence = self.flaws.required(number, line, name);
            }
            "EXT-X-PLAYLIST-TYPE" => {
                let kind = match value {
                    "EVENT" => Some(PlaylistType::Event),
                    "VOD" => Some(PlaylistType::Vod),
                    _ => None,
                };
                self.list.playlist_type = self.flaws.required(kind, line, name);
            }
            "EXT-X-SERVER-CONTROL" => self.server_control(line, value),
            "EXT-X-PART-INF" => {
                let target = self.flaws.attributes(line, value).micros("PART-TARGET");
                self.list.part_target_us = self.flaws.required(target, line, "PART-TARGET");
            }
            _ => {
                let skipped = self
                    .flaws
                    .attributes(line, value)
                    .integer("SKIPPED-SEGMENTS");
                self.list.skipped = self.flaws.required(skipped, line, "SKIPPED-SEGMENTS");
            }
        }
    }

    fn server_control(&mut self, line: usize, value: &str) {
        let attributes = self.flaws.attributes(line, value);
        let mut seconds = |name: &str| {
            let is_there = attributes.text(name).is_some();
            let micros = attributes.micros(name);
            if is_there {
                self.flaws.required(micros, line, name);
            }
            micros
        };
        let control = ServerControl {
            hold_back_us: seconds("HOLD-BACK"),
            part_hold_back_us: seconds("PART-HOLD-BACK"),
            can_skip_until_us: seconds("CAN-SKIP-UNTIL"),
            can_block_reload: attributes.is_yes("CAN-BLOCK-RELOAD"),
            can_skip_dateranges: attributes.is_yes("CAN-SKIP-DATERANGES"),
        };
        self.list.server_control = Some(control);
    }

    fn segment_tag(&mut self, line: usize, name: &str, value: &str) {
        let is_late = !self.pending.parts.is_empty();
        let comes_first = !matches!(name, "EXTINF" | "EXT-X-BYTERANGE" | "EXT-X-GAP");
        if is_late && comes_first {
            let text = || format!("#{name} stands behind a part of its segment");
            self.flaws.must(23, "tag-behind-part", line, text);
        }
        self.open(line);
        match name {
            "EXTINF" => {
                let duration = micros(value.split(',').next().unwrap_or(value));
                self.pending.has_extinf = true;
                let duration = self.flaws.required(duration, line, "EXTINF's duration");
                self.pending.duration_us = duration.unwrap_or(0);
            }
            "EXT-X-BYTERANGE" => {
                let range = byte_range(value);
                self.pending.range = self.flaws.required(range, line, name);
            }
            "EXT-X-DISCONTINUITY" => self.pending.has_discontinuity = true,
            "EXT-X-GAP" => self.pending.is_gap = true,
            "EXT-X-MAP" => self.map_tag(line, value),
            "EXT-X-KEY" => {
                let attributes = self.flaws.attributes(line, value);
                self.is_encrypted = attributes
                    .plain("METHOD")
                    .is_some_and(|m| m.starts_with("AES"));
            }
            "EXT-X-PROGRAM-DATE-TIME" => {
                self.pending.date_us = self.flaws.required(date_us(value), line, name);
            }
            _ => {}
        }
    }

    fn map_tag(&mut self, line: usize, value: &str) {
        let attributes = self.flaws.attributes(line, value);
        let uri = self
            .flaws
            .required(attributes.quoted("URI"), line, "EXT-X-MAP's URI");
        let range = attributes.quoted("BYTERANGE").and_then(byte_range);
        self.map = uri.map(|uri| {
            Arc::new(Map {
                uri: uri.to_owned(),
                range,
                is_encrypted: self.is_encrypted,
            })
        });
    }

    fn part(&mut self, line: usize, value: &str) {
        if self.pending.has_extinf {
            let text = || "a part stands behind the EXTINF of its segment".to_owned();
            self.flaws.must(23, "part-behind-extinf", line, text);
        }
        let attributes = self.flaws.attributes(line, value);
        let uri = self
            .flaws
            .required(attributes.quoted("URI"), line, "a part's URI");
        let duration = attributes.micros("DURATION");
        let duration = self.flaws.required(duration, line, "a part's DURATION");
        let range = match attributes.quoted("BYTERANGE") {
            None => None,
            Some(text) => {
                let range = self
                    .flaws
                    .required(byte_range(text), line, "a part's BYTERANGE");
                range.map(|range| self.placed(range, uri.unwrap_or_default(), line))
            }
        };
        self.open(line);
        self.entries = self.entries.saturating_add(1);
        self.pending.parts.push(Part {
            line,
            uri: uri.unwrap_or_default().to_owned(),
            duration_us: duration.unwrap_or(0),
            is_independent: attributes.is_yes("INDEPENDENT"),
            is_gap: attributes.is_yes("GAP"),
            range,
        });
    }

    /// A part's range with its offset: where the previous part of the same resource ended.
    fn placed(&mut self, range: ByteRange, uri: &str, line: usize) -> ByteRange {
        let before = self.part_end.take().filter(|(resource, _)| resource == uri);
        let offset = range.offset.or(before.map(|(_, end)| end));
        if offset.is_none() {
            let text = || "a BYTERANGE without offset follows no part of the same URI".to_owned();
            self.flaws.must(21, "range-without-offset", line, text);
        }
        let end = offset.unwrap_or(0).saturating_add(range.length);
        self.part_end = Some((uri.to_owned(), end));
        ByteRange { offset, ..range }
    }

    fn hint(&mut self, line: usize, value: &str) {
        let attributes = self.flaws.attributes(line, value);
        let kind = match attributes.plain("TYPE") {
            Some("PART") => Some(HintKind::Part),
            Some("MAP") => Some(HintKind::Map),
            _ => None,
        };
        let kind = self.flaws.required(kind, line, "a hint's TYPE");
        let uri = self
            .flaws
            .required(attributes.quoted("URI"), line, "a hint's URI");
        if let (Some(kind), Some(uri)) = (kind, uri) {
            self.entries = self.entries.saturating_add(1);
            self.list.hints.push(Hint {
                line,
                kind,
                uri: uri.to_owned(),
                start: attributes.integer("BYTERANGE-START").unwrap_or(0),
                length: attributes.integer("BYTERANGE-LENGTH"),
            });
        }
    }

    fn report(&mut self, line: usize, value: &str) {
        let attributes = self.flaws.attributes(line, value);
        let uri = self
            .flaws
            .required(attributes.quoted("URI"), line, "a report's URI");
        self.entries = self.entries.saturating_add(1);
        self.list.reports.push(Report {
            line,
            uri: uri.unwrap_or_default().to_owned(),
            last_msn: attributes.integer("LAST-MSN"),
            last_part: attributes.integer("LAST-PART"),
        });
    }

    fn date_range(&mut self, line: usize, value: &str) {
        let attributes = self.flaws.attributes(line, value);
        let date = |name: &str| attributes.quoted(name).and_then(date_us);
        self.entries = self.entries.saturating_add(1);
        self.list.date_ranges.push(DateRange {
            line,
            id: attributes.quoted("ID").unwrap_or_default().to_owned(),
            start_us: date("START-DATE"),
            end_us: date("END-DATE"),
            duration_us: attributes.micros("DURATION"),
        });
    }

    fn uri(&mut self, line: usize, text: &str) {
        self.open(line);
        let mut segment = self.take_pending();
        segment.line = line;
        text.clone_into(&mut segment.uri);
        if !segment.has_extinf {
            let words = || format!("the segment {text} has no EXTINF");
            self.flaws.must(1, "no-extinf", line, words);
        }
        if let Some(range) = &mut segment.range {
            let before = self.range_end.take().filter(|(uri, _)| uri == text);
            range.offset = range.offset.or(before.map(|(_, end)| end)).or(Some(0));
            let end = range.offset.unwrap_or(0).saturating_add(range.length);
            self.range_end = Some((text.to_owned(), end));
        }
        self.entries = self.entries.saturating_add(1);
        self.list.segments.push(segment);
    }

    fn open(&mut self, line: usize) {
        if !self.has_pending {
            self.has_pending = true;
            self.pending.line = line;
        }
    }

    fn take_pending(&mut self) -> Segment {
        self.has_pending = false;
        let mut segment = std::mem::take(&mut self.pending);
        segment.msn = self.list.next_msn();
        segment.map.clone_from(&self.map);
        segment.is_encrypted = self.is_encrypted;
        segment
    }

    fn finish(mut self) -> MediaPlaylist {
        if self.has_pending {
            let open = self.take_pending();
            let is_there = !open.parts.is_empty() || open.has_discontinuity;
            self.list.open = is_there.then_some(open);
        }
        if self.list.target_s.is_none() {
            let text = || "#EXT-X-TARGETDURATION is missing".to_owned();
            self.flaws.must(4, "no-target-duration", 1, text);
        }
        self.list.flaws = self.flaws.0;
        self.list
    }
}

/// `LENGTH[@OFFSET]`.
fn byte_range(text: &str) -> Option<ByteRange> {
    let (length, offset) = match text.split_once('@') {
        Some((length, offset)) => (length, Some(integer(offset)?)),
        None => (text, None),
    };
    let length = integer(length).filter(|length| *length > 0)?;
    Some(ByteRange { length, offset })
}
