//! `ListTagsForResource`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::Error;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    resource_arn: String,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let arn = &input.resource_arn;
    let tags = sources
        .repository
        .load_tags(&sources.resource(arn)?)
        .await?;
    let tags = tags.ok_or_else(|| Error::not_found(arn))?;
    Ok(json!({"tags": tags}))
}
