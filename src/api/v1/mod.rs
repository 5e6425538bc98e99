//! Weir's own additions: `/v1/live`, and a channel's health, events and end.
//!
//! In:  the registry of live channels, their events. Out: JSON.

pub(super) mod access;
mod channel;
mod live;
mod problem;

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
        .with_state(sources)
}
