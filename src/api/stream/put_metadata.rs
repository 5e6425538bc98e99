//! `PutMetadata`: a text for all who watch, at one moment of the stream.

use serde::Deserialize;
use serde_json::Value;

use crate::api::Sources;
use crate::api::restjson::{Code, Error};
use crate::live::metadata::Refused;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    channel_arn: String,
    metadata: String,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let channel = sources.channel(&input.channel_arn).await?;
    match sources.registry.put_metadata(&channel.id, &input.metadata) {
        Ok(()) => Ok(Value::Null),
        Err(Refused::NotLive) => Err(super::not_broadcasting()),
        Err(refused @ Refused::TooMany) => Err(Error::new(Code::Throttling, refused.to_string())),
        Err(refused @ Refused::Length(_)) => Err(Error::invalid("metadata", refused)),
    }
}
