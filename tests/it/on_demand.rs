//! Rungs just in time: listed always, encoded while somebody asks.

use std::process::Stdio;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::process::Command;
use tokio::time::Instant;

use super::players::{number, script};
use super::support::clips::clip;
use super::support::ladder::{Variant, variants, watch_until};
use super::support::publisher::Publisher;
use super::support::server::{Channel, TestServer};
use super::support::viewer::{MediaPlaylist, follow, get, text};
use super::support::{MACHINE, eventually, within};

/// However busy this machine is, nothing is to be shed; and what nobody watches is cold soon.
const ON_DEMAND: [(&str, &str); 3] = [
    ("WEIR__TRANSCODE__LADDER", "on-demand"),
    ("WEIR__TRANSCODE__IDLE_RUNG_SECONDS", "5"),
    ("WEIR__TRANSCODE__MAX_LAG_MS", "5000"),
];

struct Stage {
    server: TestServer,
    channel: Channel,
    publisher: Publisher,
    variants: Vec<Variant>,
}

impl Stage {
    /// A channel that has been live for some segments, which nobody has asked for.
    async fn new(name: &str) -> Self {
        let server = TestServer::start_with(&ON_DEMAND).await;
        let channel = server.channel().await;
        let publisher = Publisher::looping(&clip(name), &channel.ingest_url);
        let variants = variants(&channel.playback_url).await;
        let source = &variants[0].url;
        follow(source, |watched| watched.segments.len() >= 4).await;
        Self {
            server,
            channel,
            publisher,
            variants,
        }
    }

    /// The threads that decode, scale or encode pictures.
    fn workers(&self) -> Vec<String> {
        let names = self.server.threads().into_iter();
        names
            .filter(|name| name == "weir-decode" || name.ends_with("p30"))
            .collect()
    }

    fn smallest(&self) -> &Variant {
        self.variants.last().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_watches_is_not_encoded_and_who_comes_does_not_wait() {
    let _calm = MACHINE.read().await;
    let stage = Stage::new("ladder_360p30.flv").await;
    assert_eq!(stage.workers(), Vec::<String>::new());

    // At the live edge: the newest part that a player can begin with.
    let url = &stage.smallest().url;
    let asked = Instant::now();
    let list = MediaPlaylist::parse(&text(url.as_str()).await);
    let newest = list.parts.iter().rfind(|part| part.is_independent).unwrap();
    let answer = get(url.join(&newest.uri).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.bytes().await.unwrap().is_empty());
    let waited = asked.elapsed();
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    assert!(stage.workers().contains(&"weir-decode".to_owned()));

    // It plays on without a break, and each picture can be decoded.
    let is_enough = |watched: &super::support::viewer::Watched| watched.segments.len() >= 8;
    let ladder = watch_until(&stage.channel.playback_url, is_enough).await;
    ladder.check_grid();
    for rendition in &ladder.renditions {
        assert_eq!(rendition.watched.gaps, Vec::<u64>::new());
        let pictures = rendition.decode().frames();
        let parts = rendition.watched.parts.len() as u64;
        assert!(pictures.abs_diff(parts * 10) <= 10, "{pictures} in {parts}");
    }

    eventually(30, "cold rungs", || async {
        stage.workers().is_empty().then_some(())
    })
    .await;
    // And warm again.
    let watched = follow(url, |watched| watched.segments.len() >= 6).await;
    assert_eq!(watched.gaps, Vec::<u64>::new());
    assert!(stage.server.metric("weir_gap_parts_total").await < 1.0);
    assert!(stage.server.metric("weir_task_panics_total").await < 1.0);
    stage.publisher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_without_parts_finds_the_older_segments_of_a_cold_rung() {
    let _calm = MACHINE.read().await;
    let stage = Stage::new("ladder_360p30.flv").await;
    // It begins three segments from the end.
    let ffmpeg = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-loglevel",
            "error",
            "-xerror",
            "-t",
            "10",
            "-i",
        ])
        .arg(stage.smallest().url.as_str())
        .args(["-map", "0:v", "-map", "0:a", "-f", "null", "-"])
        .stdin(Stdio::null())
        .output();
    let ffmpeg = within(60, "end of the player", ffmpeg).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&ffmpeg.stderr), "");
    assert!(ffmpeg.status.success());

    // Any segment that is listed can be had, the oldest first.
    let url = &stage.smallest().url;
    let list = MediaPlaylist::parse(&text(url.as_str()).await);
    for (msn, _, uri) in &list.segments {
        let answer = get(url.join(uri).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::OK, "segment {msn}");
        assert!(answer.bytes().await.unwrap().len() > 1000);
    }
    stage.publisher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_js_switches_to_a_cold_rung_and_back() {
    let _shared = MACHINE.read().await;
    let stage = Stage::new("ladder_360p30.flv").await;
    let url = &stage.channel.playback_url;
    let args = ["--url", url, "--seconds", "2", "--stall-ms", "2000"];
    let seen = script("levels.mjs", &args).await;
    assert!(seen.get("fatal").unwrap().is_null(), "{seen}");
    assert!(number(&seen, "stalls") < 1.0, "{seen}");
    for visit in seen.get("visits").unwrap().as_array().unwrap() {
        assert!(number(visit, "longestFrameMs") < 2000.0, "{visit}");
        assert!(number(visit, "frames") > 30.0, "{visit}");
    }
    stage.publisher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_checker_finds_no_breach_in_cold_rungs() {
    let _calm = MACHINE.write().await;
    let stage = Stage::new("ladder_360p30.flv").await;
    let report = super::check_stream::checked(&stage.channel.playback_url, 12).await;
    let musts = super::check_stream::musts(&report);
    assert!(musts.is_empty(), "{report}");
    stage.publisher.kill().await;
}
