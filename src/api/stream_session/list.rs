//! `ListStreamSessions`: a channel's, the newest first; also of a channel that is deleted.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::{Asked, Error, cut};

const LISTING: &str = "stream-sessions";
const USUAL: u32 = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    channel_arn: String,
    #[serde(flatten)]
    asked: Asked,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let page = input.asked.page(LISTING, USUAL)?;
    let channel = sources.channel_id(&input.channel_arn)?;
    let mut rows = sources
        .repository
        .list_stream_sessions(&channel, &page)
        .await?;
    if rows.is_empty() {
        sources.channel(&input.channel_arn).await?;
    }
    let next = cut(LISTING, &page, &mut rows, |s| {
        (s.started, s.stream_id.clone())
    });
    let summaries = rows.iter().map(|session| {
        let mut value = super::members(session);
        value["hasErrorEvent"] = json!(session.has_error);
        value
    });
    let summaries: Vec<_> = summaries.collect();
    Ok(json!({"streamSessions": summaries, "nextToken": next}))
}
