//! Weir's own HTTP additions under `/v1`; the IVS-compatible control API comes to stand here too.
//!
//! In:  the registry of live channels (`live`). Out: JSON. Not here: media (`origin`), pages
//! (`console`), a rule that `model` or `live` should own.

mod live;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::live::Registry;
use crate::model::Endpoints;

/// What the handlers answer from.
#[derive(Clone)]
pub struct Sources {
    /// Who is live.
    pub registry: Arc<Registry>,
    /// The URLs this server hands out.
    pub endpoints: Arc<Endpoints>,
}

/// The routes of this room.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/v1/live", get(live::handler))
        .with_state(sources)
}
