//! The control API assembled: what its handlers answer from, and what runs beside them.
//!
//! In:  opened state, the registry. Out: [`api::Sources`]; the recorder of stream sessions and the deliverer of webhooks, running.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};

use super::open::Opened;
use crate::api;
use crate::base::clock::SystemClock;
use crate::base::tasks::Tasks;
use crate::config::Config;
use crate::events::webhook::{self, Deliverer};
use crate::live::Registry;
use crate::live::measures::Measures;
use crate::origin::protection::Protection;
use crate::storage::{self, Location, Store};

/// Clients of `/events` at once.
const LISTENERS: usize = 100;

/// What the handlers answer from. Their tasks end with HTTP, after the channels: what those tell last is recorded.
pub(super) fn sources(
    config: &Config,
    opened: &Opened,
    (registry, measures): (&Arc<Registry>, Arc<Measures>),
    protection: Arc<Protection>,
    tasks: &Tasks,
) -> api::Sources {
    let credentials = &opened.credentials;
    api::Sources {
        registry: Arc::clone(registry),
        measures,
        endpoints: Arc::clone(&opened.endpoints),
        events: Arc::clone(registry.events()),
        repository: opened.repository.clone(),
        root_key: Arc::new(api::RootKey {
            id: credentials.access_key_id.clone(),
            secret: credentials.secret_access_key.expose().to_owned(),
        }),
        config: Arc::new(config.api.clone()),
        buckets: Arc::new(Buckets {
            url: config.recording.store_url.clone(),
            data_dir: opened.data_dir.clone(),
            limits: config.storage.clone(),
        }),
        playback: protection,
        webhooks: Arc::new(config.events.clone()),
        listeners: Arc::new(Semaphore::new(LISTENERS)),
        told: watch::Sender::default(),
        clock: Arc::new(SystemClock),
        tasks: tasks.clone(),
    }
}

/// Starts what runs beside the handlers. Webhooks end after what is told last is recorded.
pub(super) fn start(sources: &api::Sources, webhooks: &Tasks) -> Result<(), webhook::Error> {
    let tasks = &sources.tasks;
    let events = sources.events.subscribe();
    let recording = api::record_stream_sessions(sources.clone(), events, tasks.token().clone());
    tasks.spawn("stream sessions", recording);
    let settling = api::settle_recording_configurations(sources.clone());
    tasks.spawn_cancellable("recording buckets", settling);
    let (clock, config) = (Arc::clone(&sources.clock), (*sources.webhooks).clone());
    let deliverer = Deliverer::new(Arc::clone(&sources.repository), clock, config)?;
    let delivering = deliverer.run(sources.told.subscribe(), webhooks.token().clone());
    webhooks.spawn("webhooks", delivering);
    Ok(())
}

#[async_trait]
impl api::Playback for Protection {
    async fn refresh(&self) {
        Self::refresh(self).await;
    }
}

/// The buckets of the recording store.
struct Buckets {
    url: String,
    data_dir: PathBuf,
    limits: storage::Config,
}

#[async_trait]
impl api::Buckets for Buckets {
    async fn reach(&self, bucket: &str) -> Result<(), String> {
        let location = location(&self.url, &self.data_dir, bucket);
        let store = location.and_then(|at| Store::open(&at, &self.limits, std::env::vars()));
        let store = store.map_err(|error| error.to_string())?;
        store.probe().await.map_err(|error| error.to_string())
    }
}

/// Where a bucket lies, by the URL of all of them.
fn location(url: &str, data_dir: &Path, bucket: &str) -> Result<Location, storage::Error> {
    if url.is_empty() {
        return Ok(Location::Folder(data_dir.join("recordings").join(bucket)));
    }
    match url.strip_prefix("s3://") {
        Some(rest) => format!("s3://{bucket}{rest}").parse(),
        None => format!("{url}/{bucket}").parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_a_folder_or_a_bucket_of_the_store() {
        let place = |url: &str| location(url, Path::new("/data"), "media").map(|it| it.to_string());
        for (url, expected) in [
            ("", "folder /data/recordings/media"),
            ("file:/srv/rec", "folder /srv/rec/media"),
            (
                "s3://?endpoint=http://s3.example",
                "bucket media at http://s3.example",
            ),
        ] {
            assert_eq!(place(url).unwrap(), expected);
        }
        assert!(place("nonsense").is_err());
    }
}
