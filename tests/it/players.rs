//! Players that know nothing of Weir: Chromium with hls.js, ffmpeg, mpv.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use weir::base::clock::{Clock as _, SystemClock, WallTime};

use super::support::clips::{clip, frame_count};
use super::support::flv::Recording;
use super::support::publisher::Publisher;
use super::support::rtmp_client;
use super::support::server::TestServer;
use super::support::viewer::media_playlist_url;
use super::support::{MACHINE, eventually, within};

/// Runs one of the page's end-to-end scripts; its last line of output as JSON.
pub(crate) async fn script(name: &str, args: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("node");
    command
        .arg(root.join("web/e2e").join(name))
        .args(args)
        .stdin(Stdio::null());
    command.kill_on_drop(true);
    let output = within(120, "end of the browser script", command.output())
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = String::from_utf8_lossy(&output.stderr);
    let last = text
        .lines()
        .last()
        .unwrap_or_else(|| panic!("{name} said nothing: {words}"));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {text}{words}"))
}

pub(crate) fn number(value: &Value, key: &str) -> f64 {
    value
        .get(key)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_page_plays_near_live() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let seen = script(
        "watch.mjs",
        &["--url", &channel.watch_url, "--seconds", "6"],
    )
    .await;
    assert_eq!(seen.get("state").unwrap(), "live", "{seen}");
    let advanced = number(&seen, "currentTimeEnd") - number(&seen, "currentTimeStart");
    assert!(advanced > 0.0, "{seen}");
    assert!(
        number(&seen, "totalVideoFrames") > number(&seen, "totalVideoFramesStart"),
        "{seen}"
    );
    // Not three segments behind, where players without parts are.
    let latency = number(&seen, "latency");
    assert!(latency > 0.0 && latency < 5.0, "{seen}");
    publisher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_page_shows_the_streams_health_to_who_holds_the_key() {
    let root = [
        ("WEIR_ROOT_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("WEIR_ROOT_SECRET_ACCESS_KEY", "hunter2:hunter2"),
    ];
    let server = TestServer::start_with(&root).await;
    let channel = server.new_channel("streamer").await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let (page, key) = (&channel.watch_url, &channel.stream_key);
    let panel = |url: String, typed: &'static str| async move {
        let options = ["--seconds", "8", "--text", "#health", "--url", &url];
        let options = [&options[..], &["--key", typed]].concat();
        let options = &options[..if typed.is_empty() { 6 } else { 8 }];
        let seen = script("watch.mjs", options).await;
        // What the player has to mend is another matter.
        let mut errors = seen["errors"].as_array().unwrap().iter();
        let is_pages = |error: &Value| !error.as_str().unwrap().starts_with("hls");
        assert!(!errors.any(is_pages), "{seen}");
        let text = |key: &str| seen[key].as_str().unwrap().to_owned();
        (text("text"), text("address"))
    };
    let ((shown, address), (to_root, _), (refused, _), (not_root, _)) = tokio::join!(
        panel(format!("{page}#key={key}"), ""),
        panel(page.clone(), "AKIDEXAMPLE:hunter2:hunter2"),
        panel(format!("{page}#key={key}x"), ""),
        panel(page.clone(), "AKIDEXAMPLE:hunter2"),
    );
    assert_eq!(&address, page, "the key has left the address");
    for expected in ["Live", " fps", "Keyframe interval\n2.0 s", "Viewers\n"] {
        assert!(shown.contains(expected), "{expected} in {shown}");
        assert!(to_root.contains(expected), "{expected} in {to_root}");
    }
    for refused in [refused, not_root] {
        assert!(refused.contains("This key does not open"), "{refused}");
    }
    publisher.kill().await;
    assert!(!server.log().contains(key));
}

/// A lost encoder that returns, a stream that ends, the next one: nobody touches the page.
#[tokio::test(flavor = "multi_thread")]
async fn the_watch_page_recovers_by_itself() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let path = clip("fps30.flv");
    let until = "live,reconnecting,live,offline,live";
    let mut page = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("web/e2e/watch.mjs"))
        .args([
            "--url",
            &channel.watch_url,
            "--events",
            "--seconds",
            "100",
            "--until",
            until,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(page.stdout.take().unwrap()).lines();
    let mut publisher = Some(Publisher::looping(&path, &channel.ingest_url));
    let mut states = Vec::new();
    let watching = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let event: Value = serde_json::from_str(&line).unwrap();
            if event.get("t").is_none() {
                break;
            }
            let state = event.get("state").unwrap().as_str().unwrap().to_owned();
            match (
                state.as_str(),
                states.iter().filter(|seen| *seen == "live").count(),
            ) {
                ("live", 0) => publisher.take().unwrap().kill().await,
                // It returns, and unpublishes at the clip's end.
                ("reconnecting", 1) => {
                    publisher = Some(Publisher::once(&path, &channel.ingest_url));
                }
                ("offline", 2) => publisher = Some(Publisher::looping(&path, &channel.ingest_url)),
                _ => {}
            }
            states.push(state);
        }
        page.wait().await.unwrap()
    };
    let status = within(120, "end of the page's story", watching).await;
    assert!(status.success(), "{status}: {states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_js_in_chromium_decodes_every_frame() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let path = clip("fps30_20s.flv");
    let publisher = Publisher::once(&path, &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let args = ["--url", &channel.playback_url, "--expect-end"];
    let seen = script("frames.mjs", &args).await;
    assert_eq!(publisher.ended().await, "");
    let expected = u32::try_from(frame_count(&path)).unwrap();
    let total = number(&seen, "totalVideoFrames");
    assert!(
        (total - f64::from(expected)).abs() < 0.5,
        "{total} of {expected} frames: {seen}"
    );
    let errors = seen.get("errors").unwrap().as_array().unwrap();
    assert!(errors.is_empty(), "{seen}");
    // Ten segments say when they began.
    assert!(number(&seen, "metadata") > 8.0, "{seen}");
}

/// A server that is killed and started again under a player that knows nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn hls_js_plays_on_when_the_server_is_killed_and_started_again() {
    let mut server = TestServer::start().await;
    let basic = ["--type", "BASIC"];
    let channel = server.new_channel_with("restarted", &basic).await;
    let path = clip("fps30.flv");
    let first = Publisher::looping(&path, &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let args = [
        "--url",
        &channel.playback_url,
        "--from-live-edge",
        "--seconds",
        "40",
    ];
    let story = async {
        let watched = || async {
            let live = server.live(&channel).await?;
            let viewers = live.get("viewerCount")?.as_u64()?;
            let parts = server.metric("weir_mirror_segments_total").await;
            (viewers > 0 && parts > 8.0).then_some(())
        };
        eventually(30, "a viewer, and segments in the mirror", watched).await;
        server.kill_and_restart().await;
        first.kill().await;
        Publisher::looping(&path, &channel.ingest_url)
    };
    let (seen, second) = tokio::join!(script("frames.mjs", &args), story);
    assert!(seen.get("fatal").unwrap().is_null(), "{seen}");
    // Some seconds are missing of 40, or black; and it goes on to the end.
    assert!(number(&seen, "totalVideoFrames") > 25.0 * 30.0, "{seen}");
    assert!(number(&seen, "currentTime") > 30.0, "{seen}");
    second.kill().await;
}

/// Up and down again through all renditions: each one's picture comes, and the clock never stands still
/// for as long as a viewer would call it a stall.
#[tokio::test(flavor = "multi_thread")]
async fn hls_js_switches_through_all_renditions() {
    let _shared = MACHINE.read().await;
    // However busy this machine is, nothing is to be shed.
    let server = TestServer::start_with(&[("WEIR__TRANSCODE__MAX_LAG_MS", "5000")]).await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("ladder_360p30.flv"), &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let url = &channel.playback_url;
    let args = ["--url", url, "--seconds", "2", "--stall-ms", "2000"];
    let seen = script("levels.mjs", &args).await;
    let heights = |key: &str| -> Vec<u32> {
        let list = seen.get(key).unwrap().as_array().unwrap().iter();
        let heights = list.map(|entry| entry.get("height").and_then(Value::as_u64).unwrap());
        heights
            .map(|height| u32::try_from(height).unwrap())
            .collect()
    };
    assert_eq!(heights("levels"), [160, 360], "{seen}");
    assert_eq!(heights("visits"), [160, 360, 160], "{seen}");
    assert!(seen.get("fatal").unwrap().is_null(), "{seen}");
    assert!(number(&seen, "stalls") < 1.0, "{seen}");
    for visit in seen.get("visits").unwrap().as_array().unwrap() {
        // The clock may go on while the picture stands still.
        assert!(number(visit, "longestFrameMs") < 2000.0, "{visit}");
        assert!(number(visit, "frames") > 30.0, "{visit}");
    }
    publisher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_and_mpv_play_without_an_error() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let ffmpeg = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-xerror", "-t", "6", "-i"])
        .arg(&channel.playback_url)
        .args(["-map", "0:v", "-map", "0:a", "-f", "null", "-"])
        .stdin(Stdio::null())
        .output();
    let mpv = Command::new("mpv")
        .args([
            "--no-config",
            "--vo=null",
            "--ao=null",
            "--length=6",
            "--msg-level=all=error",
        ])
        .arg("--term-status-msg=v=${estimated-frame-number} drop=${frame-drop-count}")
        .arg(&channel.playback_url)
        .stdin(Stdio::null())
        .output();
    let (ffmpeg, mpv) = within(90, "end of both players", async {
        tokio::join!(ffmpeg, mpv)
    })
    .await;
    let (ffmpeg, mpv) = (ffmpeg.unwrap(), mpv.unwrap());
    assert!(
        ffmpeg.status.success(),
        "{}",
        String::from_utf8_lossy(&ffmpeg.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&ffmpeg.stderr), "");
    let said = String::from_utf8_lossy(&mpv.stdout).into_owned();
    let complained = String::from_utf8_lossy(&mpv.stderr);
    assert!(mpv.status.success(), "{said}{complained}");
    assert!(
        !said.contains("rror") && !complained.contains("rror"),
        "{said}{complained}"
    );
    publisher.kill().await;
}

/// The player that viewers of Amazon IVS have, as it comes from npm.
#[tokio::test(flavor = "multi_thread")]
async fn amazons_player_plays_with_low_latency_and_shows_what_the_publisher_says() {
    let _shared = MACHINE.read().await;
    let server = TestServer::start_with(&[("WEIR__TRANSCODE__MAX_LAG_MS", "5000")]).await;
    let channel = server.channel().await;
    let key = channel.stream_key.as_str();
    let publisher = rtmp_client::Publisher::connect(server.rtmp, "app", key);
    let publisher = publisher.await.unwrap();
    let clip = Recording::read(&clip("fps30_20s.flv"));
    let recording = clip.clone().then(clip).saying(1350);
    let begun = SystemClock.now();
    let watching = async {
        media_playlist_url(&channel.playback_url).await;
        let args = ["--url", &channel.playback_url, "--seconds", "15"];
        script("ivs.mjs", &args).await
    };
    let seen = tokio::select! {
        seen = watching => seen,
        sent = recording.publish(publisher) => panic!("it was too short: {sent:?}"),
    };

    assert_eq!(seen["errors"], Value::Array(Vec::new()), "{seen}");
    assert_eq!(seen["isLowLatency"], true, "{seen}");
    assert!(number(&seen, "advanced") > 8.0, "{seen}");
    // Under 3 s where a processor is free for the player; without low latency it is 5 s and more.
    assert!(number(&seen, "buffer") < 4.5, "{seen}");
    let latency = number(&seen, "latency");
    assert!(latency > 0.5 && latency < 5.5, "{seen}");
    let qualities = seen["qualities"].as_array().unwrap().iter();
    let names = |key| {
        qualities
            .clone()
            .map(|q| q[key].as_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("name"), ["360p30", "160p30"], "{seen}");
    assert_eq!(names("variantSource"), ["source", "transcode"], "{seen}");

    what_was_said_is_shown(&seen, begun, latency);
}

/// What the publisher said is shown with its picture, for as late as that the player says it is. The player loads a
/// segment again at times, to see how fast it can, and then tells its texts again.
fn what_was_said_is_shown(seen: &Value, begun: WallTime, latency: f64) {
    let cues = seen["cues"].as_array().unwrap();
    let starts = |owner: &'static str| {
        let cues = cues.iter().filter(move |cue| cue["owner"] == owner);
        cues.map(|cue| (number(cue, "startTime"), cue))
    };
    let mut told = BTreeSet::new();
    for (start, cue) in starts("inband.metadata.live-video.net") {
        let sent: u32 = cue["text"].as_str().unwrap().parse().unwrap();
        // It belongs to its picture: 1.35 s behind the start of a segment, or 0.35.
        let clocks = starts("segmentmetadata").map(|(clock, _)| start - clock);
        let behind = clocks.filter(|behind| *behind >= 0.0);
        let behind = behind.fold(f64::INFINITY, f64::min);
        let expected = f64::from(sent % 2000) / 1000.0;
        assert!((behind - expected).abs() < 0.1, "{behind}: {cue}");
        if told.insert(sent) {
            let shown = cue["at"].as_i64().unwrap() - begun.0;
            let late = f64::from(i32::try_from(shown).unwrap()) - f64::from(sent);
            assert!((late / 1000.0 - latency).abs() < 1.0, "{late} ms: {cue}");
        }
    }
    let (first, last) = (told.first().unwrap(), told.last().unwrap());
    assert!(told.len() >= 8, "{cues:?}");
    let all = (*first..=*last).step_by(1000);
    assert!(all.eq(told.iter().copied()), "none is missing: {told:?}");
}
