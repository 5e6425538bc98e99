//! One publisher's events, decided: what becomes of each, without doing it.
//!
//! In:  media events in their order. Out: an [`Action`] each, carried out by `session`. Pure.
//! Tracks change at IDR pictures only. A GOP that runs over the segment's limit in mid-stream is
//! survived with a discontinuity; a publisher whose GOPs do so again and again is sent away.
//! Not here: time limits, the playlists (`output`).

use std::sync::Arc;

use super::start::{Ready, Start, Verdict, long_gop};
use crate::ingest::{EndReason, MediaEvent, Metadata};
use crate::media::codec::aac;
use crate::media::{AudioTrack, Sample, TrackKind, Tracks};
use crate::playlist::Config;

/// Overruns in a row after which the keyframe interval is to blame, not a hiccup.
const MAX_OVERRUNS: u32 = 3;

/// What to do with an event.
#[derive(Debug)]
pub(super) enum Action {
    /// Nothing.
    Wait,
    /// Tell the streamer.
    Tell(String),
    /// The stream can pass: open the playlists and push what was held.
    Begin(Ready),
    /// Package the sample.
    Push(Sample),
    /// Begin a new timeline of these tracks with this IDR picture.
    Change(Tracks, Sample),
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
}

/// The state of one publisher.
#[derive(Debug)]
pub(super) struct Intake {
    grid: Config,
    metadata: Metadata,
    /// The audio configuration in force, if it can be carried.
    audio: Option<Arc<aac::Config>>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The first GOP is held.
    Starting(Start),
    /// Samples flow; `wanted` becomes `current` at the next IDR picture.
    Live {
        current: Tracks,
        wanted: Tracks,
        /// Nothing can be decoded before the next IDR picture.
        is_interrupted: bool,
        /// Whether the GOP since the last IDR picture has kept to the limit.
        is_within: bool,
        /// GOPs in a row that have not.
        overruns: u32,
    },
}

impl Intake {
    /// A publisher that has sent nothing yet.
    pub(super) fn new(grid: Config) -> Self {
        let phase = Phase::Starting(Start::new(grid));
        Self {
            grid,
            metadata: Metadata::default(),
            audio: None,
            phase,
        }
    }

    /// Whether its stream is being packaged.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    /// Bits per second of both tracks as the encoder declares them, if it declares the video's.
    pub(super) fn declared_bps(&self) -> Option<u64> {
        let audio_kbps = self.metadata.audio_data_rate_kbps.unwrap_or(0.0);
        let kbps = self.metadata.video_data_rate_kbps? + audio_kbps;
        // What no encoder sends says nothing about this one.
        let is_plausible = (1.0..=1_000_000.0).contains(&kbps);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range"
        )]
        is_plausible.then_some((kbps * 1000.0) as u64)
    }

    /// Decides an event.
    pub(super) fn take(&mut self, event: MediaEvent) -> Action {
        match event {
            MediaEvent::End(EndReason::Unpublished) => return Action::Leave(Ending::Unpublished),
            MediaEvent::End(EndReason::Lost(reason)) => return Action::Leave(Ending::Lost(reason)),
            MediaEvent::Notice(words) => return Action::Tell(words),
            MediaEvent::AudioConfig(config) => return self.audio_config(config),
            MediaEvent::Sample(sample) => return self.sample(sample),
            MediaEvent::Metadata(metadata) => self.metadata = metadata,
            MediaEvent::VideoConfig(config) => match &mut self.phase {
                Phase::Starting(start) => start.video_config(config),
                Phase::Live { wanted, .. } => wanted.video.config = config,
            },
        }
        Action::Wait
    }

    /// AAC-LC, mono or stereo, is carried as it is; anything else waits for the ladder.
    fn audio_config(&mut self, config: Arc<aac::Config>) -> Action {
        let words = config.describe();
        let is_usual = matches!(config.sample_rate, 44_100 | 48_000);
        self.audio = config.is_stereo_or_mono_lc().then_some(config);
        match &mut self.phase {
            Phase::Starting(start) => start.audio_config(self.audio.clone()),
            // A configuration promises nothing: only samples make a track.
            Phase::Live { wanted, .. } if self.audio.is_none() => wanted.audio = None,
            Phase::Live { .. } => {}
        }
        match self.audio {
            None => Action::Tell(format!(
                "the audio ({words}) cannot be carried yet: send AAC-LC stereo"
            )),
            Some(_) if !is_usual => Action::Tell(format!(
                "the audio ({words}) is passed on as it is; 48000 Hz is safer"
            )),
            Some(_) => Action::Wait,
        }
    }

    fn sample(&mut self, sample: Sample) -> Action {
        let (current, wanted, is_interrupted, is_within, overruns) = match &mut self.phase {
            Phase::Starting(start) => {
                let verdict = start.push(sample);
                return self.started(verdict);
            }
            Phase::Live {
                current,
                wanted,
                is_interrupted,
                is_within,
                overruns,
            } => (current, wanted, is_interrupted, is_within, overruns),
        };
        if sample.track == TrackKind::Video && sample.is_sync {
            if *is_within {
                *overruns = 0;
            }
            *is_within = true;
        }
        match sample.track {
            TrackKind::Audio => {
                let config = self.audio.as_ref();
                if wanted.audio.as_ref().map(|track| &track.config) != config {
                    wanted.audio = config.cloned().map(|config| AudioTrack { config });
                }
                let fits = current.audio.is_some() && current.audio == wanted.audio;
                if fits && !*is_interrupted {
                    Action::Push(sample)
                } else {
                    Action::Wait
                }
            }
            TrackKind::Video if sample.is_sync && (*is_interrupted || current != wanted) => {
                current.clone_from(wanted);
                *is_interrupted = false;
                Action::Change(current.clone(), sample)
            }
            TrackKind::Video if *is_interrupted => Action::Wait,
            TrackKind::Video => Action::Push(sample),
        }
    }

    fn started(&mut self, verdict: Verdict) -> Action {
        match verdict {
            Verdict::Hold => Action::Wait,
            Verdict::Refuse(words) => Action::Leave(Ending::Refused(words)),
            Verdict::Go(ready) => {
                let tracks = ready.tracks.clone();
                self.phase = Phase::Live {
                    current: tracks.clone(),
                    wanted: tracks,
                    is_interrupted: false,
                    is_within: true,
                    overruns: 0,
                };
                Action::Begin(ready)
            }
        }
    }

    /// The open segment has no room for `sample`: the encoder paused, its source jumped, or its
    /// keyframe interval is too long after all.
    pub(super) fn overrun(&mut self, sample: Sample) -> Action {
        let Phase::Live {
            current,
            is_interrupted,
            is_within,
            overruns,
            ..
        } = &mut self.phase
        else {
            return Action::Wait;
        };
        *overruns += 1;
        *is_within = false;
        if *overruns >= MAX_OVERRUNS {
            return Action::Leave(Ending::Refused(long_gop(&self.grid)));
        }
        if sample.track == TrackKind::Video && sample.is_sync {
            return Action::Change(current.clone(), sample);
        }
        *is_interrupted = true;
        Action::Interrupt
    }
}

#[cfg(test)]
mod tests;
