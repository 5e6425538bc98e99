use super::*;
use crate::base::clock::WallTime;
use crate::live::Config;
use crate::live::limits::Limits;
use crate::model::Channel;
use crate::model::channel::Settings;

const TERMS: Terms = Terms {
    max_gop_ms: Some(2490),
    good_gop_s: 2,
    max_bps: 8_500_000,
    oversize: None,
};

/// A second of a stream in which nothing is wrong: 30 fps, 3 Mb/s.
const GOOD: Second = Second {
    at: WallTime(0),
    elapsed_ms: 1000,
    video_bits: 2_840_000,
    audio_bits: 160_000,
    pictures: 30,
    sounds: 47,
    media_ms: 1000,
    missing_pictures: 0,
    uneven_pictures: 0,
    keyframe_interval_ms: Some(2000),
    av_drift_ms: Some(3),
    dropped_units: 0,
    jumps: 0,
    parts: 3,
    late_parts: 0,
    is_starving: false,
};

const FACTS: Facts = Facts {
    declared_bps: Some(3_000_000),
    declared_fps_millis: Some(30_000),
    gops_ms: [Some(2000); 5],
    audio_delay_ms: Some(20),
};

/// What is found of these seconds, the newest first.
fn found(seconds: &[Second], facts: Facts, terms: Terms) -> Vec<(Code, String)> {
    judge(&View {
        seconds,
        facts,
        terms,
    })
}

/// Ten seconds of `GOOD`, changed.
fn ten(change: impl Fn(&mut Second)) -> Vec<Second> {
    let mut second = GOOD;
    change(&mut second);
    vec![second; 10]
}

/// The one finding of ten such seconds.
fn only(seconds: &[Second], facts: Facts) -> (Code, String) {
    let mut findings = found(seconds, facts, TERMS);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[test]
fn a_good_stream_has_no_findings() {
    for count in 0..=10 {
        assert_eq!(found(&vec![GOOD; count], FACTS, TERMS), [], "{count} s");
    }
    let silent_about_itself = Facts::default();
    assert_eq!(found(&ten(|_| ()), silent_about_itself, TERMS), []);
}

#[test]
fn every_fault_of_ten_seconds_has_its_code_and_words_with_the_remedy() {
    type Case = (fn(&mut Second), Code, &'static str);
    let cases: [Case; 14] = [
        (
            |s| s.keyframe_interval_ms = Some(8333),
            Code::KeyframeIntervalLong,
            "the keyframe interval is 8.3 s; set it to 2 s (OBS: Settings, Output, Keyframe Interval)",
        ),
        (
            |s| s.video_bits = 1_300_000,
            Code::BitrateLow,
            "1.46 Mb/s come where the encoder declares 3.00; ",
        ),
        (
            |s| s.video_bits = 8_400_000,
            Code::BitrateHigh,
            "8.56 Mb/s come where 8.50 are allowed; set a lower",
        ),
        (
            |s| s.pictures = 20,
            Code::FrameRateLow,
            "20.0 frames per second come where the encoder declares 30.0; ",
        ),
        (
            |s| s.uneven_pictures = 4,
            Code::FrameRateUnsteady,
            "(40 of 300 pictures came out of step); set a constant",
        ),
        (
            |s| s.missing_pictures = 1,
            Code::PicturesMissing,
            "10 of 310 pictures are missing; ",
        ),
        (
            |s| s.media_ms = 700,
            Code::MediaSlow,
            "3.5 s of media came in 5.0 s; ",
        ),
        (
            |s| (s.media_ms, s.pictures) = (2010, 60),
            Code::MediaFast,
            "20.1 s of media came in 10.0 s; ",
        ),
        (
            |s| (s.parts, s.late_parts) = (9, 1),
            Code::PartsLate,
            "10 of 90 parts reached viewers late; ",
        ),
        (
            |s| s.av_drift_ms = Some(101),
            Code::AvDrift,
            "sound has moved 101 ms ahead of the picture; ",
        ),
        (
            |s| s.av_drift_ms = Some(-250),
            Code::AvDrift,
            "sound has moved 250 ms behind the picture; ",
        ),
        (|s| s.sounds = 0, Code::AudioMissing, "no sound comes; "),
        (
            |s| s.dropped_units = 1,
            Code::UnitsDropped,
            "out of order and left out (10 in the last minute); ",
        ),
        (
            |s| s.jumps = 1,
            Code::TimestampsJumped,
            "the encoder's timestamps jump (10 in the last minute); ",
        ),
    ];
    for (change, code, words) in cases {
        let (found, text) = only(&ten(change), FACTS);
        assert_eq!(found, code, "{text}");
        assert!(text.contains(words), "{text}");
        assert!(
            text.contains("; ") || text.contains(": "),
            "no remedy: {text}"
        );
    }
}

#[test]
fn just_within_is_no_finding() {
    let changes: [fn(&mut Second); 12] = [
        |s| s.keyframe_interval_ms = Some(2490),
        |s| s.keyframe_interval_ms = None,
        |s| s.video_bits = 1_340_000,
        |s| s.video_bits = 8_340_000,
        |s| s.pictures = 27,
        |s| s.uneven_pictures = 3,
        |s| s.media_ms = 800,
        |s| s.av_drift_ms = Some(-100),
        |s| s.av_drift_ms = None,
        |s| (s.media_ms, s.pictures) = (2000, 60),
        |s| (s.parts, s.late_parts) = (10, 1),
        |s| s.sounds = 1,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        // Fewer pictures a second of media are another rule's.
        let facts = Facts {
            declared_fps_millis: Some(30_000),
            ..FACTS
        };
        assert_eq!(found(&ten(change), facts, TERMS), [], "change {n}");
    }
    let mut once = ten(|_| ());
    (once[4].missing_pictures, once[4].late_parts) = (2, 2);
    assert_eq!(found(&once, FACTS, TERMS), []);
}

#[test]
fn rates_are_not_judged_before_the_window_is_full() {
    let bad = |s: &mut Second| {
        (s.video_bits, s.pictures, s.uneven_pictures) = (9_900_000, 20, 10);
    };
    assert_eq!(found(&ten(bad)[..9], FACTS, TERMS), []);
    assert!(found(&ten(bad), FACTS, TERMS).len() > 1);
    assert_eq!(sustained_bps(&ten(bad)[..9]), None);
}

#[test]
fn one_burst_or_catching_up_is_no_high_bitrate() {
    let mut burst = ten(|_| ());
    burst[3].video_bits = 30_000_000;
    assert_eq!(sustained_bps(&burst), Some(5_716_000));
    // Eight seconds of nothing, then all of it at once.
    let mut stall = ten(|s| {
        *s = Second {
            elapsed_ms: 1000,
            ..Second::default()
        }
    });
    stall[0] = Second {
        video_bits: 78_000_000,
        media_ms: 10_000,
        ..GOOD
    };
    assert_eq!(sustained_bps(&stall), Some(7_816_000));
    // What an encoder had in store: what it plays counts.
    let stored = ten(|s| (s.video_bits, s.media_ms) = (16_000_000, 2000));
    assert_eq!(sustained_bps(&stored), Some(8_080_000));
    // A stream whose time stands still is measured by the wall's.
    let frozen = ten(|s| (s.video_bits, s.media_ms) = (16_000_000, 0));
    assert_eq!(sustained_bps(&frozen), Some(16_160_000));
}

#[test]
fn media_that_runs_fast_for_long_is_counted_as_it_comes() {
    // Five times as fast as it plays: forty megabits a second, of which each second of it plays eight.
    let fast = |s: &mut Second| (s.video_bits, s.media_ms, s.pictures) = (39_840_000, 5000, 150);
    let mut seconds = ten(fast);
    assert_eq!(sustained_bps(&seconds), Some(20_000_000));
    seconds.extend(ten(fast));
    assert_eq!(sustained_bps(&seconds), Some(40_000_000));
    // It is ahead, and keeps its pace from now on.
    let mut kept = vec![GOOD; 20];
    kept.extend(ten(fast));
    assert_eq!(sustained_bps(&kept), Some(3_000_000));
    assert_eq!(found(&kept, FACTS, TERMS), []);
    // A stall of long ago was caught up since: nothing is ahead.
    let mut caught_up = ten(|s| (s.media_ms, s.pictures) = (2000, 60));
    caught_up.extend(vec![GOOD; 60]);
    caught_up.extend(vec![
        Second {
            elapsed_ms: 1000,
            ..Second::default()
        };
        10
    ]);
    assert_eq!(found(&caught_up, FACTS, TERMS), []);
}

#[test]
fn keyframes_are_judged_only_where_the_source_may_pass() {
    let terms = Terms {
        max_gop_ms: None,
        ..TERMS
    };
    let facts = Facts {
        gops_ms: [Some(500), Some(2000), Some(2000), Some(2000), Some(2000)],
        ..FACTS
    };
    let long = ten(|s| s.keyframe_interval_ms = Some(8333));
    assert_eq!(found(&long, facts, terms), []);
}

#[test]
fn a_picture_that_is_too_large_is_told_with_the_remedy() {
    let channel = Channel::create(&Settings::default(), WallTime(0)).unwrap();
    let mut limits = Limits::new(&Config::default(), &channel);
    let terms = Terms {
        oversize: limits.set_size(3840, 2160),
        ..TERMS
    };
    let findings = found(&[GOOD], FACTS, terms);
    assert_eq!(findings[0].0, Code::ResolutionHigh);
    assert!(findings[0].1.contains("3840x2160"), "{findings:?}");
}

#[test]
fn keyframe_intervals_may_differ_by_half_and_half_a_second() {
    for (gops, is_irregular) in [
        ([2000, 2000, 1400, 2000, 2000], false),
        ([1000, 1000, 1500, 1000, 1000], false),
        ([200, 400, 300, 200, 200], false),
        ([2000, 2000, 1200, 2000, 2000], true),
        ([500, 1600, 2000, 1000, 700], true),
    ] {
        let facts = Facts {
            gops_ms: gops.map(Some),
            ..FACTS
        };
        let findings = found(&ten(|_| ()), facts, TERMS);
        let codes: Vec<_> = findings.iter().map(|(code, _)| *code).collect();
        let expected = vec![Code::KeyframeIntervalIrregular];
        assert_eq!(
            codes,
            if is_irregular { expected } else { vec![] },
            "{gops:?}"
        );
    }
    let long = Facts {
        gops_ms: [Some(500), Some(9000), Some(500), Some(500), Some(500)],
        ..FACTS
    };
    let (code, words) = only(&ten(|_| ()), long);
    assert_eq!(code, Code::KeyframeIntervalLong, "one finding of one thing");
    assert!(words.contains("is 9.0 s"), "{words}");
    let few = Facts {
        gops_ms: [Some(500), Some(2000), None, None, None],
        ..FACTS
    };
    assert_eq!(found(&ten(|_| ()), few, TERMS), []);
}

#[test]
fn a_single_event_is_shown_for_a_minute() {
    let mut seconds = vec![GOOD; 70];
    (seconds[59].jumps, seconds[59].dropped_units) = (1, 3);
    let codes: Vec<_> = found(&seconds, FACTS, TERMS)
        .iter()
        .map(|(code, _)| *code)
        .collect();
    assert_eq!(codes, [Code::UnitsDropped, Code::TimestampsJumped]);
    seconds.insert(0, GOOD);
    assert_eq!(found(&seconds, FACTS, TERMS), []);
}

#[test]
fn sound_that_began_late_is_told_for_a_minute() {
    let facts = Facts {
        audio_delay_ms: Some(4000),
        ..FACTS
    };
    let (code, words) = only(&ten(|_| ()), facts);
    assert_eq!(code, Code::AudioLate);
    assert!(words.contains("4.0 s after the picture"), "{words}");
    assert_eq!(found(&vec![GOOD; 61], facts, TERMS), []);
    let early = Facts {
        audio_delay_ms: Some(-4000),
        ..FACTS
    };
    assert_eq!(found(&ten(|_| ()), early, TERMS), []);
}

#[test]
fn starving_is_too_few_bits_or_too_little_media_and_ends_later_than_it_begins() {
    // (bits, media) of every second; whether that starves one who did not, and one who did.
    for (video_bits, media_ms, begins, goes_on) in [
        (2_840_000, 1000, false, false),
        (1_360_000, 1000, false, true),
        (1_320_000, 1000, true, true),
        (1_650_000, 1000, false, false),
        (2_840_000, 790, true, true),
        (2_840_000, 810, false, true),
        (2_840_000, 950, false, false),
        (0, 0, true, true),
    ] {
        let seconds = ten(|s| (s.video_bits, s.media_ms) = (video_bits, media_ms));
        let view = View {
            seconds: &seconds,
            facts: FACTS,
            terms: TERMS,
        };
        let outcome = (is_starving(&view, false), is_starving(&view, true));
        assert_eq!(
            outcome,
            (begins, goes_on),
            "{video_bits} bits, {media_ms} ms"
        );
    }
    let view = View {
        seconds: &[],
        facts: FACTS,
        terms: TERMS,
    };
    assert!(!is_starving(&view, true));
}

#[test]
fn numbers_are_rounded_for_people() {
    assert_eq!(tenths(8333), "8.3");
    assert_eq!(tenths(29_970), "30.0");
    assert_eq!(tenths(49), "0.0");
    assert_eq!(mbps(8_499_999), "8.50");
    assert_eq!(mbps(64_000), "0.06");
}
