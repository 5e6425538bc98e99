//! (skeleton)

pub mod request;
pub mod reload;
