//! Messages become media events: codec configurations, samples, words for the streamer.
//!
//! In:  audio, video and metadata messages of one publisher. Out: at most two [`MediaEvent`]s each, the second by
//! [`Demuxer::rest`]: a frame may bring its configuration along. Or a [`Refusal`] when it cannot be carried.
//! Repeated configurations vanish here, broken units are dropped and counted.
//! Not here: which audio a rendition can take (`live`): every configuration is passed on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::flv::{self, AudioTag, VideoTag};
use super::gate::{Refusal, RefusalCode};
use super::media_queue::{MediaEvent, Metadata, Trouble};
use super::timeline::Timeline;
use crate::media::codec::video::AccessUnit;
use crate::media::codec::{AudioConfig, AudioKind, VideoConfig, VideoKind};
use crate::media::{Sample, TrackKind};

/// Most different notices of one publisher.
const MAX_NOTICES: usize = 8;

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

    /// The second event of the last message.
    pub fn rest(&mut self) -> Option<MediaEvent> {
        self.rest.take()
    }

    /// Takes a video message.
    pub fn video(
        &mut self,
        timestamp: u32,
        body: &Bytes,
        now: Duration,
    ) -> Result<Option<MediaEvent>, Refusal> {
        match flv::parse_video(body) {
            Ok(VideoTag::Config(kind, record)) => self.video_config(kind, &record),
            Ok(VideoTag::Frame {
                kind,
                composition_ms,
                data,
            }) => {
                self.has_ended = false;
                Ok(self.access_unit(kind, (timestamp, composition_ms), data, now))
            }
            Ok(VideoTag::SequenceEnd) => {
                self.has_ended = true;
                Ok(None)
            }
            Ok(VideoTag::Unsupported(name)) => Err(rejected(format!(
                "{name} is not supported, set the encoder to H.264, HEVC, AV1 or VP9"
            ))),
            Ok(VideoTag::Nothing) => Ok(None),
            Err(flv::Malformed) => Ok(self.drop_unit()),
        }
    }

    /// Takes an audio message.
    pub fn audio(
        &mut self,
        timestamp: u32,
        body: &Bytes,
        now: Duration,
    ) -> Result<Option<MediaEvent>, Refusal> {
        Ok(match flv::parse_audio(body) {
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
            Ok(AudioTag::Nothing) => None,
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
mod tests {
    use super::*;
    use crate::media::codec::avc::tests::X264_360P30;
    use crate::media::codec::hevc::tests::X265_360P30;

    const SOON: Duration = Duration::from_millis(5);

    fn tag(head: &[u8], rest: &[u8]) -> Bytes {
        [head, rest].concat().into()
    }

    fn avc_config() -> Bytes {
        tag(&[0x17, 0, 0, 0, 0], X264_360P30)
    }

    fn audio(demuxer: &mut Demuxer, body: &Bytes) -> Option<MediaEvent> {
        demuxer.audio(0, body, SOON).unwrap()
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
            matches!(audio(&mut demuxer, &stereo), Some(MediaEvent::AudioConfig(c)) if !c.is_mono())
        );
        assert_eq!(audio(&mut demuxer, &stereo), None);
        let mono = Bytes::from_static(b"\xaf\x00\x13\x88");
        assert!(
            matches!(audio(&mut demuxer, &mono), Some(MediaEvent::AudioConfig(c)) if c.is_mono())
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
            audio(&mut demuxer, &Bytes::from_static(b"\xaf\x01raw")),
            None
        );
        audio(&mut demuxer, &Bytes::from_static(b"\xaf\x00\x11\x90"));
        let event = demuxer
            .audio(40, &Bytes::from_static(b"\xaf\x01raw"), SOON)
            .unwrap();
        assert!(
            matches!(event, Some(MediaEvent::Sample(s)) if s.track == TrackKind::Audio && s.data == "raw")
        );
        assert_eq!(demuxer.take_trouble().dropped_units, 1);
    }

    #[test]
    fn hevc_comes_with_a_record_and_parameter_sets_in_the_stream_are_followed() {
        let mut demuxer = Demuxer::new();
        let picture = Bytes::from_static(b"\xa1hvc1\x00\x00\x21\x00\x00\x00\x03\x26\x01\xaf");
        assert_eq!(video(&mut demuxer, &picture), None);
        let config = tag(b"\x90hvc1", X265_360P30);
        let event = video(&mut demuxer, &config);
        assert!(
            matches!(&event, Some(MediaEvent::VideoConfig(c)) if c.kind() == VideoKind::Hevc),
            "{event:?}"
        );
        assert_eq!(video(&mut demuxer, &config), None);
        let Some(MediaEvent::Sample(sample)) = video(&mut demuxer, &picture) else {
            panic!("no sample")
        };
        assert!(sample.is_sync && sample.composition_offset == 3000);
        assert_eq!(demuxer.take_trouble().dropped_units, 1);
        // Another picture parameter set before the picture: a configuration, then the sample without it.
        let sets = tag(b"\xa3hvc1\x00\x00\x00\x04\x44\x01\xc0\x77", &picture[8..]);
        let renewed = video(&mut demuxer, &sets);
        assert!(matches!(renewed, Some(MediaEvent::VideoConfig(_))));
        let Some(MediaEvent::Sample(sample)) = demuxer.rest() else {
            panic!("no sample")
        };
        assert_eq!(sample.data, &picture[8..]);
        assert_eq!(demuxer.rest(), None);
    }

    #[test]
    fn frames_of_some_codecs_bring_their_configuration_along() {
        let mut demuxer = Demuxer::new();
        // A key frame of VP9, 640x360, and one that is not.
        let key = Bytes::from_static(b"\x91vp09\x82\x49\x83\x42\x00\x27\xf0\x16\x70\x00\x00");
        let inter = Bytes::from_static(b"\xa1vp09\x86\x00\x40");
        assert_eq!(
            video(&mut demuxer, &Bytes::from_static(b"\x90vp09vpcC")),
            None
        );
        assert_eq!(video(&mut demuxer, &inter), None);
        for is_first in [true, false] {
            let mut event = video(&mut demuxer, &key);
            if is_first {
                let is_sized = |c: &VideoConfig| (c.width, c.height) == (640, 360);
                assert!(matches!(event, Some(MediaEvent::VideoConfig(c)) if is_sized(&c)));
                event = demuxer.rest();
            }
            assert!(matches!(event, Some(MediaEvent::Sample(s)) if s.is_sync));
        }
        let event = video(&mut demuxer, &inter);
        assert!(matches!(event, Some(MediaEvent::Sample(s)) if !s.is_sync));
        // MP3: 48 kHz stereo, then mono.
        let mut times = Vec::new();
        for (frame, is_mono) in [
            (b"\x2f\xff\xfb\x94\x64x", false),
            (b"\x2f\xff\xfb\x94\xc4x", true),
        ] {
            let frame = Bytes::from_static(frame);
            let event = audio(&mut demuxer, &frame);
            assert!(matches!(event, Some(MediaEvent::AudioConfig(c)) if c.is_mono() == is_mono));
            let Some(MediaEvent::Sample(sample)) = demuxer.rest() else {
                panic!("no sample")
            };
            assert_eq!(sample.data, frame[1..]);
            times.push(sample.dts);
        }
        assert_eq!(times[1] - times[0], 1152);
        assert_eq!(
            audio(&mut demuxer, &Bytes::from_static(b"\x2fno frame")),
            None
        );
        assert_eq!(demuxer.take_trouble().dropped_units, 2);
    }

    #[test]
    fn sound_is_placed_by_the_length_of_its_frames() {
        let mut demuxer = Demuxer::new();
        let event = audio(&mut demuxer, &Bytes::from_static(b"\x90Opus"));
        assert!(matches!(event, Some(MediaEvent::AudioConfig(c)) if c.kind() == AudioKind::Opus));
        // Frames of 20 ms, then of 2.5 ms.
        let mut at = |ms, toc: u8| match demuxer.audio(ms, &tag(b"\x91Opus", &[toc, 0]), SOON) {
            Ok(Some(MediaEvent::Sample(sample))) => sample.dts,
            other => panic!("{other:?}"),
        };
        let first = at(0, 0xf8);
        assert_eq!(
            [at(20, 0xf8), at(40, 0x80), at(42, 0x80)].map(|dts| dts - first),
            [960, 1920, 2040]
        );
    }

    #[test]
    fn codecs_that_were_not_announced_are_refused() {
        for (body, words) in [
            (b"\x90ac-3", "AC-3 is not supported, set the encoder to AAC"),
            (
                b"\x91ec-3",
                "E-AC-3 is not supported, set the encoder to AAC",
            ),
        ] {
            let refusal = Demuxer::new().audio(0, &Bytes::from_static(body), SOON);
            assert_eq!(refusal, Err(Refusal::new(RefusalCode::Rejected, words)));
        }
    }

    #[test]
    fn video_that_cannot_be_carried_is_refused_in_words() {
        let cases: [(&[u8], &str); 3] = [
            (
                b"\x90vvc1x",
                "VVC is not supported, set the encoder to H.264, HEVC, AV1 or VP9",
            ),
            (
                b"\x96\x00avc1\x01x",
                "multitrack video (track 1 H.264) is not supported, set the encoder to H.264, HEVC, AV1 or VP9",
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
        let speex = Bytes::from_static(b"\xb2x");
        let words = "Speex is not carried, set the encoder to AAC".to_owned();
        assert_eq!(audio(&mut demuxer, &speex), Some(MediaEvent::Notice(words)));
        assert_eq!(audio(&mut demuxer, &speex), None);
        let short_frames = Bytes::from_static(b"\xaf\x00\x11\x94");
        let told = audio(&mut demuxer, &short_frames);
        assert!(
            matches!(told, Some(MediaEvent::Notice(words)) if words.contains("frames of 960 samples"))
        );
        for n in 0..100u8 {
            audio(&mut demuxer, &tag(b"\x95\x00zzz", &[n, 0]));
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
