//! MP4 files as the messages of an encoder that speaks Enhanced RTMP: what ffmpeg sends from 6.1 and 8.0 on, and OBS.
//!
//! Packets are where ffprobe says, configurations in their boxes. Timestamps are rounded to milliseconds, as FLV's are.

use std::path::Path;
use std::process::Command;

use super::flv::{Recording, Tag, kind};

/// The box of a configuration, and the name of its codec in FLV.
const VIDEO: [([u8; 4], &[u8; 4]); 4] = [
    (*b"avcC", b"avc1"),
    (*b"hvcC", b"hvc1"),
    (*b"av1C", b"av01"),
    (*b"vpcC", b"vp09"),
];

/// A packet of a file.
struct Packet<'a> {
    is_video: bool,
    pts_ms: f64,
    dts_ms: f64,
    is_key: bool,
    data: &'a [u8],
}

/// The file as an encoder would send it: configurations first, then everything at its time.
pub(crate) fn recording(path: &Path) -> Recording {
    let file = std::fs::read(path).unwrap();
    let packets = packets(path, &file);
    let first = packets.iter().map(|packet| packet.dts_ms);
    let first = first.fold(f64::INFINITY, f64::min);
    let (record, four_cc) = VIDEO
        .iter()
        .find_map(|(name, four_cc)| Some((content(&file, *name)?, *four_cc)))
        .unwrap();
    let (sound_config, sound_four_cc) = sound(&file);
    let at = |ms: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "milliseconds of a clip"
        )]
        let ms = (ms - first).round() as u32;
        ms
    };
    let tag = |kind, at_ms, body| Tag {
        kind,
        at_ms,
        send_ms: at_ms,
        body,
    };
    let mut tags = vec![tag(
        kind::VIDEO,
        0,
        [b"\x90", &four_cc[..], record].concat(),
    )];
    if let Some(config) = sound_config {
        tags.push(tag(
            kind::AUDIO,
            0,
            [b"\x90", &sound_four_cc[..], &config].concat(),
        ));
    }
    let has_composition = matches!(four_cc, b"avc1" | b"hvc1");
    for packet in packets {
        let at_ms = at(packet.dts_ms);
        let Packet { data, is_key, .. } = packet;
        if !packet.is_video {
            tags.push(tag(
                kind::AUDIO,
                at_ms,
                [b"\x91", &sound_four_cc[..], data].concat(),
            ));
            continue;
        }
        let composition = (at(packet.pts_ms) - at_ms).to_be_bytes();
        // Without a composition time there is a type that leaves it out.
        let is_short = has_composition && composition == [0; 4];
        let head = [if is_key { 0x90 } else { 0xa0 } | if is_short { 3 } else { 1 }];
        let composition = &composition[if has_composition && !is_short { 1 } else { 4 }..];
        tags.push(tag(
            kind::VIDEO,
            at_ms,
            [&head, &four_cc[..], composition, data].concat(),
        ));
    }
    tags.sort_by_key(|tag| tag.at_ms);
    Recording { tags }
}

fn packets<'a>(path: &Path, file: &'a [u8]) -> Vec<Packet<'a>> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-show_entries"])
        .arg("packet=codec_type,pts_time,dts_time,size,pos,flags")
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let read = |line: &str| {
        let fields: Vec<_> = line.split(',').collect();
        let ms = |at: usize| fields[at].parse::<f64>().unwrap() * 1000.0;
        let (size, at): (usize, usize) = (fields[3].parse().unwrap(), fields[4].parse().unwrap());
        Packet {
            is_video: fields[0] == "video",
            pts_ms: ms(1),
            dts_ms: ms(2),
            is_key: fields[5].starts_with('K'),
            data: &file[at..at + size],
        }
    };
    // A packet may have a line more, for what stands beside it.
    let lines = text.lines().filter(|line| line.split(',').count() >= 6);
    lines.map(read).collect()
}

/// The sound's configuration as FLV has it, none for MP3, and the name of its codec there.
fn sound(file: &[u8]) -> (Option<Vec<u8>>, &'static [u8; 4]) {
    if let Some(opus) = content(file, *b"dOps") {
        // The same fields as `OpusHead`, with the other end first.
        let [_, channels, skip @ .., family] = opus else {
            panic!("{opus:x?}");
        };
        let (skip, rest) = skip.split_at(2);
        let (rate, gain) = rest.split_at(4);
        let backwards = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<_>>();
        let head = [
            &b"OpusHead\x01"[..],
            &[*channels],
            &backwards(skip),
            &backwards(rate),
            &backwards(gain),
            &[*family],
        ];
        return (Some(head.concat()), b"Opus");
    }
    if let Some(flac) = content(file, *b"dfLa") {
        return (Some([b"fLaC", &flac[4..]].concat()), b"fLaC");
    }
    let stream = content(file, *b"esds").unwrap();
    // `objectTypeIndication` behind the head of the decoder's descriptor.
    let decoder = stream
        .windows(4)
        .position(|w| w == b"\x04\x80\x80\x80")
        .unwrap();
    if stream[decoder + 5] != 0x40 {
        return (None, b".mp3");
    }
    let config = stream
        .windows(4)
        .position(|w| w == b"\x05\x80\x80\x80")
        .unwrap();
    let len = usize::from(stream[config + 4]);
    (Some(stream[config + 5..][..len].to_vec()), b"mp4a")
}

/// The content of the box of this kind that describes samples.
fn content(file: &[u8], name: [u8; 4]) -> Option<&[u8]> {
    let moov = file.windows(4).rposition(|w| w == b"moov")?;
    let at = moov + file[moov..].windows(4).position(|w| *w == name)?;
    let size = u32::from_be_bytes(file[at - 4..at].try_into().unwrap());
    Some(&file[at + 4..at - 4 + usize::try_from(size).unwrap()])
}
