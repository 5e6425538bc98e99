//! Everything that encoders and servers do, while the stream checker watches: no rule that must hold is
//! broken, and hls.js plays on without a reload.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use tokio::io::{copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;
use weir::conformance::{Finding, Level, Note, Options, Outcome, Report, check};

use super::players::{number, script};
use super::support::clips::clip;
use super::support::flv::Recording;
use super::support::ladder::scene::{Source, file, recording};
use super::support::publisher::Publisher;
use super::support::server::{Channel, TestServer};
use super::support::viewer::media_playlist_url;
use super::support::{MACHINE, eventually, within};

/// What a busy machine may delay.
const SLACK: Duration = Duration::from_millis(1500);
/// Media, in seconds, that a player is too late for: until it starts, and what it then holds back.
const MISSED_AT_FIRST: f64 = 7.0;
/// Pauses of a player that starts at the live edge.
const MAX_STALLS: f64 = 3.0;
/// Where 24 bits of milliseconds end.
const EXTENDED: u32 = 0x00FF_FFFF;

async fn checked(channel: &Channel, seconds: u64) -> Report {
    let options = Options {
        url: Url::parse(&channel.playback_url).unwrap(),
        duration: Duration::from_secs(seconds),
        slack: SLACK,
        outage: Duration::from_secs(15),
    };
    let check = within(seconds + 60, "end of the check", check(options));
    check.await.unwrap()
}

/// Nothing that must hold is broken, and no hole is longer than players bridge.
fn assert_holds(what: &str, report: &Report) {
    assert_holds_but(what, report, "");
}

/// As [`assert_holds`], whatever there is of one kind.
fn assert_holds_but(what: &str, report: &Report, kind: &str) {
    let is_bad = |finding: &&Finding| {
        finding.kind != kind && (finding.level == Level::Must || finding.kind == "hole")
    };
    let broken: Vec<_> = report.findings.iter().filter(is_bad).collect();
    assert!(broken.is_empty(), "{what}: {report}");
    let is_gone = |note: &&Note| note.text.contains("is gone");
    let gone: Vec<_> = report.notes.iter().filter(is_gone).collect();
    assert!(gone.is_empty(), "{what}: {report}");
    let parts: u64 = report
        .renditions
        .iter()
        .map(|followed| followed.parts)
        .sum();
    assert!(parts > 60, "{what}: too little was seen: {report}");
}

/// hls.js alone, from the live edge on.
async fn played(channel: &Channel, seconds: u32) -> Value {
    let seconds = seconds.to_string();
    let args = [
        "--url",
        &channel.playback_url,
        "--from-live-edge",
        "--seconds",
        &seconds,
    ];
    script("frames.mjs", &args).await
}

fn assert_played(what: &str, seen: &Value, least_seconds: f64) {
    assert!(seen.get("fatal").unwrap().is_null(), "{what}: {seen}");
    let from = number(seen, "started");
    let advanced = number(seen, "currentTime") - from;
    assert!(advanced > least_seconds, "{what}: {advanced} s: {seen}");
}

/// From soon after the start to the end, with no more than the pause of a start.
fn assert_played_to_the_end(what: &str, seen: &Value, seconds: u64) {
    let seconds = f64::from(u32::try_from(seconds).unwrap());
    assert_played(what, seen, seconds - MISSED_AT_FIRST);
    assert_eq!(seen["ended"], true, "{what}: {seen}");
    let left = number(seen, "duration") - number(seen, "currentTime");
    assert!(left.abs() < 0.5, "{what}: {left} s are left: {seen}");
    assert!(number(seen, "stalls") <= MAX_STALLS, "{what}: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_killed_and_returns_ten_times() {
    let _alone = MACHINE.write().await;
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let path = clip("fps30.flv");
    let mut publisher = Publisher::looping(&path, &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let disturb = async {
        for away_ms in [200, 4500, 1000, 2000, 500, 3000, 100, 1500, 2500, 700] {
            // An encoder's life, not a wait for something to happen.
            sleep(Duration::from_millis(3500)).await;
            publisher.kill().await;
            sleep(Duration::from_millis(away_ms)).await;
            publisher = Publisher::looping(&path, &channel.ingest_url);
        }
        publisher
    };
    let (report, seen, publisher) =
        tokio::join!(checked(&channel, 58), played(&channel, 55), disturb);
    publisher.kill().await;
    assert_holds("killed", &report);
    assert_played("killed", &seen, 30.0);
    eventually(10, "the last of eleven losses", || async {
        let lost = server.log().matches("session: publisher lost").count();
        (lost == 11).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn takeovers_and_replacements() {
    let _alone = MACHINE.write().await;
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let path = clip("fps30.flv");
    let first = Publisher::looping(&path, &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let disturb = async {
        let mut all = vec![first];
        for suffix in ["", "?priority=1", "?priority=2", "?priority=2"] {
            sleep(Duration::from_secs(5)).await;
            let url = format!("{}{suffix}", channel.ingest_url);
            all.push(Publisher::looping(&path, &url));
        }
        sleep(Duration::from_secs(5)).await;
        all
    };
    let (report, seen, all) = tokio::join!(checked(&channel, 26), played(&channel, 24), disturb);
    assert_holds("takeover", &report);
    assert_played("takeover", &seen, 15.0);
    drop(all);
    let log = server.log();
    assert_eq!(log.matches("event: Stream Takeover").count(), 2, "{log}");
}

/// Carries one connection to `server` until `frozen`; then nothing is forwarded, and nothing closed. Ends when the server
/// closes it.
async fn half_open_path(listener: TcpListener, server: SocketAddr, frozen: &Notify) {
    let (mut encoder, _) = listener.accept().await.unwrap();
    let mut upstream = TcpStream::connect(server).await.unwrap();
    tokio::select! {
        ended = copy_bidirectional(&mut encoder, &mut upstream) => panic!("{ended:?} before it froze"),
        () = frozen.notified() => {}
    }
    // The server may close it with a reset: what it has been sent is not all read.
    copy(&mut upstream, &mut sink()).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_gives_way_to_the_next() {
    let _alone = MACHINE.write().await;
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let path = clip("fps30.flv");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let detour = listener.local_addr().unwrap().to_string();
    let url = channel
        .ingest_url
        .replace(&server.rtmp.to_string(), &detour);
    assert_ne!(url, channel.ingest_url);
    let first = Publisher::looping(&path, &url);
    let frozen = Notify::new();
    let disturb = async {
        sleep(Duration::from_secs(3)).await;
        frozen.notify_one();
        let second = Publisher::looping(&path, &channel.ingest_url);
        sleep(Duration::from_secs(8)).await;
        second
    };
    let watched = async {
        media_playlist_url(&channel.playback_url).await;
        tokio::join!(checked(&channel, 12), played(&channel, 10), disturb)
    };
    let carried = half_open_path(listener, server.rtmp, &frozen);
    let carried = within(60, "close by the server", carried);
    let ((), (report, seen, second)) = tokio::join!(carried, watched);
    // Who is silent is not lost yet: there is a slate after three seconds, and players run dry before.
    assert_holds_but("half-open", &report, "hole");
    assert_played("half-open", &seen, 5.0);
    let log = server.log();
    assert!(log.contains("replaced by a newer connection"), "{log}");
    second.kill().await;
    first.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_killed_while_it_serves() {
    let _alone = MACHINE.write().await;
    let mut server = TestServer::start().await;
    let channel = server.channel().await;
    let path = clip("fps30.flv");
    let first = Publisher::looping(&path, &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let disturb = async {
        sleep(Duration::from_secs(8)).await;
        server.kill_and_restart().await;
        sleep(Duration::from_secs(2)).await;
        Publisher::looping(&path, &channel.ingest_url)
    };
    let (report, second) = tokio::join!(checked(&channel, 30), disturb);
    assert_holds("kill -9", &report);
    second.kill().await;
    first.kill().await;
}

/// What an encoder sends, and for how long.
fn sources() -> Vec<(&'static str, Source)> {
    let edited = |recording: Recording| Source::Edited(recording);
    let whole = || recording("ladder_360p30.flv");
    // Two GOPs, two of another clip, two again: what changes changes back.
    let between = |name| {
        whole()
            .gops(2)
            .then(recording(name).gops(2))
            .then(whole().gops(2))
    };
    vec![
        ("size", edited(between("fps30_480p.flv"))),
        ("parameters", edited(between("plain_360p30.flv"))),
        ("longgop", file("longgop51.flv")),
        ("gop250", file("gop250_360p30.flv")),
        ("vfr", file("vfr.flv")),
        ("mute", edited(whole().without_audio(4_500..7_500))),
        ("soundless", edited(whole().without_audio(4_500..))),
        ("extended", edited(whole().starting_at(EXTENDED - 5_000))),
        ("wrap", edited(whole().starting_at(u32::MAX - 5_000))),
        ("forward", edited(whole().jump(6_000, 10_000))),
        (
            "back",
            edited(whole().starting_at(20_000).jump(26_000, -10_000)),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_encoder_sends_the_stream_keeps_to_the_rules() {
    let _alone = MACHINE.write().await;
    let server = TestServer::start().await;
    for (name, source) in sources() {
        let channel = server.new_channel_with(name, &[]).await;
        let seconds = source.seconds();
        let watching = async {
            media_playlist_url(&channel.playback_url).await;
            // Both stop where the stream ends.
            tokio::join!(checked(&channel, seconds + 20), played(&channel, 60))
        };
        let ((report, seen), ()) = tokio::join!(watching, source.publish(&server, &channel));
        assert_holds(name, &report);
        assert_eq!(
            report.rules[37].outcome,
            Outcome::Held,
            "{name}: seen to its end: {report}"
        );
        assert_played_to_the_end(name, &seen, seconds);
    }
}
