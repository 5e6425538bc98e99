//! `InsertAdBreak`: a break of a live stream whose channel has an ad configuration. It is told as an event.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::State;
use crate::api::restjson::{Code, Error};
use crate::base::clock::WallTime;
use crate::base::ids;
use crate::events::{Event, Kind};
use crate::live;

const ID_CHARS: usize = 12;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    channel_arn: String,
    duration_seconds: u32,
    ad_break_id: Option<String>,
    target_start_at: Option<String>,
}

pub(in crate::api) async fn run(state: &State, input: Input) -> Result<Value, Error> {
    let sources = &state.sources;
    let channel = sources.channel(&input.channel_arn).await?;
    if channel.attached.ad_configuration_arn.is_empty() {
        let rule = "the channel must have an ad configuration";
        return Err(Error::invalid("channelArn", rule));
    }
    let known = sources.registry.health(&channel.id);
    let known = known.filter(|(status, _)| status.state != live::State::Starting);
    let (status, _) = known.ok_or_else(crate::api::stream::not_broadcasting)?;
    let now = sources.clock.now();
    let wanted = input.target_start_at.and_then(|text| text.parse().ok());
    let start: WallTime = wanted.map_or(now, |wanted: WallTime| wanted.max(now));
    let end = start.plus_millis(i64::from(input.duration_seconds) * 1000);
    if !state.ad_breaks.begin(&status.stream_id, end, now) {
        return Err(Error::new(
            Code::Conflict,
            "an ad break runs, or is to come",
        ));
    }
    let id = input
        .ad_break_id
        .unwrap_or_else(|| ids::alphanumeric(ID_CHARS));
    let kind = Kind::AdBreakInserted {
        ad_break_id: id.clone(),
        duration_seconds: input.duration_seconds,
        target_start: start,
    };
    let event = Event::new(now, &channel, Some(&status.stream_id), kind);
    sources.events.emit(event);
    Ok(json!({"adBreakId": id, "targetStartAt": start.to_string()}))
}
