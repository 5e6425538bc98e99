//! Playlists of a process that died, taken up again.
//!
//! In:  an output of empty windows, and what they had listed (`recording::restore`). Out: the same
//! windows, announced under the new epoch and those they had before.
//! Not here: reading them back, and what fills them from now on (`session`).

use std::sync::Arc;

use super::Output;
use super::rendition::Rendition;
use crate::playlist::window::restore::NoTimeline;
use crate::playlist::{self, LiveChannel, Window};
use crate::recording::restore::RestoredRendition;

impl Output {
    /// Lists again what `restored` has for each rendition, in their order, and announces it; players
    /// know it by the epochs from `first_epoch` on.
    pub(in crate::live) fn restore(
        &mut self,
        first_epoch: u64,
        grid: &playlist::Config,
        restored: Vec<RestoredRendition>,
    ) -> Result<(), NoTimeline> {
        for (rendition, restored) in self.renditions.iter_mut().zip(restored) {
            rendition.restore(grid, restored)?;
        }
        self.channel = Arc::new(LiveChannel {
            channel_id: self.channel.channel_id.clone(),
            epoch: self.channel.epoch,
            first_epoch,
            renditions: self.channel.renditions.clone(),
            audience: Arc::clone(&self.channel.audience),
        });
        self.publish(&vec![true; self.renditions.len()]);
        self.announce();
        Ok(())
    }
}

impl Rendition {
    fn restore(
        &mut self,
        grid: &playlist::Config,
        restored: RestoredRendition,
    ) -> Result<(), NoTimeline> {
        let last = restored.past.segments.last();
        self.tracks = last.map(|last| last.init.tracks.clone());
        self.window = Window::restore(grid, &restored.past)?;
        self.variant_tx.send_replace(restored.variant);
        Ok(())
    }
}
