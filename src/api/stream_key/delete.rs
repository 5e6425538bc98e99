//! `DeleteStreamKey`: nobody publishes with it any more; who does already goes on.

use serde::Deserialize;
use serde_json::Value;

use crate::api::Sources;
use crate::api::restjson::Error;
use crate::model::repository;

#[derive(Debug, Deserialize)]
pub(in crate::api) struct Input {
    arn: String,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let id = sources.stream_key_id(&input.arn)?;
    match sources.repository.delete_stream_key(&id).await {
        Ok(()) => Ok(Value::Null),
        Err(repository::Error::NotFound(_)) => Err(Error::not_found(&input.arn)),
        Err(error) => Err(error.into()),
    }
}
