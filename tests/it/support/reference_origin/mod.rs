//! A small LL-HLS origin of its own, correct or broken in exactly one way: what the stream checker is tried on.
//!
//! It has two renditions of a looped clip, and no state but its start: what exists at an instant is a function of
//! the time since then. Nothing of Weir's windows, playlists or origin is in it; the parts are cut by `packaging`.
//! Here are requests and answers; `defect` lists what can be broken, `media` has the bytes, `playlist` the text.

mod defect;
mod media;
mod playlist;

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, sleep_until};
use weir::base::clock::{Clock as _, SystemClock};
use weir::base::http::{Config, Server};
use weir::base::tasks::Tasks;

pub(crate) use defect::Defect;
use media::{PARTS, SEGMENT_MS};
use playlist::FIRST_MSN;

/// Media that exists when the origin starts.
const PREFILL_MS: u64 = 15 * SEGMENT_MS + 150;
/// When an ended stream ends, after the start.
const END_MS: u64 = 3_000;
/// Longer than any check.
const LONG_MS: u64 = 1_000_000;
/// A hole that players do not bridge.
const HOLE_MS: u64 = 3_000;
/// How long a reload is held.
const LONGEST_HOLD: Duration = Duration::from_millis(3 * SEGMENT_MS);

type Body = BoxBody<Bytes, Infallible>;
type Answer = http::Response<Body>;

/// A running origin; it ends when dropped.
pub(crate) struct ReferenceOrigin {
    /// Its multivariant playlist. Beside it lie, for `low` and `high`, `plain.m3u8` and `vod.m3u8`: live and
    /// ended HLS without low latency.
    pub(crate) url: String,
    tasks: Tasks,
}

impl ReferenceOrigin {
    /// An origin with this defect, or without any.
    pub(crate) async fn start(defect: Option<Defect>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/main.m3u8", listener.local_addr().unwrap());
        let tasks = Tasks::new();
        // The first to ask waits until the clips are cut, which must not be counted as lateness.
        tokio::task::spawn_blocking(media::part_count)
            .await
            .unwrap();
        let origin = Arc::new(Origin {
            start: Instant::now(),
            start_wall_ms: SystemClock.now().0,
            defect,
        });
        let handle = move |request: http::Request<Incoming>| {
            let origin = Arc::clone(&origin);
            async move { origin.answer(&request).await }
        };
        let server = Server::new(Config::default(), tasks.clone(), handle);
        tasks.spawn("reference origin", server.listen(listener));
        Self { url, tasks }
    }
}

impl Drop for ReferenceOrigin {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

/// The origin's whole state.
struct Origin {
    start: Instant,
    start_wall_ms: i64,
    defect: Option<Defect>,
}

impl Origin {
    fn is(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    fn is_ended(&self) -> bool {
        let ends = [
            Defect::HintBehindEnd,
            Defect::DirectivesAfterEnd,
            Defect::Ends,
        ];
        self.defect.is_some_and(|defect| ends.contains(&defect)) && self.elapsed_ms() >= END_MS
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap()
    }

    /// When part `index` of a rendition exists, in milliseconds after the start.
    fn available_ms(&self, rendition: usize, index: usize) -> u64 {
        let end_ms = media::end_ms(index).saturating_sub(PREFILL_MS);
        let is_second = rendition == 1;
        match self.defect {
            Some(Defect::EdgesFarApart) if is_second && end_ms > 0 => end_ms + 3_000,
            Some(Defect::PartVeryLate) if end_ms > 2_000 => end_ms.max(5_500),
            Some(Defect::SegmentLate) if end_ms > 2_000 => end_ms.max(7_000),
            Some(Defect::HeldForever | Defect::StandsStill | Defect::RefusedLate)
                if end_ms > 2_500 =>
            {
                u64::MAX / 4
            }
            Some(Defect::HoleBehindDiscontinuity) if index >= playlist::NEXT * PARTS => {
                end_ms + HOLE_MS
            }
            _ => end_ms,
        }
    }

    /// How many parts of a rendition exist.
    fn edge(&self, rendition: usize) -> usize {
        let now_ms = if self.is_ended() {
            END_MS
        } else {
            self.elapsed_ms()
        };
        let all = media::part_count();
        (0..all)
            .find(|index| self.available_ms(rendition, *index) > now_ms)
            .unwrap_or(all)
    }

    async fn wait_for(&self, rendition: usize, index: usize) {
        let at = Duration::from_millis(self.available_ms(rendition, index));
        sleep_until(self.start + at).await;
    }

    async fn answer(&self, request: &http::Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        if request.method() == http::Method::OPTIONS {
            return self.finish(204, "", None, Bytes::new());
        }
        let accepts_gzip = request
            .headers()
            .get("accept-encoding")
            .is_some_and(|value| value == "gzip");
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        match segments[..] {
            _ if self.is(Defect::NoHttp2) && request.version() == http::Version::HTTP_2 => {
                self.finish(505, "text/plain", None, Bytes::new())
            }
            [_, "live.m3u8"] if self.is(Defect::Vanishes) && self.elapsed_ms() > END_MS => {
                self.missing()
            }
            ["main.m3u8"] => self.playlist(self.multivariant(), 1, accepts_gzip),
            [rendition, file @ ("vod.m3u8" | "plain.m3u8")] => {
                let rendition = usize::from(rendition == "high");
                let text = self.plain(rendition, self.edge(rendition), file == "vod.m3u8");
                self.playlist(text, 1, accepts_gzip)
            }
            [rendition, "live.m3u8"] if self.is(Defect::PlaylistsMoved) => {
                self.moved(rendition, &format!("live.m3u8?{query}"))
            }
            [rendition, "live.m3u8"] | ["moved", rendition, "live.m3u8"]
                if matches!(rendition, "low" | "high") =>
            {
                self.reload(usize::from(rendition == "high"), query, accepts_gzip)
                    .await
            }
            [rendition, file] if self.is(Defect::MediaRedirected) && file != "live.m3u8" => {
                self.moved(rendition, file)
            }
            [_, _] if self.is(Defect::PlaylistsMoved) => self.missing(),
            ["moved", rendition, file] | [rendition, file] => self.media(rendition, file).await,
            _ => self.missing(),
        }
    }

    /// Elsewhere.
    fn moved(&self, rendition: &str, file: &str) -> Answer {
        let mut answer = self.finish(302, "", Some(60), Bytes::new());
        let place = format!("/moved/{rendition}/{file}");
        let headers = answer.headers_mut();
        headers.insert("location", HeaderValue::from_str(&place).unwrap());
        answer
    }

    /// A media playlist, at once or when what was asked for exists.
    async fn reload(&self, rendition: usize, query: &str, accepts_gzip: bool) -> Answer {
        let number = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| value.parse::<u64>().ok())
        };
        let (msn, part) = (number("_HLS_msn"), number("_HLS_part"));
        let skip = query.contains("_HLS_skip=YES") && !self.is(Defect::DeltaIgnored);
        let plain_age = 1;
        if self.is(Defect::UnknownParameterRefused) && query.contains("_HLS_weir") {
            return self.finish(400, "text/plain", Some(1), Bytes::new());
        }
        if self.is_ended() {
            if self.is(Defect::DirectivesAfterEnd) && msn.is_some() {
                return self.finish(400, "text/plain", Some(1), Bytes::new());
            }
            return self.playlist(
                self.render(rendition, self.edge(rendition), skip),
                plain_age,
                accepts_gzip,
            );
        }
        let Some(msn) = msn else {
            if part.is_some() && !self.is(Defect::PartWithoutMsnServed) {
                return self.finish(400, "text/plain", Some(1), Bytes::new());
            }
            return self.playlist(
                self.render(rendition, self.edge(rendition), skip),
                plain_age,
                accepts_gzip,
            );
        };
        match self.wait_for_position(rendition, msn, part).await {
            Ok(edge) => {
                let age = if self.is(Defect::BlockingUncached) {
                    0
                } else {
                    12
                };
                self.playlist(self.render(rendition, edge, skip), age, accepts_gzip)
            }
            Err(status) => self.finish(status, "text/plain", Some(1), Bytes::new()),
        }
    }

    /// How many parts exist once `msn` and `part` do; a status if they are refused.
    async fn wait_for_position(
        &self,
        rendition: usize,
        msn: u64,
        part: Option<u64>,
    ) -> Result<usize, u16> {
        let edge = self.edge(rendition);
        let next_msn = FIRST_MSN + (edge / PARTS) as u64;
        if msn > next_msn + 2 {
            return match self.defect {
                Some(Defect::FarAheadServed) => Ok(edge),
                Some(Defect::FarAheadHeld) => std::future::pending().await,
                _ => Err(400),
            };
        }
        let first_listed = next_msn.saturating_sub(playlist::WINDOW as u64);
        if msn <= first_listed {
            return match self.defect {
                Some(Defect::OldRefused) => Err(400),
                Some(Defect::OldHeld) => {
                    sleep(Duration::from_secs(3)).await;
                    Ok(self.edge(rendition))
                }
                _ => Ok(edge),
            };
        }
        let segment = usize::try_from(msn - FIRST_MSN).unwrap();
        let index = match part {
            None if self.is(Defect::MsnAnsweredAtFirstPart) => segment * PARTS,
            None => segment * PARTS + PARTS - 1,
            Some(part) => segment * PARTS + usize::try_from(part).unwrap().min(PARTS),
        };
        let is_past_end = part.is_some_and(|part| part >= PARTS as u64);
        if self.is(Defect::BlockingIgnored) || (self.is(Defect::PastTheEndStale) && is_past_end) {
            return Ok(edge);
        }
        if self.is(Defect::HeldForever) {
            self.wait_for(rendition, index).await;
            return Ok(self.edge(rendition));
        }
        if self.is(Defect::StandsStill) && self.available_ms(rendition, index) > LONG_MS {
            return Err(503);
        }
        let longest = match self.defect {
            Some(Defect::RefusedLate) => LONGEST_HOLD + Duration::from_millis(2_500),
            _ => LONGEST_HOLD,
        };
        match tokio::time::timeout(longest, self.wait_for(rendition, index)).await {
            Ok(()) if self.is(Defect::WentBack) && index % 4 == 3 => Ok(index - 2),
            Ok(()) => Ok(self.edge(rendition).max(index + 1)),
            Err(_) => Err(503),
        }
    }

    /// A part, a segment or the initialization section.
    async fn media(&self, rendition: &str, file: &str) -> Answer {
        let rendition = usize::from(rendition == "high");
        if file.starts_with("init") {
            return self.bytes(self.init(rendition));
        }
        let name = file.trim_end_matches(".m4s");
        let (msn, part) = match name.split_once('.') {
            Some((msn, part)) => (msn.parse::<u64>(), Some(part.parse::<usize>())),
            None => (name.parse::<u64>(), None),
        };
        let served_unknown = self.is(Defect::UnknownPartServed);
        let segment = msn
            .ok()
            .and_then(|msn| usize::try_from(msn.checked_sub(FIRST_MSN)?).ok());
        match (segment, part) {
            (Some(segment), Some(Ok(part))) if part < PARTS => {
                let segment = self.named(rendition, segment);
                self.part(rendition, segment, part).await
            }
            (Some(segment), None) => self.segment(rendition, segment),
            _ if served_unknown => self.bytes(media::part(rendition, 0)),
            _ => self.missing(),
        }
    }

    /// The segment that the parts with this number belong to: the newest, if numbers come again.
    fn named(&self, rendition: usize, number: usize) -> usize {
        let open = self.edge(rendition) / PARTS;
        if self.is(Defect::UrisReused) {
            open - (open + playlist::NAMES - number % playlist::NAMES) % playlist::NAMES
        } else {
            number
        }
    }

    async fn part(&self, rendition: usize, segment: usize, part: usize) -> Answer {
        let index = segment * PARTS + part;
        let edge = self.edge(rendition);
        if index > edge + PARTS || index >= media::part_count() {
            return self.missing();
        }
        if self.is_gap(rendition, segment) || (self.is(Defect::ListedPartMissing) && part == 2) {
            return self.missing();
        }
        let is_untagged_since =
            |segments: usize| segment + playlist::WITH_PARTS + segments < edge / PARTS;
        let is_gone = match self.defect {
            Some(Defect::UntaggedPartMissing) => is_untagged_since(0),
            Some(Defect::UntaggedPartSoonMissing) => is_untagged_since(1),
            _ => false,
        };
        if is_gone {
            return self.missing();
        }
        let bytes = self.altered_part(rendition, index);
        if index >= edge {
            match self.defect {
                Some(Defect::HintRefused) => return self.missing(),
                Some(Defect::EarlyBytes) => {
                    let at =
                        self.start + Duration::from_millis(self.available_ms(rendition, index));
                    return self.trickled(&bytes, at);
                }
                _ => self.wait_for(rendition, index).await,
            }
        }
        self.bytes(bytes)
    }

    fn segment(&self, rendition: usize, segment: usize) -> Answer {
        let complete = self.edge(rendition) / PARTS;
        let is_removed_since = |segments: usize| segment + playlist::WINDOW + segments < complete;
        let is_gone = match self.defect {
            Some(Defect::RemovedAtOnce) => is_removed_since(0),
            Some(Defect::RemovedSoon) => is_removed_since(1),
            _ => false,
        };
        if segment >= complete || self.is_gap(rendition, segment) || is_gone {
            return self.missing();
        }
        let parts = (0..PARTS).map(|part| self.altered_part(rendition, segment * PARTS + part));
        let mut bytes = parts.collect::<Vec<_>>().concat();
        let last = bytes.len() - 1;
        match self.defect {
            Some(Defect::PartsDiffer) => bytes[last] ^= 1,
            Some(Defect::ContentChanges) if self.elapsed_ms() > 6_000 => bytes[last] ^= 1,
            _ => {}
        }
        self.bytes(Bytes::from(bytes))
    }

    fn missing(&self) -> Answer {
        let age = if self.is(Defect::FailureCachedLong) {
            3_600
        } else {
            2
        };
        self.finish(404, "text/plain", Some(age), Bytes::new())
    }

    fn bytes(&self, bytes: Bytes) -> Answer {
        let kind = if self.is(Defect::MediaType) {
            "text/plain"
        } else {
            "video/mp4"
        };
        let age = if self.is(Defect::MediaUncached) {
            0
        } else {
            3_600
        };
        let length = bytes.len();
        if self.is(Defect::NoLength) {
            let frames = stream::iter([Ok(Frame::data(bytes))]);
            let body = BodyExt::boxed(StreamBody::new(frames));
            return self.with_body(200, kind, Some(age), body);
        }
        let mut answer = self.finish(200, kind, Some(age), bytes);
        answer
            .headers_mut()
            .insert("content-length", HeaderValue::from(length));
        answer
    }

    /// The first half at once, the second when it exists.
    fn trickled(&self, bytes: &Bytes, at: Instant) -> Answer {
        let halves = [
            (bytes.slice(..bytes.len() / 2), Instant::now()),
            (bytes.slice(bytes.len() / 2..), at),
        ];
        let frames = stream::unfold(halves.into_iter(), |mut halves| async move {
            let (half, at) = halves.next()?;
            sleep_until(at).await;
            Some((Ok(Frame::data(half)), halves))
        });
        let body = BodyExt::boxed(StreamBody::new(frames));
        self.with_body(200, "video/mp4", Some(3_600), body)
    }

    fn playlist(&self, text: String, age: u32, accepts_gzip: bool) -> Answer {
        let kind = if self.is(Defect::PlaylistType) {
            "text/plain"
        } else {
            "application/vnd.apple.mpegurl"
        };
        let age = (!self.is(Defect::NoLifetime)).then_some(age);
        let is_packed = accepts_gzip && !self.is(Defect::NoGzip);
        let body = if is_packed {
            packed(&text)
        } else {
            Bytes::from(text)
        };
        let mut answer = self.finish(200, kind, age, body);
        let headers = answer.headers_mut();
        headers.insert("vary", HeaderValue::from_static("accept-encoding"));
        if self.defect != Some(Defect::NoPriority) {
            headers.insert("priority", HeaderValue::from_static("u=1"));
        }
        if is_packed {
            headers.insert("content-encoding", HeaderValue::from_static("gzip"));
        }
        if self.is(Defect::NoDateHeader) {
            // One that is missing is put in by the server's library.
            headers.insert("date", HeaderValue::from_static(""));
        }
        answer
    }

    fn finish(&self, status: u16, kind: &'static str, age: Option<u32>, body: Bytes) -> Answer {
        self.with_body(status, kind, age, Full::new(body).boxed())
    }

    fn with_body(&self, status: u16, kind: &'static str, age: Option<u32>, body: Body) -> Answer {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert("content-type", HeaderValue::from_static(kind));
        }
        if let Some(age) = age {
            let text = if age == 0 {
                "no-store".to_owned()
            } else {
                format!("public, max-age={age}")
            };
            headers.insert("cache-control", HeaderValue::from_str(&text).unwrap());
        }
        if !self.is(Defect::NoCors) {
            let name = HeaderName::from_static("access-control-allow-origin");
            headers.insert(name, HeaderValue::from_static("*"));
        }
        let mut answer = http::Response::new(body);
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
        *answer.headers_mut() = headers;
        answer
    }
}

fn packed(text: &str) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    Bytes::from(encoder.finish().unwrap())
}
