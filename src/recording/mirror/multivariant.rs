//! The mirror's multivariant playlist: a variant is named once its media playlist is there.
//!
//! In:  renditions whose playlist was stored. Out: `multivariant.m3u8`, written when it changes.

use std::collections::HashSet;
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
    /// Renditions that can be played.
    playable: HashSet<String>,
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

    /// The media playlist of `rendition` is in the store.
    pub(super) async fn is_playable(&self, rendition: &str) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        if !state.playable.contains(rendition) {
            state.playable.insert(rendition.to_owned());
        }
        let playable = self
            .channel
            .renditions
            .iter()
            .filter(|handle| state.playable.contains(&handle.name));
        let text = multivariant::render(playable.map(|handle| {
            (
                format!("{}/live.m3u8", handle.name),
                handle.variant.borrow().clone(),
            )
        }));
        if text != state.stored {
            self.store
                .put(&self.key, [Bytes::from(text.clone())])
                .await?;
            state.stored = text;
        }
        Ok(())
    }
}
