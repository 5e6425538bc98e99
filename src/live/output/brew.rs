//! A brew: one segment of one rung, made apart from all that is live.
//!
//! In:  the source's pictures from the segment's first on, the rung's sound, the spans of its parts. Out: the parts'
//! media, in order. The segment may be complete, or be under way: then its end comes when it comes. A rung's segment is
//! a function of its source's, because each begins with an IDR picture and an encoder of its own.
//! Not here: which segment, and when (`on_demand`).

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::base::clock::WallTime;
use crate::media::{AudioTrack, Sample, Timescale, TrackKind, Tracks};
use crate::packaging::segmenter::Span;
use crate::packaging::{self, Cue, Packager, Part};
use crate::transcode::{Job, Output as Made, Started, Transcoder};

/// What may wait for a brew of a segment under way: ten seconds of pictures and sound at 120 pictures a second.
pub(super) const MAX_INPUTS: usize = 2048;
/// Parts that may wait for the owner: more than a segment has.
const MAX_PARTS: usize = 128;
/// No picture comes after this; beyond what any stream reaches.
const NEVER: i64 = 1 << 60;

/// What a brew is given, in this order for each part: all that begins in it before its span.
pub(super) enum Input {
    /// A picture of the source.
    Picture(Sample),
    /// A frame of the rung's sound.
    Sound(Sample),
    /// Something is said.
    Cue(Cue),
    /// The rung has a part there.
    Span(Span),
}

/// What to make.
pub(super) struct Order {
    /// Of one rung.
    pub(super) job: Job,
    pub(super) packaging: packaging::Config,
    pub(super) tracks: Tracks,
    /// How far presentation is behind decoding on the leader's timeline.
    pub(super) shift: i64,
    /// What the wall clock said at the segment's start.
    pub(super) clock: WallTime,
}

/// A brew as its owner sees it. Dropped, it stops.
pub(super) struct Brew {
    pub(super) slot: usize,
    pub(super) msn: u64,
    /// Which of the timeline's sounds it has.
    pub(super) sound: Option<usize>,
    /// None when it has all.
    input_tx: Option<mpsc::Sender<Input>>,
    part_rx: mpsc::Receiver<Part>,
    /// Whether its segment is not complete, and where it ends if that is known.
    pub(super) is_live: bool,
    pub(super) end: Option<i64>,
}

impl Brew {
    /// A brew and what makes it, to be run as a task.
    pub(super) fn new(
        (slot, msn): (usize, u64),
        sound: Option<usize>,
        order: Order,
        given: Vec<Input>,
        is_live: bool,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (input_tx, input_rx) = mpsc::channel(given.len() + MAX_INPUTS);
        let (part_tx, part_rx) = mpsc::channel(MAX_PARTS);
        let mut brew = Self {
            slot,
            msn,
            sound,
            input_tx: Some(input_tx),
            part_rx,
            is_live,
            end: None,
        };
        for input in given {
            brew.give(input);
        }
        if !is_live {
            brew.input_tx = None;
        }
        (brew, run(order, input_rx, part_tx))
    }

    /// Gives it more. One that takes no more is told that this was all, and lacks the rest.
    pub(super) fn give(&mut self, input: Input) {
        let is_taken = match &self.input_tx {
            Some(input_tx) => input_tx.try_send(input).is_ok(),
            None => return,
        };
        if !is_taken {
            self.input_tx = None;
        }
    }

    /// It has all.
    pub(super) fn finish(&mut self) {
        self.input_tx = None;
    }

    /// Its next part; none if there are no more.
    pub(super) fn poll_part(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Part>> {
        self.part_rx.poll_recv(context)
    }
}

async fn run(order: Order, input_rx: mpsc::Receiver<Input>, part_tx: mpsc::Sender<Part>) {
    let job = order.job.clone();
    let opened = tokio::task::spawn_blocking(move || Transcoder::start(&job)).await;
    let made = match opened {
        Ok(Ok(started)) => make(&order, started, input_rx, &part_tx).await,
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(words) = made {
        tracing::error!(words, "cannot make a segment that was asked for");
    }
}

async fn make(
    order: &Order,
    started: Started,
    mut input_rx: mpsc::Receiver<Input>,
    part_tx: &mpsc::Sender<Part>,
) -> Result<(), String> {
    let known = order.tracks.video.as_ref().map(|track| &track.config);
    if known != started.video.first() {
        return Err("its parameter sets are not those that players have".to_owned());
    }
    let in_words = |error: packaging::Error| error.to_string();
    let mut packager =
        Packager::following(&order.packaging, order.tracks.clone()).map_err(in_words)?;
    packager.wait_for_audio(NEVER);
    packager.set_clock(order.clock);
    let (mut transcoder, mut products) = (started.transcoder, started.output_rx);
    let (mut has_more, mut has_begun) = (true, false);
    loop {
        tokio::select! {
            input = input_rx.recv(), if has_more => match input {
                Some(Input::Picture(picture)) => {
                    let opens_at = (!has_begun).then_some(picture.pts());
                    has_begun = true;
                    transcoder.video(picture, None, opens_at);
                }
                Some(Input::Sound(sound)) => {
                    packager.push(sound).map_err(in_words)?;
                }
                Some(Input::Cue(cue)) => packager.push_cue(cue),
                Some(Input::Span(span)) => packager.push_span(span),
                None => {
                    has_more = false;
                    transcoder.finish();
                }
            },
            made = products.recv() => match made {
                Some(made) => take(&mut packager, order.shift, made).map_err(in_words)?,
                None => break,
            },
        }
        if !give(&mut packager, part_tx).await {
            return Ok(());
        }
    }
    // Nobody tells any more what became of its last picture, nor waits for sound.
    packager.video_until(NEVER, false);
    packager.wait_for_audio(0);
    give(&mut packager, part_tx).await;
    Ok(())
}

fn take(packager: &mut Packager, shift: i64, made: Made) -> Result<(), packaging::Error> {
    match made {
        Made::Video { sample, .. } => {
            let sample = on_the_grid(sample, shift);
            packager.push(sample)?;
        }
        Made::VideoUntil { until, is_lost, .. } => packager.video_until(until - shift, is_lost),
        Made::Failed { what } => tracing::error!(what, "making a segment begins anew"),
        _ => {}
    }
    Ok(())
}

/// Gives what is made to the owner; false if it does not want it.
async fn give(packager: &mut Packager, part_tx: &mpsc::Sender<Part>) -> bool {
    while let Some(part) = packager.poll() {
        if part_tx.send(part).await.is_err() {
            return false;
        }
    }
    true
}

/// What was encoded, on the leader's decoding times.
pub(super) fn on_the_grid(sample: Sample, shift: i64) -> Sample {
    Sample {
        dts: sample.dts - shift,
        composition_offset: i32::try_from(shift).unwrap_or(0),
        ..sample
    }
}

/// A sound whose data is alone: a source's is a piece of all that came with it.
pub(super) fn alone(sample: &Sample) -> Sample {
    let data = Bytes::copy_from_slice(&sample.data);
    debug_assert!(sample.track == TrackKind::Audio, "pictures are not kept");
    Sample::audio(sample.dts, data)
}

/// When a frame of sound ends, in the pictures' ticks.
pub(super) fn sound_end(track: Option<&AudioTrack>, sample: &Sample) -> i64 {
    let timescale = track.map_or(Timescale::VIDEO, AudioTrack::timescale);
    let end = sample.dts + crate::media::codec::aac::SAMPLES_PER_FRAME;
    timescale.convert(end, Timescale::VIDEO)
}
