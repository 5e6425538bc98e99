//! What a request under `/v1` cannot have, as status and JSON.
//!
//! In:  why. Out: `{"code", "message"}`; the code is for programs and stable.

use axum::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;

/// Both ways to show that one may.
const CHALLENGE: HeaderValue =
    HeaderValue::from_static(r#"Bearer realm="weir", Basic realm="weir", charset="UTF-8""#);

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// No credentials, or not those of this channel.
    Unauthorised,
    /// No access key, or none that is for this.
    NoAccessKey,
    /// There is no such webhook, or no such dead letter of it.
    NoSuchWebhook,
    /// As many as may be are there.
    Full(u32),
    /// A browser sent its Basic credentials along for the page of another site.
    CrossSite,
    /// There is no such channel.
    NoSuchChannel,
    /// There is no stream to act upon.
    NotLive,
    /// A parameter that cannot be understood.
    Malformed(String),
    /// The database failed or is slow.
    Database,
}

#[derive(Serialize)]
struct Body {
    code: &'static str,
    message: String,
}

impl Problem {
    fn describe(self) -> (StatusCode, &'static str, String) {
        match self {
            Self::Unauthorised => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send the channel's stream key (Authorization: Bearer KEY), or an access key id \
                 and secret (Basic)"
                    .to_owned(),
            ),
            Self::NoAccessKey => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send the id and the secret of an access key that may do this (Basic)".to_owned(),
            ),
            Self::NoSuchWebhook => (
                StatusCode::NOT_FOUND,
                "not_found",
                "there is no such webhook, or no such dead letter of it".to_owned(),
            ),
            Self::Full(most) => (
                StatusCode::CONFLICT,
                "full",
                format!("there are {most} already; this is how many there may be"),
            ),
            Self::CrossSite => (
                StatusCode::FORBIDDEN,
                "cross_site",
                "with an access key this is not done for the page of another site".to_owned(),
            ),
            Self::NoSuchChannel => (
                StatusCode::NOT_FOUND,
                "channel_not_found",
                "there is no such channel".to_owned(),
            ),
            Self::NotLive => (
                StatusCode::NOT_FOUND,
                "channel_not_broadcasting",
                "the channel has no stream".to_owned(),
            ),
            Self::Malformed(why) => (StatusCode::BAD_REQUEST, "malformed_request", why),
            Self::Database => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the server's database failed or is slow; try again".to_owned(),
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let is_challenge = matches!(self, Self::Unauthorised | Self::NoAccessKey);
        let (status, code, message) = self.describe();
        let mut response = (status, Json(Body { code, message })).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if is_challenge {
            headers.insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        response
    }
}
