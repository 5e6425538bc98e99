//! Promises: parts that were listed before they were made.
//!
//! In:  the media of such a part, or the word that there will be none. Out: the window lists what it listed, to the
//! letter; its next snapshot has the media, and who waits for it wakes.
//! Not here: who asks (`demand`), who makes it (`live`).

use std::sync::Arc;

use super::{Segment, Window};
use crate::packaging::Part;

impl Window {
    /// Takes the media of a part of segment `msn` that was promised; whether it was. What it says of itself is of no
    /// account: players know the part as it was listed.
    pub fn keep_promise(&mut self, msn: u64, made: &Part) -> bool {
        self.change(msn, |part| {
            let is_it = part.is_promised && part.start == made.start && !made.bytes.is_empty();
            is_it.then(|| Part {
                bytes: made.bytes.clone(),
                is_promised: false,
                ..part.clone()
            })
        })
    }

    /// What is still promised of segment `msn` will not come; whether that was anything.
    pub fn break_promises(&mut self, msn: u64) -> bool {
        self.change(msn, |part| {
            part.is_promised.then(|| Part {
                is_promised: false,
                ..part.clone()
            })
        })
    }

    /// A complete segment that is listed or was listed lately.
    pub fn segment(&self, msn: u64) -> Option<&Arc<Segment>> {
        let segments = &self.listing.segments;
        let index = msn.checked_sub(segments.front()?.msn)?;
        segments.get(usize::try_from(index).ok()?)
    }

    /// Number of the oldest segment that can be fetched.
    pub fn oldest_msn(&self) -> u64 {
        let oldest = self.listing.segments.front();
        oldest.map_or(self.listing.next_msn, |segment| segment.msn)
    }

    /// Replaces the parts of a segment for which `change` gives another; whether there was one.
    fn change(&mut self, msn: u64, change: impl Fn(&Part) -> Option<Part>) -> bool {
        let is_complete = self.segment(msn).is_some();
        let listing = &mut self.listing;
        let segment = if is_complete {
            let first = listing.segments.front().map_or(msn, |first| first.msn);
            let index = usize::try_from(msn - first).unwrap_or(usize::MAX);
            listing.segments.get_mut(index).map(Arc::make_mut)
        } else {
            listing.open.as_mut().filter(|open| open.msn == msn)
        };
        let mut has_changed = false;
        for part in segment.into_iter().flat_map(|segment| &mut segment.parts) {
            if let Some(changed) = change(part) {
                *part = Arc::new(changed);
                has_changed = true;
            }
        }
        has_changed
    }
}
