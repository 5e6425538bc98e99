//! FLV tag bodies, legacy and Enhanced RTMP: what one audio or video message carries.
//!
//! In:  the body of an RTMP audio or video message. Out: a [`VideoTag`] or [`AudioTag`] that shares
//! its memory. Codecs that are not taken are named; of a multitrack message each track is read.
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
    /// Several tracks, or one that is not the first.
    Multitrack {
        /// What the first track, number 0, says in it.
        first: Option<Box<Self>>,
        /// The others, each with its number and what it says.
        others: Vec<(u8, Self)>,
    },
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
    /// Several tracks, or one that is not the first: what the first, number 0, says in it.
    Multitrack(Option<Box<Self>>),
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
        ExPacket::Single(packet) => packet.video(),
        ExPacket::Tracks { first, others } => Ok(VideoTag::Multitrack {
            first: first.map(Unit::video).transpose()?.map(Box::new),
            others: others
                .into_iter()
                .map(|(number, unit)| Ok((number, unit.video()?)))
                .collect::<Result<_, _>>()?,
        }),
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
            ExPacket::Single(packet) => Ok(packet.audio()),
            ExPacket::Tracks { first, .. } => {
                let first = first.map(|packet| Box::new(packet.audio()));
                Ok(AudioTag::Multitrack(first))
            }
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
    Single(Unit),
    /// The packet of track 0, and those of the others with their numbers.
    Tracks {
        first: Option<Unit>,
        others: Vec<(u8, Unit)>,
    },
}

/// What one track says.
struct Unit {
    packet_type: u8,
    four_cc: [u8; 4],
    body: Bytes,
}

impl Unit {
    fn video(self) -> Result<VideoTag, Malformed> {
        if self.packet_type == VIDEO_METADATA {
            return Ok(VideoTag::Nothing);
        }
        let kind = match &self.four_cc {
            b"avc1" => VideoKind::Avc,
            b"hvc1" => VideoKind::Hevc,
            b"av01" => VideoKind::Av1,
            b"vp09" => VideoKind::Vp9,
            _ => return Ok(VideoTag::Unsupported(four_cc_name(self.four_cc))),
        };
        video_packet(kind, self.packet_type, self.body)
    }

    fn audio(self) -> AudioTag {
        let kind = match &self.four_cc {
            b"mp4a" => AudioKind::Aac,
            b"Opus" => AudioKind::Opus,
            b"fLaC" => AudioKind::Flac,
            b".mp3" => AudioKind::Mp3,
            _ => return AudioTag::Unannounced(four_cc_name(self.four_cc)),
        };
        audio_packet(kind, self.packet_type, self.body)
    }
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
        t if t == multitrack_type => multitrack(rest),
        _ => Ok(ExPacket::Single(Unit {
            packet_type,
            four_cc: four_cc(&mut rest)?,
            body: rest,
        })),
    }
}

/// Walks the tracks of a multitrack packet; what nests in one is not looked at.
fn multitrack(mut rest: Bytes) -> Result<ExPacket, Malformed> {
    const ONE_TRACK: u8 = 0;
    const MANY_CODECS: u8 = 2;
    let types = rest.try_get_u8().map_err(|_| Malformed)?;
    let (multitrack_type, packet_type) = (types >> 4, types & 15);
    if multitrack_type > MANY_CODECS {
        return Err(Malformed);
    }
    let mut codec = [0; 4];
    if multitrack_type != MANY_CODECS {
        codec = four_cc(&mut rest)?;
    }
    let (mut first, mut others) = (None, Vec::new());
    for _ in 0..MAX_TRACKS {
        if multitrack_type == MANY_CODECS {
            codec = four_cc(&mut rest)?;
        }
        let track = rest.try_get_u8().map_err(|_| Malformed)?;
        let mut size = rest.len();
        if multitrack_type != ONE_TRACK {
            size =
                usize::try_from(rest.try_get_uint(3).map_err(|_| Malformed)?).unwrap_or(usize::MAX);
        }
        if rest.len() < size {
            return Err(Malformed);
        }
        let unit = Unit {
            packet_type,
            four_cc: codec,
            body: rest.split_to(size),
        };
        match track {
            0 => first = Some(unit),
            number => others.push((number, unit)),
        }
        if rest.is_empty() {
            break;
        }
    }
    Ok(ExPacket::Tracks { first, others })
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
mod tests;
