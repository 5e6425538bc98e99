//! The cut rules: which samples belong to which part, which parts to which segment.
//!
//! In:  decoding time of each video sample, and whether it is a sync sample.
//! Out: [`Span`]s that tile the timeline. Not here: sample data, audio, boxes, clocks.
//! Read: RFC 8216bis §4.4.4.9 (part durations), §4.4.3.1 (segment durations).
//!
//! *Parts.* Cut greedily from each segment's start: a part ends before the sample that would
//! carry it past the part target, counted in decoding times. Durations are distances between
//! samples that have arrived, never guesses. Only the decision that a part is full looks ahead:
//! a part of legal length is closed as soon as the next sample has come, if even the shortest
//! sample of the part would not fit behind it. At a constant rate that saves a frame of latency.
//!
//! *Segments.* One closes at a sync sample if the next GOP might not fit behind it. How long that
//! may get is the longest GOP so far; and until two GOPs in a row were equally long, at least the
//! target duration, because encoders that insert keyframes at scene cuts start with short GOPs.
//!
//! *Uneven samples.* Where the samples before the one across the part target do not fill a part, the part ends within
//! that one, at the target: parts are never short. The sample keeps its duration.
//!
//! *Gaps.* A sample longer than the part target would make its part too long. Its part is cut at
//! the target; the rest of its time becomes spans without video, which carry the audio.

use std::collections::VecDeque;

use super::{Config, Error};
use crate::media::Timescale;

/// Duration of the only sample of a stream.
const LONE_SAMPLE_TICKS: i64 = 3000;

/// A stretch of the timeline which becomes one part: the samples with `start <= dts < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First tick.
    pub start: i64,
    /// First tick of the next span.
    pub end: i64,
    /// Whether a segment begins here.
    pub opens_segment: bool,
    /// Whether the segment ends here.
    pub closes_segment: bool,
}

/// Cuts one rendition's timeline; all times are 90 kHz ticks of the video track.
#[derive(Debug)]
pub struct Segmenter {
    part_target: i64,
    /// Parts shorter than this must not be closed while the segment goes on.
    shortest_part: i64,
    segment_limit: i64,
    has_sound: bool,
    gops: Gops,
    open: Option<Open>,
    spans: VecDeque<Span>,
}

/// Where the open segment and its open part stand.
#[derive(Clone, Copy, Debug)]
struct Open {
    segment_start: i64,
    part_start: i64,
    last_dts: i64,
    last_duration: i64,
    /// Of the open part's samples whose duration is known.
    shortest_sample: i64,
}

impl Segmenter {
    /// A segmenter on the grid of `config`. `has_sound`: a stretch in which no picture begins can be a part.
    pub fn new(config: &Config, has_sound: bool) -> Self {
        let ticks = |ms: i64| Timescale::MILLIS.convert(ms, Timescale::VIDEO);
        let part_target = ticks(i64::from(config.part_target_ms));
        let target = i64::from(config.target_duration_s) * 1000;
        Self {
            part_target,
            shortest_part: (part_target * 85 + 99) / 100,
            segment_limit: ticks(target + 490),
            has_sound,
            gops: Gops::new(ticks(target)),
            open: None,
            spans: VecDeque::new(),
        }
    }

    /// Takes the next video sample. What comes before the first sync sample is ignored.
    ///
    /// Whether it opened a segment. After an error nothing has changed; the sample does not belong to
    /// any span.
    pub fn push(&mut self, dts: i64, is_sync: bool) -> Result<bool, Error> {
        let Some(open) = self.open else {
            if is_sync {
                self.gops.observe_sync(dts);
                self.open_segment(dts);
            }
            return Ok(is_sync);
        };
        self.check_room(dts, is_sync)?;
        let elapsed = dts - open.segment_start;
        let closes = is_sync && elapsed + self.gops.observe_sync(dts) > self.segment_limit;
        self.end_last_sample(dts, closes);
        if closes {
            self.close_part(dts, true);
            self.open_segment(dts);
            return Ok(true);
        }
        self.close_if_full(dts);
        if let Some(open) = &mut self.open {
            open.last_dts = dts;
        }
        Ok(false)
    }

    /// Whether the open segment has room for a sample that is decoded at `dts`; of a sync sample at most its first tick.
    pub(super) fn check_room(&self, dts: i64, is_sync: bool) -> Result<(), Error> {
        let Some(open) = self.open else { return Ok(()) };
        let elapsed = dts - open.segment_start;
        if elapsed > self.segment_limit || (!is_sync && elapsed == self.segment_limit) {
            let elapsed_ms = Timescale::VIDEO.convert(elapsed, Timescale::MILLIS);
            return Err(Error::GopTooLong { elapsed_ms });
        }
        Ok(())
    }

    /// Ends the timeline: the last sample gets the duration of the one before it, and its span
    /// closes the segment.
    pub fn finish(&mut self) {
        let Some(open) = self.open else { return };
        let duration = open.last_duration.min(self.part_target);
        let end = (open.last_dts + duration).min(open.segment_start + self.segment_limit);
        self.end_last_sample(end, true);
        self.close_part(end, true);
        self.open = None;
    }

    /// The next span, in order.
    pub fn poll(&mut self) -> Option<Span> {
        self.spans.pop_front()
    }

    fn open_segment(&mut self, dts: i64) {
        let last_duration = self.open.map_or(LONE_SAMPLE_TICKS, |o| o.last_duration);
        self.open = Some(Open {
            segment_start: dts,
            part_start: dts,
            last_dts: dts,
            last_duration,
            shortest_sample: self.part_target,
        });
    }

    /// The last sample lasts until `end`: closes the part before it if it does not fit, and as
    /// many spans as its own duration fills.
    /// `closes`: the segment ends there, too, so that what remains of it must not be without a sample.
    fn end_last_sample(&mut self, end: i64, closes: bool) {
        let Some(open) = self.open else { return };
        if end - open.part_start > self.part_target && open.last_dts > open.part_start {
            let is_short = open.last_dts - open.part_start < self.shortest_part;
            let may_cut = self.has_sound || !closes;
            let cut = if is_short && may_cut {
                open.part_start + self.part_target
            } else {
                open.last_dts
            };
            self.close_part(cut, false);
        }
        while let Some(open) = self.open
            && end - open.part_start > self.part_target
        {
            self.close_part(open.part_start + self.part_target, false);
        }
        if let Some(open) = &mut self.open {
            open.last_duration = end - open.last_dts;
            open.shortest_sample = open.shortest_sample.min(open.last_duration);
        }
    }

    /// Closes the part before the sample at `dts` if that one surely does not fit.
    fn close_if_full(&mut self, dts: i64) {
        let is_full = self.open.is_some_and(|open| {
            let elapsed = dts - open.part_start;
            elapsed >= self.shortest_part && elapsed + open.shortest_sample > self.part_target
        });
        if is_full {
            self.close_part(dts, false);
        }
    }

    fn close_part(&mut self, end: i64, closes_segment: bool) {
        let Some(open) = &mut self.open else { return };
        self.spans.push_back(Span {
            start: open.part_start,
            end,
            opens_segment: open.part_start == open.segment_start,
            closes_segment,
        });
        open.part_start = end;
        open.shortest_sample = self.part_target;
    }
}

/// What is known of the encoder's GOPs.
#[derive(Debug)]
struct Gops {
    target_duration: i64,
    last_sync: Option<i64>,
    previous: Option<i64>,
    longest: i64,
    /// Two in a row were equally long.
    is_regular: bool,
}

impl Gops {
    fn new(target_duration: i64) -> Self {
        Self {
            target_duration,
            last_sync: None,
            previous: None,
            longest: 0,
            is_regular: false,
        }
    }

    /// Notes the sync sample at `dts`; returns how long the GOP that it opens may become.
    fn observe_sync(&mut self, dts: i64) -> i64 {
        if let Some(start) = self.last_sync.replace(dts) {
            let gop = dts - start;
            let before = self.previous.replace(gop);
            self.is_regular |= before.is_some_and(|before| (gop - before).abs() * 10 <= before);
            self.longest = self.longest.max(gop);
        }
        if self.is_regular {
            self.longest
        } else {
            self.longest.max(self.target_duration)
        }
    }
}

#[cfg(test)]
mod tests;
