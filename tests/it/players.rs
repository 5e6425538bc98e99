//! Players that know nothing of Weir: Chromium with hls.js, ffmpeg, mpv.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::support::clips::{clip, frame_count};
use super::support::publisher::Publisher;
use super::support::server::TestServer;
use super::support::viewer::media_playlist_url;
use super::support::within;

/// Runs one of the page's end-to-end scripts; its last line of output as JSON.
async fn script(name: &str, args: &[&str]) -> Value {
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

fn number(value: &Value, key: &str) -> f64 {
    value
        .get(key)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_page_plays_near_live_and_returns_by_itself() {
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
    assert!(
        advanced > 0.0 && number(&seen, "totalVideoFrames") > 0.0,
        "{seen}"
    );
    assert!(number(&seen, "latency") > 0.0, "{seen}");
    publisher.kill().await;
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
