//! Weir's own additions: `/v1/live`, a channel's health, events and end, webhooks, and `/events`.
//!
//! In:  the registry of live channels, their events. Out: JSON.

pub(super) mod access;
mod channel;
mod feed;
mod live;
mod problem;
mod webhook;

use axum::Router;
use axum::routing::{get, post};

use super::Sources;

/// The routes under `/v1`.
pub(super) fn router(sources: Sources) -> Router {
    Router::new()
        .route("/v1/live", get(live::handler))
        .route("/v1/channels/{id}/health", get(channel::health))
        .route("/v1/channels/{id}/events", get(channel::events))
        .route("/v1/channels/{id}/stop", post(channel::stop))
        .route("/v1/webhooks", get(webhook::list).post(webhook::create))
        .route(
            "/v1/webhooks/{id}",
            get(webhook::get).delete(webhook::delete),
        )
        .route("/v1/webhooks/{id}/dead-letters", get(webhook::dead_letters))
        .route(
            "/v1/webhooks/{id}/dead-letters/{event}/replay",
            post(webhook::replay),
        )
        .route("/events", get(feed::handler))
        .with_state(sources)
}
