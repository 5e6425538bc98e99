//! What keeps a source from being passed through, and the frame rate it is given instead.
//!
//! In:  the distances of its first pictures, its configuration. Out: words for the streamer, or a
//! constant rate whose frames fill parts. Pure.
//! Read: "Grid" of the design: a part must be filled to 85 %, and no player is offered less than ten
//! frames a second.

use crate::media::codec::video::Passing;
use crate::media::codec::{VideoConfig, VideoKind};
use crate::media::{Sample, Timescale, TrackKind};
use crate::playlist::Config;
use crate::transcode::{FrameRate, MAX_EDGE, MAX_PIXELS};

/// No player is offered less, in millihertz; a hair below ten for what measuring adds.
const MIN_FPS_MILLIS: u32 = 9_900;
/// The fastest that H.264 players are expected to take.
const MAX_FPS_MILLIS: u32 = 60_500;
/// Most distances remembered: 2.49 s at 400 frames a second.
const MAX_GAPS: usize = 1000;

/// The distances between pictures since the first.
#[derive(Debug, Default)]
pub(in crate::live) struct Gaps {
    first: Option<i64>,
    last: i64,
    distances: Vec<i64>,
}

impl Gaps {
    /// A picture at `dts`, later than the one before.
    pub(in crate::live) fn note(&mut self, dts: i64) {
        if self.first.is_none() {
            self.first = Some(dts);
        } else if self.distances.len() < MAX_GAPS {
            self.distances.push(dts - self.last);
        }
        self.last = dts;
    }

    /// Pictures per 1000 seconds at their usual distance; 0 before the second. What encoders are
    /// opened with: their buffers count pictures, so it must not be less than comes for long.
    /// Uneven ones that are as many as is `declared` are jitter.
    pub(in crate::live) fn fps_millis(&self, declared: Option<u32>) -> u32 {
        let sorted = self.sorted();
        let is_uneven = is_uneven(&sorted);
        if let Some(declared) = declared.filter(|_| is_uneven) {
            let average = per_1000_seconds(&sorted);
            if average.abs_diff(declared) <= declared / 20 {
                return declared;
            }
        }
        let usual = if is_uneven {
            let shortest = sorted.get(sorted.len() / 10).copied().unwrap_or(0);
            near(&sorted, shortest)
        } else {
            near(&sorted, median(&sorted))
        };
        per_1000_seconds(usual)
    }

    fn sorted(&self) -> Vec<i64> {
        let mut sorted = self.distances.clone();
        sorted.sort_unstable();
        sorted
    }

    /// Whether pictures come now faster, now slower: more than a tenth of the distances are not usual.
    pub(in crate::live) fn is_uneven(&self) -> bool {
        is_uneven(&self.sorted())
    }

    /// Whether a picture stayed for longer than a part.
    fn has_standstill(&self, grid: &Config) -> bool {
        let part = Timescale::MILLIS.convert(i64::from(grid.part_target_ms), Timescale::VIDEO);
        self.distances.iter().any(|gap| *gap > part)
    }
}

/// The constant rate that stands for `fps_millis`, multiplied until whole frames fill parts.
pub(in crate::live) fn constant_rate(grid: &Config, fps_millis: u32) -> FrameRate {
    let slower = fps_millis.div_ceil(MAX_FPS_MILLIS).max(1);
    let base = FrameRate::near((fps_millis / slower).max(500));
    let times = |n: u32| FrameRate {
        frames: base.frames * n,
        ..base
    };
    let fitting = (1..=40)
        .map(times)
        .find(|rate| fits(grid, rate.fps_millis()));
    fitting.unwrap_or(FrameRate {
        frames: 30,
        seconds: 1,
    })
}

/// Pictures per 1000 seconds at the average of these distances; 0 if there are none.
fn per_1000_seconds(distances: &[i64]) -> u32 {
    let count = i64::try_from(distances.len()).unwrap_or(i64::MAX);
    let average = (count * 90_000_000).checked_div(distances.iter().sum());
    u32::try_from(average.unwrap_or(0)).unwrap_or(u32::MAX)
}

fn median(sorted: &[i64]) -> i64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// Those of the sorted distances that differ from `usual` by no more than half of it.
fn near(sorted: &[i64], usual: i64) -> &[i64] {
    let from = sorted.partition_point(|gap| gap * 3 < usual * 2);
    let to = sorted.partition_point(|gap| gap * 2 <= usual * 3);
    &sorted[from..to]
}

fn is_uneven(sorted: &[i64]) -> bool {
    let odd = sorted.len() - near(sorted, median(sorted)).len();
    odd * 10 > sorted.len()
}

/// Whether whole frames fill a part well enough: rule 19 wants 85 % of the target.
fn fits(grid: &Config, fps_millis: u32) -> bool {
    let (target_ms, fps) = (u64::from(grid.part_target_ms), u64::from(fps_millis));
    // Half a frame in a thousand parts: what measuring adds to a rate that just fits.
    let frames = (target_ms * fps + 1_000) / 1_000_000;
    let filled_ms = frames * 1_000_000 / fps.max(1);
    fps_millis >= MIN_FPS_MILLIS && filled_ms * 100 >= target_ms * 85
}

/// Why pictures are too large to be carried at all, in words; none if they are not.
pub(super) fn too_large(video: &VideoConfig) -> Option<String> {
    let is_large = |(width, height): (u16, u16)| {
        width.max(height) > MAX_EDGE || u32::from(width) * u32::from(height) > MAX_PIXELS
    };
    let coded = (video.width, video.height);
    (is_large(coded) || is_large(video.display_size())).then(|| {
        let (width, height) = coded;
        let lines = MAX_PIXELS / u32::from(MAX_EDGE);
        format!("pictures of {width}x{height} are too large; send at most {MAX_EDGE}x{lines}")
    })
}

/// Why pictures of this kind are never passed through, in words.
pub(in crate::live) fn unplayable(video: &VideoConfig) -> String {
    let (name, form) = (video.kind().name(), video.describe());
    let remedy = match video.kind() {
        VideoKind::Avc => "set profile high, 8 bit, 4:2:0",
        VideoKind::Hevc | VideoKind::Av1 => "set profile main, 4:2:0, no HDR",
        VideoKind::Vp9 => "send H.264, HEVC or AV1 to have them passed on",
    };
    format!("browsers do not play this form of {name} ({form}); {remedy}")
}

/// Why a source with keyframes in time is not passed through, in words; none if it can be.
pub(super) fn unfit(
    grid: &Config,
    video: &VideoConfig,
    gaps: &Gaps,
    held: &[Sample],
) -> Option<String> {
    let fps_millis = gaps.fps_millis(video.declared_fps_millis);
    if gaps.has_standstill(grid) || gaps.is_uneven() {
        return Some("the frame rate varies; set a constant one".to_owned());
    }
    if !fits(grid, fps_millis) || fps_millis > MAX_FPS_MILLIS {
        let (whole, tenth) = (fps_millis / 1000, fps_millis % 1000 / 100);
        return Some(format!(
            "{whole}.{tenth} frames per second do not suit viewers; set 24, 25, 30, 50 or 60"
        ));
    }
    if video.passing() == Passing::Never {
        return Some(unplayable(video));
    }
    let is_open = |s: &Sample| s.track == TrackKind::Video && s.is_sync && video.is_open(&s.data);
    if held.iter().any(is_open) {
        return Some("its GOPs are open; set closed ones".to_owned());
    }
    let idr = held.iter().find(|s| s.track == TrackKind::Video)?;
    let orientation = video.display_orientation(&idr.data)?;
    (!orientation.is_upright()).then(|| "the picture is sent rotated".to_owned())
}
