//! The reference origin's bytes: two clips, looped and cut once per process, altered as a defect wants.
//!
//! In:  `fps30.flv` and `fps30_480p.flv`: 30 fps, GOPs of 2 s, 8 s long. Out: gapless parts of 1/3 s, six a segment.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use weir::media::codec::{aac, avc};
use weir::media::{AudioTrack, Sample, TrackKind, Tracks, VideoTrack};
use weir::packaging::{self, Packager, Part};

use super::super::clips::clip;
use super::super::flv::{Recording, kind};
use super::{Defect, Origin};

/// Parts in a segment.
pub(super) const PARTS: usize = 6;
pub(super) const SEGMENT_MS: u64 = 2_000;
/// How often the clips are repeated: 64 s.
const LOOPS: i64 = 8;
const PICTURES: i64 = 240;
/// 8 s at 48 kHz are so many AAC frames exactly.
const SOUNDS: i64 = 375;
/// The first part whose timestamps jump: in the window's future when an origin starts.
const JUMP_AT: usize = 17 * PARTS;

struct Rendition {
    init: Bytes,
    codecs: String,
    parts: Vec<Part>,
}

fn renditions() -> &'static [Rendition; 2] {
    static MADE: OnceLock<[Rendition; 2]> = OnceLock::new();
    MADE.get_or_init(|| ["fps30.flv", "fps30_480p.flv"].map(|name| cut(&clip(name))))
}

/// Parts there are.
pub(super) fn part_count() -> usize {
    renditions()[0].parts.len()
}

/// What CODECS has to say of a rendition.
pub(super) fn codecs(rendition: usize) -> &'static str {
    &renditions()[rendition].codecs
}

/// When a part ends, in media time.
pub(super) fn end_ms(index: usize) -> u64 {
    u64::try_from(index + 1).unwrap() * SEGMENT_MS / PARTS as u64
}

/// A part as it was cut.
pub(super) fn part(rendition: usize, index: usize) -> Bytes {
    renditions()[rendition].parts[index].bytes.clone()
}

pub(super) fn is_independent(rendition: usize, index: usize) -> bool {
    renditions()[rendition].parts[index].is_independent
}

fn cut(path: &Path) -> Rendition {
    let recording = Recording::read(path);
    let (mut video, mut audio) = (None, None);
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    for tag in recording.tags {
        let body = Bytes::from(tag.body);
        match (tag.kind, body[1]) {
            (kind::VIDEO, 0) => video = Some(avc::parse(&body.slice(5..)).unwrap()),
            (kind::VIDEO, 1) => {
                let ms = i32::from_be_bytes([body[2], body[3], body[4], 0]) >> 8;
                // Milliseconds are rounded; pictures come each 3000 ticks.
                let frames = (ms * 30 + 500).div_euclid(1000);
                pictures.push((frames * 3_000, body[0] >> 4 == 1, body.slice(5..)));
            }
            (kind::AUDIO, 0) => audio = Some(aac::Config::parse(&body.slice(2..)).unwrap()),
            (kind::AUDIO, 1) => sounds.push(body.slice(2..)),
            _ => {}
        }
    }
    let tracks = Tracks {
        video: video.map(|config| VideoTrack {
            config: Arc::new(config),
        }),
        audio: audio.map(|config| AudioTrack {
            config: Arc::new(config),
        }),
    };
    let codecs = tracks.codecs();
    let mut packager = Packager::new(&packaging::Config::default(), tracks).unwrap();
    let mut parts = Vec::new();
    for sample in looped(&pictures, &sounds) {
        packager.push(sample).unwrap();
        parts.extend(std::iter::from_fn(|| packager.poll()));
    }
    // The last segment is not whole.
    parts.truncate(parts.len() / PARTS * PARTS);
    for (index, part) in parts.iter().enumerate() {
        assert_eq!(part.opens_segment, index % PARTS == 0, "{part:?}");
    }
    let init = packager.init().bytes.clone();
    Rendition {
        init,
        codecs,
        parts,
    }
}

fn looped(pictures: &[(i32, bool, Bytes)], sounds: &[Bytes]) -> Vec<Sample> {
    assert_eq!(i64::try_from(pictures.len()).unwrap(), PICTURES);
    let mut samples = Vec::new();
    for round in 0..LOOPS {
        for (n, (offset, is_sync, data)) in (0..).zip(pictures) {
            samples.push(Sample {
                track: TrackKind::Video,
                dts: (round * PICTURES + n) * 3_000,
                composition_offset: *offset,
                is_sync: *is_sync,
                data: data.clone(),
            });
        }
        for (n, data) in (0..SOUNDS).zip(sounds.iter().cycle()) {
            samples.push(Sample {
                track: TrackKind::Audio,
                dts: (round * SOUNDS + n) * 1_024,
                composition_offset: 0,
                is_sync: true,
                data: data.clone(),
            });
        }
    }
    samples.sort_by_key(|sample| match sample.track {
        TrackKind::Video => sample.dts * 8,
        TrackKind::Audio => sample.dts * 15,
    });
    samples
}

impl Origin {
    pub(super) fn init(&self, rendition: usize) -> Bytes {
        let mut bytes = renditions()[rendition].init.to_vec();
        if self.is(Defect::InitChanges) && self.elapsed_ms() > 3_000 {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }
        Bytes::from(bytes)
    }

    /// A part as this origin serves it, alone and within its segment.
    pub(super) fn altered_part(&self, rendition: usize, index: usize) -> Bytes {
        let whole = part(rendition, index);
        let mut bytes = whole.to_vec();
        match self.defect {
            Some(Defect::PartNotWhole) if index % PARTS == 2 => bytes.truncate(whole.len() * 2 / 3),
            Some(Defect::NoTfdt) => replace(&mut bytes, *b"tfdt", *b"free"),
            Some(Defect::NotAligned) if rendition == 1 => shift(&mut bytes, 700),
            Some(Defect::TimelinesApart) if rendition == 1 => shift(&mut bytes, 3_600_000),
            Some(Defect::TfdtGap) if index >= JUMP_AT => shift(&mut bytes, 100),
            Some(Defect::GapMissesTimeline) if index >= super::playlist::NEXT * PARTS => {
                shift(&mut bytes, 1_000);
            }
            Some(Defect::TfdtJump) if index >= JUMP_AT => shift(&mut bytes, 5_000),
            Some(Defect::SegmentWithoutIdr) if index.is_multiple_of(PARTS) => break_idr(&mut bytes),
            _ => return whole,
        }
        Bytes::from(bytes)
    }
}

fn replace(bytes: &mut [u8], from: [u8; 4], to: [u8; 4]) {
    let places = (0..bytes.len() - 4).filter(|at| bytes[*at..*at + 4] == from[..]);
    for at in places.collect::<Vec<_>>() {
        bytes[at..at + 4].copy_from_slice(&to);
    }
}

/// Moves both tracks' decoding times: video counts 90 kHz, sound 48 kHz.
fn shift(bytes: &mut [u8], ms: u64) {
    let end = bytes.windows(4).position(|name| name == b"mdat").unwrap();
    let places = (0..end).filter(|at| bytes[*at..*at + 4] == b"tfdt"[..]);
    for (at, per_ms) in std::iter::zip(places.collect::<Vec<_>>(), [90, 48]) {
        let is_wide = bytes[at + 4] == 1;
        let field = if is_wide {
            at + 8..at + 16
        } else {
            at + 8..at + 12
        };
        let old = bytes[field.clone()]
            .iter()
            .fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let new = (old + ms * per_ms).to_be_bytes();
        let width = field.len();
        bytes[field].copy_from_slice(&new[8 - width..]);
    }
}

/// Makes the slices of the first picture those of no IDR picture.
fn break_idr(bytes: &mut [u8]) {
    let mut at = bytes.windows(4).position(|name| name == b"mdat").unwrap() + 4;
    while bytes[at + 4] & 31 != 5 {
        let length = bytes[at..at + 4]
            .iter()
            .fold(0usize, |n, byte| n << 8 | usize::from(*byte));
        at += 4 + length;
    }
    bytes[at + 4] = bytes[at + 4] & !31 | 1;
}
