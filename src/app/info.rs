//! What a newcomer needs to publish and watch: printed at the start and by `weir info`.
//!
//! In:  opened state. Out: text for people, JSON for scripts.
//! The names in the JSON are part of the outside contract.

use std::fmt;

use serde::Serialize;

use super::open::{DEFAULT_CHANNEL, Opened};
use crate::model::repository::{ChannelRepository as _, Error, Page, StreamKeyRepository as _};
use crate::model::{Channel, Endpoints, StreamKey};

/// Where a channel is published to and watched.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// The channel's ARN.
    pub channel_arn: String,
    /// Whole RTMP URL, key included; none without a key.
    pub ingest_url: Option<String>,
    /// The secret; none without a key.
    pub stream_key: Option<String>,
    /// Multivariant playlist.
    pub playback_url: String,
    /// Watch page.
    pub watch_url: String,
}

impl Links {
    /// The links of a channel whose key is `key`.
    pub fn new(endpoints: &Endpoints, channel: &Channel, key: Option<&StreamKey>) -> Self {
        Self {
            channel_arn: endpoints.scope().channel_arn(&channel.id).to_string(),
            ingest_url: key.map(|key| endpoints.ingest_url(&key.value)),
            stream_key: key.map(|key| key.value.expose().to_owned()),
            playback_url: endpoints.playback_url(&channel.id),
            watch_url: endpoints.watch_url(&channel.id),
        }
    }
}

/// This server, and its default channel.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Version of the program.
    pub version: &'static str,
    /// Base of all HTTP URLs.
    pub public_url: String,
    /// Host that encoders connect to.
    pub ingest_endpoint: String,
    /// What an encoder is given as server.
    pub ingest_server: String,
    /// The folder of all local state.
    pub data_dir: String,
    /// The file with the API key.
    pub credentials_file: String,
    /// The oldest channel named `default`, else the oldest; none if there is no channel.
    #[serde(flatten)]
    pub channel: Option<Links>,
}

impl Info {
    /// Asks the database for the default channel.
    pub async fn gather(opened: &Opened) -> Result<Self, Error> {
        let Opened {
            repository,
            endpoints,
            ..
        } = opened;
        let channel = match repository.find_channel(DEFAULT_CHANNEL).await? {
            Some(channel) => Some(channel),
            None => repository
                .list_channels(&Page {
                    after: None,
                    limit: 1,
                })
                .await?
                .pop(),
        };
        let links = match channel {
            None => None,
            Some(channel) => {
                let key = repository.stream_key_of(&channel.id).await?;
                Some(Links::new(endpoints, &channel, key.as_ref()))
            }
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            public_url: endpoints.public_url().to_owned(),
            ingest_endpoint: endpoints.ingest_endpoint().to_owned(),
            ingest_server: endpoints.ingest_server(),
            data_dir: opened.data_dir.display().to_string(),
            credentials_file: opened.credentials.path.display().to_string(),
            channel: links,
        })
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Weir {} at {}", self.version, self.public_url)?;
        writeln!(f, "  API key       {}", self.credentials_file)?;
        match &self.channel {
            Some(links) => {
                writeln!(f, "  RTMP server   {}", self.ingest_server)?;
                write!(f, "{links}")
            }
            None => writeln!(
                f,
                "  no channel; make one with: weir channel create --name NAME"
            ),
        }
    }
}

impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        writeln!(f, "  stream key    {}", or_none(&self.stream_key))?;
        writeln!(f, "  RTMP URL      {}", or_none(&self.ingest_url))?;
        writeln!(f, "  watch page    {}", self.watch_url)?;
        writeln!(f, "  playback URL  {}", self.playback_url)?;
        writeln!(f, "  channel ARN   {}", self.channel_arn)
    }
}
