//! One publish, from its beginning to its end, as it is told afterwards.
//!
//! In:  what the channel was when it began, then each event. Out: the session with its newest events.
//! Not here: who tells (`events`), the wire (`api`).
//! Standard: IVS `StreamSession`: kept for 60 days, with at most 500 events.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::ChannelId;
use crate::base::clock::WallTime;

/// How long a session is kept.
pub const KEPT_MS: i64 = 60 * 24 * 3_600_000;
/// Events kept of a session.
const MAX_EVENTS: usize = 500;

/// Something that happened, in the API's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamEvent {
    /// For example `Stream Start`.
    pub name: String,
    /// For example `IVS Stream State Change`.
    #[serde(rename = "type")]
    pub kind: String,
    /// RFC 3339.
    pub event_time: String,
    /// Why, where the event says it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
}

/// A stream session.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSession {
    /// `st-…`
    pub stream_id: String,
    /// Whose.
    pub channel_id: ChannelId,
    /// When it began.
    pub started: WallTime,
    /// When it ended; none while it lasts.
    pub ended: Option<WallTime>,
    /// Whether a limit was broken, or the server failed.
    pub has_error: bool,
    /// Channel, ingest and other configurations as they were when it went live, in the API's words.
    pub details: Map<String, Value>,
    /// The newest last.
    pub events: Vec<StreamEvent>,
}

impl StreamSession {
    /// A session of which nothing has been told.
    pub fn begin(stream_id: &str, channel_id: &ChannelId, started: WallTime) -> Self {
        Self {
            stream_id: stream_id.to_owned(),
            channel_id: channel_id.clone(),
            started,
            ended: None,
            has_error: false,
            details: Map::new(),
            events: Vec::new(),
        }
    }

    /// One more event.
    pub fn push(&mut self, event: StreamEvent) {
        self.has_error |= event.kind == "IVS Limit Breach" || event.name == "Stream Failure";
        if self.events.len() >= MAX_EVENTS {
            self.events.remove(0);
        }
        self.events.push(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_events_stay_and_errors_are_remembered() {
        let id = "abcdABCDefgh".parse().unwrap();
        let mut session = StreamSession::begin("st-1", &id, WallTime(1));
        let event = |name: &str, kind: &str| StreamEvent {
            name: name.to_owned(),
            kind: kind.to_owned(),
            event_time: String::new(),
            code: None,
        };
        session.push(event("first", "IVS Stream State Change"));
        assert!(!session.has_error);
        session.push(event("Ingest Bitrate", "IVS Limit Breach"));
        for _ in 0..MAX_EVENTS {
            session.push(event("Starvation Start", "IVS Stream Health Change"));
        }
        assert!(session.has_error);
        assert_eq!(session.events.len(), MAX_EVENTS);
        assert_eq!(session.events[0].name, "Starvation Start");
    }
}
