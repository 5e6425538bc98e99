//! IVS resources: their names, invariants and defaults, and the traits that store them.
//!
//! In:  words from a caller (API, command line, database). Out: checked values.
//! Not here: the wire (`api`), SQL (`db`). Contents carry the API's names, in which they are stored, too.
//! Standard: the IVS API of 2020-07-14, as the sections on channels, stream keys and identifiers
//! of its reference state it.

pub mod access_key;
pub mod arn;
pub mod breaks;
pub mod channel;
pub mod document;
pub mod endpoints;
pub mod id;
pub mod playback;
pub mod recording_configuration;
pub mod repository;
pub mod stream_key;
pub mod stream_session;
pub mod tags;
pub mod webhook;
mod words;

pub use access_key::AccessKey;
pub use arn::Scope;
pub use channel::Channel;
pub use document::{Document, DocumentKind};
pub use endpoints::Endpoints;
pub use id::{ChannelId, DocumentId, StreamId, StreamKeyId};
pub use stream_key::{StreamKey, StreamKeyValue};
pub use stream_session::StreamSession;
pub use tags::Tags;
