//! IVS resources: their names, invariants and defaults, and the traits that store them.
//!
//! In:  words from a caller (API, command line, database). Out: checked values.
//! Not here: wire JSON (`api`), SQL (`db`).
//! Standard: the IVS API of 2020-07-14, as the sections on channels, stream keys and identifiers
//! of its reference state it.

pub mod arn;
pub mod channel;
pub mod endpoints;
pub mod id;
pub mod repository;
pub mod stream_key;
mod words;

pub use arn::Scope;
pub use channel::Channel;
pub use endpoints::Endpoints;
pub use id::{ChannelId, StreamId, StreamKeyId};
pub use stream_key::{StreamKey, StreamKeyValue};
