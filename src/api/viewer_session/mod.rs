//! Viewer sessions are revoked: who watches with a token of that viewer and version is to watch no more.
//!
//! In:  channel, viewer, version. Out: a stored revocation.
//! Not here: sending viewers away (`origin`).

pub(super) mod batch_start_revocation;
pub(super) mod start_revocation;

use serde::Deserialize;

use super::Sources;
use super::restjson::Error;
use crate::model::repository::{self, Revocation};

/// Whose sessions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ViewerSession {
    channel_arn: String,
    viewer_id: String,
    /// Tokens of this version, and of lower ones.
    #[serde(default, rename = "viewerSessionVersionsLessThanOrEqualTo")]
    version: u32,
}

async fn revoke(sources: &Sources, session: &ViewerSession) -> Result<(), Error> {
    let revocation = Revocation {
        channel_id: sources.channel_id(&session.channel_arn)?,
        viewer_id: session.viewer_id.clone(),
        version: session.version,
        at: sources.clock.now(),
    };
    match sources.repository.revoke(&revocation).await {
        Err(repository::Error::NotFound(_)) => Err(Error::not_found(&session.channel_arn)),
        outcome => Ok(outcome?),
    }
}
