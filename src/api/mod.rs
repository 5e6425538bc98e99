//! Weir's own HTTP additions under `/v1`; the IVS-compatible control API comes to stand here too.
//!
//! In:  the registry of live channels (`live`), what happened (`events`). Out: JSON. Not here: media (`origin`), pages
//! (`console`), a rule that `model` or `live` should own.

mod access;
mod channel;
mod live;
mod problem;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

pub use self::access::RootKey;
use crate::events::Bus;
use crate::live::Registry;
use crate::model::Endpoints;
use crate::model::repository::Repository;

/// What the handlers answer from.
#[derive(Clone)]
pub struct Sources {
    /// Who is live.
    pub registry: Arc<Registry>,
    /// The URLs this server hands out.
    pub endpoints: Arc<Endpoints>,
    /// What happened.
    pub events: Arc<Bus>,
    /// Channels and their stream keys.
    pub repository: Arc<dyn Repository>,
    /// The access key that may everything.
    pub root_key: Arc<RootKey>,
}

/// The routes of this room.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/v1/live", get(live::handler))
        .route("/v1/channels/{id}/health", get(channel::health))
        .route("/v1/channels/{id}/events", get(channel::events))
        .route("/v1/channels/{id}/stop", post(channel::stop))
        .with_state(sources)
}
