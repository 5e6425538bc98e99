//! The walk of one frame: a known access unit enters by TCP and is found in the HTTP bytes.

use reqwest::Url;

use super::support::rtmp_client::{
    Publisher, aac_config, aac_frame, avc_config, inter_frame, key_frame,
};
use super::support::server::{Channel, TestServer};
use super::support::viewer::{follow_to_end, media_playlist_url};

const FPS: u32 = 30;
const GOP: u32 = 60;

/// The marked picture is neither first nor last of anything.
const MARKED: u32 = 77;

/// The picture's payload: fill bytes that occur nowhere else.
fn fill(frame: u32) -> u8 {
    if frame == MARKED { 0xd7 } else { 0x11 }
}

/// Sends pictures `from..to` of a stream at 30 fps, 2 s a GOP, with sound; `shift_ms` is added to
/// every timestamp. Headers are repeated before each IDR picture, as encoders do.
async fn send(publisher: &mut Publisher, from: u32, to: u32, shift_ms: u32) {
    let mut sounds = (from * 1000 / FPS * 48).div_ceil(1024);
    for frame in from..to {
        let at_ms = frame * 1000 / FPS;
        while sounds * 1024 / 48 <= at_ms {
            let sound = aac_frame(100, 0x22);
            publisher
                .send_audio(sounds * 1024 / 48 + shift_ms, &sound)
                .await
                .unwrap();
            sounds += 1;
        }
        let body = if frame % GOP == 0 {
            publisher
                .send_video(at_ms + shift_ms, &avc_config())
                .await
                .unwrap();
            key_frame(500, fill(frame))
        } else {
            inter_frame(500, fill(frame))
        };
        publisher.send_video(at_ms + shift_ms, &body).await.unwrap();
    }
}

async fn connect(server: &TestServer, channel: &Channel) -> Publisher {
    let key = &channel.stream_key;
    let mut publisher = Publisher::connect(server.rtmp, "app", key).await.unwrap();
    publisher.send_video(0, &avc_config()).await.unwrap();
    publisher.send_audio(0, &aac_config()).await.unwrap();
    publisher
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_access_unit_is_found_in_the_part_that_holds_its_time() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let mut publisher = connect(&server, &channel).await;
    send(&mut publisher, 0, 3 * GOP + 1, 0).await;
    let url: Url = media_playlist_url(&channel.playback_url).await;
    let viewer = follow_to_end(&url);
    let (watched, unpublished) = tokio::join!(viewer, publisher.unpublish());
    unpublished.unwrap();

    assert!(watched.discontinuities.is_empty());
    let mark = [0xd7; 400];
    let holds_mark = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    let holding = watched
        .parts
        .iter()
        .filter(|(_, (_, bytes))| holds_mark(bytes));
    let holding: Vec<_> = holding.map(|(position, _)| *position).collect();
    // 60 pictures a segment, 10 a part: picture 77 is in the second part of the second segment.
    let first_msn = watched.last.first_msn;
    assert_eq!(holding, [(first_msn + 1, 1)], "{:?}", watched.last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_pauses_in_mid_gop_goes_on_behind_a_discontinuity() {
    // Where nothing is transcoded; elsewhere the picture stays until the next one.
    let server = TestServer::start_with(&[("WEIR__TRANSCODE__ENABLED", "false")]).await;
    let channel = server.channel().await;
    let mut publisher = connect(&server, &channel).await;
    send(&mut publisher, 0, 2 * GOP + 20, 0).await;
    let url: Url = media_playlist_url(&channel.playback_url).await;
    // Two seconds are missing: the open segment cannot take what follows.
    send(&mut publisher, 2 * GOP + 20, 6 * GOP + 1, 2_000).await;
    let viewer = follow_to_end(&url);
    let (watched, unpublished) = tokio::join!(viewer, publisher.unpublish());
    unpublished.unwrap();
    // Until the next IDR picture gaps may be listed, as a timeline of their own.
    let breaks = watched.discontinuities.len();
    assert!((1..=2).contains(&breaks), "{:?}", watched.last);
    assert!(
        watched.segments.values().all(|extinf| *extinf < 2.5),
        "{:?}",
        watched.segments
    );
    // Whole segments before the pause, the torn one, and from the next IDR picture on.
    assert!(watched.segments.len() >= 6, "{:?}", watched.segments);
    assert!(server.metric("weir_streams_refused_total").await < 1.0);
}
