//! Storage: the object store in few verbs, a folder or an S3 bucket.
//!
//! In:  typed keys and bytes. Out: objects, each whole or absent.
//! Not here: what the bytes mean; which objects to keep (`recording`). The only room that knows
//! `object_store`.

pub mod keys;
mod location;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use location::{Bucket, Location};
pub use store::{Object, Store};

/// Where objects go, and the limits of talking to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `file:PATH` or `s3://BUCKET?endpoint=…&region=…`; empty: the folder `storage` in the data
    /// directory. S3 credentials come from the usual `AWS_*` variables.
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

impl Default for Config {
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

impl Config {
    /// Refuses limits with which nothing could be stored; the key and the problem.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let problem = |key| Err((key, "it must be 1 or more".to_owned()));
        match self {
            Self { concurrency: 0, .. } => problem("storage.concurrency"),
            Self {
                connect_timeout_seconds: 0,
                ..
            } => problem("storage.connect_timeout_seconds"),
            Self {
                request_timeout_seconds: 0,
                ..
            } => problem("storage.request_timeout_seconds"),
            _ => Ok(()),
        }
    }

    /// The place [`Config::url`] names.
    pub fn location(&self, data_dir: &Path) -> Result<Location, Error> {
        if self.url.is_empty() {
            return Ok(Location::Folder(data_dir.join("storage")));
        }
        self.url.parse()
    }
}

/// Why the store did not do as told. Texts name the store and the object, never a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL does not name a store.
    #[error("storage url {0}; write file:PATH or s3://BUCKET?endpoint=URL&region=NAME")]
    Url(String),
    /// The folder cannot be made, credentials are missing, the client cannot be built.
    #[error("cannot open {store}: {reason}")]
    Open {
        /// The store.
        store: String,
        /// What the system or the client said, or what is missing.
        reason: String,
    },
    /// A name that cannot be part of a key.
    #[error(transparent)]
    Name(#[from] keys::InvalidName),
    /// No such object.
    #[error("{key} is not in {store}")]
    NotFound {
        /// The store.
        store: String,
        /// The object.
        key: String,
    },
    /// No such bucket or folder.
    #[error("{store} does not exist ({verb} {key}): create it, or correct the storage url")]
    NoStore {
        /// The store.
        store: String,
        /// What was tried.
        verb: &'static str,
        /// On which object or prefix.
        key: String,
    },
    /// Wrong credentials, or too few rights.
    #[error("{store} refuses to {verb} {key} ({reason}): check the credentials and their rights")]
    Denied {
        /// The store.
        store: String,
        /// What was tried.
        verb: &'static str,
        /// On which object or prefix.
        key: String,
        /// The store's error code.
        reason: String,
    },
    /// Unreachable, out of space, an error of the server.
    #[error("{store} failed to {verb} {key}: {reason}")]
    Failed {
        /// The store.
        store: String,
        /// What was tried.
        verb: &'static str,
        /// On which object or prefix.
        key: String,
        /// The innermost cause.
        reason: String,
    },
    /// The object is longer than the reader allows.
    #[error("{key} in {store} has {bytes} bytes, more than the {limit} expected")]
    TooLarge {
        /// The store.
        store: String,
        /// The object.
        key: String,
        /// Its size.
        bytes: u64,
        /// The reader's limit.
        limit: u64,
    },
    /// What was read back is not what was written.
    #[error("{key} in {store} came back different from what was written")]
    Corrupt {
        /// The store.
        store: String,
        /// The object.
        key: String,
    },
}
