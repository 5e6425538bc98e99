//! Weir: RTMP in, LL-HLS out, with the Amazon IVS contract.
//!
//! The rooms stand in walking order: what a video frame passes on its way from the
//! encoder to a viewer, then what surrounds that walk. `docs/ARCHITECTURE.md` is the map;
//! `tests/tidy.rs` keeps who may import whom.

// Ground under all rooms: clock, ids, tasks, shutdown, retries, HTTP serving, telemetry.
pub mod base;
// The nouns: samples, tracks, timescales, codec configurations.
pub mod media;
// Bytes become samples: RTMP, FLV, and the trait `ingest::Gate`.
pub mod ingest;
// One stream from publish to unpublish; the conductor.
pub mod live;
// What libav can do here; the ladder's home.
pub mod transcode;
// Samples become CMAF: initialization sections, parts, segments.
pub mod packaging;
// Segments become a live window and its text.
pub mod playlist;
// Windows become HTTP.
pub mod origin;
// The object store in few verbs.
pub mod storage;
// Finished segments leave the live window for the store: for now the live mirror.
pub mod recording;
// IVS resources, their invariants, repository traits.
pub mod model;
// What happened, told once: the catalogue of IVS events, and the bus.
pub mod events;
// SQL behind `model::repository`.
pub mod db;
// Weir's own HTTP additions, and the IVS-compatible API to come.
pub mod api;
// Serves the built site.
pub mod console;

// Is a stream, on any server, correct low-latency HLS?
pub mod conformance;

// Gathers each room's configuration; loads, merges, validates.
pub mod config;
// Assembles everything, in order.
pub mod app;
// The command line.
pub mod cli;
