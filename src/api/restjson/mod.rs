//! The protocol of the IVS API: AWS restJson1 over HTTP.
//!
//! In:  a signed request. Out: the answer of its operation (`operations`), or an error as AWS words it.
//! A request passes, in this order: its route, its signature, its rate, its input's shape, its caller's rights.
//! Not here: what an operation does.
//! Read: the Smithy specification of `aws.protocols#restJson1`.

mod error;
mod shapes;
mod page;
mod throttle;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Extract;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, post};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

pub use error::{Code, Error};
pub(super) use page::{Asked, cut};
use shapes::{IVS, Operation, TAGS};
pub(super) use throttle::Throttle;

use super::sigv4::layer::Caller;
use super::{Sources, State, operations};
use crate::base::ids;
use crate::model::access_key::Role;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// How long an operation may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// Routes every operation.
pub(super) fn router(state: State) -> Router {
    let paths = IVS
        .operations
        .values()
        .map(|operation| operation.uri.as_str());
    let plain = paths.filter(|path| !path.starts_with(TAGS));
    let router = Router::new()
        .route("/tags/{*resource_arn}", any(handle))
        .route(TAGS, any(handle));
    let router = plain.fold(router, |router, path| router.route(path, any(handle)));
    router.with_state(state)
}

/// Answers POST on any path as a call of an operation that does not exist: of a later version of IVS, say.
pub(super) fn unknown(state: State) -> MethodRouter {
    post(handle).with_state(state)
}

async fn handle(Extract(state): Extract<State>, request: Request<Body>) -> Response {
    let request_id = ids::uuid();
    let outcome = tokio::time::timeout(DEADLINE, answer(&state, request, &request_id)).await;
    let slow = || Error::new(Code::ServiceUnavailable, "the operation took too long");
    let mut response = match outcome.unwrap_or_else(|_| Err(slow())) {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(request_id, code = error.code.name(), "{}", error.message);
            error.into_response()
        }
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn answer(
    state: &State,
    request: Request<Body>,
    request_id: &str,
) -> Result<Response, Error> {
    let sources = &state.sources;
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let route = IVS.route(parts.method.as_str(), path);
    let (name, operation) = route.ok_or_else(|| {
        Error::new(
            Code::UnknownOperation,
            "there is no operation of that method and path",
        )
    })?;
    let (caller, body) = state.guard.admit(&parts, body).await?;
    let rate = operation.tps.saturating_mul(sources.config.rate_factor);
    if !state.throttle.take(name, rate, Instant::now()) {
        return Err(Error::new(Code::Throttling, "Rate exceeded"));
    }
    let input = input(&body, path, parts.uri.query().unwrap_or_default())?;
    let found = IVS.check(operation, &input, sources.config.lenient_arns);
    if let Some(message) = found.message() {
        return Err(Error::new(Code::Validation, message));
    }
    authorise(sources, &caller, name, operation, &found.arns)?;
    let changes_playback = operations::changes_playback(name, &input);
    let outcome = operations::run(state, name, input).await;
    if changes_playback {
        // Of a batch that failed, a part may have been done.
        sources.playback.refresh().await;
    }
    let output = outcome?;
    tracing::debug!(
        request_id,
        operation = name,
        key = caller.key_id,
        "answered"
    );
    Ok(success(operation.status, &output))
}

fn success(status: u16, output: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    if status == StatusCode::NO_CONTENT {
        return status.into_response();
    }
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, output.to_string()).into_response()
}

/// The members of the input: of the body, of the path and of the query.
fn input(body: &[u8], path: &str, query: &str) -> Result<Value, Error> {
    let malformed = || Error::new(Code::Validation, "the body must be a JSON object");
    let mut members: Map<String, Value> = match body {
        [] => Map::new(),
        body => serde_json::from_slice(body).map_err(|_| malformed())?,
    };
    members.retain(|_, value| !value.is_null());
    members.values_mut().for_each(strip_nulls);
    if let Some(arn) = path.strip_prefix(TAGS) {
        members.insert("resourceArn".to_owned(), json!(decoded(arn)?));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let keys = pairs.filter(|(name, _)| *name == "tagKeys");
        let keys: Result<Vec<_>, Error> = keys.map(|(_, value)| decoded(value)).collect();
        let keys = keys?;
        if !keys.is_empty() {
            members.insert("tagKeys".to_owned(), json!(keys));
        }
    }
    Ok(Value::Object(members))
}

/// A null stands for a member that is not there.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

fn decoded(text: &str) -> Result<String, Error> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Error::new(Code::Validation, "the URL is not UTF-8"))?;
    Ok(decoded.into_owned())
}

/// Whether the caller may: by its role, and by its prefix all that the request names. What names nothing is about
/// all resources of its kind.
fn authorise(
    sources: &Sources,
    caller: &Caller,
    name: &str,
    operation: &Operation,
    arns: &[String],
) -> Result<(), Error> {
    let reads = ["Get", "List", "BatchGet"]
        .iter()
        .any(|verb| name.starts_with(verb));
    let tells_secret = matches!(name, "GetStreamKey" | "BatchGetStreamKey");
    let is_role = match caller.role {
        Role::Admin => true,
        Role::ReadOnly => reads && !tells_secret,
        Role::Chat => false,
    };
    let prefix = &caller.arn_prefix;
    let all = sources.endpoints.scope().arns_of(&operation.resource);
    let is_within = match arns {
        [] => all.starts_with(prefix),
        arns => arns.iter().all(|arn| arn.starts_with(prefix)),
    };
    if is_role && is_within {
        return Ok(());
    }
    let words = format!(
        "the access key {} may not perform ivs:{name} here",
        caller.key_id
    );
    Err(Error::new(Code::AccessDenied, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_from_the_body_the_path_and_the_query() {
        let path = "/tags/arn%3Aaws%3Aivs%3Ar%3A1%3Achannel%2Fa";
        let arn = "arn:aws:ivs:r:1:channel/a";
        let both = input(b"{\"tags\":{\"a\":\"b\"}}", path, "").unwrap();
        assert_eq!(both, json!({"resourceArn": arn, "tags": {"a": "b"}}));
        let keys = input(b"", path, "tagKeys=a%20b&tagKeys=c&x=1").unwrap();
        assert_eq!(keys, json!({"resourceArn": arn, "tagKeys": ["a b", "c"]}));
        assert_eq!(input(b"", "/ListChannels", "").unwrap(), json!({}));
        let nulls = br#"{"a":null,"b":{"c":null,"d":[{"e":null}, null]}}"#;
        let stripped = input(nulls, "/ListChannels", "").unwrap();
        assert_eq!(stripped, json!({"b": {"d": [{}, null]}}));
        for body in ["[]", "1", "{", "nul", "\"x\""] {
            assert!(
                input(body.as_bytes(), "/ListChannels", "").is_err(),
                "{body}"
            );
        }
        assert!(input(b"", "/tags/%ff", "").is_err());
    }
}
