//! Reads a channel's playlists back from the live mirror, after a process that died.
//!
//! In:  the epochs that continued one another, their folders in the store. Out: [`Restored`]: for each
//! rendition what its window is to list, media included.
//! What it reads is bounded: the newest copies, one window of each rendition.
//! Not here: how long to wait for it, what to do with it (`live`); writing (`mirror`).

mod plan;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use self::plan::{CopiedRendition, MirrorCopy, Plan, Terms, Unfit};
use crate::base::clock::{SharedClock, WallTime};
use crate::packaging::InitSection;
use crate::playlist::plain::{self, Unreadable};
use crate::playlist::{self, Past, PastSegment, Plain, PlainSegment, Variant, multivariant};
use crate::storage::keys::{Key, LiveEpoch, LiveRendition, Prefix};
use crate::storage::{self, Store};

/// Folders looked at: that of the dead process, and one before it if that one had not got far.
const MAX_COPIES: usize = 3;
/// Most renditions of a channel.
const MAX_RENDITIONS: usize = 16;
/// Most bytes of a segment: 2.5 s at 200 Mb/s.
const MAX_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Most bytes of an initialization section.
const MAX_INIT_BYTES: u64 = 64 * 1024;
/// Objects of a channel that are read at once.
const READS: usize = 8;

/// Reads playlists back.
#[derive(Clone, Debug)]
pub struct Restorer {
    store: Store,
    clock: SharedClock,
    target_duration_s: u32,
    hold: Duration,
}

/// The playlists of a channel as they go on.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The first media sequence number that nobody can have used.
    pub next_msn: u64,
    /// The PART-TARGET that players know; none if the store's copy is too old to tell.
    pub part_target_ms: Option<u32>,
    /// As the multivariant playlist had them.
    pub renditions: Vec<RestoredRendition>,
}

/// One rendition's playlist.
#[derive(Clone, Debug)]
pub struct RestoredRendition {
    /// Its name and folder.
    pub name: String,
    /// What the multivariant playlist said of it.
    pub variant: Variant,
    /// What its window lists.
    pub past: Past,
}

/// Why playlists could not be read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] storage::Error),
    /// What is stored is not what a mirror writes.
    #[error("{key}: {problem}")]
    Unreadable {
        /// The object.
        key: String,
        /// Where and what.
        problem: Unreadable,
    },
    /// An initialization section that is not what its name says.
    #[error("{0} is damaged")]
    Damaged(String),
    /// It can be read, but is not to be continued.
    #[error("nothing to continue: {0}")]
    Unfit(String),
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit.to_string())
    }
}

impl Error {
    /// Whether it will be the same at every later attempt: the process that wrote is dead, and too much time
    /// only ever becomes more. A store that fails may answer the next time.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Damaged(_) | Self::Unfit(_) => true,
            Self::Store(error) => matches!(
                error,
                storage::Error::Name(_)
                    | storage::Error::NotFound { .. }
                    | storage::Error::TooLarge { .. }
            ),
        }
    }
}

impl Restorer {
    /// Reads from `store` what goes with `playlist`; nothing that stopped longer than `hold` ago.
    pub fn new(
        store: Store,
        clock: SharedClock,
        playlist: &playlist::Config,
        hold: Duration,
    ) -> Self {
        Self {
            store,
            clock,
            target_duration_s: playlist.target_duration_s,
            hold,
        }
    }

    /// The playlists that ran under `epochs`, one after the other.
    pub async fn read(
        &self,
        channel: &str,
        epochs: RangeInclusive<u64>,
    ) -> Result<Restored, Error> {
        let copy = self.newest_copy(channel, &epochs).await?;
        let plan = copy.plan(&Terms {
            now: self.clock.now(),
            hold: self.hold,
            target_duration_s: self.target_duration_s,
            resumptions: epochs.end().saturating_sub(*epochs.start()),
        })?;
        let epoch = LiveEpoch::new(channel, copy.epoch).map_err(storage::Error::from)?;
        let Plan {
            first_msn,
            next_msn,
            part_target_ms,
            renditions: planned,
        } = plan;
        let mut renditions = Vec::new();
        for (copied, planned) in copy.renditions.into_iter().zip(planned) {
            let keys = epoch
                .rendition(&copied.name)
                .map_err(storage::Error::from)?;
            let segments = self.media(&keys, first_msn, planned.segments).await?;
            renditions.push(RestoredRendition {
                name: copied.name,
                variant: copied.variant,
                past: Past {
                    first_msn,
                    discontinuity_sequence: planned.discontinuity_sequence,
                    segments,
                },
            });
        }
        Ok(Restored {
            next_msn,
            part_target_ms,
            renditions,
        })
    }

    /// The copy that got furthest, the newer of two that got equally far: a process that died soon
    /// after it had continued another's playlists had not copied them all yet.
    async fn newest_copy(
        &self,
        channel: &str,
        epochs: &RangeInclusive<u64>,
    ) -> Result<MirrorCopy, Error> {
        let prefix = Prefix::live_channel(channel).map_err(storage::Error::from)?;
        let folders = self.store.folders(&prefix).await?;
        let known = folders
            .iter()
            .filter_map(|folder| LiveEpoch::from_folder(channel, folder));
        let mut known: Vec<_> = known.filter(|e| epochs.contains(&e.number())).collect();
        known.sort_by_key(|epoch| std::cmp::Reverse(epoch.number()));
        let mut newest: Option<MirrorCopy> = None;
        for epoch in known.iter().take(MAX_COPIES) {
            let copy = match self.copy(epoch).await {
                Err(Error::Store(storage::Error::NotFound { .. })) => continue,
                copy => copy?,
            };
            if newest
                .as_ref()
                .is_none_or(|known| known.last_msn() < copy.last_msn())
            {
                newest = Some(copy);
            }
        }
        newest.ok_or_else(|| Error::Unfit("the store has no playlists of it".to_owned()))
    }

    async fn copy(&self, epoch: &LiveEpoch) -> Result<MirrorCopy, Error> {
        let key = epoch.multivariant();
        let (text, _) = self.text(&key).await?;
        let unreadable = |key: &Key, problem| Error::Unreadable {
            key: key.to_string(),
            problem,
        };
        let entries = multivariant::parse(&text).map_err(|e| unreadable(&key, e))?;
        let mut renditions = Vec::new();
        for (uri, variant) in entries.into_iter().take(MAX_RENDITIONS) {
            let name = uri.split('/').next().unwrap_or_default();
            let key = epoch.rendition(name).map_err(storage::Error::from)?;
            let key = key.playlist();
            let (text, stored) = self.text(&key).await?;
            renditions.push(CopiedRendition {
                name: name.to_owned(),
                variant,
                plain: Plain::parse(&text).map_err(|e| unreadable(&key, e))?,
                stored,
            });
        }
        Ok(MirrorCopy {
            epoch: epoch.number(),
            renditions,
        })
    }

    async fn text(&self, key: &Key) -> Result<(String, WallTime), Error> {
        let (bytes, stored) = self.store.read(key, plain::MAX_TEXT_BYTES).await?;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), stored))
    }

    /// The media of listed segments. One whose object is gone is a gap.
    async fn media(
        &self,
        keys: &LiveRendition,
        first_msn: u64,
        listed: Vec<PlainSegment>,
    ) -> Result<Vec<PastSegment>, Error> {
        let mut inits: HashMap<String, Arc<InitSection>> = HashMap::new();
        let mut wanted = Vec::new();
        for (msn, listed) in (first_msn..).zip(listed) {
            let init = match inits.get(&listed.init_hash) {
                Some(init) => Arc::clone(init),
                None => self.init(keys, &listed.init_hash).await?,
            };
            inits.insert(listed.init_hash.clone(), Arc::clone(&init));
            wanted.push((msn, listed, init));
        }
        let reads = wanted.into_iter().map(|(msn, listed, init)| async move {
            let bytes = if listed.is_gap {
                None
            } else {
                self.segment(&keys.segment(msn)).await?
            };
            Ok::<_, Error>(PastSegment {
                listed,
                init,
                bytes,
            })
        });
        stream::iter(reads).buffered(READS).try_collect().await
    }

    async fn segment(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        match self.store.get(key, MAX_SEGMENT_BYTES).await {
            Err(storage::Error::NotFound { key, .. }) => {
                tracing::warn!(key, "a listed segment is not in the store");
                Ok(None)
            }
            bytes => Ok(Some(bytes?)),
        }
    }

    async fn init(&self, keys: &LiveRendition, hash: &str) -> Result<Arc<InitSection>, Error> {
        let key = keys.init(hash).map_err(storage::Error::from)?;
        let bytes = self.store.get(&key, MAX_INIT_BYTES).await?;
        let init = InitSection::read(bytes, hash).ok_or_else(|| Error::Damaged(key.to_string()));
        Ok(Arc::new(init?))
    }
}

#[cfg(test)]
mod tests;
