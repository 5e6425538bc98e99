//! Gathers each room's configuration; loads, merges, validates.
//!
//! In:  defaults, then a TOML file, then the environment, each over the one before.
//! Out: [`Config`], or an [`Error`] that names the key, where it stands and the remedy.
//! Secrets come from the environment only and are kept in [`Secrets`].

mod environment;
mod error;
mod file;
mod layer;
mod secret;
mod sections;

use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use serde::{Deserialize, Serialize};

use crate::base::{http, telemetry, tls};
use crate::model::{Endpoints, Scope};
use crate::transcode::ladder::Ladders;
use crate::{api, events, ingest, live, origin, playlist, recording, storage, transcode};
pub use error::Error;
pub use secret::{Secret, Secrets};
pub use sections::{Admin, Database, DatabaseUrl, Server};

/// Every setting. `config/weir.toml` lists them all with their defaults.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Identity and addresses of this server.
    pub server: Server,
    /// Where channels, keys and epochs are kept.
    pub database: Database,
    /// Where media is kept.
    pub storage: storage::Config,
    /// Where recordings are kept.
    pub recording: recording::Config,
    /// The RTMP listener.
    pub ingest: ingest::Config,
    /// Playlists and their grid.
    pub hls: playlist::Config,
    /// How playback is answered.
    pub origin: origin::Config,
    /// What happens around a stream.
    pub live: live::Config,
    /// What streams are transcoded into.
    pub transcode: transcode::Config,
    /// The HTTP listener.
    pub http: http::Config,
    /// HTTPS and RTMPS on one port.
    pub tls: tls::Config,
    /// The IVS API.
    pub api: api::Config,
    /// Who is told what happens.
    pub events: events::webhook::Config,
    /// The operator's listener.
    pub admin: Admin,
    /// Logs.
    pub log: telemetry::Config,
    /// From the environment only.
    #[serde(skip)]
    pub secrets: Secrets,
}

impl Config {
    /// Defaults, overridden by `file` if one is given, overridden by `environment`.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let defaults = layer::Layer::defaults();
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(path) = file {
            figment = figment.merge(file::read(path, &defaults)?);
        }
        let (layers, secrets) = environment::read(environment, &defaults)?;
        for layer in layers {
            figment = figment.merge(layer);
        }
        let config = Self {
            secrets,
            ..figment.extract()?
        };
        config
            .validate()
            .map_err(|(key, problem)| Error::of_value(&figment, key, problem))?;
        Ok(config)
    }

    /// The folder of all local state.
    pub fn data_dir(&self) -> &Path {
        &self.server.data_dir
    }

    /// The database's URL: the configured one, or a file in the data directory.
    pub fn database_url(&self) -> DatabaseUrl {
        if self.database.url.is_empty() {
            return DatabaseUrl::file(&self.data_dir().join("weir.db"));
        }
        self.database.url.clone()
    }

    /// The ladders of all channel types: the configured file's, or those of the program.
    pub fn ladders(&self) -> Result<Ladders, Error> {
        let path = &self.transcode.ladders_file;
        if path.as_os_str().is_empty() {
            return Ok(Ladders::default());
        }
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        let parsed = text.and_then(|text| Ladders::parse(&text));
        parsed.map_err(|problem| Error::Invalid {
            key: "transcode.ladders_file".to_owned(),
            origin: path.display().to_string(),
            problem,
        })
    }

    /// The URLs that this server hands out.
    pub fn endpoints(&self) -> Result<Endpoints, Error> {
        let invalid = |key: &str, problem: String| Error::Invalid {
            key: key.to_owned(),
            origin: "the configuration".to_owned(),
            problem,
        };
        let Server {
            region,
            account_id,
            public_url,
            ingest_host,
            ..
        } = &self.server;
        let scope =
            Scope::new(region, account_id).map_err(|e| invalid("server.region", e.to_string()))?;
        Endpoints::new(scope, public_url, ingest_host, self.ingest.listen.port())
            .map_err(|e| invalid("server.public_url", e.to_string()))
    }

    /// The first setting that breaks a rule, and how.
    fn validate(&self) -> Result<(), (&'static str, String)> {
        self.server.validate()?;
        self.database.validate()?;
        self.hls.validate().map_err(|e| ("hls", e.to_string()))?;
        self.storage.validate()?;
        self.live.validate()?;
        self.transcode.validate()?;
        self.ingest.validate()?;
        self.http.validate()?;
        self.api.validate()?;
        self.events.validate()?;
        // Rule 50: a client that waits for a playlist sends nothing.
        let longest_wait = 3 * u64::from(self.hls.target_duration_s);
        if self.http.idle_timeout_seconds <= longest_wait {
            let problem = format!("it must be more than three target durations, {longest_wait}");
            return Err(("http.idle_timeout_seconds", problem));
        }
        self.tls.validate()?;
        self.log.validate().map_err(|e| ("log.filter", e))
    }
}

#[cfg(test)]
mod tests;
