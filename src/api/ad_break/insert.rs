//! `InsertAdBreak`: a break of a live stream whose channel has an ad configuration. It is listed in the playlists and told
//! as an event.

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::api::restjson::Error;
use crate::api::{State, stream};
use crate::base::clock::WallTime;
use crate::base::ids;
use crate::events::{Event, Kind};
use crate::live::AdBreak;
use crate::model::Channel;

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
    let (status, _) = known.ok_or_else(stream::not_broadcasting)?;
    let id = input.ad_break_id.clone();
    let id = id.unwrap_or_else(|| ids::alphanumeric(ID_CHARS));
    let url = sources.config.ad_decision().unwrap_or_default();
    let now = sources.clock.now();
    let wanted = input
        .target_start_at
        .as_deref()
        .and_then(|text| text.parse().ok());
    let start: WallTime = wanted.map_or(now, |wanted: WallTime| wanted.max(now));
    let ad_break = AdBreak {
        asset_list: url.map(|url| asset_list(url, &channel, &id, &input)),
        id: id.clone(),
        start,
        duration_ms: input.duration_seconds.saturating_mul(1000),
    };
    let added = sources.registry.add_break(&channel.id, ad_break);
    added.map_err(stream::refused)?;
    let kind = Kind::AdBreakInserted {
        ad_break_id: id.clone(),
        duration_seconds: input.duration_seconds,
        target_start: start,
    };
    let event = Event::new(now, &channel, Some(&status.stream_id), kind);
    sources.events.emit(event);
    Ok(json!({"adBreakId": id, "targetStartAt": start.to_string()}))
}

/// Where a player asks for the ads of one break.
fn asset_list(mut url: Url, channel: &Channel, id: &str, input: &Input) -> String {
    url.query_pairs_mut()
        .append_pair("adBreakId", id)
        .append_pair("durationSeconds", &input.duration_seconds.to_string())
        .append_pair("channelArn", &input.channel_arn)
        .append_pair("adConfigurationArn", &channel.attached.ad_configuration_arn);
    url.into()
}
