//! `DeleteChannel`: the channel and its stream key, while it is offline. Its stream sessions stay.

use serde::Deserialize;
use serde_json::Value;

use crate::api::Sources;
use crate::api::restjson::Error;

#[derive(Debug, Deserialize)]
pub(in crate::api) struct Input {
    arn: String,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let channel = sources.channel(&input.arn).await?;
    super::check_offline(sources, &channel)?;
    sources.repository.delete_channel(&channel.id).await?;
    Ok(Value::Null)
}
