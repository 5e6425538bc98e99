//! What has left a playlist must stay for a while (rules 8 and 25): it is asked for at once, and again when that time is
//! nearly over or the check ends.
//!
//! In:  what a playlist has dropped, times. Out: what to fetch. Not here: the judgement (`settle`). Bounded.

use super::{Changes, MediaPlaylist, Purpose, Rendition, Stay, Wanted};

/// Removed segments, and parts without tags, that are asked for again, per playlist.
const PER_LIST: usize = 2;
/// Most of them waiting for their time.
const MAX_WAITING: usize = 60;

impl Rendition {
    /// What `list` has dropped at `at_ms`, and what was dropped earlier and whose time is nearly over.
    pub(super) fn want_again(
        &mut self,
        list: &MediaPlaylist,
        changes: &Changes,
        at_ms: u64,
        wanted: &mut Vec<Wanted>,
    ) {
        // Reloads are not further apart than this.
        let soon_ms = at_ms.saturating_add(self.target_s().saturating_mul(1_000));
        let (due, later) = std::mem::take(&mut self.again)
            .into_iter()
            .partition(|wanted| wanted.purpose.due_ms().is_some_and(|due| due <= soon_ms));
        self.again = later;
        wanted.extend::<Vec<_>>(due);

        let stay = |for_us: u64| Stay {
            gone_ms: at_ms,
            due_ms: at_ms.saturating_add(for_us / 1_000),
        };
        let removed = changes.removed.iter().filter(|segment| !segment.is_gap);
        let removed = removed.take(PER_LIST).map(|segment| {
            let stay = stay(segment.duration_us.saturating_add(changes.listed_us));
            let purpose = Purpose::Removed(segment.msn, stay);
            (purpose, self.resource(&segment.uri, segment.range))
        });
        let parts_us = list.target_s.unwrap_or(0).saturating_mul(3_000_000);
        let untagged = changes.untagged.iter().take(PER_LIST);
        let untagged = untagged.map(|(position, part)| {
            let purpose = Purpose::Untagged(*position, stay(parts_us));
            (purpose, self.resource(&part.uri, part.range))
        });
        let gone = removed.chain(untagged).filter_map(|(purpose, resource)| {
            let resource = resource?;
            Some(Wanted { purpose, resource })
        });
        let gone: Vec<_> = gone.collect();
        let room = MAX_WAITING.saturating_sub(self.again.len());
        self.again.extend(gone.iter().take(room).cloned());
        wanted.extend(gone);
    }

    /// What waits for its time when the check ends: whether it is there still is all that can be asked.
    pub(in super::super) fn want_at_last(&mut self) -> Vec<Wanted> {
        std::mem::take(&mut self.again)
    }
}
