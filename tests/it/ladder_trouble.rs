//! Ladders when something is not as it should be: a machine that is too slow, a source that stops to
//! keep to its segments. And what of a ladder is listed for whom, and left in the store.

use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::Value;

use super::support::clips::{clip, frame_count};
use super::support::ladder::scene::{Frames, Scene, Source, play, recording, scene};
use super::support::ladder::{Ladder, Rendition, Variant, variants, watch};
use super::support::mirror::{ended_mirror, entries, rendition_folders};
use super::support::publisher::Publisher;
use super::support::server::{Channel, TestServer};
use super::support::viewer::{MediaPlaylist, Watched, follow, get};
use super::support::{MACHINE, eventually, within};

/// How many times as fast as real time the overload is sent: no processor's core encodes 480p with the
/// preset `slow` so fast.
const SPEED: u32 = 8;
/// Clips of eight seconds that are sent so: it is over before a rung may come back.
const CLIPS: u32 = 11;
/// The folder of the rung that is shed first.
const EXPENSIVE: &str = "480p30";

/// The renditions that events of this name tell of.
async fn rendition_events(overload: &Overload, name: &str) -> Vec<String> {
    let events = overload.server.events(&overload.channel).await;
    let named = events.iter().filter(|event| event["event_name"] == name);
    let rendition = |event: &Value| event["rendition"].as_str().unwrap().to_owned();
    named.map(rendition).collect()
}

fn folder(variant: &Variant) -> &str {
    variant.url.path_segments().unwrap().rev().nth(1).unwrap()
}

fn in_folder<'a>(ladder: &'a Ladder, name: &str) -> &'a Rendition {
    let mut renditions = ladder.renditions.iter();
    let found = renditions.find(|rendition| folder(&rendition.variant) == name);
    found.unwrap_or_else(|| panic!("{name} is not among {:?}", ladder.names()))
}

async fn status(variant: &Variant, uri: &str) -> StatusCode {
    get(variant.url.join(uri).unwrap()).await.status()
}

/// What was seen of an overload.
struct Overload {
    server: TestServer,
    channel: Channel,
    ladder: Ladder,
    /// Folders of the renditions that were shed first.
    shed: Vec<String>,
    /// The multivariant playlist of that moment.
    listed: Vec<Variant>,
}

/// Plays a stream that no machine keeps up with, to its end.
async fn overload() -> Overload {
    let _alone = MACHINE.write().await;
    let server = TestServer::start_with(&[
        ("WEIR__TRANSCODE__PRESET", "slow"),
        ("WEIR__TRANSCODE__MAX_LAG_MS", "200"),
        // At this speed the source is thirteen megabits a second.
        ("WEIR__LIVE__ENFORCE_LIMITS", "false"),
        // The window flies by as fast as the source is sent.
        ("WEIR__HLS__WINDOW_SECONDS", "120"),
    ])
    .await;
    let channel = server
        .new_channel_with("overload", &["--type", "STANDARD"])
        .await;
    let path = clip("ladder_720p30.flv");
    let publisher = Publisher::hurrying(&path, &channel.ingest_url, CLIPS, SPEED);
    let while_shed = async {
        let names = eventually(60, "shed rendition", || async {
            let names = server.shed(&channel).await;
            names.filter(|names| !names.is_empty())
        })
        .await;
        (names, variants(&channel.playback_url).await)
    };
    let all = async { tokio::join!(watch(&channel.playback_url), publisher.ended(), while_shed) };
    let (ladder, words, (shed, listed)) = within(120, "end of the overload", all).await;
    assert_eq!(words, "");
    Overload {
        server,
        channel,
        ladder,
        shed,
        listed,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_machine_sheds_renditions_and_never_the_source() {
    let overload = overload().await;
    let heights = overload.listed.iter().map(|v| v.resolution().unwrap().1);
    let mut heights: Vec<_> = heights.collect();
    heights.sort_unstable();
    assert_eq!(heights, [160, 360, 480, 720], "all are listed");
    let shed = &overload.shed;
    assert!(shed.contains(&EXPENSIVE.to_owned()), "not {shed:?}");
    assert!(overload.server.metric("weir_rungs_shed_total").await > 0.0);
    let log = overload.server.log();
    assert!(log.contains("overload: a rendition is shed"), "{log}");
    let told = rendition_events(&overload, "Rendition Shed").await;
    assert!(told.contains(&EXPENSIVE.to_owned()), "not {told:?}");

    let ladder = &overload.ladder;
    ladder.check_numbers();
    let Rendition { variant, watched } = in_folder(ladder, EXPENSIVE);
    assert!(!watched.gaps.is_empty(), "no EXT-X-GAP");
    for (msn, _, uri) in &watched.last.segments {
        let wanted = if watched.last.gaps.contains(msn) {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::OK
        };
        assert_eq!(status(variant, uri).await, wanted, "{uri}");
    }
    let source = &in_folder(ladder, "source").watched;
    assert!(source.gaps.is_empty());
    assert!(source.parts.values().all(|(part, _)| !part.is_gap));
    let numbers: Vec<u64> = source.segments.keys().copied().collect();
    let expected = numbers[0]..=*numbers.last().unwrap();
    assert_eq!(numbers, expected.collect::<Vec<_>>());
    let played: f64 = source.segments.values().sum();
    let sent = f64::from(8 * CLIPS);
    assert!((played - sent).abs() < 1.0, "{played} s of {sent} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shed_is_a_gap_although_there_is_sound() {
    let overload = overload().await;
    let Rendition { variant, watched } = in_folder(&overload.ladder, EXPENSIVE);
    let last = &watched.last;
    let (newest, ..) = last.segments.last().unwrap();
    assert!(
        last.gaps.contains(newest),
        "{newest} is not in {:?}",
        last.gaps
    );
    for part in &last.parts {
        assert!(part.is_gap, "{part:?}");
        let answer = status(variant, &part.uri).await;
        assert_eq!(answer, StatusCode::NOT_FOUND, "{}", part.uri);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_gops_become_too_long_is_transcoded_from_there_on() {
    let server = TestServer::start().await;
    let source = recording("ladder_360p30.flv")
        .gops(2)
        .then(recording("longgop_360p30.flv"));
    let scene = Scene {
        discontinuities: 1,
        ..scene("switch", Source::Edited(source), &[360, 160], Frames::All)
    };
    let ladder = play(&server, &scene).await;
    let source = in_folder(&ladder, "source");
    let breaks = &source.watched.discontinuities;
    for rendition in &ladder.renditions {
        assert_eq!(rendition.watched.discontinuities, *breaks);
    }
    let decoded = source.decode();
    assert_eq!(decoded.files.len(), 2);
    // The clip is High; what is encoded here is Main.
    assert_eq!(decoded.property("video", "profile").unwrap(), "Main");
    let log = server.log();
    assert!(log.contains("the top quality is transcoded"), "{log}");
    assert!(
        !log.contains("the transcoder did not finish in time"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_is_listed_by_the_channels_type_or_on_request() {
    let server = TestServer::start().await;
    // (type, heights without the request; 0 is sound alone)
    for (kind, plain) in [
        ("STANDARD", &[360, 160][..]),
        ("ADVANCED_HD", &[360, 160, 0]),
        ("ADVANCED_SD", &[360, 160, 0]),
    ] {
        let channel = server.new_channel_with(kind, &["--type", kind]).await;
        let publisher = Publisher::looping(&clip("ladder_360p30.flv"), &channel.ingest_url);
        let requested = format!("{}?allow_audio_only=true", channel.playback_url);
        let refused = format!("{}?allow_audio_only=false", channel.playback_url);
        for (url, wanted) in [
            (&channel.playback_url, plain),
            (&refused, plain),
            (&requested, &[360, 160, 0]),
        ] {
            let listed = variants(url).await;
            let height = |variant: &Variant| variant.resolution().map_or(0, |(_, height)| height);
            let mut heights: Vec<u32> = listed.iter().map(height).collect();
            heights.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(heights, wanted, "{kind}: {url}");
            let Some(sound) = listed.iter().find(|v| v.resolution().is_none()) else {
                continue;
            };
            assert_eq!(folder(sound), "audio_only", "{kind}");
            let has_segment = |watched: &Watched| !watched.segments.is_empty();
            let watched = within(30, "segment of sound", follow(&sound.url, has_segment)).await;
            assert!(watched.gaps.is_empty(), "{kind}: {:?}", watched.gaps);
        }
        publisher.kill().await;
    }
}

/// Decodes all of it; what ffmpeg complains of.
fn complaints(playlist: &Path) -> String {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-xerror", "-i"])
        .arg(playlist)
        .args(["-map", "0", "-f", "null", "-"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        words
    } else {
        format!("{}: {words}", output.status)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_renditions_of_a_ladder_play_from_the_store() {
    let server = TestServer::start().await;
    let channel = server
        .new_channel_with("mirror", &["--type", "STANDARD"])
        .await;
    let path = clip("ladder_360p30.flv");
    let _shared = MACHINE.read().await;
    let publisher = Publisher::once(&path, &channel.ingest_url);
    let both = async { tokio::join!(watch(&channel.playback_url), publisher.ended()) };
    let (ladder, words) = within(60, "end of the stream", both).await;
    assert_eq!(words, "");
    let mirror = ended_mirror(&server.data.path().join("data/storage")).await;
    let epoch = mirror.parent().unwrap();

    let folders = rendition_folders(epoch);
    let names: Vec<&str> = folders.iter().map(|path| name_of(path)).collect();
    assert_eq!(names, ["160p30", "audio_only", "source"]);
    let (_, multivariant) =
        m3u8_rs::parse_master_playlist(&std::fs::read(&mirror).unwrap()).unwrap();
    let mut uris: Vec<_> = multivariant
        .variants
        .iter()
        .map(|v| v.uri.clone())
        .collect();
    uris.sort_unstable();
    let expected: Vec<_> = names
        .iter()
        .map(|name| format!("{name}/live.m3u8"))
        .collect();
    assert_eq!(uris, expected);
    assert_eq!(complaints(&mirror), "");

    let sent: Vec<u64> = in_folder(&ladder, "source")
        .watched
        .segments
        .keys()
        .copied()
        .collect();
    for folder in &folders {
        let playlist = folder.join("live.m3u8");
        let list = MediaPlaylist::parse(&std::fs::read_to_string(&playlist).unwrap());
        let mut files: Vec<String> = list.segments.iter().map(|(.., uri)| uri.clone()).collect();
        assert_eq!(
            list.segments
                .iter()
                .map(|(msn, ..)| *msn)
                .collect::<Vec<_>>(),
            sent
        );
        assert_eq!(
            (list.gaps.len(), list.maps.len()),
            (0, 1),
            "{}",
            folder.display()
        );
        files.extend([list.maps[0].1.clone(), "live.m3u8".to_owned()]);
        files.sort_unstable();
        let there = entries(folder);
        let stored: Vec<&str> = there.iter().map(|path| name_of(path)).collect();
        assert_eq!(stored, files, "{}", folder.display());
        assert_eq!(complaints(&playlist), "");
        if name_of(folder) != "audio_only" {
            assert_eq!(
                frame_count(&playlist),
                frame_count(&path),
                "{}",
                folder.display()
            );
        }
    }
}

fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}
