//! FLV tag bodies, legacy and Enhanced RTMP: what one audio or video message carries.
//!
//! In:  the body of an RTMP audio or video message. Out: a [`VideoTag`] or [`AudioTag`] that shares
//! its memory. H.264 and AAC are taken apart, other codecs and multitrack are named.
//! Not here: state between messages (`demux`), timestamps (`timeline`), the codec's own bytes
//! (`media::codec`).
//! Read: Adobe FLV 10.1 annex E.4, Veovera Enhanced RTMP v2 "Enhanced Audio" and "Enhanced Video".

use bytes::{Buf, Bytes};

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
    /// H.264: an `avcC` record.
    Config(Bytes),
    /// H.264: a length-prefixed access unit.
    Frame {
        /// Composition time in milliseconds; may be negative.
        composition_ms: i32,
        /// The access unit.
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
    /// AAC: an `AudioSpecificConfig`.
    Config(Bytes),
    /// AAC: one raw frame.
    Frame(Bytes),
    /// A codec or form that is not carried, by its name.
    Unsupported(String),
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
            7 => legacy_avc(rest),
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
        } if &four_cc == b"avc1" => avc_packet(packet_type, body),
        ExPacket::Single { four_cc, .. } => Ok(VideoTag::Unsupported(four_cc_name(four_cc))),
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
            Ok(0) => Ok(some(rest, AudioTag::Config, AudioTag::Nothing)),
            Ok(1) => Ok(some(rest, AudioTag::Frame, AudioTag::Nothing)),
            Ok(_) => Err(Malformed),
        },
        9 => match ex_packet(rest, first & 15, AUDIO_MULTITRACK)? {
            ExPacket::Tracks(words) => {
                Ok(AudioTag::Unsupported(format!("multitrack audio ({words})")))
            }
            ExPacket::Single {
                packet_type,
                four_cc,
                body,
            } if &four_cc == b"mp4a" => Ok(match packet_type {
                0 => some(body, AudioTag::Config, AudioTag::Nothing),
                1 => some(body, AudioTag::Frame, AudioTag::Nothing),
                _ => AudioTag::Nothing,
            }),
            ExPacket::Single { four_cc, .. } => Ok(AudioTag::Unsupported(four_cc_name(four_cc))),
        },
        format => Ok(AudioTag::Unsupported(legacy_audio_name(format))),
    }
}

/// `full` of a body that has bytes, else `empty`.
fn some<T>(body: Bytes, full: impl FnOnce(Bytes) -> T, empty: T) -> T {
    if body.is_empty() { empty } else { full(body) }
}

/// AVCVIDEOPACKET: the legacy packet types mean the same as the enhanced ones with avc1.
fn legacy_avc(mut rest: Bytes) -> Result<VideoTag, Malformed> {
    let Ok(packet_type) = rest.try_get_u8() else {
        return Ok(VideoTag::Nothing);
    };
    match packet_type {
        0 => {
            rest.try_get_int(3).map_err(|_| Malformed)?;
            Ok(some(rest, VideoTag::Config, VideoTag::Nothing))
        }
        1 | 2 => avc_packet(packet_type, rest),
        _ => Err(Malformed),
    }
}

fn avc_packet(packet_type: u8, mut body: Bytes) -> Result<VideoTag, Malformed> {
    let composition_ms = match packet_type {
        0 => return Ok(some(body, VideoTag::Config, VideoTag::Nothing)),
        1 if body.is_empty() => return Ok(VideoTag::Nothing),
        1 => body
            .try_get_int(3)
            .ok()
            .and_then(|v| i32::try_from(v).ok())
            .ok_or(Malformed)?,
        2 => return Ok(VideoTag::SequenceEnd),
        3 => 0,
        _ => return Ok(VideoTag::Nothing),
    };
    let frame = |data| VideoTag::Frame {
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
        // Outside the standard, but sent by encoders in China.
        12 => "HEVC".to_owned(),
        13 => "AV1".to_owned(),
        other => format!("video codec {other}"),
    }
}

fn legacy_audio_name(format: u8) -> String {
    match format {
        0 | 3 => "PCM".to_owned(),
        1 => "ADPCM".to_owned(),
        2 | 14 => "MP3".to_owned(),
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
        let config = VideoTag::Config(Bytes::from_static(b"avcC"));
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
        let config = AudioTag::Config(Bytes::from_static(b"\x11\x90"));
        let unit = AudioTag::Frame(Bytes::from_static(b"raw"));
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
    fn names_what_is_not_carried() {
        let cases: [(&[u8], &str); 9] = [
            (b"\x90hvc1hvcC", "HEVC"),
            (b"\x91av01obu", "AV1"),
            (b"\x90vp09", "VP9"),
            (b"\x90vp08", "VP8"),
            (b"\x9c\x00zz\x00", "codec \"\\x00zz\\x00\""),
            (b"\x1c\x00\x00\x00\x00", "HEVC"),
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
        let cases: [(&[u8], &str); 8] = [
            (b"\x90Opus", "Opus"),
            (b"\x91fLaCx", "FLAC"),
            (b"\x90ac-3", "AC-3"),
            (b"\x90ec-3", "E-AC-3"),
            (b"\x91.mp3x", "MP3"),
            (b"\x2fmp3", "MP3"),
            (b"\xb2", "Speex"),
            (
                b"\x95\x10mp4a\x00\x00\x00\x01x\x01\x00\x00\x00",
                "multitrack audio (track 0 AAC, track 1 AAC)",
            ),
        ];
        for (bytes, name) in cases {
            assert_eq!(audio(bytes), Ok(no_audio(name)), "{}", bytes.escape_ascii());
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
