//! Requests to the IVS API: whatever their path, query and body say, on a real database.
//!
//! Input: lines of requests, `OPERATION JSON` or `METHOD PATH?QUERY JSON`, which are signed. `$channel`, `$stream-key` and the like stand for the
//! ARNs of what there is. Nothing may panic, no answer is a fault of the server's, and each is JSON in the form of its protocol.

#![no_main]

use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use libfuzzer_sys::fuzz_target;
use ring::{digest, hmac};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;
use weir::api::sigv4::canonical::Head;
use weir::api::sigv4::verify::Claim;
use weir::api::{self, Buckets, Playback, RootKey, Sources};
use weir::base::clock::{Clock, SimulatedClock};
use weir::base::tasks::Tasks;
use weir::db::seal::Sealer;
use weir::db::{Access, Db, Repository};
use weir::events::Bus;
use weir::live::registry::Context;
use weir::live::{Registry, Transcoding};
use weir::model::{Endpoints, Scope};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// Most requests of one input.
const MAX_REQUESTS: usize = 8;
/// Most bytes of an answer.
const MAX_ANSWER: usize = 1 << 22;
/// A public key, to be imported.
const PUBLIC_KEY: &str = include_str!("../seeds/playback_key.pem");

struct Everything;

#[async_trait::async_trait]
impl Buckets for Everything {
    async fn reach(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Playback for Everything {
    async fn refresh(&self) {}
}

/// A server without sockets.
struct Server {
    runtime: Runtime,
    router: Router,
    clock: Arc<SimulatedClock>,
    /// What stands for ARNs, and those.
    known: Mutex<Vec<(String, String)>>,
    _folder: tempfile::TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SimulatedClock::default());
        clock.advance_millis(1_790_848_800_000);
        let repository = runtime.block_on(async {
            let location = format!("sqlite:{}", folder.path().join("weir.db").display());
            let db = Db::connect(&location.parse().unwrap(), Access::Create, 1).await.unwrap();
            db.migrate().await.unwrap();
            Arc::new(Repository::new(db, Sealer::new("secret")))
        });
        let tasks = Tasks::new();
        let registry = Registry::new(Context {
            config: weir::live::Config::default(),
            grid: weir::playlist::Config::default(),
            transcoding: Transcoding {
                config: weir::transcode::Config::default(),
                ladders: Arc::default(),
            },
            directory: Arc::new(weir::playlist::Directory::new()),
            epochs: repository.clone(),
            events: Arc::new(Bus::new()),
            clock: clock.clone(),
            tasks: tasks.clone(),
        });
        let scope = Scope::new("us-east-1", "000000000000").unwrap();
        let endpoints = Endpoints::new(scope, "http://127.0.0.1:8080", "127.0.0.1", 1935).unwrap();
        let config = api::Config {
            rate_factor: 1_000_000,
            // Lists stay short.
            max_channels: 20,
            ..api::Config::default()
        };
        let sources = Sources {
            events: Arc::clone(registry.events()),
            registry,
            measures: Arc::default(),
            endpoints: Arc::new(endpoints),
            repository,
            root_key: Arc::new(RootKey { id: KEY.to_owned(), secret: SECRET.to_owned() }),
            config: Arc::new(config),
            buckets: Arc::new(Everything),
            playback: Arc::new(Everything),
            webhooks: Arc::default(),
            listeners: Arc::new(Semaphore::new(1)),
            told: watch::Sender::default(),
            clock: clock.clone(),
            tasks,
        };
        let router = {
            let _entered = runtime.enter();
            api::router(sources, Router::new())
        };
        let server = Self { runtime, router, clock, known: Mutex::default(), _folder: folder };
        server.furnish();
        server
    }

    /// Makes one of everything that can be named, unless it is there.
    fn furnish(&self) {
        let tailor = "arn:aws:mediatailor:us-east-1:000000000000:playbackConfiguration/a";
        for (operation, input, member) in [
            ("CreateChannel", json!({}), "channel"),
            ("CreateRecordingConfiguration", json!({"destinationConfiguration": {"s3": {"bucketName": "bucket"}}}), "recordingConfiguration"),
            ("ImportPlaybackKeyPair", json!({"publicKeyMaterial": PUBLIC_KEY}), "keyPair"),
            ("CreatePlaybackRestrictionPolicy", json!({}), "playbackRestrictionPolicy"),
            ("CreateAdConfiguration", json!({"mediaTailorPlaybackConfigurations": [{"playbackConfigurationArn": tailor}]}), "adConfiguration"),
            ("CreateFailoverSlateConfiguration", json!({}), "failoverSlateConfiguration"),
        ] {
            let get = operation.replacen("Create", "Get", 1).replacen("Import", "Get", 1);
            let name = format!("${member}");
            let is_there = self.known().iter().any(|(known, _)| *known == name)
                && self.call("POST", &format!("/{get}"), &self.filled(&json!({"arn": name}).to_string())).0 == 200;
            if is_there {
                continue;
            }
            let (status, made) = self.call("POST", &format!("/{operation}"), &input.to_string());
            // As many may be there as there can be.
            if status != 200 {
                assert!([402, 409].contains(&status), "{operation}: {status} {made}");
                continue;
            }
            let mut known = self.known();
            known.retain(|(known, _)| *known != name && !(member == "channel" && known == "$streamKey"));
            known.push((name, made[member]["arn"].as_str().unwrap().to_owned()));
            if let Some(key) = made["streamKey"]["arn"].as_str() {
                known.push(("$streamKey".to_owned(), key.to_owned()));
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<(String, String)>> {
        self.known.lock().unwrap()
    }

    fn filled(&self, text: &str) -> String {
        let known = self.known();
        known.iter().fold(text.to_owned(), |text, (name, arn)| text.replace(name.as_str(), arn))
    }

    /// The status and the answer.
    fn call(&self, method: &str, uri: &str, body: &str) -> (u16, Value) {
        let Some(request) = self.signed(method, uri, body) else {
            return (0, Value::Null);
        };
        self.clock.advance_millis(50);
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (status, path) = (response.status().as_u16(), uri.to_owned());
            let bytes = to_bytes(response.into_body(), MAX_ANSWER).await.unwrap();
            assert!(status < 500, "{path} {body}: {status} {}", String::from_utf8_lossy(&bytes));
            let answer = serde_json::from_slice(&bytes).unwrap_or_default();
            (status, answer)
        })
    }

    fn signed(&self, method: &str, uri: &str, body: &str) -> Option<Request<Body>> {
        let now = self.clock.now().to_string();
        let now: String = now.chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
        let (date, day) = (format!("{now}Z"), &now[..8]);
        let scope = format!("{day}/us-east-1/ivs/aws4_request");
        let authorization = |signature: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
            )
        };
        let request = Request::builder().method(method).uri(uri);
        let request = request.header("host", "127.0.0.1").header("x-amz-date", &*date);
        let unsigned = request.header("authorization", authorization(&"0".repeat(64)));
        let mut request = unsigned.body(Body::from(body.to_owned())).ok()?;
        let canonical = {
            let headers: &HeaderMap = request.headers();
            let head = Head {
                method: request.method().as_str(),
                path: request.uri().path(),
                query: request.uri().query().unwrap_or_default(),
                headers,
            };
            Claim::read(&head).ok()?.canonical_request(&head, body.as_bytes()).ok()?
        };
        let sign = |key: &[u8], text: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key);
            hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
        };
        let first = format!("AWS4{SECRET}").into_bytes();
        let key = scope.split('/').fold(first, |key, part| sign(&key, part));
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let authorization = authorization(&hex(&sign(&key, &text)));
        request.headers_mut().insert("authorization", authorization.parse().ok()?);
        Some(request)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fuzz_target!(|text: &str| {
    let server = &*SERVER;
    let mut has_deleted = false;
    for line in text.lines().take(MAX_REQUESTS) {
        let line = server.filled(line);
        let mut words = line.splitn(2, ' ');
        let (first, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (method, uri, body) = match rest.strip_prefix('/') {
            Some(_) => {
                let (uri, body) = rest.split_once(' ').unwrap_or((rest, ""));
                (first, uri.to_owned(), body)
            }
            None => ("POST", format!("/{first}"), rest),
        };
        // Those wait for what happens next.
        if uri.starts_with("/events") {
            continue;
        }
        let (status, answer) = server.call(method, &uri, body);
        has_deleted |= uri.starts_with("/Delete") && status < 300;
        if (400..500).contains(&status) && uri.len() > 1 && method == "POST" && !uri.starts_with("/v1") {
            assert!(answer["message"].is_string(), "{uri} {body}: {status} {answer}");
        }
    }
    if has_deleted {
        server.furnish();
    }
});
