//! Ingest: an encoder's bytes become samples. Steps 1 to 5 of the walk.
//!
//! In:  TCP connections of RTMP publishers.
//! Out: per publisher one `PublishRequest`, put to the `Gate`; then `MediaEvent`s in a
//! bounded queue until `MediaEvent::End`.
//! Not here: what a channel is, who may publish (`live::gate`), boxes and playlists.
//! Read: Adobe RTMP 1.0, Veovera Enhanced RTMP v2, Adobe FLV 10.1 annex E.
//!
//! The cores `chunk`, `amf0`, `session`, `flv`, `timeline` and `demux` are pure: no clock, no
//! socket, no task. They are public for benches and fuzz targets only.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod listener;
mod connection;
mod media_watch;
pub mod session;
pub mod chunk;
pub mod amf0;
pub mod flv;
pub mod demux;
pub mod timeline;
pub mod gate;
mod video_tracks;
mod stream_name;
mod media_queue;

pub use gate::{Gate, Publication, PublishRequest, Refusal, RefusalCode, StreamKeyText};
pub use listener::{Config, RTMP_VERSION, Server};
pub use media_queue::{
    EndReason, MediaEvent, MediaReceiver, MediaSender, Metadata, QueueClosed, Trouble, media_queue,
};
pub use video_tracks::MultitrackInput;
