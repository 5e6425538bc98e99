use bytes::Bytes;

use super::*;
use crate::live::start;
use crate::media::codec::AudioKind;

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
        AudioConfig::parse(AudioKind::Aac, &Bytes::from_static(bytes)).unwrap(),
    ))
}

fn means(may_transcode: bool) -> Means {
    Means {
        grid: Config::default(),
        may_pass: true,
        may_transcode,
    }
}

/// A publisher that is live, 60 pictures a GOP; picture 60 was the last.
fn live(with_audio: bool) -> Intake {
    live_with(means(true), with_audio)
}

fn live_with(means: Means, with_audio: bool) -> Intake {
    let mut intake = Intake::new(means);
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
    assert_eq!(ready.source.audio.is_some(), with_audio);
    assert!(intake.is_live());
    intake
}

/// In one letter what becomes of an event.
fn letter(action: &Action) -> char {
    match action {
        Action::Wait => '.',
        Action::Tell(..) => 'T',
        Action::Say(_) => 'S',
        Action::Begin(_) => 'B',
        Action::Push(_) => 'P',
        Action::Change(..) => 'C',
        Action::Reconfigure(..) => 'R',
        Action::Transcode(..) => 'X',
        Action::Resume(..) => 'A',
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
fn what_only_some_players_take_needs_an_encoder() {
    for (may_transcode, expected) in [(true, 'B'), (false, 'L')] {
        let mut intake = Intake::new(means(may_transcode));
        intake.take(MediaEvent::VideoConfig(start::tests::hevc()));
        let pictures = (0..=60).map(|n| picture(n, n % 60 == 0));
        let letters = letters(&mut intake, pictures);
        assert_eq!(letters.chars().last(), Some(expected), "{letters}");
    }
    // It comes in mid-stream: it takes its place, or the stream ends with a word.
    for (may_transcode, expected) in [(true, "PC"), (false, "PL")] {
        let mut intake = live_with(means(may_transcode), false);
        intake.take(MediaEvent::VideoConfig(start::tests::hevc()));
        let samples = [picture(61, false), picture(62, true)];
        assert_eq!(letters(&mut intake, samples), expected);
    }
    let mut intake = live_with(means(false), false);
    intake.take(MediaEvent::VideoConfig(start::tests::hevc()));
    let action = intake.take(MediaEvent::Sample(picture(61, true)));
    let Action::Leave(Ending::Refused(words)) = action else {
        panic!("{action:?}");
    };
    assert!(words.contains("HEVC") && words.contains("H.264"), "{words}");
    // What no player takes is transcoded.
    let mut intake = live(false);
    intake.take(MediaEvent::VideoConfig(start::tests::vp9()));
    assert_eq!(letters(&mut intake, [picture(61, true)]), "X");
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
}

#[test]
fn surround_sound_is_told_and_transcoded_where_that_is_allowed() {
    for (may_transcode, expected_code, expected) in [
        (true, Code::AudioTranscoded, ".CP"),
        (false, Code::AudioUnsupported, ".C."),
    ] {
        let mut intake = live_with(means(may_transcode), true);
        let Action::Tell(code, words) = intake.take(audio(SURROUND)) else {
            panic!("a notice")
        };
        assert_eq!(code, expected_code);
        assert!(words.contains("5.1"), "{words}");
        let samples = [sound(5), picture(65, true), sound(6)];
        assert_eq!(letters(&mut intake, samples), expected);
    }
}

#[test]
fn a_pause_is_survived_with_a_discontinuity() {
    // The picture after the pause is an IDR: it begins the new timeline itself.
    let mut intake = live(true);
    letters(&mut intake, [picture(140, true)]);
    assert_eq!(letter(&intake.overrun(picture(140, true))), 'C');
    assert_eq!(
        letters(&mut intake, [picture(141, false), sound(300)]),
        "PP"
    );
    // It is none, and nothing is transcoded: nothing is packaged before the next one, audio neither.
    let mut intake = live_with(means(false), true);
    letters(&mut intake, [picture(140, false)]);
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
    let mut intake = live_with(means(false), false);
    for n in (0..10).map(|n| n * 1000) {
        letters(&mut intake, [picture(n + 200, false)]);
        assert_eq!(letter(&intake.overrun(picture(n + 200, false))), 'I');
        let samples = [260, 261, 320].map(|at| picture(n + at, at != 261));
        assert_eq!(letters(&mut intake, samples), "CPP");
    }
}

#[test]
fn a_keyframe_interval_that_grows_is_transcoded_from_there_on() {
    let mut intake = live(true);
    let gop = (61..135).map(|n| picture(n, false));
    assert_eq!(letters(&mut intake, gop), "P".repeat(74));
    assert_eq!(letters(&mut intake, [picture(135, false)]), "P");
    let Action::Transcode(source, gop, words) = intake.overrun(picture(135, false)) else {
        panic!("transcoded")
    };
    assert_eq!(source.video.width, 1280);
    let times: Vec<_> = gop.iter().map(|s| s.dts / FRAME).collect();
    assert_eq!(times, (60..=135).collect::<Vec<_>>(), "the whole GOP");
    assert!(words.contains("keyframe interval"), "{words}");
    // From here on changes of the picture need not be seen by viewers.
    intake.take(video(640));
    assert_eq!(
        letters(&mut intake, [picture(400, false), picture(560, true)]),
        "PR"
    );
}

#[test]
fn a_pause_within_a_gop_is_transcoded_from_there_on() {
    let mut intake = live(false);
    letters(&mut intake, [picture(61, false)]);
    let late = picture(250, false);
    letters(&mut intake, [late.clone()]);
    let Action::Transcode(_, samples, _) = intake.overrun(late) else {
        panic!("transcoded")
    };
    assert_eq!(samples.last().unwrap().dts, 250 * FRAME);
}

#[test]
fn a_picture_that_stands_still_while_sound_goes_on_is_transcoded() {
    let pictures = || (61..70).map(|n| picture(n, false));
    // A frame of sound is 1920 ticks, a picture 3000; the GOP began with picture 60.
    let frames = |range: std::ops::Range<i64>| range.map(sound);
    for ahead in [0, 30] {
        let mut intake = live(true);
        letters(&mut intake, frames(100..109 + ahead).chain(pictures()));
        let limit = (60 * FRAME + 2490 * 90) / 1920 + ahead;
        let held = "P".repeat(usize::try_from(limit - 109 - ahead).unwrap());
        let early = letters(&mut intake, frames(109 + ahead..limit));
        assert_eq!(early, held, "sound that is always ahead says nothing");
        let mut late = frames(limit..limit + 3).map(|s| intake.take(MediaEvent::Sample(s)));
        let change = late.find(|action| letter(action) == 'X');
        let Some(Action::Transcode(_, samples, words)) = change else {
            panic!("transcoded")
        };
        assert!(words.contains("stands still"), "{words}");
        let tail = samples.iter().filter(|s| s.track == TrackKind::Audio);
        assert_eq!(
            tail.clone().count(),
            samples.len() - 10,
            "its sound comes along"
        );
        assert!(tail.map(|s| s.dts).is_sorted());
    }
    let mut intake = live_with(means(false), true);
    letters(&mut intake, pictures());
    assert!(!letters(&mut intake, frames(100..400)).contains('X'));
}

#[test]
fn where_nothing_is_transcoded_gops_that_are_too_long_are_refused() {
    let mut intake = live_with(means(false), false);
    for n in 1..=3 {
        letters(&mut intake, [picture(n * 80, true)]);
        let action = intake.overrun(picture(n * 80, true));
        if n < 3 {
            assert_eq!(letter(&action), 'C', "{n}");
            continue;
        }
        let Action::Leave(Ending::Refused(words)) = action else {
            panic!("{action:?}")
        };
        assert!(words.contains("keyframe interval"), "{words}");
    }
    // From the start.
    let mut intake = Intake::new(means(false));
    intake.take(video(1280));
    let samples = (0..80).map(|n| picture(n, n == 0));
    assert!(letters(&mut intake, samples).contains('L'));
}

#[test]
fn metadata_is_a_plausible_hint_or_none() {
    let mut intake = Intake::new(means(true));
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

#[test]
fn after_a_silence_late_pictures_wait_for_an_idr_and_a_standstill_is_transcoded() {
    let mut intake = live(false);
    letters(&mut intake, [picture(61, false)]);
    intake.start_anew(true);
    let late = [picture(62, false), picture(63, false), picture(120, true)];
    assert_eq!(letters(&mut intake, late), "..C");
    letters(&mut intake, [picture(121, false)]);
    intake.start_anew(true);
    let Action::Transcode(_, samples, _) = intake.take(MediaEvent::Sample(picture(250, false)))
    else {
        panic!("transcoded");
    };
    let numbers: Vec<_> = samples.iter().map(|sample| sample.dts / FRAME).collect();
    assert_eq!(numbers, [120, 121, 250]);
    // Where nothing may be transcoded, the next IDR picture is waited for.
    let mut intake = live_with(means(false), false);
    intake.start_anew(true);
    let later = [picture(250, false), picture(260, true)];
    assert_eq!(letters(&mut intake, later), ".C");
}

#[test]
fn what_was_encoded_is_begun_anew_in_the_middle_of_a_gop() {
    let transcoded = || {
        let mut intake = live(true);
        letters(&mut intake, [picture(120, true), picture(121, false)]);
        intake.is_led_by_ticks(true);
        intake
    };
    let mut intake = transcoded();
    letters(&mut intake, [picture(122, false), sound(900)]);
    for next in [123, 250] {
        assert!(intake.start_anew(true));
        assert_eq!(letters(&mut intake, [sound(901)]), ".", "nothing to join");
        let Action::Resume(source, samples) = intake.take(MediaEvent::Sample(picture(next, false)))
        else {
            panic!("begun anew at {next}");
        };
        assert_eq!(source.video.width, 1280);
        let numbers: Vec<_> = samples.iter().map(|sample| sample.dts / FRAME).collect();
        let kept = [120, 121, 122, 123, 250];
        assert_eq!(numbers, kept[..if next == 123 { 4 } else { 5 }]);
    }
    assert_eq!(
        letters(&mut intake, [picture(251, false), sound(902)]),
        "PP"
    );
    // Not so soon again: the next IDR picture is waited for.
    assert!(!intake.start_anew(false));
    let later = [picture(252, false), picture(260, true), picture(261, false)];
    assert_eq!(letters(&mut intake, later), ".CP");
    // Other pictures follow, or the GOP is longer than any transcoder takes at once.
    let mut intake = transcoded();
    assert!(intake.start_anew(true));
    intake.take(video(640));
    assert_eq!(
        letters(&mut intake, [picture(122, false), picture(123, true)]),
        ".C"
    );
    let mut intake = transcoded();
    letters(&mut intake, (122..120 + 451).map(|n| picture(n, false)));
    assert!(!intake.start_anew(true));
    assert_eq!(letters(&mut intake, [picture(600, false)]), ".");
}

#[test]
fn a_changed_source_that_has_another_rate_is_planned_anew_after_its_first_gop() {
    let mut intake = live(false);
    intake.take(video(640));
    assert_eq!(letters(&mut intake, [picture(120, true)]), "C");
    let rates = |intake: &Intake| {
        let measured = intake.measured();
        (measured.fps_millis, measured.mean_bps, measured.peak_bps)
    };
    assert_eq!(rates(&intake), (None, 0, 0), "of the source before");
    // Sixty pictures a second from here on.
    let fast = |n: i64| Sample {
        dts: 120 * FRAME + n * FRAME / 2,
        ..picture(0, n % 120 == 0)
    };
    let gop = (1..120).map(fast);
    assert!(
        letters(&mut intake, gop)
            .chars()
            .all(|letter| letter == 'P')
    );
    assert_eq!(letters(&mut intake, [fast(120)]), "C");
    assert_eq!(rates(&intake), (Some(60_000), 48_000, 48_000));
    let again = (121..=240).map(fast);
    assert!(
        letters(&mut intake, again)
            .chars()
            .all(|letter| letter == 'P')
    );
}

#[test]
fn a_changed_source_keeps_its_rate_although_a_picture_is_missing() {
    let mut intake = live(false);
    intake.take(video(640));
    assert_eq!(letters(&mut intake, [picture(120, true)]), "C");
    let lossy = (121..=180).filter(|n| *n != 150);
    let gop = lossy.map(|n| picture(n, n == 180));
    assert_eq!(letters(&mut intake, gop), "P".repeat(59));
    assert_eq!(intake.measured().fps_millis, Some(30_000));
}

#[test]
fn a_passed_source_that_becomes_faster_is_planned_anew_after_its_first_even_gop() {
    let mut intake = live(false);
    letters(&mut intake, (61..90).map(|n| picture(n, false)));
    // Sixty pictures a second from the middle of a GOP on, a GOP each 60 or 120 pictures.
    let fast = |n: i64, is_sync| Sample {
        dts: 90 * FRAME + n * FRAME / 2,
        ..picture(0, is_sync)
    };
    let mixed = letters(&mut intake, (0..=60).map(|n| fast(n, n == 60)));
    assert!(mixed.chars().all(|letter| letter == 'P'), "{mixed}");
    assert_eq!(intake.measured().fps_millis, None, "45 a second never were");
    let even = letters(&mut intake, (61..=180).map(|n| fast(n, n == 180)));
    assert_eq!(even, "P".repeat(119) + "C");
    assert_eq!(intake.measured().fps_millis, Some(60_000));
    // Fewer again change nothing.
    let from = 90 * FRAME + 180 * FRAME / 2;
    let slow = (1..=120).map(|n| Sample {
        dts: from + n * FRAME,
        ..picture(0, n % 60 == 0)
    });
    assert_eq!(letters(&mut intake, slow), "P".repeat(120));
    assert_eq!(intake.measured().fps_millis, Some(60_000));
}

#[test]
fn every_gop_is_measured() {
    let mut intake = live(false);
    let of = |n: i64, bytes: usize| Sample {
        data: Bytes::from(vec![0; bytes]),
        ..picture(n, n % 60 == 0)
    };
    // What was held begins the first.
    letters(&mut intake, (61..=120).map(|n| of(n, 100)));
    let measured = intake.measured();
    assert_eq!((measured.mean_bps, measured.peak_bps), (24_000, 24_000));
    letters(&mut intake, (121..=180).map(|n| of(n, 300)));
    letters(&mut intake, (181..=240).map(|n| of(n, 100)));
    let measured = intake.measured();
    assert_eq!(measured.fps_millis, None, "it is what it was");
    assert_eq!((measured.mean_bps, measured.peak_bps), (40_000, 71_200));
    // Three keyframes in a tenth of a second are in one segment with what follows.
    let dense = (240..300).map(|n| Sample {
        is_sync: n % 60 == 0 || n < 243,
        ..of(n, if n < 243 { 2000 } else { 100 })
    });
    letters(&mut intake, dense);
    letters(&mut intake, (300..301).map(|n| of(n, 100)));
    assert_eq!(intake.measured().peak_bps, 71_200);
}

#[test]
fn a_transcoded_source_that_becomes_faster_has_a_faster_frame_grid() {
    let mut intake = live(false);
    intake.is_led_by_ticks(true);
    // Half as many, twice as many, as many again as these.
    let pictures = |from: i64, count: i64, step: i64| {
        (0..count).map(move |n| Sample {
            dts: from + n * step,
            ..picture(0, n == 0)
        })
    };
    letters(&mut intake, (61..120).map(|n| picture(n, false)));
    let slow = letters(&mut intake, pictures(120 * FRAME, 60, 2 * FRAME));
    let from = 240 * FRAME;
    let fast = letters(&mut intake, pictures(from, 240, FRAME / 2));
    assert!((slow + &fast).chars().all(|letter| letter == 'P'));
    assert_eq!(intake.measured().rate, None, "it repeats pictures");
    let from = from + 120 * FRAME;
    let next = letters(&mut intake, pictures(from, 240, FRAME / 2));
    assert!(next.starts_with('R') && next[1..].chars().all(|letter| letter == 'P'));
    let rate = intake.measured().rate.unwrap();
    assert_eq!((rate.frames, rate.seconds), (60, 1));
    // More than sixty a second are halved: that grid is there already.
    let from = from + 120 * FRAME;
    let faster = letters(&mut intake, pictures(from, 480, FRAME / 4));
    let from = from + 120 * FRAME;
    let again = letters(&mut intake, pictures(from, 480, FRAME / 4));
    assert!((faster + &again).chars().all(|letter| letter == 'P'));
    // Few pictures in too short a time say nothing.
    let from = from + 120 * FRAME;
    letters(&mut intake, pictures(from, 4, FRAME / 10));
    assert_eq!(
        letters(&mut intake, pictures(from + 3000, 2, FRAME / 2)),
        "PP"
    );
}
