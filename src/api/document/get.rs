//! `GetAdConfiguration`, `GetFailoverSlateConfiguration`, `GetPlaybackKeyPair`, `GetPlaybackRestrictionPolicy`,
//! `GetRecordingConfiguration`.

use serde::Deserialize;
use serde_json::Value;

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
    let document = sources.document(kind, &input.arn).await?;
    Ok(super::answer(sources, &document))
}
