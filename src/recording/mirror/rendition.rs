//! The mirror of one rendition: every complete segment is stored, then listed, later deleted.
//!
//! In:  the newest snapshot, whenever this side is ready for one. Out: `init-<hash>.mp4` before
//! the first segment that needs it, `<msn>.m4s`, then `live.m3u8`, which lists only what is there.
//! That a timeline has begun is told before its first segment is there: players know its DISCONTINUITY.
//! A segment of a rendition that is made on demand is a gap here until somebody asks for it: the mirror asks for none.
//! A segment that left the window before its turn is lost and counted. The playlist then begins
//! anew behind the hole: its media sequence number tells players how much is missing.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::multivariant::Multivariant;
use crate::base::retry::Backoff;
use crate::playlist::{RenditionHandle, Segment, Snapshot};
use crate::storage::keys::{Key, LiveRendition};
use crate::storage::{Error, Store};

/// Delays between tries while the store fails; the longest is far below any window.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A playlist must not shrink below three target durations (RFC 8216bis §6.2.2).
const FEWEST_LISTED: u64 = 3;
/// Segments of which it is remembered that they are to be deleted; more are left to the sweep.
const MAX_LEAVING: usize = 10_000;

/// What one step came to.
enum Step {
    /// A segment was stored; there may be another.
    Forward,
    /// The store has all there is.
    CaughtUp,
    /// As caught up, and nothing will follow.
    Done,
}

/// The mirror of one rendition.
pub(super) struct RenditionMirror {
    store: Store,
    keys: LiveRendition,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    lifetime: Duration,
    /// Hashes of the stored initialization sections.
    inits: HashSet<String>,
    /// The segment to store next; none before the first.
    next: Option<u64>,
    /// The stored segments after the last hole.
    run: Option<RangeInclusive<u64>>,
    /// Whether the store's playlist lacks something of `run`.
    is_stale: bool,
    has_endlist: bool,
    /// Whether the store's playlist says that a timeline begins behind it.
    tells_timeline: bool,
    /// Segments in `run` that nobody has asked for.
    unmade: BTreeSet<u64>,
    /// How many segments the store's playlist lists.
    listed: u64,
    /// Stored segments, from the first that the store's playlist lists.
    stored: VecDeque<u64>,
    /// Stored segments that left the playlist, and when each is to be deleted.
    leaving: VecDeque<(Instant, u64)>,
    failing_since: Option<Instant>,
}

impl RenditionMirror {
    pub(super) fn new(
        store: Store,
        keys: LiveRendition,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        lifetime: Duration,
    ) -> Self {
        Self {
            store,
            keys,
            snapshot,
            lifetime,
            inits: HashSet::new(),
            next: None,
            run: None,
            is_stale: false,
            has_endlist: false,
            tells_timeline: false,
            unmade: BTreeSet::new(),
            listed: 0,
            stored: VecDeque::new(),
            leaving: VecDeque::new(),
            failing_since: None,
        }
    }

    /// Mirrors until the stream has ended and all of it is stored, its owner is gone, or nothing
    /// is left to do at a `stop`.
    pub(super) async fn follow(
        mut self,
        handle: &RenditionHandle,
        multivariant: &Multivariant,
        stop: &CancellationToken,
    ) {
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        loop {
            let step = self.step(&handle.name, multivariant).await;
            self.note(&handle.name, step.as_ref().err());
            match step {
                Ok(Step::Forward) => backoff.reset(),
                Ok(Step::Done) => return,
                Ok(Step::CaughtUp) => tokio::select! {
                    biased;
                    changed = self.snapshot.changed() => if changed.is_err() { return },
                    () = stop.cancelled() => return,
                },
                Err(_) => sleep(backoff.next_delay()).await,
            }
        }
    }

    /// Stores one segment if one is complete, and brings the playlist up to date.
    async fn step(&mut self, name: &str, multivariant: &Multivariant) -> Result<Step, Error> {
        // Not held while the store works: a snapshot keeps a whole window of media alive.
        let snapshot = self.snapshot.borrow_and_update().clone();
        let is_ended = snapshot.is_ended();
        let late = self.choose_late(&snapshot);
        let segment = late.clone().or_else(|| self.choose(&snapshot));
        drop(snapshot);
        if let Some(segment) = &late {
            self.store_late(segment).await?;
        } else if let Some(segment) = &segment {
            self.store_segment(segment).await?;
        }
        if self.publish().await? {
            multivariant
                .is_playable(name, self.unmade.is_empty())
                .await?;
            self.is_stale = false;
        }
        self.delete_left().await?;
        Ok(match segment {
            Some(_) => Step::Forward,
            None if is_ended => Step::Done,
            None => Step::CaughtUp,
        })
    }

    /// The oldest listed segment that is not stored yet. When the window has moved past it, the
    /// one in the window's middle: a store this slow is to hold a run, not each last moment.
    fn choose(&mut self, snapshot: &Snapshot) -> Option<Arc<Segment>> {
        let first = snapshot.listed().next()?.msn;
        let last = snapshot.last_complete_msn()?;
        let mut next = self.next.unwrap_or(first);
        if next < first {
            let middle = first.midpoint(last);
            metrics::counter!("weir_mirror_segments_lost_total").increment(middle - next);
            next = middle;
        }
        self.next = Some(next);
        (next <= last).then(|| snapshot.segment(next).cloned())?
    }

    /// A segment that somebody has asked for after all.
    fn choose_late(&self, snapshot: &Snapshot) -> Option<Arc<Segment>> {
        let mut unmade = self.unmade.iter();
        let found = unmade.find_map(|msn| snapshot.segment(*msn).filter(|found| found.is_whole()));
        found.cloned()
    }

    async fn store_late(&mut self, segment: &Segment) -> Result<(), Error> {
        let key = self.keys.segment(segment.msn);
        self.store.put(&key, segment.pieces()).await?;
        metrics::counter!("weir_mirror_segments_total").increment(1);
        self.unmade.remove(&segment.msn);
        self.is_stale = true;
        Ok(())
    }

    async fn store_segment(&mut self, segment: &Segment) -> Result<(), Error> {
        let hash = &segment.init.hash;
        if !self.inits.contains(hash) {
            let key = self.keys.init(hash)?;
            self.store.put(&key, [segment.init.bytes.clone()]).await?;
            self.inits.insert(hash.clone());
        }
        // A gap is listed as one; what there is of it serves players that do not know gaps.
        if segment.is_promised() || !(segment.has_gap || segment.is_whole()) {
            self.unmade.insert(segment.msn);
        } else if segment.byte_len() > 0 {
            self.store
                .put(&self.keys.segment(segment.msn), segment.pieces())
                .await?;
            metrics::counter!("weir_mirror_segments_total").increment(1);
        }
        let msn = segment.msn;
        let unbroken = self
            .run
            .take()
            .filter(|run| run.end().checked_add(1) == Some(msn));
        self.run = Some(unbroken.map_or(msn, |run| *run.start())..=msn);
        self.next = msn.checked_add(1);
        self.stored.push_back(msn);
        self.is_stale = true;
        Ok(())
    }

    /// Writes the playlist if it has news and is long enough; whether it did.
    async fn publish(&mut self) -> Result<bool, Error> {
        let Some(draft) = self.draft() else {
            return Ok(false);
        };
        self.store
            .put(&self.keys.playlist(), [Bytes::from(draft.text)])
            .await?;
        self.listed = draft.listed;
        self.has_endlist = draft.is_final;
        self.tells_timeline = draft.begins_timeline;
        let delete_at = Instant::now() + self.lifetime;
        self.unmade = self.unmade.split_off(&draft.first);
        while let Some(msn) = self.stored.pop_front_if(|msn| *msn < draft.first) {
            self.leaving.push_back((delete_at, msn));
        }
        let too_many = self.leaving.len().saturating_sub(MAX_LEAVING);
        self.leaving.drain(..too_many);
        Ok(true)
    }

    /// The playlist to write, from the newest snapshot.
    fn draft(&self) -> Option<Draft> {
        let run = self.run.clone()?;
        let snapshot = self.snapshot.borrow().clone();
        let is_final = snapshot.is_ended() && snapshot.last_complete_msn() == Some(*run.end());
        let begins_timeline = snapshot.begins_timeline_after(*run.end());
        let has_news = (is_final && !self.has_endlist) || (begins_timeline && !self.tells_timeline);
        if !self.is_stale && !has_news {
            return None;
        }
        let first = snapshot.listed().next()?.msn.max(*run.start());
        let listed = run.end().checked_sub(first)? + 1;
        if listed < self.listed.min(FEWEST_LISTED) && !is_final {
            return None;
        }
        Some(Draft {
            text: snapshot.mirror_playlist_without(&run, &self.unmade)?,
            first,
            listed,
            is_final,
            begins_timeline,
        })
    }

    /// Deletes the segments whose time is over.
    async fn delete_left(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let due = self.leaving.iter().take_while(|(at, _)| *at <= now);
        let keys: Vec<Key> = due.map(|(_, msn)| self.keys.segment(*msn)).collect();
        self.store.delete(&keys).await?;
        self.leaving.drain(..keys.len());
        Ok(())
    }

    /// Counts failures, and logs the first and the last of a row.
    fn note(&mut self, rendition: &str, error: Option<&Error>) {
        match (error, self.failing_since) {
            (Some(error), None) => {
                tracing::warn!(rendition, %error, "mirror falls behind");
                self.failing_since = Some(Instant::now());
            }
            (None, Some(since)) => {
                let seconds = since.elapsed().as_secs();
                tracing::info!(rendition, seconds, "mirror works again");
                self.failing_since = None;
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        if error.is_some() {
            metrics::counter!("weir_mirror_failures_total").increment(1);
        }
    }
}

/// A playlist about to be written.
struct Draft {
    text: String,
    first: u64,
    listed: u64,
    is_final: bool,
    begins_timeline: bool,
}
