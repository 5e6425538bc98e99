//! Messages in, media events out: configurations, samples, refusals and words.

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
    let mut demuxer = Demuxer::new(MultitrackInput::default());
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
    assert!(matches!(audio(&mut demuxer, &mono), Some(MediaEvent::AudioConfig(c)) if c.is_mono()));
    assert_eq!(demuxer.take_trouble().dropped_units, 0);
}

#[test]
fn units_become_samples_and_broken_ones_are_counted() {
    let mut demuxer = Demuxer::new(MultitrackInput::default());
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
    let mut demuxer = Demuxer::new(MultitrackInput::default());
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
    let mut demuxer = Demuxer::new(MultitrackInput::default());
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
    let mut demuxer = Demuxer::new(MultitrackInput::default());
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
        let refusal =
            Demuxer::new(MultitrackInput::default()).audio(0, &Bytes::from_static(body), SOON);
        assert_eq!(refusal, Err(Refusal::new(RefusalCode::Rejected, words)));
    }
}

#[test]
fn video_that_cannot_be_carried_is_refused_in_words() {
    let cases: [(&[u8], &str); 2] = [
        (
            b"\x90vvc1x",
            "VVC is not supported, set the encoder to H.264, HEVC, AV1 or VP9",
        ),
        (
            b"\x17\x00\x00\x00\x00\x02",
            "the video configuration cannot be used: malformed avcC: version 2",
        ),
    ];
    for (body, words) in cases {
        let refusal = Demuxer::new(MultitrackInput::default())
            .video(0, &Bytes::from_static(body), SOON)
            .unwrap_err();
        assert_eq!(refusal, Refusal::new(RefusalCode::Rejected, words));
    }
}

#[test]
fn of_several_tracks_the_first_is_taken_in_either_form() {
    let mut demuxer = Demuxer::new(MultitrackInput::Allowed);
    let config = tag(b"\x96\x00avc1\x00", X264_360P30);
    assert!(matches!(
        video(&mut demuxer, &config),
        Some(MediaEvent::VideoConfig(_))
    ));
    // Another says what it is, and both come in one message.
    let other = tag(b"\x96\x00avc1\x03", X264_360P30);
    assert_eq!(video(&mut demuxer, &other), None);
    assert!(matches!(demuxer.rest(), Some(MediaEvent::TracksUnused(_))));
    let told = demuxer.rest();
    assert!(
        matches!(&told, Some(MediaEvent::OtherTrack(3, config)) if config.width == 640),
        "{told:?}"
    );
    assert_eq!(video(&mut demuxer, &other), None);
    assert_eq!(demuxer.rest(), None, "nothing new");
    let unit = b"\x00\x00\x00\x00\x00\x00\x02\x65\x88";
    let size = [0, 0, 9];
    let many = [&b"\x96\x11avc1\x00"[..], &size, unit, b"\x03", &size, unit];
    let many = Bytes::from(many.concat());
    let picture = video(&mut demuxer, &many);
    assert!(
        matches!(&picture, Some(MediaEvent::Sample(sample)) if sample.is_sync),
        "{picture:?}"
    );
    assert_eq!(demuxer.rest(), None);
    let next = demuxer.video(80, &many, SOON).unwrap();
    assert!(matches!(next, Some(MediaEvent::Sample(_))));
    assert_eq!(demuxer.rest(), None, "told once");
    let vvc = Bytes::from_static(b"\x96\x00vvc1\x02record");
    assert_eq!(
        demuxer.video(80, &vvc, SOON).unwrap_err().event_code,
        Some("InvalidMultitrackInputVideoTrackMediaProperties")
    );
    // Sound: the first track is heard, another is nothing.
    let stereo = Bytes::from_static(b"\x95\x00mp4a\x00\x11\x90");
    assert!(matches!(
        audio(&mut demuxer, &stereo),
        Some(MediaEvent::AudioConfig(_))
    ));
    let other = Bytes::from_static(b"\x95\x01mp4a\x01raw");
    assert_eq!(audio(&mut demuxer, &other), None);
    assert_eq!(demuxer.take_trouble(), Trouble::default());
    let refused = Demuxer::new(MultitrackInput::Refused).video(0, &many, SOON);
    assert_eq!(
        refused.unwrap_err().event_code,
        Some("MultitrackInputNotAllowed")
    );
}

#[test]
fn audio_that_cannot_be_carried_is_told_once() {
    let mut demuxer = Demuxer::new(MultitrackInput::default());
    let speex = Bytes::from_static(b"\xb2x");
    let words = "Speex is not carried, set the encoder to AAC".to_owned();
    assert_eq!(audio(&mut demuxer, &speex), Some(MediaEvent::Notice(words)));
    assert_eq!(audio(&mut demuxer, &speex), None);
    let short_frames = Bytes::from_static(b"\xaf\x00\x11\x94");
    let told = audio(&mut demuxer, &short_frames);
    assert!(
        matches!(told, Some(MediaEvent::Notice(words)) if words.contains("frames of 960 samples"))
    );
    // PCM, ADPCM, Nellymoser, G.711 and what has only a number.
    for format in 0..16u8 {
        audio(&mut demuxer, &tag(&[format << 4], b""));
    }
    assert_eq!(demuxer.notices.len(), MAX_NOTICES);
}

#[test]
fn a_sequence_end_counts_until_video_goes_on() {
    let mut demuxer = Demuxer::new(MultitrackInput::default());
    video(&mut demuxer, &avc_config());
    video(&mut demuxer, &Bytes::from_static(b"\x17\x02\x00\x00\x00"));
    assert!(demuxer.has_ended());
    video(
        &mut demuxer,
        &Bytes::from_static(b"\x27\x01\x00\x00\x00\x00\x00\x00\x01\x41"),
    );
    assert!(!demuxer.has_ended());
}
