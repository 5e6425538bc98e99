//! CloudWatch for the namespace AWS/IVS: what was measured of the streams, for clients that ask Amazon's CloudWatch.
//!
//! In:  signed requests of the service `monitoring`, as AWS JSON 1.0 (boto3, the AWS command line, JavaScript) or
//! as RPC v2 CBOR (Go, Rust, PHP and others). Out: `GetMetricData`, `GetMetricStatistics` and `ListMetrics`.
//! Not here: measuring (`live::measures`), alarms, dashboards, expressions.
//! Read: the Smithy specifications of `aws.protocols#awsJson1_0` and `smithy.protocols#rpcv2Cbor`.

mod cbor;
mod data;
mod error;
mod list;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State as Extract};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use self::error::Error;
use super::State;
use super::restjson::{Code, Error as RestError};
use crate::base::ids;
use crate::model::access_key::Role;

/// The service as its protocols name it.
const TARGET: &str = "GraniteServiceVersion20100801.";
const RPC: &str = "/service/GraniteServiceVersion20100801/operation/{operation}";
/// Largest body: 500 queries with every name at its longest are smaller.
const MAX_BODY_BYTES: usize = 1024 * 1024;
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");

#[derive(Clone, Copy)]
enum Protocol {
    Json,
    Cbor,
}

/// Routes both protocols.
pub(super) fn router(state: State, others: Router) -> Router {
    let json = async |Extract(state): Extract<State>, request: Request<Body>| {
        let target = request.headers().get("x-amz-target");
        let target = target.and_then(|it| it.to_str().ok()?.strip_prefix(TARGET));
        let operation = target.unwrap_or_default().to_owned();
        handle(&state, Protocol::Json, &operation, request).await
    };
    let cbor = async |Extract(state): Extract<State>,
                      Path(operation): Path<String>,
                      request: Request<Body>| {
        handle(&state, Protocol::Cbor, &operation, request).await
    };
    // Whatever else is asked for there is a page.
    let root = post(json).fallback_service(others);
    let router = Router::new().route("/", root).route(RPC, post(cbor));
    router.with_state(state)
}

async fn handle(
    state: &State,
    protocol: Protocol,
    operation: &str,
    request: Request<Body>,
) -> Response {
    let (status, body, query_error) = match answer(state, protocol, operation, request).await {
        Ok(output) => (StatusCode::OK, output, None),
        Err(error) => (error.status(), error.body(), error.query_error()),
    };
    let (content_type, bytes) = match protocol {
        Protocol::Json => ("application/x-amz-json-1.0", body.to_string().into_bytes()),
        Protocol::Cbor => ("application/cbor", cbor::write(body)),
    };
    let mut response = (status, bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(protocol, Protocol::Cbor) {
        headers.insert(SMITHY_PROTOCOL, HeaderValue::from_static("rpc-v2-cbor"));
    }
    let more = [(REQUEST_ID, Some(ids::uuid())), (QUERY_ERROR, query_error)];
    for (name, value) in more {
        if let Some(value) = value.and_then(|it| HeaderValue::from_str(&it).ok()) {
            headers.insert(name, value);
        }
    }
    response
}

async fn answer(
    state: &State,
    protocol: Protocol,
    operation: &str,
    request: Request<Body>,
) -> Result<Value, Error> {
    let (parts, body) = request.into_parts();
    // Amazon's quotas, in calls each second.
    let tps: u32 = match operation {
        "GetMetricData" => 50,
        "GetMetricStatistics" => 400,
        "ListMetrics" => 25,
        _ => {
            let words = "this server has GetMetricData, GetMetricStatistics and ListMetrics, as AWS JSON or RPC v2 CBOR";
            return Err(RestError::new(Code::UnknownOperation, words).into());
        }
    };
    let (caller, body) = state.guard.admit(&parts, body).await?;
    let sources = &state.sources;
    let channels = sources.endpoints.scope().arns_of("channel");
    if caller.role == Role::Chat || !channels.starts_with(&caller.arn_prefix) {
        let words = format!(
            "the access key {} may not perform cloudwatch:{operation} here",
            caller.key_id
        );
        return Err(RestError::new(Code::AccessDenied, words).into());
    }
    let name = format!("cloudwatch:{operation}");
    let rate = tps.saturating_mul(sources.config.rate_factor);
    if !state.throttle.take(&name, rate, Instant::now()) {
        return Err(RestError::new(Code::Throttling, "Rate exceeded").into());
    }
    if body.len() > MAX_BODY_BYTES {
        let words = format!("a request may have {MAX_BODY_BYTES} bytes");
        return Err(RestError::new(Code::RequestEntityTooLarge, words).into());
    }
    let input = match protocol {
        Protocol::Json => serde_json::from_slice(&body).ok(),
        Protocol::Cbor => cbor::read(&body),
    };
    let input = input.ok_or_else(|| Error::malformed("the body cannot be read"))?;
    let measures = &sources.measures;
    match operation {
        "GetMetricData" => data::get(measures, &read(input)?),
        "GetMetricStatistics" => data::get_statistics(measures, &read(input)?),
        _ => list::run(measures, &read(input)?),
    }
}

fn read<T: DeserializeOwned>(input: Value) -> Result<T, Error> {
    serde_json::from_value(input).map_err(|error| Error::malformed(&error.to_string()))
}
