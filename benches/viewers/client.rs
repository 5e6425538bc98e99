//! A load client for `benches/viewers/run.py`: viewers of one low-latency HLS channel, or a flood of requests for one URL.
//!
//! In:  `follow ENTRY_URL VIEWERS SECONDS WARM_UP` or `flood URL CONNECTIONS SECONDS`, over http (HTTP/1.1) or https
//!      (HTTP/2; any certificate is taken, for the server is on this machine).
//! Out: one line of JSON: what was asked and answered; for `follow` also how late blocking answers and parts came.
//! How: every viewer has a connection of its own and does what a player does: the multivariant playlist, its first
//!      variant, then blocking delta updates and each listed part, one after the other. Late is what comes after the first
//!      viewer had the same, for nobody on this side of the socket knows when the server had it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program of its own that measures another: one that cannot go on has failed"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsConnector;
use url::Url;

/// Longer than any server holds a request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Viewers come one after the other, as people do; all at once is another question.
const ARRIVALS_PER_SECOND: u32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["follow", entry, viewers, seconds, warm_up] => {
            let entry = Url::parse(entry).unwrap();
            follow(
                entry,
                viewers.parse().unwrap(),
                span(seconds),
                span(warm_up),
            )
            .await;
        }
        ["flood", url, connections, seconds] => {
            let url = Url::parse(url).unwrap();
            flood(url, connections.parse().unwrap(), span(seconds)).await;
        }
        _ => {
            println!(
                "usage: follow ENTRY_URL VIEWERS SECONDS WARM_UP | flood URL CONNECTIONS SECONDS"
            );
            std::process::exit(2);
        }
    }
}

fn span(seconds: &str) -> Duration {
    Duration::from_secs_f64(seconds.parse().unwrap())
}

/// One connection to the server.
enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Connection {
    async fn open(url: &Url, drivers: &mut JoinSet<()>) -> Self {
        let address = (
            url.host_str().unwrap(),
            url.port_or_known_default().unwrap(),
        );
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        if url.scheme() == "http" {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            drivers.spawn(async { drop(connection.await) });
            return Self::Http1(sender);
        }
        let name = ServerName::try_from(address.0.to_owned()).unwrap();
        let stream = tls().connect(name, stream).await.unwrap();
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 21)
            .initial_connection_window_size(1 << 22)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        drivers.spawn(async { drop(connection.await) });
        Self::Http2(sender)
    }

    /// Status, body and the body's length; the text is kept only where it is asked for.
    async fn get(&mut self, url: &Url, is_text: bool) -> Result<(String, u64), String> {
        let told = |error: &dyn std::fmt::Display| format!("{url}: {error}");
        let request = Request::get(url.as_str());
        let answer = match self {
            Self::Http1(sender) => {
                let path = &url[url::Position::BeforePath..];
                let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
                let request = Request::get(path).header(header::HOST, host);
                sender.ready().await.map_err(|error| told(&error))?;
                sender
                    .send_request(request.body(Empty::new()).unwrap())
                    .await
            }
            Self::Http2(sender) => {
                sender.ready().await.map_err(|error| told(&error))?;
                sender
                    .send_request(request.body(Empty::new()).unwrap())
                    .await
            }
        };
        let answer = answer.map_err(|error| told(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(told(&answer.status()));
        }
        let mut body = answer.into_body();
        let (mut text, mut length) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| told(&error))?;
            if let Some(data) = frame.data_ref() {
                length += data.len() as u64;
                if is_text {
                    text.extend_from_slice(data);
                }
            }
        }
        Ok((
            String::from_utf8(text).map_err(|error| told(&error))?,
            length,
        ))
    }
}

fn tls() -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(anyone::Anyone))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Takes any certificate: the server under test is on this machine, and made its own.
mod anyone {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme, crypto};

    #[derive(Debug)]
    pub(super) struct Anyone;

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _server_name: &ServerName<'_>,
            _ocsp_response: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            crypto::ring::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
}

/// What one viewer saw in the window: for each part, when its playlist and its bytes were there.
#[derive(Default)]
struct Seen {
    playlists: Vec<(Position, Instant)>,
    parts: Vec<(Position, Instant)>,
    bytes: u64,
    failure: Option<String>,
}

/// Media sequence number and index of a part.
type Position = (u64, u64);

async fn follow(entry: Url, viewers: u32, seconds: Duration, warm_up: Duration) {
    let began = Instant::now();
    let from = began
        + Duration::from_secs_f64(f64::from(viewers) / f64::from(ARRIVALS_PER_SECOND))
        + warm_up;
    let until = from + seconds;
    let mut watching = JoinSet::new();
    for n in 0..viewers {
        let arrival = began + Duration::from_secs(1) * n / ARRIVALS_PER_SECOND;
        let entry = entry.clone();
        watching.spawn(async move {
            let mut seen = Seen::default();
            sleep_until(arrival).await;
            match tokio::time::timeout_at(until + PATIENCE, watch(&entry, from, until, &mut seen))
                .await
            {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => seen.failure = Some(failure),
                Err(_) => seen.failure = Some("no answer in time".to_owned()),
            }
            seen
        });
    }
    sleep_until(from).await;
    println!("begin"); // The caller reads the server's CPU between these lines.
    sleep_until(until).await;
    println!("end");
    let seen = watching.join_all().await;
    let failures: Vec<&String> = seen
        .iter()
        .filter_map(|seen| seen.failure.as_ref())
        .collect();
    let playlists = lateness(&seen, |seen| &seen.playlists);
    let parts = lateness(&seen, |seen| &seen.parts);
    println!(
        "{}",
        serde_json::json!({
            "requests": playlists.len() + parts.len(),
            "bytes": seen.iter().map(|seen| seen.bytes).sum::<u64>(),
            "playlist_late_ms": quantiles(&playlists),
            "part_late_ms": quantiles(&parts),
            "failed_viewers": failures.len(),
            "failure": failures.first(),
        })
    );
}

/// One viewer, from the entry to the end of the window.
async fn watch(entry: &Url, from: Instant, until: Instant, seen: &mut Seen) -> Result<(), String> {
    let mut drivers = JoinSet::new();
    let mut connection = Connection::open(entry, &mut drivers).await;
    let (text, _) = connection.get(entry, true).await?;
    let variant = text
        .lines()
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    let playlist = entry
        .join(variant.ok_or("no variant")?)
        .map_err(|error| error.to_string())?;
    let (text, _) = connection.get(&playlist, true).await?;
    let (mut next, _) = live_edge(&text).ok_or("no parts in the playlist")?;
    while Instant::now() < until {
        let mut reload = playlist.clone();
        reload.set_query(Some(&format!(
            "_HLS_msn={}&_HLS_part={}&_HLS_skip=YES",
            next.0, next.1
        )));
        let asked = Instant::now();
        let (text, length) = connection.get(&reload, true).await?;
        let answered = Instant::now();
        let (following, part) = live_edge(&text).ok_or("no parts in the playlist")?;
        let part = playlist.join(part).map_err(|error| error.to_string())?;
        let (_, part_length) = connection.get(&part, false).await?;
        if asked >= from && answered < until {
            seen.playlists.push((next, answered));
            seen.parts.push((next, Instant::now()));
            seen.bytes += length + part_length;
        }
        next = following;
    }
    Ok(())
}

/// The part after the last one that a media playlist lists, and the last one's URI.
fn live_edge(text: &str) -> Option<(Position, &str)> {
    let (mut msn, mut part, mut uri) = (0, 0, None);
    for line in text.lines() {
        if let Some(first) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            msn = first.parse::<u64>().ok()?;
        } else if let Some(skipped) = line.strip_prefix("#EXT-X-SKIP:SKIPPED-SEGMENTS=") {
            msn += skipped.split(',').next()?.parse::<u64>().ok()?;
        } else if line.starts_with("#EXTINF:") {
            (msn, part) = (msn + 1, 0);
        } else if let Some(attributes) = line.strip_prefix("#EXT-X-PART:") {
            uri = attributes.split("URI=\"").nth(1)?.split('"').next();
            part += 1;
        }
    }
    Some(((msn, part), uri?))
}

/// Of all viewers' arrivals in milliseconds, how long after the first viewer's for the same part; sorted.
fn lateness(seen: &[Seen], of: impl Fn(&Seen) -> &Vec<(Position, Instant)>) -> Vec<f64> {
    let mut first: HashMap<Position, Instant> = HashMap::new();
    for &(position, at) in seen.iter().flat_map(&of) {
        let earliest = first.entry(position).or_insert(at);
        *earliest = at.min(*earliest);
    }
    let all = seen.iter().flat_map(&of);
    let mut late: Vec<f64> = all
        .map(|(position, at)| 1000.0 * (*at - first[position]).as_secs_f64())
        .collect();
    late.sort_by(f64::total_cmp);
    late
}

/// p50, p99 and the last.
fn quantiles(sorted: &[f64]) -> Option<[f64; 3]> {
    let at = |of: usize| sorted.get((sorted.len() * of / 100).min(sorted.len().saturating_sub(1)));
    Some([*at(50)?, *at(99)?, *sorted.last()?])
}

async fn flood(url: Url, connections: usize, seconds: Duration) {
    let from = Instant::now() + Duration::from_millis(500);
    let until = from + seconds;
    let mut asking = JoinSet::new();
    for _ in 0..connections {
        let url = url.clone();
        asking.spawn(async move {
            let mut drivers = JoinSet::new();
            let mut connection = Connection::open(&url, &mut drivers).await;
            let (mut requests, mut bytes) = (0_u64, 0_u64);
            loop {
                let (_, length) = connection.get(&url, false).await.unwrap();
                let now = Instant::now();
                if now >= until {
                    return (requests, bytes);
                }
                if now >= from {
                    (requests, bytes) = (requests + 1, bytes + length);
                }
            }
        });
    }
    sleep(from - Instant::now()).await;
    println!("begin");
    sleep_until(until).await;
    println!("end");
    let sums = asking
        .join_all()
        .await
        .into_iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!(
        "{}",
        serde_json::json!({ "requests": sums.0, "bytes": sums.1 })
    );
}
