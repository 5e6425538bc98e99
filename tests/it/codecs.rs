//! What Enhanced RTMP adds: every codec that is taken becomes a ladder of H.264 and AAC, and HEVC and AV1 stand beside
//! it as they are.

use super::check_stream::{checked, musts};
use super::players::{number, script};
use super::support::clips::clip;
use super::support::enhanced;
use super::support::flv::{Recording, kind};
use super::support::fragments;
use super::support::ladder::scene::{Frames, Scene, Source, play_all, scene};
use super::support::ladder::{Ladder, Rendition, watch};
use super::support::rtmp_client::Publisher;
use super::support::server::TestServer;
use super::support::viewer::media_playlist_url;
use super::support::{MACHINE, within};

/// Sound and picture may be this far apart (EBU R37 allows 40 ms of early sound).
const MAX_OFFSET_MS: f64 = 40.0;

fn file(name: &str) -> Source {
    Source::Edited(enhanced::recording(&clip(name)))
}

/// What each rendition with pictures says its picture is.
fn kinds(ladder: &Ladder) -> Vec<String> {
    let pictures = ladder.renditions.iter();
    let pictures = pictures.filter(|rendition| rendition.variant.resolution().is_some());
    let kind = |rendition: &Rendition| {
        let codecs = rendition.variant.codecs();
        format!("{} {}", rendition.variant.name, &codecs[..4])
    };
    let mut kinds: Vec<_> = pictures.map(kind).collect();
    kinds.sort();
    kinds
}

fn check_sync(ladder: &Ladder) {
    for rendition in &ladder.renditions {
        if rendition.variant.resolution().is_some() {
            let worst = rendition.decode().worst_offset_ms(&(0.0..0.0));
            let name = &rendition.variant.name;
            assert!(worst <= MAX_OFFSET_MS, "{name}: {worst:.0} ms");
        }
    }
}

/// Plays clips; which renditions there are is told as name and codec.
async fn play(scenes: &[Scene], expected: &[&[&str]]) {
    let ladders = play_all(scenes).await;
    for ((scene, ladder), expected) in scenes.iter().zip(&ladders).zip(expected) {
        assert_eq!(kinds(ladder), *expected, "{}", scene.name);
        check_sync(ladder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hevc_and_av1_stand_beside_a_ladder_of_h264() {
    let heights = &[360, 360, 160];
    let scenes = [
        scene("hevc-aac", file("hevc_aac.mp4"), heights, Frames::All),
        scene("av1-opus", file("av1_opus.mp4"), heights, Frames::All),
        Scene {
            options: &["--type", "BASIC"],
            ..scene("basic", file("hevc_aac.mp4"), &[360, 360], Frames::All)
        },
    ];
    play(
        &scenes,
        &[
            &["160p30 avc1", "360p30 avc1", "360p30-hevc hvc1"],
            &["160p30 avc1", "360p30 avc1", "360p30-av1 av01"],
            &["360p30 avc1", "360p30-hevc hvc1"],
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_passed_on_is_a_ladder_of_h264() {
    let heights = &[360, 160];
    let scenes = [
        scene("vp9-flac", file("vp9_flac.mp4"), heights, Frames::All),
        // GOPs of ten seconds, and open ones.
        scene("hevc-mp3", file("hevc_mp3.mp4"), heights, Frames::All),
        scene("hevc-open", file("hevc_open.mp4"), heights, Frames::All),
        // H.264 in the enhanced form is passed on, with sound that has to be encoded.
        scene("avc-opus", file("avc_opus.mp4"), heights, Frames::All),
        Scene {
            options: &["--type", "ADVANCED_HD"],
            ..scene(
                "advanced",
                file("hevc_aac.mp4"),
                &[360, 160, 0],
                Frames::All,
            )
        },
    ];
    let all = &["160p30 avc1", "360p30 avc1"][..];
    play(&scenes, &[all; 5]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_nothing_that_must_not_be() {
    let server = TestServer::start().await;
    for name in ["hevc_aac", "av1_opus"] {
        let channel = server.new_channel_with(name, &["--type", "STANDARD"]).await;
        let recording = enhanced::recording(&clip(&format!("{name}.mp4")));
        let recording = recording.clone().then(recording);
        let publisher = Publisher::connect(server.rtmp, "app", &channel.stream_key).await;
        let check = async {
            media_playlist_url(&channel.playback_url).await;
            checked(&channel.playback_url, 10).await
        };
        let both = async { tokio::join!(recording.publish(publisher.unwrap()), check) };
        let (published, report) = Box::pin(within(60, "end of the check", both)).await;
        published.unwrap();
        assert!(musts(&report).is_empty(), "{report}");
        let beside = report
            .renditions
            .iter()
            .filter(|followed| followed.parts > 20);
        assert!(beside.count() >= 3, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_finds_what_it_can_play() {
    let _shared = MACHINE.read().await;
    let server = TestServer::start().await;
    let channel = server
        .new_channel_with("browser", &["--type", "STANDARD"])
        .await;
    let recording = enhanced::recording(&clip("hevc_aac.mp4"));
    let recording = recording.clone().then(recording);
    let publisher = Publisher::connect(server.rtmp, "app", &channel.stream_key).await;
    let watch = async {
        media_playlist_url(&channel.playback_url).await;
        let options = ["--url", &channel.watch_url, "--seconds", "6"];
        script("watch.mjs", &options).await
    };
    let both = async { tokio::join!(recording.publish(publisher.unwrap()), watch) };
    let (published, seen) = Box::pin(within(60, "end of the browser", both)).await;
    published.unwrap();
    assert_eq!(seen["state"], "live", "{seen}");
    let frames = ["totalVideoFramesStart", "totalVideoFrames"].map(|key| number(&seen, key));
    assert!(frames[1] > frames[0], "{seen}");
}

/// As it comes from npm: it is told of the rendition in HEVC and, in a Chromium that has no decoder for that, plays another.
#[tokio::test(flavor = "multi_thread")]
async fn amazons_player_plays_beside_hevc_what_it_can() {
    let _shared = MACHINE.read().await;
    let server = TestServer::start_with(&[("WEIR__TRANSCODE__MAX_LAG_MS", "5000")]).await;
    let channel = server
        .new_channel_with("amazon", &["--type", "STANDARD"])
        .await;
    let once = || enhanced::recording(&clip("hevc_aac.mp4"));
    let recording = once().then(once()).then(once()).then(once());
    let publisher = Publisher::connect(server.rtmp, "app", &channel.stream_key).await;
    let watching = async {
        media_playlist_url(&channel.playback_url).await;
        let options = ["--url", &channel.playback_url, "--seconds", "12"];
        script("ivs.mjs", &options).await
    };
    let seen = tokio::select! {
        seen = watching => seen,
        sent = recording.publish(publisher.unwrap()) => panic!("it was too short: {sent:?}"),
    };
    assert_eq!(seen["errors"], serde_json::json!([]), "{seen}");
    assert_eq!(seen["isLowLatency"], true, "{seen}");
    assert!(number(&seen, "advanced") > 4.0, "{seen}");
    assert!(number(&seen, "frames") > 0.0, "{seen}");
    let played = seen["quality"]["name"].as_str().unwrap();
    assert!(["360p30", "160p30"].contains(&played), "{seen}");
}

/// Plays a source that becomes another one; the renditions' gaps, by name.
async fn gaps(server: &TestServer, name: &str, source: Recording) -> Vec<(String, usize)> {
    let _shared = MACHINE.read().await;
    let channel = server.new_channel_with(name, &["--type", "STANDARD"]).await;
    let publisher = Publisher::connect(server.rtmp, "app", &channel.stream_key).await;
    let publisher = publisher.unwrap();
    let both = async { tokio::join!(watch(&channel.playback_url), source.publish(publisher)) };
    let (ladder, published) = Box::pin(within(60, "end of the ladder", both)).await;
    published.unwrap();
    ladder.check_numbers();
    let gaps = ladder.renditions.iter().map(|rendition| {
        let watched = &rendition.watched;
        assert_eq!(watched.discontinuities.len(), 1, "{name}");
        let parts = watched.parts.values();
        let gaps = parts.filter(|(part, _)| part.is_gap).count();
        if gaps == 0 {
            assert_eq!(rendition.decode().frames(), source.pictures(), "{name}");
        }
        (rendition.variant.name.clone(), gaps)
    });
    let mut gaps: Vec<_> = gaps.collect();
    gaps.sort();
    gaps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changes_its_codec_keeps_its_renditions() {
    let server = TestServer::start().await;
    let hevc = || enhanced::recording(&clip("hevc_aac.mp4")).gops(2);
    let avc = || Recording::read(&clip("ladder_360p30.flv")).gops(2);
    // There is no place for HEVC as it is: it is encoded.
    let found = gaps(&server, "to-hevc", avc().then(hevc())).await;
    assert_eq!(found, [("160p30".to_owned(), 0), ("360p30".to_owned(), 0)]);
    // Its place stays when it has gone, and is empty: 4 s of parts.
    let found = gaps(&server, "from-hevc", hevc().then(avc())).await;
    let [low, high, (beside, gaps)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((low.1, high.1, beside.as_str()), (0, 0, "360p30-hevc"));
    assert!((12..=14).contains(gaps), "{found:?}");
    assert!(server.metric("weir_task_panics_total").await < 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_slate_what_only_some_players_take_has_gaps() {
    let _shared = MACHINE.read().await;
    let server = TestServer::start().await;
    let channel = server
        .new_channel_with("slate", &["--type", "STANDARD"])
        .await;
    let publisher = Publisher::connect(server.rtmp, "app", &channel.stream_key).await;
    let publisher = publisher.unwrap();
    let source = enhanced::recording(&clip("hevc_aac.mp4")).suspended(4_000, 6_000);
    let both = async { tokio::join!(watch(&channel.playback_url), source.publish(publisher)) };
    let (ladder, published) = Box::pin(within(60, "end of the ladder", both)).await;
    published.unwrap();
    ladder.check_numbers();
    for Rendition { variant, watched } in &ladder.renditions {
        let parts = watched.parts.values();
        let gaps = parts.filter(|(part, _)| part.is_gap).count();
        let name = &variant.name;
        assert_eq!(watched.discontinuities.len(), 2, "{name}");
        let kinds: Vec<_> = watched
            .inits
            .values()
            .map(|init| fragments::video_codec(init).unwrap()[..4].to_owned())
            .collect();
        let is_beside = name == "360p30-hevc";
        let kind = if is_beside { "hvc1" } else { "avc1" };
        assert!(kinds.iter().all(|found| found == kind), "{name}: {kinds:?}");
        assert_eq!(gaps >= 6, is_beside, "{name}: {gaps} gaps");
    }
    assert!(server.metric("weir_task_panics_total").await < 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn codecs_that_are_not_taken_are_refused_by_name() {
    let server = TestServer::start().await;
    for (kind, body, name) in [
        (kind::VIDEO, &b"\x90vvc1vvcC"[..], "VVC"),
        (kind::VIDEO, b"\x90vp08", "VP8"),
        (kind::AUDIO, b"\x90ac-3", "AC-3"),
    ] {
        let channel = server.new_channel(name).await;
        let publisher = Publisher::connect(server.rtmp, "app", &channel.stream_key).await;
        let mut publisher = publisher.unwrap();
        publisher.send_message(kind, 0, body).await.unwrap();
        let status = publisher.expect_status().await.unwrap();
        assert_eq!(status.code, "NetStream.Publish.Rejected");
        let words = format!("{name} is not supported");
        assert!(status.description.starts_with(&words), "{status:?}");
        publisher.expect_closed().await.unwrap();
    }
}
