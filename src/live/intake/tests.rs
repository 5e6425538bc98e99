use bytes::Bytes;

use super::*;
use crate::live::start;

const STEREO: &[u8] = &[0x11, 0x90];
const SURROUND: &[u8] = &[0x11, 0xb0];
const MONO_22K: &[u8] = &[0x13, 0x88];
const FRAME: i64 = 3000;

fn picture(n: i64, is_sync: bool) -> Sample {
    let data = Bytes::from_static(&[0; 100]);
    Sample {
        track: TrackKind::Video,
        dts: n * FRAME,
        composition_offset: 0,
        is_sync,
        data,
    }
}

fn sound(n: i64) -> Sample {
    Sample {
        track: TrackKind::Audio,
        dts: n * 1024,
        ..picture(0, true)
    }
}

fn video(width: u16) -> MediaEvent {
    MediaEvent::VideoConfig(start::tests::video(width))
}

fn audio(bytes: &'static [u8]) -> MediaEvent {
    MediaEvent::AudioConfig(Arc::new(
        aac::Config::parse(&Bytes::from_static(bytes)).unwrap(),
    ))
}

/// A publisher that is live, 60 pictures a GOP; picture 60 was the last.
fn live(with_audio: bool) -> Intake {
    let mut intake = Intake::new(Config::default());
    intake.take(video(1280));
    if with_audio {
        intake.take(audio(STEREO));
        intake.take(MediaEvent::Sample(sound(0)));
    }
    for n in 0..60 {
        let action = intake.take(MediaEvent::Sample(picture(n, n == 0)));
        assert!(matches!(action, Action::Wait), "{action:?}");
    }
    assert!(!intake.is_live());
    let Action::Begin(ready) = intake.take(MediaEvent::Sample(picture(60, true))) else {
        panic!("two IDR pictures make a stream");
    };
    assert_eq!(ready.tracks.audio.is_some(), with_audio);
    assert!(intake.is_live());
    intake
}

/// In one letter what becomes of an event.
fn letter(action: &Action) -> char {
    match action {
        Action::Wait => '.',
        Action::Tell(_) => 'T',
        Action::Begin(_) => 'B',
        Action::Push(_) => 'P',
        Action::Change(..) => 'C',
        Action::Interrupt => 'I',
        Action::Leave(_) => 'L',
    }
}

fn letters(intake: &mut Intake, samples: impl IntoIterator<Item = Sample>) -> String {
    let samples = samples.into_iter();
    samples
        .map(|sample| letter(&intake.take(MediaEvent::Sample(sample))))
        .collect()
}

#[test]
fn a_changed_video_configuration_waits_for_its_idr() {
    let mut intake = live(false);
    intake.take(video(1280));
    assert_eq!(
        letters(&mut intake, [picture(61, false), picture(62, true)]),
        "PP",
        "repeated"
    );
    intake.take(video(640));
    let samples = [picture(63, false), picture(64, true), picture(65, false)];
    assert_eq!(letters(&mut intake, samples), "PCP");
}

#[test]
fn audio_joins_changes_and_goes_at_idr_pictures() {
    let mut intake = live(false);
    assert_eq!(
        letter(&intake.take(audio(STEREO))),
        '.',
        "a configuration is no track yet"
    );
    assert_eq!(letters(&mut intake, [picture(61, true)]), "P");
    let samples = [sound(1), picture(62, false), picture(63, true), sound(2)];
    assert_eq!(
        letters(&mut intake, samples),
        ".PCP",
        "it joins with a discontinuity"
    );
    assert_eq!(
        letter(&intake.take(audio(MONO_22K))),
        'T',
        "unusual, and said"
    );
    assert_eq!(
        letters(&mut intake, [sound(3), picture(64, true), sound(4)]),
        ".CP"
    );
    assert_eq!(
        letter(&intake.take(audio(SURROUND))),
        'T',
        "not carried, and said"
    );
    assert_eq!(
        letters(&mut intake, [sound(5), picture(65, true), sound(6)]),
        ".C."
    );
}

#[test]
fn surround_sound_is_told_and_never_a_track() {
    let mut intake = Intake::new(Config::default());
    let Action::Tell(words) = intake.take(audio(SURROUND)) else {
        panic!("a notice")
    };
    assert!(words.contains("5.1"), "{words}");
    intake.take(video(1280));
    intake.take(MediaEvent::Sample(sound(0)));
    let pictures = (0..=60).map(|n| picture(n, n % 60 == 0));
    let actions = pictures.map(|sample| intake.take(MediaEvent::Sample(sample)));
    let Some(Action::Begin(ready)) = actions.last() else {
        panic!("a stream without sound")
    };
    assert!(ready.tracks.audio.is_none());
}

#[test]
fn a_pause_is_survived_with_a_discontinuity() {
    // The picture after the pause is an IDR: it begins the new timeline itself.
    let mut intake = live(true);
    assert_eq!(letter(&intake.overrun(picture(140, true))), 'C');
    assert_eq!(
        letters(&mut intake, [picture(141, false), sound(300)]),
        "PP"
    );
    // It is none: nothing is packaged before the next one, audio neither.
    let mut intake = live(true);
    assert_eq!(letter(&intake.overrun(picture(140, false))), 'I');
    let samples = [
        picture(141, false),
        sound(300),
        picture(142, true),
        sound(301),
    ];
    assert_eq!(letters(&mut intake, samples), "..CP");
}

#[test]
fn pauses_with_whole_gops_between_them_add_up_to_nothing() {
    let mut intake = live(false);
    for _ in 0..10 {
        assert_eq!(letter(&intake.overrun(picture(200, false))), 'I');
        let samples = [picture(260, true), picture(261, false), picture(320, true)];
        assert_eq!(letters(&mut intake, samples), "CPP");
    }
}

#[test]
fn gops_that_are_too_long_again_and_again_are_refused() {
    // Just above the limit: every IDR picture comes too late itself.
    let mut intake = live(false);
    for n in 1..=3 {
        assert_eq!(letters(&mut intake, [picture(n * 80, true)]), "P");
        let action = intake.overrun(picture(n * 80, true));
        assert_eq!(letter(&action), if n < 3 { 'C' } else { 'L' }, "{n}");
    }
    // Far above it.
    let mut intake = live(false);
    for n in 1..=3 {
        let action = intake.overrun(picture(n * 250 + 75, false));
        if n == 3 {
            let Action::Leave(Ending::Refused(words)) = action else {
                panic!("{action:?}")
            };
            assert!(words.contains("keyframe interval"), "{words}");
            return;
        }
        assert_eq!(letters(&mut intake, [picture(n * 250 + 100, true)]), "C");
    }
}

#[test]
fn metadata_is_a_plausible_hint_or_none() {
    let mut intake = Intake::new(Config::default());
    assert_eq!(intake.declared_bps(), None);
    for (video, audio, expected) in [
        (Some(6000.0), Some(160.0), Some(6_160_000)),
        (Some(2500.5), None, Some(2_500_500)),
        (None, Some(160.0), None),
        (Some(0.0), None, None),
        (Some(f64::NAN), None, None),
        (Some(-5.0), None, None),
        (Some(1e12), None, None),
    ] {
        intake.take(MediaEvent::Metadata(Metadata {
            video_data_rate_kbps: video,
            audio_data_rate_kbps: audio,
            ..Metadata::default()
        }));
        assert_eq!(intake.declared_bps(), expected, "{video:?} {audio:?}");
    }
}
