//! The sections that belong to no other room.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::db::connect::Location;
use crate::model::{Endpoints, Scope};

/// `[server]`: identity and addresses.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// All local state.
    pub data_dir: PathBuf,
    /// Base of the URLs handed out.
    pub public_url: String,
    /// Host, with its port if that is not 1935, handed out as `ingestEndpoint`; empty: the host
    /// of the public URL and the port of the RTMP listener.
    pub ingest_host: String,
    /// Region in ARNs, stream keys and playback paths.
    pub region: String,
    /// Account in ARNs and playback paths, 12 digits.
    pub account_id: String,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            public_url: "http://127.0.0.1:8080".to_owned(),
            ingest_host: String::new(),
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
        }
    }
}

impl Server {
    pub(super) fn validate(&self) -> Result<(), (&'static str, String)> {
        use crate::model::endpoints::Invalid;
        if self.data_dir.as_os_str().is_empty() {
            return Err(("server.data_dir", "it is empty".to_owned()));
        }
        Scope::new(&self.region, "000000000000").map_err(|e| ("server.region", e.to_string()))?;
        let scope = Scope::new("us-east-1", &self.account_id)
            .map_err(|e| ("server.account_id", e.to_string()))?;
        Endpoints::new(scope, &self.public_url, &self.ingest_host, 1935)
            .map(drop)
            .map_err(|e| match e {
                Invalid::IngestHost => ("server.ingest_host", e.to_string()),
                _ => ("server.public_url", e.to_string()),
            })
    }
}

/// `[database]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://…`; empty: `weir.db` in the data directory.
    pub url: DatabaseUrl,
    /// Connections at once.
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::default(),
            max_connections: 8,
        }
    }
}

impl Database {
    pub(super) fn validate(&self) -> Result<(), (&'static str, String)> {
        if !self.url.is_empty() {
            self.url
                .location()
                .map_err(|e| ("database.url", e.to_string()))?;
        }
        if !(1..=1000).contains(&self.max_connections) {
            return Err((
                "database.max_connections",
                "it must be 1 to 1000".to_owned(),
            ));
        }
        Ok(())
    }
}

/// A database URL; its password is masked wherever it is shown.
#[derive(Clone, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// A SQLite file.
    pub fn file(path: &Path) -> Self {
        Self(format!("sqlite:{}", path.display()))
    }

    /// Where it points.
    pub fn location(&self) -> Result<Location, crate::db::connect::Error> {
        self.0.parse()
    }

    /// Whether none is configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match url::Url::parse(&self.0) {
            Ok(mut url) if url.password().is_some() => match url.set_password(Some("***")) {
                Ok(()) => f.write_str(url.as_str()),
                Err(()) => f.write_str("***"),
            },
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `[admin]`: health and metrics, for the operator only.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port of `/healthz`, `/readyz` and `/metrics`.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
        }
    }
}
