//! `CreateAdConfiguration`, `CreateFailoverSlateConfiguration`, `CreatePlaybackRestrictionPolicy`; with more to do:
//! `create_recording`, `import_key_pair`.

use serde::Deserialize;
use serde_json::Value;

use crate::api::Sources;
use crate::api::operations::read;
use crate::api::restjson::Error;
use crate::model::Document;
use crate::model::document::{Contents, DocumentKind};
use crate::model::tags::{self, Tags};

#[derive(Debug, Deserialize)]
struct Tagged {
    #[serde(default)]
    tags: Tags,
}

pub(in crate::api) async fn run<C: Contents + Send>(
    sources: &Sources,
    input: Value,
) -> Result<Value, Error> {
    let state = match C::KIND {
        DocumentKind::FailoverSlateConfiguration => "CREATED",
        _ => "",
    };
    let (contents, tags) = checked::<C>(input)?;
    let document = Document::create(&contents, tags, state, sources.clock.now());
    store(sources, &document).await?;
    Ok(super::answer(sources, &document))
}

/// The contents and the tags of an input, if they break no rule.
pub(super) fn checked<C: Contents>(input: Value) -> Result<(C, Tags), Error> {
    let Tagged { tags } = read(input.clone())?;
    tags::check(&tags)?;
    let contents: C = read(input)?;
    contents
        .check()
        .map_err(|(member, rule)| Error::invalid(member, rule))?;
    Ok((contents, tags))
}

/// Stores a new document, within the quota of its kind.
pub(super) async fn store(sources: &Sources, document: &Document) -> Result<(), Error> {
    let most = sources.config.most(document.kind);
    Ok(sources.repository.create_document(document, most).await?)
}
