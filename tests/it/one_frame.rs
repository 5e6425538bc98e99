//! The walk of one frame: a known access unit enters by TCP and is found in the HTTP bytes.

use reqwest::Url;

use super::support::rtmp_client::{
    Publisher, aac_config, aac_frame, avc_config, inter_frame, key_frame,
};
use super::support::server::TestServer;
use super::support::viewer::{follow_to_end, media_playlist_url};
use super::support::within;

const FPS: u32 = 30;
const GOP: u32 = 60;

/// The marked picture is neither first nor last of anything.
const MARKED: u32 = 77;

/// The picture's payload: fill bytes that occur nowhere else.
fn fill(frame: u32) -> u8 {
    if frame == MARKED { 0xd7 } else { 0x11 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_access_unit_is_found_in_the_part_that_holds_its_time() {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let key = &channel.stream_key;
    let mut publisher = Publisher::connect(server.rtmp, "app", key).await.unwrap();
    publisher.send_video(0, &avc_config()).await.unwrap();
    publisher.send_audio(0, &aac_config()).await.unwrap();
    let mut audio_ms = 0.0;
    for frame in 0..=3 * GOP {
        let timestamp = frame * 1000 / FPS;
        while audio_ms <= f64::from(timestamp) {
            let audio = aac_frame(100, 0x22);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small"
            )]
            publisher.send_audio(audio_ms as u32, &audio).await.unwrap();
            audio_ms += 1024.0 / 48.0;
        }
        if frame % GOP == 0 {
            // Encoders repeat their headers; that changes nothing.
            publisher
                .send_video(timestamp, &avc_config())
                .await
                .unwrap();
            publisher
                .send_video(timestamp, &key_frame(500, fill(frame)))
                .await
                .unwrap();
        } else {
            publisher
                .send_video(timestamp, &inter_frame(500, fill(frame)))
                .await
                .unwrap();
        }
    }
    let url: Url = media_playlist_url(&channel.playback_url).await;
    let viewer = follow_to_end(&url);
    let (watched, unpublished) = tokio::join!(viewer, publisher.unpublish());
    unpublished.unwrap();

    assert!(watched.discontinuities.is_empty());
    let mark = [0xd7; 400];
    let holding = watched
        .parts
        .iter()
        .filter(|(_, (_, bytes))| bytes.windows(mark.len()).any(|window| window == mark));
    let holding: Vec<_> = holding.map(|(position, _)| *position).collect();
    // 60 pictures a segment, 10 a part: picture 77 is in the second part of the second segment.
    let first_msn = watched.last.first_msn;
    assert_eq!(holding, [(first_msn + 1, 1)], "{:?}", watched.last);
    within(5, "metrics", server.metric("weir_parts_total")).await;
}
