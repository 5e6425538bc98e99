//! HTTP connections: bounded in number, with deadlines, HTTP/1.1 and HTTP/2 on one port.
//!
//! In:  a function from request and client to response; a bound listener, and connections that came through TLS. Out: served
//! connections, until the task group is cancelled; then each connection finishes its current answer and closes.
//! HTTP/1.1 connections can be upgraded. Each request is told of at level debug, as `weir::access`.
//! Not here: routes, TLS (`tls`).
//! Read: RFC 9110, 9112, 9113.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use super::accept::accept;
use super::proxy::Trusted;
use super::stream::Stream;
use super::tasks::Tasks;

/// How long an answer under way may take once the server stops.
const GOODBYE: Duration = Duration::from_secs(3);

/// Limits of one HTTP listener.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Connections at once; further ones wait in the kernel's queue, or are closed if they came through TLS.
    pub max_connections: u32,
    /// Seconds for a request's head to arrive.
    pub header_timeout_seconds: u64,
    /// Seconds after which a connection that sends nothing at all is closed.
    pub idle_timeout_seconds: u64,
    /// Seconds a client may leave a written answer unread before it is cut off.
    pub write_stall_seconds: u64,
    /// Load balancers that speak the PROXY protocol on the plain listener.
    pub proxy_protocol_from: Trusted,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            max_connections: 20_000,
            header_timeout_seconds: 30,
            idle_timeout_seconds: 90,
            write_stall_seconds: 30,
            proxy_protocol_from: Trusted::default(),
        }
    }
}

impl Config {
    /// Refuses limits with which nobody could connect; the key and the problem.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let limits = [
            ("http.max_connections", u64::from(self.max_connections)),
            ("http.header_timeout_seconds", self.header_timeout_seconds),
            ("http.idle_timeout_seconds", self.idle_timeout_seconds),
            ("http.write_stall_seconds", self.write_stall_seconds),
        ];
        let refused = limits
            .into_iter()
            .find(|(_, limit)| !(1..=1_000_000).contains(limit));
        refused.map_or(Ok(()), |(key, _)| {
            Err((key, "it must be 1 to 1000000".to_owned()))
        })
    }
}

/// A body of known length in ready pieces, written without copying them together.
#[derive(Debug, Default)]
pub struct Pieces {
    pieces: std::vec::IntoIter<Bytes>,
    remaining_bytes: u64,
}

impl Pieces {
    /// A body of these pieces in order.
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let remaining_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self {
            pieces: pieces.into_iter(),
            remaining_bytes,
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self::new(vec![bytes])
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.find(|piece| !piece.is_empty());
        if let Some(piece) = &piece {
            self.remaining_bytes -= piece.len() as u64;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining_bytes)
    }
}

/// Runs hyper's HTTP/2 streams as tracked tasks.
#[derive(Clone)]
struct Executor(Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn("http2 stream", stream);
    }
}

/// Serves all connections that share one limit: those of a listener, and those that come through TLS.
pub struct Server<H> {
    config: Config,
    tasks: Tasks,
    handle: H,
    places: Arc<Semaphore>,
    builder: auto::Builder<Executor>,
}

impl<H, R, B> Server<H>
where
    H: Fn(Request<Incoming>, SocketAddr) -> R + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// A server whose connections are tasks of `tasks`; each request is answered by `handle`.
    pub fn new(config: Config, tasks: Tasks, handle: H) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(config.max_connections as usize)),
            builder: connection_builder(&config, &tasks),
            config,
            tasks,
            handle,
        })
    }

    /// Accepts connections until the task group is cancelled.
    pub async fn listen(self: Arc<Self>, listener: TcpListener) {
        let token = self.tasks.token();
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                return;
            };
            let (mut stream, peer) = tokio::select! {
                () = token.cancelled() => return,
                accepted = accept(&listener) => accepted,
            };
            let server = Arc::clone(&self);
            self.tasks.spawn("http connection", async move {
                let _place = place;
                let client = server.config.proxy_protocol_from.client(&mut stream, peer);
                match server.tasks.token().run_until_cancelled(client).await {
                    None => {}
                    Some(Ok(client)) => server.serve(Stream::Plain(stream), client).await,
                    Some(Err(error)) => {
                        tracing::debug!(remote = %peer, %error, "HTTP connection closed");
                    }
                }
            });
        }
    }

    /// Serves a connection that was accepted elsewhere; closes it if all places are taken.
    pub fn take(self: &Arc<Self>, stream: Stream, client: SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            metrics::counter!("weir_http_turned_away_total").increment(1);
            return tracing::debug!(remote = %client, "HTTP connection turned away");
        };
        let server = Arc::clone(self);
        self.tasks.spawn("http connection", async move {
            let _place = place;
            server.serve(stream, client).await;
        });
    }

    /// Serves a connection to its end.
    async fn serve(&self, stream: Stream, client: SocketAddr) {
        let service = service_fn(|request: Request<Incoming>| {
            tracing::debug!(
                target: "weir::access",
                remote = %client,
                method = %request.method(),
                path = request.uri().path(),
                version = ?request.version(),
                "request"
            );
            let answer = (self.handle)(request, client);
            // In a box, since what serves a connection moves it from hand to hand.
            Box::pin(async move { Ok::<_, Infallible>(answer.await) })
        });
        let io = timed(stream, &self.config);
        let connection = self.builder.serve_connection_with_upgrades(io, service);
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = self.tasks.token().cancelled() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(GOODBYE, connection).await {
                    Ok(outcome) => outcome,
                    Err(_) => return tracing::debug!("HTTP connection cut off at the stop"),
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(remote = %client, %error, "HTTP connection ended early");
        }
    }
}

fn timed(stream: Stream, config: &Config) -> TokioIo<Pin<Box<TimeoutStream<Stream>>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(Duration::from_secs(config.idle_timeout_seconds)));
    stream.set_write_timeout(Some(Duration::from_secs(config.write_stall_seconds)));
    TokioIo::new(Box::pin(stream))
}

fn connection_builder(config: &Config, tasks: &Tasks) -> auto::Builder<Executor> {
    let mut builder = auto::Builder::new(Executor(tasks.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_seconds))
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(2 * 1024 * 1024)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    /// Says back what comes, once the connection is no longer HTTP.
    async fn echo(mut request: Request<Incoming>, _: SocketAddr) -> Response<Pieces> {
        let upgraded = hyper::upgrade::on(&mut request);
        let tasks = Tasks::new();
        tasks.spawn("echo", async move {
            let mut stream = TokioIo::new(upgraded.await.unwrap());
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        });
        let answer = Response::builder().status(101).header("upgrade", "echo");
        answer
            .header("connection", "upgrade")
            .body(Pieces::default())
            .unwrap()
    }

    async fn server(config: Config) -> (SocketAddr, Tasks) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let server = Server::new(config, tasks.clone(), echo);
        tasks.spawn("http listener", server.listen(listener));
        (address, tasks)
    }

    /// Rule 50: what an HTTP/2 client is told when it connects.
    #[tokio::test]
    async fn http2_has_room_for_a_player() {
        let (address, tasks) = server(Config::default()).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        client.write_all(preface).await.unwrap();
        let mut head = [0; 9];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(head[3], 4, "SETTINGS come first");
        let mut settings = vec![0; usize::from(head[2])];
        client.read_exact(&mut settings).await.unwrap();
        let value = |id: u8| {
            let mut pairs = settings.chunks(6);
            let pair = pairs.find(|pair| pair[..2] == [0, id]).unwrap();
            u32::from_be_bytes(pair[2..].try_into().unwrap())
        };
        let (max_concurrent_streams, initial_window_size) = (value(3), value(4));
        assert!(max_concurrent_streams >= 100, "{max_concurrent_streams}");
        assert!(initial_window_size >= 1024 * 1024, "{initial_window_size}");
        drop(client);
        tasks.stop().await;
    }

    /// What WebSocket begins with.
    #[tokio::test]
    async fn a_connection_can_become_something_else_behind_a_proxy() {
        let trusted = vec!["127.0.0.1".parse().unwrap()];
        let config = Config {
            proxy_protocol_from: Trusted::new(trusted),
            ..Config::default()
        };
        let (address, tasks) = server(config).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = "PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\r\n\
                    GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");

        let mut without = TcpStream::connect(address).await.unwrap();
        without.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // A reset counts.
        without.read_to_end(&mut answer).await.ok();
        assert_eq!(answer, b"", "it is not served");
        tasks.stop().await;
    }
}
