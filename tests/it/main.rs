//! Integration tests: one binary, a module per scenario, real parts throughout.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cli;
mod repository;
mod support;
