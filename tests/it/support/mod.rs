//! What the scenarios share: a real server process, real encoders, a viewer, prepared clips.

pub(crate) mod clips;
pub(crate) mod postgres;
pub(crate) mod publisher;
pub(crate) mod rtmp_client;
pub(crate) mod rtmp_server;
