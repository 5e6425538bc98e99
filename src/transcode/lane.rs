//! A lane: the thread that encodes one rung.
//!
//! In:  [`Frame`]s, the same for all lanes, through a bounded queue. Out: samples and what will not
//! come any more, in order. What breaks, even by a panic, is made anew; its next frame is a keyframe.
//! Not here: which frames there are and when segments open (`worker`, `frame_clock`).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::encoder::EncodeVideo;
use super::frame_clock::Slot;
use super::outlet::{Gone, Outlet, WakeWhenDropped};
use super::placement::Affinity;
use super::raw_frame::RawFrame;
use super::transcoder::Output;
use super::{Error, VideoRung};

/// Pauses between the attempts to bring a broken encoder back.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// After so long a lane that lost frames is thought to keep up again.
const RECOVERY: Duration = Duration::from_millis(700);

/// A frame on its way to all lanes.
#[derive(Clone)]
pub(super) struct Frame {
    /// Its pictures by rung; none for a rung that leaves it out.
    pub(super) pictures: Arc<[Option<RawFrame>]>,
    pub(super) slot: Slot,
    pub(super) arrival: Instant,
    /// Counts frames: a gap means that some were lost on the way to this lane.
    pub(super) number: u64,
    /// A bit for each rung that is shed or cold.
    pub(super) shed: u32,
    /// Wakes the owner when all lanes are done with it.
    #[expect(dead_code, reason = "what it does, it does when it is dropped")]
    pub(super) waker: Arc<WakeWhenDropped>,
}

/// The way to a lane. A lane that takes no frame for a while is left alone until it has done all
/// that waits for it: one that is too slow loses a stretch now and then, not every third frame.
pub(super) struct LaneQueue {
    frame_tx: flume::Sender<Frame>,
    /// Its rung's name.
    name: String,
    /// When the frames arrived that were given to it last.
    given: VecDeque<Instant>,
    is_stuck: bool,
    /// When it lost a frame last.
    lost: Option<Instant>,
}

impl LaneQueue {
    pub(super) fn new(frame_tx: flume::Sender<Frame>, name: String) -> Self {
        Self {
            frame_tx,
            name,
            given: VecDeque::new(),
            is_stuck: false,
            lost: None,
        }
    }

    /// Gives the lane a frame, if it takes it before `until`.
    pub(super) fn give(&mut self, frame: Frame, until: Instant) -> Result<(), Gone> {
        let arrival = frame.arrival;
        if self.is_stuck && !self.frame_tx.is_empty() {
            return self.lose();
        }
        let patience = until.saturating_duration_since(Instant::now());
        match self.frame_tx.send_timeout(frame, patience) {
            Ok(()) => {
                self.is_stuck = false;
                self.given.push_back(arrival);
                let waiting = self.frame_tx.len();
                self.given.drain(..self.given.len().saturating_sub(waiting));
                Ok(())
            }
            Err(flume::SendTimeoutError::Timeout(_)) => {
                if !self.is_stuck {
                    tracing::warn!(rendition = self.name, "an encoder takes no frames");
                }
                self.is_stuck = true;
                self.lose()
            }
            Err(flume::SendTimeoutError::Disconnected(_)) => Err(Gone),
        }
    }

    fn lose(&mut self) -> Result<(), Gone> {
        if self.frame_tx.is_disconnected() {
            return Err(Gone);
        }
        metrics::counter!("weir_transcode_lost_frames_total").increment(1);
        self.lost = Some(Instant::now());
        Ok(())
    }

    /// How late the oldest frame is that waits for the lane.
    pub(super) fn lag(&self, now: Instant) -> Duration {
        let done = self.given.len().saturating_sub(self.frame_tx.len());
        let oldest = self.given.get(done);
        oldest.map_or(Duration::ZERO, |at| now.saturating_duration_since(*at))
    }

    /// Whether it loses frames because it is too slow.
    pub(super) fn is_losing(&self, now: Instant) -> bool {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < RECOVERY;
        self.lost.is_some_and(is_recent)
    }
}

/// Makes a rung's encoder; called again when one breaks.
pub(super) type OpenEncoder =
    dyn Fn(&VideoRung) -> Result<Box<dyn EncodeVideo>, Error> + Send + Sync;

/// A lane's rung.
struct Rung {
    /// Its index in the job.
    index: usize,
    plan: VideoRung,
    encoder: Option<Box<dyn EncodeVideo>>,
    /// The next frame has to be a keyframe.
    is_fresh: bool,
    retry_at: Option<Instant>,
    pause: Duration,
}

/// A lane, on its way to its thread.
pub(super) struct Lane {
    /// With its index in the job and its encoder.
    rung: (usize, VideoRung, Option<Box<dyn EncodeVideo>>),
    open: Arc<OpenEncoder>,
    outlet: Outlet,
    affinity: Affinity,
    is_stopped: Arc<AtomicBool>,
}

impl Lane {
    /// A lane for the rung of this index in the job, whose encoder is open unless it is cold.
    pub(super) fn new(
        rung: (usize, VideoRung, Option<Box<dyn EncodeVideo>>),
        open: Arc<OpenEncoder>,
        (outlet, affinity): (Outlet, Affinity),
        is_stopped: Arc<AtomicBool>,
    ) -> Self {
        Self {
            rung,
            open,
            outlet,
            affinity,
            is_stopped,
        }
    }

    /// Encodes until the frames end or nobody takes samples.
    pub(super) fn run(mut self, frames: &flume::Receiver<Frame>) {
        let (index, plan, encoder) = self.rung;
        let mut rung = Rung::new(index, plan, encoder);
        let mut expected = 0;
        while let Ok(frame) = frames.recv() {
            let has_lost = frame.number != expected;
            expected = frame.number + 1;
            self.affinity.follow();
            let taken = rung.take(&frame, has_lost, &*self.open, &self.outlet);
            if taken.is_err() || self.is_stopped.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

impl Rung {
    fn new(index: usize, plan: VideoRung, encoder: Option<Box<dyn EncodeVideo>>) -> Self {
        Self {
            index,
            plan,
            encoder,
            is_fresh: true,
            retry_at: None,
            pause: FIRST_PAUSE,
        }
    }

    fn take(
        &mut self,
        frame: &Frame,
        has_lost: bool,
        open: &OpenEncoder,
        outlet: &Outlet,
    ) -> Result<(), Gone> {
        let send = |output| outlet.put(output);
        let rung = self.index;
        if has_lost {
            let until = frame.slot.pts;
            let is_lost = true;
            send(Output::VideoUntil {
                rung,
                until,
                is_lost,
            })?;
        }
        let is_shed = frame.shed >> self.index & 1 == 1;
        self.is_fresh |= is_shed || has_lost;
        // Between the pictures of a halved rung there is none to lose, except after one that was lost.
        let mut is_lost = self.is_fresh || frame.slot.is_for(self.plan.every);
        if let Some(Some(picture)) = frame.pictures.get(rung) {
            match self.encode(frame, picture, open) {
                Ok(Some(sample)) => {
                    is_lost = false;
                    send(Output::Video {
                        rung,
                        sample,
                        arrival: frame.arrival,
                    })?;
                }
                Ok(None) => {}
                Err(what) => send(Output::Failed { what })?,
            }
        }
        self.is_fresh |= is_lost;
        // The frame itself is done with, whatever became of it.
        let until = frame.slot.until.unwrap_or(frame.slot.pts + 1);
        send(Output::VideoUntil {
            rung,
            until,
            is_lost,
        })
    }

    /// Encodes a frame, unless a broken encoder is given a pause; the words say what broke.
    fn encode(
        &mut self,
        frame: &Frame,
        picture: &RawFrame,
        open: &OpenEncoder,
    ) -> Result<Option<crate::media::Sample>, String> {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Ok(None);
        }
        let is_keyframe = frame.slot.index == 0 || self.is_fresh;
        let picture = picture.at(frame.slot.pts);
        // After a panic the encoder is thrown away.
        let done = catch_unwind(AssertUnwindSafe(|| {
            let encoder = match &mut self.encoder {
                Some(encoder) => encoder,
                none => none.insert(open(&self.plan)?),
            };
            encoder.encode(&picture, is_keyframe)
        }));
        let what = match done {
            Ok(Ok(sample)) => {
                self.is_fresh = false;
                self.retry_at = None;
                if !is_keyframe {
                    self.pause = FIRST_PAUSE;
                }
                let label = self.plan.name.clone();
                metrics::histogram!("weir_transcode_delay_seconds", "rendition" => label)
                    .record(frame.arrival.elapsed());
                return Ok(sample);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        self.encoder = None;
        self.is_fresh = true;
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        metrics::counter!("weir_transcode_restarts_total", "what" => "encoder").increment(1);
        Err(format!("encoder of {}: {what}", self.plan.name))
    }
}
