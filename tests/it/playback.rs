//! What the origin answers, rule by rule (`origin`; RFC 8216bis appendix B.1), over HTTP/1.1 and
//! h2c, on a stream that a real encoder sends.

use std::io::Read as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, ORIGIN};
use reqwest::{Method, StatusCode, Url, Version};
use tokio::time::Instant;
use weir::base::clock::{Clock as _, SystemClock};

use super::support::clips::clip;
use super::support::publisher::Publisher;
use super::support::server::TestServer;
use super::support::viewer::{MediaPlaylist, client, follow, get, media_playlist_url, text};
use super::support::within;

fn header(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

fn with_query(url: &Url, query: &str) -> String {
    let mut url = url.clone();
    url.set_query(Some(query));
    url.to_string()
}

/// One stream for all rules: a looping publisher, and the playlist once two segments are there.
struct Stage {
    server: TestServer,
    publisher: Publisher,
    playback_url: String,
    url: Url,
    list: MediaPlaylist,
}

async fn stage() -> Stage {
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let seen = within(
        30,
        "two segments",
        follow(&url, |seen| seen.segments.len() >= 2),
    )
    .await;
    Stage {
        server,
        publisher,
        playback_url: channel.playback_url,
        url,
        list: seen.last,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_reload_hints_caching_and_compression() {
    let stage = stage().await;
    playlists_declare_what_they_must(&stage).await;
    blocking_reload(&stage).await;
    refusals(&stage).await;
    hints(&stage).await;
    growing_segments(&stage, client()).await;
    compression_and_cors(&stage).await;
    http2(&stage).await;
    assert!(stage.server.metric("weir_task_panics_total").await < 1.0);
    stage.publisher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_normal_latency_lists_complete_segments_only() {
    let server = TestServer::start().await;
    let options = ["--latency-mode", "NORMAL"];
    let channel = server.new_channel_with("normal", &options).await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let list = text(url.as_str()).await;
    let early = [
        "#EXT-X-PART",
        "#EXT-X-PRE",
        "#EXT-X-SERVER-CONTROL",
        "#EXT-X-REN",
    ];
    assert!(early.iter().all(|tag| !list.contains(tag)), "{list}");
    let list = MediaPlaylist::parse(&list);
    let (_, _, last) = list.segments.last().unwrap();
    let whole = get(url.join(last).unwrap()).await;
    assert_eq!(whole.status(), StatusCode::OK);
    publisher.kill().await;
}

async fn playlists_declare_what_they_must(stage: &Stage) {
    let answer = get(&stage.playback_url).await;
    assert_eq!(
        header(answer.headers(), "cache-control"),
        "no-store",
        "each mints a session"
    );
    assert_eq!(
        header(answer.headers(), "content-type"),
        "application/vnd.apple.mpegurl"
    );
    let multivariant = answer.text().await.unwrap();
    for words in [
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "CODECS=\"avc1.",
        "mp4a.40.2",
        "FRAME-RATE=30.000",
        ",STABLE-VARIANT-ID=\"source\",IVS-NAME=\"180p30\",IVS-VARIANT-SOURCE=\"source\"\n",
        "#EXT-X-SESSION-DATA:DATA-ID=\"NODE\",VALUE=\"us-east-1\"\n",
    ] {
        assert!(multivariant.contains(words), "{words} in {multivariant}");
    }
    let clock = "#EXT-X-SESSION-DATA:DATA-ID=\"SERVER-TIME\",VALUE=\"";
    let clock = multivariant.split_once(clock).unwrap().1;
    let said: f64 = clock.split_once('"').unwrap().0.parse().unwrap();
    let now = Duration::from_millis(SystemClock.now().0.unsigned_abs());
    assert!((now.as_secs_f64() - said).abs() < 5.0, "{multivariant}");
    let other = text(&stage.playback_url).await;
    assert_ne!(multivariant, other, "another viewer session");

    let list = text(stage.url.as_str()).await;
    for words in [
        "#EXT-X-VERSION:6\n",
        "#EXT-X-TARGETDURATION:2\n",
        "CAN-BLOCK-RELOAD=YES",
        "PART-HOLD-BACK=1.002",
        "HOLD-BACK=6.0",
        "#EXT-X-PART-INF:PART-TARGET=0.334\n",
        "#EXT-X-DISCONTINUITY-SEQUENCE:",
        "#EXT-X-PROGRAM-DATE-TIME:",
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"",
    ] {
        assert!(list.contains(words), "{words} in {list}");
    }
    let plain = get(stage.url.as_str()).await;
    assert_eq!(
        header(plain.headers(), "cache-control"),
        "public, max-age=1",
        "TD / 2"
    );
    assert!(plain.headers().contains_key("date"));
    let list = MediaPlaylist::parse(&list);
    let segment = stage.url.join(&list.segments[0].2).unwrap();
    let media = get(segment.as_str()).await;
    assert_eq!(header(media.headers(), "content-type"), "video/mp4");
    assert_eq!(
        header(media.headers(), "cache-control"),
        "public, max-age=3600, immutable"
    );
    assert_eq!(header(media.headers(), "content-encoding"), "");
}

/// Rules 32 to 34, 37.
async fn blocking_reload(stage: &Stage) {
    let list = MediaPlaylist::parse(&text(stage.url.as_str()).await);
    let (msn, _) = list.next();
    // M alone: held until segment M is complete.
    let answer = get(with_query(&stage.url, &format!("_HLS_msn={msn}"))).await;
    assert_eq!(
        header(answer.headers(), "cache-control"),
        "public, max-age=12",
        "6 x TD"
    );
    let list = MediaPlaylist::parse(&answer.text().await.unwrap());
    assert!(
        list.segments.iter().any(|(listed, ..)| *listed == msn),
        "rule 32"
    );
    // A part index beyond the end of a complete segment means part 0 of the next.
    let last = list.segments.last().unwrap().0;
    let beyond = text(with_query(
        &stage.url,
        &format!("_HLS_msn={last}&_HLS_part=7"),
    ))
    .await;
    let beyond = MediaPlaylist::parse(&beyond);
    assert!(
        beyond.parts.iter().any(|part| part.msn == last + 1),
        "rule 33"
    );
    // Old numbers are answered at once, with the whole list.
    let old = text(with_query(&stage.url, "_HLS_msn=1&_HLS_part=0")).await;
    assert!(MediaPlaylist::parse(&old).segments.len() >= 2, "rule 34");
}

/// Rules 35, 36, 39 and what no URL means.
async fn refusals(stage: &Stage) {
    let (msn, _) = MediaPlaylist::parse(&text(stage.url.as_str()).await).next();
    let bad = [
        "_HLS_part=1".to_owned(),
        format!("_HLS_msn={}", msn + 4),
        "_HLS_msn=x".to_owned(),
    ];
    for query in bad {
        let answer = get(with_query(&stage.url, &query)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    let unknown = get(with_query(&stage.url, "_HLS_future=1&x=%ff&token=a.b.c")).await;
    assert_eq!(unknown.status(), StatusCode::OK, "rule 39");

    let base = stage.url.as_str().rsplit_once('/').unwrap().0.to_owned();
    let channel_base = stage.playback_url.rsplit_once('/').unwrap().0.to_owned();
    let missing = [
        format!("{base}/{}.m4s", msn + 4),
        format!("{base}/{}.5.m4s", msn + 1),
        format!("{base}/init-00000000.mp4"),
        format!("{base}/18446744073709551616.m4s"),
        format!("{base}/../../../../etc/passwd"),
        format!("{channel_base}/us-east-1.000000000000.channel.AAAAAAAAAAAA.m3u8"),
        format!("{channel_base}/nothing.m3u8"),
        format!("{channel_base}/s/x/y/1/z/live.m3u8"),
    ];
    for url in missing {
        let answer = get(&url).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{url}");
        let seconds = header(answer.headers(), "cache-control");
        assert!(
            seconds == "public, max-age=2" || seconds == "no-store",
            "{url}: {seconds}"
        );
        // The form in which Amazon's player reads why.
        let body = answer.text().await.unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body[0]["type"], "error", "{url}: {body}");
        assert_eq!(body[0]["error_code"], "not_found", "{url}: {body}");
        assert!(body[0]["error"].is_string(), "{url}: {body}");
    }
    let posted = client()
        .post(stage.url.as_str())
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// Rules 27, 28: the hinted part can be asked for at once, and comes whole.
async fn hints(stage: &Stage) {
    let list = MediaPlaylist::parse(&text(stage.url.as_str()).await);
    let hinted = stage.url.join(list.hint.as_deref().unwrap()).unwrap();
    let answer = get(hinted.as_str()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{hinted}");
    let body = answer.bytes().await.unwrap();
    assert!(matches!(&body[4..8], b"moof" | b"emsg"));
}

/// EXT-X-PREFETCH names the segment that is being made and the next one. Each comes as it grows, and later as a whole.
async fn growing_segments(stage: &Stage, client: &reqwest::Client) {
    let list = text(stage.url.as_str()).await;
    let named = list
        .lines()
        .filter_map(|l| l.strip_prefix("#EXT-X-PREFETCH:"));
    let urls: Vec<_> = named.map(|uri| stage.url.join(uri).unwrap()).collect();
    let (msn, _) = MediaPlaylist::parse(&list).next();
    let expected = [msn, msn + 1].map(|msn| stage.url.join(&format!("{msn}.m4s")).unwrap());
    assert_eq!(urls, expected, "{list}");
    let [open, next] = &urls[..] else {
        unreachable!()
    };
    let (open_bytes, (next_bytes, lasted)) = tokio::join!(
        async {
            let answer = client.get(open.as_str()).send().await.unwrap();
            answer.bytes().await.unwrap()
        },
        grown(client, next)
    );
    // Six parts, of which the first comes when it is there.
    assert!(lasted > Duration::from_secs(1), "{lasted:?}");
    for (url, grown) in [(open, open_bytes), (next, next_bytes)] {
        let whole = client.get(url.as_str()).send().await.unwrap();
        let age = header(whole.headers(), "cache-control");
        assert_eq!(age, "public, max-age=3600, immutable");
        assert_eq!(whole.content_length(), Some(grown.len() as u64));
        assert!(
            whole.bytes().await.unwrap() == grown,
            "{url} is what it was"
        );
    }
}

/// A segment that has not begun, and how long it took from its first byte to its last.
async fn grown(client: &reqwest::Client, url: &Url) -> (Bytes, Duration) {
    let mut answer = client.get(url.as_str()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{url}");
    assert_eq!(header(answer.headers(), "cache-control"), "no-store");
    assert_eq!(answer.content_length(), None);
    let begin = Instant::now();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    (bytes.freeze(), begin.elapsed())
}

/// Rules 44 and 48.
async fn compression_and_cors(stage: &Stage) {
    let request = client()
        .get(stage.url.as_str())
        .header(ACCEPT_ENCODING, "br;q=1, gzip;q=0.8");
    let answer = request
        .header(ORIGIN, "https://example.org")
        .send()
        .await
        .unwrap();
    assert_eq!(header(answer.headers(), "content-encoding"), "gzip");
    assert_eq!(header(answer.headers(), "vary"), "accept-encoding");
    assert_eq!(header(answer.headers(), "access-control-allow-origin"), "*");
    let exposed = header(answer.headers(), "access-control-expose-headers");
    assert!(
        exposed.contains("Age") && exposed.contains("Date"),
        "{exposed}"
    );
    let compressed = answer.bytes().await.unwrap();
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&compressed[..])
        .read_to_string(&mut unpacked)
        .unwrap();
    assert!(unpacked.starts_with("#EXTM3U\n"));

    let refused = client()
        .get(stage.url.as_str())
        .header(ACCEPT_ENCODING, "gzip;q=0");
    let plain = refused.send().await.unwrap();
    assert_eq!(header(plain.headers(), "content-encoding"), "");

    let preflight = client().request(Method::OPTIONS, stage.url.as_str());
    let preflight = preflight
        .header(ORIGIN, "https://example.org")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success());
    assert_eq!(
        header(preflight.headers(), "access-control-allow-origin"),
        "*"
    );
    let head = client().head(stage.url.as_str()).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert!(head.bytes().await.unwrap().is_empty());
    // The entry, too (rule 44).
    let entry = client().get(&stage.playback_url);
    let entry = entry.header("accept-encoding", "gzip").send();
    let entry = entry.await.unwrap();
    assert_eq!(header(entry.headers(), "content-encoding"), "gzip");
    assert_eq!(entry.bytes().await.unwrap()[..2], [0x1f, 0x8b]);
}

async fn http2(stage: &Stage) {
    let h2c = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let list = MediaPlaylist::parse(&text(stage.url.as_str()).await);
    let (msn, part) = list.next();
    let query = with_query(&stage.url, &format!("_HLS_msn={msn}&_HLS_part={part}"));
    // Many held requests on one connection, a quick one among them.
    let held = (0..50).map(|_| h2c.get(&query).send());
    let quick = h2c.get(stage.url.as_str()).send();
    let (held, quick) = tokio::join!(futures_util::future::join_all(held), quick);
    assert_eq!(quick.unwrap().version(), Version::HTTP_2);
    for answer in held {
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    assert!(!stage.list.segments.is_empty());
    growing_segments(stage, &h2c).await;
}
