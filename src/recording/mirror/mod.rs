//! The live mirror: whoever is live can be played as plain HLS from the store.
//!
//! In:  the directory's live epochs and the watch handles of their windows. Out: `live/…` in the
//! store (`storage::keys`), deleted when window and grace are over.
//! There is no queue: a rendition's mirror looks at the newest snapshot when it is ready for more.
//! What the store is too slow for leaves the window unmirrored, and the live path never knows.
//! Not here: recordings, which must not lose anything.

mod multivariant;
mod rendition;
mod sweep;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tracing::Instrument;

use self::multivariant::Multivariant;
use self::rendition::RenditionMirror;
use super::Config;
use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::playlist::{self, Directory, LiveChannel, RenditionHandle};
use crate::storage::Store;
use crate::storage::keys::LiveEpoch;

/// How long a stop waits for what is being stored: the last segment and ENDLIST.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Mirrors every channel of `directory` until `tasks` is cancelled, and removes what earlier runs
/// left behind. End the streams first, so that their last segments are still mirrored.
pub fn start(
    config: &Config,
    playlist: &playlist::Config,
    store: Store,
    directory: Arc<Directory>,
    clock: SharedClock,
    tasks: &Tasks,
) {
    let kept_seconds = u64::from(playlist.window_seconds) + u64::from(config.mirror_grace_seconds);
    let mirror = Mirror {
        store,
        directory,
        clock,
        lifetime: Duration::from_secs(kept_seconds),
        claimed: Arc::default(),
        tasks: tasks.clone(),
    };
    tasks.spawn_cancellable("mirror sweep", sweep::run(mirror.clone()));
    tasks.spawn_cancellable("mirror", mirror.run());
}

/// What every mirrored epoch shares.
#[derive(Clone, Debug)]
struct Mirror {
    store: Store,
    directory: Arc<Directory>,
    clock: SharedClock,
    /// How long an object stays after it left its playlist.
    lifetime: Duration,
    /// The epochs that a task of this process looks after.
    claimed: Arc<Mutex<HashSet<LiveEpoch>>>,
    tasks: Tasks,
}

impl Mirror {
    /// Starts a task for each epoch that goes live.
    async fn run(self) {
        let mut changes = self.directory.changes();
        loop {
            changes.mark_unchanged();
            for channel in self.directory.list_live() {
                self.adopt(channel);
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn adopt(&self, channel: Arc<LiveChannel>) {
        let (id, number) = (&channel.channel_id, channel.epoch);
        let epoch = match LiveEpoch::new(id, number) {
            Ok(epoch) => epoch,
            Err(error) => return tracing::error!(%error, "channel is not mirrored"),
        };
        let Some(claim) = self.claim(&epoch) else {
            return;
        };
        let span = tracing::info_span!("mirror", channel.id = id, epoch = number);
        let mirrored = self.clone().mirror_epoch(epoch, channel, claim);
        self.tasks.spawn("mirror epoch", mirrored.instrument(span));
    }

    /// Follows all renditions to their end, then deletes the epoch when its time is over.
    async fn mirror_epoch(self, epoch: LiveEpoch, channel: Arc<LiveChannel>, _claim: Claim) {
        let stop = self.tasks.token();
        let multivariant = Multivariant::new(&self.store, &epoch, channel.clone());
        let renditions = channel.renditions.iter();
        let all = join_all(renditions.map(|r| self.mirror_rendition(&epoch, r, &multivariant)));
        let is_stopped = async {
            stop.cancelled().await;
            sleep(STOP_GRACE).await;
        };
        tokio::select! {
            _ = all => {}
            () = is_stopped => return,
        }
        // Their last snapshots hold a whole window of media.
        drop(multivariant);
        drop(channel);
        if stop
            .run_until_cancelled(sleep(self.lifetime))
            .await
            .is_none()
        {
            return; // The next run's sweep deletes it.
        }
        if let Err(error) = sweep::delete_epoch(&self.store, &epoch).await {
            tracing::warn!(%error, "ended epoch is left in the store for now");
        }
    }

    async fn mirror_rendition(
        &self,
        epoch: &LiveEpoch,
        handle: &RenditionHandle,
        multivariant: &Multivariant,
    ) {
        let keys = match epoch.rendition(&handle.name) {
            Ok(keys) => keys,
            Err(error) => return tracing::error!(%error, "rendition is not mirrored"),
        };
        let snapshot = handle.snapshot.clone();
        let mirror = RenditionMirror::new(self.store.clone(), keys, snapshot, self.lifetime);
        let followed = mirror.follow(handle, multivariant, self.tasks.token());
        // A store that stays away does not keep an ended stream in memory for ever.
        let mut ended = handle.snapshot.clone();
        let given_up = async {
            ended.wait_for(|snapshot| snapshot.is_ended()).await.ok();
            sleep(self.lifetime).await;
        };
        tokio::select! {
            () = followed => {}
            () = given_up => tracing::warn!(rendition = handle.name, "mirror never caught up"),
        }
    }

    fn claim(&self, epoch: &LiveEpoch) -> Option<Claim> {
        let is_new = lock(&self.claimed).insert(epoch.clone());
        is_new.then(|| Claim(self.claimed.clone(), epoch.clone()))
    }

    fn is_claimed(&self, epoch: &LiveEpoch) -> bool {
        lock(&self.claimed).contains(epoch)
    }
}

/// The right to look after one epoch; given back when dropped, also by a panic.
struct Claim(Arc<Mutex<HashSet<LiveEpoch>>>, LiveEpoch);

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.0).remove(&self.1);
    }
}

/// A panic while the lock was held leaves a set that is still whole.
fn lock(set: &Mutex<HashSet<LiveEpoch>>) -> MutexGuard<'_, HashSet<LiveEpoch>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}
