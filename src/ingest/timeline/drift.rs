//! Sound is counted in samples: how far that may be from its timestamps.
//!
//! In:  each frame's distance from where counting puts it, in samples. Out: by how much it has to move.
//! Timestamps that come now early, now late, are jitter, and moving the sound with them would be heard. A distance that
//! lasts is real: sound is missing, or there is too much of it.
//! Not here: the timestamps themselves (`timeline`).

use crate::media::Timescale;

/// A distance beyond so many milliseconds is real if it lasts for so many frames. One late frame is not: encoders that
/// stamp by the wall clock send those. A missing frame of AAC is 21 ms at 48 kHz.
const REAL: [(i64, u32); 3] = [(250, 1), (40, 4), (20, 8)];

/// The frames so far.
#[derive(Debug, Default)]
pub(super) struct Drift {
    /// For each of [`REAL`].
    stretches: [Stretch; REAL.len()],
}

/// The last frames that were too far away on one side.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    frames: u32,
    /// The least of their distances.
    least: i64,
}

impl Drift {
    /// Takes the next frame, of `samples`, which counting puts `drift` before its timestamp. More than 0: it is moved by
    /// so much; less: it is left out.
    pub(super) fn correct(&mut self, drift: i64, samples: i64, scale: Timescale) -> i64 {
        let mut correction = 0;
        // With fewer samples too many no frame is left out: that would make too few.
        let least_too_much = samples.saturating_mul(3) / 4;
        for (stretch, (limit_ms, frames)) in self.stretches.iter_mut().zip(REAL) {
            let limit = Timescale::MILLIS.convert(limit_ms, scale);
            // Leaving a frame out must bring the sound nearer, however long a frame is.
            let limit = if drift < 0 {
                limit.max(least_too_much)
            } else {
                limit
            };
            stretch.note(drift, samples, limit);
            if correction == 0 && stretch.frames >= frames {
                correction = stretch.least;
            }
        }
        if correction > 0 {
            *self = Self::default();
        }
        correction
    }
}

impl Stretch {
    fn note(&mut self, drift: i64, samples: i64, limit: i64) {
        // What was late and becomes less so has been held up, and is catching up.
        let is_catching_up = drift > 0 && drift < self.least.saturating_sub(samples / 2);
        if drift.saturating_abs() <= limit {
            *self = Self::default();
        } else if drift.signum() != self.least.signum() || is_catching_up {
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
    /// Nothing is further away for long.
    const LASTING_MS: i64 = REAL[2].0;

    /// What becomes of frames whose timestamps are so many samples later than they were at first: how much later or
    /// (by frames that are left out) earlier the sound is than at first after each.
    fn moves(late: impl IntoIterator<Item = i64>) -> Vec<i64> {
        moves_of(FRAME, late)
    }

    /// The same for frames of so many samples.
    fn moves_of(frame: i64, late: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let (mut drift, mut moved) = (Drift::default(), 0);
        let each = late.into_iter().map(|late| {
            match drift.correct(late - moved, frame, SCALE) {
                more @ 1.. => moved += more,
                0 => {}
                _ => moved -= frame,
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
        // An encoder that stamps by the wall clock and was held up: what waited comes at once.
        for held_ms in [45, 85, 110, 240] {
            let late = (0..1000).map(|n| (held_ms * MS - n % 50 * FRAME).max(0));
            let moved = moves(late);
            assert!(moved.iter().all(|by| *by == 0), "{held_ms}: {moved:?}");
        }
    }

    #[test]
    fn one_missing_frame_is_a_hole_soon_more_sooner_and_many_at_once() {
        let one = FRAME - FRAME % MS;
        let moved = moves([one; 10]);
        assert_eq!((moved[6], &moved[7..]), (0, &[one; 3][..]));
        for frames in [2, 3, 11] {
            let moved = moves([frames * FRAME; 10]);
            assert_eq!((moved[2], moved[3]), (0, frames * FRAME));
        }
        assert_eq!(moves([12 * FRAME; 10]), [12 * FRAME; 10]);
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
    fn a_long_frame_is_not_left_out_for_a_little() {
        let scale = Timescale::new(16_000).unwrap();
        // 64 ms a frame, and timestamps that are 25 or 45 ms early from some frame on.
        for ms in [25, 45] {
            let mut drift = Drift::default();
            let corrections = (0..100).map(|_| drift.correct(-ms * 16, FRAME, scale));
            assert!(corrections.into_iter().all(|by| by == 0), "{ms} ms");
        }
        let mut drift = Drift::default();
        let left_out = (0..4).map(|_| drift.correct(-60 * 16, FRAME, scale));
        assert_eq!(left_out.collect::<Vec<_>>(), [0, 0, 0, -60 * 16]);
    }

    #[test]
    fn frames_of_other_codecs_are_judged_by_their_own_length() {
        // What was held up comes at once: frames of 20 and of 5 ms, as Opus has them.
        for frame in [960, 240] {
            let late = (0..1000).map(|n| (85 * MS - n % 50 * frame).max(0));
            let moved = moves_of(frame, late);
            assert!(moved.iter().all(|by| *by == 0), "{frame}: {moved:?}");
        }
        // FLAC's last 96 ms: left out for 100 ms too many, not for 60.
        let flac = 4608;
        for (early_ms, left_out) in [(60, 0), (100, 1)] {
            let moved = moves_of(flac, [-early_ms * MS; 60]);
            assert_eq!(moved[59], -left_out * flac, "{early_ms} ms");
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
