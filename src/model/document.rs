//! Resources that are stored whole: configurations, policies and keys that channels refer to.
//!
//! In:  contents in the words of the IVS API, defaults filled in. Out: a [`Document`] with its identity.
//! Each kind's contents are a type that implements [`Contents`]; they are kept in those words, so that what is
//! stored is what `Get…` answers with.
//! Not here: SQL (`db`), the wire (`api`).

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::id::DocumentId;
use super::tags::Tags;
use super::words::words;
use crate::base::clock::WallTime;

words! {
    /// As it stands in ARNs.
    pub enum DocumentKind as "kind of resource" {
        /// Where and how streams are recorded.
        RecordingConfiguration = "recording-configuration",
        /// A public key that playback tokens are signed against.
        PlaybackKeyPair = "playback-key",
        /// Who may watch, by country and origin.
        PlaybackRestrictionPolicy = "playback-restriction-policy",
        /// Where ads come from.
        AdConfiguration = "ad-configuration",
        /// When a slate takes the picture's place.
        FailoverSlateConfiguration = "failover-slate-configuration",
    }
}

/// What a document of one kind holds.
pub trait Contents: Serialize + DeserializeOwned {
    /// Which.
    const KIND: DocumentKind;

    /// Refuses what breaks a rule that joins members; a member and the rule.
    fn check(&self) -> Result<(), (&'static str, String)>;
}

/// A resource that is stored whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Of which kind.
    pub kind: DocumentKind,
    /// Identity, the last part of the ARN.
    pub id: DocumentId,
    /// Creation.
    pub created: WallTime,
    /// What the operator wrote on it.
    pub tags: Tags,
    /// For the kinds that have one: `CREATING`, `ACTIVE` …; else empty.
    pub state: String,
    /// What no other document of the kind may have, if anything.
    pub unique: Option<String>,
    /// What is in it.
    pub contents: Value,
}

impl Document {
    /// A new document with a random id.
    pub fn create<C: Contents>(contents: &C, tags: Tags, state: &str, now: WallTime) -> Self {
        Self {
            kind: C::KIND,
            id: DocumentId::random(),
            created: now,
            tags,
            state: state.to_owned(),
            unique: None,
            // Our own types have text keys only, and nothing that JSON lacks.
            contents: serde_json::to_value(contents).unwrap_or_default(),
        }
    }

    /// Its contents; none if this version of Weir cannot read them.
    pub fn read<C: Contents>(&self) -> Option<C> {
        C::deserialize(&self.contents).ok()
    }
}
