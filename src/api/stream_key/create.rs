//! `CreateStreamKey`: a new key for a channel whose old one was deleted.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::{Code, Error};
use crate::model::StreamKey;
use crate::model::repository;
use crate::model::tags::{self, Tags};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    channel_arn: String,
    #[serde(default)]
    tags: Tags,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    tags::check(&input.tags)?;
    let channel = sources.channel_id(&input.channel_arn)?;
    let region = sources.endpoints.scope().region();
    let key = StreamKey {
        tags: input.tags,
        ..StreamKey::create(&channel, region, sources.clock.now())
    };
    match sources.repository.create_stream_key(&key).await {
        Ok(()) => Ok(json!({"streamKey": super::present(sources, &key)})),
        Err(repository::Error::Exists) => Err(Error::new(
            Code::ServiceQuotaExceeded,
            "a channel has one stream key; delete it first",
        )),
        Err(repository::Error::NotFound(_)) => Err(Error::not_found(&input.channel_arn)),
        Err(error) => Err(error.into()),
    }
}
