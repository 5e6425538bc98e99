//! How many watch: what players fetch over HTTP is what `viewerCount` and the gauge say.

use reqwest::StatusCode;
use serde_json::Value;

use super::support::clips::clip;
use super::support::eventually;
use super::support::publisher::Publisher;
use super::support::server::{Channel, TestServer};
use super::support::viewer::{get, media_playlist_url};

/// More than one connection's, fewer than a test's patience.
const VIEWERS: u64 = 25;

async fn viewer_count(server: &TestServer, channel: &Channel) -> Option<u64> {
    let live = server.live(channel).await?;
    live.get("viewerCount").and_then(Value::as_u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_session_that_fetches_media_counts_once() {
    let server = TestServer::start().await;
    let basic = ["--type", "BASIC"];
    let watched = server.new_channel_with("watched", &basic).await;
    let other = server.new_channel_with("nobody_watches", &basic).await;
    let publishers = [&watched, &other].map(|channel| {
        let clip = clip("fps30.flv");
        Publisher::looping(&clip, &channel.ingest_url)
    });
    // Each fetch of the multivariant playlist is a session; these two are never used.
    let minted = media_playlist_url(&watched.playback_url).await;
    media_playlist_url(&other.playback_url).await;
    assert_eq!(viewer_count(&server, &watched).await, Some(0), "{minted}");

    for _ in 0..VIEWERS {
        let url = media_playlist_url(&watched.playback_url).await;
        for _ in 0..3 {
            assert_eq!(get(url.as_str()).await.status(), StatusCode::OK);
        }
    }
    eventually(15, "count of all viewers", || async {
        (viewer_count(&server, &watched).await == Some(VIEWERS)).then_some(())
    })
    .await;
    assert_eq!(viewer_count(&server, &other).await, Some(0));
    eventually(15, "gauge of all viewers", || async {
        let gauge = server.metric("weir_concurrent_viewers").await;
        ((gauge - 25.0).abs() < 0.5).then_some(())
    })
    .await;
    for publisher in publishers {
        publisher.kill().await;
    }
}
