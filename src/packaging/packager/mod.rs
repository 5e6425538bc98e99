//! Drives the cut rules and the box writers: samples of both tracks in, parts out.
//!
//! In:  [`Sample`]s, the tracks interleaved as they came; a follower's spans. Out: [`Part`]s, by
//! [`Packager::poll`]. Not here: the cut rules themselves (`segmenter`), boxes (`fragment`, `init`).
//!
//! A *leader* cuts by its own samples. A *follower* is given spans, and each becomes one part: of the
//! samples that begin in it, or a gap if none came. What comes for a span after its part is dropped.
//!
//! The video decides where a part ends. Audio that ends by that moment belongs to the part, which
//! waits for it, but not for ever: once the video is 100 ms past the boundary, audio that comes
//! later goes into the next part, as does the sample across the boundary (encoders interleave by
//! time, so waiting for its successor would delay every part by up to an AAC frame). A sample
//! leaves only when its successor has come, so that its duration is the distance to it; each
//! track's parts are thus contiguous whatever arrives.
//! Sound alone lasts as long as its parts say: silence fills what is missing before its first sample and
//! after its last.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::cue::Said;
use super::fragment::{self, Run};
use super::segmenter::{Segmenter, Span};
use super::{AUDIO_TRACK_ID, Config, Cue, Error, InitSection, Part, VIDEO_TRACK_ID};
use crate::base::clock::WallTime;
use crate::media::codec::aac;
use crate::media::{AudioTrack, Sample, Timescale, TrackKind, Tracks};

/// How far the video may pass a part's end before the part stops waiting for audio: 100 ms.
const MAX_AUDIO_WAIT: i64 = 9_000;
/// How much audio is kept while no video sync sample has come: 1 s.
const MAX_EARLY_AUDIO: i64 = 90_000;
/// Most bytes that may wait; the largest part of a 1 Gb/s stream is below.
const MAX_HELD_BYTES: usize = 64 << 20;
/// Ticks no stream reaches; below, no sum of times overflows.
const MAX_DTS: i64 = 1 << 60;
/// How much audio a follower keeps while it has no span: more than a start is held, with segments of
/// ten seconds, too.
const MAX_UNCLAIMED_AUDIO: i64 = 12 * 90_000;
/// How far the last part's audio may go beyond its pictures: half a second.
const MAX_TAIL: i64 = 45_000;
/// Most spans a follower owes; the oldest become gaps. More than ten seconds in parts of 100 ms.
const MAX_OWED: usize = 128;
/// What a sample costs beside its data.
const SAMPLE_OVERHEAD_BYTES: usize = 64;

/// Packages one rendition, from its first sync sample to its end.
///
/// Per sample: [`push`](Self::push), then [`poll`](Self::poll) until `None`. At the end, or after
/// an error: [`finish`](Self::finish), then `poll` until `None`.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Packager {
    init: Arc<InitSection>,
    /// A leader's; a follower has none.
    segmenter: Option<Segmenter>,
    spans: VecDeque<Span>,
    /// A follower's: how many of the oldest spans are gaps already.
    given_up: usize,
    /// A follower's: no picture that begins before this is to come.
    video_until: i64,
    /// The last picture before this was lost.
    lost_until: i64,
    /// A follower's: what it heard last of its pictures is that they are lost.
    is_losing: bool,
    /// A follower's: end of the last span that became a part.
    done_until: i64,
    /// A follower's: only a sync sample can be decoded next.
    needs_sync: bool,
    max_audio_wait: i64,
    /// The last part was made without its sound.
    is_mute: bool,
    /// Sound alone: a frame of silence.
    silence: Option<Bytes>,
    /// A follower's: the end is near, so the last span waits for it to take what is left.
    is_ending: bool,
    video: Queue,
    audio: Queue,
    /// Decoding time of the first video sample that is carried.
    origin: Option<i64>,
    /// Its composition offset: how far the encoder's B-frames put presentation behind decoding.
    decode_shift: i32,
    /// A leader's: the same of the first picture of the open segment.
    segment_shift: i32,
    said: Said,
    next_sequence_number: u32,
    is_finished: bool,
}

impl Packager {
    /// A leader: a packager of `tracks` on the grid of `config`.
    pub fn new(config: &Config, tracks: Tracks) -> Result<Self, Error> {
        let segmenter = Some(Segmenter::new(config, tracks.audio.is_some()));
        Self::with(config, tracks, segmenter)
    }

    /// A follower: its spans come by [`push_span`](Self::push_span). It is never in error about
    /// times.
    pub fn following(config: &Config, tracks: Tracks) -> Result<Self, Error> {
        Self::with(config, tracks, None)
    }

    fn with(config: &Config, tracks: Tracks, segmenter: Option<Segmenter>) -> Result<Self, Error> {
        config.validate()?;
        let audio_timescale = tracks
            .audio
            .as_ref()
            .map_or(Timescale::VIDEO, AudioTrack::timescale);
        Ok(Self {
            init: Arc::new(InitSection::new(tracks)),
            segmenter,
            spans: VecDeque::new(),
            given_up: 0,
            video_until: i64::MIN,
            lost_until: i64::MIN,
            is_losing: false,
            done_until: i64::MIN,
            needs_sync: true,
            max_audio_wait: MAX_AUDIO_WAIT,
            is_mute: false,
            silence: None,
            is_ending: false,
            video: Queue::new(Timescale::VIDEO),
            audio: Queue::new(audio_timescale),
            origin: None,
            decode_shift: 0,
            segment_shift: 0,
            said: Said::default(),
            next_sequence_number: 1,
            is_finished: false,
        })
    }

    /// The initialization section of all parts.
    pub fn init(&self) -> &Arc<InitSection> {
        &self.init
    }

    /// How far presentation is behind decoding on this timeline, in ticks.
    pub fn decode_shift(&self) -> i64 {
        self.decode_shift.into()
    }

    /// Takes the next sample; whether it opened a segment (a leader's). Video before the first sync
    /// sample is dropped, and so is audio that ends before that, and any audio if the tracks have
    /// none.
    pub fn push(&mut self, sample: Sample) -> Result<bool, Error> {
        let held_bytes = self.video.bytes + self.audio.bytes + cost(&sample);
        if held_bytes > MAX_HELD_BYTES {
            return Err(Error::TooMuchHeld { held_bytes });
        }
        match (sample.track, &self.init.tracks) {
            (TrackKind::Video, Tracks { video: None, .. })
            | (TrackKind::Audio, Tracks { audio: None, .. }) => Ok(false),
            (TrackKind::Video, _) if self.segmenter.is_none() => {
                self.follow_video(sample);
                Ok(false)
            }
            (TrackKind::Video, _) => self.push_video(sample),
            (TrackKind::Audio, _) => self.push_audio(sample),
        }
    }

    fn push_video(&mut self, sample: Sample) -> Result<bool, Error> {
        if self.origin.is_none() && !sample.is_sync {
            return Ok(false);
        }
        self.video.check_order(&sample)?;
        let Some(segmenter) = &mut self.segmenter else {
            return Ok(false);
        };
        if !sample.is_sync && self.origin.is_some() {
            // The pictures shown before it come behind it. They have to fit, too: else the timeline would end without
            // some of the pictures before the last one that it shows.
            segmenter.check_room(sample.pts() - i64::from(self.segment_shift), false)?;
        }
        let has_opened = segmenter.push(sample.dts, sample.is_sync)?;
        if has_opened {
            self.segment_shift = sample.composition_offset.max(0);
        }
        self.spans.extend(std::iter::from_fn(|| segmenter.poll()));
        if self.origin.is_none() {
            self.origin = Some(sample.dts);
            self.decode_shift = sample.composition_offset.max(0);
            self.drop_early_audio();
        }
        self.video.push(sample);
        Ok(has_opened)
    }

    /// A follower's picture, unless its span is over or nothing could decode it.
    fn follow_video(&mut self, sample: Sample) {
        let is_late = sample.dts < self.done_until || sample.dts <= self.video.last_dts;
        if is_late || sample.dts > MAX_DTS || (self.needs_sync && !sample.is_sync) {
            // After a lost picture the next ones cannot be decoded: a span without others is a gap.
            self.needs_sync |= is_late;
            self.lost_until = self.lost_until.max(sample.dts.min(MAX_DTS) + 1);
            metrics::counter!("weir_late_pictures_total").increment(1);
            return;
        }
        (self.needs_sync, self.is_losing) = (false, false);
        if self.video.last_dts < 0 {
            self.decode_shift = sample.composition_offset.max(0);
        }
        self.video.push(sample);
    }

    fn push_audio(&mut self, sample: Sample) -> Result<bool, Error> {
        if let Err(error) = self.audio.check_order(&sample) {
            return match self.segmenter {
                Some(_) => Err(error),
                None => Ok(false),
            };
        }
        self.audio.push(sample);
        self.is_mute = false;
        self.drop_early_audio();
        Ok(false)
    }

    /// Gives a follower the next span.
    pub fn push_span(&mut self, span: Span) {
        if self.origin.is_none() {
            self.origin = Some(span.start);
            self.drop_early_audio();
        }
        self.spans.push_back(span);
        if self.spans.len() > MAX_OWED {
            self.given_up = self.given_up.max(self.spans.len() - MAX_OWED);
        }
    }

    /// Tells a follower that no picture which begins before `until` will come any more.
    /// `is_lost`: the last one before it was lost, and is not just missing in the source: a span without
    /// pictures is a gap then, although it has sound.
    pub fn video_until(&mut self, until: i64, is_lost: bool) {
        self.video_until = self.video_until.max(until);
        self.is_losing = is_lost;
        if is_lost {
            self.lost_until = self.lost_until.max(until);
        }
    }

    /// Tells a follower that [`finish`](Self::finish) comes after the next spans: the last of them
    /// takes all audio that is left.
    pub fn expect_end(&mut self) {
        self.is_ending = true;
    }

    /// Waits for sound until the video is `ticks` ahead: for sound that is surely on its way.
    pub fn wait_for_audio(&mut self, ticks: i64) {
        self.max_audio_wait = ticks;
    }

    /// Gives a follower without pictures a silent frame of its sound, to be as long as its parts.
    pub fn fill_with(&mut self, silent_frame: Bytes) {
        self.silence = self.init.tracks.video.is_none().then_some(silent_frame);
    }

    /// Has each segment say what the wall clock said when it began; at the start of the first it said `at`.
    pub fn set_clock(&mut self, at: WallTime) {
        self.said.set_clock(at);
    }

    /// Takes a cue, not earlier than the one before it, for the part that it falls into, or for the first one behind
    /// that can be had, if that is soon.
    pub fn push_cue(&mut self, cue: Cue) {
        self.said.push(cue);
    }

    /// How many spans a follower has not made parts of.
    pub fn owed(&self) -> usize {
        self.spans.len()
    }

    /// Gives up what a follower owes: all its spans become gaps.
    pub fn abandon(&mut self) {
        self.given_up = self.spans.len();
    }

    /// Drops audio that ends before the video begins.
    fn drop_early_audio(&mut self) {
        let newest = self.audio.to_video_ticks(self.audio.last_dts);
        let kept = match self.segmenter {
            Some(_) => MAX_EARLY_AUDIO,
            None => MAX_UNCLAIMED_AUDIO,
        };
        let begin = self.origin.unwrap_or(newest - kept);
        let ends_by = |s: &Sample| self.audio.to_video_ticks(s.dts + aac::SAMPLES_PER_FRAME);
        let early = self.audio.samples.partition_point(|s| ends_by(s) <= begin);
        self.audio.remove_first(early);
    }

    /// Ends the stream: everything that waits becomes parts, the last of which closes its segment.
    /// The last sample of each track gets an ordinary duration.
    pub fn finish(&mut self) {
        self.is_finished = true;
        if let Some(segmenter) = &mut self.segmenter {
            segmenter.finish();
            self.spans.extend(std::iter::from_fn(|| segmenter.poll()));
        }
    }

    /// The next complete part.
    pub fn poll(&mut self) -> Option<Part> {
        if self.segmenter.is_none() {
            return self.poll_follower();
        }
        loop {
            let span = self.next_span()?;
            if let Some(part) = self.cut(span) {
                return Some(part);
            }
        }
    }

    fn poll_follower(&mut self) -> Option<Part> {
        let span = *self.spans.front()?;
        let waits_for_end = self.is_ending && !self.is_finished && self.spans.len() == 1;
        if self.given_up == 0 && (waits_for_end || !self.is_settled(span.end)) {
            return None;
        }
        // At the end nobody tells any more what became of the last pictures.
        let goes_on = self.is_finished && self.init.tracks.video.is_some();
        let is_losing = goes_on && (self.is_losing || self.needs_sync);
        let has_pictures = self.video.count_before(span.end) > 0;
        let is_lost = !has_pictures && (is_losing || self.lost_until > span.start);
        let part = if self.given_up > 0 || is_lost {
            self.drop_before(span.end);
            None
        } else {
            self.fill_head(&span);
            self.fill_tail(&span);
            self.cut(span)
        };
        self.spans.pop_front();
        self.given_up = self.given_up.saturating_sub(1);
        self.done_until = span.end;
        Some(part.unwrap_or_else(|| Part::gap(&span)))
    }

    /// Silence between the start of the first part and the first sound.
    fn fill_head(&mut self, span: &Span) {
        let (Some(frame), Some(first)) = (&self.silence, self.audio.samples.first()) else {
            return;
        };
        if self.done_until != i64::MIN || self.audio.to_video_ticks(first.dts) >= span.end {
            return;
        }
        let start = Timescale::VIDEO.convert(span.start, self.audio.timescale);
        let places = std::iter::successors(Some(first.dts), |at| Some(at - aac::SAMPLES_PER_FRAME));
        let places = places.skip(1).take_while(|at| *at >= start);
        let mut filled: Vec<_> = places
            .map(|dts| Sample::audio(dts, frame.clone()))
            .collect();
        filled.reverse();
        self.audio.bytes += filled.iter().map(cost).sum::<usize>();
        self.audio.samples.splice(..0, filled);
    }

    /// Silence between the last sound and the end of the last part, which may be some parts after the sound's.
    fn fill_tail(&mut self, span: &Span) {
        let (Some(frame), Some(last)) = (&self.silence, self.spans.back()) else {
            return;
        };
        if !self.is_finished || self.audio.last_dts < 0 {
            return;
        }
        let [start, end] =
            [span.start, last.end].map(|at| Timescale::VIDEO.convert(at, self.audio.timescale));
        let mut next = (self.audio.last_dts + aac::SAMPLES_PER_FRAME).max(start);
        while next + aac::SAMPLES_PER_FRAME <= end {
            self.audio.push(Sample::audio(next, frame.clone()));
            next += aac::SAMPLES_PER_FRAME;
        }
    }

    /// Drops what waits for a span that is given up, and what cannot be decoded without it.
    fn drop_before(&mut self, end: i64) {
        let count = self.video.count_before(end);
        if count > 0 {
            let mut later = self.video.samples.iter().skip(count);
            let undecodable = later.position(|sample| sample.is_sync);
            self.needs_sync = undecodable.is_none();
            let waiting = self.video.samples.len();
            self.video
                .remove_first(undecodable.map_or(waiting, |more| count + more));
        }
        let ends_by = |s: &Sample| self.audio.to_video_ticks(s.dts + aac::SAMPLES_PER_FRAME);
        let count = self.audio.samples.partition_point(|s| ends_by(s) <= end);
        self.audio.remove_first(count);
    }

    /// The next span whose samples are all here, together with the spans behind it in which no
    /// sample begins: they cannot become parts, and one of them may close the segment.
    fn next_span(&mut self) -> Option<Span> {
        let mut span = *self.spans.front()?;
        let mut taken = 1;
        if !self.is_settled(span.end) {
            return None;
        }
        while let Some(next) = self.spans.get(taken) {
            if self.video.count_before(next.end) > self.video.count_before(next.start) {
                break;
            }
            if !self.is_settled(next.end) {
                return None;
            }
            if self.audio_count(next) > self.audio_count(&span) {
                break;
            }
            span.closes_segment |= next.closes_segment;
            taken += 1;
        }
        self.spans.drain(..taken);
        Some(span)
    }

    /// Whether nothing more is waited for that belongs into a part which ends at `end`. A leader's
    /// spans come when its pictures are here.
    fn is_settled(&self, end: i64) -> bool {
        let audio_end = self.audio.last_dts + aac::SAMPLES_PER_FRAME;
        let clock = self.video.last_dts.max(self.video_until);
        let has_pictures =
            self.segmenter.is_some() || self.init.tracks.video.is_none() || clock >= end;
        let has_sound = self.init.tracks.audio.is_none()
            || self.audio.to_video_ticks(audio_end) >= end
            || clock >= end + self.audio_wait();
        self.is_finished || (has_pictures && has_sound)
    }

    /// How far pictures may be ahead of sound now: sound that was waited for in vain is not again.
    fn audio_wait(&self) -> i64 {
        if self.is_mute {
            self.max_audio_wait.min(MAX_AUDIO_WAIT)
        } else {
            self.max_audio_wait
        }
    }

    /// How many of the waiting audio samples go into a part that is `span`.
    fn audio_count(&self, span: &Span) -> usize {
        if self.is_finished && self.spans.back().is_none_or(|last| last.end <= span.end) {
            // The last part takes the rest.
            let begins = |s: &Sample| self.audio.to_video_ticks(s.dts);
            let is_alone = self.init.tracks.video.is_none();
            let end = span.end + if is_alone { 0 } else { MAX_TAIL };
            return self.audio.samples.partition_point(|s| begins(s) < end);
        }
        let ended = self.audio.samples.iter().skip(1);
        ended
            .take_while(|successor| self.audio.to_video_ticks(successor.dts) <= span.end)
            .count()
    }

    /// The part of `span`; `None` if no sample begins in it.
    fn cut(&mut self, span: Span) -> Option<Part> {
        let video_count = self.video.count_before(span.end);
        let audio_count = self.audio_count(&span);
        let video = self.video.run(VIDEO_TRACK_ID, video_count, span.end);
        let video = video.map(|run| Run {
            decode_shift: self.decode_shift,
            ..run
        });
        let audio_end = self.audio.last_dts + aac::SAMPLES_PER_FRAME;
        self.is_mute = self.audio.to_video_ticks(audio_end) < span.end;
        let audio = self.audio.run(AUDIO_TRACK_ID, audio_count, audio_end);
        let runs = [video, audio];
        let present = match &runs {
            [Some(video), Some(audio)] => &[*video, *audio][..],
            [Some(run), None] | [None, Some(run)] => &[*run][..],
            [None, None] => return None,
        };
        let origin = self.origin.unwrap_or(span.start);
        let head = self.said.before(&span, origin, self.decode_shift.into());
        let part = Part {
            bytes: fragment::write(self.next_sequence_number, &head, present),
            start: span.start,
            duration: span.end - span.start,
            is_independent: match &self.init.tracks.video {
                Some(_) => video.is_some_and(|v| v.samples.iter().any(|s| s.is_sync)),
                None => true,
            },
            opens_segment: span.opens_segment,
            closes_segment: span.closes_segment,
            is_gap: false,
            is_promised: false,
        };
        self.next_sequence_number = self.next_sequence_number.wrapping_add(1);
        self.video.remove_first(video_count);
        self.audio.remove_first(audio_count);
        Some(part)
    }
}

/// A track's samples that wait to become part of a part.
#[derive(Debug)]
struct Queue {
    timescale: Timescale,
    samples: Vec<Sample>,
    /// Of the last sample that came, waiting or not; -1 at first.
    last_dts: i64,
    bytes: usize,
}

fn cost(sample: &Sample) -> usize {
    sample.data.len() + SAMPLE_OVERHEAD_BYTES
}

impl Queue {
    fn new(timescale: Timescale) -> Self {
        Self {
            timescale,
            samples: Vec::new(),
            last_dts: -1,
            bytes: 0,
        }
    }

    fn to_video_ticks(&self, dts: i64) -> i64 {
        self.timescale.convert(dts, Timescale::VIDEO)
    }

    fn check_order(&self, sample: &Sample) -> Result<(), Error> {
        if sample.dts <= self.last_dts || sample.dts > MAX_DTS {
            return Err(Error::OutOfOrder {
                track: sample.track,
                dts: sample.dts,
                previous: self.last_dts,
            });
        }
        Ok(())
    }

    fn push(&mut self, sample: Sample) {
        self.last_dts = sample.dts;
        self.bytes += cost(&sample);
        self.samples.push(sample);
    }

    /// How many samples begin before `end`, which is in video ticks.
    fn count_before(&self, end: i64) -> usize {
        self.samples
            .partition_point(|s| self.to_video_ticks(s.dts) < end)
    }

    /// The first `count` samples, if any. The last of all ends at `end`.
    fn run(&self, track_id: u32, count: usize, end: i64) -> Option<Run<'_>> {
        let (samples, rest) = self.samples.split_at(count);
        (!samples.is_empty()).then(|| Run {
            track_id,
            samples,
            end: rest.first().map_or(end, |next| next.dts),
            decode_shift: 0,
        })
    }

    fn remove_first(&mut self, count: usize) {
        self.bytes -= self.samples.drain(..count).map(|s| cost(&s)).sum::<usize>();
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod clip_tests;
#[cfg(test)]
mod follower_tests;
