//! Step 6 of the walk: a publish request becomes a publisher of its channel, or is refused.
//!
//! In:  the stream key as the encoder sent it. Out: where its media goes.
//! Not here: how keys are stored and compared (`db`, in constant time).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::known_keys::{KnownKeys, Opened};
use super::registry::{Attach, Registry};
use crate::base::ids;
use crate::ingest::{
    Gate, MultitrackInput, Publication, PublishRequest, Refusal, RefusalCode, media_queue,
};
use crate::model::arn::{Arn, Resource};
use crate::model::breaks::FailoverSlateConfiguration;
use crate::model::channel::{Channel, MultitrackPolicy};
use crate::model::repository::{self, DocumentRepository, StreamKeyRepository};

/// Media events waiting for a channel's task: about eight seconds of a usual stream.
const QUEUE_EVENTS: usize = 1024;
/// Their bytes: two of the largest messages RTMP may bring.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// How long looking a key up may take: an encoder that returns is waited for, but not for ever.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

/// Admits publishers whose key opens a channel.
pub struct Admission {
    keys: Arc<dyn StreamKeyRepository>,
    documents: Arc<dyn DocumentRepository>,
    known: KnownKeys,
    registry: Arc<Registry>,
    requires_tls: bool,
}

impl Admission {
    /// A gate over these keys and what their channels refer to, into this registry; `requires_tls`: by TLS only, but for channels with `insecureIngest`.
    pub fn new(
        keys: Arc<dyn StreamKeyRepository>,
        documents: Arc<dyn DocumentRepository>,
        registry: Arc<Registry>,
        requires_tls: bool,
    ) -> Self {
        Self {
            keys,
            documents,
            known: KnownKeys::default(),
            registry,
            requires_tls,
        }
    }
}

impl Admission {
    /// What a key opens; of one that has opened it lately also while the database is away.
    async fn opened_by(&self, key: &str) -> Result<Opened, Refusal> {
        let lookup = self.look_up(key);
        let words = match tokio::time::timeout(LOOKUP_DEADLINE, lookup).await {
            Ok(Ok(found)) => {
                self.known.learn(key, found.as_ref(), Instant::now());
                let words = "the stream key is not valid";
                return found.ok_or_else(|| Refusal::new(RefusalCode::BadName, words));
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot look a stream key up");
                "the server's database failed; try again"
            }
            Err(_) => "the server's database is slow; try again",
        };
        let known = self.known.opened(key, Instant::now());
        if let Some(Opened { channel, .. }) = &known {
            tracing::warn!(channel.id = %channel.id, "admitted by a key that is known, without the database");
        }
        known.ok_or_else(|| Refusal::new(RefusalCode::Failed, words))
    }

    async fn look_up(&self, key: &str) -> Result<Option<Opened>, repository::Error> {
        let Some(channel) = self.keys.channel_of_key(key).await? else {
            return Ok(None);
        };
        let arn = channel.attached.failover_slate_configuration_arn.parse();
        let failover = match arn.map(|arn: Arn| arn.resource) {
            Ok(Resource::Document(kind, id)) => self.documents.load_document(kind, &id).await?,
            _ => None,
        };
        let failover = failover.and_then(|document| document.read::<FailoverSlateConfiguration>());
        Ok(Some(Opened { channel, failover }))
    }
}

#[async_trait]
impl Gate for Admission {
    async fn publish(&self, request: PublishRequest) -> Result<Publication, Refusal> {
        let refuse = |code, words: &str| Err(Refusal::new(code, words));
        let opened = self.opened_by(request.stream_key.expose()).await?;
        let Opened { channel, failover } = opened;
        if self.requires_tls && !request.is_encrypted && !channel.is_insecure_ingest {
            let words = "this channel takes encrypted streams only: publish to rtmps:// instead";
            return refuse(RefusalCode::Rejected, words);
        }
        let priority = match priority(&request.query) {
            Ok(priority) => priority,
            Err(words) => return refuse(RefusalCode::Rejected, words),
        };
        let (media_tx, media_rx) = media_queue(QUEUE_EVENTS, QUEUE_BYTES);
        let (stop_tx, stop) = oneshot::channel();
        let multitrack = multitrack(&channel);
        let session_id = format!("st-{}", ids::alphanumeric(23));
        tracing::info!(channel.id = %channel.id, session.id = session_id, "publisher admitted");
        let attach = Attach {
            channel,
            failover,
            stream_id: session_id.clone(),
            encoder: request.encoder,
            priority,
            media_rx,
            stop_tx,
        };
        self.registry.attach(attach);
        Ok(Publication {
            media_tx,
            stop,
            session_id,
            multitrack,
        })
    }
}

/// Whether the channel takes several tracks of pictures (contract §4.1).
fn multitrack(channel: &Channel) -> MultitrackInput {
    let enabled = channel.multitrack.filter(|multitrack| multitrack.enabled);
    match enabled.map(|multitrack| multitrack.policy) {
        None => MultitrackInput::Refused,
        Some(Some(MultitrackPolicy::Require)) => MultitrackInput::Required,
        Some(_) => MultitrackInput::Allowed,
    }
}

/// The priority for stream takeovers, `?priority=N` (contract §4).
fn priority(query: &[(String, String)]) -> Result<Option<u32>, &'static str> {
    let Some((_, value)) = query.iter().find(|(name, _)| name == "priority") else {
        return Ok(None);
    };
    let number = value.parse::<u32>().ok();
    let valid = number.filter(|number| (1..=i32::MAX.unsigned_abs()).contains(number));
    valid
        .map(Some)
        .ok_or("priority must be a number from 1 to 2147483647")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_numbers_in_range() {
        for (value, expected) in [
            ("1", Some(1)),
            ("2147483647", Some(2_147_483_647)),
            ("0", None),
            ("2147483648", None),
            ("-1", None),
            ("", None),
            ("first", None),
        ] {
            let query = [("priority".to_owned(), value.to_owned())];
            assert_eq!(priority(&query).ok().flatten(), expected, "{value}");
        }
        assert_eq!(priority(&[]), Ok(None));
    }
}
