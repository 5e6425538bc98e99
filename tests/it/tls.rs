//! HTTPS and RTMPS on one port: encoders, players, the checker, new certificates, and those who only take up room.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{StatusCode, Url, Version};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::players::{number, script};
use super::support::clips::clip;
use super::support::publisher::Publisher;
use super::support::tls::Secured;
use super::support::viewer::MediaPlaylist;
use super::support::{MACHINE, eventually, within};

/// The URL of the first media playlist, once there is one.
async fn media_playlist(client: &reqwest::Client, playback_url: &str) -> Url {
    let text = eventually(30, "live channel", || async {
        let answer = client.get(playback_url).send().await.unwrap();
        let is_live = answer.status() == StatusCode::OK;
        is_live.then_some(answer)
    });
    let text = text.await.text().await.unwrap();
    let uri = text.lines().find(|line| line.starts_with("s/")).unwrap();
    Url::parse(playback_url).unwrap().join(uri).unwrap()
}

/// The URL of the next part's playlist.
fn reload(url: &Url, list: &MediaPlaylist, ahead: u32) -> Url {
    let (msn, part) = list.next();
    let mut next = url.clone();
    next.set_query(Some(&format!("_HLS_msn={msn}&_HLS_part={}", part + ahead)));
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn encoders_players_and_the_checker_meet_on_one_port() {
    let _calm = MACHINE.read().await;
    let mut stage = Secured::start(&[]).await;
    let channel = stage.server.channel().await;
    assert!(channel.playback_url.starts_with("https://"));
    let publisher = Publisher::looping(&clip("ladder_360p30.flv"), &stage.ingest_url(&channel));
    let client = stage.client();
    let url = media_playlist(&client, &channel.playback_url).await;

    // curl plays: entry, playlist by blocking reload, part.
    let (told, entry) = stage.curl(&channel.playback_url, &["--http2"]).await;
    assert_eq!((&*told, entry.starts_with("#EXTM3U")), ("2 200", true));
    let (told, text) = stage.curl(url.as_str(), &["--http2"]).await;
    assert_eq!(told, "2 200");
    let next = reload(&url, &MediaPlaylist::parse(&text), 0);
    let (told, text) = stage.curl(next.as_str(), &["--http2"]).await;
    assert_eq!(told, "2 200");
    let list = MediaPlaylist::parse(&text);
    let part = url.join(&list.parts.last().unwrap().uri).unwrap();
    let into_nothing = ["--http2", "--output", "/dev/null"];
    assert_eq!(stage.curl(part.as_str(), &into_nothing).await.0, "2 200");
    // By older ways, too.
    for (options, told) in [(["--http1.1"], "1.1 200"), (["--no-alpn"], "1.1 200")] {
        assert_eq!(stage.curl(url.as_str(), &options).await.0, told);
    }
    let tls12 = ["--http2", "--tls-max", "1.2"];
    assert_eq!(stage.curl(url.as_str(), &tls12).await.0, "2 200");

    // So does a browser.
    let seen = script(
        "watch.mjs",
        &[
            "--url",
            &channel.watch_url,
            "--seconds",
            "4",
            "--any-certificate",
        ],
    )
    .await;
    assert_eq!(seen["state"], "live", "{seen}");
    assert_eq!(seen["protocols"], serde_json::json!(["h2"]), "{seen}");
    let advanced = number(&seen, "currentTimeEnd") - number(&seen, "currentTimeStart");
    assert!(advanced > 2.0, "{seen}");

    let trusted = stage.certificate().display().to_string();
    let arguments = ["--seconds", "12", "--slack-ms", "1000", "--json"];
    let arguments = [&["check-stream", &channel.playback_url], &arguments[..]].concat();
    let trust = [("SSL_CERT_FILE", &*trusted)];
    let output = stage.server.run(&arguments, &trust).await;
    let report = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["summary"]["must"], 0, "{report:#}");
    for rule in [42, 43] {
        assert_eq!(report["rules"][rule - 1]["outcome"], "held", "{report:#}");
    }

    // A stop: whoever waits is answered, by TLS as without it.
    let list = client.get(url.clone()).send().await.unwrap().text().await;
    let next = reload(&url, &MediaPlaylist::parse(&list.unwrap()), 2);
    let waiting = client.get(next).send();
    let (answer, status) = tokio::join!(waiting, stage.server.terminate());
    assert!(status.success(), "{status}");
    let answer = answer.unwrap();
    assert_eq!(
        (answer.status(), answer.version()),
        (StatusCode::OK, Version::HTTP_2)
    );
    let last = MediaPlaylist::parse(&answer.text().await.unwrap());
    assert!(last.is_ended || !last.parts.is_empty());
    assert_ne!(publisher.ended().await, "", "the encoder was sent away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_holds_at_once_and_a_broken_one_never() {
    let stage = Secured::start(&[]).await;
    let channel = stage.server.channel().await;
    let basic = stage
        .server
        .new_channel_with("basic", &["--type", "BASIC"])
        .await;
    let _publisher = Publisher::looping(&clip("fps30.flv"), &stage.ingest_url(&basic));
    let old = stage.client();
    let url = media_playlist(&old, &basic.playback_url).await;
    let parts = async |client: &reqwest::Client| {
        let text = client.get(url.clone()).send().await?.text().await?;
        Ok::<_, reqwest::Error>(MediaPlaylist::parse(&text).next())
    };
    let before = parts(&old).await.unwrap();

    let good = std::fs::read(stage.certificate()).unwrap();
    std::fs::write(stage.certificate(), &good[..good.len() / 3]).unwrap();
    eventually(10, "complaint", || async {
        let log = stage.server.log();
        log.contains("the TLS certificate stays as it was")
            .then_some(())
    })
    .await;
    // A connection of its own, which shakes hands anew.
    std::fs::write(stage.certificate(), &good).unwrap();
    parts(&stage.client()).await.unwrap();

    stage.renew().await;
    let new = eventually(10, "new certificate", || async {
        let new = stage.client();
        parts(&new).await.is_ok().then_some(new)
    })
    .await;
    let stranger = reqwest::Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(&good).unwrap())
        .build()
        .unwrap();
    assert!(parts(&stranger).await.is_err(), "the old one is gone");
    // The connection of before, and the encoder's, know nothing of it.
    let after = parts(&old).await.unwrap();
    assert!(after > before && parts(&new).await.is_ok());
    assert!(
        stage
            .server
            .log()
            .contains("the TLS certificate is a new one")
    );
    assert!(stage.server.live(&basic).await.is_some());
    assert!(stage.server.live(&channel).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_publishing_can_be_refused() {
    let stage = Secured::start(&[("WEIR__INGEST__REQUIRE_TLS", "true")]).await;
    let server = &stage.server;
    let strict = server
        .new_channel_with("strict", &["--type", "BASIC"])
        .await;
    let lax = ["--type", "BASIC", "--insecure-ingest", "true"];
    let lax = server.new_channel_with("lax", &lax).await;
    let clip = clip("fps30.flv");
    let refused = Publisher::once(&clip, &strict.ingest_url).ended().await;
    assert_ne!(refused, "");
    let log = eventually(10, "refusal", || async {
        let log = server.log();
        log.contains("publish to rtmps:// instead").then_some(log)
    });
    assert!(log.await.contains("Rejected"));
    let urls = [stage.ingest_url(&strict), lax.ingest_url.clone()];
    let _publishers = urls.map(|url| Publisher::looping(&clip, &url));
    let client = stage.client();
    for channel in [&strict, &lax] {
        media_playlist(&client, &channel.playback_url).await;
    }
}

/// Half a `ClientHello`, nothing, a byte that is no TLS, a request without TLS.
const NUISANCES: [&[u8]; 4] = [
    &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc],
    b"",
    b"\x03",
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn half_handshakes_by_the_hundred_hurt_nobody() {
    let _calm = MACHINE.read().await;
    let stage = Secured::start(&[("WEIR__TLS__MAX_HANDSHAKES", "64")]).await;
    let basic = stage
        .server
        .new_channel_with("basic", &["--type", "BASIC"])
        .await;
    let publisher = Publisher::once(&clip("fps30_20s.flv"), &stage.ingest_url(&basic));
    let client = stage.client();
    let url = media_playlist(&client, &basic.playback_url).await;

    let tls = stage.tls;
    let attack = join_all((0..600).map(|n| async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let mut stream = socket.connect(tls).await.unwrap();
        // Those that are given up meanwhile cannot be written to.
        stream.write_all(NUISANCES[n % 4]).await.ok();
        let mut rest = Vec::new();
        let closed = stream.read_to_end(&mut rest);
        within(60, "end of a nuisance", closed).await.ok();
    }));
    let is_over = AtomicBool::new(false);
    let attack = async {
        attack.await;
        is_over.store(true, Ordering::Relaxed);
    };
    // Newcomers get in while it lasts, and playlists come as they should.
    let viewers = async {
        let mut slowest = Duration::ZERO;
        while !is_over.load(Ordering::Relaxed) {
            let begin = Instant::now();
            let answer = stage.client().get(url.clone()).send().await.unwrap();
            let list = MediaPlaylist::parse(&answer.text().await.unwrap());
            assert!(!list.parts.is_empty());
            slowest = slowest.max(begin.elapsed());
        }
        slowest
    };
    let ((), slowest) = tokio::join!(attack, viewers);
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    assert_eq!(publisher.ended().await, "", "the encoder saw nothing of it");
    let end = client.get(url).send().await.unwrap();
    let end = MediaPlaylist::parse(&end.text().await.unwrap());
    assert!(end.gaps.is_empty() && end.discontinuities.is_empty());
    assert!(stage.server.metric("weir_tls_handshakes_total").await >= 600.0);
    assert!(!stage.server.log().contains("panicked"));
}
