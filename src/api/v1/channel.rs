//! `/v1/channels/{id}/…`: how a channel's stream comes, what happened to it, and its end.
//!
//! In:  a request of who may (`access`). Out: `health` and `events` as JSON; `stop` ends the stream.
//! Not here: the measures (`live::health`), the catalogue of events (`events`).

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Extract};
use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Sources;
use super::access::{authorise, authorise_change};
use super::problem::Problem;
use crate::live::health::{Finding, Report, Second, Summary};
use crate::live::{State, Status};
use crate::model::Channel;

/// Seconds told.
const SECONDS: usize = 60;

/// How much is wanted.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// Most events, the newest.
    events: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { events: usize::MAX }
    }
}

type Wants = Result<Query<Wanted>, QueryRejection>;

/// Names as the IVS API spells them, where it has them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelHealth {
    channel_id: String,
    name: String,
    /// `OFFLINE`, `STARTING`, `LIVE`, or `HELD` while a lost publisher is waited for.
    state: &'static str,
    /// `HEALTHY`, `STARVING` or `UNKNOWN`.
    health: &'static str,
    viewer_count: u64,
    #[serde(flatten)]
    stream: Option<Shown>,
    /// The last minute, oldest first.
    seconds: Vec<Measures>,
    /// What is not as it should be, or was not lately; the newest first.
    findings: Vec<Told>,
    /// As `EventBridge` would be sent them; the newest first.
    events: Vec<Value>,
}

/// What viewers see, once they see something.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    stream_id: String,
    /// RFC 3339.
    start_time: String,
    width: u16,
    height: u16,
    /// Frames per second.
    frame_rate: f64,
    shed_renditions: Vec<String>,
}

/// One second of the stream as it came.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measures {
    /// Its end, RFC 3339.
    time: String,
    /// Bits per second of both tracks, and of each.
    bitrate: u64,
    video_bitrate: u64,
    audio_bitrate: u64,
    /// Frames per second.
    frame_rate: f64,
    /// Seconds; none before the second keyframe.
    keyframe_interval: Option<f64>,
    /// Milliseconds by which sound runs ahead of the picture (behind: negative), since the start.
    av_drift: Option<i64>,
    /// Pictures that a steady frame rate has and this stream has not.
    missing_frames: u64,
    /// Broken or unordered frames that were left out.
    dropped_frames: u64,
    timestamp_jumps: u64,
    parts: u64,
    late_parts: u64,
    is_starving: bool,
}

/// Something for the streamer to know.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    code: &'static str,
    words: String,
    /// RFC 3339.
    since: String,
    last_seen: String,
    is_active: bool,
}

/// `GET /v1/channels/{id}/health`.
pub(super) async fn health(
    Extract(sources): Extract<Sources>,
    Path(id): Path<String>,
    wanted: Wants,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let (channel, events) = asked(&sources, &headers, &id, wanted).await?;
    let known = sources.registry.health(&channel.id);
    let viewers = sources.registry.viewers(&channel);
    Ok(answer(describe(channel, known, viewers, events)))
}

/// `GET /v1/channels/{id}/events`.
pub(super) async fn events(
    Extract(sources): Extract<Sources>,
    Path(id): Path<String>,
    wanted: Wants,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let (_, events) = asked(&sources, &headers, &id, wanted).await?;
    Ok(answer(serde_json::json!({ "events": events })))
}

/// `POST /v1/channels/{id}/stop`: the publisher is sent away, the playlists end. Its key stays valid.
pub(super) async fn stop(
    Extract(sources): Extract<Sources>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let channel = authorise_change(&sources, &headers, &id).await?;
    tracing::info!(channel.id = %channel.id, "asked to stop the stream");
    if !sources.registry.stop(&channel.id) {
        return Err(Problem::NotLive);
    }
    Ok(answer(serde_json::json!({})))
}

/// The channel, and the newest of its events, as many as are wanted.
async fn asked(
    sources: &Sources,
    headers: &HeaderMap,
    id: &str,
    wanted: Wants,
) -> Result<(Channel, Vec<Value>), Problem> {
    let channel = authorise(sources, headers, id).await?;
    let Query(wanted) = wanted.map_err(|error| Problem::Malformed(error.body_text()))?;
    let scope = sources.endpoints.scope();
    let newest = sources.events.newest(&channel.id);
    let newest = newest.iter().take(wanted.events);
    let events = newest.map(|event| event.to_json(scope)).collect();
    Ok((channel, events))
}

/// What holds for one who may only.
fn answer(body: impl Serialize) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], Json(body))
}

fn describe(
    channel: Channel,
    known: Option<(Status, Report)>,
    viewer_count: u64,
    events: Vec<Value>,
) -> ChannelHealth {
    let (status, report) = known.unzip();
    let report = report.unwrap_or_default();
    let state = match status.as_ref().map(|status| status.state) {
        None => "OFFLINE",
        Some(State::Starting) => "STARTING",
        Some(State::Live) => "LIVE",
        Some(State::Held) => "HELD",
    };
    let is_shown = |status: &Status| status.state != State::Starting;
    let skipped = report.seconds.len().saturating_sub(SECONDS);
    ChannelHealth {
        channel_id: channel.id.to_string(),
        name: channel.name,
        state,
        health: Summary::as_str(report.summary),
        viewer_count,
        stream: status.filter(is_shown).map(shown),
        seconds: report.seconds.iter().skip(skipped).map(measures).collect(),
        findings: report.findings.into_iter().map(told).collect(),
        events,
    }
}

fn shown(status: Status) -> Shown {
    Shown {
        stream_id: status.stream_id,
        start_time: status.started.to_string(),
        width: status.size.0,
        height: status.size.1,
        frame_rate: f64::from(status.fps_millis) / 1000.0,
        shed_renditions: status.shed.into_iter().collect(),
    }
}

fn measures(second: &Second) -> Measures {
    Measures {
        time: second.at.to_string(),
        bitrate: second.bitrate_bps(),
        video_bitrate: second.video_bitrate_bps(),
        audio_bitrate: second.audio_bitrate_bps(),
        frame_rate: thousandths(second.fps_millis()),
        keyframe_interval: second.keyframe_interval_ms.map(thousandths),
        av_drift: second.av_drift_ms,
        missing_frames: second.missing_pictures,
        dropped_frames: second.dropped_units,
        timestamp_jumps: second.jumps,
        parts: second.parts,
        late_parts: second.late_parts,
        is_starving: second.is_starving,
    }
}

fn told(finding: Finding) -> Told {
    Told {
        code: finding.code.as_str(),
        words: finding.words,
        since: finding.since.to_string(),
        last_seen: finding.last_seen.to_string(),
        is_active: finding.is_active,
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers, for text")]
fn thousandths(value: u64) -> f64 {
    value as f64 / 1000.0
}
