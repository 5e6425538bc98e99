//! A channel that outlives its encoder: what viewers get while no pictures come, who may take whose
//! place, how long a stream may last.

use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::Instant;
use weir::conformance::{Finding, Level, Options, check};

use super::api;
use super::support::clips::{clip, frame_count};
use super::support::eventually;
use super::support::ladder::scene::{Source, recording};
use super::support::publisher::Publisher;
use super::support::server::{Channel, TestServer};
use super::support::viewer::{
    MediaPlaylist, Watched, follow, follow_to_end, media_playlist_url, text,
};
use super::support::{MACHINE, within};

async fn live(server: &TestServer, channel: &Channel, key: &str) -> String {
    let live = server.live(channel).await.unwrap();
    let value = live.get(key).and_then(Value::as_str);
    value
        .unwrap_or_else(|| panic!("{key} in {live}"))
        .to_owned()
}

fn has_segments(count: usize) -> impl FnMut(&Watched) -> bool {
    move |seen| seen.segments.len() >= count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_higher_priority_takes_the_stream_session_over() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let path = clip("fps30.flv");
    let first = Publisher::looping(&path, &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    within(30, "a segment", follow(&url, has_segments(1))).await;
    let session = live(&server, &channel, "streamId").await;

    // The same pictures: the stream session goes on.
    let higher = Publisher::looping(&path, &format!("{}?priority=5", channel.ingest_url));
    assert_ne!(first.ended().await, "", "the first one is told");
    let after = within(
        30,
        "segments",
        follow(&url, |seen| !seen.discontinuities.is_empty()),
    )
    .await;
    assert_eq!(after.gaps, [0; 0]);
    assert_eq!(live(&server, &channel, "streamId").await, session);

    // A lower or no priority, and other pictures, are turned away; nothing happens to the stream.
    let lower = Publisher::once(&path, &format!("{}?priority=4", channel.ingest_url));
    assert_ne!(lower.ended().await, "");
    let none = Publisher::once(&path, &channel.ingest_url);
    assert_ne!(none.ended().await, "");
    let other = clip("fps30_480p.flv");
    let mismatch = Publisher::once(&other, &format!("{}?priority=6", channel.ingest_url));
    assert_ne!(mismatch.ended().await, "");
    let nonsense = Publisher::once(&path, &format!("{}?priority=first", channel.ingest_url));
    assert_ne!(nonsense.ended().await, "");
    let count = after.segments.len();
    let last = within(30, "segments", follow(&url, has_segments(count + 1))).await;
    assert!(
        last.last.discontinuities.len() <= 1,
        "{:?}",
        last.last.discontinuities
    );
    assert_eq!(live(&server, &channel, "streamId").await, session);
    let log = server.log();
    for expected in [
        "event: Stream Takeover",
        "StreamTakeoverInvalidPriority",
        "StreamTakeoverMediaMismatch",
        "priority must be a number",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    // One stream session from the first publisher on; who was turned away had none.
    let count = |name: &str| log.matches(&format!("event: {name}")).count();
    let counts = [
        "Session Created",
        "Stream Start",
        "Stream End",
        "Session Ended",
    ]
    .map(count);
    assert_eq!(counts, [1, 1, 0, 0], "{log}");
    higher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_ivs_a_second_publisher_is_refused() {
    let server = TestServer::start_with(&[("WEIR__LIVE__TAKEOVER", "ivs")]).await;
    let channel = server.channel().await;
    let first = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let second = Publisher::once(&clip("fps30.flv"), &channel.ingest_url);
    assert_ne!(second.ended().await, "");
    let watched = within(30, "segments", follow(&url, has_segments(3))).await;
    assert!(watched.discontinuities.is_empty());
    first.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_see_a_slate_while_a_connected_encoder_is_silent() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    within(30, "a segment", follow(&url, has_segments(1))).await;
    publisher.pause().await;
    let silent = follow(&url, |seen| {
        let slate = seen.discontinuities.first();
        slate.is_some_and(|msn| seen.segments.contains_key(&(msn + 1)))
    });
    let silent = within(30, "two segments of a slate", silent).await;
    assert_eq!(silent.gaps, [0; 0], "somebody watches");
    let folder = tempfile::tempdir().unwrap();
    let files = silent.write(folder.path());
    assert!(frame_count(&files[1]) >= 24, "{}", frame_count(&files[1]));
    publisher.go_on().await;
    let back = follow(&url, |seen| seen.discontinuities.len() >= 2);
    within(30, "the return of the pictures", back).await;
    publisher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slate_stays_as_long_as_the_channels_configuration_says() {
    let server = api::server(&[]).await;
    let channel = server.channel().await;
    let arn = api::call(&server, "list_channels", &json!({})).await["channels"][0]["arn"].clone();
    let made = json!({"minSlateDisplaySeconds": 8});
    let made = api::call(&server, "create_failover_slate_configuration", &made).await;
    let slate = &made["failoverSlateConfiguration"]["arn"];
    let update = json!({"arn": arn, "failoverSlateConfigurationArn": slate});
    api::call(&server, "update_channel", &update).await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    within(30, "a segment", follow(&url, has_segments(1))).await;
    publisher.pause().await;
    let slate = follow(&url, |seen| !seen.discontinuities.is_empty());
    within(30, "a slate", slate).await;
    publisher.go_on().await;
    let back = follow(&url, |seen| {
        let back = seen.discontinuities.get(1);
        back.is_some_and(|msn| seen.segments.contains_key(msn))
    });
    let seen = within(30, "the return of the pictures", back).await;
    let [slate, back] = seen.discontinuities[..] else {
        panic!("a slate and pictures: {seen:?}")
    };
    let shown: f64 = seen.segments.range(slate..back).map(|(_, s)| s).sum();
    assert!(shown >= 7.9, "a slate of {shown} s");
    publisher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcoded_stream_has_a_slate_too_and_goes_on_in_the_middle_of_its_gop() {
    let _calm = MACHINE.read().await;
    let server = TestServer::start().await;
    let channel = server.channel().await;
    // One keyframe in ten seconds: the next one would come five seconds after the pause.
    let source = Source::Edited(recording("longgop_360p30.flv").suspended(5_000, 5_000));
    let options = Options {
        url: Url::parse(&channel.playback_url).unwrap(),
        duration: Duration::from_secs(11),
        slack: Duration::from_millis(1500),
        outage: Duration::from_secs(5),
    };
    let watching = async {
        let url = media_playlist_url(&channel.playback_url).await;
        tokio::join!(follow_to_end(&url), check(options))
    };
    let both = async { tokio::join!(watching, source.publish(&server, &channel)) };
    let ((watched, report), ()) = within(60, "end of the stream", Box::pin(both)).await;
    let log = server.log();
    assert_eq!(log.matches("timeline begins").count(), 2, "{log}");
    let [slate, back] = watched.discontinuities[..] else {
        panic!("a slate and pictures: {watched:?}")
    };
    assert_eq!(watched.gaps, [0; 0], "somebody watches");
    let seconds = |from, to| {
        watched
            .segments
            .range(from..to)
            .map(|(_, s)| s)
            .sum::<f64>()
    };
    let shown = seconds(slate, back);
    assert!((1.0..3.0).contains(&shown), "a slate of {shown} s");
    let after = seconds(back, u64::MAX);
    assert!(
        (6.0..7.2).contains(&after),
        "{after} s of the 7 s after the pause"
    );
    let report = report.unwrap();
    let is_must = |finding: &&Finding| finding.level == Level::Must;
    let broken: Vec<_> = report.findings.iter().filter(is_must).collect();
    assert!(broken.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_viewers_there_are_gaps_until_somebody_comes() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    publisher.kill().await;
    eventually(15, "gap parts", || async {
        (server.metric("weir_gap_parts_total").await > 12.0).then_some(())
    })
    .await;
    let list = MediaPlaylist::parse(&text(url.as_str()).await);
    assert!(list.parts.iter().any(|part| part.is_gap), "{list:?}");
    let slate = follow(&url, |seen| seen.discontinuities.len() >= 2);
    within(30, "a slate", slate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_last_so_long_and_no_longer() {
    let server = TestServer::start_with(&[("WEIR__LIVE__MAX_STREAM_SECONDS", "4")]).await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let watched = within(40, "ENDLIST", follow_to_end(&url)).await;
    assert_ne!(publisher.ended().await, "", "the encoder is told");
    assert!(watched.last.is_ended);
    assert!(watched.discontinuities.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_slate_a_silent_stream_costs_nothing_and_ends_in_time() {
    let server = TestServer::start_with(&[("WEIR__LIVE__SLATE", "off")]).await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    publisher.pause().await;
    eventually(30, "hold", || async {
        let live = server.live(&channel).await?;
        (live.get("state").unwrap() == "HELD").then_some(())
    })
    .await;
    let log = server.log();
    assert!(!log.contains("no picture comes"), "{log}");
    publisher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slate_that_is_not_made_in_time_holds_up_nothing() {
    let _calm = MACHINE.read().await;
    // Who opens a pipe waits for somebody to write into it.
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("slate.png");
    let made = Command::new("mkfifo").arg(&pipe).status().await;
    assert!(made.unwrap().success());
    let image = [("WEIR__LIVE__SLATE_IMAGE", pipe.to_str().unwrap())];
    let mut server = TestServer::start_with(&image).await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    within(30, "a segment", follow(&url, has_segments(1))).await;
    publisher.kill().await;
    let lost = Instant::now();
    let is_gap = |seen: &Watched| seen.parts.values().any(|(part, _)| part.is_gap);
    within(30, "gaps", follow(&url, is_gap)).await;
    let waited = lost.elapsed();
    assert!(waited < Duration::from_millis(2500), "{waited:?}");
    let log = server.log();
    assert!(!log.contains("no slate"), "it is still waited for: {log}");
    let back = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let is_back = |seen: &Watched| seen.discontinuities.len() >= 2;
    within(30, "pictures", follow(&url, is_back)).await;
    back.kill().await;
    // Nor does it keep the process, which nobody will ever hear of the pipe.
    let status = within(20, "exit", server.terminate()).await;
    assert!(status.success(), "{status}");
}

/// The average colour of the last picture of a file: red, green and blue.
fn last_colour(media: &Path) -> [u8; 3] {
    let output = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(media)
        .args(["-vf", "scale=1:1:flags=area", "-pix_fmt", "rgb24"])
        .args(["-f", "rawvideo", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    *output.stdout.last_chunk().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slate_is_the_picture_that_was_configured() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("slate.png");
    // Neither black nor anything of the stream, and of another size and shape.
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi"])
        .args(["-i", "color=0xd01090:size=500x500", "-frames:v", "1"])
        .arg(&picture)
        .status();
    assert!(made.await.unwrap().success());
    let image = [("WEIR__LIVE__SLATE_IMAGE", picture.to_str().unwrap())];
    let server = TestServer::start_with(&image).await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    within(30, "a segment", follow(&url, has_segments(1))).await;
    publisher.kill().await;
    let slate = follow(&url, |seen| {
        let slate = seen.discontinuities.last();
        slate.is_some_and(|msn| seen.segments.contains_key(msn) && !seen.gaps.contains(msn))
    });
    let seen = within(30, "a segment of the slate", slate).await;
    let files = seen.write(folder.path());
    let [stream, slate] = [&files[0], files.last().unwrap()].map(|file| last_colour(file));
    // Two channels of colour as they were asked for, and one that a test picture has and the slate has not.
    let is_near = |value: u8, wanted: u8| value.abs_diff(wanted) <= 16;
    let [red, green, blue] = slate;
    assert!(
        is_near(red, 0xd0) && is_near(green, 0x10) && is_near(blue, 0x90),
        "{slate:?}"
    );
    assert!(!is_near(stream[1], green), "{stream:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slate_that_cannot_be_made_is_tried_once() {
    let missing = [("WEIR__LIVE__SLATE_IMAGE", "/nowhere/slate.png")];
    let server = TestServer::start_with(&missing).await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    within(30, "a segment", follow(&url, has_segments(1))).await;
    publisher.kill().await;
    let gaps = follow(&url, |seen| seen.gaps.len() >= 3);
    let seen = within(30, "gaps", gaps).await;
    assert_eq!(seen.discontinuities.len(), 1, "one timeline of gaps");
    assert_eq!(server.log().matches("no slate").count(), 1);
}
