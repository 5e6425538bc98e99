//! Who is live: from a channel to the handles its renditions are watched through.
//!
//! In:  `live` announces, withdraws and forgets epochs. Out: `origin` looks them up; the page
//! that lists live channels waits for [`Directory::changes`].
//! Not here: who made the channel, sessions, titles (`live`, `model`). A name that nobody
//! announced leaves nothing behind.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;
use tokio::time::Instant;

use super::audience::Audience;
use super::demand::RungDemand;
use super::multivariant::Variant;
use super::snapshot::Snapshot;

/// A rendition as its consumers see it. The senders' end closes when the rendition's owner goes;
/// the last value stays readable.
#[derive(Clone, Debug)]
pub struct RenditionHandle {
    /// Its name and folder, for example `720p60`.
    pub name: String,
    /// Who gets it in the multivariant playlist.
    pub listed: Listed,
    /// The newest state of its window.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// What the multivariant playlist says about it.
    pub variant: watch::Receiver<Variant>,
    /// Where it is noted who asks for it, if it may be made on demand.
    pub demand: Option<Arc<RungDemand>>,
}

/// Who gets a rendition in the multivariant playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Everybody.
    Always,
    /// Who asks for it: sound alone, by `allow_audio_only=true`.
    OnRequest,
}

/// One epoch of a channel: a set of playlists that go together.
#[derive(Debug)]
pub struct LiveChannel {
    /// The channel's resource id.
    pub channel_id: String,
    /// Stored durably before it is announced; never used again.
    pub epoch: u64,
    /// The epoch in which these playlists began: those from there to `epoch` continue one another
    /// after crashes, and what players know of them means the same here.
    pub first_epoch: u64,
    /// The default pick first.
    pub renditions: Vec<Arc<RenditionHandle>>,
    /// Who watches the channel, in this epoch and others.
    pub audience: Arc<Audience>,
}

impl LiveChannel {
    /// The rendition called `name`.
    pub fn rendition(&self, name: &str) -> Option<&Arc<RenditionHandle>> {
        self.renditions.iter().find(|handle| handle.name == name)
    }

    /// How many renditions have a lower bitrate than this one now.
    pub fn lower_than(&self, rendition: &RenditionHandle) -> usize {
        let bitrate = |handle: &RenditionHandle| handle.variant.borrow().bandwidth_bps;
        let own = bitrate(rendition);
        let handles = self.renditions.iter();
        handles.filter(|handle| bitrate(handle) < own).count()
    }

    /// The variants as they are now, the default pick first.
    pub fn variants(&self) -> Vec<Variant> {
        let handles = self.renditions.iter();
        handles
            .map(|handle| handle.variant.borrow().clone())
            .collect()
    }
}

/// All epochs whose media can be fetched, and which of them are live.
#[derive(Debug, Default)]
pub struct Directory {
    channels: RwLock<HashMap<String, Epochs>>,
    changes: watch::Sender<u64>,
    /// Channels that may be announced in a moment.
    expected: Mutex<HashSet<String>>,
}

/// The word that a channel may be announced in a moment; it is taken back when dropped.
#[derive(Debug)]
pub struct Expected {
    directory: Arc<Directory>,
    channel_id: String,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.directory.expected().remove(&self.channel_id);
        self.directory.changed();
    }
}

/// The epochs of one channel, at least one; a handful at most.
#[derive(Debug, Default)]
struct Epochs {
    live: Option<Arc<LiveChannel>>,
    fetchable: Vec<Arc<LiveChannel>>,
}

impl Epochs {
    fn audience(&self) -> Option<Arc<Audience>> {
        let newest = self.fetchable.last()?;
        Some(Arc::clone(&newest.audience))
    }
}

impl Directory {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// An epoch to be announced; its channel's audience goes with it from epoch to epoch.
    pub fn prepare(
        &self,
        channel_id: String,
        epoch: u64,
        renditions: Vec<Arc<RenditionHandle>>,
    ) -> LiveChannel {
        let audience = self.audience(&channel_id);
        LiveChannel {
            channel_id,
            epoch,
            first_epoch: epoch,
            renditions,
            audience: audience.unwrap_or_else(|| Arc::new(Audience::new(Instant::now()))),
        }
    }

    /// Makes `channel` the live epoch of its channel, in place of an earlier one, which stays
    /// fetchable. Announcing an epoch again replaces its handles.
    pub fn announce(&self, channel: Arc<LiveChannel>) {
        let mut channels = self.write();
        let epochs = channels.entry(channel.channel_id.clone()).or_default();
        epochs
            .fetchable
            .retain(|known| known.epoch != channel.epoch);
        epochs.fetchable.push(Arc::clone(&channel));
        epochs.live = Some(channel);
        drop(channels);
        self.changed();
    }

    /// The epoch is no longer live; its media stays fetchable until [`Directory::forget`].
    pub fn withdraw(&self, channel_id: &str, epoch: u64) {
        let mut channels = self.write();
        let live = channels.get_mut(channel_id).map(|epochs| &mut epochs.live);
        let withdrawn = live.and_then(|live| live.take_if(|live| live.epoch == epoch));
        drop(channels);
        if withdrawn.is_some() {
            self.changed();
        }
    }

    /// Drops an epoch altogether.
    pub fn forget(&self, channel_id: &str, epoch: u64) {
        self.withdraw(channel_id, epoch);
        let mut channels = self.write();
        if let Some(epochs) = channels.get_mut(channel_id) {
            epochs.fetchable.retain(|known| known.epoch != epoch);
            if epochs.fetchable.is_empty() {
                channels.remove(channel_id);
            }
        }
    }

    /// The live epoch of a channel.
    pub fn live(&self, channel_id: &str) -> Option<Arc<LiveChannel>> {
        self.read().get(channel_id)?.live.clone()
    }

    /// An epoch whose media can be fetched, live or not.
    pub fn epoch(&self, channel_id: &str, epoch: u64) -> Option<Arc<LiveChannel>> {
        let channels = self.read();
        let mut fetchable = channels.get(channel_id)?.fetchable.iter();
        fetchable
            .find(|known| (known.first_epoch..=known.epoch).contains(&epoch))
            .cloned()
    }

    /// Until the word is dropped, who asks for the channel in vain is better off waiting for a
    /// change.
    pub fn expect(self: &Arc<Self>, channel_id: &str) -> Expected {
        self.expected().insert(channel_id.to_owned());
        Expected {
            directory: Arc::clone(self),
            channel_id: channel_id.to_owned(),
        }
    }

    /// Whether the channel may be announced in a moment.
    pub fn is_expected(&self, channel_id: &str) -> bool {
        self.expected().contains(channel_id)
    }

    /// Who watches a channel that has anything to fetch.
    pub fn audience(&self, channel_id: &str) -> Option<Arc<Audience>> {
        self.read().get(channel_id)?.audience()
    }

    /// Who watches each channel that has anything to fetch, by channel id.
    pub fn audiences(&self) -> Vec<(String, Arc<Audience>)> {
        let channels = self.read();
        let of_each = channels.iter();
        of_each
            .filter_map(|(id, epochs)| Some((id.clone(), epochs.audience()?)))
            .collect()
    }

    /// All live epochs, by channel id.
    pub fn list_live(&self) -> Vec<Arc<LiveChannel>> {
        let channels = self.read();
        let mut live: Vec<_> = channels.values().filter_map(|e| e.live.clone()).collect();
        live.sort_by(|a, b| a.channel_id.cmp(&b.channel_id));
        live
    }

    /// A counter that moves whenever the set of live epochs changes, or that of expected ones shrinks.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn expected(&self) -> MutexGuard<'_, HashSet<String>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic while the lock was held leaves a map that is still whole.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Epochs>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Epochs>> {
        self.channels
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playlist::{Config, Window, fixtures};

    fn channel(channel_id: &str, epoch: u64) -> Arc<LiveChannel> {
        let snapshot = Window::new(&Config::default(), 1).snapshot();
        let rendition = RenditionHandle {
            name: "720p60".to_owned(),
            listed: Listed::Always,
            snapshot: watch::channel(snapshot).1,
            variant: watch::channel(fixtures::variant()).1,
            demand: None,
        };
        Arc::new(LiveChannel {
            channel_id: channel_id.to_owned(),
            epoch,
            first_epoch: epoch,
            renditions: vec![Arc::new(rendition)],
            audience: Arc::new(Audience::new(Instant::now())),
        })
    }

    fn live_epochs(directory: &Directory) -> Vec<(String, u64)> {
        let live = directory.list_live().into_iter();
        live.map(|c| (c.channel_id.clone(), c.epoch)).collect()
    }

    #[test]
    fn an_epoch_is_live_then_fetchable_then_gone() {
        let directory = Directory::new();
        directory.announce(channel("bbbb", 4));
        directory.announce(channel("aaaa", 1));
        let expected = [("aaaa".to_owned(), 1), ("bbbb".to_owned(), 4)];
        assert_eq!(live_epochs(&directory), expected);

        let live = directory.live("aaaa").unwrap();
        assert_eq!(live.rendition("720p60").unwrap().name, "720p60");
        assert!(live.rendition("480p").is_none());
        assert_eq!(live.variants(), [fixtures::variant()]);

        directory.withdraw("aaaa", 1);
        assert!(directory.live("aaaa").is_none());
        assert_eq!(directory.epoch("aaaa", 1).unwrap().epoch, 1);
        assert!(directory.epoch("aaaa", 2).is_none());

        directory.forget("aaaa", 1);
        assert!(directory.epoch("aaaa", 1).is_none());
        assert_eq!(directory.read().len(), 1, "nothing is kept for aaaa");
    }

    #[test]
    fn a_new_epoch_replaces_the_live_one_and_late_withdrawals_of_the_old_do_nothing() {
        let directory = Directory::new();
        directory.announce(channel("aaaa", 1));
        directory.announce(channel("aaaa", 2));
        directory.withdraw("aaaa", 1);
        assert_eq!(directory.live("aaaa").unwrap().epoch, 2);
        assert!(directory.epoch("aaaa", 1).is_some());
        directory.forget("aaaa", 1);
        assert!(directory.epoch("aaaa", 1).is_none());
        assert!(directory.epoch("aaaa", 2).is_some());
    }

    #[test]
    fn announcing_again_replaces_the_handles() {
        let directory = Directory::new();
        directory.announce(channel("aaaa", 1));
        let second = channel("aaaa", 1);
        directory.announce(Arc::clone(&second));
        assert!(Arc::ptr_eq(&second, &directory.epoch("aaaa", 1).unwrap()));
        assert!(Arc::ptr_eq(&second, &directory.live("aaaa").unwrap()));
    }

    #[test]
    fn an_epoch_answers_to_those_it_continues() {
        let directory = Directory::new();
        let continued = Arc::new(LiveChannel {
            first_epoch: 3,
            ..Arc::into_inner(channel("aaaa", 5)).unwrap()
        });
        directory.announce(continued);
        directory.announce(channel("aaaa", 6));
        let known = |epoch| directory.epoch("aaaa", epoch).map(|known| known.epoch);
        let known: Vec<_> = (2..8).map(known).collect();
        assert_eq!(known, [None, Some(5), Some(5), Some(5), Some(6), None]);
        directory.forget("aaaa", 5);
        assert!(directory.epoch("aaaa", 4).is_none());
    }

    #[test]
    fn an_expectation_ends_with_a_change() {
        let directory = Arc::new(Directory::new());
        let mut changes = directory.changes();
        let expected = directory.expect("aaaa");
        assert!(directory.is_expected("aaaa") && !directory.is_expected("bbbb"));
        assert!(!changes.has_changed().unwrap());
        drop(expected);
        assert!(!directory.is_expected("aaaa"));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
    }

    #[test]
    fn a_channel_has_an_audience_while_it_has_an_epoch() {
        let directory = Directory::new();
        assert!(directory.audience("aaaa").is_none());
        let first = channel("aaaa", 1);
        directory.announce(Arc::clone(&first));
        directory.withdraw("aaaa", 1);
        let known = directory.audience("aaaa").unwrap();
        assert!(Arc::ptr_eq(&known, &first.audience));
        let listed = directory.audiences();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].0, "aaaa");
        directory.forget("aaaa", 1);
        assert!(directory.audience("aaaa").is_none());
        assert!(directory.audiences().is_empty());
    }

    #[test]
    fn only_changes_of_the_live_set_are_told() {
        let directory = Directory::new();
        let mut changes = directory.changes();
        let mut has_changed = || {
            let has_changed = changes.has_changed().unwrap();
            changes.mark_unchanged();
            has_changed
        };
        assert!(!has_changed());
        directory.announce(channel("aaaa", 1));
        assert!(has_changed());
        directory.withdraw("aaaa", 9);
        directory.withdraw("cccc", 1);
        directory.forget("cccc", 1);
        assert!(!has_changed());
        directory.withdraw("aaaa", 1);
        assert!(has_changed());
        directory.forget("aaaa", 1);
        assert!(!has_changed());
    }
}
