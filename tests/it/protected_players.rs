//! Players on private channels: Chromium with hls.js and with the unmodified Amazon IVS player.

use serde_json::{Value, json};

use super::api::Call;
use super::players::{number, script};
use super::protected::Protected;
use super::support::playback::now_s;
use super::support::viewer::{MediaPlaylist, text};
use super::support::{MACHINE, eventually};

async fn private() -> Protected {
    Protected::start(
        "fps30.flv",
        json!({"authorized": true, "type": "BASIC"}),
        None,
    )
    .await
}

/// Revokes a viewer once somebody watches.
async fn revoke_while_watching(stage: &Protected, viewer: &str) {
    let revocation = json!({"channelArn": stage.arn, "viewerId": viewer});
    call_while_watching(stage, "start_viewer_session_revocation", &revocation).await;
}

/// Calls an operation once somebody watches.
async fn call_while_watching(stage: &Protected, name: &str, input: &Value) {
    let id = stage.arn.rsplit('/').next().unwrap();
    let operation = Call::prepare(&stage.server, name, input).await;
    let is_watched = async || {
        let live = stage.server.live_by_id(id).await?;
        (live["viewerCount"].as_u64()? > 0).then_some(())
    };
    eventually(60, "a viewer", is_watched).await;
    // Three segments more, so that pictures are shown before it happens.
    let url = stage.media_playlist(&stage.token(&json!({})), None).await;
    for _ in 0..3 {
        let (msn, _) = MediaPlaylist::parse(&text(&url).await).next();
        text(format!("{url}?_HLS_msn={msn}")).await;
    }
    operation.make().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_js_plays_a_private_channel_until_its_viewer_is_revoked() {
    let _shared = MACHINE.read().await;
    let stage = private().await;
    let refused = [
        "--url",
        &stage.url,
        "--start-timeout",
        "0",
        "--seconds",
        "10",
    ];
    let refused = script("frames.mjs", &refused).await;
    assert_eq!(refused["fatal"], "manifestLoadError", "{refused}");
    assert_eq!(refused["playlistStatus"], 403, "{refused}");

    let strict = json!({"aws:viewer-id": "ann", "aws:strict-origin-enforcement": true});
    let url = stage.with(&stage.token(&strict));
    let args = [
        "--url",
        &url,
        "--from-live-edge",
        "--start-timeout",
        "0",
        "--seconds",
        "60",
    ];
    let (seen, ()) = tokio::join!(
        script("frames.mjs", &args),
        revoke_while_watching(&stage, "ann")
    );
    assert!(number(&seen, "totalVideoFrames") > 60.0, "{seen}");
    let fatal = seen["fatal"].as_str().unwrap_or_default();
    assert!(
        ["levelLoadError", "fragLoadError"].contains(&fatal),
        "{seen}"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ivs_player_tells_what_is_wrong_with_a_token() {
    let _shared = MACHINE.read().await;
    let stage = private().await;
    let plays = async |token: &str, seconds: &str| {
        let url = stage.with(token);
        let args = [
            "--url",
            &url,
            "--at-once",
            "--settle",
            "2",
            "--seconds",
            seconds,
        ];
        script("ivs.mjs", &args).await
    };
    let fails = async |token: &str, code: &str| {
        let seen = plays(token, "4").await;
        let first = seen["errors"][0].as_str().unwrap_or_default();
        assert!(
            first.starts_with(&format!("ErrorAuthorization {code}")),
            "{code}: {seen}"
        );
    };
    fails("", "7 ").await;
    fails("nonsense", "7 ").await;
    fails(&stage.token(&json!({"exp": now_s() - 1})), "7 ").await;
    let once = stage.token(&json!({"aws:single-use-uuid": weir::base::ids::uuid()}));
    let seen = plays(&once, "8").await;
    assert_eq!(seen["errors"], json!([]), "{seen}");
    assert!(number(&seen, "advanced") > 2.0, "{seen}");
    assert_eq!(seen["isLowLatency"], true, "{seen}");
    fails(&once, "403 ").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ivs_player_stops_when_its_viewer_is_revoked() {
    let _shared = MACHINE.read().await;
    let stage = private().await;
    let url = stage.with(&stage.token(&json!({"aws:viewer-id": "bob"})));
    let args = [
        "--url",
        &url,
        "--at-once",
        "--seconds",
        "40",
        "--until-error",
    ];
    let (seen, ()) = tokio::join!(
        script("ivs.mjs", &args),
        revoke_while_watching(&stage, "bob")
    );
    let first = seen["errors"][0].as_str().unwrap_or_default();
    assert!(first.starts_with("ErrorNetwork 403 "), "{seen}");
    // It has shown a segment and more, and does not try for ever.
    assert!(
        number(seen["cues"].as_array().unwrap().last().unwrap(), "seen") > 1.9,
        "{seen}"
    );
    let states: Vec<_> = seen["states"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .take(2)
        .collect();
    assert_eq!(states, ["Idle", "Playing"], "{seen}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ivs_player_shows_what_put_metadata_says() {
    let _shared = MACHINE.read().await;
    let stage = private().await;
    let url = stage.with(&stage.token(&json!({})));
    let args = ["--url", &url, "--at-once", "--seconds", "20"];
    let words = "goal for 한국 é";
    let metadata = json!({"channelArn": stage.arn, "metadata": words});
    let (seen, ()) = tokio::join!(
        script("ivs.mjs", &args),
        call_while_watching(&stage, "put_metadata", &metadata)
    );
    assert_eq!(seen["errors"], json!([]), "{seen}");
    let cues = seen["cues"].as_array().unwrap().iter();
    let told: Vec<_> = cues
        .filter(|cue| cue["owner"] == "metadata.live-video.net")
        .collect();
    assert!(!told.is_empty(), "{seen}");
    // The player may load a segment twice, and tells its texts twice then.
    for cue in told {
        assert_eq!(cue["text"], words, "{seen}");
        assert_eq!(cue["type"], "TextMetadataCue", "{seen}");
    }
    stage.end().await;
}
