//! `StopStream`: the publisher is sent away. Its key stays valid.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::Error;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    channel_arn: String,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let channel = sources.channel(&input.channel_arn).await?;
    tracing::info!(channel.id = %channel.id, "asked to stop the stream");
    let was_live = sources.registry.stop(&channel.id);
    was_live
        .then(|| json!({}))
        .ok_or_else(super::not_broadcasting)
}
