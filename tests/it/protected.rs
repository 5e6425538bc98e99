//! Private and restricted channels over HTTP (`origin::protection`): boto3 protects them, tokens open them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use reqwest::header::{HeaderMap, ORIGIN};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::{Call, UNLIMITED, call, server};
use super::support::clips::clip;
use super::support::playback::{Signer, country_database, now_s};
use super::support::publisher::Publisher;
use super::support::server::TestServer;
use super::support::viewer::{MediaPlaylist, client};
use super::support::{eventually, within};

/// A private or restricted channel that somebody publishes to.
pub(crate) struct Protected {
    pub(crate) server: TestServer,
    pub(crate) signer: Signer,
    pub(crate) arn: String,
    pub(crate) url: String,
    key_arn: String,
    publisher: Publisher,
}

impl Protected {
    /// A channel made with these members; the URL of a policy of its own with `policy`.
    pub(crate) async fn start(clip_name: &str, channel: Value, policy: Option<Value>) -> Self {
        Self::start_on(server(&[UNLIMITED]).await, clip_name, channel, policy).await
    }

    async fn start_on(
        server: TestServer,
        clip_name: &str,
        mut channel: Value,
        policy: Option<Value>,
    ) -> Self {
        let signer = Signer::new();
        let imported = json!({"publicKeyMaterial": signer.pem()});
        let imported = call(&server, "import_playback_key_pair", &imported).await;
        if let Some(policy) = policy {
            let made = call(&server, "create_playback_restriction_policy", &policy).await;
            let arn = made["playbackRestrictionPolicy"]["arn"].clone();
            channel["playbackRestrictionPolicyArn"] = arn;
        }
        let made = call(&server, "create_channel", &channel).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let ingest = format!(
            "rtmp://{}/app/{}",
            server.rtmp,
            text(&made["streamKey"]["value"])
        );
        let protected = Self {
            publisher: Publisher::looping(&clip(clip_name), &ingest),
            arn: text(&made["channel"]["arn"]),
            url: text(&made["channel"]["playbackUrl"]),
            key_arn: text(&imported["keyPair"]["arn"]),
            signer,
            server,
        };
        let id = protected.arn.rsplit('/').next().unwrap().to_owned();
        eventually(30, "live channel", || protected.server.live_by_id(&id)).await;
        protected
    }

    /// A minute's token with these claims besides.
    pub(crate) fn token(&self, more: &Value) -> String {
        let mut claims = json!({"aws:channel-arn": self.arn, "exp": now_s() + 60});
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.signer.sign(&claims)
    }

    pub(crate) fn with(&self, token: &str) -> String {
        format!("{}?token={token}", self.url)
    }

    async fn enter(&self, token: &str, origin: Option<&str>) -> Response {
        ask(self.with(token), origin).await
    }

    /// The first media playlist of a new session.
    pub(crate) async fn media_playlist(&self, token: &str, origin: Option<&str>) -> Url {
        let answer = self.enter(token, origin).await;
        assert_eq!(answer.status(), StatusCode::OK);
        self.first_child(&answer.text().await.unwrap())
    }

    fn first_child(&self, multivariant: &str) -> Url {
        let mut lines = multivariant.lines();
        let child = lines
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .unwrap();
        Url::parse(&self.url).unwrap().join(child).unwrap()
    }

    pub(crate) async fn end(self) {
        assert!(self.server.metric("weir_task_panics_total").await < 1.0);
        assert!(!self.server.log().contains("eyJ"), "no token is logged");
        self.publisher.kill().await;
    }
}

async fn ask(url: impl reqwest::IntoUrl, origin: Option<&str>) -> Response {
    let request = client().get(url);
    let request = match origin {
        Some(origin) => request.header(ORIGIN, origin),
        None => request,
    };
    request.send().await.unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// A refusal as players of Amazon IVS read it: its word.
async fn refused(answer: Response) -> String {
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(header(answer.headers(), "cache-control"), "no-store");
    assert_eq!(header(answer.headers(), "access-control-allow-origin"), "*");
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let [error] = &body.as_array().unwrap()[..] else {
        panic!("{body}");
    };
    assert_eq!(error["type"], "error", "{body}");
    assert!(!error["error"].as_str().unwrap().is_empty(), "{body}");
    error["error_code"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_channel_opens_to_tokens_only() {
    let channel = json!({"authorized": true, "type": "BASIC"});
    let stage = Protected::start("fps30.flv", channel, None).await;
    let (good, bad) = (stage.token(&json!({})), "invalid_playback_auth_token");
    for url in [
        stage.url.clone(),
        stage.with(""),
        stage.with("nonsense"),
        stage.with(&stage.token(&json!({"exp": now_s() - 1}))),
        stage.with(&stage.token(&json!({"aws:channel-arn": format!("{}x", stage.arn)}))),
        stage
            .with(&Signer::new().sign(&json!({"aws:channel-arn": stage.arn, "exp": now_s() + 60}))),
        stage.with(&format!("{good}A")),
    ] {
        assert_eq!(refused(ask(&url, None).await).await, bad, "{url}");
    }
    let list_url = stage.media_playlist(&good, None).await;
    let list = ask(list_url.clone(), None).await;
    assert_eq!(
        header(list.headers(), "cache-control"),
        "private, max-age=1"
    );
    let list = MediaPlaylist::parse(&list.text().await.unwrap());
    let segment = list_url.join(&list.segments[0].2).unwrap();
    let media = ask(segment.clone(), None).await;
    assert_eq!(media.status(), StatusCode::OK);
    assert_eq!(
        header(media.headers(), "cache-control"),
        "private, max-age=3600, immutable"
    );
    assert_eq!(header(media.headers(), "access-control-allow-origin"), "*");

    // Sessions that were not begun here, or for another channel.
    let session = list_url.path_segments().unwrap().nth(4).unwrap();
    for made_up in [
        "v",
        "aaaaaaaaaaaaaaaa",
        &session.replace(&session[20..21], "-"),
    ] {
        for url in [&list_url, &segment] {
            let url = url.as_str().replace(session, made_up);
            assert_eq!(
                refused(ask(&url, None).await).await,
                "playback_auth_error",
                "{url}"
            );
        }
    }

    // The default channel is open as ever, with or without a token.
    let public = stage.server.channel().await;
    for url in [
        public.playback_url.clone(),
        format!("{}?token=x", public.playback_url),
    ] {
        assert_eq!(
            ask(&url, None).await.status(),
            StatusCode::NOT_FOUND,
            "offline: {url}"
        );
    }

    // A key that is gone opens nothing any more; who watches goes on.
    let key = json!({"arn": stage.key_arn});
    call(&stage.server, "delete_playback_key_pair", &key).await;
    assert_eq!(refused(stage.enter(&good, None).await).await, bad);
    assert_eq!(ask(list_url, None).await.status(), StatusCode::OK);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_tokens_keeps_nobody_else_out() {
    let channel = json!({"authorized": true, "type": "BASIC"});
    let stage = Protected::start("fps30.flv", channel, None).await;
    let stranger = Signer::new();
    let forged: Vec<_> = (0..600)
        .map(|n| stranger.sign(&json!({"aws:channel-arn": stage.arn, "exp": now_s() + 60 + n})))
        .collect();
    let begun = Instant::now();
    let (mut looked_at, mut passed_over) = (0, 0);
    for some in forged.chunks(50) {
        let answers = some.iter().map(|token| stage.enter(token, None));
        for answer in futures_util::future::join_all(answers).await {
            match answer.status() {
                StatusCode::FORBIDDEN => looked_at += 1,
                StatusCode::SERVICE_UNAVAILABLE => passed_over += 1,
                status => panic!("{status}"),
            }
        }
    }
    let most = 100 + begun.elapsed().as_millis() / 50 + 1;
    assert!((100..=most).contains(&looked_at), "{looked_at} of {most}");
    assert!(passed_over > 0, "{looked_at} were looked at");

    let good = stage.token(&json!({}));
    let elsewhere = Client::builder().local_address(IpAddr::from([127, 0, 0, 2]));
    let elsewhere = elsewhere.build().unwrap().get(stage.with(&good));
    assert_eq!(elsewhere.send().await.unwrap().status(), StatusCode::OK);
    let from_there = async || {
        let answer = stage.enter(&good, None).await;
        (answer.status() == StatusCode::OK).then_some(())
    };
    eventually(5, "a viewer at the flood's address", from_there).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_the_server_and_a_token_for_one_use_is_used_once() {
    let channel = json!({"authorized": true, "type": "BASIC"});
    let mut stage = Protected::start("fps30.flv", channel, None).await;
    let once = || json!({"aws:single-use-uuid": weir::base::ids::uuid()});
    let token = stage.token(&once());
    let head = client()
        .request(Method::HEAD, stage.with(&token))
        .send()
        .await
        .unwrap();
    assert_eq!(head.status(), StatusCode::OK, "a question uses nothing up");
    let list_url = stage.media_playlist(&token, None).await;
    let again = stage.enter(&token, None).await;
    assert_eq!(refused(again).await, "playback_auth_error");
    assert_eq!(ask(list_url.clone(), None).await.status(), StatusCode::OK);
    let far = json!({"exp": now_s() + 3600, "aws:single-use-uuid": weir::base::ids::uuid()});
    let far = stage.enter(&stage.token(&far), None).await;
    assert_eq!(refused(far).await, "invalid_playback_auth_token");
    // Of many at once, one begins.
    let token = stage.token(&once());
    let many = (0..8).map(|_| stage.enter(&token, None));
    let statuses = futures_util::future::join_all(many).await;
    let begun = statuses
        .iter()
        .filter(|answer| answer.status() == StatusCode::OK);
    assert_eq!(begun.count(), 1);

    stage.server.kill_and_restart().await;
    let answers = async || {
        let answer = ask(list_url.clone(), None).await;
        (answer.status() == StatusCode::OK).then_some(())
    };
    eventually(10, "the session's playlist", answers).await;
    assert_eq!(
        refused(ask(&stage.url, None).await).await,
        "invalid_playback_auth_token"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_requests_that_wait() {
    let channel = json!({"authorized": true, "type": "BASIC"});
    let stage = Protected::start("fps30.flv", channel, None).await;
    let of = |name: &str, version: i64| {
        stage.token(&json!({"aws:viewer-id": name, "aws:viewer-session-version": version}))
    };
    let (old, new, other) = (of("ann", 3), of("ann", 4), of("bob", 0));
    let list_url = stage.media_playlist(&old, None).await;
    let (newer, others) = (
        stage.media_playlist(&new, None).await,
        stage.media_playlist(&other, None).await,
    );
    let revocation = json!({
        "channelArn": stage.arn, "viewerId": "ann", "viewerSessionVersionsLessThanOrEqualTo": 3,
    });
    let revocation = Call::prepare(
        &stage.server,
        "start_viewer_session_revocation",
        &revocation,
    )
    .await;

    // A publisher that has stopped sending: for three seconds nothing comes that would end the wait.
    stage.publisher.pause().await;
    let next = async || {
        let text = ask(list_url.clone(), None).await.text().await.unwrap();
        MediaPlaylist::parse(&text).next()
    };
    let stands = async || {
        let before = next().await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        (next().await == before).then_some(before)
    };
    let (msn, part) = eventually(10, "end of the parts", stands).await;
    let mut blocked = list_url.clone();
    blocked.set_query(Some(&format!("_HLS_msn={}", msn + 1)));
    let part = list_url.join(&format!("{msn}.{part}.m4s")).unwrap();
    let growing = list_url.join(&format!("{msn}.m4s")).unwrap();
    let (begun_tx, begun_rx) = tokio::sync::oneshot::channel();
    let body = async {
        let answer = ask(growing, None).await;
        let status = answer.status();
        begun_tx.send(()).unwrap();
        (status, answer.bytes().await.is_err())
    };
    let revoke = async {
        begun_rx.await.unwrap();
        revocation.make().await;
        Instant::now()
    };
    let timed = async |url: Url| (ask(url, None).await, Instant::now());
    let ended = async { tokio::join!(timed(blocked.clone()), timed(part), body, revoke) };
    let ((list, list_at), (part, part_at), (status, broke_off), revoked_at) =
        within(30, "end of the requests", ended).await;
    stage.publisher.go_on().await;
    for (answer, at) in [(list, list_at), (part, part_at)] {
        assert_eq!(refused(answer).await, "playback_auth_error");
        assert!(at.saturating_duration_since(revoked_at) < Duration::from_secs(1));
    }
    assert!(status == StatusCode::OK && broke_off, "{status}");

    assert_eq!(
        refused(ask(list_url, None).await).await,
        "playback_auth_error"
    );
    let again = stage.enter(&of("ann", 2), None).await;
    assert_eq!(
        refused(again).await,
        "playback_auth_error",
        "the tokens, too"
    );
    for url in [newer, others] {
        assert_eq!(ask(url, None).await.status(), StatusCode::OK);
    }
    assert_eq!(stage.enter(&new, None).await.status(), StatusCode::OK);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_from_where_and_how_large() {
    let channel = json!({"authorized": true});
    let stage = Protected::start("ladder_720p30.flv", channel, None).await;
    let (own, foreign) = (Some("https://www.a.example"), Some("https://b.example"));
    let listed =
        json!({"aws:access-control-allow-origin": "https://a.example,https://*.a.example"});
    let denied = "unauthorized_entitlements";
    let token = stage.token(&listed);
    assert_eq!(refused(stage.enter(&token, foreign).await).await, denied);
    let answer = stage.enter(&token, own).await;
    assert_eq!(
        header(answer.headers(), "access-control-allow-origin"),
        own.unwrap()
    );
    let url = stage.first_child(&answer.text().await.unwrap());
    for origin in [own, foreign, None] {
        assert_eq!(
            ask(url.clone(), origin).await.status(),
            StatusCode::OK,
            "at the start only"
        );
    }
    let url = stage.media_playlist(&token, None).await;
    assert_eq!(ask(url, None).await.status(), StatusCode::OK, "no page");

    let mut strict = listed.clone();
    strict["aws:strict-origin-enforcement"] = true.into();
    let token = stage.token(&strict);
    for origin in [foreign, None] {
        assert_eq!(refused(stage.enter(&token, origin).await).await, denied);
    }
    let url = stage.media_playlist(&token, own).await;
    let list = ask(url.clone(), own).await;
    assert_eq!(
        header(list.headers(), "access-control-allow-origin"),
        own.unwrap()
    );
    let varies: Vec<_> = list.headers().get_all("vary").iter().collect();
    assert_eq!(varies, ["accept-encoding", "origin"]);
    let list = MediaPlaylist::parse(&list.text().await.unwrap());
    let segment = url.join(&list.segments[0].2).unwrap();
    assert_eq!(ask(segment.clone(), own).await.status(), StatusCode::OK);
    for url in [url, segment] {
        for origin in [foreign, None] {
            assert_eq!(
                refused(ask(url.clone(), origin).await).await,
                denied,
                "{url}"
            );
        }
    }

    let small = stage.token(&json!({"aws:maximum-resolution": "SD"}));
    let multivariant = stage.enter(&small, None).await.text().await.unwrap();
    assert!(!multivariant.contains("x720"), "{multivariant}");
    assert!(multivariant.contains("x480"), "{multivariant}");
    let child = stage.first_child(&multivariant);
    let mut parts: Vec<_> = child.path().split('/').collect();
    let rendition = parts.len() - 2;
    parts[rendition] = "source";
    let source = child.join(&parts.join("/")).unwrap();
    assert_eq!(
        refused(ask(source, None).await).await,
        denied,
        "not by guessing, either"
    );
    let all = stage
        .enter(&stage.token(&json!({})), None)
        .await
        .text()
        .await
        .unwrap();
    assert!(all.contains("x720"), "{all}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_restricts_a_public_channel() {
    let origins = ["https://a.example", "https://*.b.example"];
    let policy = json!({"allowedOrigins": origins, "allowedCountries": ["KR"]});
    let folder = tempfile::tempdir().unwrap();
    let (seoul, elsewhere, unknown) = ([127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4]);
    let places = [
        (Ipv4Addr::from(seoul), "KR"),
        (Ipv4Addr::from(elsewhere), "SE"),
    ];
    let path = folder.path().join("countries.mmdb");
    std::fs::write(&path, country_database(&places)).unwrap();
    let path = path.to_str().unwrap();
    let server = server(&[UNLIMITED, ("WEIR__ORIGIN__COUNTRY_DATABASE", path)]).await;
    let stage =
        Protected::start_on(server, "fps30.flv", json!({"type": "BASIC"}), Some(policy)).await;
    let from = |address: [u8; 4]| {
        Client::builder()
            .local_address(Some(address.into()))
            .build()
            .unwrap()
    };
    let page =
        |client: Client, origin: &'static str| client.get(&stage.url).header(ORIGIN, origin).send();
    for (address, origin, expected) in [
        (seoul, "https://a.example", None),
        (unknown, "https://x.b.example", None),
        (elsewhere, "https://a.example", Some("content_geoblocked")),
        (
            seoul,
            "https://c.example",
            Some("unauthorized_entitlements"),
        ),
    ] {
        let answer = page(from(address), origin).await.unwrap();
        if let Some(code) = expected {
            assert_eq!(refused(answer).await, code);
        } else {
            assert_eq!(answer.status(), StatusCode::OK, "{address:?} {origin}");
            let allowed = header(answer.headers(), "access-control-allow-origin");
            assert_eq!(allowed, origin);
        }
    }
    let url = stage.media_playlist("", None).await;
    assert_eq!(
        ask(url.clone(), Some("https://c.example")).await.status(),
        StatusCode::OK
    );
    let session = url.path_segments().unwrap().nth(4).unwrap();
    let made_up = url.as_str().replace(session, "v");
    assert_eq!(
        refused(ask(made_up, None).await).await,
        "playback_auth_error"
    );

    // The policy becomes strict under those who watch.
    let policies = call(
        &stage.server,
        "list_playback_restriction_policies",
        &json!({}),
    )
    .await;
    let arn = policies["playbackRestrictionPolicies"][0]["arn"].clone();
    // Each change holds when it is answered: not only once everything is loaded again.
    for is_strict in [true, false, true, false, true] {
        let change = json!({"arn": arn, "enableStrictOriginEnforcement": is_strict});
        let change = Call::prepare(&stage.server, "update_playback_restriction_policy", &change);
        change.await.make().await;
        let answer = ask(url.clone(), None).await;
        if is_strict {
            assert_eq!(refused(answer).await, "unauthorized_entitlements");
        } else {
            assert_eq!(answer.status(), StatusCode::OK);
        }
    }
    let foreign = ask(url.clone(), Some("https://c.example")).await;
    assert_eq!(refused(foreign).await, "unauthorized_entitlements");
    let own = ask(url, Some("https://a.example")).await;
    assert_eq!(own.status(), StatusCode::OK);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_country_database_that_cannot_be_read_stops_the_start() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (garbage, missing) = (
        folder.path().join("garbage.mmdb"),
        folder.path().join("missing"),
    );
    std::fs::write(&garbage, b"nonsense").unwrap();
    let words = async |path: &Path| {
        let extra = [
            ("WEIR__ORIGIN__COUNTRY_DATABASE", path.to_str().unwrap()),
            ("WEIR_DATA_DIR", folder.path().to_str().unwrap()),
            ("WEIR_HTTP_LISTEN", "127.0.0.1:0"),
            ("WEIR_RTMP_LISTEN", "127.0.0.1:0"),
            ("WEIR_ADMIN_LISTEN", "127.0.0.1:0"),
        ];
        server.weir_fails_with(&["serve"], &extra).await
    };
    for path in [&garbage, &missing] {
        let words = words(path).await;
        let expected = format!("origin.country_database: cannot use {}", path.display());
        assert!(words.contains(&expected), "{words}");
    }
}
