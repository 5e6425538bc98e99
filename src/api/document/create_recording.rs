//! `CreateRecordingConfiguration`: it is being created until its bucket has been reached, or has not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::create::{checked, store};
use crate::api::Sources;
use crate::api::restjson::Error;
use crate::model::document::{Document, DocumentKind};
use crate::model::recording_configuration::{RecordingConfiguration, State};
use crate::model::repository::Page;

/// How long a bucket may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// Documents looked at when the server starts.
const MAX_DOCUMENTS: u32 = 10_000;

pub(in crate::api) async fn run(sources: &Sources, input: Value) -> Result<Value, Error> {
    let (contents, tags) = checked::<RecordingConfiguration>(input)?;
    let state = State::Creating.word();
    let document = Document::create(&contents, tags, state, sources.clock.now());
    store(sources, &document).await?;
    let answer = super::answer(sources, &document);
    let task = settle(sources.clone(), document);
    sources.tasks.spawn_cancellable("recording bucket", task);
    Ok(answer)
}

/// Looks for the buckets of configurations that a process left when it died.
pub async fn settle_all(sources: Sources) {
    let kind = DocumentKind::RecordingConfiguration;
    let page = Page {
        after: None,
        limit: MAX_DOCUMENTS,
    };
    match sources.repository.list_documents(kind, &page).await {
        Err(error) => tracing::error!(%error, "cannot look for recording configurations"),
        Ok(documents) => {
            let is_creating = |document: &Document| document.state == State::Creating.word();
            for document in documents.into_iter().filter(is_creating) {
                settle(sources.clone(), document).await;
            }
        }
    }
}

/// Stores whether the bucket was reached.
async fn settle(sources: Sources, mut document: Document) {
    let contents = document.read::<RecordingConfiguration>();
    let bucket = contents.as_ref().map_or("", RecordingConfiguration::bucket);
    let buckets = Arc::clone(&sources.buckets);
    let reached = tokio::time::timeout(DEADLINE, buckets.reach(bucket)).await;
    let state = match reached.unwrap_or_else(|_| Err("it does not answer".to_owned())) {
        Ok(()) => State::Active,
        Err(reason) => {
            tracing::warn!(bucket, reason, "a recording bucket cannot be reached");
            State::CreateFailed
        }
    };
    state.word().clone_into(&mut document.state);
    if let Err(error) = sources.repository.save_document(&document).await {
        tracing::error!(%error, bucket, "cannot store whether a recording bucket was reached");
    }
}
