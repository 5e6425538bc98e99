//! Scenarios against real parts.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not exempt"
)]

mod support {
    pub(crate) mod s3;
}
mod live_mirror;
mod store;
