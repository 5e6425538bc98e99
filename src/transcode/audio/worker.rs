//! The thread that decodes, mixes and encodes a stream's sound.
//!
//! In:  samples, through a bounded queue that never makes the caller wait.
//! Out: [`AudioOutput`], to a closure that may wait.
//! Not here: the steps themselves (`decoder`, `mixer`, `encoder`).
//!
//! Whatever breaks, even by a panic, is made anew with the next sample; what was lost is silence
//! and the grid goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::mixer::Mixer;
use super::{AudioEncode, AudioOutput, Error, FRAME_TICKS, Failure, Shape};
use crate::media::Sample;
use crate::media::codec::{AudioConfig, aac};

/// Samples without a failure after which earlier failures are forgotten.
const HEALTHY: u32 = 256;
/// Samples left out after a second failure in a row, before the next attempt: 1 s at 48 kHz.
const PAUSE: u32 = 48;

/// A stream's audio thread, from outside.
///
/// Dropped, it makes the thread stop soon; `finish` lets it do all that is queued.
pub(in crate::transcode) struct AudioWorker {
    input_tx: Option<SyncSender<Sample>>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    is_behind: bool,
}

impl AudioWorker {
    /// Opens one encoder per encode and starts the thread, for which so many samples may wait; the
    /// answer has the encoders' configurations. `emit` is called on the thread, may wait, and says whether anybody still listens.
    ///
    /// # Errors
    /// If a codec cannot be opened, or there is no thread.
    pub(in crate::transcode) fn start(
        (source, queued): (&Arc<AudioConfig>, usize),
        encodes: &[AudioEncode],
        emit: impl FnMut(AudioOutput) -> bool + Send + 'static,
    ) -> Result<(Self, Vec<Arc<aac::Config>>), Error> {
        let pipeline = Pipeline::open(source, encodes, None)?;
        let configs = pipeline.encoders.iter();
        let configs = configs.map(|encoder| encoder.config().map(Arc::new));
        let configs = configs.collect::<Result<Vec<_>, _>>()?;
        let (input_tx, input_rx) = sync_channel(queued);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let thread = Thread {
            input_rx,
            is_stopped: Arc::clone(&is_stopped),
            source: Arc::clone(source),
            encodes: encodes.to_vec(),
            pipeline: Some(pipeline),
            exit: Exit {
                emit,
                next: vec![None; encodes.len()],
            },
            failures: 0,
            healthy: 0,
            pause: 0,
        };
        let named = std::thread::Builder::new().name("weir-audio".to_owned());
        let worker = Self {
            input_tx: Some(input_tx),
            is_stopped,
            thread: Some(named.spawn(|| thread.run())?),
            is_behind: false,
        };
        Ok((worker, configs))
    }

    /// Queues a sample, whose times are ticks of the configuration's sampling rate. Never waits:
    /// if the thread is behind, the sample is dropped and becomes silence.
    pub(in crate::transcode) fn push(&mut self, sample: Sample) {
        let Some(input_tx) = &self.input_tx else {
            return;
        };
        let is_full = matches!(input_tx.try_send(sample), Err(TrySendError::Full(_)));
        if is_full {
            metrics::counter!("weir_transcode_audio_dropped_total").increment(1);
        }
        if is_full && !self.is_behind {
            tracing::warn!("the audio thread is behind; samples are dropped");
        }
        self.is_behind = is_full;
    }

    /// No more input. The thread, which is given out to be waited for, does what is queued and
    /// ends; its closure is dropped then.
    pub(in crate::transcode) fn finish(&mut self) -> Option<JoinHandle<()>> {
        self.input_tx = None;
        self.thread.take()
    }
}

impl Drop for AudioWorker {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// The thread's state.
struct Thread<E> {
    input_rx: Receiver<Sample>,
    is_stopped: Arc<AtomicBool>,
    source: Arc<AudioConfig>,
    encodes: Vec<AudioEncode>,
    pipeline: Option<Pipeline>,
    exit: Exit<E>,
    failures: u32,
    healthy: u32,
    pause: u32,
}

impl<E: FnMut(AudioOutput) -> bool> Thread<E> {
    fn run(mut self) {
        while let Ok(sample) = self.input_rx.recv() {
            if !self.attempt(|thread| thread.step(&sample)) {
                return;
            }
        }
        self.attempt(|thread| match &mut thread.pipeline {
            Some(pipeline) => pipeline.finish(&mut thread.exit),
            None => Ok(()),
        });
    }

    /// Does `work` and outlives its failure; returns whether to go on.
    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Failure>) -> bool {
        if self.is_stopped.load(Ordering::Relaxed) {
            return false;
        }
        // After a panic the pipeline is thrown away; `exit` holds whole values only.
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        let what = match done {
            Ok(Ok(())) => return true,
            Ok(Err(Failure::Stopped)) => return false,
            Ok(Err(Failure::Broken(error))) => error.to_string(),
            Err(_) => "the audio thread panicked".to_owned(),
        };
        self.pipeline = None;
        self.pause = if self.failures == 0 { 0 } else { PAUSE };
        self.failures = self.failures.saturating_add(1);
        self.healthy = 0;
        metrics::counter!("weir_transcode_audio_restarts_total").increment(1);
        let told = catch_unwind(AssertUnwindSafe(|| {
            (self.exit.emit)(AudioOutput::Failed { what })
        }));
        told.unwrap_or(true)
    }

    fn step(&mut self, sample: &Sample) -> Result<(), Failure> {
        if self.pause > 0 {
            self.pause -= 1;
            return Ok(());
        }
        let pipeline = match &mut self.pipeline {
            Some(pipeline) => pipeline,
            none => {
                let resume_at = self.exit.next.iter().flatten().min().copied();
                none.insert(Pipeline::open(&self.source, &self.encodes, resume_at)?)
            }
        };
        pipeline.push(sample, &mut self.exit)?;
        self.healthy = self.healthy.saturating_add(1);
        if self.healthy > HEALTHY {
            self.failures = 0;
        }
        Ok(())
    }
}

/// Where samples leave, and what outlives a pipeline.
struct Exit<E> {
    emit: E,
    /// Per encode, the time after the last sample that left.
    next: Vec<Option<i64>>,
}

impl<E: FnMut(AudioOutput) -> bool> Exit<E> {
    /// Lets a sample out, unless a pipeline before this one has given it already.
    fn give(&mut self, encode: usize, sample: Sample) -> Result<(), Failure> {
        let Some(next) = self.next.get_mut(encode) else {
            return Ok(());
        };
        if next.is_some_and(|next| sample.dts < next) {
            return Ok(());
        }
        *next = Some(sample.dts.saturating_add(FRAME_TICKS));
        if (self.emit)(AudioOutput::Sample { encode, sample }) {
            Ok(())
        } else {
            Err(Failure::Stopped)
        }
    }
}

/// Decoder, mixer and encoders.
struct Pipeline {
    decoder: Decoder,
    source: Arc<AudioConfig>,
    mixer: Mixer,
    encoders: Vec<Encoder>,
}

impl Pipeline {
    fn open(
        source: &Arc<AudioConfig>,
        encodes: &[AudioEncode],
        resume_at: Option<i64>,
    ) -> Result<Self, Error> {
        let shape = Shape::of(source);
        let encoders = encodes.iter();
        let encoders = encoders.map(|encode| Encoder::open(shape, encode.bitrate_bps));
        Ok(Self {
            decoder: Decoder::open(source.kind(), source.bytes())?,
            source: Arc::clone(source),
            mixer: Mixer::new(shape, resume_at)?,
            encoders: encoders.collect::<Result<_, _>>()?,
        })
    }

    fn push<E>(&mut self, sample: &Sample, exit: &mut Exit<E>) -> Result<(), Failure>
    where
        E: FnMut(AudioOutput) -> bool,
    {
        let pcm = self.decoder.decode(&sample.data);
        // An empty frame stands for silence that was wanted.
        if pcm.is_none() && !sample.data.is_empty() {
            metrics::counter!("weir_transcode_audio_corrupt_total").increment(1);
        }
        let (at, timescale) = (sample.pts(), self.source.timescale());
        let encoders = &mut self.encoders;
        let mut encode = |frame: &_, dts| encode_all(encoders, frame, dts, exit);
        if let Some(pcm) = pcm {
            return self.mixer.push(at, timescale, &pcm, &mut encode);
        }
        let lasts = self.source.samples_in(&sample.data);
        let lost = (at, lasts.unwrap_or(FRAME_TICKS));
        self.mixer.push_lost(lost, timescale, &mut encode)
    }

    fn finish<E>(&mut self, exit: &mut Exit<E>) -> Result<(), Failure>
    where
        E: FnMut(AudioOutput) -> bool,
    {
        let encoders = &mut self.encoders;
        self.mixer
            .finish(&mut |frame, dts| encode_all(encoders, frame, dts, exit))?;
        for (index, encoder) in encoders.iter_mut().enumerate() {
            encoder.finish(&mut |sample| exit.give(index, sample))?;
        }
        Ok(())
    }
}

fn encode_all<E: FnMut(AudioOutput) -> bool>(
    encoders: &mut [Encoder],
    frame: &ffmpeg_next::frame::Audio,
    dts: i64,
    exit: &mut Exit<E>,
) -> Result<(), Failure> {
    for (index, encoder) in encoders.iter_mut().enumerate() {
        encoder.encode(frame, dts, &mut |sample| exit.give(index, sample))?;
    }
    Ok(())
}
