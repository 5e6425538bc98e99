//! `StartViewerSessionRevocation`.

use serde_json::{Value, json};

use super::ViewerSession;
use crate::api::Sources;
use crate::api::restjson::Error;

pub(in crate::api) async fn run(sources: &Sources, input: ViewerSession) -> Result<Value, Error> {
    super::revoke(sources, &input).await?;
    Ok(json!({}))
}
