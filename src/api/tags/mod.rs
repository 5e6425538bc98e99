//! Tags of whatever has an ARN.

pub(super) mod list;
pub(super) mod tag;
pub(super) mod untag;

use serde_json::{Value, json};

use super::Sources;
use super::restjson::Error;
use crate::model::repository;
use crate::model::tags::TagChange;

async fn change(sources: &Sources, arn: &str, change: TagChange) -> Result<Value, Error> {
    let resource = sources.resource(arn)?;
    match sources.repository.change_tags(&resource, &change).await {
        Ok(()) => Ok(json!({})),
        Err(repository::Error::NotFound(_)) => Err(Error::not_found(arn)),
        Err(error) => Err(error.into()),
    }
}
