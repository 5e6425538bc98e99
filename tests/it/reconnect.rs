//! Stop and return: an unpublish ends the playlists, a loss holds them, a restart never reuses a
//! URI.

use reqwest::{StatusCode, Url};

use super::support::clips::{clip, frame_count};
use super::support::publisher::Publisher;
use super::support::server::{TestServer, free_addresses};
use super::support::viewer::{follow, follow_to_end, get, media_playlist_url, text};
use super::support::{eventually, within};

/// The epoch in a media playlist's URL: `…/<channel>/<epoch>/<rendition>/live.m3u8`.
fn epoch(url: &Url) -> u64 {
    url.path_segments()
        .unwrap()
        .rev()
        .nth(2)
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_encoder_returns_into_the_same_playlists() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let first = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let before = within(
        30,
        "two segments",
        follow(&url, |seen| seen.segments.len() >= 2),
    )
    .await;
    first.kill().await;
    eventually(15, "hold", || async {
        let live = server.live(&channel).await.unwrap();
        (live.get("state").unwrap() == "HELD").then_some(())
    })
    .await;

    // Another size and frame rate on return: a new initialization section is unavoidable.
    let other = clip("fps25.flv");
    let second = Publisher::once(&other, &channel.ingest_url);
    let watched = within(60, "end of the playlist", follow_to_end(&url)).await;
    assert_eq!(second.ended().await, "");
    assert_eq!(
        watched.discontinuities.len(),
        2,
        "one where the encoder was lost, one where it came back"
    );
    assert!(watched.last.segments.last().unwrap().0 > before.last.segments.last().unwrap().0);
    let folder = tempfile::tempdir().unwrap();
    let files = watched.write(folder.path());
    assert_eq!(files.len(), 3);
    assert!(frame_count(&files[1]) >= 12, "a slate of some seconds");
    assert_eq!(
        frame_count(&files[2]),
        frame_count(&other) - 50,
        "every frame after the return, but those of the GOP that was looked at"
    );
    assert!(frame_count(&files[0]) >= 120, "and all published before it");

    // Ended by an unpublish: offline at once, yet the playlist stays for those who play it out.
    assert_eq!(
        get(&channel.playback_url).await.status(),
        StatusCode::NOT_FOUND
    );
    assert!(text(url.as_str()).await.contains("#EXT-X-ENDLIST"));
    assert!(server.live(&channel).await.is_none());

    // The next stream is a new epoch with higher numbers.
    let last_msn = watched.last.segments.last().unwrap().0;
    let third = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let next = media_playlist_url(&channel.playback_url).await;
    assert!(epoch(&next) > epoch(&url));
    let again = within(
        30,
        "a segment",
        follow(&next, |seen| !seen.segments.is_empty()),
    )
    .await;
    assert!(again.last.first_msn > last_msn, "MSN continues");
    third.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_channel_ends_when_nobody_returns() {
    let server = TestServer::start_with(&[("WEIR__LIVE__HOLD_SECONDS", "2")]).await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    publisher.kill().await;
    let watched = within(30, "ENDLIST", follow_to_end(&url)).await;
    assert!(watched.last.is_ended);
    assert_eq!(
        get(&channel.playback_url).await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_replaces_the_older_one() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let older = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    within(
        30,
        "a segment",
        follow(&url, |seen| !seen.segments.is_empty()),
    )
    .await;
    let newer = Publisher::once(&clip("fps30.flv"), &channel.ingest_url);
    assert_ne!(older.ended().await, "", "the older encoder is told");
    let watched = within(60, "end of the playlist", follow_to_end(&url)).await;
    assert_eq!(newer.ended().await, "");
    assert_eq!(watched.discontinuities.len(), 1);
    let folder = tempfile::tempdir().unwrap();
    let files = watched.write(folder.path());
    // The older one goes on while the first GOP of the newer one is looked at.
    let expected = frame_count(&clip("fps30.flv")) - 60;
    assert_eq!(frame_count(&files[1]), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_never_reuses_a_uri() {
    // Without a mirror nothing is taken up again.
    let mut server = TestServer::start_with(&[("WEIR__RECORDING__MIRROR_ENABLED", "false")]).await;
    let channel = server.channel().await;
    let mut last = (0, 0);
    for _ in 0..3 {
        let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
        let url = media_playlist_url(&channel.playback_url).await;
        let seen = within(
            30,
            "a segment",
            follow(&url, |seen| !seen.segments.is_empty()),
        )
        .await;
        let msn = seen.last.segments.last().unwrap().0;
        assert!((epoch(&url), seen.last.first_msn) > last && seen.last.first_msn > last.1);
        last = (epoch(&url), msn);
        server.kill_and_restart().await;
        assert_eq!(
            get(url.as_str()).await.status(),
            StatusCode::NOT_FOUND,
            "gone with its epoch"
        );
        assert_eq!(
            server.channel().await.stream_key,
            channel.stream_key,
            "the key survives"
        );
        publisher.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_playlists_and_the_process() {
    let mut server = TestServer::start().await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let stop = async {
        eventually(20, "parts", || async {
            (server.metric("weir_parts_total").await > 8.0).then_some(())
        })
        .await;
        server.terminate().await
    };
    let (status, watched) = tokio::join!(stop, follow_to_end(&url));
    assert!(status.success(), "{status}");
    assert!(
        watched.last.is_ended,
        "the waiting viewer is answered with ENDLIST"
    );
    assert_ne!(publisher.ended().await, "", "the publisher is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_serves_one_server() {
    let server = TestServer::start().await;
    let [listener, rtmp, admin] = free_addresses().map(|address| address.to_string());
    let listeners = [
        ("WEIR_HTTP_LISTEN", listener.as_str()),
        ("WEIR_RTMP_LISTEN", rtmp.as_str()),
        ("WEIR_ADMIN_LISTEN", admin.as_str()),
    ];
    let words = server.weir_fails_with(&["serve"], &listeners).await;
    assert!(
        words.contains("another weir serves from this data directory"),
        "{words}"
    );
}
