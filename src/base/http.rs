//! HTTP listeners: bounded connections, deadlines, HTTP/1.1 and h2c on one port.
//!
//! In:  a bound listener and a function from request to response. Out: served connections, until
//! the task group is cancelled; then each connection finishes its current answer and closes.
//! Not here: routes, TLS.
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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use super::tasks::Tasks;

/// How long an answer under way may take once the server stops.
const GOODBYE: Duration = Duration::from_secs(3);

/// Limits of one HTTP listener.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Connections at once; further ones wait in the kernel's queue.
    pub max_connections: u32,
    /// Seconds for a request's head to arrive.
    pub header_timeout_seconds: u64,
    /// Seconds after which a connection that sends nothing at all is closed.
    pub idle_timeout_seconds: u64,
    /// Seconds a client may leave a written answer unread before it is cut off.
    pub write_stall_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            max_connections: 20_000,
            header_timeout_seconds: 30,
            idle_timeout_seconds: 90,
            write_stall_seconds: 30,
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

/// Accepts connections until `tasks` is cancelled; each is served by `handle`.
pub async fn serve<H, R, B>(listener: TcpListener, config: Config, tasks: Tasks, handle: H)
where
    H: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(config.max_connections as usize));
    let builder = Arc::new(connection_builder(&config, &tasks));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = tasks.token().cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: yield instead of spinning.
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let io = timed(stream, &config);
        let (builder, handle, token) =
            (Arc::clone(&builder), handle.clone(), tasks.token().clone());
        tasks.spawn("http connection", async move {
            let _place = place;
            let service = service_fn(move |request| {
                let answer = handle(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let connection = builder.serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            let outcome = tokio::select! {
                outcome = connection.as_mut() => outcome,
                () = token.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    match tokio::time::timeout(GOODBYE, connection).await {
                        Ok(outcome) => outcome,
                        Err(_) => return tracing::debug!("HTTP connection cut off at the stop"),
                    }
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "HTTP connection ended early");
            }
        });
    }
}

fn timed(stream: TcpStream, config: &Config) -> TokioIo<Pin<Box<TimeoutStream<TcpStream>>>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
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
