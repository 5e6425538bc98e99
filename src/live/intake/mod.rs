//! One publisher's events, decided: what becomes of each, without doing it.
//!
//! In:  media events in their order. Out: an [`Action`] each, carried out by `session`. Pure.
//! What the source sends changes at IDR pictures only. A GOP that runs over the segment's limit in
//! mid-stream, or a picture that stands still for so long while sound goes on: the top rendition is
//! transcoded from there on. A pause that ends with an IDR picture is a discontinuity only.
//! The newest GOP is kept: so what was encoded of it can be begun anew in its middle.
//! Not here: time limits, the playlists (`output`), which renditions there are (`plan`).

use std::sync::Arc;

use super::SourceConfig;
use super::health::{self, Code};
use super::start::{
    Gaps, Ready, STANDS_STILL, Start, Verdict, Way, constant_rate, long_gop, segment_limit_ms,
    unplayable,
};
use crate::ingest::{EndReason, MediaEvent, Metadata};
use crate::media::codec::video::Passing;
use crate::media::codec::{AudioConfig, VideoConfig, VideoKind};
use crate::media::{Sample, Timescale, TrackKind};
use crate::playlist::Config;
use crate::transcode::FrameRate;

/// Overruns in a row after which the keyframe interval is to blame, not a hiccup.
const MAX_OVERRUNS: u32 = 3;
/// A longer step between two pictures is a pause of the encoder: half a second.
const PAUSE_TICKS: i64 = 45_000;
/// A GOP shorter than this does not tell how fast pictures come: half a second.
const SHORTEST_LOOK: u64 = 45_000;
/// GOPs that are together shorter than this have no bitrate of their own: they share a segment. One second.
const SHORTEST_SPAN: u64 = 90_000;
/// Most bytes of the current GOP that are kept for a change to transcoding, or for transcoding it anew.
const MAX_GOP_BYTES: usize = 32 * 1024 * 1024;
/// Most pictures of it: no more than a transcoder takes at once, with the sound beside them.
const MAX_GOP_PICTURES: usize = 450;
/// Most frames of sound that are kept for it: ten seconds at 48 kHz.
const MAX_TAIL: usize = 470;

/// What to do with an event.
#[derive(Debug)]
pub(super) enum Action {
    /// Nothing.
    Wait,
    /// Tell the streamer.
    Tell(Code, String),
    /// Have it shown to all who watch.
    Say(String),
    /// The stream can begin: open the playlists and push what was held.
    Begin(Ready),
    /// Package the sample.
    Push(Sample),
    /// Begin a new timeline of this source with this IDR picture.
    Change(SourceConfig, Sample),
    /// The pictures of a transcoded stream change with this IDR picture; unless the renditions have to
    /// be others, no viewer needs to know.
    Reconfigure(SourceConfig, Sample),
    /// Transcode from the last picture among these samples on, which begin with its GOP; why, in words.
    Transcode(SourceConfig, Vec<Sample>, String),
    /// Transcode as before, from the last picture among these samples on, which begin with its GOP.
    Resume(SourceConfig, Vec<Sample>),
    /// Close what is open; nothing decodable follows before the next [`Action::Change`].
    Interrupt,
    /// The publisher's part is over.
    Leave(Ending),
}

/// What ends a publisher.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It said goodbye.
    Unpublished,
    /// It was lost, in words.
    Lost(String),
    /// It cannot be carried, in words for the streamer.
    Refused(String),
    /// What it sends is against the channel's rules.
    Breach {
        /// For the event that tells the end.
        code: &'static str,
        /// For the streamer.
        words: String,
    },
}

/// What may be done with a publisher's stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    /// Its playlists' grid.
    pub(super) grid: Config,
    /// Whether the channel's type passes sources through.
    pub(super) may_pass: bool,
    /// Whether a source that cannot pass is transcoded; else it is refused.
    pub(super) may_transcode: bool,
}

impl Means {
    /// Whether these pictures need others encoded beside them, which is not allowed: not every player takes them.
    fn lacks_encoder(&self, video: &VideoConfig) -> bool {
        !self.may_transcode && video.kind() != VideoKind::Avc
    }
}

fn needs_encoder(video: &VideoConfig) -> String {
    let name = video.kind().name();
    format!("{name} has to be transcoded for most players, and this channel is not; send H.264")
}

/// The state of one publisher.
#[derive(Debug)]
pub(super) struct Intake {
    means: Means,
    metadata: Metadata,
    /// The audio configuration in force.
    audio: Option<Arc<AudioConfig>>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The first GOP is held.
    Starting(Start),
    /// Samples flow.
    Live(Live),
}

/// A stream that has begun; `wanted` becomes `current` at the next IDR picture.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Live {
    grid: Config,
    current: SourceConfig,
    wanted: SourceConfig,
    is_passing: bool,
    /// Nothing can be decoded before the next IDR picture.
    is_interrupted: bool,
    /// Whether the GOP since the last IDR picture has kept to the limit.
    is_within: bool,
    /// GOPs in a row that have not.
    overruns: u32,
    /// The pictures since the last IDR picture; none if they are too many.
    gop: Vec<Sample>,
    gop_bytes: usize,
    has_paused: bool,
    /// The sound since the last picture, while the source is passed through.
    tail: Vec<Sample>,
    /// When the last frame of sound begins, in the pictures' ticks.
    heard: i64,
    /// By how much sound was ahead when the last picture came.
    lead: i64,
    /// Frames per 1000 seconds that the renditions were planned for; those of the frame grid, if there is one.
    fps_millis: u32,
    /// The GOP under way: its first decoding time, its pictures and their bytes.
    pace: (i64, u32, usize),
    /// Whether the GOP under way is the first of a changed source.
    is_changed: bool,
    measured: Measured,
    /// Bits and ticks that were measured: in all, and since the last span was long enough.
    total: (u64, u64),
    span: (u64, u64),
}

/// What was measured of a source's pictures since they are what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measured {
    /// Frames per 1000 seconds, if that is not what the renditions were planned for.
    pub(super) fps_millis: Option<u32>,
    /// The frame grid that is needed, if pictures come faster than the one there is.
    pub(super) rate: Option<FrameRate>,
    /// Bits per second of all whole GOPs; 0 before the first.
    pub(super) mean_bps: u64,
    /// Bits per second of the largest one, or of those that make a second together.
    pub(super) peak_bps: u64,
}

impl Intake {
    /// A publisher that has sent nothing yet.
    pub(super) fn new(means: Means) -> Self {
        let phase = Phase::Starting(Start::new(means.grid, means.may_pass));
        Self {
            means,
            metadata: Metadata::default(),
            audio: None,
            phase,
        }
    }

    /// Whether its stream is being packaged.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// Bits per second of both tracks as the encoder declares them, if it declares the video's.
    pub(super) fn declared_bps(&self) -> Option<u64> {
        health::declared_bps(&self.metadata)
    }

    /// Decides an event.
    pub(super) fn take(&mut self, event: MediaEvent) -> Action {
        match event {
            MediaEvent::End(EndReason::Unpublished) => return Action::Leave(Ending::Unpublished),
            MediaEvent::End(EndReason::Lost(reason)) => return Action::Leave(Ending::Lost(reason)),
            MediaEvent::End(EndReason::Refused { code, words }) => {
                return Action::Leave(Ending::Breach { code, words });
            }
            MediaEvent::TracksUnused(words) => return Action::Tell(Code::TracksUnused, words),
            MediaEvent::Notice(words) => return Action::Tell(Code::AudioUnsupported, words),
            MediaEvent::Text(text) => return Action::Say(text),
            MediaEvent::Trouble(_) | MediaEvent::OtherTrack(..) => {}
            MediaEvent::AudioConfig(config) => return self.audio_config(&config),
            MediaEvent::Sample(sample) => return self.sample(sample),
            MediaEvent::Metadata(metadata) => self.metadata = metadata,
            MediaEvent::VideoConfig(config) => match &mut self.phase {
                Phase::Starting(start) => start.video_config(config),
                Phase::Live(live) => live.wanted.video = config,
            },
        }
        Action::Wait
    }

    /// Any sound that is taken is carried; what players do not take as it is, is told and transcoded, or left out
    /// where that is not wanted.
    fn audio_config(&mut self, config: &Arc<AudioConfig>) -> Action {
        let words = config.describe();
        let is_passable = config.is_widely_playable();
        let is_carried = config.is_stereo_or_mono_lc() || self.means.may_transcode;
        self.audio = is_carried.then(|| Arc::clone(config));
        match (&mut self.phase, &self.audio) {
            (Phase::Starting(start), Some(audio)) => start.audio_config(Arc::clone(audio)),
            // A configuration promises nothing: only samples make a track.
            (Phase::Live(live), None) => live.wanted.audio = None,
            _ => {}
        }
        match (is_carried, is_passable) {
            (true, true) => Action::Wait,
            (true, false) if self.means.may_transcode => Action::Tell(
                Code::AudioTranscoded,
                format!(
                    "the audio ({words}) is transcoded to stereo; AAC-LC stereo at 48000 Hz passes as it is"
                ),
            ),
            (true, false) => Action::Tell(
                Code::AudioUnusual,
                format!("the audio ({words}) is passed on as it is; 48000 Hz is safer"),
            ),
            (false, _) => Action::Tell(
                Code::AudioUnsupported,
                format!("the audio ({words}) cannot be carried: send AAC-LC stereo"),
            ),
        }
    }

    fn sample(&mut self, sample: Sample) -> Action {
        if self.audio.is_none() && sample.track == TrackKind::Audio {
            return Action::Wait;
        }
        match &mut self.phase {
            Phase::Starting(start) => {
                let verdict = start.push(sample);
                self.started(verdict)
            }
            Phase::Live(live) if sample.track == TrackKind::Audio => {
                let limit = segment_limit_ms(&self.means.grid) * 90;
                let action = live.sound(sample, self.audio.as_ref());
                match action {
                    Action::Push(_) if self.means.may_transcode && live.stands_still(limit) => {
                        live.transcode(STANDS_STILL.to_owned())
                    }
                    action => action,
                }
            }
            Phase::Live(live) if live.can_resume(&sample) => live.resume(&sample),
            Phase::Live(live) if self.means.may_transcode && live.has_stood_still(&sample) => {
                live.keep(&sample);
                live.transcode(STANDS_STILL.to_owned())
            }
            Phase::Live(live) => match live.picture(sample) {
                Action::Change(source, _) if self.means.lacks_encoder(&source.video) => {
                    Action::Leave(Ending::Refused(needs_encoder(&source.video)))
                }
                Action::Change(source, _)
                    if live.is_passing
                        && self.means.may_transcode
                        && source.video.passing() == Passing::Never =>
                {
                    live.transcode(unplayable(&source.video))
                }
                action => action,
            },
        }
    }

    fn started(&mut self, verdict: Verdict) -> Action {
        match verdict {
            Verdict::Hold => Action::Wait,
            Verdict::Refuse(words) => Action::Leave(Ending::Refused(words)),
            Verdict::Go(ready) => {
                if let Way::Transcode { reason, .. } = &ready.way
                    && !self.means.may_transcode
                {
                    return Action::Leave(Ending::Refused(reason.clone().unwrap_or_default()));
                }
                if self.means.lacks_encoder(&ready.source.video) {
                    let words = needs_encoder(&ready.source.video);
                    return Action::Leave(Ending::Refused(words));
                }
                let live = Live::new(&ready, self.means.grid);
                self.phase = Phase::Live(live);
                Action::Begin(ready)
            }
        }
    }

    /// What was encoded of this stream is lost: it begins anew at the next IDR picture; one that is
    /// transcoded, `at_once`, with whatever picture is next. Whether it can.
    pub(super) fn start_anew(&mut self, at_once: bool) -> bool {
        let Phase::Live(live) = &mut self.phase else {
            return false;
        };
        live.is_interrupted = true;
        if !live.is_passing && !at_once {
            live.gop.clear();
        }
        !live.is_passing && !live.gop.is_empty()
    }

    /// Whether the transcoder's frames are the stream's clock from now on, whatever the source could be.
    pub(super) fn is_led_by_ticks(&mut self, is_led: bool) {
        if let Phase::Live(live) = &mut self.phase {
            live.is_passing = !is_led;
            if is_led {
                live.tail.clear();
            }
        }
    }

    /// What was measured of the pictures since the stream is live, or since they have changed.
    pub(super) fn measured(&self) -> Measured {
        match &self.phase {
            Phase::Live(live) => live.measured,
            Phase::Starting(_) => Measured::default(),
        }
    }

    /// The open segment has no room for `sample`: the encoder paused, its source jumped, or its
    /// keyframe interval is too long after all.
    pub(super) fn overrun(&mut self, sample: Sample) -> Action {
        let Phase::Live(live) = &mut self.phase else {
            return Action::Wait;
        };
        live.overruns += 1;
        live.is_within = false;
        let is_over = live.has_paused && sample.is_sync && live.overruns < MAX_OVERRUNS;
        let words = long_gop(&self.means.grid);
        if !is_over && self.means.may_transcode && !live.gop.is_empty() {
            return live.transcode(words);
        }
        if live.overruns >= MAX_OVERRUNS {
            return Action::Leave(Ending::Refused(words));
        }
        if sample.is_sync {
            return Action::Change(live.current.clone(), sample);
        }
        live.is_interrupted = true;
        Action::Interrupt
    }
}

impl Live {
    fn new(ready: &Ready, grid: Config) -> Self {
        let mut live = Self {
            grid,
            current: ready.source.clone(),
            wanted: ready.source.clone(),
            is_passing: ready.way == Way::Pass,
            is_interrupted: false,
            is_within: true,
            overruns: 0,
            gop: Vec::new(),
            gop_bytes: 0,
            has_paused: false,
            tail: Vec::new(),
            heard: i64::MIN,
            lead: 0,
            fps_millis: match &ready.way {
                Way::Pass => ready.fps_millis,
                Way::Transcode { rate, .. } => rate.fps_millis(),
            },
            pace: (0, 0, 0),
            is_changed: false,
            measured: Measured::default(),
            total: (0, 0),
            span: (0, 0),
        };
        for sample in ready.samples.iter().filter(|s| s.track == TrackKind::Video) {
            live.keep(sample);
            live.count(sample);
        }
        live
    }

    fn count(&mut self, sample: &Sample) {
        if sample.is_sync {
            self.pace = (sample.dts, 0, 0);
        }
        self.pace.1 += 1;
        self.pace.2 += sample.data.len();
    }

    /// Keeps the picture for the case that the top rendition has to be transcoded from here on.
    fn keep(&mut self, sample: &Sample) {
        self.tail.clear();
        self.lead = self.heard.saturating_sub(sample.dts).max(0);
        let pause = self.gop.last().map_or(0, |last| sample.dts - last.dts);
        self.has_paused |= pause > PAUSE_TICKS;
        if sample.is_sync {
            self.gop.clear();
            (self.gop_bytes, self.has_paused) = (0, pause > PAUSE_TICKS);
        } else if self.gop.is_empty() {
            return;
        }
        self.gop_bytes += sample.data.len();
        if self.gop_bytes > MAX_GOP_BYTES || self.gop.len() >= MAX_GOP_PICTURES {
            return self.gop.clear();
        }
        self.gop.push(sample.clone());
    }

    fn sound(&mut self, sample: Sample, config: Option<&Arc<AudioConfig>>) -> Action {
        if self.wanted.audio.as_ref() != config {
            self.wanted.audio = config.cloned();
        }
        let Some(config) = self.current.audio.as_ref() else {
            return Action::Wait;
        };
        if self.current.audio != self.wanted.audio || self.is_interrupted {
            return Action::Wait;
        }
        self.heard = config.timescale().convert(sample.dts, Timescale::VIDEO);
        if self.is_passing && self.tail.len() < MAX_TAIL {
            self.tail.push(sample.clone());
        }
        Action::Push(sample)
    }

    /// Whether sound shows that the open segment has waited for pictures beyond its `limit`.
    fn stands_still(&self, limit: i64) -> bool {
        let now = self.heard.saturating_sub(self.lead);
        let (Some(first), Some(last)) = (self.gop.first(), self.gop.last()) else {
            return false;
        };
        self.is_passing && now - first.dts > limit && now - last.dts > PAUSE_TICKS
    }

    /// Whether the playlists went on without the pictures of an encoder that had none to send: the next one comes in
    /// the middle of a GOP. What is only late, because the network stood still, is not that.
    fn has_stood_still(&self, sample: &Sample) -> bool {
        let Some(last) = self.gop.last().filter(|_| self.is_interrupted) else {
            return false;
        };
        self.is_passing && !sample.is_sync && sample.dts - last.dts > PAUSE_TICKS
    }

    fn transcode(&mut self, words: String) -> Action {
        self.is_passing = false;
        self.is_interrupted = false;
        let mut samples = self.gop.clone();
        samples.append(&mut self.tail);
        Action::Transcode(self.current.clone(), samples, words)
    }

    /// Whether a stream whose encoding was lost can go on with a picture in the middle of its GOP.
    fn can_resume(&self, sample: &Sample) -> bool {
        let is_lost = self.is_interrupted && !self.is_passing;
        let is_same = self.current.video == self.wanted.video;
        is_lost && is_same && !sample.is_sync && !self.gop.is_empty()
    }

    fn resume(&mut self, sample: &Sample) -> Action {
        self.keep(sample);
        if self.gop.is_empty() {
            return Action::Wait; // It has become too much.
        }
        self.is_interrupted = false;
        Action::Resume(self.current.clone(), self.gop.clone())
    }

    /// At the IDR picture that ends a GOP: whether its frame rate is so different that the renditions must be planned
    /// anew.
    fn measure(&mut self, dts: i64) -> bool {
        let (first, pictures, bytes) = self.pace;
        let is_first = std::mem::take(&mut self.is_changed);
        let ticks = u64::try_from(dts.saturating_sub(first)).unwrap_or(0);
        if ticks == 0 || pictures < 2 {
            return false;
        }
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8);
        let bps = |bits: u64, ticks: u64| bits.saturating_mul(90_000) / ticks;
        self.total = (self.total.0.saturating_add(bits), self.total.1 + ticks);
        self.measured.mean_bps = bps(self.total.0, self.total.1);
        self.span = (self.span.0.saturating_add(bits), self.span.1 + ticks);
        if self.span.1 >= SHORTEST_SPAN {
            let (bits, ticks) = std::mem::take(&mut self.span);
            self.measured.peak_bps = self.measured.peak_bps.max(bps(bits, ticks));
        }
        let gaps = self.gaps(dts);
        let usual = gaps.fps_millis(None);
        let fps_millis = if usual == 0 || gaps.is_uneven() {
            u32::try_from(u64::from(pictures) * 90_000_000 / ticks).unwrap_or(u32::MAX)
        } else {
            usual
        };
        let known = self.fps_millis;
        // Of more the frame grid, or an encoder that halves or expects fewer, would be wrong; of fewer none is.
        let is_faster = |rate: u32| ticks >= SHORTEST_LOOK && rate > known + known / 6;
        if self.is_passing {
            let is_other = if is_first {
                fps_millis.abs_diff(known) > known / 20
            } else {
                // Not if they came faster from the GOP's middle on.
                is_faster(fps_millis) && !gaps.is_uneven()
            };
            if is_first || is_other {
                // One GOP of rounded timestamps: a rate that encoders have is meant.
                let meant = FrameRate::near(fps_millis).fps_millis();
                self.fps_millis = meant;
                self.measured.fps_millis = Some(meant);
            }
            return is_other;
        }
        let rate = constant_rate(&self.grid, fps_millis);
        let is_other = is_faster(rate.fps_millis());
        if is_other {
            self.fps_millis = rate.fps_millis();
            (self.measured.fps_millis, self.measured.rate) = (Some(fps_millis), Some(rate));
        }
        is_other
    }

    /// The distances between the pictures of the GOP that ends at `dts`.
    fn gaps(&self, dts: i64) -> Gaps {
        let mut gaps = Gaps::default();
        let times = self.gop.iter().map(|sample| sample.dts);
        times.chain([dts]).for_each(|dts| gaps.note(dts));
        gaps
    }

    fn picture(&mut self, sample: Sample) -> Action {
        if self.is_interrupted && !sample.is_sync {
            return Action::Wait;
        }
        let has_other_rate = sample.is_sync && self.measure(sample.dts);
        self.keep(&sample);
        self.count(&sample);
        if !sample.is_sync {
            return Action::Push(sample);
        }
        if self.is_within {
            self.overruns = 0;
        }
        self.is_within = true;
        if !self.is_interrupted && self.current == self.wanted && !has_other_rate {
            return Action::Push(sample);
        }
        let is_hidden =
            !self.is_passing && !self.is_interrupted && self.current.audio == self.wanted.audio;
        self.is_changed = self.current.video != self.wanted.video;
        if self.is_changed {
            (self.measured.mean_bps, self.measured.peak_bps) = (0, 0);
            (self.total, self.span) = ((0, 0), (0, 0));
        }
        self.current.clone_from(&self.wanted);
        self.is_interrupted = false;
        if is_hidden {
            return Action::Reconfigure(self.current.clone(), sample);
        }
        Action::Change(self.current.clone(), sample)
    }
}

#[cfg(test)]
mod tests;
