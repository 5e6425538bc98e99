//! `ListStreamKeys`: a channel's key, if it has one, without the secret.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::{Asked, Error};

const LISTING: &str = "stream-keys";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    channel_arn: String,
    #[serde(flatten)]
    asked: Asked,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    // There is one key at most and so one page; no token was ever given.
    input.asked.page(LISTING, 1)?;
    let channel = sources.channel(&input.channel_arn).await?;
    let key = sources.repository.stream_key_of(&channel.id).await?;
    let keys: Vec<_> = key.iter().map(|key| super::summary(sources, key)).collect();
    Ok(json!({"streamKeys": keys}))
}
