//! The cascade: a decoded picture becomes one of each rung's size, large ones first.
//!
//! In:  a frame's picture, and which rungs want it. Out: a picture for each of them.
//! A rung whose picture is a whole fraction of another's is scaled from that one. An area scaler gives
//! averages of the source's pixels, and the average of whole averages is the average of all: 360 lines
//! made of 720 are those made of 1080, up to rounding, for less work.
//! All is done at once, before any encoder has the picture: so the processor's caches still hold it.
//! Not here: scaling itself (`scaler`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::Instant;

use super::VideoRung;
use super::raw_frame::RawFrame;
use super::scaler::Scaler;

/// A scaler that broke is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Makes the pictures of all rungs.
pub(super) struct Cascade {
    steps: Vec<Step>,
}

/// Makes the pictures of one rung.
struct Step {
    rung: usize,
    size: (u16, u16),
    scaler: Scaler,
    /// The rung whose picture it is made of.
    larger: Option<usize>,
    retry_at: Option<Instant>,
}

impl Cascade {
    pub(super) fn new(rungs: &[VideoRung]) -> Self {
        let step = |rung: usize| {
            let size = (rungs[rung].width, rungs[rung].height);
            Step {
                rung,
                size,
                scaler: Scaler::new(size.0, size.1),
                larger: larger(rungs, rung),
                retry_at: None,
            }
        };
        let mut steps: Vec<_> = (0..rungs.len()).map(step).collect();
        steps.sort_by_key(|step| step.larger.is_some());
        Self { steps }
    }

    /// The pictures by rung, for those whose bit is set in `wanted`; and what broke, in words.
    pub(super) fn scale(
        &mut self,
        picture: &RawFrame,
        wanted: u32,
    ) -> (Vec<Option<RawFrame>>, Option<String>) {
        let mut pictures = vec![None; self.steps.len()];
        let mut broken = None;
        for step in &mut self.steps {
            if wanted >> step.rung & 1 == 0 {
                continue;
            }
            let larger = step.larger.and_then(|larger| pictures[larger].as_ref());
            match step.scale(larger.unwrap_or(picture)) {
                Ok(scaled) => pictures[step.rung] = scaled,
                Err(what) => broken = Some(what),
            }
        }
        (pictures, broken)
    }
}

impl Step {
    /// None in the pause after it broke.
    fn scale(&mut self, picture: &RawFrame) -> Result<Option<RawFrame>, String> {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Ok(None);
        }
        // After a panic the scaler is thrown away.
        let what = match catch_unwind(AssertUnwindSafe(|| self.scaler.scale(picture))) {
            Ok(Ok(scaled)) => {
                self.retry_at = None;
                return Ok(Some(scaled));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        let (width, height) = self.size;
        self.scaler = Scaler::new(width, height);
        self.retry_at = Some(Instant::now() + PAUSE);
        metrics::counter!("weir_transcode_restarts_total", "what" => "scaler").increment(1);
        Err(format!("scaler of {width}x{height}: {what}"))
    }
}

/// The smallest rung of which this one's picture is a whole fraction, and that has a picture whenever
/// this one has. What is itself made of another is none: two steps are enough.
fn larger(rungs: &[VideoRung], rung: usize) -> Option<usize> {
    let fits = |larger: &usize| {
        let (from, to) = (&rungs[*larger], &rungs[rung]);
        let times = from.width / to.width.max(1);
        times > 1
            && (to.width.checked_mul(times), to.height.checked_mul(times))
                == (Some(from.width), Some(from.height))
            && to.every.is_multiple_of(from.every.max(1))
    };
    let candidates = (0..rungs.len()).filter(fits);
    let first_hand = candidates.filter(|candidate| larger(rungs, *candidate).is_none());
    first_hand.min_by_key(|candidate| rungs[*candidate].width)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::transcode::encoder::tests::pattern;

    fn rungs(sizes: &[(u16, u16, u32)]) -> Vec<VideoRung> {
        let rung = |&(width, height, every): &(u16, u16, u32)| VideoRung {
            name: format!("{height}p"),
            width,
            height,
            every,
            fps_millis: 60_000 / every,
            bitrate_bps: 1_000_000,
        };
        sizes.iter().map(rung).collect()
    }

    #[test]
    fn only_whole_fractions_are_made_of_others() {
        let standard = rungs(&[
            (1920, 1080, 1),
            (1280, 720, 1),
            (852, 480, 2),
            (640, 360, 2),
            (284, 160, 2),
        ]);
        let of = |index| larger(&standard, index);
        assert_eq!(of(4), Some(2), "160 lines of 480");
        assert_eq!(of(3), Some(1), "360 of 720, not of 1080");
        assert_eq!((of(2), of(1), of(0)), (None, None, None));
        // A picture that the larger one has only every second time.
        assert_eq!(larger(&rungs(&[(640, 360, 2), (320, 180, 1)]), 1), None);
        // Whole in one direction only.
        assert_eq!(larger(&rungs(&[(640, 360, 1), (320, 182, 1)]), 1), None);
        // Of the first hand only.
        let three = rungs(&[(1280, 720, 1), (640, 360, 1), (320, 180, 1)]);
        assert_eq!((larger(&three, 1), larger(&three, 2)), (Some(0), Some(0)));
        // Nothing divides by no pixels.
        assert_eq!(larger(&rungs(&[(640, 360, 1), (0, 0, 1)]), 1), None);
    }

    #[test]
    fn a_picture_made_of_a_larger_one_is_the_same() {
        let mut cascade = Cascade::new(&rungs(&[(640, 360, 1), (320, 180, 1)]));
        let picture = pattern(960, 540, 7);
        let direct = Scaler::new(320, 180).scale(&picture).unwrap();
        let (pictures, broken) = cascade.scale(&picture, 0b11);
        assert_eq!(broken, None);
        let large = pictures[0].clone().unwrap();
        assert_eq!((large.picture.width(), large.picture.height()), (640, 360));
        let cascaded = pictures[1].clone().unwrap();
        assert_eq!(cascaded.pts(), picture.pts());
        for plane in 0..3 {
            let width = if plane == 0 { 320 } else { 160 };
            let rows = |frame: &RawFrame| {
                let stride = frame.picture.stride(plane);
                let rows = frame.picture.data(plane).chunks(stride);
                rows.flat_map(|row| row[..width].to_vec())
                    .collect::<Vec<_>>()
            };
            let pairs = std::iter::zip(rows(&direct), rows(&cascaded));
            let most = pairs.map(|(one, other)| one.abs_diff(other)).max();
            assert!(most.unwrap() <= 2, "plane {plane}: {most:?} of 255");
        }
        // A picture that is shown again is not made again, nor what is made of it.
        let (again, _) = cascade.scale(&picture, 0b11);
        let again = again[1].clone().unwrap();
        assert!(Arc::ptr_eq(&again.picture, &cascaded.picture));
        // Where nobody wants the larger one, it is not made for the smaller.
        let (alone, _) = cascade.scale(&picture, 0b10);
        assert!(alone[0].is_none());
        let alone = alone[1].clone().unwrap();
        assert_eq!(alone.picture.data(0), direct.picture.data(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scaler_that_breaks_is_tried_again_after_a_while_and_stops_no_other() {
        let mut cascade = Cascade::new(&rungs(&[(0, 0, 1), (320, 180, 1)]));
        let picture = pattern(960, 540, 7);
        let (pictures, broken) = cascade.scale(&picture, 0b11);
        assert!(pictures[0].is_none() && pictures[1].is_some());
        assert!(broken.unwrap().starts_with("scaler of 0x0: "));
        assert_eq!(cascade.scale(&picture, 0b11).1, None, "it is left alone");
        tokio::time::advance(PAUSE).await;
        assert!(cascade.scale(&picture, 0b11).1.is_some());
    }
}
