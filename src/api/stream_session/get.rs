//! `GetStreamSession`: one of a channel's, or the newest; also of a channel that is deleted.

use serde::Deserialize;
use serde_json::{Value, json};

use super::ingest;
use crate::api::Sources;
use crate::api::restjson::Error;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    channel_arn: String,
    stream_id: Option<String>,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let channel = sources.channel_id(&input.channel_arn)?;
    let stream_id = input.stream_id.as_deref();
    let session = sources
        .repository
        .load_stream_session(&channel, stream_id)
        .await?;
    let missing = || Error::not_found(stream_id.unwrap_or(&input.channel_arn));
    let mut session = session.ok_or_else(missing)?;
    if session.ended.is_none() {
        session.details.extend(ingest::members(sources, &session));
    }
    let mut value = super::members(&session);
    for (member, detail) in &session.details {
        value[member] = detail.clone();
    }
    let newest_first: Vec<_> = session.events.iter().rev().collect();
    value["truncatedEvents"] = json!(newest_first);
    Ok(json!({"streamSession": value}))
}
