//! `GET /v1/live`: the public list of channels that can be watched now.

use axum::extract::State as Extract;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use axum::response::{IntoResponse, Json};
use serde::Serialize;

use super::Sources;
use crate::live::{State, Status};
use crate::model::Endpoints;

/// The answer.
#[derive(Debug, Serialize)]
struct LiveList {
    channels: Vec<LiveChannel>,
}

/// One channel; names as the IVS API spells them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LiveChannel {
    channel_id: String,
    arn: String,
    name: String,
    stream_id: String,
    /// `LIVE`, or `HELD` while a lost publisher is waited for.
    state: &'static str,
    playback_url: String,
    watch_url: String,
    /// RFC 3339.
    start_time: String,
    /// Concurrent views, as `Stream.viewerCount` of the IVS API.
    viewer_count: u64,
    width: u16,
    height: u16,
    /// Frames per second.
    frame_rate: f64,
    /// What is not as the streamer may expect, in words.
    notices: Vec<String>,
    /// Renditions that are left out for now: the machine is overloaded.
    shed_renditions: Vec<String>,
}

/// Answers with every live or held channel, by channel id.
pub(super) async fn handler(Extract(sources): Extract<Sources>) -> impl IntoResponse {
    let statuses = sources.registry.list();
    let channels = statuses
        .into_iter()
        .map(|s| {
            let viewers = sources.registry.viewers(&s.channel);
            describe(s, viewers, &sources.endpoints)
        })
        .collect();
    let headers = [
        (CACHE_CONTROL, "no-cache"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, Json(LiveList { channels }))
}

fn describe(status: Status, viewer_count: u64, endpoints: &Endpoints) -> LiveChannel {
    let id = &status.channel.id;
    LiveChannel {
        channel_id: id.to_string(),
        arn: endpoints.scope().channel_arn(id).to_string(),
        stream_id: status.stream_id,
        state: if status.state == State::Held {
            "HELD"
        } else {
            "LIVE"
        },
        playback_url: endpoints.playback_url(id),
        watch_url: endpoints.watch_url(id),
        start_time: status.started.to_string(),
        viewer_count,
        width: status.size.0,
        height: status.size.1,
        frame_rate: f64::from(status.fps_millis) / 1000.0,
        notices: status.notices,
        shed_renditions: status.shed.into_iter().collect(),
        name: status.channel.name,
    }
}
