//! PCM of any kind becomes one unbroken line of stereo (or mono) PCM, cut into frames of 1024.
//!
//! In:  [`Pcm`] with its time. Out: frames of the output's [`Shape`] with their `dts`: the line
//! begins with the first decoded sample, and its step is exactly 1024.
//! Not here: AAC.
//!
//! A *run* is a stretch of input that one resampler takes without a seam. A gap, an overlap or
//! another layout ends it; the next run is placed anew by its own time, so no rounding adds up.

use ffmpeg_next as ffmpeg;

use ffmpeg::format::Sample::F32;
use ffmpeg::format::sample::Type::Planar;
use ffmpeg::software::resampling;
use ffmpeg::{Dictionary, frame};

use super::decoder::Pcm;
use super::{Error, FRAME, FRAME_TICKS, Failure, Shape, ticks};
use crate::media::Timescale;

/// A difference between a sample's time and the count of samples that is left. Times have no jitter any more: they
/// are counted where a stream comes in.
const TOLERANCE_MS: i64 = 5;
/// A gap that is filled with silence; after a longer one the grid jumps.
const MAX_SILENCE_S: i64 = 10;
/// Room in a resampler's output beyond what arithmetic says.
const SLACK: usize = 64;

/// Takes finished frames, each with its `dts`.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&frame::Audio, i64) -> Result<(), Failure>;

/// Mixes, resamples and makes time whole.
pub(super) struct Mixer {
    shape: Shape,
    line: Option<Line>,
    run: Option<Run>,
}

impl Mixer {
    /// A mixer whose first frame is at `resume_at` (output ticks), or else where the input begins.
    pub(super) fn new(shape: Shape, resume_at: Option<i64>) -> Result<Self, Error> {
        let line = resume_at.map(|dts| Line::new(shape, dts)).transpose()?;
        Ok(Self {
            shape,
            line,
            run: None,
        })
    }

    /// Adds `pcm`, which begins at `at` in ticks of `timescale`.
    pub(super) fn push(
        &mut self,
        at: i64,
        timescale: Timescale,
        pcm: &Pcm,
        sink: Sink<'_>,
    ) -> Result<(), Failure> {
        let at = timescale.convert(at, hertz(pcm.rate));
        if !self.run.as_ref().is_some_and(|run| run.takes(at, pcm)) {
            self.end_run(sink)?;
            self.begin_run(at, pcm, sink)?;
        }
        let (Some(run), Some(line)) = (&mut self.run, &mut self.line) else {
            return Ok(());
        };
        line.append(&run.convert(pcm)?, sink)
    }

    /// Puts silence in the place of a frame that could not be decoded, and how long it lasts; `at` as for `push`.
    /// Before the first frame that could be, there is nothing to do.
    pub(super) fn push_lost(
        &mut self,
        (at, lasts): (i64, i64),
        timescale: Timescale,
        sink: Sink<'_>,
    ) -> Result<(), Failure> {
        let Some(run) = &self.run else {
            return Ok(());
        };
        let samples = timescale.convert(lasts, hertz(run.rate));
        let samples = usize::try_from(samples).unwrap_or(FRAME);
        let pcm = Pcm::silent(run.rate, run.channels, samples)?;
        self.push(at, timescale, &pcm, sink)
    }

    /// Gives what is left, the last frame filled up with silence.
    pub(super) fn finish(&mut self, sink: Sink<'_>) -> Result<(), Failure> {
        self.end_run(sink)?;
        match &mut self.line {
            Some(line) => line.fill_up(sink),
            None => Ok(()),
        }
    }

    fn end_run(&mut self, sink: Sink<'_>) -> Result<(), Failure> {
        match (self.run.take(), &mut self.line) {
            (Some(run), Some(line)) => line.append(&run.finish()?, sink),
            _ => Ok(()),
        }
    }

    fn begin_run(&mut self, at: i64, pcm: &Pcm, sink: Sink<'_>) -> Result<(), Failure> {
        let begins = hertz(pcm.rate).convert(at, hertz(self.shape.rate));
        let line = match &mut self.line {
            Some(line) => line,
            none => none.insert(Line::new(self.shape, begins)?),
        };
        line.go_to(begins, sink)?;
        self.run = Some(Run::new(at, pcm, self.shape)?);
        Ok(())
    }
}

/// Input of one rate and layout without a seam.
struct Run {
    resampler: resampling::Context,
    shape: Shape,
    rate: u32,
    channels: usize,
    /// Where the next sample should begin, in ticks of `rate`.
    next: i64,
}

impl Run {
    fn new(at: i64, pcm: &Pcm, shape: Shape) -> Result<Self, Error> {
        // Without this a mix of loud channels would exceed full scale.
        let options = Dictionary::from_iter([("rematrix_maxval", "1.0")]);
        let resampler = resampling::Context::get_with(
            F32(Planar),
            super::layout(pcm.channels)?,
            pcm.rate,
            F32(Planar),
            shape.layout()?,
            shape.rate,
            options,
        );
        Ok(Self {
            resampler: resampler.map_err(Error::at("open the resampler"))?,
            shape,
            rate: pcm.rate,
            channels: pcm.channels,
            next: at,
        })
    }

    fn takes(&self, at: i64, pcm: &Pcm) -> bool {
        let tolerance = i64::from(self.rate) * TOLERANCE_MS / 1000;
        let is_near = at.saturating_sub(self.next).saturating_abs() <= tolerance;
        is_near && (pcm.rate, pcm.channels) == (self.rate, self.channels)
    }

    fn convert(&mut self, pcm: &Pcm) -> Result<frame::Audio, Error> {
        self.next = self.next.saturating_add(ticks(pcm.frame.samples()));
        let mut output = self.room_for(pcm.frame.samples())?;
        let done = self.resampler.run(&pcm.frame, &mut output);
        done.map_err(Error::at("resample"))?;
        Ok(output)
    }

    /// What the resampler still holds.
    fn finish(mut self) -> Result<frame::Audio, Error> {
        let mut output = self.room_for(0)?;
        let done = self.resampler.flush(&mut output);
        done.map_err(Error::at("flush the resampler"))?;
        Ok(output)
    }

    /// An empty frame for what `samples` more become.
    fn room_for(&self, samples: usize) -> Result<frame::Audio, Error> {
        let new = hertz(self.rate).convert(ticks(samples), hertz(self.shape.rate));
        let held = self.resampler.delay().map_or(0, |delay| delay.output);
        let room = usize::try_from(new.saturating_add(held)).unwrap_or(0) + SLACK;
        let layout = self.shape.layout()?;
        Ok(frame::Audio::new(F32(Planar), room, layout))
    }
}

/// The output, and the frame being filled.
struct Line {
    shape: Shape,
    frame: frame::Audio,
    /// Of the frame being filled, in output ticks.
    dts: i64,
    filled: usize,
    /// Samples to be dropped, because the line has them already.
    surplus: usize,
}

impl Line {
    fn new(shape: Shape, dts: i64) -> Result<Self, Error> {
        Ok(Self {
            shape,
            frame: Self::blank(shape)?,
            dts,
            filled: 0,
            surplus: 0,
        })
    }

    fn blank(shape: Shape) -> Result<frame::Audio, Error> {
        Ok(Pcm::silent(shape.rate, shape.channels, FRAME)?.frame)
    }

    /// Makes the next sample that is appended stand at `at`.
    fn go_to(&mut self, at: i64, sink: Sink<'_>) -> Result<(), Failure> {
        let gap = |line: &Self| at.saturating_sub(line.dts.saturating_add(ticks(line.filled)));
        self.surplus = usize::try_from(gap(self).saturating_neg()).unwrap_or(0);
        // Once, or twice if the distance is too long for a number.
        while gap(self) > MAX_SILENCE_S * i64::from(self.shape.rate) {
            self.fill_up(sink)?;
            let steps = at.saturating_sub(self.dts).div_euclid(FRAME_TICKS);
            self.dts = self.dts.saturating_add(steps.saturating_mul(FRAME_TICKS));
        }
        while at.saturating_sub(self.dts) >= FRAME_TICKS {
            self.give(sink)?;
        }
        // A fresh frame is silent, so leaving samples out is silence.
        let here = usize::try_from(at.saturating_sub(self.dts)).unwrap_or(0);
        self.filled = self.filled.max(here);
        Ok(())
    }

    fn append(&mut self, pcm: &frame::Audio, sink: Sink<'_>) -> Result<(), Failure> {
        let mut from = self.surplus.min(pcm.samples());
        self.surplus -= from;
        while from < pcm.samples() {
            let count = (FRAME - self.filled).min(pcm.samples() - from);
            for channel in 0..self.shape.channels {
                let to = &mut self.frame.plane_mut::<f32>(channel)[self.filled..][..count];
                to.copy_from_slice(&pcm.plane::<f32>(channel)[from..][..count]);
            }
            (self.filled, from) = (self.filled + count, from + count);
            if self.filled == FRAME {
                self.give(sink)?;
            }
        }
        Ok(())
    }

    /// Gives the frame being filled, if anything is in it.
    fn fill_up(&mut self, sink: Sink<'_>) -> Result<(), Failure> {
        if self.filled == 0 {
            return Ok(());
        }
        self.give(sink)
    }

    fn give(&mut self, sink: Sink<'_>) -> Result<(), Failure> {
        let frame = std::mem::replace(&mut self.frame, Self::blank(self.shape)?);
        let dts = self.dts;
        self.dts = dts.saturating_add(FRAME_TICKS);
        self.filled = 0;
        sink(&frame, dts)
    }
}

fn hertz(rate: u32) -> Timescale {
    Timescale::new(rate).unwrap_or(Timescale::MILLIS)
}
