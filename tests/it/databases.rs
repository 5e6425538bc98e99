//! The same server on PostgreSQL: publish, watch, restart.

use super::support::clips::clip;
use super::support::postgres;
use super::support::publisher::Publisher;
use super::support::server::TestServer;
use super::support::viewer::{follow, media_playlist_url};
use super::support::within;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_plays_on_postgresql() {
    let url = postgres::empty_database().await;
    let mut server = TestServer::start_with(&[("WEIR_DATABASE_URL", &url)]).await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let playlist = media_playlist_url(&channel.playback_url).await;
    within(
        30,
        "a segment",
        follow(&playlist, |seen| !seen.segments.is_empty()),
    )
    .await;
    publisher.kill().await;
    server.kill_and_restart().await;
    assert_eq!(server.channel().await.stream_key, channel.stream_key);
}
