//! The mirror's multivariant playlist: a variant is named once its media playlist is there. Playlists that continue
//! others are named all together: whoever takes them up again must not take the first for all. One that lacks segments
//! because nobody asked for them is named for him only, and hidden from players, of which not all know gaps.
//!
//! In:  renditions whose playlist was stored. Out: `multivariant.m3u8`, written when it changes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::playlist::{LiveChannel, multivariant};
use crate::storage::keys::{Key, LiveEpoch};
use crate::storage::{Error, Store};

/// The multivariant playlist of one epoch.
pub(super) struct Multivariant {
    store: Store,
    key: Key,
    channel: Arc<LiveChannel>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Renditions whose playlist is there, and whether players are sent to it.
    playable: HashMap<String, bool>,
    /// The text in the store.
    stored: String,
}

impl Multivariant {
    pub(super) fn new(store: &Store, epoch: &LiveEpoch, channel: Arc<LiveChannel>) -> Self {
        Self {
            store: store.clone(),
            key: epoch.multivariant(),
            channel,
            state: Mutex::default(),
        }
    }

    /// The media playlist of `rendition` is in the store; `is_whole`: with all its media.
    pub(super) async fn is_playable(&self, rendition: &str, is_whole: bool) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        state.playable.insert(rendition.to_owned(), is_whole);
        let channel = &self.channel;
        let is_continued = channel.first_epoch != channel.epoch;
        if is_continued && state.playable.len() < channel.renditions.len() {
            return Ok(());
        }
        let those = |wanted: bool| {
            let renditions = channel.renditions.iter();
            let playable = &state.playable;
            let those =
                renditions.filter(move |handle| playable.get(&handle.name) == Some(&wanted));
            those.map(|handle| {
                let uri = format!("{}/live.m3u8", handle.name);
                (uri, handle.variant.borrow().clone())
            })
        };
        let mut text = multivariant::render(&[], those(true));
        multivariant::add_hidden(&mut text, those(false));
        if text != state.stored {
            self.store
                .put(&self.key, [Bytes::from(text.clone())])
                .await?;
            state.stored = text;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::playlist::directory::Listed;
    use crate::playlist::{Directory, RenditionHandle, Variant, fixtures};
    use crate::storage::{Config, Location};

    /// An epoch, and in which its playlists began.
    fn channel(epoch: u64, first_epoch: u64) -> Arc<LiveChannel> {
        let snapshot = fixtures::window(&crate::playlist::Config::default(), 1, 2, 0).snapshot();
        let rendition = |name: &str| {
            Arc::new(RenditionHandle {
                name: name.to_owned(),
                listed: Listed::Always,
                snapshot: watch::channel(Arc::clone(&snapshot)).1,
                variant: watch::channel(Variant::default()).1,
                demand: None,
            })
        };
        let renditions = vec![rendition("source"), rendition("360p30")];
        Arc::new(LiveChannel {
            first_epoch,
            ..Directory::new().prepare("abcdABCDefgh".to_owned(), epoch, renditions)
        })
    }

    #[tokio::test]
    async fn playlists_that_continue_others_are_named_all_together() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Folder(folder.path().to_owned());
        let store = Store::open(&location, &Config::default(), []).unwrap();
        for (number, first_epoch, alone) in [(5, 5, 1), (6, 5, 0)] {
            let epoch = LiveEpoch::new("abcdABCDefgh", number).unwrap();
            let multivariant = Multivariant::new(&store, &epoch, channel(number, first_epoch));
            let key = epoch.multivariant();
            let named = async || match store.get(&key, 10_000).await {
                Ok(text) => String::from_utf8(text.to_vec())
                    .unwrap()
                    .matches("live.m3u8")
                    .count(),
                Err(Error::NotFound { .. }) => 0,
                Err(error) => panic!("{error}"),
            };
            multivariant.is_playable("source", true).await.unwrap();
            assert_eq!(named().await, alone, "epoch {number}");
            multivariant.is_playable("360p30", true).await.unwrap();
            assert_eq!(named().await, 2);
        }
    }
}
