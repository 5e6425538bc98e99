//! Reads a channel's playlists back from the live mirror, after a process that died.
//!
//! In:  the epochs that continued one another, their folders in the store. Out: [`Restored`]: for each
//! rendition what its window is to list, media included.
//! What it reads is bounded: the newest copies, one window of each rendition, less what a slow store has not
//! given in time.
//! Not here: how long to wait for it, what to do with it (`live`); writing (`mirror`).

mod media;
mod plan;

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use self::media::{Media, read_newest};
use self::plan::{CopiedRendition, MirrorCopy, PlannedRendition, Terms, Unfit};
use crate::base::clock::{SharedClock, WallTime};
use crate::playlist::plain::{self, Unreadable};
use crate::playlist::{self, Past, PastSegment, Plain, Variant, multivariant};
use crate::storage::keys::{Key, LiveEpoch, Prefix};
use crate::storage::{self, Store};

/// Copies looked at: that of the dead process, and one before it if that one had not got far.
const MAX_COPIES: usize = 3;
/// Folders looked at for them: a process that dies at once leaves one without a copy.
const MAX_FOLDERS: usize = 16;
/// Most renditions of a channel.
const MAX_RENDITIONS: usize = 16;

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

    /// The playlists that ran under `epochs`, one after the other. What a store that is slow has not given by
    /// `until` is left out at their beginning, but for the newest half minute.
    pub async fn read(
        &self,
        channel: &str,
        epochs: RangeInclusive<u64>,
        until: Instant,
    ) -> Result<Restored, Error> {
        let copy = self.newest_copy(channel, &epochs).await?;
        let plan = copy.plan(&Terms {
            now: self.clock.now(),
            hold: self.hold,
            target_duration_s: self.target_duration_s,
            resumptions: epochs.end().saturating_sub(*epochs.start()),
        })?;
        let epoch = LiveEpoch::new(channel, copy.epoch).map_err(storage::Error::from)?;
        let media = copy.renditions.iter().map(|copied| {
            let keys = epoch.rendition(&copied.name)?;
            Ok(Media::new(&self.store, keys))
        });
        let media: Vec<_> = media
            .collect::<Result<_, _>>()
            .map_err(storage::Error::Name)?;
        let windows = read_newest(&media, &plan, until).await?;
        let renditions = copy
            .renditions
            .into_iter()
            .zip(plan.renditions)
            .zip(windows);
        let renditions = renditions.map(|((copied, planned), segments)| RestoredRendition {
            name: copied.name,
            variant: copied.variant,
            past: past(plan.first_msn, &planned, segments),
        });
        Ok(Restored {
            next_msn: plan.next_msn,
            part_target_ms: plan.part_target_ms,
            renditions: renditions.collect(),
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
        let mut copies = 0;
        for epoch in known.iter().take(MAX_FOLDERS) {
            let copy = match self.copy(epoch).await {
                Err(Error::Store(storage::Error::NotFound { .. })) => continue,
                copy => copy?,
            };
            copies += 1;
            if newest
                .as_ref()
                .is_none_or(|known| known.last_msn() < copy.last_msn())
            {
                newest = Some(copy);
            }
            if copies == MAX_COPIES {
                break;
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
}

/// What a window lists that begins with the first of `segments`, the newest of those planned.
fn past(first_msn: u64, planned: &PlannedRendition, segments: Vec<PastSegment>) -> Past {
    let left_out = planned.segments.len().saturating_sub(segments.len());
    if left_out > 0 {
        tracing::warn!(
            left_out,
            listed = segments.len(),
            "the store is slow: a part of the window is not listed again"
        );
    }
    let count = |n| u64::try_from(n).unwrap_or(u64::MAX);
    let discontinuities = planned
        .segments
        .iter()
        .take(left_out)
        .filter(|s| s.discontinuity);
    Past {
        first_msn: first_msn.saturating_add(count(left_out)),
        discontinuity_sequence: planned
            .discontinuity_sequence
            .saturating_add(count(discontinuities.count())),
        segments,
    }
}

#[cfg(test)]
mod tests;
