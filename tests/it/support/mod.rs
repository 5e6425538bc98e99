//! What scenarios share.

pub(crate) mod rtmp_client;
pub(crate) mod rtmp_server;
