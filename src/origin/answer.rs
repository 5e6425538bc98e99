//! What an answer carries besides its body: type, age, CORS (rules 44 to 49).
//!
//! Ages are multiples of the target duration TD, in seconds. Bodies are shared bytes.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL,
    CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY,
};
use http::{Response, StatusCode};

use http_body_util::Either;

use super::growing::Growing;
use crate::base::http::Pieces;

/// An HTTP answer of the origin: ready bytes, or a segment that is being made.
pub type Answer = Response<Either<Pieces, Growing>>;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
/// RFC 9218.
const PRIORITY: HeaderName = HeaderName::from_static("priority");
const PLAYLIST_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("video/mp4");

/// How long caches may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Not at all.
    NoStore,
    /// This many seconds.
    Seconds(u32),
    /// The URI never means anything else.
    Immutable,
}

impl Age {
    fn header(self) -> HeaderValue {
        match self {
            Self::NoStore => HeaderValue::from_static("no-store"),
            Self::Immutable => HeaderValue::from_static("public, max-age=3600, immutable"),
            Self::Seconds(seconds) => HeaderValue::try_from(format!("public, max-age={seconds}"))
                .unwrap_or(HeaderValue::from_static("no-store")),
        }
    }
}

/// A playlist; `is_gzip` says how `text` is coded.
pub(super) fn playlist(text: Bytes, is_gzip: bool, age: Age) -> Answer {
    let mut answer = answer(StatusCode::OK, Pieces::from(text), PLAYLIST_TYPE, age);
    let headers = answer.headers_mut();
    // Rule 43: a late playlist delays everything that it names.
    headers.insert(PRIORITY, HeaderValue::from_static("u=1"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

/// The priority of a rendition's media (rule 43), by how many renditions of the channel have a lower bitrate: none of them is
/// to wait for it.
pub(super) fn media_priority(lower: usize) -> HeaderValue {
    HeaderValue::from_static(match lower {
        0 => "u=2",
        1 => "u=3",
        2 => "u=4",
        3 => "u=5",
        _ => "u=6",
    })
}

/// Media: these pieces, one after the other.
pub(super) fn media(pieces: Vec<Bytes>, priority: HeaderValue) -> Answer {
    let mut answer = answer(
        StatusCode::OK,
        Pieces::new(pieces),
        MEDIA_TYPE,
        Age::Immutable,
    );
    answer.headers_mut().insert(PRIORITY, priority);
    answer
}

/// A segment that is being made. No cache keeps it: it may break off, and when it is complete its URI is answered with
/// all of it at once.
pub(super) fn growing(body: Growing, priority: HeaderValue) -> Answer {
    let mut answer = answer(StatusCode::OK, Pieces::default(), MEDIA_TYPE, Age::NoStore);
    answer.headers_mut().insert(PRIORITY, priority);
    answer.map(|_| Either::Right(body))
}

/// A refusal in the form that IVS players read (contract §6.2): `error_code` is the machine's
/// word, `error` the person's.
pub(super) fn refusal(status: StatusCode, code: &str, words: &str, age: Age) -> Answer {
    let body = serde_json::json!([{ "error": words, "error_code": code, "type": "error" }]);
    let body = Pieces::from(Bytes::from(body.to_string()));
    answer(
        status,
        body,
        HeaderValue::from_static("application/json"),
        age,
    )
}

/// The refusal of everything but GET, HEAD and OPTIONS.
pub(super) fn method_not_allowed() -> Answer {
    let words = "playback is GET and HEAD";
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut answer = refusal(status, "method_not_allowed", words, Age::NoStore);
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    answer
}

/// What a preflight request asks for.
pub(super) fn preflight() -> Answer {
    let mut answer = answer(
        StatusCode::NO_CONTENT,
        Pieces::default(),
        MEDIA_TYPE,
        Age::NoStore,
    );
    let headers = answer.headers_mut();
    headers.remove(CONTENT_TYPE);
    for (name, value) in [
        ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
        ("access-control-allow-headers", "*, Authorization, Range"),
        ("access-control-max-age", "86400"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    answer
}

fn answer(status: StatusCode, body: Pieces, content_type: HeaderValue, age: Age) -> Answer {
    let mut answer = Response::new(Either::Left(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, age.header());
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Age, Date, Content-Length, Content-Range"),
    );
    headers.insert(
        CROSS_ORIGIN_RESOURCE_POLICY,
        HeaderValue::from_static("cross-origin"),
    );
    headers.insert(TIMING_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer
}
