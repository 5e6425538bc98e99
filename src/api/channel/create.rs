//! `CreateChannel`: a channel and its stream key. The tags are the channel's.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::restjson::Error;
use crate::api::{Sources, stream_key};
use crate::model::channel::Settings;
use crate::model::tags::{self, Tags};
use crate::model::{Channel, StreamKey};

#[derive(Debug, Deserialize)]
pub(in crate::api) struct Input {
    #[serde(flatten)]
    settings: Settings,
    #[serde(default)]
    tags: Tags,
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let now = sources.clock.now();
    tags::check(&input.tags)?;
    let channel = Channel {
        tags: input.tags,
        ..Channel::create(&input.settings, now)?
    };
    for (_, arn) in channel.attached.all() {
        sources.check_reference(arn).await?;
    }
    let key = StreamKey::create(&channel.id, sources.endpoints.scope().region(), now);
    let most = sources.config.max_channels;
    sources
        .repository
        .create_channel(&channel, &key, most)
        .await?;
    Ok(json!({
        "channel": super::present(sources, &channel),
        "streamKey": stream_key::present(sources, &key),
    }))
}
