//! `ListAdConfigurations`, `ListFailoverSlateConfigurations`, `ListPlaybackKeyPairs`,
//! `ListPlaybackRestrictionPolicies`, `ListRecordingConfigurations`: in order of creation.

use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::{Asked, Error, cut};
use crate::model::DocumentKind;

const USUAL: u32 = 100;

pub(in crate::api) async fn run(
    sources: &Sources,
    kind: DocumentKind,
    asked: Asked,
) -> Result<Value, Error> {
    let listing = super::names(kind).many;
    let usual = match kind {
        DocumentKind::PlaybackRestrictionPolicy => 1,
        kind => sources.config.most(kind).clamp(1, USUAL),
    };
    let page = asked.page(listing, usual)?;
    let mut rows = sources.repository.list_documents(kind, &page).await?;
    let next = cut(listing, &page, &mut rows, |d| (d.created, d.id.to_string()));
    let summaries: Vec<_> = rows
        .iter()
        .map(|row| super::summary(sources, row))
        .collect();
    Ok(json!({listing: summaries, "nextToken": next}))
}
