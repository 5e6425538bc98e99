//! The site: front page, watch page and their assets, from `web/dist`.
//!
//! In:  `GET /`, `/watch/{channel id}`, `/assets/…`. Out: the built files, or a placeholder that
//! says how to build them.
//! Not here: data (the pages ask `GET /v1/live` and the origin); the operator's login, to come.
//!
//! Release builds carry `web/dist` inside the binary, debug builds read it from disk at run time.

mod site;

use std::borrow::Cow;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::site::{File, Files};
use crate::base::coding::accepts_gzip;

/// hls.js plays from blob URLs; playlists may come from other origins. The pages bring no inline
/// script or style.
const CONTENT_SECURITY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; connect-src *; img-src 'self' data:; media-src 'self' blob:; \
     worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'self'",
);

/// Names under `/assets/` contain a hash of the content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

const CHANNEL_ID_LENGTH: usize = 12;

/// Serves the site; every path that no other router knows gets its 404.
pub fn router() -> Router {
    router_over(site::embedded)
}

fn router_over(files: Files) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/watch/{channel_id}", get(watch))
        .route("/assets/{*path}", get(asset))
        .fallback(not_found)
        .with_state(files)
}

async fn front(State(files): State<Files>, headers: HeaderMap) -> Response {
    page(files, "index.html", "&lt;channel id&gt;", &headers)
}

async fn watch(
    State(files): State<Files>,
    Path(channel_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let is_id = channel_id.len() == CHANNEL_ID_LENGTH
        && channel_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_id {
        page(files, "watch.html", &channel_id, &headers)
    } else {
        missing(files, &headers)
    }
}

async fn asset(
    State(files): State<Files>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    let name = format!("assets/{path}");
    let Some(file) = files(&name) else {
        return missing(files, &headers);
    };
    let content_type = mime_guess::from_path(&name).first_or_octet_stream();
    let packed = accepts_gzip(&headers)
        .then(|| files(&format!("{name}.gz")))
        .flatten();
    let is_packed = packed.is_some();
    let mut response = packed.unwrap_or(file).bytes.into_response();
    let out = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type.as_ref()) {
        out.insert(CONTENT_TYPE, value);
    }
    if is_packed {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    out.insert(CACHE_CONTROL, IMMUTABLE);
    secured(response)
}

async fn not_found(State(files): State<Files>, headers: HeaderMap) -> Response {
    missing(files, &headers)
}

/// A built page, or the placeholder for `channel_id` (an id, or HTML that stands for one).
fn page(files: Files, name: &str, channel_id: &str, headers: &HeaderMap) -> Response {
    let Some(File { bytes, etag }) = files(name) else {
        return html(StatusCode::OK, site::placeholder(channel_id));
    };
    let is_known = headers
        .get(IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag));
    let mut response = if is_known {
        secured(StatusCode::NOT_MODIFIED.into_response())
    } else {
        html(StatusCode::OK, bytes)
    };
    response.headers_mut().insert(CACHE_CONTROL, REVALIDATE);
    if let Ok(value) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

/// 404: a page for browsers, a line for everything else.
fn missing(files: Files, headers: &HeaderMap) -> Response {
    let is_browser = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let mut response = if is_browser {
        let body = files("404.html").map_or(Cow::Borrowed(site::NOT_FOUND), |file| file.bytes);
        html(StatusCode::NOT_FOUND, body)
    } else {
        secured((StatusCode::NOT_FOUND, "not found\n").into_response())
    };
    response.headers_mut().insert(CACHE_CONTROL, REVALIDATE);
    response
}

fn html(status: StatusCode, body: impl Into<Cow<'static, [u8]>>) -> Response {
    let mut response = (status, body.into()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HTML);
    response.headers_mut().insert(CACHE_CONTROL, REVALIDATE);
    secured(response)
}

fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, CONTENT_SECURITY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests;
