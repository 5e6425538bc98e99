//! Messages become media events: codec configurations, samples, words for the streamer.
//!
//! In:  audio, video and metadata messages of one publisher. Out: at most two [`MediaEvent`]s each, the second by
//! [`Demuxer::rest`]: a frame may bring its configuration along. Or a [`Refusal`] when it cannot be carried.
//! Repeated configurations vanish here, broken units are dropped and counted.
//! Not here: which audio a rendition can take (`live`): every configuration is passed on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::flv::{self, AudioTag, VideoTag};
use super::gate::{Refusal, RefusalCode};
use super::media_queue::{MediaEvent, Metadata, Trouble};
use super::timeline::Timeline;
use super::video_tracks::{MultitrackInput, VideoTracks};
use crate::media::codec::video::AccessUnit;
use crate::media::codec::{AudioConfig, AudioKind, VideoConfig, VideoKind};
use crate::media::{Sample, TrackKind};

/// Most different notices of one publisher.
const MAX_NOTICES: usize = 8;

/// What the streamer reads who sends several tracks of pictures.
const ONE_IS_USED: &str = "of several video tracks the first one is used, and the server encodes the other qualities from it: switch \
     multitrack video off in the encoder to save upload";

/// The state between the messages of one publisher.
#[derive(Debug, Default)]
pub struct Demuxer {
    video: Option<Arc<VideoConfig>>,
    audio: Option<Arc<AudioConfig>>,
    /// The last configuration record of either, as it was sent.
    video_record: Bytes,
    audio_record: Bytes,
    /// What the last message gave beside the event that was returned.
    rest: Option<MediaEvent>,
    /// Audio whose configuration could not be used is not passed on.
    is_audio_muted: bool,
    has_frame_rate: bool,
    timeline: Timeline,
    tracks: VideoTracks,
    /// To be said with the next event.
    untold: VecDeque<MediaEvent>,
    notices: Vec<String>,
    has_ended: bool,
    dropped: u64,
}

impl Demuxer {
    /// A demultiplexer waiting for configurations.
    pub fn new(multitrack: MultitrackInput) -> Self {
        Self {
            tracks: VideoTracks::new(multitrack),
            ..Self::default()
        }
    }

    /// What went wrong since the last call.
    pub fn take_trouble(&mut self) -> Trouble {
        Trouble {
            dropped_units: std::mem::take(&mut self.dropped),
            jumps: self.timeline.take_jumps(),
        }
    }

    /// Whether the last video message said that the sequence is over.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes over what metadata says about the frame rate.
    pub fn metadata(&mut self, metadata: &Metadata) {
        if let Some(fps_millis) = metadata.frame_rate.and_then(fps_millis) {
            self.has_frame_rate = true;
            self.timeline.hint_frame_rate(fps_millis);
        }
    }

    /// What the last message gave beside what was returned; to be asked until there is nothing more.
    pub fn rest(&mut self) -> Option<MediaEvent> {
        self.rest.take().or_else(|| self.untold.pop_front())
    }

    /// Takes a video message.
    pub fn video(
        &mut self,
        timestamp: u32,
        body: &Bytes,
        now: Duration,
    ) -> Result<Option<MediaEvent>, Refusal> {
        match flv::parse_video(body) {
            Ok(VideoTag::Multitrack { first, others }) => {
                if self.tracks.saw_others(&others)? {
                    let words = ONE_IS_USED.to_owned();
                    self.untold.push_back(MediaEvent::TracksUnused(words));
                }
                for (number, tag) in &others {
                    let first = self.video.as_deref();
                    if let Some(config) = self.tracks.configuration(*number, tag, first)? {
                        let event = MediaEvent::OtherTrack(*number, config);
                        self.untold.push_back(event);
                    }
                }
                match first {
                    Some(first) => self.first_track(timestamp, *first, now),
                    None => Ok(None),
                }
            }
            Ok(tag) => self.first_track(timestamp, tag, now),
            Err(flv::Malformed) => Ok(self.drop_unit()),
        }
    }

    fn first_track(
        &mut self,
        timestamp: u32,
        tag: VideoTag,
        now: Duration,
    ) -> Result<Option<MediaEvent>, Refusal> {
        match tag {
            VideoTag::Config(kind, record) => self.video_config(kind, &record),
            VideoTag::Frame {
                kind,
                composition_ms,
                data,
            } => {
                self.has_ended = false;
                self.tracks.saw_picture(timestamp)?;
                Ok(self.access_unit(kind, (timestamp, composition_ms), data, now))
            }
            VideoTag::SequenceEnd => {
                self.has_ended = true;
                Ok(None)
            }
            VideoTag::Unsupported(name) => Err(rejected(format!(
                "{name} is not supported, set the encoder to H.264, HEVC, AV1 or VP9"
            ))),
            // Nothing nests.
            VideoTag::Nothing | VideoTag::Multitrack { .. } => Ok(None),
        }
    }

    /// Takes an audio message.
    pub fn audio(
        &mut self,
        timestamp: u32,
        body: &Bytes,
        now: Duration,
    ) -> Result<Option<MediaEvent>, Refusal> {
        let tag = match flv::parse_audio(body) {
            Ok(AudioTag::Multitrack(Some(first))) => Ok(*first),
            tag => tag,
        };
        Ok(match tag {
            Ok(AudioTag::Config(kind, bytes)) => self.audio_config(kind, &bytes),
            Ok(AudioTag::Frame(kind, data)) => self.audio_frame(kind, timestamp, data, now),
            Ok(AudioTag::Unsupported(name)) => {
                self.notice(format!("{name} is not carried, set the encoder to AAC"))
            }
            Ok(AudioTag::Unannounced(name)) => {
                return Err(rejected(format!(
                    "{name} is not supported, set the encoder to AAC"
                )));
            }
            // A mix of its own, for recordings: the first track is what viewers hear.
            Ok(AudioTag::Nothing | AudioTag::Multitrack(_)) => None,
            Err(flv::Malformed) => self.drop_unit(),
        })
    }

    /// The first configuration decides whether the stream can be carried; a broken one later is
    /// dropped. VP9's frames say more than its record.
    fn video_config(
        &mut self,
        kind: VideoKind,
        record: &Bytes,
    ) -> Result<Option<MediaEvent>, Refusal> {
        let is_known = |known: &Arc<VideoConfig>| known.kind() == kind;
        if kind == VideoKind::Vp9
            || (self.video.as_ref().is_some_and(is_known) && self.video_record == *record)
        {
            return Ok(None);
        }
        // Copied: it outlives the network buffer it lies in.
        let record = Bytes::copy_from_slice(record);
        match VideoConfig::parse(kind, &record) {
            Ok(config) => {
                self.video_record = record;
                Ok(Some(self.new_video(config)))
            }
            Err(error) if self.video.is_none() => Err(rejected(format!(
                "the video configuration cannot be used: {error}"
            ))),
            Err(_) => Ok(self.drop_unit()),
        }
    }

    fn new_video(&mut self, config: VideoConfig) -> MediaEvent {
        if let Some(fps_millis) = config.declared_fps_millis.filter(|_| !self.has_frame_rate) {
            self.timeline.hint_frame_rate(fps_millis);
        }
        let config = Arc::new(config);
        self.video = Some(Arc::clone(&config));
        MediaEvent::VideoConfig(config)
    }

    fn audio_config(&mut self, kind: AudioKind, bytes: &Bytes) -> Option<MediaEvent> {
        let is_known = |known: &Arc<AudioConfig>| known.kind() == kind;
        if !self.is_audio_muted
            && self.audio.as_ref().is_some_and(is_known)
            && self.audio_record == *bytes
        {
            return None;
        }
        let record = Bytes::copy_from_slice(bytes);
        match AudioConfig::parse(kind, &record) {
            Ok(config) => {
                self.audio_record = record;
                Some(self.new_audio(config))
            }
            Err(error) => {
                self.is_audio_muted = true;
                self.notice(format!("the audio cannot be carried: {error}"))
            }
        }
    }

    fn new_audio(&mut self, config: AudioConfig) -> MediaEvent {
        self.is_audio_muted = false;
        self.timeline.set_audio_scale(config.timescale());
        let config = Arc::new(config);
        self.audio = Some(Arc::clone(&config));
        MediaEvent::AudioConfig(config)
    }

    fn audio_frame(
        &mut self,
        kind: AudioKind,
        timestamp: u32,
        data: Bytes,
        now: Duration,
    ) -> Option<MediaEvent> {
        let mut renewed = None;
        if kind == AudioKind::Mp3
            && let Ok(config) = AudioConfig::parse(kind, &data)
            && self.audio.as_deref() != Some(&config)
        {
            renewed = Some(self.new_audio(config));
        }
        let config = self.audio.as_ref().filter(|config| config.kind() == kind);
        let samples = config.and_then(|config| config.samples_in(&data));
        let place = samples.filter(|_| !self.is_audio_muted);
        let place = place.and_then(|samples| self.timeline.audio(timestamp, samples, now));
        let sample = match place {
            Some(dts) => Some(MediaEvent::Sample(Sample::audio(dts, data))),
            None => self.drop_unit(),
        };
        self.both(renewed, sample)
    }

    fn access_unit(
        &mut self,
        kind: VideoKind,
        (timestamp, composition_ms): (u32, i32),
        data: Bytes,
        now: Duration,
    ) -> Option<MediaEvent> {
        let mut renewed = None;
        let has_config = |config: &Arc<VideoConfig>| config.kind() == kind;
        if !self.video.as_ref().is_some_and(has_config) {
            // A codec whose frames bring all that is needed may do without a record.
            let brought = VideoConfig::of_unit(kind, &data);
            renewed = brought.map(|config| self.new_video(config));
        }
        let Some(config) = self.video.as_ref().filter(|config| has_config(config)) else {
            return self.drop_unit();
        };
        let unit = match config.examine(data) {
            Ok(Some(unit)) => unit,
            Ok(None) => return self.both(renewed, None),
            Err(_) => {
                let dropped = self.drop_unit();
                return self.both(renewed, dropped);
            }
        };
        let AccessUnit {
            is_sync,
            data,
            renewed: other,
        } = unit;
        if let Some(config) = other {
            renewed = Some(self.new_video(config));
        }
        let sample = (!data.is_empty()).then(|| {
            let time = self.timeline.video(timestamp, composition_ms, now);
            MediaEvent::Sample(Sample {
                track: TrackKind::Video,
                dts: time.dts,
                composition_offset: time.composition_offset,
                is_sync,
                data,
            })
        });
        self.both(renewed, sample)
    }

    /// Returns the first of two events that there is, and keeps the second.
    fn both(
        &mut self,
        first: Option<MediaEvent>,
        second: Option<MediaEvent>,
    ) -> Option<MediaEvent> {
        match first {
            Some(first) => {
                self.rest = second;
                Some(first)
            }
            None => second,
        }
    }

    /// Says something once.
    fn notice(&mut self, words: String) -> Option<MediaEvent> {
        if self.notices.len() >= MAX_NOTICES || self.notices.contains(&words) {
            return None;
        }
        self.notices.push(words.clone());
        Some(MediaEvent::Notice(words))
    }

    fn drop_unit(&mut self) -> Option<MediaEvent> {
        self.dropped = self.dropped.saturating_add(1);
        None
    }
}

fn rejected(description: String) -> Refusal {
    Refusal::new(RefusalCode::Rejected, description)
}

/// Thousandths of a plausible frame rate.
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
