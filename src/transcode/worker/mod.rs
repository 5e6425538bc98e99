//! The thread that decodes a source once, scales its frames and hands them to all lanes.
//!
//! In:  [`Input`]s through a bounded queue. Out: [`Frame`]s to the lanes, ticks and what concerns the
//! whole transcoder to its owner. A decoder that breaks, even by a panic, is made anew and given the
//! current GOP again; frames that were out already are skipped.
//! Not here: frame times (`frame_clock`), overload's rules (`load`), encoding (`lane`).

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use super::cascade::Cascade;
use super::decoder::VideoDecoder;
use super::frame_clock::{FrameClock, Schedule, Slot};
use super::lane::{Frame, LaneQueue};
use super::load::{Advice, Load, Patience};
use super::outlet::{Gone, Outlet};
use super::placement::{Affinity, Placement};
use super::raw_frame::RawFrame;
use super::transcoder::{Job, Output, VideoRung};
use crate::media::Sample;
use crate::media::codec::VideoConfig;

/// Most bytes of the current GOP that are kept for a decoder made anew.
const MAX_GOP_BYTES: usize = 16 * 1024 * 1024;
/// More pictures than any decoder holds back.
const MAX_INSIDE: usize = 64;
/// How long lanes that take no frame are waited for while what was held at the start is worked off.
const START_PATIENCE: Duration = Duration::from_millis(500);
/// How long a lane is waited for by who has time.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// No frame is thought to last longer than this.
const LONGEST_FRAME: Duration = Duration::from_millis(100);
/// Steps between pictures that are remembered.
const MAX_STEPS: usize = 9;
/// Sound that is further ahead than this of the first pictures, in ticks: they stand still. 500 ms.
const FIRST_LEAD: i64 = 45_000;
/// Most pictures that are decoded again to have those shown that a decoder holds back.
const MAX_REPLAYED: usize = 120;
/// After so long without sound, wall time tells how long a picture has stood still.
const SOUND_IS_GONE: Duration = Duration::from_secs(1);
/// A slow source is given the time of so many of its steps, in ticks at most this: 2 s.
const SLOW_STEPS: i64 = 2;
const MAX_SLOWNESS: i64 = 180_000;
/// How often a source that sends nothing is looked after.
const IDLE_STEP: Duration = Duration::from_millis(100);

/// What the decode thread is given.
pub(super) enum Input {
    /// A picture.
    Video {
        sample: Sample,
        /// None if it was held.
        arrival: Option<Instant>,
        opens_at: Option<i64>,
        /// Its configuration, if it is another than before.
        config: Option<Arc<VideoConfig>>,
        /// Pictures before it were lost.
        follows_loss: bool,
        /// The rungs that are encoded from `opens_at` on, or from this picture, if others than before.
        wanted: Option<u32>,
    },
    /// Sound has gone on to this time.
    Sound { pts: i64 },
}

/// The decode thread's state.
pub(super) struct Worker {
    config: Arc<VideoConfig>,
    fps_millis: u32,
    /// Of the largest rung.
    most_pixels: u32,
    decoder: Option<VideoDecoder>,
    /// The decoder was made to give all it had: a new one needs the GOP.
    is_expelled: bool,
    /// Samples since the last keyframe, to begin again with.
    gop: Vec<Sample>,
    gop_bytes: usize,
    /// Times of the pictures that are in the decoder.
    inside: BTreeSet<i64>,
    /// When pictures arrived, by their times.
    arrivals: VecDeque<(i64, Instant)>,
    first_pts: i64,
    /// Time of the last frame that left.
    last_pts: i64,
    /// Times between the last pictures; at first what the rate says.
    steps: VecDeque<i64>,
    last_frame: Option<RawFrame>,
    /// Since which time of the sound the picture after it has been missing.
    behind_since: Option<i64>,
    last_input: Instant,
    last_sound: Option<Instant>,
    schedule: Schedule,
    has_ticks: bool,
    lanes: Vec<LaneQueue>,
    cascade: Cascade,
    /// Every how many frames each rung has one.
    every: Vec<u32>,
    frame_count: u64,
    /// How many of the rungs may be shed, the largest first. Where nobody could do with the source, the cheapest stays: better
    /// few pictures than none.
    sheddable: usize,
    shed: u32,
    /// A bit for each rung that is encoded.
    wanted: u32,
    /// What it is to be, from which time on.
    wanted_from: VecDeque<(i64, u32)>,
    /// Lanes are waited for as long as it takes.
    is_patient: bool,
    load: Load,
    patience: Patience,
    max_lag: Duration,
    outlet: Outlet,
    placement: Placement,
    affinity: Affinity,
    queued_bytes: Arc<AtomicUsize>,
    is_stopped: Arc<AtomicBool>,
}

impl Worker {
    pub(super) fn new(
        job: &Job,
        lanes: Vec<LaneQueue>,
        (outlet, placement): (Outlet, Placement),
        (queued_bytes, is_stopped): (Arc<AtomicUsize>, Arc<AtomicBool>),
    ) -> Result<Self, Error> {
        let pixels = |rung: &VideoRung| u32::from(rung.width) * u32::from(rung.height);
        let most_pixels = job.rungs.iter().map(pixels).max().unwrap_or(0);
        let decoder = VideoDecoder::open(&job.video, job.fps_millis, most_pixels)?;
        let max_lag = Duration::from_millis(job.config.max_lag_ms);
        metrics::gauge!("weir_rungs_shed").increment(f64::from(job.shed.count_ones()));
        Ok(Self {
            config: Arc::clone(&job.video),
            fps_millis: job.fps_millis,
            most_pixels,
            decoder: Some(decoder),
            is_expelled: false,
            gop: Vec::new(),
            gop_bytes: 0,
            inside: BTreeSet::new(),
            arrivals: VecDeque::new(),
            first_pts: job.first_pts.unwrap_or(i64::MIN),
            last_pts: i64::MIN,
            steps: VecDeque::from([90_000_000 / i64::from(job.fps_millis.max(1))]),
            last_frame: None,
            behind_since: None,
            last_input: Instant::now(),
            last_sound: None,
            schedule: Schedule::new(job.clock, job.segment_ms, job.begins_short),
            has_ticks: matches!(job.clock, FrameClock::Constant(_)),
            lanes,
            cascade: Cascade::new(&job.rungs),
            every: job.rungs.iter().map(|rung| rung.every).collect(),
            frame_count: 0,
            sheddable: job.rungs.len().saturating_sub(usize::from(job.keeps_last)),
            shed: job.shed,
            wanted: !job.cold,
            wanted_from: VecDeque::new(),
            is_patient: job.is_patient,
            load: Load::new(max_lag, Instant::now()),
            patience: Patience::new(Instant::now()),
            max_lag,
            outlet,
            affinity: placement.affinity(),
            placement,
            queued_bytes,
            is_stopped,
        })
    }

    /// Decodes until the inputs end, then gives what is inside.
    pub(super) fn run(mut self, inputs: &flume::Receiver<Input>) {
        loop {
            self.affinity.follow();
            let done = match inputs.recv_timeout(IDLE_STEP) {
                _ if self.is_stopped.load(Ordering::Relaxed) => return,
                Ok(input) => self.take(input),
                Err(flume::RecvTimeoutError::Timeout) => self.idle(),
                Err(flume::RecvTimeoutError::Disconnected) => break,
            };
            if done.is_err() {
                return;
            }
        }
        // If it fails: who takes the output has gone, or the lanes end now by themselves.
        self.drain().ok();
    }

    fn take(&mut self, input: Input) -> Result<(), Gone> {
        match input {
            Input::Sound { pts } => {
                self.last_sound = Some(Instant::now());
                if self.is_held_back(pts) {
                    self.expel()?;
                }
                let slots = self.schedule.sound(pts);
                self.repeat(slots)
            }
            Input::Video {
                sample,
                arrival,
                opens_at,
                config,
                follows_loss,
                wanted,
            } => {
                self.queued_bytes
                    .fetch_sub(sample.data.len(), Ordering::Relaxed);
                let live = arrival;
                let arrival = live.unwrap_or_else(Instant::now);
                self.last_input = arrival;
                if let Some(at) = opens_at {
                    self.schedule.open_at(at);
                }
                let from = opens_at.unwrap_or(sample.pts());
                self.wanted_from.extend(wanted.map(|wanted| (from, wanted)));
                if follows_loss {
                    self.inside.clear();
                    // A number is missing: each lane begins anew with a keyframe.
                    self.frame_count += 1;
                    if let Some(decoder) = &mut self.decoder {
                        decoder.flush();
                    }
                }
                if let Some(config) = config {
                    self.restart_with(config)?;
                }
                if self.arrivals.len() >= MAX_INSIDE {
                    self.arrivals.pop_front(); // It was never decoded.
                }
                self.arrivals.push_back((sample.pts(), arrival));
                let frames = self.decode(sample);
                self.emit(frames)?;
                live.map_or(Ok(()), |arrival| self.balance(arrival))
            }
        }
    }

    /// The frames that a sample completes.
    fn decode(&mut self, sample: Sample) -> Vec<RawFrame> {
        if sample.is_sync {
            self.gop.clear();
            self.gop_bytes = 0;
        }
        self.inside.insert(sample.pts());
        if self.inside.len() > MAX_INSIDE {
            self.inside.pop_first(); // It was never decoded.
        }
        self.gop_bytes += sample.data.len();
        if std::mem::take(&mut self.is_expelled) && !sample.is_sync {
            let gop = std::mem::take(&mut self.gop);
            // What it gives was shown before; if it breaks, the next keyframe is waited for.
            self.begin_again(&gop).ok();
            self.gop = gop;
        }
        let decoded = match &mut self.decoder {
            Some(decoder) => attempt(decoder, std::slice::from_ref(&sample), self.last_pts),
            None if sample.is_sync => self.begin_again(std::slice::from_ref(&sample)),
            None => return Vec::new(),
        };
        match decoded {
            Ok(frames) => {
                self.keep(sample);
                frames
            }
            Err(what) => self.recover(&what, sample),
        }
    }

    /// Keeps a sample for a decoder made anew; none of a GOP that is too large for that.
    fn keep(&mut self, sample: Sample) {
        if self.gop_bytes > MAX_GOP_BYTES {
            self.gop = Vec::new();
        } else {
            self.gop.push(sample);
        }
    }

    /// Whether the decoder keeps pictures for those that should follow them, although the picture
    /// stands still while sound has gone on to `pts`. Pictures that come slowly are not standing still: to have each of
    /// them out at once would cost its whole GOP.
    fn is_held_back(&mut self, pts: i64) -> bool {
        let Some(newest) = self.inside.last().filter(|_| self.has_ticks) else {
            return false;
        };
        if self.last_frame.is_none() {
            return pts - newest > FIRST_LEAD && !self.gop.is_empty();
        }
        if self.behind_since.is_none() && self.schedule.is_behind(pts) {
            self.behind_since = Some(pts);
        }
        let slowness = (self.usual_step() * SLOW_STEPS).min(MAX_SLOWNESS);
        let waited = self.behind_since.map_or(0, |since| pts - since);
        waited > slowness && (1..=MAX_REPLAYED).contains(&self.gop.len())
    }

    /// Has the decoder give all it holds. What follows is decoded by a new one that gets the GOP again.
    fn expel(&mut self) -> Result<(), Gone> {
        self.drain()?;
        self.inside.clear();
        self.decoder = None;
        self.is_expelled = true;
        Ok(())
    }

    /// The decoder broke with a sample: a new one gets the GOP again, without that sample if it breaks, too.
    fn recover(&mut self, what: &str, sample: Sample) -> Vec<RawFrame> {
        metrics::counter!("weir_transcode_restarts_total", "what" => "decoder").increment(1);
        let words = format!("decoder: {what}");
        // If nobody listens, the next output ends the thread.
        self.outlet.give(Output::Failed { what: words }).ok();
        self.decoder = None;
        let mut gop = std::mem::take(&mut self.gop);
        gop.push(sample);
        for _ in 0..2 {
            if let Ok(frames) = self.begin_again(&gop) {
                self.gop = gop;
                return frames;
            }
            gop.pop();
        }
        // It is the GOP itself: the next one is waited for.
        self.decoder = None;
        Vec::new()
    }

    fn begin_again(&mut self, gop: &[Sample]) -> Result<Vec<RawFrame>, String> {
        let opened = self.open_decoder().map_err(|error| error.to_string())?;
        let decoder = self.decoder.insert(opened);
        attempt(decoder, gop, self.last_pts)
    }

    /// A decoder of large pictures has threads of its own.
    fn open_decoder(&self) -> Result<VideoDecoder, Error> {
        let open = || VideoDecoder::open(&self.config, self.fps_millis, self.most_pixels);
        self.affinity.anywhere(open)
    }

    /// Hands on what the decoder still holds.
    fn drain(&mut self) -> Result<(), Gone> {
        let drained = catch_unwind(AssertUnwindSafe(|| match &mut self.decoder {
            Some(decoder) => decoder.drain().unwrap_or_default(),
            None => Vec::new(),
        }));
        self.emit(drained.unwrap_or_default())
    }

    fn restart_with(&mut self, config: Arc<VideoConfig>) -> Result<(), Gone> {
        self.drain()?;
        self.config = config;
        self.gop.clear();
        self.gop_bytes = 0;
        self.inside.clear();
        self.decoder = self.open_decoder().ok();
        self.is_expelled = false;
        Ok(())
    }

    /// Hands decoded frames on.
    fn emit(&mut self, frames: Vec<RawFrame>) -> Result<(), Gone> {
        let mut frames = frames.into_iter().peekable();
        while let Some(frame) = frames.next() {
            let pts = frame.pts();
            if pts <= self.last_pts {
                continue; // It was out before the decoder was made anew.
            }
            if self.last_pts > i64::MIN {
                if self.steps.len() == MAX_STEPS {
                    self.steps.pop_front();
                }
                self.steps.push_back(pts - self.last_pts);
            }
            self.last_pts = pts;
            self.inside = self.inside.split_off(&(pts + 1));
            let known = self.arrivals.iter().position(|(time, _)| *time == pts);
            let known = known.and_then(|index| self.arrivals.remove(index));
            let arrival = known.map_or(self.last_input, |(_, at)| at);
            if pts < self.first_pts {
                continue;
            }
            let following = frames.peek().map(RawFrame::pts);
            let next = following.or_else(|| self.next_inside(pts));
            let slots = self.schedule.picture(pts, next);
            let last = self.last_frame.take();
            for slot in slots {
                let repeated = last.as_ref().filter(|_| !slot.is_new);
                self.give(repeated.unwrap_or(&frame), slot, arrival)?;
            }
            self.last_frame = Some(frame);
            self.behind_since = None;
        }
        Ok(())
    }

    /// The picture after the one at `pts`, if it is in the decoder. Another, further away, may be
    /// shown after one that is still to come: B pictures follow what they refer to.
    fn next_inside(&self, pts: i64) -> Option<i64> {
        let next = *self.inside.first()?;
        (next - pts < self.usual_step() * 2).then_some(next)
    }

    /// The median of the last steps: one odd timestamp does not count.
    fn usual_step(&self) -> i64 {
        let mut steps: Vec<_> = self.steps.iter().copied().collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied().unwrap_or(0)
    }

    /// Gives the last picture again.
    fn repeat(&mut self, slots: Vec<Slot>) -> Result<(), Gone> {
        let Some(last) = self.last_frame.clone() else {
            return Ok(());
        };
        for slot in slots {
            self.give(&last, slot, Instant::now())?;
        }
        Ok(())
    }

    /// Nothing has come for a while.
    fn idle(&mut self) -> Result<(), Gone> {
        let has_sound = |at: Instant| at.elapsed() < SOUND_IS_GONE;
        if self.last_sound.is_some_and(has_sound) {
            return Ok(());
        }
        let idle = i64::try_from(self.last_input.elapsed().as_millis()).unwrap_or(i64::MAX / 90);
        let slots = self.schedule.idle(idle * 90);
        self.repeat(slots)
    }

    /// Gives a frame to all lanes. One that takes none in time has lost it.
    fn give(&mut self, picture: &RawFrame, slot: Slot, arrival: Instant) -> Result<(), Gone> {
        if self.has_ticks {
            let tick = Output::Tick {
                pts: slot.pts,
                opens_segment: slot.index == 0,
            };
            self.outlet.give(tick)?;
        }
        let before = self.wanted;
        while let Some((_, wanted)) = self.wanted_from.pop_front_if(|(from, _)| *from <= slot.pts) {
            self.wanted = wanted;
        }
        let left_out = self.shed | !self.wanted;
        let wants = |rung: &usize| slot.is_for(self.every[*rung]) && left_out >> *rung & 1 == 0;
        let wanted = (0..self.every.len()).filter(wants);
        let wanted = wanted.fold(0, |bits, rung| bits | 1 << rung);
        let (pictures, broken) = self.cascade.scale(picture, wanted);
        if let Some(what) = broken {
            self.outlet.give(Output::Failed { what })?;
        }
        let frame = Frame {
            pictures: pictures.into(),
            slot,
            arrival,
            number: self.frame_count,
            shed: left_out,
            waker: self.outlet.waker(),
        };
        self.frame_count += 1;
        let now = Instant::now();
        let frame_micros = u64::try_from(self.usual_step() * 100 / 9).unwrap_or(0);
        let lasts = Duration::from_micros(frame_micros).min(LONGEST_FRAME);
        let patience = if self.is_patient {
            LONGEST_WAIT
        } else if self.load.may_be_late(now) {
            START_PATIENCE
        } else {
            self.patience.of(now, lasts)
        };
        for (rung, lane) in self.lanes.iter_mut().enumerate() {
            // One that is not wanted any more learns from the next frame that nothing comes before that.
            if (self.wanted | before) >> rung & 1 == 1 {
                lane.give(frame.clone(), now + patience)?;
            }
        }
        self.patience.spend(now.elapsed(), lasts);
        Ok(())
    }

    /// Sheds or restores a rung, as the lateness of the picture that arrived at `arrival` asks for.
    fn balance(&mut self, arrival: Instant) -> Result<(), Gone> {
        let now = Instant::now();
        let is_shed = |rung: &usize| self.shed >> *rung & 1 == 1;
        let left_out = self.shed | !self.wanted;
        let working = (0..self.lanes.len()).filter(|rung| left_out >> *rung & 1 == 0);
        let lags = working.clone().map(|rung| self.lanes[rung].lag(now));
        let mut lag = lags.fold(now - arrival, Duration::max);
        let losing = working
            .clone()
            .find(|rung| self.lanes[*rung].is_losing(now));
        if losing.is_some() {
            lag = lag.max(self.max_lag);
        }
        self.placement.observe(now, lag);
        let output = match self.load.observe(now, lag, self.shed != 0) {
            Advice::Keep => return Ok(()),
            Advice::Shed => {
                let may_go = |rung: &usize| *rung < self.sheddable;
                let slow = losing.filter(may_go);
                let Some(rung) = slow.or_else(|| working.clone().find(may_go)) else {
                    return Ok(());
                };
                self.shed |= 1 << rung;
                metrics::counter!("weir_rungs_shed_total").increment(1);
                metrics::gauge!("weir_rungs_shed").increment(1.0);
                Output::Shed { rung }
            }
            Advice::Restore => {
                let Some(rung) = (0..self.every.len()).rev().find(is_shed) else {
                    return Ok(());
                };
                self.shed &= !(1 << rung);
                metrics::gauge!("weir_rungs_shed").decrement(1.0);
                Output::Restored { rung }
            }
        };
        self.outlet.give(output)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        metrics::gauge!("weir_rungs_shed").decrement(f64::from(self.shed.count_ones()));
    }
}

/// Decodes samples, for the frames that are shown after `last_pts`; words if the decoder breaks.
fn attempt(
    decoder: &mut VideoDecoder,
    samples: &[Sample],
    last_pts: i64,
) -> Result<Vec<RawFrame>, String> {
    // A decoder that panicked is thrown away.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let mut frames = Vec::new();
        for sample in samples {
            let decoded = decoder.decode(sample)?.into_iter();
            frames.extend(decoded.filter(|frame| frame.pts() > last_pts));
        }
        Ok(frames)
    }));
    match decoded {
        Ok(Ok(frames)) => Ok(frames),
        Ok(Err(error)) => {
            let error: Error = error;
            Err(error.to_string())
        }
        Err(_) => Err("it panicked".to_owned()),
    }
}

#[cfg(test)]
mod tests;
