//! `GetStream`: what is live on a channel.

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
    let summary = super::summary(sources, &channel.id);
    let mut stream = summary.ok_or_else(super::not_broadcasting)?;
    stream["playbackUrl"] = json!(sources.endpoints.playback_url(&channel.id));
    Ok(json!({"stream": stream}))
}
