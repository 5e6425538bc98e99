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

/// `[storage]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// `file:PATH` or `s3://BUCKET?endpoint=…&region=…`; empty: the folder `storage` in the data
    /// directory.
    pub url: String,
    /// Requests under way at once; further ones wait their turn.
    pub concurrency: usize,
    /// Longest time for a connection to open.
    pub connect_timeout_seconds: u64,
    /// Longest time for one request, body included.
    pub request_timeout_seconds: u64,
    /// Tries after the first one that failed by the server's or the network's fault.
    pub max_retries: usize,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            url: String::new(),
            concurrency: 16,
            connect_timeout_seconds: 3,
            request_timeout_seconds: 10,
            max_retries: 2,
        }
    }
}

/// `[recording]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Recording {
    /// `file:PATH` or `s3://?endpoint=…`; empty: the folder `recordings` in the data directory.
    pub store_url: String,
}

/// `[ingest]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// Address and port of the RTMP listener.
    pub listen: SocketAddr,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 1935)),
        }
    }
}

/// `[hls]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Hls {
    /// EXT-X-TARGETDURATION.
    pub target_duration_s: u32,
    /// PART-TARGET.
    pub part_target_ms: u32,
    /// Least media a playlist lists once it has it.
    pub window_seconds: u32,
}

impl Default for Hls {
    fn default() -> Self {
        Self {
            target_duration_s: 2,
            part_target_ms: 334,
            window_seconds: 30,
        }
    }
}

impl Hls {
    pub(super) fn validate(&self) -> Result<(), String> {
        let Self {
            target_duration_s,
            part_target_ms,
            window_seconds,
        } = *self;
        if !(1..=10).contains(&target_duration_s) {
            return Err("target_duration_s must be 1 to 10".to_owned());
        }
        if !(100..=target_duration_s.saturating_mul(1000)).contains(&part_target_ms) {
            return Err("part_target_ms must be 100 to the target duration".to_owned());
        }
        if !(target_duration_s.saturating_mul(6)..=3600).contains(&window_seconds) {
            return Err("window_seconds must be six target durations to 3600".to_owned());
        }
        Ok(())
    }
}

/// `[live]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Live {
    /// Seconds the playlists wait for a publisher that was lost without an unpublish.
    pub hold_seconds: u64,
    /// Seconds an ended stream's playlists and media stay fetchable.
    pub ended_seconds: u64,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            hold_seconds: 30,
            ended_seconds: 90,
        }
    }
}

/// `[http]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Connections at once; further ones wait in the kernel's queue.
    pub max_connections: u32,
    /// Seconds for a request's head to arrive, and for an idle connection to be closed.
    pub header_timeout_seconds: u64,
    /// Seconds a client may leave a written answer unread before it is cut off.
    pub write_stall_seconds: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            max_connections: 20_000,
            header_timeout_seconds: 30,
            write_stall_seconds: 30,
        }
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
