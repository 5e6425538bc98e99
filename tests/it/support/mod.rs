//! What scenarios share.

pub(crate) mod rtmp_client;
