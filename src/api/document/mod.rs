//! Resources that are stored whole: configurations, policies and keys. What they have in common stands here once.
//!
//! In:  a stored document. Out: its members on the wire, which are those that are stored.

pub(super) mod create;
pub(super) mod create_recording;
pub(super) mod delete;
pub(super) mod get;
pub(super) mod import_key_pair;
pub(super) mod list;
pub(super) mod update;

use serde_json::{Value, json};

use super::Sources;
use crate::model::{Document, DocumentKind};

/// Names of a kind in inputs and outputs.
struct Names {
    /// The member with one of them.
    one: &'static str,
    /// The member with several, which names the listing, too.
    many: &'static str,
    /// What only the database holds.
    hidden: &'static [&'static str],
    /// What a summary lacks besides.
    not_in_summary: &'static [&'static str],
}

fn names(kind: DocumentKind) -> Names {
    let plain = |one, many| Names {
        one,
        many,
        hidden: &[],
        not_in_summary: &[],
    };
    match kind {
        DocumentKind::RecordingConfiguration => Names {
            not_in_summary: &[
                "thumbnailConfiguration",
                "recordingReconnectWindowSeconds",
                "renditionConfiguration",
            ],
            ..plain("recordingConfiguration", "recordingConfigurations")
        },
        DocumentKind::PlaybackKeyPair => Names {
            hidden: &["publicKeyMaterial"],
            not_in_summary: &["fingerprint"],
            ..plain("keyPair", "keyPairs")
        },
        DocumentKind::PlaybackRestrictionPolicy => {
            plain("playbackRestrictionPolicy", "playbackRestrictionPolicies")
        }
        DocumentKind::AdConfiguration => plain("adConfiguration", "adConfigurations"),
        DocumentKind::FailoverSlateConfiguration => {
            plain("failoverSlateConfiguration", "failoverSlateConfigurations")
        }
    }
}

/// A document's ARN.
fn arn(sources: &Sources, document: &Document) -> String {
    let scope = sources.endpoints.scope();
    scope.document_arn(document.kind, &document.id).to_string()
}

/// Every member.
pub(super) fn present(sources: &Sources, document: &Document) -> Value {
    let mut value = document.contents.clone();
    value["arn"] = json!(arn(sources, document));
    value["tags"] = json!(document.tags);
    if !document.state.is_empty() {
        value["state"] = json!(document.state);
    }
    without(value, names(document.kind).hidden)
}

/// The members that a listing shows.
fn summary(sources: &Sources, document: &Document) -> Value {
    let whole = present(sources, document);
    without(whole, names(document.kind).not_in_summary)
}

fn without(mut value: Value, members: &[&str]) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|name, _| !members.contains(&name.as_str()));
    }
    value
}

/// `{"adConfiguration": {…}}`
fn answer(sources: &Sources, document: &Document) -> Value {
    json!({names(document.kind).one: present(sources, document)})
}
