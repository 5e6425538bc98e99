//! Live streams, as the IVS API has them.
//!
//! In:  what the registry knows of a channel. Out: its members on the wire.

pub(super) mod get;
pub(super) mod list;
pub(super) mod put_metadata;
pub(super) mod stop;

use serde_json::{Value, json};

use super::Sources;
use super::restjson::{Code, Error};
use crate::live::metadata::Refused;
use crate::live::{State, Status};
use crate::model::ChannelId;

/// What is live on a channel: `StreamSummary`. None while nothing can be watched yet.
fn summary(sources: &Sources, id: &ChannelId) -> Option<Value> {
    let (status, report) = sources.registry.health(id)?;
    let Status {
        channel,
        stream_id,
        state,
        started,
        ..
    } = status;
    (state != State::Starting).then(|| {
        json!({
            "channelArn": sources.endpoints.scope().channel_arn(id).to_string(),
            "streamId": stream_id,
            "state": "LIVE",
            "health": report.summary.as_str(),
            "viewerCount": sources.registry.viewers(&channel),
            "startTime": started.to_string(),
        })
    })
}

/// Why nothing could be put into a stream.
pub(super) fn refused(why: Refused) -> Error {
    match why {
        Refused::NotLive => not_broadcasting(),
        Refused::TooMany => Error::new(Code::Throttling, why.to_string()),
        Refused::BreakRuns => Error::new(Code::Conflict, why.to_string()),
        Refused::Length(_) => Error::invalid("metadata", why),
    }
}

pub(super) fn not_broadcasting() -> Error {
    Error::new(
        Code::ChannelNotBroadcasting,
        "the channel is not broadcasting",
    )
}
