//! `BatchStartViewerSessionRevocation`: for each that cannot be, why not.

use serde::Deserialize;
use serde_json::{Value, json};

use super::ViewerSession;
use crate::api::Sources;
use crate::api::restjson::{Code, Error};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Input {
    viewer_sessions: Vec<ViewerSession>,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let mut errors = Vec::new();
    for session in input.viewer_sessions {
        match super::revoke(sources, &session).await {
            Ok(()) => {}
            Err(error) if error.code == Code::ResourceNotFound => errors.push(json!({
                "channelArn": session.channel_arn,
                "viewerId": session.viewer_id,
                "code": error.code.name(),
                "message": error.message,
            })),
            Err(error) => return Err(error),
        }
    }
    Ok(json!({"errors": errors}))
}
