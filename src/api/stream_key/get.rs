//! `GetStreamKey`: with its secret.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::Error;

#[derive(Debug, Deserialize)]
pub(in crate::api) struct Input {
    arn: String,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let key = super::load(sources, &input.arn).await?;
    Ok(json!({"streamKey": super::present(sources, &key)}))
}
