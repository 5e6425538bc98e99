//! Whether parts reach viewers as steadily as the playlist promises.
//!
//! In:  when parts became fetchable. Out: how many did, and how many of them late. Pure.
//! Read: rule 9 of the design: a part no later than a part target after the one before. Half as much again
//! is granted to the network between the encoder and here.

use std::time::Duration;

use tokio::time::Instant;

/// Counts the parts of one rendition.
#[derive(Debug)]
pub(super) struct Cadence {
    patience: Duration,
    last: Option<Instant>,
    parts: u64,
    late: u64,
}

impl Cadence {
    /// For parts of at most `part_target_ms`.
    pub(super) fn new(part_target_ms: u32) -> Self {
        Self {
            patience: Duration::from_millis(u64::from(part_target_ms) * 3 / 2),
            last: None,
            parts: 0,
            late: 0,
        }
    }

    /// So many parts became fetchable together.
    pub(super) fn note(&mut self, parts: u64, now: Instant) {
        if parts == 0 {
            return;
        }
        let waited = self.last.map(|last| now.saturating_duration_since(last));
        self.late += u64::from(waited.is_some_and(|waited| waited > self.patience));
        self.parts += parts;
        self.last = Some(now);
    }

    /// No part is due before the next one.
    pub(super) fn pause(&mut self) {
        self.last = None;
    }

    /// Parts, and late ones among them, since the last call.
    pub(super) fn take(&mut self) -> (u64, u64) {
        (
            std::mem::take(&mut self.parts),
            std::mem::take(&mut self.late),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_late_half_a_target_after_it_was_due() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut cadence = Cadence::new(334);
        for ms in [0, 334, 668, 1169] {
            cadence.note(1, at(ms));
        }
        assert_eq!(cadence.take(), (4, 0));
        cadence.note(2, at(1671));
        cadence.note(0, at(1700));
        assert_eq!(cadence.take(), (2, 1));
        cadence.pause();
        cadence.note(1, at(9000));
        assert_eq!(cadence.take(), (1, 0));
    }
}
