//! What happens is told: to webhooks, in order and signed, through failures and crashes; and at `/events`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response as Answer};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder, Response};
use ring::hmac;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use weir::base::clock::{Clock as _, SimulatedClock, WallTime};
use weir::events::webhook::{Config, Deliverer};
use weir::model::StreamSession;
use weir::model::repository::{Error, OutboxRepository as _, StreamSessionRepository as _};
use weir::model::webhook::{Progress, TRIED_MS, Told, Webhook};

use super::repository::{Place, on_both};
use super::support::clips::clip;
use super::support::publisher::Publisher;
use super::support::server::TestServer;
use super::support::viewer::{client, media_playlist_url};
use super::support::{eventually, within};

const KEY: [(&str, &str); 3] = [
    ("WEIR_ROOT_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("WEIR_ROOT_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG"),
    ("WEIR__EVENTS__ALLOW_PRIVATE_TARGETS", "true"),
];

/// A post as a receiver has it.
#[derive(Clone, Debug)]
struct Post {
    id: String,
    timestamp: String,
    signature: String,
    body: String,
    /// What it was answered with.
    status: StatusCode,
}

impl Post {
    fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn name(&self) -> String {
        self.event()["detail"]["event_name"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// As the standard has a receiver check it.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD
            .decode(secret.strip_prefix("whsec_").unwrap())
            .unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        let signature = STANDARD
            .decode(self.signature.strip_prefix("v1,").unwrap())
            .unwrap();
        hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
    }
}

#[derive(Default)]
struct Seen {
    status: Mutex<StatusCode>,
    /// How long it takes to answer.
    delay: Mutex<Duration>,
    posts: Mutex<Vec<Post>>,
}

/// A receiver on a port of its own, until it is dropped.
struct Receiver {
    seen: Arc<Seen>,
    url: String,
    _serving: JoinSet<()>,
}

impl Receiver {
    async fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/hook", post(take))
            .with_state(Arc::clone(&seen));
        let mut serving = JoinSet::new();
        serving.spawn(async { axum::serve(listener, router).await.unwrap() });
        Self {
            seen,
            url,
            _serving: serving,
        }
    }

    fn answer_with(&self, status: StatusCode) {
        *self.seen.status.lock().unwrap() = status;
    }

    fn answer_after(&self, delay: Duration) {
        *self.seen.delay.lock().unwrap() = delay;
    }

    fn posts(&self) -> Vec<Post> {
        self.seen.posts.lock().unwrap().clone()
    }

    /// Those that it took.
    fn taken(&self) -> Vec<Post> {
        let mut posts = self.posts();
        posts.retain(|post| post.status == StatusCode::OK);
        posts
    }

    async fn until(&self, what: &str, is_there: impl Fn(&[Post]) -> bool) -> Vec<Post> {
        eventually(60, what, || async {
            let posts = self.posts();
            is_there(&posts).then_some(posts)
        })
        .await
    }
}

async fn take(State(seen): State<Arc<Seen>>, headers: HeaderMap, body: Bytes) -> Answer {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/json");
    let (status, delay) = (*seen.status.lock().unwrap(), *seen.delay.lock().unwrap());
    sleep(delay).await;
    seen.posts.lock().unwrap().push(Post {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: String::from_utf8(body.to_vec()).unwrap(),
        status,
    });
    (status, [("location", "/hook")]).into_response()
}

fn ask(server: &TestServer, method: Method, path: &str) -> RequestBuilder {
    let url = format!("http://{}{path}", server.http);
    let ((_, id), (_, secret)) = (KEY[0], KEY[1]);
    client().request(method, url).basic_auth(id, Some(secret))
}

fn wanting(server: &TestServer, wanted: &Value) -> RequestBuilder {
    let request = ask(server, Method::POST, "/v1/webhooks");
    request
        .header("content-type", "application/json")
        .body(wanted.to_string())
}

async fn json_of(answer: Response, status: StatusCode) -> Value {
    let (got, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(got, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn webhook(server: &TestServer, wanted: &Value) -> Value {
    let made = wanting(server, wanted);
    json_of(made.send().await.unwrap(), StatusCode::CREATED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_gets_all_in_order_through_its_outage_and_the_servers_death() {
    let mut server = TestServer::start_with(&KEY).await;
    let channel = server.channel().await;
    let receiver = Receiver::start().await;
    let types = json!(["IVS Stream State Change"]);
    let made = webhook(&server, &json!({"url": receiver.url, "detailTypes": types})).await;
    let elsewhere = Receiver::start().await;
    let other = json!({"url": elsewhere.url, "resources": ["arn:aws:ivs:us-east-1:1:"]});
    webhook(&server, &other).await;

    receiver.answer_with(StatusCode::SERVICE_UNAVAILABLE);
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    receiver.until("second try", |posts| posts.len() >= 2).await;
    server.kill_and_restart().await;
    receiver.answer_with(StatusCode::OK);
    let is_there = |posts: &[Post]| {
        let mut taken = posts.iter().filter(|post| post.status == StatusCode::OK);
        taken.any(|post| post.name() == "Session Ended")
    };
    receiver.until("end of the session", is_there).await;
    publisher.kill().await;

    let secret = made["secret"].as_str().unwrap();
    let posts = receiver.posts();
    assert!(
        posts.iter().all(|post| post.is_signed_with(secret)),
        "{posts:?}"
    );
    let mut forged = posts[0].clone();
    forged.body.push(' ');
    assert!(!forged.is_signed_with(secret));
    let refused = posts
        .iter()
        .take_while(|post| post.status != StatusCode::OK);
    assert!(
        refused.into_iter().all(|post| post.id == posts[0].id),
        "{posts:?}"
    );
    let mut taken = receiver.taken();
    taken.dedup_by(|a, b| a.id == b.id);
    let names: Vec<String> = taken.iter().map(Post::name).collect();
    let first = [
        "Session Created",
        "Stream Start",
        "Stream End",
        "Session Ended",
    ];
    assert_eq!(names[..4], first, "{names:?}");
    let sessions: Vec<Value> = taken[..4]
        .iter()
        .map(|post| post.event()["detail"]["stream_id"].clone())
        .collect();
    assert!(sessions.iter().all(|id| *id == sessions[0]), "{sessions:?}");
    let resource = taken[0].event()["resources"][0].clone();
    assert!(
        resource.as_str().unwrap().ends_with(&channel.id),
        "{resource}"
    );
    assert!(
        elsewhere.posts().is_empty(),
        "its rules let nothing through"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_tells_the_end_before_it_goes() {
    let mut server = TestServer::start_with(&KEY).await;
    let channel = server.channel().await;
    let receiver = Receiver::start().await;
    // Its connections wait in the listener's queue, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}/", silent.local_addr().unwrap());
    for url in [&dead, &receiver.url] {
        webhook(&server, &json!({"url": url})).await;
    }
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let has_begun = |posts: &[Post]| posts.iter().any(|post| post.name() == "Stream Start");
    receiver.until("the beginning", has_begun).await;
    receiver.answer_after(Duration::from_secs(2));
    assert!(server.terminate().await.success());
    let names: Vec<_> = receiver.taken().iter().map(Post::name).collect();
    for name in ["Stream End", "Session Ended"] {
        assert!(names.iter().any(|it| it == name), "{name} in {names:?}");
    }
    publisher.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_heard_as_it_happens_and_from_where_one_left() {
    let server = TestServer::start_with(&KEY).await;
    let channel = server.channel().await;
    let listen = |last: Option<&str>, of: &str| {
        let path = format!("/events?channel={of}");
        let request = ask(&server, Method::GET, &path);
        match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        }
    };
    let mut hears = listen(None, &channel.id).send().await.unwrap();
    assert_eq!(hears.status(), StatusCode::OK);
    assert_eq!(hears.headers()["content-type"], "text/event-stream");
    let publisher = Publisher::once(&clip("fps30.flv"), &channel.ingest_url);
    let all = heard(&mut hears, "Session Ended").await;
    assert_eq!(publisher.ended().await, "");
    let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names[..2], ["Session Created", "Stream Start"], "{names:?}");

    let mut again = listen(Some(&all[0].0), &channel.id).send().await.unwrap();
    assert_eq!(heard(&mut again, "Session Ended").await, all[1..]);
    let nobody = listen(Some("0"), "abcdABCDefgh").send().await.unwrap();
    assert_eq!(
        nobody.status(),
        StatusCode::OK,
        "a channel that may be made yet"
    );
    let malformed = listen(Some("x"), &channel.id).send().await.unwrap();
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
    let url = format!("http://{}/events", server.http);
    let unknown = client().get(url).basic_auth("AKIDEXAMPLE", Some("wrong"));
    assert_eq!(
        unknown.send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
}

/// Ids and names up to the event of that name.
async fn heard(answer: &mut Response, last: &str) -> Vec<(String, String)> {
    let mut text = String::new();
    let mut found = Vec::new();
    within(60, last, async {
        while found.last().is_none_or(|(_, name)| name != last) {
            let bytes = answer.chunk().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&bytes).unwrap());
            while let Some((event, _)) = text.split_once("\n\n") {
                let end = event.len() + 2;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                    let event: Value = serde_json::from_str(data).unwrap();
                    let name = event["detail"]["event_name"].as_str().unwrap();
                    found.push((id.to_owned(), name.to_owned()));
                }
                text.drain(..end);
            }
        }
    })
    .await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_for_those_who_may_and_reach_nobody_within() {
    let server = TestServer::start_with(&KEY[..2]).await;
    for url in [
        "http://127.0.0.1:9090/",
        "http://localhost/",
        "http://[::1]/",
        "nonsense",
    ] {
        let made = wanting(&server, &json!({ "url": url }));
        let answer = json_of(made.send().await.unwrap(), StatusCode::BAD_REQUEST).await;
        assert_eq!(answer["code"], "malformed_request", "{answer}");
    }
    let wanted = json!({"url": "https://hooks.example.com/weir", "resources": ["arn:aws:ivs:"]});
    let made = webhook(&server, &wanted).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let all = ask(&server, Method::GET, "/v1/webhooks")
        .send()
        .await
        .unwrap();
    let all = json_of(all, StatusCode::OK).await;
    assert_eq!(all["webhooks"][0]["id"], made["id"]);
    assert_eq!(
        all["webhooks"][0]["secret"],
        Value::Null,
        "it is told one by one"
    );
    let one = ask(&server, Method::GET, &path).send().await.unwrap();
    assert_eq!(json_of(one, StatusCode::OK).await, made);
    for body in [
        json!({}),
        json!({"url": 7}),
        json!({"url": "https://a.example/", "x": 1}),
    ] {
        let answer = wanting(&server, &body);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    let unsigned = client()
        .get(format!("http://{}{path}", server.http))
        .send()
        .await
        .unwrap();
    assert_eq!(unsigned.status(), StatusCode::UNAUTHORIZED);
    let crossing = ask(&server, Method::DELETE, &path).header("sec-fetch-site", "cross-site");
    assert_eq!(
        crossing.send().await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    for expected in [StatusCode::OK, StatusCode::NOT_FOUND] {
        let deleted = ask(&server, Method::DELETE, &path).send().await.unwrap();
        assert_eq!(deleted.status(), expected);
    }
}

fn told(n: i64) -> Told {
    Told {
        seq: n,
        id: format!("event-{n}"),
        detail_type: "IVS Stream State Change".to_owned(),
        resource: "arn:aws:ivs:us-east-1:000000000000:channel/abcdABCDefgh".to_owned(),
        at: WallTime(n),
        body: json!({"detail": {"event_name": n.to_string()}}).to_string(),
    }
}

/// With a clock that is moved, for a day has to pass.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_for_a_day_is_put_aside_and_can_be_sent_again() {
    let place = Place::sqlite();
    let repository = Arc::new(place.open().await);
    let receiver = Receiver::start().await;
    receiver.answer_with(StatusCode::TEMPORARY_REDIRECT);
    let clock = Arc::new(SimulatedClock::new(WallTime(1_790_848_800_000)));
    let webhook = Webhook::create(&receiver.url, 0, clock.now());
    repository.create_webhook(&webhook, 1).await.unwrap();
    repository.tell(None, &[told(1), told(2)]).await.unwrap();
    let config = Config {
        allow_private_targets: true,
        ..Config::default()
    };
    let deliverer = Deliverer::new(Arc::clone(&repository), clock.clone(), config).unwrap();
    let (word, stop) = (watch::Sender::new(0), CancellationToken::new());
    let mut running = JoinSet::new();
    running.spawn(deliverer.run(word.subscribe(), stop.clone()));

    let progress = async || repository.list_webhooks().await.unwrap().remove(0).progress;
    let letters = async |is_all| {
        repository
            .dead_letters(&webhook.id, is_all, 9)
            .await
            .unwrap()
    };
    eventually(30, "first failure", || async {
        (progress().await.attempts == 1).then_some(())
    })
    .await;
    assert_eq!(receiver.posts().len(), 1, "it follows nobody elsewhere");
    clock.advance_millis(TRIED_MS);
    word.send_modify(|count| *count += 1);
    eventually(30, "failure of the next one", || async {
        let now = progress().await;
        (now.after_seq == 1 && now.attempts == 1).then_some(())
    })
    .await;
    let dead = letters(true).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (&*dead[0].event_id, &*dead[0].body),
        ("event-1", &*told(1).body)
    );
    assert!(dead[0].reason.contains("307"), "{}", dead[0].reason);

    receiver.answer_with(StatusCode::OK);
    repository
        .replay_dead_letter(&webhook.id, "event-1")
        .await
        .unwrap();
    assert_eq!(letters(false).await.len(), 1);
    clock.advance_millis(2_000);
    word.send_modify(|count| *count += 1);
    receiver.until("both", |posts| posts.len() >= 5).await;
    let taken: Vec<String> = receiver.taken().into_iter().map(|post| post.id).collect();
    assert_eq!(taken, ["event-1", "event-2"]);
    eventually(30, "nothing left", || async {
        (letters(true).await.is_empty() && progress().await.after_seq == 2).then_some(())
    })
    .await;

    receiver.answer_with(StatusCode::GONE);
    repository.tell(None, &[told(3)]).await.unwrap();
    word.send_modify(|count| *count += 1);
    let disabled = eventually(30, "its goodbye", || async { progress().await.disabled }).await;
    assert!(disabled.contains("410"), "{disabled}");
    stop.cancel();
    within(10, "the end", running.join_all()).await;
}

on_both!(
    what_is_told_once_is_kept_in_its_order,
    webhooks_come_back_as_they_were_stored
);

async fn what_is_told_once_is_kept_in_its_order(place: Place) {
    let repository = place.open().await;
    assert_eq!(repository.newest_told().await.unwrap(), 0);
    let channel = "abcdABCDefgh".parse().unwrap();
    let session = StreamSession::begin("st-1", &channel, WallTime(1));
    repository
        .tell(Some(&session), &[told(1), told(2)])
        .await
        .unwrap();
    repository.tell(None, &[told(2), told(3)]).await.unwrap();
    let all = repository.told_after(0, 10).await.unwrap();
    let ids: Vec<&str> = all.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["event-1", "event-2", "event-3"]);
    assert!(all.is_sorted_by_key(|it| it.seq), "{all:?}");
    let newest = repository.newest_told().await.unwrap();
    assert_eq!(
        all[2],
        Told {
            seq: newest,
            ..told(3)
        }
    );
    assert_eq!(
        repository.told_after(all[0].seq, 1).await.unwrap(),
        all[1..2]
    );
    let found = repository
        .load_stream_session(&channel, None)
        .await
        .unwrap();
    assert_eq!(found, Some(session));
    repository.forget_told(WallTime(3)).await.unwrap();
    assert_eq!(repository.told_after(0, 10).await.unwrap(), all[2..]);
    assert_eq!(repository.newest_told().await.unwrap(), newest);
}

async fn webhooks_come_back_as_they_were_stored(place: Place) {
    let repository = place.open().await;
    let mut webhook = Webhook {
        detail_types: vec!["IVS Limit Breach".to_owned()],
        resources: vec!["arn:aws:".to_owned()],
        ..Webhook::create("https://a.example/", 7, WallTime(5))
    };
    repository.create_webhook(&webhook, 1).await.unwrap();
    let another = Webhook::create("https://b.example/", 0, WallTime(6));
    let full = repository.create_webhook(&another, 1).await;
    assert!(matches!(full, Err(Error::Full(1))), "{full:?}");
    assert_eq!(repository.list_webhooks().await.unwrap(), [webhook.clone()]);
    webhook.progress = Progress {
        after_seq: 9,
        attempts: 3,
        failing: Some(WallTime(8)),
        due: WallTime(9),
        disabled: Some("why".to_owned()),
    };
    repository
        .save_progress(&webhook.id, &webhook.progress, None)
        .await
        .unwrap();
    assert_eq!(repository.list_webhooks().await.unwrap(), [webhook.clone()]);
    repository.delete_webhook(&webhook.id).await.unwrap();
    for gone in [
        repository.delete_webhook(&webhook.id).await,
        repository
            .save_progress(&webhook.id, &webhook.progress, None)
            .await,
        repository.replay_dead_letter(&webhook.id, "event-1").await,
    ] {
        assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
    }
}
