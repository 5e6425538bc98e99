//! `ImportPlaybackKeyPair`: the public half, once.

use serde_json::Value;

use super::create::{checked, store};
use crate::api::Sources;
use crate::api::restjson::{Code, Error};
use crate::model::document::Document;
use crate::model::playback::PlaybackKeyPair;

pub(in crate::api) async fn run(sources: &Sources, input: Value) -> Result<Value, Error> {
    let (contents, tags) = checked::<PlaybackKeyPair>(input)?;
    let contents = contents.with_fingerprint();
    let document = Document {
        unique: Some(contents.fingerprint.clone()),
        ..Document::create(&contents, tags, "", sources.clock.now())
    };
    match store(sources, &document).await {
        Ok(()) => Ok(super::answer(sources, &document)),
        Err(error) if error.code == Code::Conflict => {
            Err(Error::new(Code::Conflict, "this key was imported already"))
        }
        Err(error) => Err(error),
    }
}
