//! Stream keys, as the IVS API has them: one a channel.
//!
//! In:  a stored key. Out: its members on the wire.

pub(super) mod batch_get;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod get;
pub(super) mod list;

use serde_json::{Value, json};

use super::Sources;
use super::restjson::Error;
use crate::model::StreamKey;

/// `StreamKey`, secret included.
pub(super) fn present(sources: &Sources, key: &StreamKey) -> Value {
    let mut value = summary(sources, key);
    value["value"] = json!(key.value.expose());
    value
}

/// `StreamKeySummary`.
fn summary(sources: &Sources, key: &StreamKey) -> Value {
    let scope = sources.endpoints.scope();
    json!({
        "arn": scope.stream_key_arn(key.id()).to_string(),
        "channelArn": scope.channel_arn(&key.channel_id).to_string(),
        "tags": key.tags,
    })
}

/// The key that an ARN names.
async fn load(sources: &Sources, arn: &str) -> Result<StreamKey, Error> {
    let id = sources.stream_key_id(arn)?;
    let key = sources.repository.load_stream_key(&id).await?;
    key.ok_or_else(|| Error::not_found(arn))
}
