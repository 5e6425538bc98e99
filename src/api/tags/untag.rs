//! `UntagResource`: removes tags, where there are any.

use serde::Deserialize;
use serde_json::Value;

use crate::api::Sources;
use crate::api::restjson::Error;
use crate::model::tags::TagChange;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    resource_arn: String,
    tag_keys: Vec<String>,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    super::change(
        sources,
        &input.resource_arn,
        TagChange::Remove(input.tag_keys),
    )
    .await
}
