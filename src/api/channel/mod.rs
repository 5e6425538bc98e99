//! Channels, as the IVS API has them.
//!
//! In:  a stored channel. Out: its members on the wire.

pub(super) mod batch_get;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod get;
pub(super) mod list;
pub(super) mod update;

use serde_json::{Value, json};

use super::Sources;
use super::restjson::{Code, Error};
use crate::model::Channel;
use crate::model::channel::Preset;

/// `Channel`.
pub(super) fn present(sources: &Sources, channel: &Channel) -> Value {
    let Sources {
        endpoints, config, ..
    } = sources;
    let mut value = summary(sources, channel);
    value["ingestEndpoint"] = json!(endpoints.ingest_endpoint());
    value["playbackUrl"] = json!(endpoints.playback_url(&channel.id));
    value["containerFormat"] = json!(channel.container_format);
    value["srt"] = json!({"endpoint": config.srt_endpoint, "passphrase": ""});
    if let Some(multitrack) = &channel.multitrack {
        value["multitrackInputConfiguration"] = json!(multitrack);
    }
    value
}

/// `ChannelSummary`.
fn summary(sources: &Sources, channel: &Channel) -> Value {
    let mut value = json!({
        "arn": sources.endpoints.scope().channel_arn(&channel.id).to_string(),
        "name": channel.name,
        "latencyMode": channel.latency_mode,
        "type": channel.channel_type,
        "preset": channel.preset.map(Preset::word).unwrap_or_default(),
        "authorized": channel.is_authorized,
        "insecureIngest": channel.is_insecure_ingest,
        "tags": channel.tags,
    });
    for (member, arn) in channel.attached.all() {
        value[member] = json!(arn);
    }
    value
}

/// Refuses to change a channel under its stream.
fn check_offline(sources: &Sources, channel: &Channel) -> Result<(), Error> {
    if sources.registry.health(&channel.id).is_none() {
        return Ok(());
    }
    let words = "the channel has a live stream; stop it first";
    Err(Error::new(Code::Conflict, words))
}
