//! Millisecond timestamps onto the exact grid of a constant frame rate.
//!
//! In:  decoding times rounded to milliseconds, any way. Out: the ticks the encoder meant, while a
//! frame rate explains the timestamps within 1.5 ms; else the milliseconds themselves. So the
//! result is never further than that from what was sent, and a false guess does no harm.

/// 90 kHz ticks per millisecond and per second.
const TICKS_PER_MS: i64 = 90;
const TICKS_PER_SECOND: i64 = 90_000;
/// How far a timestamp may be from the grid: both ends are rounded, by less than 1 ms.
const TOLERANCE_TICKS: i64 = 135;
/// The same for composition times, which OBS before 31.1 makes 1 ms wrong.
const COMPOSITION_TOLERANCE_TICKS: i64 = 225;

/// Frames per second as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    frames: i64,
    seconds: i64,
}

/// Rates that encoders offer; of two that fit the earlier one is tried first.
const RATES: [Rate; 15] = [
    Rate::new(30, 1),
    Rate::new(60, 1),
    Rate::new(25, 1),
    Rate::new(50, 1),
    Rate::new(24, 1),
    Rate::new(48, 1),
    Rate::new(15, 1),
    Rate::new(20, 1),
    Rate::new(12, 1),
    Rate::new(25, 2),
    Rate::new(10, 1),
    Rate::new(30_000, 1001),
    Rate::new(60_000, 1001),
    Rate::new(24_000, 1001),
    Rate::new(15_000, 1001),
];

impl Rate {
    const fn new(frames: i64, seconds: i64) -> Self {
        Self { frames, seconds }
    }

    /// The listed rate within 0.005 fps of `fps_millis`, or just that rate.
    fn near(fps_millis: u32) -> Option<Self> {
        let millis = i64::from(fps_millis);
        let listed = RATES.into_iter().find(|rate| {
            let listed = rate.frames.saturating_mul(1000).checked_div(rate.seconds);
            listed.is_some_and(|listed| listed.abs_diff(millis) <= 5)
        });
        let is_plausible = (1000..=240_000).contains(&millis);
        listed.or_else(|| is_plausible.then(|| Self::new(millis, 1000)))
    }

    /// The start of frame `index` in ticks, rounded down.
    fn ticks(self, index: i64) -> i64 {
        let scaled = index
            .saturating_mul(TICKS_PER_SECOND)
            .saturating_mul(self.seconds);
        scaled.div_euclid(self.frames)
    }

    /// The frame nearest to a distance in milliseconds, and how far off it is in ticks.
    fn nearest(self, ms: i64) -> (i64, i64) {
        let scaled = ms.saturating_mul(TICKS_PER_MS).saturating_mul(self.frames);
        let frame = TICKS_PER_SECOND.saturating_mul(self.seconds);
        let index = scaled.saturating_add(frame >> 1).div_euclid(frame);
        let error = scaled
            .saturating_sub(index.saturating_mul(frame))
            .saturating_abs();
        // Rounded up, so that nothing beyond the tolerance passes.
        let error = error
            .saturating_add(self.frames.saturating_sub(1))
            .div_euclid(self.frames);
        (index, error)
    }
}

/// A rate that has explained every timestamp since the anchor.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    rate: Rate,
    index: i64,
}

/// The grid of one video track.
#[derive(Debug, Default)]
pub(super) struct FrameGrid {
    hint: Option<Rate>,
    anchor_ms: Option<i64>,
    /// In order of preference; empty right after anchoring.
    candidates: Vec<Candidate>,
}

/// Decoding and presentation time in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) dts: i64,
    pub(super) pts: i64,
}

impl FrameGrid {
    /// What the encoder says its frame rate is; believed while it fits.
    pub(super) fn set_hint(&mut self, fps_millis: u32) {
        self.hint = Rate::near(fps_millis);
    }

    /// Places a frame. `ms` must be greater than at the call before.
    pub(super) fn place(&mut self, ms: i64, composition_ms: i32) -> Placed {
        let composition_ms = i64::from(composition_ms);
        if let Some(anchor_ms) = self.anchor_ms {
            let distance = ms.saturating_sub(anchor_ms);
            if self.candidates.is_empty() {
                self.lock(distance);
            } else {
                self.candidates
                    .retain_mut(|candidate| candidate.advance(distance));
            }
            if let Some(candidate) = self.candidates.first() {
                return on_grid(anchor_ms, candidate.rate, candidate.index, composition_ms);
            }
        }
        self.anchor_ms = Some(ms);
        self.candidates.clear();
        if let Some(rate) = self.hint {
            return on_grid(ms, rate, 0, composition_ms);
        }
        let dts = ms.saturating_mul(TICKS_PER_MS);
        let pts = dts.saturating_add(composition_ms.saturating_mul(TICKS_PER_MS));
        Placed { dts, pts }
    }

    /// Collects the rates that explain the first distance after the anchor. Only the hinted one
    /// may explain it with more than one frame.
    fn lock(&mut self, distance: i64) {
        let listed = RATES.into_iter().filter(|rate| Some(*rate) != self.hint);
        for rate in self.hint.into_iter().chain(listed) {
            let (index, error) = rate.nearest(distance);
            let is_next = index == 1 || (index > 1 && Some(rate) == self.hint);
            if is_next && error <= TOLERANCE_TICKS {
                self.candidates.push(Candidate { rate, index });
            }
        }
        // NTSC rates last: one timestamp cannot tell them from their neighbours.
        self.candidates.sort_by_key(|c| {
            (
                Some(c.rate) != self.hint,
                c.rate.seconds == 1001,
                c.rate.nearest(distance).1,
            )
        });
    }
}

impl Candidate {
    /// Moves on to the frame at `distance`; false if the rate does not explain it.
    fn advance(&mut self, distance: i64) -> bool {
        let (index, error) = self.rate.nearest(distance);
        let is_later = index > self.index;
        self.index = index;
        is_later && error <= TOLERANCE_TICKS
    }
}

fn on_grid(anchor_ms: i64, rate: Rate, index: i64, composition_ms: i64) -> Placed {
    let anchor = anchor_ms.saturating_mul(TICKS_PER_MS);
    let dts = anchor.saturating_add(rate.ticks(index));
    let (frames, error) = rate.nearest(composition_ms);
    let pts = if error <= COMPOSITION_TOLERANCE_TICKS {
        anchor.saturating_add(rate.ticks(index.saturating_add(frames)))
    } else {
        dts.saturating_add(composition_ms.saturating_mul(TICKS_PER_MS))
    };
    Placed { dts, pts }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places `count` frames of a rate whose milliseconds were made by `round`.
    fn place_all(
        grid: &mut FrameGrid,
        rate: Rate,
        count: i64,
        round: fn(i64, i64) -> i64,
    ) -> Vec<i64> {
        let ms = |n: i64| round(n * 1000 * rate.seconds, rate.frames);
        (0..count)
            .map(|n| grid.place(5000 + ms(n), 0).dts)
            .collect()
    }

    fn floor(n: i64, d: i64) -> i64 {
        n.div_euclid(d)
    }

    fn nearest(n: i64, d: i64) -> i64 {
        (n + d / 2).div_euclid(d)
    }

    #[test]
    fn every_listed_rate_is_exact_with_its_hint() {
        for rate in RATES {
            for round in [floor, nearest] {
                let mut grid = FrameGrid::default();
                grid.set_hint(u32::try_from(rate.frames * 1000 / rate.seconds).unwrap());
                let times = place_all(&mut grid, rate, 20_000, round);
                for (n, dts) in (0..).zip(times) {
                    assert_eq!(dts, 450_000 + rate.ticks(n), "{rate:?} frame {n}");
                }
            }
        }
    }

    #[test]
    fn common_rates_are_exact_without_a_hint_and_despite_a_lie() {
        for (frames, seconds, frame_ticks) in [
            (24, 1, 3750),
            (25, 1, 3600),
            (30, 1, 3000),
            (60, 1, 1500),
            (25, 2, 7200),
            (10, 1, 9000),
        ] {
            for round in [floor, nearest] {
                for hint in [None, Some(17_000)] {
                    let mut grid = FrameGrid::default();
                    if let Some(fps_millis) = hint {
                        grid.set_hint(fps_millis);
                    }
                    let times = place_all(&mut grid, Rate::new(frames, seconds), 5000, round);
                    let is_exact = times.windows(2).all(|w| w[1] - w[0] == frame_ticks);
                    assert!(is_exact, "{frames}/{seconds} {hint:?} {:?}", &times[..5]);
                }
            }
        }
    }

    #[test]
    fn ntsc_rates_are_found_without_a_hint() {
        let rate = Rate::new(30_000, 1001);
        let times = place_all(&mut FrameGrid::default(), rate, 5000, floor);
        let steps: Vec<i64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(
            steps.iter().all(|step| (step - 3003).abs() <= 225),
            "one grid to another"
        );
        assert!(steps[100..].iter().all(|step| *step == 3003));
    }

    #[test]
    fn composition_times_come_onto_the_grid() {
        // x264 with B-frames at 30 fps; OBS before 31.1 is 1 ms off.
        let mut grid = FrameGrid::default();
        grid.set_hint(30_000);
        let frames = [
            (0, 67, 6000),
            (33, 166, 15_000),
            (66, 65, 6000),
            (100, 1, 0),
            (133, -34, -3000),
        ];
        for (ms, composition_ms, offset) in frames {
            let placed = grid.place(ms, composition_ms);
            assert_eq!(placed.pts - placed.dts, offset, "{ms}");
        }
        // No frame rate explains this one.
        let placed = grid.place(166, 50);
        assert_eq!(placed.pts - placed.dts, 4500);
    }

    #[test]
    fn a_dropped_frame_is_a_longer_one() {
        let mut grid = FrameGrid::default();
        let times: Vec<i64> = [0, 33, 66, 133, 166]
            .into_iter()
            .map(|ms| grid.place(ms, 0).dts)
            .collect();
        assert_eq!(times, [0, 3000, 6000, 12_000, 15_000]);
    }

    #[test]
    fn variable_rates_stay_as_sent_and_constant_ones_lock_again() {
        let mut grid = FrameGrid::default();
        let sent = [0, 33, 66, 105, 160, 183, 250, 283, 316, 350];
        for ms in sent {
            let placed = grid.place(ms, 0);
            assert!((placed.dts - ms * 90).abs() <= TOLERANCE_TICKS, "{ms}");
        }
        let last = grid.place(383, 0).dts;
        assert_eq!(grid.place(416, 0).dts - last, 3000);
    }
}
