//! A real clip, cut into parts, and judged by FFmpeg: the same packets, the same pictures.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;

use super::tests::package;
use super::*;
use crate::media::codec::avc;
use crate::media::{AudioTrack, VideoTrack};

/// A clip's tracks and samples, in the order of the file.
struct Clip {
    tracks: Tracks,
    samples: Vec<Sample>,
}

/// Walks FLV tags: enough for what FFmpeg writes here.
fn read_flv(bytes: &Bytes) -> Clip {
    let (mut video, mut audio, mut samples) = (None, None, Vec::new());
    let mut audio_dts = None;
    let mut at = 9 + 4;
    while at < bytes.len() {
        let tag = &bytes[at..at + 11];
        let size = usize::try_from(u32::from_be_bytes([0, tag[1], tag[2], tag[3]])).unwrap();
        let ms = i64::from(u32::from_be_bytes([tag[7], tag[4], tag[5], tag[6]]));
        let body = bytes.slice(at + 11..at + 11 + size);
        match (tag[0], body.get(1)) {
            (9, Some(0)) => video = Some(avc::parse(&body.slice(5..)).unwrap()),
            (9, Some(1)) => samples.push(Sample {
                track: TrackKind::Video,
                dts: ms * 90,
                composition_offset: (i32::from_be_bytes([body[2], body[3], body[4], 0]) >> 8) * 90,
                is_sync: body[0] >> 4 == 1,
                data: body.slice(5..),
            }),
            (8, Some(0)) => audio = Some(aac::Config::parse(&body.slice(2..)).unwrap()),
            (8, Some(1)) => {
                let rate = i64::from(audio.as_ref().unwrap().sample_rate);
                let dts = audio_dts.unwrap_or(ms * rate / 1000);
                audio_dts = Some(dts + aac::SAMPLES_PER_FRAME);
                samples.push(Sample {
                    track: TrackKind::Audio,
                    dts,
                    composition_offset: 0,
                    is_sync: true,
                    data: body.slice(2..),
                });
            }
            _ => {}
        }
        at += 11 + size + 4;
    }
    let config = Arc::new(video.unwrap());
    let audio = audio.map(|config| AudioTrack {
        config: Arc::new(config),
    });
    let tracks = Tracks {
        video: Some(VideoTrack { config }),
        audio,
    };
    Clip { tracks, samples }
}

/// Runs `program` with `arguments`, in which FILE stands for `file`, and returns what it prints;
/// it must succeed and complain of nothing.
fn run(program: &str, arguments: &str, file: &Path) -> String {
    let mut command = Command::new(program);
    for argument in arguments.split_whitespace() {
        match argument {
            "FILE" => command.arg(file),
            other => command.arg(other),
        };
    }
    let output = command.output().expect("FFmpeg is installed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaints}");
    assert_eq!(complaints, "", "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A digest per stream of its packets, and one of its decoded frames.
fn digests(file: &Path) -> [String; 2] {
    ["-c copy", ""].map(|copy| {
        let arguments = format!("-v error -nostdin -xerror -i FILE {copy} -f streamhash -");
        run("ffmpeg", &arguments, file)
    })
}

fn count_frames(file: &Path) -> usize {
    let count = "-v error -select_streams v -count_frames -show_entries stream=nb_read_frames \
                 -of csv=p=0 FILE";
    run("ffprobe", count, file).trim().parse().unwrap()
}

/// Encodes two GOPs and a half at `rate`, packages them and compares.
fn check(rate: &str, gop: i64, encoder: &str, audio: &str) {
    let folder = tempfile::tempdir().unwrap();
    let flv = folder.path().join("clip.flv");
    let count = gop * 5 / 2;
    let encode = format!(
        "-v error -nostdin -f lavfi -i testsrc2=size=160x90:rate={rate} {audio} -c:v libx264 \
         -preset veryfast -g {gop} {encoder} -t 5 -c:a aac -f flv FILE"
    );
    run("ffmpeg", &encode, &flv);

    let clip = read_flv(&Bytes::from(std::fs::read(&flv).unwrap()));
    let is_video = |s: &&Sample| s.track == TrackKind::Video;
    let pictures = clip.samples.iter().filter(is_video).count();
    assert_eq!(i64::try_from(pictures), Ok(count));
    let mut packager = Packager::new(&Config::default(), clip.tracks).unwrap();
    let parts = package(&mut packager, clip.samples);

    let write = |name: &str, parts: &[Part]| {
        let file = folder.path().join(name);
        let mut bytes = packager.init().bytes.to_vec();
        for part in parts {
            bytes.extend(&part.bytes);
        }
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let mp4 = write("clip.mp4", &parts);
    assert_eq!(count_frames(&mp4), pictures);
    assert_eq!(digests(&mp4), digests(&flv));

    // Each segment can be decoded alone.
    let segments: Vec<_> = parts.split_inclusive(|p| p.closes_segment).collect();
    assert_eq!(segments.len(), 3);
    let alone = segments
        .iter()
        .map(|parts| count_frames(&write("segment.mp4", parts)));
    assert_eq!(alone.sum::<usize>(), pictures);
}

#[test]
fn ffmpeg_reads_back_every_packet_and_picture() {
    let tone = "-f lavfi -i sine=sample_rate=48000";
    check("25", 50, "-bf 2", tone);
}

#[test]
fn ffmpeg_reads_back_ntsc_video_without_sound() {
    check("30000/1001", 60, "-bf 0", "");
}

#[test]
fn ffmpeg_reads_back_a_slow_stream_with_b_pyramids_and_odd_sound() {
    let tone = "-f lavfi -i sine=sample_rate=22050";
    check(
        "10",
        20,
        "-bf 3 -b_strategy 0 -x264-params b-pyramid=normal",
        tone,
    );
}
