//! `DeleteAdConfiguration`, `DeleteFailoverSlateConfiguration`, `DeletePlaybackKeyPair`,
//! `DeletePlaybackRestrictionPolicy`, `DeleteRecordingConfiguration`: not while a channel refers to it.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::Error;
use crate::model::DocumentKind;

#[derive(Debug, Deserialize)]
pub(in crate::api) struct Input {
    arn: String,
}

pub(in crate::api) async fn run(
    sources: &Sources,
    kind: DocumentKind,
    input: Input,
) -> Result<Value, Error> {
    let arn = &input.arn;
    let document = sources.document(kind, arn).await?;
    sources
        .repository
        .delete_document(kind, &document.id, arn)
        .await?;
    Ok(json!({}))
}
