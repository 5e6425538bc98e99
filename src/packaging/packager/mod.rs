//! Drives the cut rules and the box writers: samples of both tracks in, parts out.
//!
//! In:  [`Sample`]s, the tracks interleaved as they came. Out: [`Part`]s, by [`Packager::poll`].
//! Not here: the cut rules themselves (`segmenter`), boxes (`fragment`, `init`).
//!
//! The video decides where a part ends. Audio that ends by that moment belongs to the part, which
//! waits for it, but not for ever: once the video is 100 ms past the boundary, audio that comes
//! later goes into the next part, as does the sample across the boundary (encoders interleave by
//! time, so waiting for its successor would delay every part by up to an AAC frame). A sample
//! leaves only when its successor has come, so that its duration is the distance to it; each
//! track's parts are thus contiguous whatever arrives.

use std::collections::VecDeque;
use std::sync::Arc;

use super::fragment::{self, Run};
use super::segmenter::{Segmenter, Span};
use super::{AUDIO_TRACK_ID, Config, Error, InitSection, Part, VIDEO_TRACK_ID};
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
/// What a sample costs beside its data.
const SAMPLE_OVERHEAD_BYTES: usize = 64;

/// Packages one rendition, from its first sync sample to its end.
///
/// Per sample: [`push`](Self::push), then [`poll`](Self::poll) until `None`. At the end, or after
/// an error: [`finish`](Self::finish), then `poll` until `None`.
#[derive(Debug)]
pub struct Packager {
    init: Arc<InitSection>,
    segmenter: Segmenter,
    spans: VecDeque<Span>,
    video: Queue,
    audio: Queue,
    /// Decoding time of the first video sample that is carried.
    origin: Option<i64>,
    /// Its composition offset: how far the encoder's B-frames put presentation behind decoding.
    decode_shift: i32,
    next_sequence_number: u32,
    is_finished: bool,
}

impl Packager {
    /// A packager of `tracks` on the grid of `config`.
    pub fn new(config: &Config, tracks: Tracks) -> Result<Self, Error> {
        config.validate()?;
        let audio_timescale = tracks
            .audio
            .as_ref()
            .map_or(Timescale::VIDEO, AudioTrack::timescale);
        Ok(Self {
            init: Arc::new(InitSection::new(tracks)),
            segmenter: Segmenter::new(config),
            spans: VecDeque::new(),
            video: Queue::new(Timescale::VIDEO),
            audio: Queue::new(audio_timescale),
            origin: None,
            decode_shift: 0,
            next_sequence_number: 1,
            is_finished: false,
        })
    }

    /// The initialization section of all parts.
    pub fn init(&self) -> &Arc<InitSection> {
        &self.init
    }

    /// Takes the next sample. Video before the first sync sample is dropped, and so is audio that
    /// ends before that, and any audio if the tracks have none.
    pub fn push(&mut self, sample: Sample) -> Result<(), Error> {
        let held_bytes = self.video.bytes + self.audio.bytes + cost(&sample);
        if held_bytes > MAX_HELD_BYTES {
            return Err(Error::TooMuchHeld { held_bytes });
        }
        match sample.track {
            TrackKind::Video => self.push_video(sample),
            TrackKind::Audio if self.init.tracks.audio.is_some() => self.push_audio(sample),
            TrackKind::Audio => Ok(()),
        }
    }

    fn push_video(&mut self, sample: Sample) -> Result<(), Error> {
        if self.origin.is_none() && !sample.is_sync {
            return Ok(());
        }
        self.video.check_order(&sample)?;
        self.segmenter.push(sample.dts, sample.is_sync)?;
        self.spans
            .extend(std::iter::from_fn(|| self.segmenter.poll()));
        if self.origin.is_none() {
            self.origin = Some(sample.dts);
            self.decode_shift = sample.composition_offset.max(0);
            self.drop_early_audio();
        }
        self.video.push(sample);
        Ok(())
    }

    fn push_audio(&mut self, sample: Sample) -> Result<(), Error> {
        self.audio.check_order(&sample)?;
        self.audio.push(sample);
        self.drop_early_audio();
        Ok(())
    }

    /// Drops audio that ends before the video begins.
    fn drop_early_audio(&mut self) {
        let newest = self.audio.to_video_ticks(self.audio.last_dts);
        let begin = self.origin.unwrap_or(newest - MAX_EARLY_AUDIO);
        let ends_by = |s: &Sample| self.audio.to_video_ticks(s.dts + aac::SAMPLES_PER_FRAME);
        let early = self.audio.samples.partition_point(|s| ends_by(s) <= begin);
        self.audio.remove_first(early);
    }

    /// Ends the stream: everything that waits becomes parts, the last of which closes its segment.
    /// The last sample of each track gets an ordinary duration.
    pub fn finish(&mut self) {
        self.is_finished = true;
        self.segmenter.finish();
        self.spans
            .extend(std::iter::from_fn(|| self.segmenter.poll()));
    }

    /// The next complete part.
    pub fn poll(&mut self) -> Option<Part> {
        loop {
            let span = self.next_span()?;
            if let Some(part) = self.cut(span) {
                return Some(part);
            }
        }
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

    /// Whether no more audio is waited for that ends by `end`.
    fn is_settled(&self, end: i64) -> bool {
        let audio_end = self.audio.last_dts + aac::SAMPLES_PER_FRAME;
        self.is_finished
            || self.init.tracks.audio.is_none()
            || self.audio.to_video_ticks(audio_end) >= end
            || self.video.last_dts >= end + MAX_AUDIO_WAIT
    }

    /// How many of the waiting audio samples go into a part that is `span`.
    fn audio_count(&self, span: &Span) -> usize {
        let waiting = self.audio.samples.len();
        if self.is_finished && self.spans.back().is_none_or(|last| last.end <= span.end) {
            return waiting; // the last part takes the rest
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
        let audio = self.audio.run(AUDIO_TRACK_ID, audio_count, audio_end);
        let runs = [video, audio];
        let present = match &runs {
            [Some(video), Some(audio)] => &[*video, *audio][..],
            [Some(run), None] | [None, Some(run)] => &[*run][..],
            [None, None] => return None,
        };
        let part = Part {
            bytes: fragment::write(self.next_sequence_number, present),
            start: span.start,
            duration: span.end - span.start,
            is_independent: video.is_some_and(|v| v.samples.iter().any(|s| s.is_sync)),
            opens_segment: span.opens_segment,
            closes_segment: span.closes_segment,
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
