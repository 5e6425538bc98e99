//! The meter of one publisher: counts what comes, sample by sample.
//!
//! In:  media events in their order. Out: a [`Second`] whenever one is asked for, and the [`Facts`] of the
//! whole publish. Pure; no clock and no allocation per sample.
//! Not here: what any of it means (`rules`).

use std::sync::Arc;

use super::second::Second;
use crate::base::clock::WallTime;
use crate::ingest::{MediaEvent, Metadata};
use crate::media::codec::AudioConfig;
use crate::media::{Sample, Timescale, TrackKind};

/// Keyframe intervals remembered.
const GOPS: usize = 5;
/// Most trust that a picture's duration earns: how many others it takes to change it.
const MAX_TRUST: u32 = 60;
/// Most pictures that one gap may lack; a longer one is a pause.
const MAX_MISSING: i64 = 240;
/// Seconds from which the usual distance between sound and picture is taken.
const SETTLING_SECONDS: u32 = 3;
/// A second with fewer pictures after sound than this says nothing about drift.
const MIN_SAMPLES: u64 = 3;

/// What is known of a publisher besides its seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::live) struct Facts {
    /// Bits per second of both tracks, as the encoder declares them.
    pub(in crate::live) declared_bps: Option<u64>,
    /// Frames per 1000 seconds, as the encoder declares them.
    pub(in crate::live) declared_fps_millis: Option<u32>,
    /// The newest whole keyframe intervals, in milliseconds, in no order.
    pub(in crate::live) gops_ms: [Option<u64>; GOPS],
    /// By how much the first sound came after the first picture, if both came.
    pub(in crate::live) audio_delay_ms: Option<i64>,
}

/// Measures one publisher.
#[derive(Debug, Default)]
pub(in crate::live) struct Meter {
    second: Second,
    facts: Facts,
    pictures: Pictures,
    sound: Sound,
    drift: Drift,
    /// How far media time had come when the second began, in the pictures' ticks.
    begun_at: Option<i64>,
}

/// The pictures' rhythm.
#[derive(Debug, Default)]
struct Pictures {
    first: Option<i64>,
    last: Option<i64>,
    /// The duration that most pictures have, and how sure that is.
    step: i64,
    trust: u32,
    keyframe: Option<i64>,
    gops: usize,
}

/// The sound's place in time, in the pictures' ticks.
#[derive(Debug)]
struct Sound {
    timescale: Timescale,
    config: Option<Arc<AudioConfig>>,
    first: Option<i64>,
    end: Option<i64>,
    /// Whether any came since the last picture.
    is_fresh: bool,
}

/// How far sound reaches beyond a picture when that comes.
#[derive(Debug, Default)]
struct Drift {
    sum: i64,
    count: u64,
    settled: u32,
    usual: i64,
}

impl Meter {
    /// Counts an event.
    pub(in crate::live) fn observe(&mut self, event: &MediaEvent) {
        match event {
            MediaEvent::Sample(sample) if sample.track == TrackKind::Video => self.picture(sample),
            MediaEvent::Sample(sample) => self.sound(sample),
            MediaEvent::Metadata(metadata) => {
                self.facts.declared_bps = declared_bps(metadata);
                let declared = metadata.frame_rate.and_then(fps_millis);
                self.facts.declared_fps_millis = declared.or(self.facts.declared_fps_millis);
            }
            MediaEvent::VideoConfig(config) => {
                let declared = self.facts.declared_fps_millis;
                self.facts.declared_fps_millis = declared.or(config.declared_fps_millis);
            }
            MediaEvent::AudioConfig(config) => {
                self.sound.timescale = config.timescale();
                self.sound.config = Some(Arc::clone(config));
            }
            MediaEvent::Trouble(trouble) => {
                self.second.dropped_units += trouble.dropped_units;
                self.second.jumps += u64::from(trouble.jumps);
            }
            MediaEvent::Notice(_)
            | MediaEvent::TracksUnused(_)
            | MediaEvent::OtherTrack(..)
            | MediaEvent::Text(_)
            | MediaEvent::End(_) => {}
        }
    }

    /// So many parts were given to viewers, so many of them late.
    pub(in crate::live) fn note_parts(&mut self, parts: u64, late: u64) {
        self.second.parts += parts;
        self.second.late_parts += late;
    }

    /// What is known besides.
    pub(in crate::live) fn facts(&self) -> Facts {
        self.facts
    }

    /// Closes the second that ends at `at` and lasted `elapsed_ms`.
    pub(in crate::live) fn take_second(&mut self, at: WallTime, elapsed_ms: u64) -> Second {
        let newest = self.pictures.last.max(self.sound.end);
        let advance = newest.unwrap_or(0) - self.begun_at.or(newest).unwrap_or(0);
        self.begun_at = newest;
        let av_drift_ms = self.drift.take();
        Second {
            at,
            elapsed_ms,
            media_ms: millis(advance),
            keyframe_interval_ms: self.keyframe_interval_ms(),
            av_drift_ms,
            ..std::mem::take(&mut self.second)
        }
    }

    fn picture(&mut self, sample: &Sample) {
        self.second.video_bits += bits(sample);
        self.second.pictures += 1;
        let Pictures { last, step, .. } = self.pictures;
        self.pictures.first.get_or_insert(sample.dts);
        self.begun_at.get_or_insert(sample.dts);
        if let Some(last) = last {
            let distance = sample.dts - last;
            self.pictures.learn(distance);
            if step > 0 && !is_near(distance, step) {
                self.second.uneven_pictures += 1;
            }
            if step > 0 && distance > step {
                let missing = (distance + step / 2) / step - 1;
                self.second.missing_pictures += missing.clamp(0, MAX_MISSING).unsigned_abs();
            }
        }
        self.pictures.last = Some(sample.dts);
        if std::mem::take(&mut self.sound.is_fresh)
            && let Some(end) = self.sound.end
        {
            self.drift.sum += (end - sample.dts) / 90;
            self.drift.count += 1;
        }
        if sample.is_sync
            && let Some(keyframe) = self.pictures.keyframe.replace(sample.dts)
        {
            let slot = self.pictures.gops % GOPS;
            self.facts.gops_ms[slot] = Some(millis(sample.dts - keyframe));
            self.pictures.gops += 1;
        }
    }

    fn sound(&mut self, sample: &Sample) {
        self.second.audio_bits += bits(sample);
        self.second.sounds += 1;
        let ticks = |dts| self.sound.timescale.convert(dts, Timescale::VIDEO);
        let begin = ticks(sample.dts);
        let config = self.sound.config.as_ref();
        let lasts = config.and_then(|config| config.samples_in(&sample.data));
        let end = ticks(sample.dts.saturating_add(lasts.unwrap_or(0)));
        self.begun_at.get_or_insert(begin);
        let first = *self.sound.first.get_or_insert(begin);
        (self.sound.end, self.sound.is_fresh) = (Some(end), true);
        if let Some(picture) = self.pictures.first {
            let delay = || (first - picture) / 90;
            self.facts.audio_delay_ms.get_or_insert_with(delay);
        }
    }

    fn keyframe_interval_ms(&self) -> Option<u64> {
        let newest = self.pictures.gops.checked_sub(1)? % GOPS;
        let whole = self.facts.gops_ms[newest];
        let open = self.pictures.last.zip(self.pictures.keyframe);
        whole.max(open.map(|(last, keyframe)| millis(last - keyframe)))
    }
}

impl Pictures {
    /// A majority vote: the duration of most pictures wins, however the others vary.
    fn learn(&mut self, distance: i64) {
        if is_near(distance, self.step) {
            self.trust = (self.trust + 1).min(MAX_TRUST);
        } else if self.trust == 0 {
            (self.step, self.trust) = (distance, 1);
        } else {
            self.trust -= 1;
        }
    }
}

impl Default for Sound {
    fn default() -> Self {
        Self {
            timescale: Timescale::MILLIS,
            config: None,
            first: None,
            end: None,
            is_fresh: false,
        }
    }
}

impl Drift {
    /// This second's average, compared with the usual one; none while that settles.
    fn take(&mut self) -> Option<i64> {
        let (sum, count) = (
            std::mem::take(&mut self.sum),
            std::mem::take(&mut self.count),
        );
        if count < MIN_SAMPLES {
            return None;
        }
        let average = sum / i64::try_from(count).unwrap_or(i64::MAX);
        if self.settled < SETTLING_SECONDS {
            // The middle way between what was seen so far.
            let settled = i64::from(self.settled);
            self.usual = (self.usual * settled + average) / (settled + 1);
            self.settled += 1;
            return None;
        }
        Some(average - self.usual)
    }
}

/// Within a quarter, as milliseconds round the durations of fast pictures.
fn is_near(distance: i64, step: i64) -> bool {
    distance.abs_diff(step) <= step.unsigned_abs() / 4
}

fn bits(sample: &Sample) -> u64 {
    8 * u64::try_from(sample.data.len()).unwrap_or(u64::MAX / 8)
}

fn millis(ticks: i64) -> u64 {
    ticks.max(0).unsigned_abs() / 90
}

/// Bits per second of both tracks as the encoder declares them, if it declares the video's.
pub(in crate::live) fn declared_bps(metadata: &Metadata) -> Option<u64> {
    let audio_kbps = metadata.audio_data_rate_kbps.unwrap_or(0.0);
    let kbps = metadata.video_data_rate_kbps? + audio_kbps;
    // What no encoder sends says nothing about this one.
    let is_plausible = (1.0..=1_000_000.0).contains(&kbps);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range"
    )]
    is_plausible.then_some((kbps * 1000.0) as u64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked"
)]
fn fps_millis(fps: f64) -> Option<u32> {
    (1.0..=240.0)
        .contains(&fps)
        .then(|| (fps * 1000.0).round() as u32)
}

#[cfg(test)]
mod tests;
