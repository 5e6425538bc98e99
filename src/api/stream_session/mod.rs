//! Stream sessions: what is remembered of each publish.
//!
//! In:  the events of all channels (`record`), requests. Out: rows, and members on the wire.

pub(super) mod get;
mod ingest;
pub(super) mod list;
pub(super) mod record;

use serde_json::{Value, json};

use crate::base::clock::WallTime;
use crate::model::StreamSession;

/// What both `StreamSession` and its summary have.
fn members(session: &StreamSession) -> Value {
    let mut value = json!({
        "streamId": session.stream_id,
        "startTime": session.started.to_string(),
    });
    if let Some(ended) = session.ended {
        value["endTime"] = json!(WallTime::to_string(&ended));
    }
    value
}
