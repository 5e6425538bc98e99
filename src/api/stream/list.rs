//! `ListStreams`: what is live, by channel id, all or of one health.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::{Asked, Error, cut};
use crate::base::clock::WallTime;
use crate::model::ChannelId;

const LISTING: &str = "streams";
const USUAL: u32 = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::api) struct Input {
    #[serde(flatten)]
    asked: Asked,
    filter_by: StreamFilters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamFilters {
    health: Option<String>,
}

pub(in crate::api) fn run(sources: &Sources, input: &Input) -> Result<Value, Error> {
    let page = input.asked.page(LISTING, USUAL)?;
    let wanted = input.filter_by.health.as_deref();
    let is_wanted = |stream: &Value| wanted.is_none_or(|health| stream["health"] == health);
    let after = page.after.as_ref().map(|(_, id)| id.as_str());
    let live = sources.registry.list().into_iter().map(|s| s.channel.id);
    let new = live.filter(|id: &ChannelId| after.is_none_or(|after| id.as_str() > after));
    let streams = new.filter_map(|id| Some((super::summary(sources, &id)?, id)));
    let wanted = streams.filter(|(stream, _)| is_wanted(stream));
    let mut rows: Vec<_> = wanted.collect();
    let next = cut(LISTING, &page, &mut rows, |(_, id)| {
        (WallTime(0), id.to_string())
    });
    let streams: Vec<_> = rows.into_iter().map(|(stream, _)| stream).collect();
    Ok(json!({"streams": streams, "nextToken": next}))
}
