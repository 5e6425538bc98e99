//! Renditions that a source does not fill: what only some players take has a place of its own, and the next source
//! may have nothing to put there.
//!
//! In:  the slots. Out: timelines in which everything is a gap. What the multivariant playlist says of them stays.
//! Not here: which they are (`plan`), the word that their pictures are lost (`output`).

use super::Output;
use super::rendition::Rendition;
use crate::base::clock::WallTime;
use crate::media::Tracks;
use crate::packaging::{self, Packager};

impl Output {
    /// Begins a timeline in each of `slots`; the other renditions have begun theirs.
    pub(super) fn begin_missing(
        &mut self,
        slots: &[usize],
        at: WallTime,
    ) -> Result<(), packaging::Error> {
        let known = self.renditions.iter().find_map(Rendition::tracks).cloned();
        for slot in slots {
            let rendition = &mut self.renditions[*slot];
            let Some(tracks) = rendition.tracks().or(known.as_ref()) else {
                continue;
            };
            // There is no sound to wait for.
            let tracks = Tracks {
                audio: None,
                ..tracks.clone()
            };
            let packager = Packager::following(&self.packaging, tracks)?;
            rendition.begin_filler(packager, at);
        }
        Ok(())
    }
}
