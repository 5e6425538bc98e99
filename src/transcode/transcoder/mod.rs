//! The transcoder as its owner sees it: a job in, products out, threads in between.
//!
//! In:  a [`Job`], then the source's samples. Out: [`Output`]s through a bounded channel.
//! Not here: the threads' work (`worker`, `lane`, `audio`). No call waits for a thread; a queue that
//! is full loses pictures up to the next keyframe, never the caller's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::time::Instant;

use super::audio::{AudioEncode, AudioOutput, AudioWorker, silent_frame};
use super::encoder::{EncodeVideo, VideoSettings, X264Encoder};
use super::frame_clock::FrameClock;
use super::lane::{Lane, LaneQueue, OpenEncoder};
use super::outlet::{Outlet, Products, outlet};
use super::placement::{Affinity, Placement};
use super::worker::{Input, Worker};
use super::{Config, Error};
use crate::media::codec::{AudioConfig, VideoConfig, aac};
use crate::media::{Sample, Timescale};

/// How much longer than the longest start is held inputs may wait, in milliseconds.
const QUEUED_MS: u64 = 2500;
/// Inputs that may wait for a thread, whatever the source says of itself.
const QUEUED: std::ops::RangeInclusive<usize> = 512..=4096;
/// Bytes of pictures that may wait.
const MAX_QUEUED_BYTES: usize = 32 * 1024 * 1024;
/// Products that may wait for the owner.
const MAX_OUTPUTS: usize = 1024;
/// Decoded frames that may wait for a lane.
const MAX_FRAMES: usize = 8;

/// What to make of a source.
#[derive(Clone, Debug)]
pub struct Job {
    /// The source's pictures.
    pub video: Arc<VideoConfig>,
    /// The source's sound; needed if any is encoded.
    pub audio: Option<Arc<AudioConfig>>,
    /// Of the source, in 1000 seconds.
    pub fps_millis: u32,
    /// Who sets the frames' times.
    pub clock: FrameClock,
    /// How often a segment opens, with a constant clock; milliseconds.
    pub segment_ms: u32,
    /// Whether the first segment is half as long, with a constant clock: nobody watches yet.
    pub begins_short: bool,
    /// Pictures shown before this are decoded only.
    pub first_pts: Option<i64>,
    /// The most expensive first, at most 32.
    pub rungs: Vec<VideoRung>,
    /// A bit for each rung that is left out from the start: the machine was overloaded before.
    pub shed: u32,
    /// Whether the last rung is never left out: without it there would be no pictures that every player takes.
    pub keeps_last: bool,
    /// A bit for each rung that is not encoded before [`Transcoder::want`] says so.
    pub cold: u32,
    /// Whether no frame is ever lost to an encoder that is slow: nothing here is live.
    pub is_patient: bool,
    /// Each is made once, for all renditions that have it.
    pub audio_encodes: Vec<AudioEncode>,
    /// The room's settings.
    pub config: Config,
}

/// One encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoRung {
    /// For logs, metrics and its thread.
    pub name: String,
    /// Pixels, even.
    pub width: u16,
    /// Pixels, even.
    pub height: u16,
    /// 1: every frame; 2: every second one, counted from each segment's first.
    pub every: u32,
    /// Frames in 1000 seconds.
    pub fps_millis: u32,
    /// On average, and at most over a second.
    pub bitrate_bps: u32,
}

/// A product.
#[derive(Debug)]
pub enum Output {
    /// A frame of the grid (with a constant clock only), before any sample of it.
    Tick {
        /// When it is shown.
        pts: i64,
        /// Whether a segment opens with it.
        opens_segment: bool,
    },
    /// A picture; it is decoded when it is shown.
    Video {
        /// Index into the job's rungs.
        rung: usize,
        /// The picture.
        sample: Sample,
        /// When the source's picture arrived.
        arrival: Instant,
    },
    /// No picture that is shown before `until` will come any more.
    VideoUntil {
        /// Index into the job's rungs.
        rung: usize,
        /// 90 kHz ticks.
        until: i64,
        /// Whether the last picture before it was lost: its rung is shed, or something broke.
        is_lost: bool,
    },
    /// An AAC frame.
    Audio {
        /// Index into the job's encodes.
        encode: usize,
        /// The frame.
        sample: Sample,
    },
    /// A rung is left out: the machine is overloaded.
    Shed {
        /// Index into the job's rungs.
        rung: usize,
    },
    /// A rung is back.
    Restored {
        /// Index into the job's rungs.
        rung: usize,
    },
    /// Something broke and is being restarted, in words for the log.
    Failed {
        /// What.
        what: String,
    },
}

impl Job {
    /// Pixels decoded and encoded in a second.
    fn pixel_rate(&self) -> u64 {
        let rate = |(width, height): (u16, u16), fps_millis: u32| {
            u64::from(width) * u64::from(height) * u64::from(fps_millis) / 1000
        };
        let rungs = self.rungs.iter();
        let encoded = rungs.map(|rung| rate((rung.width, rung.height), rung.fps_millis));
        rate((self.video.width, self.video.height), self.fps_millis) + encoded.sum::<u64>()
    }

    /// How many inputs may wait for a thread: what a start of a segment's length gives at once, pictures
    /// and sound, and some seconds more.
    fn queued(&self) -> usize {
        let sounds = |audio: &Arc<AudioConfig>| {
            u64::from(audio.sample_rate()) * 1000 / audio.least_samples().unsigned_abs().max(1)
        };
        let sounds_millis = self.audio.as_ref().map_or(0, sounds);
        let inputs_millis = u64::from(self.fps_millis) + sounds_millis;
        let inputs = (u64::from(self.segment_ms) + QUEUED_MS) * inputs_millis / 1_000_000;
        let inputs = usize::try_from(inputs).unwrap_or(usize::MAX);
        inputs.clamp(*QUEUED.start(), *QUEUED.end())
    }
}

/// A transcoder that runs.
pub struct Started {
    /// Takes the source.
    pub transcoder: Transcoder,
    /// Gives the products; ends after [`Transcoder::finish`].
    pub output_rx: Products,
    /// The configuration of each rung that is not cold.
    pub video: Vec<Arc<VideoConfig>>,
    /// The configuration of each audio encode.
    pub audio: Vec<Arc<aac::Config>>,
}

/// The handle of a running transcoder. Dropped, it makes the threads stop soon.
pub struct Transcoder {
    input_tx: Option<flume::Sender<Input>>,
    /// Its frames have times of their own, which sound helps to tell.
    is_clock: bool,
    queued_bytes: Arc<AtomicUsize>,
    /// Of the pictures to come, if the decoder has not been told yet.
    new_config: Option<Arc<VideoConfig>>,
    /// The rungs that are encoded from the next picture on, if the decoder has not been told yet.
    new_wanted: Option<u32>,
    /// Pictures were lost; nothing can be decoded before the next keyframe.
    is_skipping: bool,
    audio: Option<AudioWorker>,
    audio_timescale: Timescale,
    is_stopped: Arc<AtomicBool>,
}

impl Transcoder {
    /// Opens all codecs and starts the threads. This takes some hundredths of a second: call it where
    /// that is no harm.
    ///
    /// # Errors
    /// If a codec cannot be opened, or there is no thread.
    pub fn start(job: &Job) -> Result<Started, Error> {
        let open = opener(job);
        Self::start_with(job, &open)
    }

    /// The configurations of the rungs of a job that is not begun: equal jobs give equal ones.
    fn configs(job: &Job) -> Result<Vec<Arc<VideoConfig>>, Error> {
        let open = opener(job);
        let config = |rung: &VideoRung| Ok(Arc::clone(open(rung)?.config()));
        job.rungs.iter().map(config).collect()
    }

    /// Opens and starts what a job has besides pictures; the configurations are all of it.
    ///
    /// # Errors
    /// If a codec cannot be opened, or there is no thread.
    pub fn start_sound(job: &Job) -> Result<Started, Error> {
        let video = Self::configs(job)?;
        let sound = Job {
            rungs: Vec::new(),
            ..job.clone()
        };
        let started = Self::start(&sound)?;
        Ok(Started { video, ..started })
    }

    fn start_with(job: &Job, open: &Arc<OpenEncoder>) -> Result<Started, Error> {
        let (outlet, output_rx) = outlet(MAX_OUTPUTS);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let placement = Placement::new(job.pixel_rate());
        let (audio, audio_configs) = match &job.audio {
            Some(source) if !job.audio_encodes.is_empty() => {
                let way_out = (outlet.clone(), placement.affinity());
                let emit = emit_audio(way_out, job.audio_encodes.len());
                let inputs = (source, job.queued());
                let (audio, configs) = AudioWorker::start(inputs, &job.audio_encodes, emit)?;
                (Some(audio), configs)
            }
            _ => (None, Vec::new()),
        };
        if let Some(source) = job.audio.as_ref().and_then(|source| source.as_aac()) {
            // It is kept: who asks for it later does not wait for codecs. Not every sound has one.
            silent_frame(source).ok();
        }
        let audio_timescale = job.audio.as_ref().map(|config| config.timescale());
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let mut video = Vec::new();
        let mut input_tx = None;
        if !job.rungs.is_empty() {
            let encoders = job.rungs.iter().enumerate().map(|(index, rung)| {
                let is_cold = job.cold >> index & 1 == 1;
                (!is_cold).then(|| open(rung)).transpose()
            });
            let encoders = encoders.collect::<Result<Vec<_>, Error>>()?;
            let mut queues = Vec::new();
            for ((index, rung), encoder) in job.rungs.iter().enumerate().zip(encoders) {
                video.extend(encoder.iter().map(|encoder| Arc::clone(encoder.config())));
                let (frame_tx, frame_rx) = flume::bounded(MAX_FRAMES);
                let stopped = Arc::clone(&is_stopped);
                let encoded = (index, rung.clone(), encoder);
                let way_out = (outlet.clone(), placement.affinity());
                let lane = Lane::new(encoded, Arc::clone(open), way_out, stopped);
                thread(&format!("weir-{}", rung.name), move || lane.run(&frame_rx))?;
                queues.push(LaneQueue::new(frame_tx, rung.name.clone()));
            }
            let (tx, rx) = flume::bounded(job.queued());
            let shared = (Arc::clone(&queued_bytes), Arc::clone(&is_stopped));
            let worker = Worker::new(job, queues, (outlet, placement), shared)?;
            thread("weir-decode", move || worker.run(&rx))?;
            input_tx = Some(tx);
        }
        Ok(Started {
            transcoder: Self {
                input_tx,
                is_clock: matches!(job.clock, FrameClock::Constant(_)),
                queued_bytes,
                new_config: None,
                new_wanted: None,
                is_skipping: false,
                audio,
                audio_timescale: audio_timescale.unwrap_or(Timescale::MILLIS),
                is_stopped,
            },
            output_rx,
            video,
            audio: audio_configs,
        })
    }

    /// Takes a picture that arrived at `arrival`; none for one that was held. `opens_at`: a segment opens with the first frame
    /// that is not shown before it (with the source's clock). False if the decode thread is gone.
    pub fn video(
        &mut self,
        sample: Sample,
        arrival: Option<Instant>,
        opens_at: Option<i64>,
    ) -> bool {
        let Some(input_tx) = &self.input_tx else {
            return true;
        };
        if input_tx.is_disconnected() {
            return false;
        }
        if self.is_skipping && !sample.is_sync {
            return true;
        }
        let bytes = sample.data.len();
        let has_room = self.queued_bytes.load(Ordering::Relaxed) + bytes <= MAX_QUEUED_BYTES;
        let input = Input::Video {
            sample,
            arrival,
            opens_at,
            config: self.new_config.clone(),
            follows_loss: self.is_skipping,
            wanted: self.new_wanted,
        };
        if has_room && input_tx.try_send(input).is_ok() {
            self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.is_skipping = false;
            (self.new_config, self.new_wanted) = (None, None);
        } else if !self.is_skipping {
            metrics::counter!("weir_transcode_losses_total").increment(1);
            tracing::warn!("the decoder is behind; pictures are lost up to the next keyframe");
            self.is_skipping = true;
        }
        true
    }

    /// From the next picture on, which opens a segment, the rungs are encoded whose bits are set.
    pub fn want(&mut self, rungs: u32) {
        self.new_wanted = Some(rungs);
    }

    /// The configuration of the pictures to come.
    pub fn video_config(&mut self, config: Arc<VideoConfig>) {
        self.new_config = Some(config);
    }

    /// Takes a frame of sound.
    pub fn audio(&mut self, sample: Sample) {
        if let Some(input_tx) = self.input_tx.as_ref().filter(|_| self.is_clock) {
            let pts = self.audio_timescale.convert(sample.dts, Timescale::VIDEO);
            // A hint that the next frame of sound repeats.
            input_tx.try_send(Input::Sound { pts }).ok();
        }
        if let Some(audio) = &mut self.audio {
            audio.push(sample);
        }
    }

    /// No more input: what is inside comes out, then the outputs end.
    pub fn finish(&mut self) {
        self.input_tx = None;
        if let Some(audio) = &mut self.audio {
            drop(audio.finish());
        }
    }
}

impl Drop for Transcoder {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// Opens the encoders of a job.
fn opener(job: &Job) -> Arc<OpenEncoder> {
    let colour = job.video.picture.colour;
    let settings = (job.config.preset.clone(), job.segment_ms);
    Arc::new(move |rung: &VideoRung| {
        let settings = VideoSettings {
            width: rung.width,
            height: rung.height,
            fps_millis: rung.fps_millis,
            bitrate_bps: rung.bitrate_bps,
            preset: settings.0.clone(),
            profile: "main",
            segment_ms: settings.1,
            colour,
        };
        let encoder: Box<dyn EncodeVideo> = Box::new(X264Encoder::open(&settings)?);
        Ok(encoder)
    })
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    // The kernel keeps 15 bytes.
    let name: String = name.chars().take(15).collect();
    let span = tracing::Span::current();
    let run = move || span.in_scope(run);
    let spawned = std::thread::Builder::new().name(name).spawn(run);
    spawned.map(drop).map_err(Error::Thread)
}

/// The owner is woken once for a frame of sound, after the last encode's.
fn emit_audio(
    (outlet, mut affinity): (Outlet, Affinity),
    encodes: usize,
) -> impl FnMut(AudioOutput) -> bool + Send + 'static {
    move |made| {
        affinity.follow();
        let taken = match made {
            AudioOutput::Sample { encode, sample } if encode + 1 < encodes => {
                outlet.put(Output::Audio { encode, sample })
            }
            AudioOutput::Sample { encode, sample } => outlet.give(Output::Audio { encode, sample }),
            AudioOutput::Failed { what } => outlet.give(Output::Failed { what }),
        };
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests;
