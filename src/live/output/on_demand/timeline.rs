//! What the rungs of one timeline are made of.
//!
//! In:  the leader's pictures and spans, the sounds. Out: all of a segment, complete or under way, for who makes it; what
//! a rung begins with that turns warm. Not here: who wants what, and when (`on_demand`).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::clock::WallTime;
use crate::live::output::ENCODED_AUDIO_WAIT;
use crate::live::output::brew::{self, Input};
use crate::media::codec::VideoConfig;
use crate::media::{Sample, Timescale, Tracks};
use crate::packaging::segmenter::Span;
use crate::packaging::{self, Cue, Packager, pictures};
use crate::playlist::Window;
use crate::transcode::Job;

/// Most bytes of a segment under way that are kept; a larger one can be made when it is complete.
const MAX_OPEN_BYTES: usize = 16 * 1024 * 1024;
/// Most cues that are kept, the newest: those of three minutes at the five a second that a channel's owner has.
const MAX_CUES: usize = 900;

/// What makes the rungs of one timeline.
pub(super) struct Timeline {
    /// Number of its first segment.
    pub(super) first_msn: u64,
    /// All rungs, without sound.
    pub(super) job: Job,
    pub(super) leader: usize,
    /// By rung.
    pub(super) plans: Vec<RungPlan>,
    /// The source's sound, then each that is encoded: of the window's length.
    pub(super) sounds: Vec<VecDeque<Sample>>,
    pub(super) shift: i64,
    /// Where the first segment opened.
    origin: i64,
    /// What has been said in it, of the window's length.
    cues: VecDeque<Cue>,
    /// How many segments have opened.
    pub(super) opened: u64,
    /// Segments of which not all spans have come.
    pub(super) recent: VecDeque<Recent>,
    /// The source's configurations, each with the number of the first segment that has it.
    pub(super) videos: Vec<(u64, Arc<VideoConfig>)>,
    pub(super) is_running: bool,
}

/// One rung of a timeline.
pub(super) struct RungPlan {
    pub(super) slot: usize,
    pub(super) tracks: Tracks,
    /// Which of the timeline's sounds it has, and whether that is encoded.
    pub(super) sound: Option<usize>,
}

/// A segment under way.
pub(super) struct Recent {
    pub(super) msn: u64,
    pub(super) start: i64,
    pub(super) pictures: Vec<Sample>,
    bytes: usize,
    pub(super) spans: Vec<Span>,
    /// When the next one opened.
    pub(super) end: Option<i64>,
}

impl Recent {
    /// One that opens at `start`.
    fn new(msn: u64, start: i64) -> Self {
        Self {
            msn,
            start,
            pictures: Vec::new(),
            bytes: 0,
            spans: Vec::new(),
            end: None,
        }
    }

    /// Its next picture; of one that is too large none is kept.
    pub(super) fn push(&mut self, sample: &Sample) {
        self.bytes += sample.data.len();
        if self.bytes <= MAX_OPEN_BYTES {
            self.pictures.push(sample.clone());
        } else {
            self.pictures = Vec::new();
        }
    }
}

impl Timeline {
    pub(super) fn new(
        (first_msn, leader): (u64, usize),
        job: Job,
        plans: Vec<RungPlan>,
        encodes: usize,
    ) -> Self {
        Self {
            first_msn,
            leader,
            plans,
            sounds: vec![VecDeque::new(); encodes + 1],
            shift: 0,
            origin: 0,
            cues: VecDeque::new(),
            opened: 0,
            recent: VecDeque::new(),
            videos: vec![(first_msn, Arc::clone(&job.video))],
            is_running: true,
            job,
        }
    }

    /// A segment opens with the leader's picture at `dts`.
    pub(super) fn open(&mut self, dts: i64, shift: i64) {
        self.shift = shift;
        if let Some(last) = self.recent.back_mut() {
            last.end = Some(dts);
        }
        if self.opened == 0 {
            self.origin = dts;
        }
        let msn = self.first_msn + self.opened;
        self.opened += 1;
        self.recent.push_back(Recent::new(msn, dts));
    }

    /// What the wall clock said at `start`, if it said `began` when the timeline began.
    pub(super) fn clock(&self, began: WallTime, start: i64) -> WallTime {
        let since = Timescale::VIDEO.convert(start - self.origin, Timescale::MILLIS);
        began.plus_millis(since)
    }

    /// Something is said.
    pub(super) fn say(&mut self, cue: Cue) {
        if self.cues.len() == MAX_CUES {
            self.cues.pop_front();
        }
        self.cues.push_back(cue);
    }

    /// What was said from `start` on and before `end`.
    fn said(&self, start: i64, end: i64) -> impl Iterator<Item = Input> {
        let first = self.cues.partition_point(|cue| cue.at < start);
        let cues = self.cues.iter().skip(first);
        let cues = cues.take_while(move |cue| cue.at < end);
        cues.cloned().map(Input::Cue)
    }

    /// The rung that is a rendition.
    pub(super) fn rung_of(&self, slot: usize) -> Option<usize> {
        self.plans.iter().position(|plan| plan.slot == slot)
    }

    /// The job of one rung for segment `msn`, for which it takes its time.
    pub(super) fn job_of(&self, rung: usize, msn: u64) -> Option<Job> {
        let known = self.videos.iter().rev().find(|(from, _)| *from <= msn)?;
        Some(Job {
            video: Arc::clone(&known.1),
            rungs: vec![self.job.rungs.get(rung)?.clone()],
            is_patient: true,
            ..self.job.clone()
        })
    }

    /// The sound of a rung from `start` on, up to the first that ends at `end` or later.
    fn sound(&self, plan: &RungPlan, start: i64, end: i64) -> impl Iterator<Item = Input> {
        let ends = |sample: &Sample| brew::sound_end(plan.tracks.audio.as_ref(), sample);
        let all = plan.sound.and_then(|index| self.sounds.get(index));
        let (mut first, mut last) = (0, 0);
        if let Some(all) = all {
            first = all.partition_point(|sample| ends(sample) <= start);
            last = all.partition_point(|sample| ends(sample) < end) + 1;
        }
        let given = all.into_iter().flatten().take(last).skip(first);
        given.cloned().map(Input::Sound)
    }

    /// Forgets what no segment from `oldest_msn` on needs, the first of which begins at `start`.
    pub(super) fn trim(&mut self, oldest_msn: u64, start: Option<i64>) {
        let later = self.videos.iter().filter(|(from, _)| *from <= oldest_msn);
        let outdated = later.count().saturating_sub(1);
        self.videos.drain(..outdated);
        let Some(start) = start else { return };
        let over = self.cues.partition_point(|cue| cue.at < start);
        self.cues.drain(..over);
        for (index, sounds) in self.sounds.iter_mut().enumerate() {
            let mut plans = self.plans.iter();
            let plan = plans.find(|plan| plan.sound == Some(index));
            let track = plan.and_then(|plan| plan.tracks.audio.as_ref());
            let is_over =
                |sample: &Sample| track.is_none() || brew::sound_end(track, sample) <= start;
            let over = sounds.partition_point(is_over);
            sounds.drain(..over);
        }
    }
}

/// What fills a rung from the segment on that opens now.
pub(super) fn warmed(
    config: &packaging::Config,
    timeline: &Timeline,
    plan: &RungPlan,
    began: WallTime,
) -> Result<Packager, packaging::Error> {
    let mut packager = Packager::following(config, plan.tracks.clone())?;
    if plan.sound.is_some_and(|index| index > 0) {
        packager.wait_for_audio(ENCODED_AUDIO_WAIT);
    }
    // Sound may be ahead of the picture that opens the segment; what is before that is dropped.
    let start = timeline.recent.back().map_or(i64::MAX, |open| open.start);
    packager.set_clock(timeline.clock(began, start));
    for input in timeline.sound(plan, start, i64::MAX) {
        if let Input::Sound(sound) = input {
            packager.push(sound)?;
        }
    }
    Ok(packager)
}

/// All there is of a segment under way.
pub(super) fn under_way(timeline: &Timeline, plan: &RungPlan, open: &Recent) -> Vec<Input> {
    let pictures = open.pictures.iter().cloned().map(Input::Picture);
    let mut given: Vec<_> = pictures.collect();
    given.extend(timeline.sound(plan, open.start, i64::MAX));
    given.extend(timeline.said(open.start, open.end.unwrap_or(i64::MAX)));
    given.extend(open.spans.iter().copied().map(Input::Span));
    given
}

/// All of a complete segment, its pictures from the leader's window; none if that does not have it.
pub(super) fn complete(
    timeline: &Timeline,
    plan: &RungPlan,
    (own, leader): (&Window, &Window),
    msn: u64,
) -> Option<Vec<Input>> {
    let (own, source) = (own.segment(msn)?, leader.segment(msn)?);
    let parts = source.parts.iter().flat_map(|part| pictures(&part.bytes));
    let mut given: Vec<_> = parts.map(Input::Picture).collect();
    if given.is_empty() {
        return None;
    }
    let spans: Vec<_> = own.parts.iter().map(|part| part.span()).collect();
    let (start, end) = (spans.first()?.start, spans.last()?.end);
    given.extend(timeline.sound(plan, start, end));
    given.extend(timeline.said(start, end));
    given.extend(spans.into_iter().map(Input::Span));
    Some(given)
}
