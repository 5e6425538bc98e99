//! `TagResource`: adds tags, or changes those of the same key.

use serde::Deserialize;
use serde_json::Value;

use crate::api::Sources;
use crate::api::restjson::Error;
use crate::model::tags::{TagChange, Tags};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    resource_arn: String,
    tags: Tags,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    super::change(sources, &input.resource_arn, TagChange::Set(input.tags)).await
}
