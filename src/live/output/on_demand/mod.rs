//! Rungs just in time: what is beside a source that is passed on is listed always and encoded when somebody asks.
//!
//! In:  the leader's pictures, sounds and spans as they come; who asks for what (`playlist::RungDemand`). Out: which
//! rungs are encoded from the next segment on; the media of parts that were listed before they were made.
//!
//! - A *cold* rung has a promise for each of the leader's spans: the same line in its playlist, but no bytes.
//! - Its first request begins two things. A *brew* (`brew`) makes the open segment from its first picture on, at once;
//!   so it does each older segment that is asked for, from the pictures in the leader's window. And the *steady*
//!   transcoder, one for all rungs, opens, to take the rung over where the next segment opens.
//! - A *warm* rung is a follower like any other. Nobody having asked for it for a while, it turns cold where a segment
//!   opens; without a warm rung the steady transcoder ends.
//!
//! Only sound that has to be encoded is so all the time: it costs little, and begins nowhere without a seam.
//! Not here: when a request waits (`origin`), how a promise is kept (`playlist::window`).

mod output;
mod timeline;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::timeline::{Timeline, complete, under_way, warmed};
use super::Made;
use super::brew::{self, Brew, Input, Order};
use super::rendition::Rendition;
use crate::base::tasks::Tasks;
use crate::media::Sample;
use crate::media::codec::VideoConfig;
use crate::packaging::segmenter::Span;
use crate::packaging::{self, Cue, Part};
use crate::playlist::Window;
use crate::transcode::{Job, Products, Started, Transcoder};

/// No picture comes after this; beyond what any stream reaches.
const NEVER: i64 = 1 << 60;
/// How far pictures are ahead of sound that is not waited for: a second.
const LOST_SOUND: i64 = 90_000;
/// What is known of the rungs of one output.
pub(in crate::live::output) struct OnDemand {
    tasks: Tasks,
    pub(in crate::live::output) patience: Duration,
    wake: Arc<Notify>,
    packaging: packaging::Config,
    /// Those of whose segments something can still be asked for, the running one last.
    timelines: VecDeque<Timeline>,
    steady: Steady,
    brews: Vec<Brew>,
    /// By slot: segments that are to be made.
    wanted: Vec<BTreeSet<u64>>,
    /// What the owner is to know of the steady transcoder's end.
    notices: VecDeque<Made>,
    /// The rungs that the steady transcoder leaves out, because the machine is overloaded.
    shed: u32,
}

/// The transcoder of all warm rungs.
enum Steady {
    None,
    Starting(oneshot::Receiver<Result<Started, String>>),
    Ready(Started),
    Running {
        transcoder: Transcoder,
        products: Products,
        /// A bit for each rung that it encodes.
        warm: u32,
    },
}

/// What happens beside the source.
pub(in crate::live) enum RungEvent {
    /// Somebody asks.
    Asked,
    /// The steady transcoder is open, or cannot be.
    Started(Result<Started, String>),
    /// It made something, or has ended.
    Made(Option<Made>),
    /// A brew made a part, or has ended.
    Brewed(usize, u64, Option<Part>),
}

impl Steady {
    async fn next(&mut self) -> RungEvent {
        match self {
            Self::None | Self::Ready(_) => std::future::pending().await,
            Self::Starting(started_rx) => {
                let started = started_rx.await;
                let lost = |_| Err("its task has ended".to_owned());
                RungEvent::Started(started.unwrap_or_else(lost))
            }
            Self::Running { products, .. } => RungEvent::Made(products.recv().await),
        }
    }
}

impl OnDemand {
    pub(in crate::live::output) fn new(
        tasks: Tasks,
        patience: Duration,
        wake: Arc<Notify>,
        packaging: packaging::Config,
        slots: usize,
    ) -> Self {
        Self {
            tasks,
            patience,
            wake,
            packaging,
            timelines: VecDeque::new(),
            steady: Steady::None,
            brews: Vec::new(),
            wanted: vec![BTreeSet::new(); slots],
            notices: VecDeque::new(),
            shed: 0,
        }
    }

    /// A timeline begins; its rungs are cold.
    fn begin(&mut self, timeline: Timeline, renditions: &mut [Rendition]) {
        for plan in &timeline.plans {
            if let Some(rendition) = renditions.get_mut(plan.slot) {
                rendition.begin_cold();
            }
        }
        self.timelines.push_back(timeline);
    }

    /// The timeline that runs.
    fn running(&mut self) -> Option<&mut Timeline> {
        self.timelines
            .back_mut()
            .filter(|timeline| timeline.is_running)
    }

    /// The leader's picture at `dts` opens a segment: rungs turn warm or cold with it.
    pub(in crate::live::output) fn open(
        &mut self,
        dts: i64,
        shift: i64,
        renditions: &mut [Rendition],
    ) {
        self.forget(renditions);
        let Some(timeline) = self.running() else {
            return;
        };
        timeline.open(dts, shift);
        let asked = self.asked_rungs(renditions);
        match &self.steady {
            Steady::Ready(_) if asked != 0 => self.install(),
            Steady::Ready(_) => self.stop_steady(),
            _ => {}
        }
        self.turn(asked, renditions);
        self.start_steady(asked);
        self.want_open(asked, renditions);
    }

    /// A bit for each rung that somebody asks for.
    fn asked_rungs(&mut self, renditions: &[Rendition]) -> u32 {
        let (now, patience) = (Instant::now(), self.patience);
        let Some(timeline) = self.running() else {
            return 0;
        };
        let is_asked = |slot: usize| {
            let rendition = renditions.get(slot);
            let demand = rendition.and_then(|rendition| rendition.demand.as_ref());
            demand.is_some_and(|demand| demand.is_asked(now, patience))
        };
        let rungs = timeline.plans.iter().enumerate();
        rungs
            .filter(|(_, plan)| is_asked(plan.slot))
            .fold(0, |bits, (rung, _)| bits | 1 << rung)
    }

    fn install(&mut self) {
        self.steady = match std::mem::replace(&mut self.steady, Steady::None) {
            Steady::Ready(started) => Steady::Running {
                transcoder: started.transcoder,
                products: started.output_rx,
                warm: 0,
            },
            other => other,
        };
    }

    /// Rungs are taken over by the steady transcoder, or left by it, from this segment on.
    fn turn(&mut self, asked: u32, renditions: &mut [Rendition]) {
        let Steady::Running {
            transcoder, warm, ..
        } = &mut self.steady
        else {
            return;
        };
        let Some(timeline) = self.timelines.back().filter(|t| t.is_running) else {
            return;
        };
        let before = *warm;
        if before == 0 && asked == 0 {
            // Its last pictures are out since the segment before.
            return self.stop_steady();
        }
        for (rung, plan) in timeline.plans.iter().enumerate() {
            let (bit, rendition) = (1 << rung, &mut renditions[plan.slot]);
            if asked & bit == 0 && before & bit != 0 {
                rendition.cool();
                *warm &= !bit;
            } else if asked & bit != 0 && before & bit == 0 && rendition.may_warm() {
                match warmed(&self.packaging, timeline, plan, rendition.began) {
                    Ok(packager) => {
                        rendition.warm(packager);
                        *warm |= bit;
                    }
                    Err(error) => tracing::error!(%error, "a rung stays cold"),
                }
            }
        }
        if *warm != before {
            transcoder.want(*warm);
        }
    }

    fn start_steady(&mut self, asked: u32) {
        if asked == 0 || !matches!(self.steady, Steady::None) {
            return;
        }
        let Some(timeline) = self.running() else {
            return;
        };
        let newest = timeline.videos.last();
        let job = Job {
            video: newest.map_or_else(|| Arc::clone(&timeline.job.video), |(_, v)| Arc::clone(v)),
            cold: u32::MAX,
            ..timeline.job.clone()
        };
        let (started_tx, started_rx) = oneshot::channel();
        let start = async move {
            let opened = tokio::task::spawn_blocking(move || Transcoder::start(&job)).await;
            let started = match opened {
                Ok(started) => started.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if started_tx.send(started).is_err() {
                tracing::debug!("the timeline ended before its transcoder was open");
            }
        };
        self.tasks.spawn_cancellable("rungs", start);
        self.steady = Steady::Starting(started_rx);
    }

    /// The steady transcoder is not needed any more; what it left out is not left out by it.
    fn stop_steady(&mut self) {
        self.steady = Steady::None;
        let shed = std::mem::take(&mut self.shed);
        let restored = (0..32).filter(|rung| shed >> rung & 1 == 1);
        self.notices
            .extend(restored.map(|rung| Made::Restored { rung }));
    }

    /// The open segment of rungs that are asked for and cold is made at once.
    fn want_open(&mut self, asked: u32, renditions: &[Rendition]) {
        let Some(timeline) = self.running() else {
            return;
        };
        let Some(open) = timeline.recent.back() else {
            return;
        };
        let (msn, is_next) = (open.msn, open.spans.is_empty());
        let rungs = timeline.plans.iter().enumerate();
        let slots: Vec<_> = rungs
            .filter(|(rung, plan)| {
                asked >> rung & 1 == 1 && renditions[plan.slot].is_promising(is_next)
            })
            .map(|(_, plan)| plan.slot)
            .collect();
        for slot in slots {
            self.wanted[slot].insert(msn);
        }
    }

    /// The leader's next picture.
    pub(in crate::live::output) fn picture(
        &mut self,
        sample: &Sample,
        arrival: Option<Instant>,
        opens_at: Option<i64>,
    ) {
        let Some(timeline) = self.running() else {
            return;
        };
        let Some(open) = timeline.recent.back_mut() else {
            return;
        };
        open.push(sample);
        let msn = open.msn;
        for brew in self
            .brews
            .iter_mut()
            .filter(|brew| brew.msn == msn && brew.is_live)
        {
            brew.give(Input::Picture(sample.clone()));
        }
        if let Steady::Running { transcoder, .. } = &mut self.steady {
            // If its thread is gone, its products end, which tells that it is lost.
            transcoder.video(sample.clone(), arrival, opens_at);
        }
        self.finish_brews(sample.dts);
    }

    /// The next of a sound: 0 is the source's, then each that is encoded.
    pub(in crate::live::output) fn sound(&mut self, index: usize, sample: &Sample) {
        let Some(timeline) = self.running() else {
            return;
        };
        let is_heard = timeline.plans.iter().any(|plan| plan.sound == Some(index));
        let Some(sounds) = timeline.sounds.get_mut(index).filter(|_| is_heard) else {
            return;
        };
        if sounds.back().is_some_and(|last| last.dts >= sample.dts) {
            return;
        }
        sounds.push_back(brew::alone(sample));
        for brew in self
            .brews
            .iter_mut()
            .filter(|brew| brew.is_live && brew.sound == Some(index))
        {
            brew.give(Input::Sound(sample.clone()));
        }
        self.finish_brews(i64::MIN);
    }

    /// Something is said at the newest moment.
    pub(in crate::live::output) fn say(&mut self, cue: &Cue) {
        let Some(timeline) = self.running() else {
            return;
        };
        timeline.say(cue.clone());
        let open = timeline.recent.back().map(|open| open.msn);
        let brews = self.brews.iter_mut();
        for brew in brews.filter(|brew| brew.is_live && Some(brew.msn) == open) {
            brew.give(Input::Cue(cue.clone()));
        }
    }

    /// The leader made a part.
    pub(in crate::live::output) fn span(&mut self, span: Span) {
        let Some(timeline) = self.running() else {
            return;
        };
        let Some(first) = timeline.recent.front_mut() else {
            return;
        };
        first.spans.push(span);
        let msn = first.msn;
        if span.closes_segment {
            timeline.recent.pop_front();
        }
        for brew in self
            .brews
            .iter_mut()
            .filter(|brew| brew.is_live && brew.msn == msn)
        {
            brew.give(Input::Span(span));
            brew.end = span.closes_segment.then_some(span.end);
        }
        self.finish_brews(i64::MIN);
    }

    /// Brews of segments that are complete have all as soon as their sound has come, or will not come: pictures are at
    /// `now`.
    fn finish_brews(&mut self, now: i64) {
        let Some(timeline) = self.timelines.back() else {
            return;
        };
        for brew in self.brews.iter_mut().filter(|brew| brew.is_live) {
            let Some(end) = brew.end else {
                continue;
            };
            let plan = timeline
                .rung_of(brew.slot)
                .map(|rung| &timeline.plans[rung]);
            let track = plan.and_then(|plan| plan.tracks.audio.as_ref());
            let last = brew
                .sound
                .and_then(|index| timeline.sounds.get(index)?.back());
            let is_heard = brew.sound.is_none()
                || last.is_some_and(|last| brew::sound_end(track, last) >= end);
            if is_heard || now.saturating_sub(LOST_SOUND) > end {
                brew.is_live = false;
                brew.finish();
            }
        }
    }

    /// What happens next. Cancel safe.
    pub(in crate::live::output) async fn next(&mut self) -> RungEvent {
        if let Some(notice) = self.notices.pop_front() {
            return RungEvent::Made(Some(notice));
        }
        let brews = &mut self.brews;
        let brewed = std::future::poll_fn(|context| {
            for brew in brews.iter_mut() {
                if let Poll::Ready(part) = brew.poll_part(context) {
                    return Poll::Ready(RungEvent::Brewed(brew.slot, brew.msn, part));
                }
            }
            Poll::Pending
        });
        tokio::select! {
            () = self.wake.notified() => RungEvent::Asked,
            event = self.steady.next() => event,
            event = brewed => event,
        }
    }

    /// Somebody asked.
    fn asked(&mut self, renditions: &[Rendition]) {
        for (slot, rendition) in renditions.iter().enumerate() {
            if let Some(demand) = &rendition.demand {
                self.wanted[slot].extend(demand.take_wanted());
            }
        }
        let asked = self.asked_rungs(renditions);
        self.start_steady(asked);
        self.want_open(asked, renditions);
    }

    /// Begins what is wanted and not begun; gives the segments that cannot be made.
    fn brew(&mut self, renditions: &[Rendition]) -> Vec<(usize, u64)> {
        let mut hopeless = Vec::new();
        for slot in 0..self.wanted.len() {
            for msn in std::mem::take(&mut self.wanted[slot]) {
                match self.begin_brew(slot, msn, renditions) {
                    Begun::Done => {}
                    Begun::Later => {
                        self.wanted[slot].insert(msn);
                    }
                    Begun::Never => hopeless.push((slot, msn)),
                }
            }
        }
        hopeless
    }

    fn begin_brew(&mut self, slot: usize, msn: u64, renditions: &[Rendition]) -> Begun {
        let of_slot = |brew: &&Brew| brew.slot == slot;
        if self
            .brews
            .iter()
            .filter(of_slot)
            .any(|brew| brew.msn == msn)
        {
            return Begun::Done;
        }
        let timelines = self.timelines.iter().rev();
        let Some(timeline) = timelines.into_iter().find(|t| t.first_msn <= msn) else {
            return Begun::Never;
        };
        let Some(rung) = timeline.rung_of(slot) else {
            return Begun::Never;
        };
        let plan = &timeline.plans[rung];
        let open = timeline.recent.iter().find(|recent| recent.msn == msn);
        let window = |slot: usize| renditions.get(slot).map(|rendition| &rendition.window);
        let (given, is_live) = if let Some(open) = open {
            if !renditions[slot].is_promising(open.spans.is_empty()) {
                return Begun::Done;
            }
            if open.pictures.is_empty() {
                return Begun::Later;
            }
            (under_way(timeline, plan, open), true)
        } else {
            // One at a time: each takes a processor.
            if self.brews.iter().filter(of_slot).any(|brew| !brew.is_live) {
                return Begun::Later;
            }
            let (Some(own), Some(leader)) = (window(slot), window(timeline.leader)) else {
                return Begun::Never;
            };
            if !own
                .segment(msn)
                .is_some_and(|segment| segment.is_promised())
            {
                return Begun::Done;
            }
            match complete(timeline, plan, (own, leader), msn) {
                Some(given) => (given, false),
                None => return Begun::Never,
            }
        };
        let Some(job) = timeline.job_of(rung, msn) else {
            return Begun::Never;
        };
        let start = open.map(|open| open.start).or_else(|| {
            let segment = window(slot)?.segment(msn)?;
            Some(segment.parts.first()?.start)
        });
        let order = Order {
            job,
            packaging: self.packaging.clone(),
            tracks: plan.tracks.clone(),
            shift: timeline.shift,
            clock: timeline.clock(renditions[slot].began, start.unwrap_or(0)),
        };
        let closed = open.and_then(|open| open.end);
        let (brew, run) = Brew::new((slot, msn), plan.sound, order, given, is_live);
        tracing::debug!(msn, slot, is_live, ?closed, "a segment is made on demand");
        metrics::counter!("weir_rung_segments_on_demand_total").increment(1);
        self.tasks.spawn_cancellable("segment on demand", run);
        self.brews.push(brew);
        Begun::Done
    }

    /// The source's parameter sets change with its next picture.
    pub(in crate::live::output) fn reconfigure(&mut self, config: &Arc<VideoConfig>) {
        if let Some(timeline) = self.running() {
            let from = timeline.first_msn + timeline.opened;
            timeline.videos.push((from, Arc::clone(config)));
        }
        match &mut self.steady {
            Steady::Running { transcoder, .. } => transcoder.video_config(Arc::clone(config)),
            // It was opened for what came before.
            Steady::Ready(_) | Steady::Starting(_) => self.steady = Steady::None,
            Steady::None => {}
        }
    }

    /// Forgets what can no longer be asked for.
    fn forget(&mut self, renditions: &[Rendition]) {
        let windows = renditions.iter().map(|rendition| &rendition.window);
        let oldest_msn = windows.map(Window::oldest_msn).min().unwrap_or(0);
        while self.timelines.len() > 1 && self.timelines[1].first_msn <= oldest_msn {
            self.timelines.pop_front();
        }
        if let Some(timeline) = self.timelines.front_mut() {
            let leader = renditions.get(timeline.leader);
            let oldest = leader.and_then(|leader| {
                let segment = leader.window.segment(timeline.first_msn.max(oldest_msn))?;
                Some(segment.parts.first()?.start)
            });
            timeline.trim(oldest_msn, oldest);
        }
        for wanted in &mut self.wanted {
            *wanted = wanted.split_off(&oldest_msn);
        }
    }

    /// No more pictures: the steady transcoder gives what is inside, and brews have all.
    pub(in crate::live::output) fn finish(&mut self) {
        if let Steady::Running { transcoder, .. } = &mut self.steady {
            transcoder.finish();
        }
    }

    /// What the steady transcoder still gives after [`OnDemand::finish`].
    pub(in crate::live::output) async fn next_tail(&mut self) -> Option<Made> {
        match &mut self.steady {
            Steady::Running { products, .. } => products.recv().await,
            _ => None,
        }
    }

    /// The timeline is over, and all its spans have come.
    pub(in crate::live::output) fn close(&mut self) {
        self.stop_steady();
        self.finish_brews(i64::MAX);
        for brew in &mut self.brews {
            brew.is_live = false;
            brew.finish();
        }
        if let Some(timeline) = self.running() {
            timeline.is_running = false;
            timeline.recent.clear();
        }
    }
}

/// What became of a wish for a segment.
enum Begun {
    /// It is being made, or is there.
    Done,
    /// Something else is first.
    Later,
    /// It cannot be made.
    Never,
}
