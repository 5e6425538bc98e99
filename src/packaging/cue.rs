//! Timed metadata: an ID3 tag at a media time, in the two forms of `emsg` that players know.
//!
//! In:  words, and when they are shown. Out: boxes that stand before a part's `moof`.
//! Not here: which part they go into (`packager`), who says what (`live`).
//! Read: ISO/IEC 23009-1 §5.10.3.3 for `emsg`, the AOM's "Carriage of ID3 Timed Metadata in CMAF", id3v2.4.0 for tags.
//!
//! Amazon's player reads version 0 with its own scheme and ignores the other, all others read version 1.

use std::collections::VecDeque;

use mp4_atom::{Emsg, EmsgTimestamp, Encode as _};

use super::segmenter::Span;
use crate::base::clock::WallTime;
use crate::media::Timescale;

/// Most bytes of a text, as Amazon IVS has it.
pub const MAX_TEXT_BYTES: usize = 1024;

/// What Amazon's player reads.
const IVS_SCHEME: &str = "urn:twitch:id3";
/// What all other players read.
const AOM_SCHEME: &str = "https://aomedia.org/emsg/ID3";
/// ID3v2.4.0 without flags.
const TAG_HEADER: &[u8] = b"ID3\x04\x00\x00";
/// Marks texts as UTF-8.
const UTF8: u8 = 3;
/// Most cues that wait for their part; the oldest are lost first. A channel's owner has five a second.
const MAX_CUES: usize = 64;
/// A cue is not told later than this, ten seconds: a rendition that had gaps for long would tell all of them at once.
const MAX_LATE: i64 = 900_000;
/// Ids of words begin here; those of clocks are below.
const FIRST_TEXT_ID: u32 = 1 << 31;

/// Who says a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Whoever owns the channel, by `PutMetadata`.
    Owner,
    /// The encoder, in its stream.
    Publisher,
}

impl Author {
    /// The owner of the private frame, as Amazon IVS has it.
    fn frame_owner(self) -> &'static str {
        match self {
            Self::Owner => "metadata.live-video.net",
            Self::Publisher => "inband.metadata.live-video.net",
        }
    }
}

/// Metadata at a moment of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cue {
    /// Video decoding time in 90 kHz ticks: it goes into the part which that is in.
    pub at: i64,
    /// When it is shown.
    shown: i64,
    /// Tells it from the stream's other cues, in all renditions alike.
    id: u32,
    tag: Vec<u8>,
}

impl Cue {
    /// The `number`th text of the stream, shown `shift` ticks behind its decoding time `at`.
    pub fn text(at: i64, shift: i64, number: u32, author: Author, text: &str) -> Self {
        let content = [author.frame_owner().as_bytes(), b"\0", text.as_bytes()].concat();
        Self {
            at,
            shown: at.saturating_add(shift),
            id: FIRST_TEXT_ID | number,
            tag: id3(*b"PRIV", &content),
        }
    }

    /// What the wall clock said at a segment's start, from which Amazon's player reads how late it is.
    pub(super) fn clock(shown: i64, clock: WallTime) -> Self {
        let value = format!(r#"{{"cmd":"ld_lat_data","transc_r":{}}}"#, clock.0);
        let content = [&[UTF8], b"segmentmetadata\0".as_slice(), value.as_bytes()].concat();
        let millis = Timescale::VIDEO.convert(shown, Timescale::MILLIS);
        Self {
            at: shown,
            shown,
            id: u32::try_from(millis.rem_euclid(FIRST_TEXT_ID.into())).unwrap_or(0),
            tag: id3(*b"TXXX", &content),
        }
    }

    /// Both boxes, for a part that is shown from `part` on: no cue is shown before it. Amazon's player (1.56.1) counts from
    /// the start of the fragment that it has read last: `read` is the one before in the same segment, or else `part`.
    pub(super) fn write(&self, part: i64, read: i64, out: &mut Vec<u8>) {
        let shown = self.shown.max(part);
        let ticks = |ticks: i64| u64::try_from(ticks).unwrap_or(0);
        let relative = u32::try_from(shown - read).unwrap_or(0);
        for (scheme, time) in [
            (IVS_SCHEME, EmsgTimestamp::Relative(relative)),
            (AOM_SCHEME, EmsgTimestamp::Absolute(ticks(shown))),
        ] {
            let message = Emsg {
                timescale: Timescale::VIDEO.hz(),
                presentation_time: time,
                event_duration: 0,
                id: self.id,
                scheme_id_uri: scheme.to_owned(),
                value: String::new(),
                message_data: self.tag.clone(),
            };
            message.encode(out).expect("the box is far below 4 GiB");
        }
    }
}

/// What is still to be said in a timeline.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// What the wall clock said when the first part began, if segments are to tell.
    clock: Option<WallTime>,
    /// In the order of their times.
    cues: VecDeque<Cue>,
    /// When the part before is shown; 0 before the first.
    last: i64,
}

impl Said {
    pub(super) fn set_clock(&mut self, at: WallTime) {
        self.clock = Some(at);
    }

    pub(super) fn push(&mut self, cue: Cue) {
        if self.cues.len() == MAX_CUES {
            self.cues.pop_front();
        }
        self.cues.push_back(cue);
    }

    /// The boxes for the part of `span`, shown `shift` ticks later, in a timeline that began at `origin`.
    pub(super) fn before(&mut self, span: &Span, origin: i64, shift: i64) -> Vec<u8> {
        let (mut boxes, shown) = (Vec::new(), span.start.saturating_add(shift));
        let before = std::mem::replace(&mut self.last, shown);
        let read = if span.opens_segment { shown } else { before };
        if let Some(clock) = self.clock.filter(|_| span.opens_segment) {
            let since = Timescale::VIDEO.convert(span.start - origin, Timescale::MILLIS);
            Cue::clock(shown, clock.plus_millis(since)).write(shown, read, &mut boxes);
        }
        while let Some(cue) = self.cues.pop_front_if(|cue| cue.at < span.end) {
            if cue.at >= span.start.saturating_sub(MAX_LATE) {
                cue.write(shown, read, &mut boxes);
            }
        }
        boxes
    }
}

/// A tag of one frame.
fn id3(frame: [u8; 4], content: &[u8]) -> Vec<u8> {
    let frame = [&frame[..], &synchsafe(content.len()), b"\0\0", content].concat();
    [TAG_HEADER, &synchsafe(frame.len()), &frame].concat()
}

/// Seven bits in each byte: §6.2.
fn synchsafe(size: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|bits| u8::try_from((size >> bits) & 0x7f).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use mp4_atom::Decode as _;

    use super::*;

    fn written(cue: &Cue, part: i64, read: i64) -> [Emsg; 2] {
        let mut out = Vec::new();
        cue.write(part, read, &mut out);
        let mut rest = &out[..];
        let boxes = [(); 2].map(|()| Emsg::decode(&mut rest).unwrap());
        assert!(rest.is_empty(), "two boxes");
        boxes
    }

    #[test]
    fn words_are_a_private_frame_in_both_forms() {
        let cue = Cue::text(93_000, 6_000, 7, Author::Owner, "{\"question\":\"ä\"}");
        let [ivs, aom] = written(&cue, 90_000, 60_000);
        assert_eq!(ivs.scheme_id_uri, "urn:twitch:id3");
        assert_eq!(ivs.presentation_time, EmsgTimestamp::Relative(39_000));
        assert_eq!(aom.scheme_id_uri, "https://aomedia.org/emsg/ID3");
        assert_eq!(aom.presentation_time, EmsgTimestamp::Absolute(99_000));
        assert_eq!(
            (ivs.timescale, ivs.id, ivs.id),
            (90_000, 0x8000_0007, aom.id)
        );
        let frame = b"PRIV\0\0\0\x29\0\0metadata.live-video.net\0{\"question\":\"\xc3\xa4\"}";
        let tag = [b"ID3\x04\0\0\0\0\0\x33", &frame[..]].concat();
        assert_eq!((&ivs.message_data, &aom.message_data), (&tag, &tag));
        let inband = Cue::text(0, 0, 0, Author::Publisher, "x");
        let owner = b"\0\0inband.metadata.live-video.net\0x";
        assert!(inband.tag.ends_with(owner));
    }

    #[test]
    fn long_texts_have_sizes_of_seven_bits_a_byte() {
        let cue = Cue::text(0, 0, 0, Author::Owner, &"a".repeat(1024));
        // 24 bytes of owner; 1048 = 8 * 128 + 24.
        assert_eq!(&cue.tag[14..18], &[0, 0, 8, 24]);
        assert_eq!(&cue.tag[6..10], &[0, 0, 8, 34]);
        assert_eq!(synchsafe((1 << 28) - 1), [0x7f; 4]);
    }

    #[test]
    fn a_clock_is_the_text_that_amazons_player_reads() {
        let cue = Cue::clock(180_000, WallTime(1_790_848_800_000));
        assert_eq!(cue.id, 2000);
        let content = b"\x03segmentmetadata\0{\"cmd\":\"ld_lat_data\",\"transc_r\":1790848800000}";
        assert_eq!(&cue.tag[10..14], b"TXXX");
        assert!(cue.tag.ends_with(content));
    }

    #[test]
    fn what_comes_too_late_for_its_part_is_shown_with_the_next() {
        let cue = Cue::text(1_000, 0, 0, Author::Owner, "x");
        let [ivs, aom] = written(&cue, 30_000, 30_000);
        assert_eq!(ivs.presentation_time, EmsgTimestamp::Relative(0));
        assert_eq!(aom.presentation_time, EmsgTimestamp::Absolute(30_000));
    }

    /// When each cue before a part's media is shown by all players, and by Amazon's.
    fn times(boxes: &[u8]) -> Vec<(u64, u32)> {
        let (mut rest, mut times) = (boxes, Vec::new());
        while let (Ok(ivs), Ok(aom)) = (Emsg::decode(&mut rest), Emsg::decode(&mut rest)) {
            let (EmsgTimestamp::Relative(delta), EmsgTimestamp::Absolute(time)) =
                (ivs.presentation_time, aom.presentation_time)
            else {
                panic!("the two forms")
            };
            times.push((time, delta));
        }
        times
    }

    #[test]
    fn segments_begin_with_a_clock_and_texts_go_into_their_part() {
        let mut said = Said::default();
        let part = |said: &mut Said, start, opens_segment| {
            let span = Span {
                start,
                end: start + 30_000,
                opens_segment,
                closes_segment: false,
            };
            times(&said.before(&span, 90_000, 6_000))
        };
        assert_eq!(part(&mut said, 90_000, true), [], "no clock yet");
        said.set_clock(WallTime(1_000));
        said.push(Cue::text(121_000, 6_000, 0, Author::Owner, "a"));
        said.push(Cue::text(150_000, 6_000, 1, Author::Owner, "b"));
        assert_eq!(part(&mut said, 120_000, false), [(127_000, 31_000)]);
        let opening = part(&mut said, 150_000, true);
        assert_eq!(opening, [(156_000, 0), (156_000, 0)], "a clock, and b");
        for number in 0..70 {
            said.push(Cue::text(180_000, 6_000, number, Author::Owner, "c"));
        }
        assert_eq!(part(&mut said, 180_000, false).len(), MAX_CUES);
        assert_eq!(part(&mut said, 210_000, false), []);
        // Behind gaps: what is ten seconds old is told, what is older is not.
        for (number, at) in [240_000, 300_000].into_iter().enumerate() {
            let number = u32::try_from(number).unwrap();
            said.push(Cue::text(at, 6_000, 70 + number, Author::Owner, "d"));
        }
        let late = part(&mut said, 300_000 + MAX_LATE, false);
        assert_eq!(late.len(), 1, "{late:?}");
    }
}
