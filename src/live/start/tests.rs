use bytes::Bytes;

use super::*;
use crate::media::codec::video::Coding;
use crate::media::codec::{AudioKind, Picture, VideoKind, avc, hevc};

const AAC_STEREO_48K: &[u8] = &[0x11, 0x90];

fn picture(dts: i64, is_sync: bool) -> Sample {
    let data = Bytes::from_static(&[0; 1000]);
    Sample {
        track: TrackKind::Video,
        dts,
        composition_offset: 0,
        is_sync,
        data,
    }
}

fn sound(dts: i64) -> Sample {
    let data = Bytes::from_static(&[0; 100]);
    Sample {
        track: TrackKind::Audio,
        dts,
        composition_offset: 0,
        is_sync: true,
        data,
    }
}

/// A usual configuration, of `width` times 720.
pub(in crate::live) fn video(width: u16) -> Arc<VideoConfig> {
    let bytes = Bytes::from_static(avc::tests::X264_360P30);
    let parsed = avc::parse(&bytes).unwrap();
    Arc::new(VideoConfig {
        width,
        height: 720,
        ..parsed
    })
}

/// The same in HEVC.
pub(in crate::live) fn hevc() -> Arc<VideoConfig> {
    let bytes = Bytes::from_static(hevc::tests::X265_360P30);
    let parsed = VideoConfig::parse(VideoKind::Hevc, &bytes).unwrap();
    Arc::new(VideoConfig {
        width: 1280,
        height: 720,
        ..parsed
    })
}

/// The same in VP9.
pub(in crate::live) fn vp9() -> Arc<VideoConfig> {
    let key = [0x82, 0x49, 0x83, 0x42, 0, 0x4f, 0xf0, 0x2c, 0xf0, 0];
    Arc::new(VideoConfig::of_unit(VideoKind::Vp9, &key).unwrap())
}

fn aac(bytes: &'static [u8]) -> Arc<AudioConfig> {
    Arc::new(AudioConfig::parse(AudioKind::Aac, &Bytes::from_static(bytes)).unwrap())
}

fn audio() -> Arc<AudioConfig> {
    aac(AAC_STEREO_48K)
}

/// A start that knows its video.
fn start() -> Start {
    let mut start = Start::new(Config::default(), true);
    start.video_config(video(1280));
    start
}

/// Pushes pictures of `fps` with an IDR every `gop` of them until a verdict; which picture gave it.
fn run(start: &mut Start, fps: i64, gop: i64) -> (i64, Verdict) {
    for n in 0..10_000 {
        let verdict = start.push(picture(n * 90_000 / fps, n % gop == 0));
        if !matches!(verdict, Verdict::Hold) {
            return (n, verdict);
        }
    }
    panic!("no verdict");
}

fn go(verdict: Verdict) -> Ready {
    match verdict {
        Verdict::Go(ready) => ready,
        other => panic!("{other:?}"),
    }
}

fn refusal(verdict: Verdict) -> String {
    match verdict {
        Verdict::Refuse(words) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
fn goes_at_the_second_idr_but_waits_a_second_for_audio() {
    // Frames a second, GOP in frames, picture of the verdict.
    for (fps, gop, expected) in [
        (30, 60, 60),
        (30, 30, 30),
        (30, 10, 30),
        (60, 1, 60),
        (25, 62, 62),
    ] {
        let (n, verdict) = run(&mut start(), fps, gop);
        assert_eq!(n, expected, "{fps} fps, GOP {gop}");
        let ready = go(verdict);
        assert_eq!(i64::from(ready.fps_millis), fps * 1000);
        assert_eq!(ready.samples.len(), usize::try_from(expected + 1).unwrap());
        assert_eq!(ready.held_millis(), expected * 1000 / fps);
        assert!(ready.source.audio.is_none() && ready.source.audio_bps == 0);
    }
}

#[test]
fn audio_that_is_there_is_not_waited_for() {
    let mut start = start();
    start.audio_config(audio());
    start.push(sound(0));
    let (n, verdict) = run(&mut start, 30, 10);
    assert_eq!(n, 10);
    let source = go(verdict).source;
    assert!(source.audio.is_some());
    assert_eq!(source.audio_bps, 100 * 8 * 48_000 / 1024, "of its frames");
}

#[test]
fn a_configuration_without_samples_is_no_track() {
    let mut start = start();
    start.audio_config(audio());
    let (n, verdict) = run(&mut start, 30, 60);
    assert_eq!(n, 60);
    assert!(go(verdict).source.audio.is_none());
}

/// Why a stream is transcoded, and the rate of its frame grid in millihertz.
fn transcoded(verdict: Verdict) -> (String, u32) {
    match go(verdict).way {
        Way::Transcode { rate, reason } => (reason.unwrap_or_default(), rate.fps_millis()),
        Way::Pass => panic!("it passed"),
    }
}

#[test]
fn a_gop_beyond_two_and_a_half_seconds_is_transcoded_when_that_is_known() {
    for (fps, gop) in [(30, 250), (30, 75), (24, 249)] {
        let (n, verdict) = run(&mut start(), fps, gop);
        let (reason, rate) = transcoded(verdict);
        assert!(reason.contains("keyframe interval"), "{fps} fps, GOP {gop}");
        assert_eq!(i64::from(rate), fps * 1000);
        assert!(n * 100 / fps <= 253, "after {n} pictures");
    }
}

#[test]
fn rates_that_do_not_fill_parts_are_multiplied() {
    // 3 frames of 11 a second fill 0.27 s of a part of 0.334 s.
    for (fps, expected) in [(5, 10_000), (11, 22_000), (9, 18_000), (1, 10_000)] {
        let (reason, rate) = transcoded(run(&mut start(), fps, 2 * fps).1);
        assert_eq!(rate, expected, "{fps} fps: {reason}");
    }
    for fps in [10, 12, 15, 24, 25, 30, 50, 60] {
        assert_eq!(
            go(run(&mut start(), fps, fps).1).way,
            Way::Pass,
            "{fps} fps"
        );
    }
    // 90 kHz is no multiple of 144; too fast for players in any case.
    let (reason, rate) = transcoded(run(&mut start(), 120, 120).1);
    assert!(reason.contains("120.0 frames per second"), "{reason}");
    assert_eq!(rate, 60_000);
}

#[test]
fn a_source_that_stands_still_gets_a_constant_rate() {
    let mut start = start();
    let mut verdict = Verdict::Hold;
    let still = |n: i64| if n > 20 { 36_000 } else { 0 };
    for n in 0..=60 {
        verdict = start.push(picture(n * 3000 + still(n), n % 60 == 0));
    }
    let (reason, rate) = transcoded(verdict);
    assert!(reason.contains("varies"), "{reason}");
    assert_eq!(rate, 30_000);
}

/// Pushes pictures at `times`, an IDR picture first and last.
fn run_at(times: &[i64]) -> Verdict {
    let mut start = start();
    let last = times.len() - 1;
    let pictures = times.iter().enumerate();
    let verdicts = pictures.map(|(n, dts)| start.push(picture(*dts, n == 0 || n == last)));
    verdicts.last().unwrap()
}

#[test]
fn a_rate_that_varies_is_made_the_fastest_usual_one() {
    // 60 and 15 frames a second by turns, 28.3 on average.
    let by_turns: Vec<_> = (0..=58).map(|n| n / 2 * 7500 + n % 2 * 1500).collect();
    let (reason, rate) = transcoded(run_at(&by_turns));
    assert!(reason.contains("varies"), "{reason}");
    assert_eq!(rate, 60_000);
    // A second at 15, then 30 frames a second.
    let faster = (0..15).map(|n| n * 6000).chain((30..=60).map(|n| n * 3000));
    let (reason, rate) = transcoded(run_at(&faster.collect::<Vec<_>>()));
    assert!(reason.contains("varies"), "{reason}");
    assert_eq!(rate, 30_000);
}

#[test]
fn a_few_lost_pictures_and_jitter_change_no_rate() {
    let lossy: Vec<_> = (0..=60)
        .filter(|n| ![7, 20, 41].contains(n))
        .map(|n| n * 3000)
        .collect();
    let ready = go(run_at(&lossy));
    assert_eq!((ready.way, ready.fps_millis), (Way::Pass, 30_000));
    let jitter: Vec<_> = (0..=60).map(|n| n * 3000 + n * 37 % 11 * 60).collect();
    let ready = go(run_at(&jitter));
    assert_eq!(ready.way, Way::Pass);
    assert!(
        (29_500..30_500).contains(&ready.fps_millis),
        "{}",
        ready.fps_millis
    );
}

#[test]
fn what_jitters_is_given_the_rate_that_is_declared_if_so_many_come() {
    let mut jitter: Vec<_> = (0..=60).map(|n| n * 3000 + n * 37 % 11 * 240).collect();
    jitter.sort_unstable();
    jitter.dedup();
    assert_eq!(video(1280).declared_fps_millis, Some(30_000));
    let (reason, rate) = transcoded(run_at(&jitter));
    assert!(reason.contains("varies"), "{reason}");
    assert_eq!(rate, 30_000);
}

#[test]
fn forms_that_players_do_not_take_are_transcoded() {
    let mut start = Start::new(Config::default(), true);
    let mut high_10 = VideoConfig::clone(&video(1280));
    if let Coding::Avc(coding) = &mut high_10.coding {
        coding.profile = 110;
    }
    start.video_config(Arc::new(high_10));
    let (reason, _) = transcoded(run(&mut start, 30, 60).1);
    assert!(reason.contains("H.264"), "{reason}");
}

#[test]
fn hevc_passes_in_closed_gops_and_vp9_never_does() {
    let begun = |config: Arc<VideoConfig>, nal: [u8; 2]| {
        let mut start = Start::new(Config::default(), true);
        start.video_config(config);
        for n in 0..60 {
            start.push(picture(n * 3000, n == 0));
        }
        let [first, second] = nal;
        let data = vec![0, 0, 0, 2, first, second];
        start.push(Sample {
            data: data.into(),
            ..picture(180_000, true)
        })
    };
    let (idr, cra) = ([19 << 1, 1], [21 << 1, 1]);
    assert_eq!(go(begun(hevc(), idr)).way, Way::Pass);
    let (reason, _) = transcoded(begun(hevc(), cra));
    assert!(reason.contains("open"), "{reason}");
    let (reason, rate) = transcoded(begun(vp9(), idr));
    assert!(reason.contains("VP9") && rate == 30_000, "{reason}");
    let mut hdr = VideoConfig::clone(&hevc());
    hdr.picture.colour.transfer = 18;
    let (reason, _) = transcoded(begun(Arc::new(hdr), idr));
    assert!(
        reason.contains("HEVC") && reason.contains("HDR"),
        "{reason}"
    );
}

#[test]
fn pictures_that_are_too_large_are_refused() {
    let sized = |width, height, sample_aspect| {
        let parsed = VideoConfig::clone(&video(1280));
        let mut start = Start::new(Config::default(), true);
        start.video_config(Arc::new(VideoConfig {
            width,
            height,
            picture: Picture {
                sample_aspect,
                ..parsed.picture
            },
            ..parsed
        }));
        start.push(picture(0, true))
    };
    for (width, height) in [(4096, 2304), (2304, 4096), (3840, 2160), (4096, 160)] {
        let verdict = sized(width, height, (1, 1));
        assert!(matches!(verdict, Verdict::Hold), "{width}x{height}");
    }
    for (width, height, aspect) in [
        (4096, 2320, (1, 1)),
        (4112, 160, (1, 1)),
        (160, 4112, (1, 1)),
        (1920, 1080, (4, 1)),
        (u16::MAX, u16::MAX, (1, 1)),
    ] {
        let words = refusal(sized(width, height, aspect));
        let shape = format!("{width}x{height} are too large; send at most 4096x2304");
        assert!(words.contains(&shape), "{words}");
    }
}

#[test]
fn a_channel_that_never_passes_sources_starts_after_a_second() {
    let mut start = Start::new(Config::default(), false);
    start.video_config(video(1280));
    let (n, verdict) = run(&mut start, 30, 60);
    assert_eq!(n, 30);
    assert_eq!(transcoded(verdict), (String::new(), 30_000));
}

#[test]
fn inter_pictures_alone_are_never_held() {
    let mut start = start();
    for n in 0..1000 {
        assert!(matches!(
            start.push(picture(n * 3000, false)),
            Verdict::Hold
        ));
    }
    assert!(start.held.is_empty());
}

#[test]
fn the_limit_follows_the_target_duration() {
    let longer = Config {
        target_duration_s: 4,
        ..Config::default()
    };
    let mut start = Start::new(longer, true);
    start.video_config(video(1280));
    assert_eq!(run(&mut start, 30, 120).0, 120);
    let shorter = Config {
        target_duration_s: 1,
        ..Config::default()
    };
    let mut start = Start::new(shorter, true);
    start.video_config(video(1280));
    let (words, _) = transcoded(run(&mut start, 30, 60).1);
    assert!(
        words.contains("1.49 s") && words.contains("set it to 1 s"),
        "{words}"
    );
}

#[test]
fn audio_that_turns_into_something_else_is_held_from_there_on() {
    let mut start = start();
    start.audio_config(audio());
    start.push(sound(0));
    start.audio_config(aac(&[0x13, 0x88]));
    start.push(sound(4096));
    let (_, verdict) = run(&mut start, 30, 60);
    let ready = go(verdict);
    assert_eq!(ready.source.audio.map(|audio| audio.is_mono()), Some(true));
    let sounds = ready.samples.iter().filter(|s| s.track == TrackKind::Audio);
    assert_eq!(sounds.map(|s| s.dts).collect::<Vec<_>>(), [4096]);
}

#[test]
fn pictures_before_the_first_idr_are_left_out() {
    let mut start = start();
    for n in 0..5 {
        assert!(matches!(
            start.push(picture(n * 3000, false)),
            Verdict::Hold
        ));
    }
    for n in 5..35 {
        assert!(matches!(
            start.push(picture(n * 3000, n == 5)),
            Verdict::Hold
        ));
    }
    let ready = go(start.push(picture(35 * 3000, true)));
    assert_eq!((ready.samples[0].dts, ready.fps_millis), (5 * 3000, 30_000));
}

#[test]
fn another_video_configuration_begins_anew() {
    let mut start = start();
    start.push(picture(0, true));
    start.push(picture(3000, false));
    start.video_config(video(1280));
    assert_eq!(start.held.len(), 2, "a repeated one changes nothing");
    start.video_config(video(640));
    assert!(start.held.is_empty());
    let (_, verdict) = run(&mut start, 30, 60);
    assert_eq!(go(verdict).source.video.width, 640);
}

#[test]
fn sound_alone_is_refused() {
    let mut start = Start::new(Config::default(), true);
    start.audio_config(audio());
    let mut verdicts = (0..1000).map(|n| start.push(sound(n * 1024)));
    let verdict = verdicts
        .find(|verdict| !matches!(verdict, Verdict::Hold))
        .unwrap();
    assert!(refusal(verdict).contains("no picture"));
}

#[test]
fn a_first_picture_that_stands_still_while_sound_goes_on_plays_on() {
    // Whether the source may pass, how far sound is ahead (ticks), when it is decided.
    for (may_pass, ahead, decided) in [
        (true, 0, 2490 * 90),
        (true, 54_000, 2490 * 90),
        (false, 0, LOOK_TICKS),
    ] {
        let mut start = Start::new(Config::default(), may_pass);
        start.video_config(video(1280));
        start.audio_config(audio());
        let is_held = |verdict: Verdict| assert!(matches!(verdict, Verdict::Hold));
        let frames = |range: std::ops::Range<i64>| range.step_by(1920).map(|at| sound(at * 8 / 15));
        frames(0..ahead + 1).for_each(|frame| is_held(start.push(frame)));
        is_held(start.push(picture(0, true)));
        let until = ahead + decided;
        frames(ahead + 1920..until + 1).for_each(|frame| is_held(start.push(frame)));
        let mut later = frames(until / 1920 * 1920 + 1920..until + 9000);
        let ready = go(start.push(later.next().unwrap()));
        let Way::Transcode { rate, reason } = &ready.way else {
            panic!("{:?}", ready.way);
        };
        // As its parameter sets declare.
        assert_eq!((rate.fps_millis(), ready.fps_millis), (30_000, 30_000));
        assert_eq!(reason.is_some(), may_pass);
        assert!((decided / 90..decided / 90 + 22).contains(&ready.held_millis()));
        assert!(ready.measured_bps < 100_000, "{}", ready.measured_bps);
        let pictures = ready.samples.iter().filter(|s| s.track == TrackKind::Video);
        assert_eq!(pictures.count(), 1);
    }
}

#[test]
fn sound_long_before_the_first_picture_is_forgotten() {
    let mut start = start();
    start.audio_config(audio());
    // Eleven seconds.
    for n in 0..516 {
        assert!(matches!(start.push(sound(n * 1024)), Verdict::Hold));
    }
    let first = 516 * 1920;
    for n in 0..60 {
        let verdict = start.push(picture(first + n * 3000, n == 0));
        assert!(matches!(verdict, Verdict::Hold));
    }
    let ready = go(start.push(picture(first + 180_000, true)));
    assert_eq!((ready.way.clone(), ready.held_millis()), (Way::Pass, 2000));
    let sounds = ready.samples.iter().filter(|s| s.track == TrackKind::Audio);
    let sounds: Vec<_> = sounds.map(|s| s.dts / 1024).collect();
    assert_eq!(sounds, (493..516).collect::<Vec<_>>(), "of half a second");
}

#[test]
fn what_is_held_is_bounded() {
    let mut start = start();
    let mut verdicts = (0..100).map(|n| {
        let data = Bytes::from(vec![0; 1 << 20]);
        start.push(Sample {
            data,
            ..picture(n, n == 0)
        })
    });
    let verdict = verdicts
        .find(|verdict| !matches!(verdict, Verdict::Hold))
        .unwrap();
    assert!(refusal(verdict).contains("bitrate"));
}
