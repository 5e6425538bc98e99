//! FLV tag bodies, legacy and Enhanced RTMP: what one audio or video message carries.
//!
//! In:  the body of an RTMP audio or video message. Out: a [`VideoTag`] or [`AudioTag`] that shares
//! its memory. Codecs that are not taken, and multitrack, are named.
//! Not here: state between messages (`demux`), timestamps (`timeline`), the codec's own bytes
//! (`media::codec`).
//! Read: Adobe FLV 10.1 annex E.4, Veovera Enhanced RTMP v2 "Enhanced Audio" and "Enhanced Video".

use bytes::{Buf, Bytes};

use crate::media::codec::{AudioKind, VideoKind};

/// Most `ModEx` prefixes of one packet.
const MAX_MOD_EX: usize = 8;
/// Most tracks of one multitrack packet that are looked at.
const MAX_TRACKS: usize = 8;

/// Frame type whose body is a command instead of a picture.
const COMMAND_FRAME: u8 = 5;
/// Packet type of AMF about colours and the like.
const VIDEO_METADATA: u8 = 4;
const VIDEO_MULTITRACK: u8 = 6;
const AUDIO_MULTITRACK: u8 = 5;
/// Packet type of a prefix, audio and video alike.
const MOD_EX: u8 = 7;

/// What a video message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoTag {
    /// Nothing to decode: commands, metadata, empty units.
    Nothing,
    /// A configuration record.
    Config(VideoKind, Bytes),
    /// An access unit.
    Frame {
        /// Of which codec.
        kind: VideoKind,
        /// Composition time in milliseconds; may be negative.
        composition_ms: i32,
        /// The access unit: length-prefixed NAL units, OBUs or a superframe.
        data: Bytes,
    },
    /// The encoder ends the sequence: it is about to stop.
    SequenceEnd,
    /// A codec or form that is not carried, by its name.
    Unsupported(String),
}

/// What an audio message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioTag {
    /// Nothing to decode.
    Nothing,
    /// A configuration; Opus may do with an empty one.
    Config(AudioKind, Bytes),
    /// One frame.
    Frame(AudioKind, Bytes),
    /// A codec or form that is not carried, by its name: the stream goes on without.
    Unsupported(String),
    /// A codec of Enhanced RTMP that was not among those that `connect` was answered with, by its name.
    Unannounced(String),
}

/// A body that ends inside its own structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("FLV tag is cut short or contradicts itself")]
pub struct Malformed;

/// Reads a video message. An empty one is no data, which is legal.
pub fn parse_video(body: &Bytes) -> Result<VideoTag, Malformed> {
    let mut rest = body.clone();
    let Ok(first) = rest.try_get_u8() else {
        return Ok(VideoTag::Nothing);
    };
    if first >> 4 & 7 == COMMAND_FRAME {
        return Ok(VideoTag::Nothing);
    }
    if first & 0x80 == 0 {
        return match first & 15 {
            7 => legacy_video(VideoKind::Avc, rest),
            // Outside the standard, but sent by encoders in China, in the form of H.264.
            12 => legacy_video(VideoKind::Hevc, rest),
            codec => Ok(VideoTag::Unsupported(legacy_video_name(codec))),
        };
    }
    match ex_packet(rest, first & 15, VIDEO_MULTITRACK)? {
        ExPacket::Tracks(words) => Ok(VideoTag::Unsupported(format!("multitrack video ({words})"))),
        ExPacket::Single {
            packet_type: VIDEO_METADATA,
            ..
        } => Ok(VideoTag::Nothing),
        ExPacket::Single {
            packet_type,
            four_cc,
            body,
        } => match &four_cc {
            b"avc1" => video_packet(VideoKind::Avc, packet_type, body),
            b"hvc1" => video_packet(VideoKind::Hevc, packet_type, body),
            b"av01" => video_packet(VideoKind::Av1, packet_type, body),
            b"vp09" => video_packet(VideoKind::Vp9, packet_type, body),
            _ => Ok(VideoTag::Unsupported(four_cc_name(four_cc))),
        },
    }
}

/// Reads an audio message.
pub fn parse_audio(body: &Bytes) -> Result<AudioTag, Malformed> {
    let mut rest = body.clone();
    let Ok(first) = rest.try_get_u8() else {
        return Ok(AudioTag::Nothing);
    };
    match first >> 4 {
        10 => match rest.try_get_u8() {
            Err(_) => Ok(AudioTag::Nothing),
            Ok(packet_type @ (0 | 1)) => Ok(audio_packet(AudioKind::Aac, packet_type, rest)),
            Ok(_) => Err(Malformed),
        },
        2 | 14 => Ok(audio_packet(AudioKind::Mp3, 1, rest)),
        9 => match ex_packet(rest, first & 15, AUDIO_MULTITRACK)? {
            ExPacket::Tracks(words) => {
                Ok(AudioTag::Unsupported(format!("multitrack audio ({words})")))
            }
            ExPacket::Single {
                packet_type,
                four_cc,
                body,
            } => Ok(match &four_cc {
                b"mp4a" => audio_packet(AudioKind::Aac, packet_type, body),
                b"Opus" => audio_packet(AudioKind::Opus, packet_type, body),
                b"fLaC" => audio_packet(AudioKind::Flac, packet_type, body),
                b".mp3" => audio_packet(AudioKind::Mp3, packet_type, body),
                _ => AudioTag::Unannounced(four_cc_name(four_cc)),
            }),
        },
        format => Ok(AudioTag::Unsupported(legacy_audio_name(format))),
    }
}

/// The body of an enhanced audio packet; the legacy ones of AAC mean the same.
fn audio_packet(kind: AudioKind, packet_type: u8, body: Bytes) -> AudioTag {
    match packet_type {
        // MP3 has none, and a frame says more than whatever this is.
        0 if kind == AudioKind::Mp3 => AudioTag::Nothing,
        0 if kind == AudioKind::Opus => AudioTag::Config(kind, body),
        0 => some(body, |body| AudioTag::Config(kind, body), AudioTag::Nothing),
        1 => some(body, |body| AudioTag::Frame(kind, body), AudioTag::Nothing),
        _ => AudioTag::Nothing,
    }
}

/// `full` of a body that has bytes, else `empty`.
fn some<T>(body: Bytes, full: impl FnOnce(Bytes) -> T, empty: T) -> T {
    if body.is_empty() { empty } else { full(body) }
}

/// AVCVIDEOPACKET: the legacy packet types mean the same as the enhanced ones with avc1.
fn legacy_video(kind: VideoKind, mut rest: Bytes) -> Result<VideoTag, Malformed> {
    let Ok(packet_type) = rest.try_get_u8() else {
        return Ok(VideoTag::Nothing);
    };
    match packet_type {
        0 => {
            rest.try_get_int(3).map_err(|_| Malformed)?;
            video_packet(kind, packet_type, rest)
        }
        1 | 2 => video_packet(kind, packet_type, rest),
        _ => Err(Malformed),
    }
}

fn video_packet(kind: VideoKind, packet_type: u8, mut body: Bytes) -> Result<VideoTag, Malformed> {
    let is_reordered = matches!(kind, VideoKind::Avc | VideoKind::Hevc);
    let composition_ms = match packet_type {
        0 => {
            return Ok(some(
                body,
                |body| VideoTag::Config(kind, body),
                VideoTag::Nothing,
            ));
        }
        1 if body.is_empty() => return Ok(VideoTag::Nothing),
        1 if is_reordered => body
            .try_get_int(3)
            .ok()
            .and_then(|v| i32::try_from(v).ok())
            .ok_or(Malformed)?,
        1 | 3 => 0,
        2 => return Ok(VideoTag::SequenceEnd),
        _ => return Ok(VideoTag::Nothing),
    };
    let frame = |data| VideoTag::Frame {
        kind,
        composition_ms,
        data,
    };
    Ok(some(body, frame, VideoTag::Nothing))
}

/// An enhanced packet after its `ModEx` prefixes.
enum ExPacket {
    Single {
        packet_type: u8,
        four_cc: [u8; 4],
        body: Bytes,
    },
    /// Multitrack, in words.
    Tracks(String),
}

/// Skips `ModEx` prefixes and reads the `FourCC`.
fn ex_packet(
    mut rest: Bytes,
    mut packet_type: u8,
    multitrack_type: u8,
) -> Result<ExPacket, Malformed> {
    for _ in 0..MAX_MOD_EX {
        if packet_type != MOD_EX {
            break;
        }
        let mut size = usize::from(rest.try_get_u8().map_err(|_| Malformed)?).saturating_add(1);
        if size == 256 {
            size = usize::from(rest.try_get_u16().map_err(|_| Malformed)?).saturating_add(1);
        }
        if rest.len() < size {
            return Err(Malformed);
        }
        rest.advance(size);
        packet_type = rest.try_get_u8().map_err(|_| Malformed)? & 15;
    }
    match packet_type {
        MOD_EX => Err(Malformed),
        t if t == multitrack_type => multitrack(rest).map(ExPacket::Tracks),
        _ => Ok(ExPacket::Single {
            packet_type,
            four_cc: four_cc(&mut rest)?,
            body: rest,
        }),
    }
}

/// Walks the tracks of a multitrack packet without looking into them: nothing nests.
fn multitrack(mut rest: Bytes) -> Result<String, Malformed> {
    const ONE_TRACK: u8 = 0;
    const MANY_CODECS: u8 = 2;
    let multitrack_type = rest.try_get_u8().map_err(|_| Malformed)? >> 4;
    let mut codec = [0; 4];
    if multitrack_type != MANY_CODECS {
        codec = four_cc(&mut rest)?;
    }
    let mut names: Vec<String> = Vec::new();
    while !rest.is_empty() && names.len() < MAX_TRACKS {
        if multitrack_type == MANY_CODECS {
            codec = four_cc(&mut rest)?;
        }
        let track = rest.try_get_u8().map_err(|_| Malformed)?;
        names.push(format!("track {track} {}", four_cc_name(codec)));
        if multitrack_type == ONE_TRACK {
            break;
        }
        let size =
            usize::try_from(rest.try_get_uint(3).map_err(|_| Malformed)?).unwrap_or(usize::MAX);
        if rest.len() < size {
            return Err(Malformed);
        }
        rest.advance(size);
    }
    Ok(names.join(", "))
}

fn four_cc(rest: &mut Bytes) -> Result<[u8; 4], Malformed> {
    rest.try_get_u32()
        .map(u32::to_be_bytes)
        .map_err(|_| Malformed)
}

fn four_cc_name(four_cc: [u8; 4]) -> String {
    match &four_cc {
        b"avc1" => "H.264".to_owned(),
        b"hvc1" => "HEVC".to_owned(),
        b"vvc1" => "VVC".to_owned(),
        b"av01" => "AV1".to_owned(),
        b"vp08" => "VP8".to_owned(),
        b"vp09" => "VP9".to_owned(),
        b"mp4a" => "AAC".to_owned(),
        b".mp3" => "MP3".to_owned(),
        b"Opus" => "Opus".to_owned(),
        b"fLaC" => "FLAC".to_owned(),
        b"ac-3" => "AC-3".to_owned(),
        b"ec-3" => "E-AC-3".to_owned(),
        other => format!("codec \"{}\"", other.escape_ascii()),
    }
}

fn legacy_video_name(codec: u8) -> String {
    match codec {
        2 => "Sorenson H.263".to_owned(),
        3 | 6 => "Screen video".to_owned(),
        4 | 5 => "VP6".to_owned(),
        // Outside the standard, too, and in more than one form.
        13 => "AV1".to_owned(),
        other => format!("video codec {other}"),
    }
}

fn legacy_audio_name(format: u8) -> String {
    match format {
        0 | 3 => "PCM".to_owned(),
        1 => "ADPCM".to_owned(),
        4..=6 => "Nellymoser".to_owned(),
        7 | 8 => "G.711".to_owned(),
        11 => "Speex".to_owned(),
        other => format!("audio codec {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(bytes: &[u8]) -> Result<VideoTag, Malformed> {
        parse_video(&Bytes::copy_from_slice(bytes))
    }

    fn audio(bytes: &[u8]) -> Result<AudioTag, Malformed> {
        parse_audio(&Bytes::copy_from_slice(bytes))
    }

    fn frame(composition_ms: i32, data: &'static [u8]) -> VideoTag {
        VideoTag::Frame {
            kind: VideoKind::Avc,
            composition_ms,
            data: Bytes::from_static(data),
        }
    }

    fn no_video(name: &str) -> VideoTag {
        VideoTag::Unsupported(name.to_owned())
    }

    fn no_audio(name: &str) -> AudioTag {
        AudioTag::Unsupported(name.to_owned())
    }

    #[test]
    fn reads_h264_in_both_forms() {
        let config = VideoTag::Config(VideoKind::Avc, Bytes::from_static(b"avcC"));
        let cases: [(&[u8], VideoTag); 15] = [
            (b"\x17\x00\x00\x00\x00avcC", config.clone()),
            (b"\x17\x01\x00\x00\x42unit", frame(66, b"unit")),
            (b"\x27\x01\xff\xff\xfeunit", frame(-2, b"unit")),
            (b"\x17\x02\x00\x00\x00", VideoTag::SequenceEnd),
            (b"\x90avc1avcC", config),
            (b"\x91avc1\x00\x00\x21unit", frame(33, b"unit")),
            (b"\xa3avc1unit", frame(0, b"unit")),
            (b"\x92avc1", VideoTag::SequenceEnd),
            (b"\x94avc1amf", VideoTag::Nothing),
            (b"", VideoTag::Nothing),
            (b"\x17", VideoTag::Nothing),
            (b"\x17\x01\x00\x00\x00", VideoTag::Nothing),
            (b"\x17\x00\x00\x00\x00", VideoTag::Nothing),
            (b"\x57\x00", VideoTag::Nothing),
            (b"\xd1\x00", VideoTag::Nothing),
        ];
        for (bytes, tag) in cases {
            assert_eq!(video(bytes), Ok(tag), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn reads_aac_in_both_forms() {
        let config = AudioTag::Config(AudioKind::Aac, Bytes::from_static(b"\x11\x90"));
        let unit = AudioTag::Frame(AudioKind::Aac, Bytes::from_static(b"raw"));
        let cases: [(&[u8], AudioTag); 8] = [
            (b"\xaf\x00\x11\x90", config.clone()),
            (b"\xaf\x01raw", unit.clone()),
            (b"\x90mp4a\x11\x90", config),
            (b"\x91mp4araw", unit),
            (b"\x94mp4a\x00\x02", AudioTag::Nothing),
            (b"", AudioTag::Nothing),
            (b"\xaf", AudioTag::Nothing),
            (b"\xaf\x01", AudioTag::Nothing),
        ];
        for (bytes, tag) in cases {
            assert_eq!(audio(bytes), Ok(tag), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn reads_the_other_codecs() {
        let of = |kind, composition_ms, data| VideoTag::Frame {
            kind,
            composition_ms,
            data: Bytes::from_static(data),
        };
        let config = |kind, record| VideoTag::Config(kind, Bytes::from_static(record));
        let cases: [(&[u8], VideoTag); 9] = [
            (b"\x90hvc1hvcC", config(VideoKind::Hevc, b"hvcC")),
            (
                b"\xa1hvc1\x00\x00\x21unit",
                of(VideoKind::Hevc, 33, b"unit"),
            ),
            (b"\xa3hvc1unit", of(VideoKind::Hevc, 0, b"unit")),
            (
                b"\x1c\x00\x00\x00\x00hvcC",
                config(VideoKind::Hevc, b"hvcC"),
            ),
            (
                b"\x2c\x01\x00\x00\x21unit",
                of(VideoKind::Hevc, 33, b"unit"),
            ),
            (b"\x90av01av1C", config(VideoKind::Av1, b"av1C")),
            // No composition time in these.
            (
                b"\x91av01\x00\x00\x21obu",
                of(VideoKind::Av1, 0, b"\0\0\x21obu"),
            ),
            (b"\x91vp09frame", of(VideoKind::Vp9, 0, b"frame")),
            (b"\x92vp09", VideoTag::SequenceEnd),
        ];
        for (bytes, tag) in cases {
            assert_eq!(video(bytes), Ok(tag), "{}", bytes.escape_ascii());
        }
        let frame = |kind| AudioTag::Frame(kind, Bytes::from_static(b"unit"));
        let config = |kind, bytes| AudioTag::Config(kind, Bytes::from_static(bytes));
        let cases: [(&[u8], AudioTag); 8] = [
            (b"\x90OpusHead", config(AudioKind::Opus, b"Head")),
            (b"\x90Opus", config(AudioKind::Opus, b"")),
            (b"\x91Opusunit", frame(AudioKind::Opus)),
            (b"\x90fLaCfLaC", config(AudioKind::Flac, b"fLaC")),
            (b"\x91fLaCunit", frame(AudioKind::Flac)),
            (b"\x91.mp3unit", frame(AudioKind::Mp3)),
            (b"\x90.mp3any", AudioTag::Nothing),
            (b"\x2funit", frame(AudioKind::Mp3)),
        ];
        for (bytes, tag) in cases {
            assert_eq!(audio(bytes), Ok(tag), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn names_what_is_not_carried() {
        let cases: [(&[u8], &str); 7] = [
            (b"\x90vvc1vvcC", "VVC"),
            (b"\x90vp08", "VP8"),
            (b"\x9c\x00zz\x00", "codec \"\\x00zz\\x00\""),
            (b"\x1d\x00\x00\x00\x00", "AV1"),
            (b"\x22", "Sorenson H.263"),
            (b"\x96\x00avc1\x01rest", "multitrack video (track 1 H.264)"),
            (
                b"\x96\x20avc1\x00\x00\x00\x02xxhvc1\x01\x00\x00\x01x",
                "multitrack video (track 0 H.264, track 1 HEVC)",
            ),
        ];
        for (bytes, name) in cases {
            assert_eq!(video(bytes), Ok(no_video(name)), "{}", bytes.escape_ascii());
        }
        let cases: [(&[u8], AudioTag); 5] = [
            (b"\x90ac-3", AudioTag::Unannounced("AC-3".to_owned())),
            (b"\x91ec-3x", AudioTag::Unannounced("E-AC-3".to_owned())),
            (b"\xb2", no_audio("Speex")),
            (b"\x82", no_audio("G.711")),
            (
                b"\x95\x10mp4a\x00\x00\x00\x01x\x01\x00\x00\x00",
                no_audio("multitrack audio (track 0 AAC, track 1 AAC)"),
            ),
        ];
        for (bytes, tag) in cases {
            assert_eq!(audio(bytes), Ok(tag), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn skips_mod_ex_prefixes_within_bounds() {
        assert_eq!(
            video(b"\x97\x02\x00\x00\x01\x01avc1\x00\x00\x00u"),
            Ok(frame(0, b"u"))
        );
        let long = [b"\x97\xff\x01\x00".as_slice(), &[0; 257], b"\x03avc1u"].concat();
        assert_eq!(video(&long), Ok(frame(0, b"u")));
        let mod_ex = |n: usize| {
            [
                b"\x97".as_slice(),
                &b"\x00\x00\x07".repeat(n - 1),
                b"\x00\x00\x03avc1u",
            ]
            .concat()
        };
        assert_eq!(video(&mod_ex(MAX_MOD_EX)), Ok(frame(0, b"u")));
        assert_eq!(video(&mod_ex(MAX_MOD_EX + 1)), Err(Malformed));
        // A multitrack packet inside a multitrack packet is only walked over.
        assert_eq!(
            video(b"\x96\x06avc1\x00\x96\x06avc1\x00"),
            Ok(no_video("multitrack video (track 0 H.264)"))
        );
    }

    #[test]
    fn refuses_cut_bodies() {
        let cases: [&[u8]; 9] = [
            b"\x17\x00\x00",
            b"\x17\x01\x00",
            b"\x17\x09\x00\x00\x00x",
            b"\x90avc",
            b"\x97",
            b"\x97\x05abc",
            b"\x91avc1\x00\x00",
            b"\x96\x10avc1\x00\x00\x00\x09short",
            b"\x97\xff\xff",
        ];
        for bytes in cases {
            assert_eq!(video(bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
        assert_eq!(audio(b"\xaf\x02x"), Err(Malformed));
        assert_eq!(audio(b"\x90mp"), Err(Malformed));
    }

    proptest::proptest! {
        #[test]
        fn survives_any_bytes(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), first: u8) {
            for _ in 0..2 {
                drop(video(&bytes));
                drop(audio(&bytes));
                bytes.insert(0, first | 0x90);
            }
        }
    }
}
