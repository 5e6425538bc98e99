//! Reads the media of planned playlists, the newest first: players are there, and an hour's window may be more
//! than there is time for.
//!
//! In:  a [`Plan`], each rendition's folder, an instant. Out: what there is of the newest segments of all
//! renditions: the last [`FEWEST`] at least, and as many before them as were read by then.
//! Not here: what is to be listed (`plan`).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::Error;
use super::plan::Plan;
use crate::packaging::InitSection;
use crate::playlist::{PastSegment, PlainSegment};
use crate::storage::keys::{Key, LiveRendition};
use crate::storage::{self, Store};

/// Segments that are read however long it takes: half a minute, the shortest window that is usual.
const FEWEST: usize = 15;
/// Objects of a channel that are read at once.
const READS: usize = 8;
/// Most bytes of a segment: 2.5 s at 200 Mb/s.
const MAX_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Most bytes of an initialization section.
const MAX_INIT_BYTES: u64 = 64 * 1024;

/// One rendition's objects.
pub(super) struct Media {
    store: Store,
    keys: LiveRendition,
    inits: Mutex<HashMap<String, Arc<InitSection>>>,
}

/// For each rendition its newest segments, as many of all; `until` is when older ones are no longer read.
pub(super) async fn read_newest(
    renditions: &[Media],
    plan: &Plan,
    until: Instant,
) -> Result<Vec<Vec<PastSegment>>, Error> {
    let Some(first) = plan.renditions.first() else {
        return Ok(Vec::new());
    };
    let assumed = first.segments.iter().rev().take_while(|s| s.is_assumed);
    let fewest = assumed.count() + FEWEST;
    let rows = (0..first.segments.len()).rev().map(|row| {
        let planned = plan.renditions.iter().zip(renditions);
        let listed =
            planned.filter_map(|(planned, media)| Some((planned.segments.get(row)?, media)));
        let msn = plan
            .first_msn
            .saturating_add(u64::try_from(row).unwrap_or(u64::MAX));
        try_join_all(
            listed
                .map(|(listed, media)| media.read(msn, listed))
                .collect::<Vec<_>>(),
        )
    });
    let mut reads = stream::iter(rows).buffered(READS.div_ceil(renditions.len().max(1)));
    let mut newest_first = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = sleep_until(until), if newest_first.len() >= fewest => break,
            row = reads.next() => match row {
                Some(row) => newest_first.push(row?),
                None => break,
            },
        }
    }
    let mut windows = vec![Vec::new(); renditions.len()];
    for row in newest_first.into_iter().rev() {
        for (window, segment) in windows.iter_mut().zip(row) {
            window.push(segment);
        }
    }
    Ok(windows)
}

impl Media {
    pub(super) fn new(store: &Store, keys: LiveRendition) -> Self {
        Self {
            store: store.clone(),
            keys,
            inits: Mutex::default(),
        }
    }

    /// A listed segment. One whose object is gone is a gap.
    async fn read(&self, msn: u64, listed: &PlainSegment) -> Result<PastSegment, Error> {
        let init = self.init(&listed.init_hash).await?;
        let bytes = if listed.is_gap {
            None
        } else {
            self.segment(&self.keys.segment(msn)).await?
        };
        Ok(PastSegment {
            listed: listed.clone(),
            init,
            bytes,
        })
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

    async fn init(&self, hash: &str) -> Result<Arc<InitSection>, Error> {
        let mut inits = self.inits.lock().await;
        if let Some(init) = inits.get(hash) {
            return Ok(Arc::clone(init));
        }
        let key = self.keys.init(hash).map_err(storage::Error::from)?;
        let bytes = self.store.get(&key, MAX_INIT_BYTES).await?;
        let read = InitSection::read(bytes, hash).ok_or_else(|| Error::Damaged(key.to_string()));
        let init = Arc::new(read?);
        inits.insert(hash.to_owned(), Arc::clone(&init));
        Ok(init)
    }
}
