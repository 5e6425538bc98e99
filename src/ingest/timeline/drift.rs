//! Sound is counted in samples: how far that may be from its timestamps.
//!
//! In:  each frame's distance from where counting puts it, in samples. Out: by how much it has to move.
//! Timestamps that come now early, now late, are jitter, and moving the sound with them would be heard. A step in them that
//! is longer than jitter, and a distance that lasts, are real: sound is missing, or there is too much of it.
//! Not here: the timestamps themselves (`timeline`).

use crate::media::Timescale;

/// A distance beyond this is not believed to be jitter, however it came about.
const MOST_MS: i64 = 80;
/// Sound is missing if its timestamps step forward by this much more than a frame: two frames at 48 kHz are.
const HOLE_MS: i64 = 40;
/// A distance beyond this is not jitter either if it lasts for so many frames: a missing frame at 48 kHz is 21 ms.
const LASTING_MS: i64 = 20;
const LASTING_FRAMES: u32 = 8;

/// The frames so far.
#[derive(Debug, Default)]
pub(super) struct Drift {
    last: i64,
    /// How many of the last frames were further than [`LASTING_MS`] away on one side, and the least of that.
    frames: u32,
    least: i64,
}

impl Drift {
    /// Takes the next frame, which counting puts `drift` before its timestamp. More than 0: it is moved by so much; less:
    /// it is left out.
    pub(super) fn correct(&mut self, drift: i64, scale: Timescale) -> i64 {
        let ticks = |ms| Timescale::MILLIS.convert(ms, scale);
        let step = drift.saturating_sub(self.last);
        self.last = drift;
        self.note(drift, ticks(LASTING_MS));
        let is_hole = drift.min(step) > ticks(HOLE_MS);
        let correction = if is_hole || drift.saturating_abs() > ticks(MOST_MS) {
            drift
        } else if self.frames >= LASTING_FRAMES {
            self.least
        } else {
            0
        };
        if correction > 0 {
            *self = Self {
                last: drift.saturating_sub(correction),
                ..Self::default()
            };
        }
        correction
    }

    fn note(&mut self, drift: i64, limit: i64) {
        if drift.saturating_abs() <= limit {
            (self.frames, self.least) = (0, 0);
        } else if drift.signum() != self.least.signum() {
            (self.frames, self.least) = (1, drift);
        } else {
            self.frames = self.frames.saturating_add(1);
            self.least = if drift > 0 {
                self.least.min(drift)
            } else {
                self.least.max(drift)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Timescale = Timescale::new(48_000).expect("not zero");
    const MS: i64 = 48;
    const FRAME: i64 = 1024;

    /// What becomes of frames whose timestamps are so many samples later than they were at first: how much later or
    /// (by frames that are left out) earlier the sound is than at first after each.
    fn moves(late: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let (mut drift, mut moved) = (Drift::default(), 0);
        let each = late.into_iter().map(|late| {
            match drift.correct(late - moved, SCALE) {
                more @ 1.. => moved += more,
                0 => {}
                _ => moved -= FRAME,
            }
            moved
        });
        each.collect()
    }

    #[test]
    fn jitter_moves_nothing() {
        for pattern in [[0, 30, 60], [0, -35, 35], [0, -60, -30], [1, 19, -19]] {
            let late = pattern.into_iter().cycle().take(300).map(|ms| ms * MS);
            let moved = moves(late);
            assert!(moved.iter().all(|by| *by == 0), "{pattern:?}: {moved:?}");
        }
    }

    #[test]
    fn two_missing_frames_are_a_hole_at_once_and_one_soon() {
        let one_lost = |ms: i64| moves([FRAME + ms; 10].map(|late| late - late % MS));
        let moved = one_lost(0);
        assert_eq!(moved[6], 0);
        assert!(
            moved[7..].iter().all(|by| *by == FRAME - FRAME % MS),
            "{moved:?}"
        );
        for frames in [2, 3, 40] {
            assert!(
                moves([frames * FRAME; 10])
                    .iter()
                    .all(|by| *by == frames * FRAME)
            );
        }
        // One after the other.
        let moved = moves((0..40).map(|n| n / 10 * FRAME));
        assert!((10..40).all(|n| moved[n] >= (i64::try_from(n).unwrap() / 10 - 1) * FRAME));
        assert_eq!(moved[39], 3 * FRAME);
    }

    #[test]
    fn sound_that_is_too_much_is_left_out() {
        for ms in [25, 45, 60, 79, 200] {
            let moved = moves([-ms * MS; 60]);
            let rest = moved[59] + ms * MS;
            assert!(
                (-LASTING_MS * MS..=FRAME).contains(&rest) && rest.abs() <= LASTING_MS * MS,
                "{ms}: {moved:?}"
            );
        }
    }

    #[test]
    fn a_clock_that_is_a_little_off_is_followed() {
        for sign in [1, -1] {
            let late: Vec<_> = (0..10_000).map(|n| sign * n / 5).collect();
            let moved = moves(late.iter().copied());
            let worst = std::iter::zip(late, moved).map(|(late, moved)| (late - moved).abs());
            assert!(worst.max().unwrap() <= (LASTING_MS + 2) * MS);
        }
    }
}
