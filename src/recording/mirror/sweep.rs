//! What earlier runs left below `live/` is deleted when nobody can be playing it any more.
//!
//! In:  the store's listing. Out: epochs deleted whose newest object is older than window and
//! grace. An epoch of another process that shares the store is younger while it is live: its
//! playlists are written anew every few seconds.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Mirror;
use crate::storage::keys::{Key, LiveEpoch, Prefix};
use crate::storage::{Error, Store};

/// Time to the first look: playlists that are taken up again after a crash are read before it.
const FIRST: Duration = Duration::from_secs(10);
/// Time from one look to the next.
const INTERVAL: Duration = Duration::from_mins(10);
/// Objects looked at in one epoch at a time: some hundred are there.
const MAX_OBJECTS: usize = 10_000;

/// Sweeps soon and then every ten minutes.
pub(super) async fn run(mirror: Mirror) {
    let mut ticks = interval_at(Instant::now() + FIRST, INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = sweep(&mirror).await {
            tracing::warn!(%error, "mirror is not swept");
        }
    }
}

async fn sweep(mirror: &Mirror) -> Result<(), Error> {
    for channel in mirror.store.folders(&Prefix::live()).await? {
        let Ok(prefix) = Prefix::live_channel(&channel) else {
            continue;
        };
        for folder in mirror.store.folders(&prefix).await? {
            if let Some(epoch) = LiveEpoch::from_folder(&channel, &folder) {
                sweep_epoch(mirror, &epoch).await?;
            }
        }
    }
    Ok(())
}

async fn sweep_epoch(mirror: &Mirror, epoch: &LiveEpoch) -> Result<(), Error> {
    if mirror.is_claimed(epoch) {
        return Ok(());
    }
    let objects = mirror.store.list(&epoch.prefix(), MAX_OBJECTS).await?;
    let newest = objects.iter().map(|object| object.modified).max();
    let age_millis = newest.map(|newest| mirror.clock.now().millis_since(newest));
    if age_millis.is_some_and(|age| i128::from(age) > millis(mirror.lifetime)) {
        delete_epoch(&mirror.store, epoch).await?;
        let (channel, number) = (epoch.channel(), epoch.number());
        tracing::info!(
            channel.id = channel,
            epoch = number,
            "left-over epoch deleted"
        );
    }
    Ok(())
}

/// Deletes what is below an epoch; beyond [`MAX_OBJECTS`] the next sweep goes on.
pub(super) async fn delete_epoch(store: &Store, epoch: &LiveEpoch) -> Result<(), Error> {
    let objects = store.list(&epoch.prefix(), MAX_OBJECTS).await?;
    let keys: Vec<Key> = objects.into_iter().map(|object| object.key).collect();
    store.delete(&keys).await
}

fn millis(time: Duration) -> i128 {
    i128::try_from(time.as_millis()).unwrap_or(i128::MAX)
}
