//! What happened, told once.
//!
//! In:  [`Event`]s from the rooms in which they happen. Out: the same to every subscriber, to the log,
//! to the metrics, and to whoever asks for a channel's newest.
//! Not here: deciding anything, holding up the emitter.
//! Standard: the `EventBridge` events of IVS, their envelope and their names.

mod bus;
mod event;
pub mod webhook;

pub use bus::{Bus, Heard, Subscription};
pub use event::{Event, IngestLimit, Kind, ServerLimit};
