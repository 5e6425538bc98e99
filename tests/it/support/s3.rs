//! A real S3 server over HTTP, in process: s3s-fs with signatures checked, behind a layer that
//! answers some requests badly on purpose.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use weir::base::tasks::Tasks;
use weir::storage::{Config, Location, Store};

const BUCKET: &str = "weir-test";
const ACCESS_KEY: &str = "AKWEIRTEST";
const SECRET_KEY: &str = "a-secret-of-the-test-server";

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Answered with this status and the S3 error that goes with it.
    Status(u16),
    /// Served, but late.
    Delay(Duration),
    /// Served, but the answer's body ends in its middle.
    CutBody,
    /// The connection is closed without an answer.
    Drop,
    /// Never answered.
    Hang,
}

#[derive(Debug, Default)]
struct Plan {
    next: VecDeque<Fault>,
    always: Option<Fault>,
    requests: Vec<String>,
    under_way: usize,
    most_at_once: usize,
}

/// The server; it ends with its value.
pub(crate) struct S3Server {
    address: SocketAddr,
    root: tempfile::TempDir,
    plan: Arc<Mutex<Plan>>,
    tasks: Tasks,
}

impl S3Server {
    /// Starts a server with one empty bucket.
    pub(crate) async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            root,
            plan: Arc::default(),
            tasks: Tasks::new(),
        };
        let accept = accept(
            listener,
            builder.build(),
            server.plan.clone(),
            server.tasks.clone(),
        );
        server.tasks.spawn_cancellable("s3 accept", accept);
        server
    }

    /// The next requests meet these faults, one each.
    pub(crate) fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan.lock().unwrap().next.extend(faults);
    }

    /// Every request meets this fault, until told otherwise.
    pub(crate) fn inject_always(&self, fault: Option<Fault>) {
        self.plan.lock().unwrap().always = fault;
    }

    /// The requests so far: method and path with query.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.plan.lock().unwrap().requests.clone()
    }

    /// Most requests that were served at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.plan.lock().unwrap().most_at_once
    }

    /// Where the bucket's objects lie as files.
    pub(crate) fn bucket_dir(&self) -> PathBuf {
        self.root.path().join(BUCKET)
    }

    /// The bucket as `WEIR_STORAGE_URL` names it.
    pub(crate) fn url(&self) -> String {
        format!(
            "s3://{BUCKET}?endpoint=http://{}&region=garage",
            self.address
        )
    }

    /// The environment with which the bucket opens.
    pub(crate) fn env() -> [(String, String); 2] {
        credentials(SECRET_KEY)
    }

    /// Limits short enough to be waited for.
    pub(crate) fn config() -> Config {
        Config {
            request_timeout_seconds: 1,
            connect_timeout_seconds: 1,
            ..Config::default()
        }
    }

    /// The server's bucket as the operator would open it.
    pub(crate) fn store(&self) -> Store {
        self.store_with(SECRET_KEY)
    }

    /// As [`S3Server::store`], with a secret of the caller's choice.
    pub(crate) fn store_with(&self, secret: &str) -> Store {
        let location: Location = self.url().parse().unwrap();
        Store::open(&location, &Self::config(), credentials(secret)).unwrap()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

/// The environment an operator would set.
pub(crate) fn credentials(secret: &str) -> [(String, String); 2] {
    [
        ("AWS_ACCESS_KEY_ID".to_owned(), ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), secret.to_owned()),
    ]
}

async fn accept(listener: TcpListener, s3: S3Service, plan: Arc<Mutex<Plan>>, tasks: Tasks) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let connection = serve(socket, s3.clone(), plan.clone());
        tasks.spawn_cancellable("s3 connection", connection);
    }
}

async fn serve(socket: TcpStream, s3: S3Service, plan: Arc<Mutex<Plan>>) {
    let service = service_fn(move |request| answer(request, s3.clone(), plan.clone()));
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    // A connection that a fault broke is the point of the fault.
    drop(
        builder
            .serve_connection(TokioIo::new(socket), service)
            .await,
    );
}

/// Counts a request as under way while it lives.
struct UnderWay(Arc<Mutex<Plan>>);

impl UnderWay {
    fn new(plan: Arc<Mutex<Plan>>) -> Self {
        let mut counts = plan.lock().unwrap();
        counts.under_way += 1;
        counts.most_at_once = counts.most_at_once.max(counts.under_way);
        drop(counts);
        Self(plan)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().unwrap().under_way -= 1;
    }
}

async fn answer(
    request: Request<Incoming>,
    s3: S3Service,
    plan: Arc<Mutex<Plan>>,
) -> Result<Response<Body>, BoxError> {
    let _under_way = UnderWay::new(plan.clone());
    let fault = {
        let mut plan = plan.lock().unwrap();
        plan.requests
            .push(format!("{} {}", request.method(), request.uri()));
        plan.next.pop_front().or(plan.always)
    };
    match fault {
        Some(Fault::Status(code)) => return Ok(refusal(code)),
        Some(Fault::Drop) => return Err("dropped on purpose".into()),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(Fault::CutBody) | None => {}
    }
    let response = s3
        .call(request.map(Into::into))
        .await
        .map_err(|e| format!("{e:?}"))?;
    let response = response.map(|body| body.map_err(BoxError::from).boxed_unsync());
    match fault {
        Some(Fault::CutBody) => cut(response).await,
        _ => Ok(response),
    }
}

fn refusal(code: u16) -> Response<Body> {
    let name = match code {
        404 => "NoSuchBucket",
        503 => "SlowDown",
        _ => "InternalError",
    };
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{name}</Code></Error>");
    let body = Full::new(Bytes::from(body))
        .map_err(BoxError::from)
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// The same head, half the body, then a broken connection.
async fn cut(response: Response<Body>) -> Result<Response<Body>, BoxError> {
    let (head, body) = response.into_parts();
    let mut bytes = body.collect().await?.to_bytes();
    bytes.truncate(bytes.len() / 2);
    let frames = [Ok(Frame::data(bytes)), Err("cut on purpose".into())];
    let body = StreamBody::new(stream::iter(frames));
    Ok(Response::from_parts(head, body.boxed_unsync()))
}
