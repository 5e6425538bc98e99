//! The store: `object_store` behind put, get, delete, list and probe.
//!
//! In:  a [`Location`], limits, credentials. Out: [`Store`], cheap to clone.
//! Retries happen here and only here: a request that failed by the server's or the network's
//! fault is sent again a few times by `object_store`; who wants to keep at it for longer does so
//! between whole pieces of work (`base::retry`). Concurrency is bounded here too.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::limit::LimitStore;
use object_store::local::LocalFileSystem;
use object_store::{
    BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};

use super::keys::{Key, Prefix};
use super::{Bucket, Config, Error, Location};
use crate::base::clock::WallTime;

/// The variables that may give credentials and a region; an endpoint comes from the URL alone.
const VARIABLES: [&str; 11] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Suffix and media type of what Weir stores, for whoever reads a bucket directly.
const CONTENT_TYPES: [(&str, &str); 3] = [
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4s", "video/iso.segment"),
    ("mp4", "video/mp4"),
];

/// What a listing says about an object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its name.
    pub key: Key,
    /// When it was last written, by the store's clock.
    pub modified: WallTime,
}

/// An open object store.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<LimitStore<Arc<dyn ObjectStore>>>,
    name: Arc<str>,
}

impl Store {
    /// Opens the store at `location`; `environment` is searched for `AWS_*` credentials. A folder
    /// is made if it is missing; an S3 server is not contacted yet.
    pub fn open(
        location: &Location,
        config: &Config,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let name = location.to_string();
        let inner: Arc<dyn ObjectStore> = match location {
            Location::Folder(path) => open_folder(path),
            Location::Bucket(bucket) => open_bucket(bucket, config, environment),
        }
        .map_err(|reason| Error::Open {
            store: name.clone(),
            reason,
        })?;
        Ok(Self {
            inner: Arc::new(LimitStore::new(inner, config.concurrency.max(1))),
            name: name.into(),
        })
    }

    /// The store in words: `folder /srv/weir`, `bucket media at https://s3.example`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes an object, whole or not at all, replacing what was there. `chunks` are sent as they
    /// are, without being joined first.
    pub async fn put(
        &self,
        key: &Key,
        chunks: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), Error> {
        let payload = PutPayload::from_iter(chunks);
        match self.inner.put(&key.0, payload).await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.error("write", key, &e)),
        }
    }

    /// Reads a whole object of at most `limit` bytes.
    pub async fn get(&self, key: &Key, limit: u64) -> Result<Bytes, Error> {
        Ok(self.read(key, limit).await?.0)
    }

    /// As [`Store::get`], with when it was last written, by the store's clock.
    pub async fn read(&self, key: &Key, limit: u64) -> Result<(Bytes, WallTime), Error> {
        let error = |e| self.error("read", key, &e);
        let result = self.inner.get(&key.0).await.map_err(error)?;
        let bytes = result.meta.size;
        if bytes > limit {
            let (store, key) = (self.name.to_string(), key.to_string());
            return Err(Error::TooLarge {
                store,
                key,
                bytes,
                limit,
            });
        }
        let modified = WallTime(result.meta.last_modified.timestamp_millis());
        Ok((result.bytes().await.map_err(error)?, modified))
    }

    /// Deletes objects; those that are not there count as deleted. After an error some may be
    /// left: deleting again is harmless.
    pub async fn delete(&self, keys: &[Key]) -> Result<(), Error> {
        let Some(first) = keys.first() else {
            return Ok(());
        };
        let paths: Vec<_> = keys.iter().map(|key| Ok(key.0.clone())).collect();
        let mut results = self.inner.delete_stream(stream::iter(paths).boxed());
        let mut outcome = Ok(());
        while let Some(result) = results.next().await {
            match result {
                Ok(_) => {}
                Err(e) if is_absent(&e) => {}
                Err(e) => outcome = Err(self.error("delete", first, &e)),
            }
        }
        outcome
    }

    /// Up to `limit` objects below `prefix`.
    pub async fn list(&self, prefix: &Prefix, limit: usize) -> Result<Vec<Object>, Error> {
        let objects = self.inner.list(Some(&prefix.0)).take(limit).map_ok(object);
        let objects = objects.try_collect().await;
        objects.map_err(|e| self.error("list", prefix, &e))
    }

    /// The names of the folders directly below `prefix`.
    pub async fn folders(&self, prefix: &Prefix) -> Result<Vec<String>, Error> {
        let listing = self.inner.list_with_delimiter(Some(&prefix.0)).await;
        let listing = listing.map_err(|e| self.error("list", prefix, &e))?;
        let name = |path: &object_store::path::Path| path.filename().map(ToOwned::to_owned);
        Ok(listing.common_prefixes.iter().filter_map(name).collect())
    }

    /// Whether the store can be written, read, listed and cleaned, tried out on a small object.
    pub async fn probe(&self) -> Result<(), Error> {
        let key = Key::probe();
        let written = Bytes::from(key.to_string());
        self.put(&key, [written.clone()]).await?;
        let read = self.get(&key, 1024).await?;
        self.folders(&Prefix::live()).await?;
        self.delete(std::slice::from_ref(&key)).await?;
        if read == written {
            return Ok(());
        }
        let (store, key) = (self.name.to_string(), key.to_string());
        Err(Error::Corrupt { store, key })
    }

    fn error(
        &self,
        verb: &'static str,
        key: &impl ToString,
        source: &object_store::Error,
    ) -> Error {
        let (store, key) = (self.name.to_string(), key.to_string());
        let reason = innermost(source);
        match source {
            // An object that is missing is missed by a read only.
            object_store::Error::NotFound { .. } if verb != "read" || reason == "NoSuchBucket" => {
                Error::NoStore { store, verb, key }
            }
            object_store::Error::NotFound { .. } => Error::NotFound { store, key },
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => Error::Denied {
                store,
                verb,
                key,
                reason,
            },
            _ => Error::Failed {
                store,
                verb,
                key,
                reason,
            },
        }
    }
}

fn open_folder(path: &std::path::Path) -> Result<Arc<dyn ObjectStore>, String> {
    std::fs::create_dir_all(path).map_err(|e| e.to_string())?;
    let folder = LocalFileSystem::new_with_prefix(path).map_err(|e| innermost(&e))?;
    Ok(Arc::new(folder.with_automatic_cleanup(true)))
}

fn open_bucket(
    bucket: &Bucket,
    config: &Config,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Arc<dyn ObjectStore>, String> {
    // Refused when a provider is installed already: then that one serves.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let endpoint = bucket.endpoint.as_deref();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket.name)
        .with_retry(retries(config))
        .with_client_options(client_options(config, endpoint));
    for (variable, value) in environment {
        let is_wanted = VARIABLES.contains(&variable.as_str()) && !value.is_empty();
        if let Some(Ok(key)) = is_wanted.then(|| variable.to_ascii_lowercase().parse()) {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(region) = &bucket.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = endpoint {
        // Amazon may hand out credentials by role; nobody else does.
        if builder
            .get_config_value(&AmazonS3ConfigKey::AccessKeyId)
            .is_none()
        {
            return Err("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned());
        }
        builder = builder.with_endpoint(endpoint);
    }
    // One host name per bucket is Amazon's way, unless a dot breaks its certificate.
    let is_virtual_hosted = endpoint.is_none() && !bucket.name.contains('.');
    builder = builder.with_virtual_hosted_style_request(is_virtual_hosted);
    match builder.build().map_err(|e| innermost(&e)) {
        Ok(client) => Ok(Arc::new(client)),
        // The client is prepared for TLS even if the endpoint is not.
        Err(e) if e.contains("No CA certificates") => Err(format!("{e}: install ca-certificates")),
        Err(e) => Err(e),
    }
}

fn retries(config: &Config) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: config.max_retries,
        retry_timeout: Duration::from_secs(config.request_timeout_seconds.saturating_mul(3)),
    }
}

fn client_options(config: &Config, endpoint: Option<&str>) -> ClientOptions {
    let seconds = |seconds: u64| Duration::from_secs(seconds.max(1));
    let options = ClientOptions::new()
        .with_allow_http(endpoint.is_some_and(|url| url.starts_with("http://")))
        .with_connect_timeout(seconds(config.connect_timeout_seconds))
        .with_timeout(seconds(config.request_timeout_seconds));
    CONTENT_TYPES
        .into_iter()
        .fold(options, |options, (suffix, media_type)| {
            options.with_content_type_for_suffix(suffix, media_type)
        })
}

fn object(meta: ObjectMeta) -> Object {
    Object {
        key: Key(meta.location),
        modified: WallTime(meta.last_modified.timestamp_millis()),
    }
}

fn is_absent(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && innermost(error) != "NoSuchBucket"
}

/// The S3 error code if there is one, else the innermost cause: the outer texts repeat the path,
/// and an S3 answer's body may repeat what was signed.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    match code {
        Some((code, _)) => code.chars().take(64).collect(),
        None => text
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect(),
    }
}
