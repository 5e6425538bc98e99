//! What the rooms may ask of the database, in their own words.
//!
//! In:  resources of this room. Out: the same, or [`Error`].
//! Not here: SQL, encryption at rest, connection handling (`db`).

use async_trait::async_trait;

use super::access_key::AccessKey;
use super::arn::Resource;
use super::channel::Channel;
use super::document::{Document, DocumentKind};
use super::id::{ChannelId, DocumentId, StreamKeyId};
use super::stream_key::StreamKey;
use super::stream_session::StreamSession;
use super::tags::{self, TagChange, Tags};
use super::webhook::{DeadLetter, Progress, Told, Webhook};
use crate::base::clock::WallTime;

/// Media sequence numbers set aside ahead of use each time an epoch begins or is extended: at
/// two seconds a segment, 55 hours. A process that dies without [`EpochRepository::end_epoch`] leaves the
/// rest of them unused.
pub const EPOCH_MSN_RESERVE: u64 = 100_000;

/// Why a call to the database failed; causes are part of the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The resource, or the one it belongs to, does not exist.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// A second one where one is allowed: a channel has one stream key.
    #[error("it exists already")]
    Exists,
    /// As many as may be are there.
    #[error("at most {0} are allowed")]
    Full(u32),
    /// A channel refers to it.
    #[error("a channel refers to it")]
    InUse,
    /// Tags that may not be.
    #[error(transparent)]
    Tags(#[from] tags::Invalid),
    /// A newer epoch of the channel has begun, or the channel is gone.
    #[error("the epoch is no longer the channel's newest")]
    Superseded,
    /// A stored secret does not open with this server's secret key.
    #[error("a stored secret was sealed with another WEIR_SECRET_KEY, or is damaged")]
    Sealed,
    /// A row that this version of Weir cannot read.
    #[error("a stored row cannot be read: {0}")]
    Unreadable(String),
    /// The database refused or could not be reached.
    #[error("database: {0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
}

/// No limit of how many there may be.
pub const NO_LIMIT: u32 = u32::MAX;

/// One page of a listing in order of creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The last row of the page before, by its time and id; none: from the start.
    pub after: Option<(WallTime, String)>,
    /// Most rows wanted.
    pub limit: u32,
}

/// The numbers one run of a channel's playlists may use: media sequence numbers from `first_msn`
/// on, [`EPOCH_MSN_RESERVE`] of them unless [`EpochRepository::extend_epoch`] reserves more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Counts the channel's epochs from 1; part of every media URI.
    pub number: u64,
    /// First media sequence number, at least 1, above all that any earlier epoch may have used.
    pub first_msn: u64,
}

/// Playlists that have not been ended: they run, or their process died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningEpoch {
    /// Whose.
    pub channel_id: ChannelId,
    /// The channel's newest epoch.
    pub number: u64,
    /// The epoch in which they began, `number` or an earlier one: all from here to `number` continue
    /// one another.
    pub running_from: u64,
}

/// Which channels are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Those of exactly this name.
    Name(String),
    /// Those that refer to this recording configuration; as the three that follow.
    RecordingConfiguration(String),
    /// To this restriction policy.
    PlaybackRestrictionPolicy(String),
    /// To this ad configuration.
    AdConfiguration(String),
    /// To this slate configuration.
    FailoverSlateConfiguration(String),
    /// Those that not everybody may watch: private, or with a restriction policy.
    Protected,
}

/// Channels.
#[async_trait]
pub trait ChannelRepository: Send + Sync {
    /// Stores a new channel together with its stream key, both or neither; [`Error::Full`] if there are
    /// `limit` channels.
    async fn create_channel(
        &self,
        channel: &Channel,
        key: &StreamKey,
        limit: u32,
    ) -> Result<(), Error>;
    /// The channel, if it exists.
    async fn load_channel(&self, id: &ChannelId) -> Result<Option<Channel>, Error>;
    /// Channels in order of creation.
    async fn list_channels(&self, page: &Page) -> Result<Vec<Channel>, Error>;
    /// Those of them that the filter lets through.
    async fn filter_channels(&self, filter: &Filter, page: &Page) -> Result<Vec<Channel>, Error>;
    /// The oldest channel of that exact name.
    async fn find_channel(&self, name: &str) -> Result<Option<Channel>, Error>;
    /// Stores changed settings of an existing channel.
    async fn save_channel(&self, channel: &Channel) -> Result<(), Error>;
    /// Deletes a channel, its stream key and its epochs.
    async fn delete_channel(&self, id: &ChannelId) -> Result<(), Error>;
}

/// Stream keys.
#[async_trait]
pub trait StreamKeyRepository: Send + Sync {
    /// Stores the one key of a channel that has none.
    async fn create_stream_key(&self, key: &StreamKey) -> Result<(), Error>;
    /// The key with that id, if it exists.
    async fn load_stream_key(&self, id: &StreamKeyId) -> Result<Option<StreamKey>, Error>;
    /// A channel's key, if it has one.
    async fn stream_key_of(&self, channel: &ChannelId) -> Result<Option<StreamKey>, Error>;
    /// The channel that the key `presented` publishes to, if it is a stored key, compared in
    /// constant time; a key that does not exist takes the same steps as one whose secret is wrong.
    async fn channel_of_key(&self, presented: &str) -> Result<Option<Channel>, Error>;
    /// Deletes a key.
    async fn delete_stream_key(&self, id: &StreamKeyId) -> Result<(), Error>;
}

/// Epochs: what makes a media URI unique for ever, also after a crash.
#[async_trait]
pub trait EpochRepository: Send + Sync {
    /// Begins the channel's next epoch and reserves its numbers; durable when it returns.
    async fn begin_epoch(&self, channel: &ChannelId) -> Result<Epoch, Error>;
    /// Reserves the numbers below `reserved_msn`; never takes back a reservation.
    /// [`Error::Superseded`] if the epoch is no longer the channel's newest.
    async fn extend_epoch(
        &self,
        channel: &ChannelId,
        number: u64,
        reserved_msn: u64,
    ) -> Result<(), Error>;
    /// Begins the channel's next epoch as the continuation of `number`, whose process is dead: it
    /// starts at `first_msn`, which is for the caller to know as never used, and reserves as
    /// [`EpochRepository::begin_epoch`]. [`Error::Superseded`] if `number` is not the channel's newest
    /// epoch, was ended, or began above `first_msn`.
    async fn resume_epoch(
        &self,
        channel: &ChannelId,
        number: u64,
        first_msn: u64,
    ) -> Result<Epoch, Error>;
    /// Up to `limit` epochs that nobody has ended, those that were begun last first.
    async fn running_epochs(&self, limit: u32) -> Result<Vec<RunningEpoch>, Error>;
    /// Gives the unused numbers back: the next epoch starts at `next_msn`. Does nothing if the
    /// epoch is no longer the channel's newest, or if `next_msn` is below its first.
    async fn end_epoch(&self, channel: &ChannelId, number: u64, next_msn: u64)
    -> Result<(), Error>;
    /// Nobody will continue the epoch, whose process is dead: it no longer runs, and its numbers stay
    /// reserved. Does nothing if it is no longer the channel's newest.
    async fn abandon_epoch(&self, channel: &ChannelId, number: u64) -> Result<(), Error>;
}

/// The keys that programs sign with, besides the first one, which the operator chooses.
#[async_trait]
pub trait AccessKeyRepository: Send + Sync {
    /// Stores a new key, and forgets those that have expired.
    async fn create_access_key(&self, key: &AccessKey) -> Result<(), Error>;
    /// The key of that id, if it exists.
    async fn load_access_key(&self, id: &str) -> Result<Option<AccessKey>, Error>;
    /// The oldest keys.
    async fn list_access_keys(&self, limit: u32) -> Result<Vec<AccessKey>, Error>;
    /// Deletes a key.
    async fn delete_access_key(&self, id: &str) -> Result<(), Error>;
}

/// Resources that are stored whole.
#[async_trait]
pub trait DocumentRepository: Send + Sync {
    /// Stores a new document; [`Error::Full`] if there are `limit` of its kind, [`Error::Exists`] if one has
    /// what it must have alone.
    async fn create_document(&self, document: &Document, limit: u32) -> Result<(), Error>;
    /// The document, if it exists.
    async fn load_document(
        &self,
        kind: DocumentKind,
        id: &DocumentId,
    ) -> Result<Option<Document>, Error>;
    /// Documents of a kind in order of creation.
    async fn list_documents(&self, kind: DocumentKind, page: &Page)
    -> Result<Vec<Document>, Error>;
    /// Stores changed contents and state of an existing document.
    async fn save_document(&self, document: &Document) -> Result<(), Error>;
    /// Deletes a document; [`Error::InUse`] while a channel refers to `arn`, its ARN.
    async fn delete_document(
        &self,
        kind: DocumentKind,
        id: &DocumentId,
        arn: &str,
    ) -> Result<(), Error>;
}

/// Tags of whatever has an ARN.
#[async_trait]
pub trait TagRepository: Send + Sync {
    /// The tags of a resource, if it exists.
    async fn load_tags(&self, resource: &Resource) -> Result<Option<Tags>, Error>;
    /// Changes the tags of an existing resource; changes at once come one after the other.
    async fn change_tags(&self, resource: &Resource, change: &TagChange) -> Result<(), Error>;
}

/// Stream sessions.
#[async_trait]
pub trait StreamSessionRepository: Send + Sync {
    /// A channel's session of that id, or its newest.
    async fn load_stream_session(
        &self,
        channel: &ChannelId,
        stream_id: Option<&str>,
    ) -> Result<Option<StreamSession>, Error>;
    /// A channel's sessions, the newest first, without details and events.
    async fn list_stream_sessions(
        &self,
        channel: &ChannelId,
        page: &Page,
    ) -> Result<Vec<StreamSession>, Error>;
    /// Up to `limit` sessions that have not ended, the oldest first.
    async fn open_stream_sessions(&self, limit: u32) -> Result<Vec<StreamSession>, Error>;
    /// Deletes the sessions that began before.
    async fn delete_stream_sessions(&self, before: WallTime) -> Result<(), Error>;
}

/// Viewers of a channel whose tokens are good no more, up to a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Of which channel.
    pub channel_id: ChannelId,
    /// Who, as the token has it.
    pub viewer_id: String,
    /// Tokens of this version, and of lower ones.
    pub version: u32,
    /// Since when.
    pub at: WallTime,
}

/// Revocations of viewer sessions.
#[async_trait]
pub trait RevocationRepository: Send + Sync {
    /// Stores a revocation; one of the same viewer with a higher version stays.
    async fn revoke(&self, revocation: &Revocation) -> Result<(), Error>;
    /// Revocations since `after`, the oldest first.
    async fn list_revocations(&self, page: &Page) -> Result<Vec<Revocation>, Error>;
    /// Forgets those from before.
    async fn forget_revocations(&self, before: WallTime) -> Result<(), Error>;
}

/// What happened, and who is told.
#[async_trait]
pub trait OutboxRepository: Send + Sync {
    /// Stores what happened, and the session that it belongs to as it is now: all or nothing. What is told already is
    /// not told again.
    async fn tell(&self, session: Option<&StreamSession>, told: &[Told]) -> Result<(), Error>;
    /// What was told after `seq`, in that order.
    async fn told_after(&self, seq: i64, limit: u32) -> Result<Vec<Told>, Error>;
    /// The place of what was told last; 0 before the first.
    async fn newest_told(&self) -> Result<i64, Error>;
    /// Forgets what happened before.
    async fn forget_told(&self, before: WallTime) -> Result<(), Error>;
    /// Stores a new webhook; [`Error::Full`] if there are `limit`.
    async fn create_webhook(&self, webhook: &Webhook, limit: u32) -> Result<(), Error>;
    /// All of them in order of creation.
    async fn list_webhooks(&self) -> Result<Vec<Webhook>, Error>;
    /// Deletes a webhook and its dead letters.
    async fn delete_webhook(&self, id: &str) -> Result<(), Error>;
    /// Stores how far a webhook is, together with what it has not taken.
    async fn save_progress(
        &self,
        id: &str,
        progress: &Progress,
        dead: Option<&DeadLetter>,
    ) -> Result<(), Error>;
    /// The oldest dead letters of a webhook; unless all are wanted, those that are to be sent again.
    async fn dead_letters(
        &self,
        id: &str,
        is_all: bool,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Error>;
    /// Has a dead letter sent again.
    async fn replay_dead_letter(&self, id: &str, event_id: &str) -> Result<(), Error>;
    /// Forgets a dead letter.
    async fn delete_dead_letter(&self, id: &str, event_id: &str) -> Result<(), Error>;
}

/// All of them.
pub trait Repository:
    ChannelRepository
    + StreamKeyRepository
    + EpochRepository
    + AccessKeyRepository
    + DocumentRepository
    + TagRepository
    + StreamSessionRepository
    + RevocationRepository
    + OutboxRepository
{
}

impl<T> Repository for T where
    T: ChannelRepository
        + StreamKeyRepository
        + EpochRepository
        + AccessKeyRepository
        + DocumentRepository
        + TagRepository
        + StreamSessionRepository
        + RevocationRepository
        + OutboxRepository
{
}
