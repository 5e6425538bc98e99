//! `UpdateAdConfiguration`, `UpdateFailoverSlateConfiguration`, `UpdatePlaybackRestrictionPolicy`: what is named
//! changes.

use serde_json::Value;

use crate::api::Sources;
use crate::api::operations::read;
use crate::api::restjson::{Code, Error};
use crate::model::Document;
use crate::model::document::Contents;

pub(in crate::api) async fn run<C: Contents + Send>(
    sources: &Sources,
    input: Value,
) -> Result<Value, Error> {
    let arn = input["arn"].as_str().unwrap_or_default();
    let document = sources.document(C::KIND, arn).await?;
    let mut merged = document.contents.clone();
    if let (Some(members), Some(changes)) = (merged.as_object_mut(), input.as_object()) {
        members.extend(changes.clone());
    }
    // What is no member of the contents is dropped here.
    let contents: C = read(merged)?;
    contents
        .check()
        .map_err(|(member, rule)| Error::invalid(member, rule))?;
    let unwritable = |_| Error::new(Code::InternalServer, "the contents cannot be written");
    let document = Document {
        contents: serde_json::to_value(&contents).map_err(unwritable)?,
        ..document
    };
    sources.repository.save_document(&document).await?;
    Ok(super::answer(sources, &document))
}
