//! Integration tests: one binary, a module per scenario, real parts throughout.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod support;

mod ad_breaks;
mod one_frame;
mod publishing;
mod outages;
mod playback;
mod protected;
mod protected_players;
mod reconnect;
mod restart;
mod viewers;
mod webhooks;
mod isolation;
mod hostile_origin;
mod hostile_rtmp;
mod players;
mod databases;
mod cli;
mod api;
mod signatures;
mod repository;
mod repository_of_api;
mod store;
mod ladder;
mod ladder_changes;
mod ladder_faults;
mod ladder_sizes;
mod ladder_trouble;
mod codecs;
mod multitrack;
mod lifecycle;
mod live_mirror;
mod handover;
mod health;
mod mirrored;
mod on_demand;
mod chaos;
mod check_stream;
mod tls;
mod proxy;
mod varnish;
mod acme;
