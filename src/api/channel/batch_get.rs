//! `BatchGetChannel`: those that exist, and for each other one why not.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::{Code, Error};

#[derive(Debug, Deserialize)]
pub(in crate::api) struct Input {
    arns: Vec<String>,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let (mut channels, mut errors) = (Vec::new(), Vec::new());
    for arn in input.arns {
        match sources.channel(&arn).await {
            Ok(channel) => channels.push(super::present(sources, &channel)),
            Err(error) if error.code == Code::ResourceNotFound => {
                errors
                    .push(json!({"arn": arn, "code": error.code.name(), "message": error.message}));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(json!({"channels": channels, "errors": errors}))
}
