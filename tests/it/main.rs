//! Scenarios against real sockets, one module each.
#![expect(
    clippy::unwrap_used,
    reason = "clippy's exemption for tests skips helper functions"
)]

mod support;

mod hostile_rtmp;
