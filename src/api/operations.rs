//! Which operation is which file.
//!
//! In:  an operation's name and its input, whose shape was checked. Out: its output.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::restjson::{Code, Error};
use super::{
    State, ad_break, channel, document, stream, stream_key, stream_session, tags, viewer_session,
};
use crate::model::DocumentKind::{
    AdConfiguration, FailoverSlateConfiguration, PlaybackKeyPair, PlaybackRestrictionPolicy,
    RecordingConfiguration,
};
use crate::model::{breaks, playback};

/// Runs an operation.
pub(super) async fn run(state: &State, name: &str, input: Value) -> Result<Value, Error> {
    let s = &state.sources;
    match name {
        "BatchGetChannel" => channel::batch_get::run(s, read(input)?).await,
        "BatchGetStreamKey" => stream_key::batch_get::run(s, read(input)?).await,
        "BatchStartViewerSessionRevocation" => {
            viewer_session::batch_start_revocation::run(s, read(input)?).await
        }
        "CreateAdConfiguration" => document::create::run::<breaks::AdConfiguration>(s, input).await,
        "CreateChannel" => channel::create::run(s, read(input)?).await,
        "CreateFailoverSlateConfiguration" => {
            document::create::run::<breaks::FailoverSlateConfiguration>(s, input).await
        }
        "CreatePlaybackRestrictionPolicy" => {
            document::create::run::<playback::PlaybackRestrictionPolicy>(s, input).await
        }
        "CreateRecordingConfiguration" => document::create_recording::run(s, input).await,
        "CreateStreamKey" => stream_key::create::run(s, read(input)?).await,
        "DeleteAdConfiguration" => document::delete::run(s, AdConfiguration, read(input)?).await,
        "DeleteChannel" => channel::delete::run(s, read(input)?).await,
        "DeleteFailoverSlateConfiguration" => {
            document::delete::run(s, FailoverSlateConfiguration, read(input)?).await
        }
        "DeletePlaybackKeyPair" => document::delete::run(s, PlaybackKeyPair, read(input)?).await,
        "DeletePlaybackRestrictionPolicy" => {
            document::delete::run(s, PlaybackRestrictionPolicy, read(input)?).await
        }
        "DeleteRecordingConfiguration" => {
            document::delete::run(s, RecordingConfiguration, read(input)?).await
        }
        "DeleteStreamKey" => stream_key::delete::run(s, read(input)?).await,
        "GetAdConfiguration" => document::get::run(s, AdConfiguration, read(input)?).await,
        "GetChannel" => channel::get::run(s, read(input)?).await,
        "GetFailoverSlateConfiguration" => {
            document::get::run(s, FailoverSlateConfiguration, read(input)?).await
        }
        "GetPlaybackKeyPair" => document::get::run(s, PlaybackKeyPair, read(input)?).await,
        "GetPlaybackRestrictionPolicy" => {
            document::get::run(s, PlaybackRestrictionPolicy, read(input)?).await
        }
        "GetRecordingConfiguration" => {
            document::get::run(s, RecordingConfiguration, read(input)?).await
        }
        "GetStream" => stream::get::run(s, read(input)?).await,
        "GetStreamKey" => stream_key::get::run(s, read(input)?).await,
        "GetStreamSession" => stream_session::get::run(s, read(input)?).await,
        "ImportPlaybackKeyPair" => document::import_key_pair::run(s, input).await,
        other => run_more(state, other, input).await,
    }
}

async fn run_more(state: &State, name: &str, input: Value) -> Result<Value, Error> {
    let s = &state.sources;
    match name {
        "InsertAdBreak" => ad_break::insert::run(state, read(input)?).await,
        "ListAdConfigurations" => document::list::run(s, AdConfiguration, read(input)?).await,
        "ListChannels" => channel::list::run(s, read(input)?).await,
        "ListFailoverSlateConfigurations" => {
            document::list::run(s, FailoverSlateConfiguration, read(input)?).await
        }
        "ListPlaybackKeyPairs" => document::list::run(s, PlaybackKeyPair, read(input)?).await,
        "ListPlaybackRestrictionPolicies" => {
            document::list::run(s, PlaybackRestrictionPolicy, read(input)?).await
        }
        "ListRecordingConfigurations" => {
            document::list::run(s, RecordingConfiguration, read(input)?).await
        }
        "ListStreamKeys" => stream_key::list::run(s, read(input)?).await,
        "ListStreamSessions" => stream_session::list::run(s, read(input)?).await,
        "ListStreams" => stream::list::run(s, &read(input)?),
        "ListTagsForResource" => tags::list::run(s, read(input)?).await,
        "PutMetadata" => stream::put_metadata::run(s, read(input)?).await,
        "StartViewerSessionRevocation" => {
            viewer_session::start_revocation::run(s, read(input)?).await
        }
        "StopStream" => stream::stop::run(s, read(input)?).await,
        "TagResource" => tags::tag::run(s, read(input)?).await,
        "UntagResource" => tags::untag::run(s, read(input)?).await,
        "UpdateAdConfiguration" => document::update::run::<breaks::AdConfiguration>(s, input).await,
        "UpdateChannel" => channel::update::run(s, input).await,
        "UpdateFailoverSlateConfiguration" => {
            document::update::run::<breaks::FailoverSlateConfiguration>(s, input).await
        }
        "UpdatePlaybackRestrictionPolicy" => {
            document::update::run::<playback::PlaybackRestrictionPolicy>(s, input).await
        }
        _ => Err(Error::new(
            Code::UnknownOperation,
            "there is no such operation",
        )),
    }
}

/// Whether an operation changes who may watch what.
pub(super) fn changes_playback(name: &str, input: &Value) -> bool {
    let names = |member: &str| input.get(member).is_some();
    match name {
        "CreateChannel" | "UpdateChannel" => {
            names("authorized") || names("playbackRestrictionPolicyArn")
        }
        "BatchStartViewerSessionRevocation"
        | "DeletePlaybackKeyPair"
        | "ImportPlaybackKeyPair"
        | "StartViewerSessionRevocation"
        | "UpdatePlaybackRestrictionPolicy" => true,
        _ => false,
    }
}

/// An input as its type. What the type refuses and the shapes do not would be a fault of ours.
pub(super) fn read<T: DeserializeOwned>(input: Value) -> Result<T, Error> {
    serde_json::from_value(input)
        .map_err(|error| Error::new(Code::InternalServer, error.to_string()))
}
