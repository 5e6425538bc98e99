//! One publisher's trouble is nobody else's.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::clips::{clip, frame_count};
use super::support::publisher::Publisher;
use super::support::rtmp_client;
use super::support::server::TestServer;
use super::support::viewer::{follow, follow_to_end, media_playlist_url};
use super::support::within;

#[tokio::test(flavor = "multi_thread")]
async fn of_three_publishers_one_is_killed_one_sends_garbage_the_third_is_complete() {
    let server = TestServer::start().await;
    let killed = server.new_channel("killed").await;
    let whole = server.new_channel("whole").await;
    let path = clip("fps30.flv");
    let publisher = Publisher::once(&path, &whole.ingest_url);
    let doomed = Publisher::looping(&path, &killed.ingest_url);
    let garbage = async {
        for seed in 0..20_u8 {
            let mut socket = TcpStream::connect(server.rtmp).await.unwrap();
            // A version that is none, or a handshake that turns into noise.
            let noise = vec![seed | 1; 20_000];
            let first = if seed % 2 == 0 { 3 } else { seed };
            // The server may close in the middle of it: that is what it should do.
            let sent = async {
                socket.write_all(&[first]).await?;
                socket.write_all(&noise).await
            };
            sent.await.ok();
            let mut answer = Vec::new();
            within(20, "close", socket.read_to_end(&mut answer))
                .await
                .ok();
        }
    };
    let viewer = async {
        let url = media_playlist_url(&whole.playback_url).await;
        within(60, "end of the playlist", follow_to_end(&url)).await
    };
    let killer = async {
        let url = media_playlist_url(&killed.playback_url).await;
        within(
            30,
            "a segment",
            follow(&url, |seen| !seen.segments.is_empty()),
        )
        .await;
        doomed.kill().await;
    };
    let third = server.new_channel("garbage").await;
    let vandal = async {
        // A publisher in good standing whose next bytes are no chunks any more.
        let mut publisher = rtmp_client::Publisher::connect(server.rtmp, "app", &third.stream_key)
            .await
            .unwrap();
        publisher
            .send_video(0, &rtmp_client::avc_config())
            .await
            .unwrap();
        publisher
            .send_video(0, &rtmp_client::key_frame(500, 1))
            .await
            .unwrap();
        publisher.send_raw(&vec![0xff; 70_000]).await.ok();
        publisher.expect_closed().await.unwrap();
    };
    let (watched, (), (), ()) = tokio::join!(viewer, killer, garbage, vandal);
    assert_eq!(publisher.ended().await, "");
    let folder = tempfile::tempdir().unwrap();
    let files = watched.write(folder.path());
    assert_eq!(files.len(), 1);
    assert_eq!(
        frame_count(&files[0]),
        frame_count(&path),
        "complete to the last frame"
    );
    assert!(server.metric("weir_task_panics_total").await < 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_told_and_never_logged() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let mut wrong = channel.stream_key.clone();
    let last = if wrong.pop() == Some('x') { 'y' } else { 'x' };
    wrong.push(last);
    let url = format!("rtmp://{}/app/{wrong}", server.rtmp);
    let told = Publisher::once(&clip("fps30.flv"), &url).ended().await;
    assert_ne!(told, "", "ffmpeg is told");
    assert!(server.live(&channel).await.is_none());
    let log = std::fs::read_to_string(server.data.path().join("weir.log")).unwrap();
    let secret = |key: &str| key.rsplit('_').next().unwrap().to_owned();
    assert!(!log.contains(&secret(&wrong)), "keys never in logs");
}
