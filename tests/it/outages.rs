//! A database that is away: live streams go on, and afterwards everything agrees.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::api::{self, call};
use super::support::clips::clip;
use super::support::publisher::Publisher;
use super::support::viewer::{client, follow, media_playlist_url};
use super::support::{eventually, postgres, within};

/// How long the database is away.
const AWAY: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_and_its_encoders_return_do_without_the_database_for_a_minute() {
    let mut database = postgres::Server::own().await;
    let server = api::server(&[("WEIR_DATABASE_URL", &database.url())]).await;
    let channel = server.channel().await;
    let first = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let playlist = media_playlist_url(&channel.playback_url).await;
    let arn = call(&server, "list_channels", &json!({})).await["channels"][0]["arn"].clone();
    let sessions = async || {
        let listed = call(&server, "list_stream_sessions", &json!({"channelArn": arn})).await;
        listed["streamSessions"].as_array().unwrap().clone()
    };
    let is_recorded = async || (sessions().await.len() == 1).then_some(());
    eventually(30, "recorded session", is_recorded).await;

    database.stop();
    let back = Instant::now() + AWAY;
    let asked = client().get(format!("http://{}/v1/webhooks", server.http));
    let asked = asked.basic_auth(api::KEY_ID, Some(api::SECRET));
    let answer = within(10, "refusal", asked.send()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    first.kill().await;
    let second = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let watched = within(75, "a minute of playlists", async {
        follow(&playlist, |_| Instant::now() >= back).await
    })
    .await;
    assert!(!watched.last.is_ended, "it plays on");
    let lasts: f64 = watched.segments.values().sum();
    assert!(lasts > AWAY.as_secs_f64() - 10.0, "{lasts} s of playlists");
    let lost = watched.gaps.len();
    assert!(
        lost < 10,
        "{lost} segments of {} are gaps",
        watched.segments.len()
    );
    sleep_until(back).await;

    database.start_again();
    let is_recorded = async || (sessions().await.len() == 2).then_some(());
    eventually(60, "the second session", is_recorded).await;
    second.kill().await;
    let is_over = async || {
        let all = sessions().await;
        all.iter()
            .all(|session| session["endTime"].is_string())
            .then_some(all)
    };
    let all = eventually(90, "ends of both sessions", is_over).await;
    for session in all {
        let wanted = json!({"channelArn": arn, "streamId": session["streamId"]});
        let told = call(&server, "get_stream_session", &wanted).await;
        let events = told["streamSession"]["truncatedEvents"].as_array().unwrap();
        let names: Vec<_> = events
            .iter()
            .map(|event| event["name"].as_str().unwrap())
            .collect();
        for name in [
            "Session Created",
            "Stream Start",
            "Stream End",
            "Session Ended",
        ] {
            assert!(names.contains(&name), "{name} is missing: {names:?}");
        }
    }
}
