//! Ground under all rooms: helpers without media or IVS nouns, each used by several rooms.
//!
//! Not here: anything that knows a channel, a codec or a playlist.

pub mod clock;
pub mod ids;
pub mod tasks;
pub mod shutdown;
pub mod retry;
pub mod output;
pub mod telemetry;
pub mod coding;
pub mod accept;
pub mod proxy;
pub mod stream;
pub mod tls;
pub mod http;
