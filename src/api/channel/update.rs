//! `UpdateChannel`: what is named changes, while the channel is offline.

use serde_json::{Value, json};

use crate::api::operations::read;
use crate::api::restjson::Error;
use crate::api::{Sources, channel};
use crate::model::channel::Settings;

pub(in crate::api) async fn run(sources: &Sources, input: Value) -> Result<Value, Error> {
    let arn = input["arn"].as_str().unwrap_or_default().to_owned();
    let settings: Settings = read(input)?;
    let before = sources.channel(&arn).await?;
    channel::check_offline(sources, &before)?;
    let updated = before.update(&settings)?;
    let (old, new) = (before.attached.all(), updated.attached.all());
    for ((_, new), (_, old)) in new.into_iter().zip(old) {
        if new != old {
            sources.check_reference(new).await?;
        }
    }
    sources.repository.save_channel(&updated).await?;
    Ok(json!({"channel": channel::present(sources, &updated)}))
}
