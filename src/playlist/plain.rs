//! Reads the plain media playlist that this room writes for a mirror: what a window was, from its text.
//!
//! In:  text of `Snapshot::mirror_playlist`, of any age. Out: [`Plain`], or which line is not of ours.
//! Tags that say nothing about segments are passed over. Not here: other people's playlists.

use super::file_name::{MediaFile, decimal};
use super::tags::{Seconds5, attribute};
use crate::base::clock::WallTime;
use crate::media::Timescale;

/// Begins the comment that says the PART-TARGET, in milliseconds: the copy lists no parts, but who takes the
/// playlist up again must not change it.
pub(super) const PART_TARGET: &str = "#weir-part-target-ms";
/// The comment that says that a timeline has begun behind the last segment: its first segment, which is not
/// complete, is listed with DISCONTINUITY.
pub(super) const TIMELINE_BEGINS: &str = "#weir-timeline-begins";
/// Most bytes of a text that is read: an hour's window in the shortest segments has fewer.
pub const MAX_TEXT_BYTES: u64 = 4 * 1024 * 1024;

/// A media playlist of complete segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// EXT-X-TARGETDURATION.
    pub target_duration_s: u32,
    /// PART-TARGET of the playlist that this is a copy of; none in the oldest copies.
    pub part_target_ms: Option<u32>,
    /// EXT-X-MEDIA-SEQUENCE.
    pub first_msn: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// At least one.
    pub segments: Vec<PlainSegment>,
    /// Whether the segment behind the last one is known to begin a timeline.
    pub timeline_begins: bool,
    /// EXT-X-ENDLIST.
    pub is_ended: bool,
}

/// What the text says of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainSegment {
    /// EXTINF.
    pub duration: Seconds5,
    /// Whether no text is known, and EXTINF and date are what they most probably were.
    pub is_assumed: bool,
    /// EXT-X-PROGRAM-DATE-TIME.
    pub program_date_time: WallTime,
    /// EXT-X-DISCONTINUITY.
    pub discontinuity: bool,
    /// EXT-X-GAP.
    pub is_gap: bool,
    /// The hash in the URI of the EXT-X-MAP in force.
    pub init_hash: String,
}

/// A line that is not as this room writes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the playlist: {problem}")]
pub struct Unreadable {
    pub(super) line: usize,
    pub(super) problem: &'static str,
}

impl Plain {
    /// Reads a whole playlist.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut reader = Reader::default();
        let mut lines = 0;
        for (line, content) in (1..).zip(text.lines()) {
            let read = reader.take(content);
            read.map_err(|problem| Unreadable { line, problem })?;
            lines = line;
        }
        reader.finish().map_err(|problem| Unreadable {
            line: lines,
            problem,
        })
    }

    /// The segment with this number.
    pub fn segment(&self, msn: u64) -> Option<&PlainSegment> {
        let index = usize::try_from(msn.checked_sub(self.first_msn)?).ok()?;
        self.segments.get(index)
    }

    /// Number of the newest segment.
    pub fn last_msn(&self) -> u64 {
        let after_first = u64::try_from(self.segments.len().saturating_sub(1)).unwrap_or(0);
        self.first_msn.saturating_add(after_first)
    }

    /// EXT-X-DISCONTINUITY-SEQUENCE, did the playlist begin at `msn`.
    pub fn discontinuity_sequence_at(&self, msn: u64) -> u64 {
        let before = usize::try_from(msn.saturating_sub(self.first_msn)).unwrap_or(usize::MAX);
        let left_out = self.segments.iter().take(before);
        let discontinuities = left_out.filter(|segment| segment.discontinuity).count();
        self.discontinuity_sequence + u64::try_from(discontinuities).unwrap_or(0)
    }
}

impl PlainSegment {
    /// When it ends, rounded down to milliseconds.
    pub fn until(&self) -> WallTime {
        let ticks = self.duration.nearest_ticks();
        let millis = Timescale::VIDEO.convert(ticks, Timescale::MILLIS);
        self.program_date_time.plus_millis(millis)
    }

    /// A segment after it that may have been listed for all we know, of which nothing is there.
    #[must_use]
    pub fn gap_after(&self, duration: Seconds5) -> Self {
        Self {
            duration,
            is_assumed: true,
            program_date_time: self.until(),
            discontinuity: false,
            is_gap: true,
            init_hash: self.init_hash.clone(),
        }
    }

    /// The same place in a rendition that has nothing there, whose section in force is `init_hash`.
    #[must_use]
    pub fn missing(&self, init_hash: &str) -> Self {
        Self {
            is_gap: true,
            init_hash: init_hash.to_owned(),
            ..self.clone()
        }
    }
}

/// The lines so far.
#[derive(Default)]
struct Reader {
    target_duration_s: Option<u32>,
    part_target_ms: Option<u32>,
    first_msn: Option<u64>,
    discontinuity_sequence: Option<u64>,
    segments: Vec<PlainSegment>,
    timeline_begins: bool,
    is_ended: bool,
    /// Of the EXT-X-MAP in force.
    init_hash: Option<String>,
    next: Next,
}

/// What was said of the segment to come.
#[derive(Default)]
struct Next {
    duration: Option<Seconds5>,
    program_date_time: Option<WallTime>,
    discontinuity: bool,
    is_gap: bool,
}

impl Reader {
    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        let narrow = |text| decimal(text).and_then(|n| u32::try_from(n).ok());
        match tag {
            "#EXT-X-TARGETDURATION" => self.target_duration_s = narrow(value),
            PART_TARGET => self.part_target_ms = narrow(value),
            TIMELINE_BEGINS => self.timeline_begins = true,
            "#EXT-X-MEDIA-SEQUENCE" => self.first_msn = decimal(value),
            "#EXT-X-DISCONTINUITY-SEQUENCE" => self.discontinuity_sequence = decimal(value),
            "#EXT-X-DISCONTINUITY" => self.next.discontinuity = true,
            "#EXT-X-GAP" => self.next.is_gap = true,
            "#EXT-X-ENDLIST" => self.is_ended = true,
            "#EXT-X-PROGRAM-DATE-TIME" => {
                self.next.program_date_time =
                    Some(value.parse().map_err(|_| "a date is not readable")?);
            }
            "#EXT-X-MAP" => {
                let uri = attribute(value, "URI").unwrap_or_default();
                let Some(MediaFile::Init(hash)) = MediaFile::parse(uri) else {
                    return Err("EXT-X-MAP names no initialization section");
                };
                self.init_hash = Some(hash.to_owned());
            }
            "#EXTINF" => {
                let seconds = value.split(',').next().unwrap_or_default();
                let duration = Seconds5::parse(seconds).ok_or("EXTINF is not readable")?;
                self.next.duration = Some(duration);
            }
            _ if !line.starts_with('#') && !line.is_empty() => return self.segment(line),
            _ => {}
        }
        Ok(())
    }

    fn segment(&mut self, uri: &str) -> Result<(), &'static str> {
        let first = self.first_msn.ok_or("no EXT-X-MEDIA-SEQUENCE")?;
        let count = u64::try_from(self.segments.len()).unwrap_or(u64::MAX);
        let expected = first.checked_add(count).map(MediaFile::Segment);
        if MediaFile::parse(uri) != expected {
            return Err("a segment's name is not its number");
        }
        let next = std::mem::take(&mut self.next);
        self.segments.push(PlainSegment {
            duration: next.duration.ok_or("no EXTINF")?,
            is_assumed: false,
            program_date_time: next.program_date_time.ok_or("no date")?,
            discontinuity: next.discontinuity,
            is_gap: next.is_gap,
            init_hash: self.init_hash.clone().ok_or("no EXT-X-MAP")?,
        });
        Ok(())
    }

    fn finish(self) -> Result<Plain, &'static str> {
        if self.segments.is_empty() {
            return Err("no segment");
        }
        Ok(Plain {
            target_duration_s: self.target_duration_s.ok_or("no EXT-X-TARGETDURATION")?,
            part_target_ms: self.part_target_ms,
            first_msn: self.first_msn.ok_or("no EXT-X-MEDIA-SEQUENCE")?,
            discontinuity_sequence: self
                .discontinuity_sequence
                .ok_or("no EXT-X-DISCONTINUITY-SEQUENCE")?,
            segments: self.segments,
            timeline_begins: self.timeline_begins,
            is_ended: self.is_ended,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playlist::{Config, Window, fixtures};

    fn text() -> String {
        let mut window = fixtures::window(&Config::default(), 1042, 4, 2);
        window.start_timeline(fixtures::init("0badcafe"), fixtures::START);
        fixtures::push_parts_with_gaps(&mut window, 0, &[fixtures::PART; 6], true, &[3]);
        let snapshot = window.snapshot();
        snapshot.mirror_playlist(1043..=1047).unwrap()
    }

    #[test]
    fn reads_what_the_mirror_writes() {
        let plain = Plain::parse(&text()).unwrap();
        let segment = |seconds, date: &str, is_new| PlainSegment {
            duration: Seconds5::parse(seconds).unwrap(),
            is_assumed: false,
            program_date_time: format!("2026-10-01T10:00:{date}Z").parse().unwrap(),
            discontinuity: is_new,
            is_gap: is_new,
            init_hash: if is_new { "0badcafe" } else { "7f3a09bc" }.to_owned(),
        };
        let expected = Plain {
            part_target_ms: Some(334),
            target_duration_s: 2,
            first_msn: 1043,
            discontinuity_sequence: 0,
            segments: vec![
                segment("2.00000", "02.000", false),
                segment("2.00000", "04.000", false),
                segment("2.00000", "06.000", false),
                segment("0.66667", "08.000", false),
                segment("2.00000", "08.666", true),
            ],
            timeline_begins: false,
            is_ended: false,
        };
        assert_eq!(plain, expected);
        assert_eq!(plain.last_msn(), 1047);
        assert_eq!(plain.segment(1047), expected.segments.last());
        assert_eq!(plain.segment(1042), None);
        assert_eq!(plain.segment(1048), None);
        assert_eq!(plain.discontinuity_sequence_at(1047), 0);
        assert_eq!(plain.discontinuity_sequence_at(1048), 1);
        let ended = format!("{}#EXT-X-ENDLIST\n", text());
        assert!(Plain::parse(&ended).unwrap().is_ended);
    }

    #[test]
    fn a_timeline_that_has_begun_is_told_before_its_first_segment_is_complete() {
        let mut window = fixtures::window(&Config::default(), 10, 3, 2);
        let begins = |window: &Window, last| {
            let snapshot = window.snapshot();
            let plain = Plain::parse(&snapshot.mirror_playlist(0..=last).unwrap()).unwrap();
            assert_eq!(snapshot.begins_timeline_after(last), plain.timeline_begins);
            (plain.last_msn(), plain.timeline_begins)
        };
        assert_eq!(begins(&window, 12), (12, false), "the open one goes on");
        window.start_timeline(fixtures::init("0badcafe"), fixtures::START);
        assert_eq!(begins(&window, 13), (13, false), "nothing is listed yet");
        fixtures::push_parts(&mut window, 0, &[fixtures::PART; 2], false);
        assert_eq!(begins(&window, 13), (13, true));
        assert_eq!(
            begins(&window, 12),
            (12, false),
            "behind one that is not copied"
        );
        fixtures::push_parts(&mut window, 2 * fixtures::PART, &[fixtures::PART; 4], true);
        assert_eq!(begins(&window, 14), (14, false));
    }

    #[test]
    fn a_gap_follows_in_time() {
        let plain = Plain::parse(&text()).unwrap();
        let gap = plain.segments[3].gap_after(Seconds5::of_millis(1500));
        assert_eq!(gap.duration.to_string(), "1.50000");
        assert_eq!(
            gap.program_date_time.to_string(),
            "2026-10-01T10:00:08.666Z"
        );
        assert_eq!(gap.until().to_string(), "2026-10-01T10:00:10.166Z");
        assert!(gap.is_gap && !gap.discontinuity);
    }

    #[test]
    fn names_the_line_that_is_not_of_ours() {
        let cases = [
            ("#EXTINF:2.00000,live\n", "", "no EXTINF"),
            ("#EXTINF:2.00000", "#EXTINF:2", "EXTINF is not readable"),
            ("1044.m4s", "1045.m4s", "a segment's name is not its number"),
            (
                "1044.m4s",
                "../1044.m4s",
                "a segment's name is not its number",
            ),
            (
                "init-7f3a09bc.mp4",
                "x",
                "EXT-X-MAP names no initialization section",
            ),
            ("#EXT-X-MAP:", "#", "no EXT-X-MAP"),
            ("10:00:04.000Z", "noon", "a date is not readable"),
            ("#EXT-X-TARGETDURATION:2", "#", "no EXT-X-TARGETDURATION"),
            ("#EXT-X-MEDIA-SEQUENCE:1043", "#", "no EXT-X-MEDIA-SEQUENCE"),
            (
                "#EXT-X-DISCONTINUITY-SEQUENCE:0",
                "#",
                "no EXT-X-DISCONTINUITY-SEQUENCE",
            ),
        ];
        for (from, to, problem) in cases {
            let changed = text().replacen(from, to, 1);
            let error = Plain::parse(&changed).unwrap_err();
            assert_eq!(error.problem, problem, "{changed}");
            assert!(error.line > 0);
        }
        assert_eq!(Plain::parse("").unwrap_err().problem, "no segment");
        let unknown = text().replacen("#EXTM3U", "#EXTM3U\n#EXT-X-FUTURE:1\n\n", 1);
        assert_eq!(Plain::parse(&unknown), Plain::parse(&text()));
    }

    #[test]
    fn a_window_that_lists_nothing_has_no_text_to_read() {
        let window = Window::new(&Config::default(), 7);
        assert_eq!(window.snapshot().mirror_playlist(0..=100), None);
    }
}
