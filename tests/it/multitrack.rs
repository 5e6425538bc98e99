//! An encoder sends several tracks of pictures: where they may come, and must, and which of them viewers see.

use serde_json::{Value, json};

use super::api;
use super::support::clips::{clip, frame_count};
use super::support::flv::{Recording, Tag, kind};
use super::support::rtmp_client::Publisher;
use super::support::server::{Channel, TestServer};
use super::support::viewer::{follow_to_end, media_playlist_url};
use super::support::{eventually, within};

/// A channel that takes several tracks of pictures.
async fn channel(server: &TestServer, policy: &str) -> Channel {
    let channel = server.new_channel(policy).await;
    let input = json!({
        "arn": format!("arn:aws:ivs:us-east-1:000000000000:channel/{}", channel.id),
        "type": "STANDARD",
        "containerFormat": "FRAGMENTED_MP4",
        "multitrackInputConfiguration": {"enabled": true, "policy": policy, "maximumResolution": "FULL_HD"},
    });
    api::call(server, "update_channel", &input).await;
    channel
}

/// A picture's message of H.264 as ever, as that of another track.
fn as_track(tag: &Tag, number: u8) -> Tag {
    let [first, packet_type, rest @ ..] = &tag.body[..] else {
        panic!("{tag:?}");
    };
    // Only a picture has a composition time here.
    let rest = &rest[if *packet_type == 1 { 0 } else { 3 }..];
    let head = [0x80 | first & 0x70 | 6, *packet_type];
    let body = [&head, &b"avc1"[..], &[number], rest].concat();
    Tag {
        body,
        ..tag.clone()
    }
}

/// The recording with the pictures of `other` as more tracks, as OBS sends them.
fn with_tracks(own: &Recording, other: &Recording, numbers: std::ops::Range<u8>) -> Recording {
    let mut tags = own.tags.clone();
    let pictures = other.tags.iter().filter(|tag| tag.kind == kind::VIDEO);
    for tag in pictures {
        tags.extend(numbers.clone().map(|number| as_track(tag, number)));
    }
    // Stable: the first track stays the first of each moment.
    tags.sort_by_key(|tag| tag.at_ms);
    Recording { tags }
}

/// The stream session, as it is told while it is live.
async fn session(server: &TestServer, channel: &Channel) -> Value {
    let arn = format!("arn:aws:ivs:us-east-1:000000000000:channel/{}", channel.id);
    let input = json!({"channelArn": arn});
    api::call(server, "get_stream_session", &input).await["streamSession"].clone()
}

/// What the end of the channel's stream session is told with.
async fn code_of_end(server: &TestServer, channel: &Channel) -> Option<String> {
    let ended = eventually(10, "the end of the session", || async {
        let events = server.events(channel).await;
        let is_end = |event: &Value| event["event_name"] == "Session Ended";
        events.into_iter().rev().find(is_end)
    });
    ended.await["code"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_tracks_viewers_see_the_first_and_the_streamer_is_told() {
    let server = api::server(&[api::UNLIMITED]).await;
    let own = Recording::read(&clip("fps30.flv")).gops(3);
    let other = Recording::read(&clip("fps24.flv")).gops(3);
    let recording = with_tracks(&own, &other, 1..5);
    for policy in ["ALLOW", "REQUIRE"] {
        let channel = channel(&server, policy).await;
        let publisher = Publisher::connect(server.rtmp, "app", &channel.stream_key).await;
        let watch = async {
            let url = media_playlist_url(&channel.playback_url).await;
            tokio::join!(follow_to_end(&url), session(&server, &channel))
        };
        let both = async { tokio::join!(watch, recording.publish(publisher.unwrap())) };
        let ((watched, session), published) =
            Box::pin(within(60, "end of the playlist", both)).await;
        published.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = watched.write(folder.path());
        assert_eq!(files.len(), 1, "no discontinuity");
        assert_eq!(frame_count(&files[0]), own.pictures(), "every frame");
        let videos = session["ingestConfigurations"]["videoConfigurations"].as_array();
        let tracks = videos.unwrap().iter().map(|video| &video["track"]);
        let expected = ["Track0", "Track1", "Track2", "Track3", "Track4"];
        assert!(tracks.eq(expected.iter()), "{session}");
        assert_eq!(videos.unwrap()[4]["codec"], "avc1.64000C");
        assert_eq!(code_of_end(&server, &channel).await, None);
        let events = server.events(&channel).await;
        let told = events
            .iter()
            .filter(|event| event["code"] == "tracks_unused");
        assert_eq!(told.count(), 1, "{events:?}");
    }
    assert!(server.metric("weir_task_panics_total").await < 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tracks_against_the_rules_end_the_session_with_the_code_of_ivs() {
    let server = api::server(&[api::UNLIMITED]).await;
    let one = Recording::read(&clip("fps30.flv"));
    let three = with_tracks(&one, &one, 1..3);
    let six = with_tracks(&one, &one, 1..6);
    let larger = with_tracks(&one, &Recording::read(&clip("ladder_720p30.flv")), 1..2);
    let plain = server.new_channel("plain").await;
    let allowing = channel(&server, "ALLOW").await;
    let requiring = channel(&server, "REQUIRE").await;
    for (channel, recording, code, words) in [
        (
            &plain,
            &three,
            "MultitrackInputNotAllowed",
            "one video track",
        ),
        (
            &allowing,
            &six,
            "InvalidMultitrackInputTrackCount",
            "more than 5",
        ),
        (
            &allowing,
            &larger,
            "InvalidMultitrackInputVideoTrackMediaProperties",
            "is larger than the first one",
        ),
        (
            &requiring,
            &one,
            "MultitrackInputRequired",
            "several video tracks only",
        ),
    ] {
        let publisher = Publisher::connect(server.rtmp, "app", &channel.stream_key).await;
        let mut publisher = publisher.unwrap();
        for tag in recording.tags.iter().filter(|tag| tag.at_ms <= 600) {
            publisher
                .send_message(tag.kind, tag.at_ms, &tag.body)
                .await
                .unwrap();
        }
        let status = publisher.expect_status().await.unwrap();
        assert_eq!(status.code, "NetStream.Publish.Rejected", "{code}");
        assert!(status.description.contains(words), "{}", status.description);
        assert_eq!(code_of_end(&server, channel).await.as_deref(), Some(code));
        assert!(server.live(channel).await.is_none(), "{code}");
    }
    assert!(server.metric("weir_task_panics_total").await < 1.0);
}
