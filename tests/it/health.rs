//! How a stream comes, told to who may know; limits on what is sent; the operator's stop.

use reqwest::header::{AUTHORIZATION, ORIGIN, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::support::clips::clip;
use super::support::publisher::Publisher;
use super::support::rtmp_client::{self, Amf, avc_config};
use super::support::server::{Channel, TestServer};
use super::support::viewer::{client, follow_to_end, media_playlist_url};
use super::support::{eventually, within};

const ROOT: [(&str, &str); 2] = [
    ("WEIR_ROOT_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("WEIR_ROOT_SECRET_ACCESS_KEY", "hunter2hunter2"),
];

fn request(server: &TestServer, id: &str, what: &str) -> RequestBuilder {
    let method = if what == "stop" {
        Method::POST
    } else {
        Method::GET
    };
    let url = format!("http://{}/v1/channels/{id}/{what}", server.http);
    client().request(method, url)
}

async fn json(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

/// The channel's health, asked for with its stream key.
async fn health(server: &TestServer, channel: &Channel) -> Value {
    let asked = request(server, &channel.id, "health").bearer_auth(&channel.stream_key);
    let (status, health) = json(asked).await;
    assert_eq!(status, StatusCode::OK, "{health}");
    health
}

/// Type and name of the channel's events, the oldest first.
async fn event_names(server: &TestServer, channel: &Channel) -> Vec<String> {
    let health = health(server, channel).await;
    let events = health["events"].as_array().unwrap().iter().rev();
    let name = |event: &Value| match event["detail"]["event_name"].as_str() {
        Some(name) => name.to_owned(),
        None => event["detail-type"].as_str().unwrap().to_owned(),
    };
    events.map(name).collect()
}

fn finding<'a>(health: &'a Value, code: &str) -> Option<&'a Value> {
    let mut findings = health["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["code"] == code)
}

/// Adds what a request is to show that it may.
type With = Box<dyn Fn(RequestBuilder) -> RequestBuilder>;

#[tokio::test(flavor = "multi_thread")]
async fn only_who_holds_the_key_may_know() {
    let server = TestServer::start_with(&ROOT).await;
    // The default channel's key is printed at the start.
    let (own, other) = (
        server.new_channel("own").await,
        server.new_channel("other").await,
    );
    let basic = |id, secret| move |r: RequestBuilder| r.basic_auth(id, Some(secret));
    let bearer = |key: &str| {
        let key = key.to_owned();
        move |r: RequestBuilder| r.bearer_auth(key.clone())
    };
    let nobody = "AbCdEf123456";
    let wrong = format!("{}x", own.stream_key);
    // (who asks, for which channel, status of what is there to read, and of a stop)
    let cases: [(With, &str, u16, u16); 11] = [
        (Box::new(bearer(&own.stream_key)), &own.id, 200, 404),
        (
            Box::new(basic("AKIDEXAMPLE", "hunter2hunter2")),
            &own.id,
            200,
            404,
        ),
        (
            Box::new(basic("AKIDEXAMPLE", "hunter2hunter2")),
            nobody,
            404,
            404,
        ),
        (
            Box::new(basic("AKIDEXAMPLE", "hunter2hunter2")),
            "no-id",
            404,
            404,
        ),
        (Box::new(|r| r), &own.id, 401, 401),
        (Box::new(|r| r), nobody, 401, 401),
        (Box::new(bearer(&wrong)), &own.id, 401, 401),
        (Box::new(bearer(&other.stream_key)), &own.id, 401, 401),
        (Box::new(bearer(&own.stream_key)), nobody, 401, 401),
        (Box::new(basic("AKIDEXAMPLE", "hunter2")), &own.id, 401, 401),
        (
            Box::new(|r| r.header(AUTHORIZATION, "Digest x")),
            &own.id,
            401,
            401,
        ),
    ];
    for (n, (with, id, to_read, to_stop)) in cases.iter().enumerate() {
        for (what, expected) in [("health", to_read), ("events", to_read), ("stop", to_stop)] {
            let answer = with(request(&server, id, what)).send().await.unwrap();
            let status = answer.status().as_u16();
            assert_eq!(status, *expected, "case {n}, {what}");
            let has_challenge = answer.headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(has_challenge, status == 401, "case {n}, {what}");
            assert_eq!(answer.headers()["cache-control"], "no-store");
            let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            let is_clear = body["message"].is_string() && body["code"].is_string();
            assert_eq!(is_clear, status != 200, "case {n}, {what}: {body}");
        }
    }
    let idle = health(&server, &own).await;
    assert_eq!(
        (&idle["state"], &idle["health"]),
        (&"OFFLINE".into(), &"UNKNOWN".into())
    );
    let odd = request(&server, &own.id, "health?events=many").bearer_auth(&own.stream_key);
    assert_eq!(json(odd).await.0, StatusCode::BAD_REQUEST);
    assert!(!server.log().contains(&own.stream_key));
}

/// A browser resends Basic credentials by itself, whichever page makes the request.
#[tokio::test(flavor = "multi_thread")]
async fn no_other_site_stops_a_stream_with_credentials_that_a_browser_resends() {
    let elsewhere = ("WEIR_PUBLIC_URL", "https://live.example.org");
    let server = TestServer::start_with(&[ROOT[0], ROOT[1], elsewhere]).await;
    let channel = server.channel().await;
    let own = format!("http://{}", server.http);
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build();
    let by_http2 = http2
        .unwrap()
        .post(format!("{own}/v1/channels/{}/stop", channel.id));
    let basic = || {
        let asked = request(&server, &channel.id, "stop");
        asked.basic_auth(ROOT[0].1, Some(ROOT[1].1))
    };
    for foreign in [
        basic().header("sec-fetch-site", "cross-site"),
        basic().header("sec-fetch-site", "same-site"),
        basic().header(ORIGIN, "https://evil.example"),
        basic().header(ORIGIN, "null"),
    ] {
        let (status, body) = json(foreign).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
        assert_eq!(body["code"], "cross_site");
    }
    let bearer = || request(&server, &channel.id, "stop").bearer_auth(&channel.stream_key);
    for own in [
        basic(),
        basic().header(ORIGIN, &own),
        by_http2
            .basic_auth(ROOT[0].1, Some(ROOT[1].1))
            .header(ORIGIN, &own),
        basic().header("sec-fetch-site", "same-origin"),
        bearer().header("sec-fetch-site", "cross-site"),
    ] {
        let (status, body) = json(own).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
        assert_eq!(body["code"], "channel_not_broadcasting");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_measured_and_stopped_and_may_begin_anew() {
    let server = TestServer::start_with(&ROOT).await;
    let channel = server.new_channel("measured").await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let known = eventually(30, "healthy stream", || async {
        let health = health(&server, &channel).await;
        let has_interval = health["seconds"].as_array()?.last()?["keyframeInterval"].is_number();
        (health["health"] == "HEALTHY" && has_interval).then_some(health)
    })
    .await;
    assert_eq!(known["state"], "LIVE");
    assert_eq!(
        (&known["width"], &known["height"]),
        (&320.into(), &180.into())
    );
    let last = known["seconds"].as_array().unwrap().last().unwrap();
    let number = |key: &str| last[key].as_f64().unwrap();
    assert!((20.0..40.0).contains(&number("frameRate")), "{last}");
    assert!(
        (100_000.0..1_000_000.0).contains(&number("bitrate")),
        "{last}"
    );
    assert!((1.9..2.1).contains(&number("keyframeInterval")), "{last}");
    assert!((2.0..5.0).contains(&number("parts")), "{last}");
    let names = event_names(&server, &channel).await;
    assert_eq!(names[..2], ["Session Created", "Stream Start"]);
    let session = known["streamId"].as_str().unwrap().to_owned();
    assert_eq!(known["events"][0]["detail"]["stream_id"], session.as_str());

    let stopping = async {
        let asked = request(&server, &channel.id, "stop");
        let (status, _) = json(asked.basic_auth(ROOT[0].1, Some(ROOT[1].1))).await;
        assert_eq!(status, StatusCode::OK);
        publisher.ended().await
    };
    let both = async { tokio::join!(follow_to_end(&url), stopping) };
    let (watched, words) = within(20, "ENDLIST", both).await;
    assert_ne!(words, "", "the encoder is sent away");
    assert!(watched.last.is_ended);
    let names = event_names(&server, &channel).await;
    assert_eq!(names[names.len() - 2..], ["Stream End", "Session Ended"]);
    assert!(server.log().contains("stopped by the operator"));

    let again = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    eventually(30, "another stream", || async {
        let health = health(&server, &channel).await;
        let is_another = health["streamId"] != session.as_str();
        (health["state"] == "LIVE" && is_another).then_some(())
    })
    .await;
    again.kill().await;
    assert!(!server.log().contains(&channel.stream_key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_come_as_it_should_is_told_in_words() {
    let server = TestServer::start().await;
    let [long, paused] = [server.channel().await, server.new_channel("paused").await];
    let publisher = Publisher::looping(&clip("longgop_360p30.flv"), &long.ingest_url);
    let pausing = Publisher::looping(&clip("fps30.flv"), &paused.ingest_url);

    let seen = eventually(40, "a long keyframe interval", || async {
        let health = health(&server, &long).await;
        finding(&health, "keyframe_interval_long").map(|_| health.clone())
    })
    .await;
    let words = finding(&seen, "keyframe_interval_long").unwrap()["words"].to_string();
    assert!(
        words.contains("set it to 2 s (OBS: Settings, Output"),
        "{words}"
    );
    let transcoded = finding(&seen, "video_transcoded").unwrap();
    let live = server.live(&long).await.unwrap();
    assert_eq!(
        live["notices"],
        Value::from(vec![transcoded["words"].clone()])
    );
    let told = seen["events"].as_array().unwrap().iter();
    let told = told.filter(|event| event["detail"]["code"] == "keyframe_interval_long");
    assert_eq!(told.count(), 1, "told once");
    publisher.kill().await;

    eventually(30, "healthy stream", || async {
        let health = health(&server, &paused).await;
        (health["health"] == "HEALTHY").then_some(())
    })
    .await;
    pausing.pause().await;
    let starving = eventually(20, "starvation", || async {
        let health = health(&server, &paused).await;
        (health["health"] == "STARVING").then_some(health)
    })
    .await;
    assert!(finding(&starving, "media_slow").is_some(), "{starving}");
    pausing.go_on().await;
    eventually(30, "end of starvation", || async {
        let names = event_names(&server, &paused).await;
        names.contains(&"Starvation End".to_owned()).then_some(())
    })
    .await;
    assert!(
        event_names(&server, &paused)
            .await
            .contains(&"Starvation Start".to_owned())
    );
    pausing.kill().await;
}

/// The breach among a channel's events: its name, value and unit.
fn breach(health: &Value) -> Option<(String, u64, String)> {
    let mut events = health["events"].as_array().unwrap().iter();
    let breach = events.find(|event| event["detail-type"] == "IVS Limit Breach")?;
    let detail = &breach["detail"];
    assert!(detail["exceeded_by"].as_u64().unwrap() > 0, "{detail}");
    let text = |key: &str| detail[key].as_str().unwrap().to_owned();
    let value = detail["limit_value"].as_u64().unwrap();
    Some((text("limit_name"), value, text("limit_unit")))
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bits_end_a_stream_unless_that_is_switched_off() {
    let limit = ("WEIR__LIVE__MAX_BITRATE_KBPS", "150");
    let strict = TestServer::start_with(&[limit]).await;
    let lenient = TestServer::start_with(&[limit, ("WEIR__LIVE__ENFORCE_LIMITS", "false")]).await;
    let [channel, other] = [strict.channel().await, lenient.channel().await];
    let path = clip("fps30.flv");
    let tolerated = Publisher::looping(&path, &other.ingest_url);
    let refused = Publisher::looping(&path, &channel.ingest_url);
    assert_ne!(refused.ended().await, "", "the encoder is sent away");
    let ended = health(&strict, &channel).await;
    let expected = (
        "Ingest Bitrate".to_owned(),
        150_000,
        "bits per second".to_owned(),
    );
    assert_eq!(breach(&ended), Some(expected));
    let names = event_names(&strict, &channel).await;
    assert_eq!(names[names.len() - 2..], ["Stream End", "Session Ended"]);
    assert!(strict.log().contains("above this channel's limit of 0.15"));

    let told = eventually(20, "a finding", || async {
        let health = health(&lenient, &other).await;
        finding(&health, "bitrate_high").map(|_| health.clone())
    })
    .await;
    assert_eq!((&told["state"], breach(&told)), (&"LIVE".into(), None));
    tolerated.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_picture_is_refused_with_the_remedy() {
    let server = TestServer::start_with(&[("WEIR__LIVE__MAX_EDGE_PIXELS", "639")]).await;
    let channel = server.channel().await;
    let key = &channel.stream_key;
    let mut publisher = rtmp_client::Publisher::connect(server.rtmp, "app", key)
        .await
        .unwrap();
    publisher
        .send_metadata(&[("width", Amf::Number(320.0))])
        .await
        .unwrap();
    publisher.send_video(0, &avc_config()).await.unwrap();
    let status = publisher.expect_status().await.unwrap();
    assert_eq!(status.code, "NetStream.Publish.Rejected");
    let words = &status.description;
    assert!(
        words.contains("640x360") && words.contains("OBS: Settings, Video"),
        "{words}"
    );
    publisher.expect_closed().await.unwrap();
    let ended = health(&server, &channel).await;
    let expected = (
        "Ingest Resolution".to_owned(),
        639,
        "pixels per edge".to_owned(),
    );
    assert_eq!(breach(&ended), Some(expected));
}
