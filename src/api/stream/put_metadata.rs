//! `PutMetadata`: a text for all who watch, at one moment of the stream.

use serde::Deserialize;
use serde_json::Value;

use crate::api::Sources;
use crate::api::restjson::Error;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    channel_arn: String,
    metadata: String,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let channel = sources.channel(&input.channel_arn).await?;
    let put = sources.registry.put_metadata(&channel.id, &input.metadata);
    put.map(|()| Value::Null).map_err(super::refused)
}
