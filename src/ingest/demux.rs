//! Messages become media events: codec configurations, samples, words for the streamer.
//!
//! In:  audio, video and metadata messages of one publisher. Out: at most one [`MediaEvent`] each,
//! or a [`Refusal`] when the video cannot be carried. Repeated configurations vanish here, broken
//! units are dropped and counted.
//! Not here: which audio a rendition can take (`live`): every AAC configuration is passed on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::flv::{self, AudioTag, VideoTag};
use super::gate::{Refusal, RefusalCode};
use super::media_queue::{MediaEvent, Metadata, Trouble};
use super::timeline::Timeline;
use crate::media::codec::{aac, avc};
use crate::media::{Sample, TrackKind};

/// Most different notices of one publisher.
const MAX_NOTICES: usize = 8;

/// The state between the messages of one publisher.
#[derive(Debug, Default)]
pub struct Demuxer {
    video: Option<Arc<avc::Config>>,
    audio: Option<Arc<aac::Config>>,
    /// Audio whose configuration could not be used is not passed on.
    is_audio_muted: bool,
    has_frame_rate: bool,
    timeline: Timeline,
    notices: Vec<String>,
    has_ended: bool,
    dropped: u64,
}

impl Demuxer {
    /// A demultiplexer waiting for configurations.
    pub fn new() -> Self {
        Self::default()
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

    /// Takes a video message.
    pub fn video(
        &mut self,
        timestamp: u32,
        body: &Bytes,
        now: Duration,
    ) -> Result<Option<MediaEvent>, Refusal> {
        match flv::parse_video(body) {
            Ok(VideoTag::Config(record)) => self.video_config(&record),
            Ok(VideoTag::Frame {
                composition_ms,
                data,
            }) => {
                self.has_ended = false;
                Ok(self.access_unit(timestamp, composition_ms, data, now))
            }
            Ok(VideoTag::SequenceEnd) => {
                self.has_ended = true;
                Ok(None)
            }
            Ok(VideoTag::Unsupported(name)) => Err(rejected(format!(
                "{name} is not supported, set the encoder to H.264"
            ))),
            Ok(VideoTag::Nothing) => Ok(None),
            Err(flv::Malformed) => Ok(self.drop_unit()),
        }
    }

    /// Takes an audio message.
    pub fn audio(&mut self, timestamp: u32, body: &Bytes, now: Duration) -> Option<MediaEvent> {
        match flv::parse_audio(body) {
            Ok(AudioTag::Config(bytes)) => self.audio_config(&bytes),
            Ok(AudioTag::Frame(_)) if self.audio.is_none() || self.is_audio_muted => {
                self.drop_unit()
            }
            Ok(AudioTag::Frame(data)) => match self.timeline.audio(timestamp, now) {
                Some(dts) => Some(MediaEvent::Sample(Sample::audio(dts, data))),
                None => self.drop_unit(),
            },
            Ok(AudioTag::Unsupported(name)) => {
                self.notice(format!("{name} is not carried, set the encoder to AAC"))
            }
            Ok(AudioTag::Nothing) => None,
            Err(flv::Malformed) => self.drop_unit(),
        }
    }

    /// The first configuration decides whether the stream can be carried; a broken one later is
    /// dropped.
    fn video_config(&mut self, record: &Bytes) -> Result<Option<MediaEvent>, Refusal> {
        if self
            .video
            .as_ref()
            .is_some_and(|known| known.bytes == *record)
        {
            return Ok(None);
        }
        // Copied: it outlives the network buffer it lies in.
        match avc::Config::parse(&Bytes::copy_from_slice(record)) {
            Ok(config) => {
                if let Some(fps_millis) =
                    config.declared_fps_millis.filter(|_| !self.has_frame_rate)
                {
                    self.timeline.hint_frame_rate(fps_millis);
                }
                let config = Arc::new(config);
                self.video = Some(Arc::clone(&config));
                Ok(Some(MediaEvent::VideoConfig(config)))
            }
            Err(error) if self.video.is_none() => Err(rejected(format!(
                "the video configuration cannot be used: {error}"
            ))),
            Err(_) => Ok(self.drop_unit()),
        }
    }

    fn audio_config(&mut self, bytes: &Bytes) -> Option<MediaEvent> {
        if !self.is_audio_muted
            && self
                .audio
                .as_ref()
                .is_some_and(|known| known.bytes == *bytes)
        {
            return None;
        }
        match aac::Config::parse(&Bytes::copy_from_slice(bytes)) {
            Ok(config) => {
                self.is_audio_muted = false;
                self.timeline.set_audio_scale(config.timescale());
                let config = Arc::new(config);
                self.audio = Some(Arc::clone(&config));
                Some(MediaEvent::AudioConfig(config))
            }
            Err(error) => {
                self.is_audio_muted = true;
                self.notice(format!("the audio cannot be carried: {error}"))
            }
        }
    }

    fn access_unit(
        &mut self,
        timestamp: u32,
        composition_ms: i32,
        data: Bytes,
        now: Duration,
    ) -> Option<MediaEvent> {
        let Some(config) = &self.video else {
            return self.drop_unit();
        };
        let has_nal_units = config.nal_units(&data).next().is_some();
        if !has_nal_units {
            return None;
        }
        let Ok(is_sync) = config.is_idr(&data) else {
            return self.drop_unit();
        };
        let time = self.timeline.video(timestamp, composition_ms, now);
        Some(MediaEvent::Sample(Sample {
            track: TrackKind::Video,
            dts: time.dts,
            composition_offset: time.composition_offset,
            is_sync,
            data,
        }))
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
mod tests {
    use super::*;
    use crate::media::codec::avc::tests::X264_360P30;

    const SOON: Duration = Duration::from_millis(5);

    fn tag(head: &[u8], rest: &[u8]) -> Bytes {
        [head, rest].concat().into()
    }

    fn avc_config() -> Bytes {
        tag(&[0x17, 0, 0, 0, 0], X264_360P30)
    }

    fn video(demuxer: &mut Demuxer, body: &Bytes) -> Option<MediaEvent> {
        demuxer.video(40, body, SOON).unwrap()
    }

    #[test]
    fn repeated_configurations_vanish_and_changed_ones_are_told() {
        let mut demuxer = Demuxer::new();
        assert!(
            matches!(video(&mut demuxer, &avc_config()), Some(MediaEvent::VideoConfig(c)) if c.width == 640)
        );
        assert_eq!(video(&mut demuxer, &avc_config()), None);
        assert_eq!(video(&mut demuxer, &tag(b"\x90avc1", X264_360P30)), None);
        let mut changed = X264_360P30.to_vec();
        *changed.last_mut().unwrap() = 1;
        assert!(matches!(
            video(&mut demuxer, &tag(b"\x90avc1", &changed)),
            Some(MediaEvent::VideoConfig(_))
        ));
        // Broken after a good one: the good one stays.
        assert_eq!(
            video(&mut demuxer, &tag(b"\x90avc1", &X264_360P30[..20])),
            None
        );
        assert_eq!(demuxer.take_trouble().dropped_units, 1);

        let stereo = Bytes::from_static(b"\xaf\x00\x11\x90");
        assert!(
            matches!(demuxer.audio(0, &stereo, SOON), Some(MediaEvent::AudioConfig(c)) if c.channels == 2)
        );
        assert_eq!(demuxer.audio(0, &stereo, SOON), None);
        let mono = Bytes::from_static(b"\xaf\x00\x13\x88");
        assert!(
            matches!(demuxer.audio(0, &mono, SOON), Some(MediaEvent::AudioConfig(c)) if c.channels == 1)
        );
        assert_eq!(demuxer.take_trouble().dropped_units, 0);
    }

    #[test]
    fn units_become_samples_and_broken_ones_are_counted() {
        let mut demuxer = Demuxer::new();
        let idr = Bytes::from_static(b"\x17\x01\x00\x00\x21\x00\x00\x00\x02\x65\x88");
        assert_eq!(video(&mut demuxer, &idr), None);
        video(&mut demuxer, &avc_config());
        assert_eq!(
            video(
                &mut demuxer,
                &Bytes::from_static(b"\x17\x01\x00\x00\x00\x00\x00\x00\x00")
            ),
            None
        );
        let Some(MediaEvent::Sample(sample)) = video(&mut demuxer, &idr) else {
            panic!("no sample")
        };
        assert!(sample.is_sync);
        assert_eq!(
            (sample.composition_offset, &sample.data[..]),
            (3000, &idr[5..])
        );
        assert_eq!(sample.data.as_ptr(), idr[5..].as_ptr());
        let cut = Bytes::from_static(b"\x27\x01\x00\x00\x00\x00\x00\x00\x09\x41");
        assert_eq!(video(&mut demuxer, &cut), None);
        assert_eq!(demuxer.take_trouble().dropped_units, 2);
        assert_eq!(
            demuxer.audio(0, &Bytes::from_static(b"\xaf\x01raw"), SOON),
            None
        );
        demuxer.audio(0, &Bytes::from_static(b"\xaf\x00\x11\x90"), SOON);
        let event = demuxer.audio(40, &Bytes::from_static(b"\xaf\x01raw"), SOON);
        assert!(
            matches!(event, Some(MediaEvent::Sample(s)) if s.track == TrackKind::Audio && s.data == "raw")
        );
        assert_eq!(demuxer.take_trouble().dropped_units, 1);
    }

    #[test]
    fn video_that_cannot_be_carried_is_refused_in_words() {
        let cases: [(&[u8], &str); 3] = [
            (
                b"\x90hvc1x",
                "HEVC is not supported, set the encoder to H.264",
            ),
            (
                b"\x96\x00avc1\x01x",
                "multitrack video (track 1 H.264) is not supported, set the encoder to H.264",
            ),
            (
                b"\x17\x00\x00\x00\x00\x02",
                "the video configuration cannot be used: malformed avcC: version 2",
            ),
        ];
        for (body, words) in cases {
            let refusal = Demuxer::new()
                .video(0, &Bytes::from_static(body), SOON)
                .unwrap_err();
            assert_eq!(refusal, Refusal::new(RefusalCode::Rejected, words));
        }
    }

    #[test]
    fn audio_that_cannot_be_carried_is_told_once() {
        let mut demuxer = Demuxer::new();
        let opus = Bytes::from_static(b"\x91Opusx");
        let words = "Opus is not carried, set the encoder to AAC".to_owned();
        assert_eq!(
            demuxer.audio(0, &opus, SOON),
            Some(MediaEvent::Notice(words))
        );
        assert_eq!(demuxer.audio(0, &opus, SOON), None);
        let short_frames = Bytes::from_static(b"\xaf\x00\x11\x94");
        let told = demuxer.audio(0, &short_frames, SOON);
        assert!(
            matches!(told, Some(MediaEvent::Notice(words)) if words.contains("frames of 960 samples"))
        );
        for n in 0..100u8 {
            demuxer.audio(0, &tag(b"\x91zzz", &[n, 0]), SOON);
        }
        assert_eq!(demuxer.notices.len(), MAX_NOTICES);
    }

    #[test]
    fn a_sequence_end_counts_until_video_goes_on() {
        let mut demuxer = Demuxer::new();
        video(&mut demuxer, &avc_config());
        video(&mut demuxer, &Bytes::from_static(b"\x17\x02\x00\x00\x00"));
        assert!(demuxer.has_ended());
        video(
            &mut demuxer,
            &Bytes::from_static(b"\x27\x01\x00\x00\x00\x00\x00\x00\x01\x41"),
        );
        assert!(!demuxer.has_ended());
    }
}
