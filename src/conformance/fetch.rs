//! HTTP as a player does it: bounded bodies, a deadline on every request, and when what came.
//!
//! In:  what to ask for. Out: [`Answer`]s with times in milliseconds since the start, or why there is none.
//! Not here: what an answer is worth (`exchange`), retries (`follow`).

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    CONTENT_ENCODING, HeaderMap, LOCATION, ORIGIN, RANGE,
};
use reqwest::{Method, Version, redirect};
use tokio::time::Instant;
use url::Url;

use super::Error;
use super::parse::ByteRange;

/// Most bytes of a playlist, as sent and unpacked.
pub(super) const PLAYLIST_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of media.
pub(super) const MEDIA_BYTES: usize = 64 * 1024 * 1024;
/// Most bytes of answers under way at once: many renditions may each have many requests.
const BYTES_UNDER_WAY: usize = 512 * 1024 * 1024;
/// Most redirects followed.
const REDIRECTS: usize = 5;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The page that pretends to play.
const PAGE: &str = "https://player.example";

/// Something fetched, or a range of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Resource {
    pub(super) url: Url,
    pub(super) range: Option<ByteRange>,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) resource: Resource,
    pub(super) timeout: Duration,
    pub(super) limit: usize,
    /// Whether to go by HTTP/2: by prior knowledge where there is no TLS.
    pub(super) by_http2: bool,
}

impl Ask {
    /// A playlist.
    pub(super) fn playlist(url: Url, timeout: Duration) -> Self {
        Self {
            method: Method::GET,
            resource: Resource { url, range: None },
            timeout,
            limit: PLAYLIST_BYTES,
            by_http2: false,
        }
    }

    /// A part, a segment or an initialization section.
    pub(super) fn media(resource: Resource, timeout: Duration) -> Self {
        Self {
            method: Method::GET,
            resource,
            timeout,
            limit: MEDIA_BYTES,
            by_http2: false,
        }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) is_http2: bool,
    pub(super) headers: HeaderMap,
    /// Unpacked, if it came packed.
    pub(super) body: Bytes,
    /// Where the answer came from, redirects followed.
    pub(super) url: Url,
    /// Where a redirect led, if media was redirected.
    pub(super) redirect: Option<String>,
    pub(super) sent_ms: u64,
    pub(super) head_ms: u64,
    pub(super) end_ms: u64,
}

impl Answer {
    /// 200, or 206 for a range.
    pub(super) fn is_ok(&self) -> bool {
        matches!(self.status, 200 | 206)
    }

    /// A header's text; empty without it.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// From the request to the head of the answer.
    pub(super) fn held_ms(&self) -> u64 {
        self.head_ms.saturating_sub(self.sent_ms)
    }
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing within this time.
    #[error("no whole answer within {0} ms")]
    Timeout(u128),
    /// More than this many bytes.
    #[error("more than {0} bytes")]
    TooLarge(usize),
    /// All answers under way are too large together.
    #[error("more than {BYTES_UNDER_WAY} bytes are under way")]
    Crowded,
    /// The connection failed, or the answer cannot be read.
    #[error("{0}")]
    Broken(String),
}

/// The clients of one check, and its clock.
#[derive(Clone, Debug)]
pub(super) struct Client {
    following: reqwest::Client,
    direct: reqwest::Client,
    http2: reqwest::Client,
    start: Instant,
    under_way: Arc<AtomicUsize>,
}

/// What of [`BYTES_UNDER_WAY`] one answer takes.
struct Share<'a> {
    all: &'a AtomicUsize,
    bytes: usize,
}

impl Share<'_> {
    fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        let before = self.all.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > BYTES_UNDER_WAY {
            return Err(Failure::Crowded);
        }
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Client {
    /// Clients whose clock begins now.
    pub(super) fn new() -> Result<Self, Error> {
        // An error means that this process has a provider already.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(CONNECT)
                .pool_idle_timeout(Duration::from_secs(30))
                .user_agent(concat!("weir-check-stream/", env!("CARGO_PKG_VERSION")))
        };
        let built = |builder: reqwest::ClientBuilder| {
            builder
                .build()
                .map_err(|error| Error::Client(chain(&error)))
        };
        Ok(Self {
            following: built(builder().redirect(redirect::Policy::limited(REDIRECTS)))?,
            direct: built(builder().redirect(redirect::Policy::none()))?,
            http2: built(builder().http2_prior_knowledge())?,
            start: Instant::now(),
            under_way: Arc::default(),
        })
    }

    /// Milliseconds since the start.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The instant so many milliseconds after the start.
    pub(super) fn instant(&self, at_ms: u64) -> Instant {
        self.start + Duration::from_millis(at_ms)
    }

    /// Asks, following redirects.
    pub(super) async fn get(&self, ask: Ask) -> Result<Answer, Failure> {
        let client = if ask.by_http2 {
            &self.http2
        } else {
            &self.following
        };
        self.send(client, ask).await
    }

    /// Asks for media, which must not be redirected; if it is, that is said and followed.
    pub(super) async fn get_media(&self, ask: Ask) -> Result<Answer, Failure> {
        let answer = self.send(&self.direct, ask.clone()).await?;
        if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(answer);
        }
        let redirect = Some(answer.header(LOCATION.as_str()).to_owned());
        let answer = self.send(&self.following, ask).await?;
        Ok(Answer { redirect, ..answer })
    }

    async fn send(&self, client: &reqwest::Client, ask: Ask) -> Result<Answer, Failure> {
        let timeout = ask.timeout;
        let failed = |error: &reqwest::Error| {
            if error.is_timeout() && !error.is_connect() {
                Failure::Timeout(timeout.as_millis())
            } else {
                Failure::Broken(chain(error))
            }
        };
        let is_preflight = ask.method == Method::OPTIONS;
        let mut request = client
            .request(ask.method, ask.resource.url)
            .timeout(timeout)
            .header(ORIGIN, PAGE)
            .header(ACCEPT_ENCODING, "gzip");
        if is_preflight {
            request = request.header(ACCESS_CONTROL_REQUEST_METHOD, "GET");
            request = request.header(ACCESS_CONTROL_REQUEST_HEADERS, "range");
        }
        if let Some(range) = ask.resource.range {
            let start = range.offset.unwrap_or(0);
            let end = start.saturating_add(range.length).saturating_sub(1);
            request = request.header(RANGE, format!("bytes={start}-{end}"));
        }
        let sent_ms = self.now_ms();
        let mut response = request.send().await.map_err(|error| failed(&error))?;
        let head_ms = self.now_ms();
        let mut body = BytesMut::new();
        let mut share = Share {
            all: &self.under_way,
            bytes: 0,
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
            if body.len().saturating_add(chunk.len()) > ask.limit {
                return Err(Failure::TooLarge(ask.limit));
            }
            share.grow(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: response.status().as_u16(),
            is_http2: response.version() == Version::HTTP_2,
            body: unpacked(body.freeze(), response.headers(), ask.limit)?,
            headers: response.headers().clone(),
            url: response.url().clone(),
            redirect: None,
            sent_ms,
            head_ms,
            end_ms: self.now_ms(),
        })
    }
}

/// The body without its coding; gzip is the only one asked for.
fn unpacked(body: Bytes, headers: &HeaderMap, limit: usize) -> Result<Bytes, Failure> {
    let coding = headers.get(CONTENT_ENCODING);
    let is_gzip = coding.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    if !is_gzip || body.is_empty() {
        return Ok(body);
    }
    let mut unpacked = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut decoder = flate2::read::GzDecoder::new(&body[..]).take(most.saturating_add(1));
    decoder
        .read_to_end(&mut unpacked)
        .map_err(|error| Failure::Broken(format!("gzip: {error}")))?;
    if unpacked.len() > limit {
        return Err(Failure::TooLarge(limit));
    }
    Ok(Bytes::from(unpacked))
}

/// An error with its causes: reqwest's own text hides them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
