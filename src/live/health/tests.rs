use super::*;

const TERMS: Terms = Terms {
    max_gop_ms: Some(2490),
    good_gop_s: 2,
    max_bps: 8_500_000,
    oversize: None,
};

const FACTS: Facts = Facts {
    declared_bps: Some(3_000_000),
    declared_fps_millis: None,
    gops_ms: [None; 5],
    audio_delay_ms: None,
};

/// Second number `n` of a stream that brings `percent` of what it should.
fn second(n: i64, percent: u64) -> Second {
    Second {
        at: WallTime(n * 1000),
        elapsed_ms: 1000,
        video_bits: 30_000 * percent,
        pictures: 30,
        sounds: 47,
        media_ms: 10 * percent,
        ..Second::default()
    }
}

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn health_is_known_after_five_seconds_and_starvation_has_two_ends() {
    let mut health = Health::default();
    health.begin(WallTime(0));
    assert_eq!(health.report(SECONDS), Report::default());
    for n in 0..10 {
        let changes = health.push(second(n, 100), FACTS, TERMS);
        assert_eq!(changes, [], "second {n}");
        let known = if n < 4 {
            Summary::Unknown
        } else {
            Summary::Healthy
        };
        assert_eq!(health.report(SECONDS).summary, known, "second {n}");
    }
    let mut changes = Vec::new();
    for n in 10..40 {
        let percent = if n < 20 { 30 } else { 100 };
        let found = health.push(second(n, percent), FACTS, TERMS);
        changes.extend(found.into_iter().map(|change| (n, change)));
        if n == 19 {
            assert_eq!(health.report(SECONDS).summary, Summary::Starving);
        }
    }
    let starvation: Vec<_> = changes
        .iter()
        .filter(|(_, change)| !matches!(change, Change::Found(..)))
        .collect();
    assert_eq!(starvation.len(), 2, "{changes:?}");
    assert!(matches!(starvation[0], (10..=13, Change::StarvationStart)));
    assert!(matches!(starvation[1], (20..=28, Change::StarvationEnd)));
    assert_eq!(health.report(SECONDS).summary, Summary::Healthy);
    let found = |code| {
        let is_it =
            |change: &&(i64, Change)| matches!(change, (_, Change::Found(c, _)) if *c == code);
        changes.iter().filter(is_it).count()
    };
    assert_eq!(
        (found(Code::MediaSlow), found(Code::BitrateLow)),
        (1, 1),
        "told once"
    );
}

#[test]
fn a_report_has_the_newest_seconds_in_their_order() {
    let mut health = Health::default();
    health.begin(WallTime(0));
    for n in 0..200 {
        health.push(second(n, 100), FACTS, TERMS);
    }
    let report = health.report(3);
    let times: Vec<i64> = report.seconds.iter().map(|second| second.at.0).collect();
    assert_eq!(times, [197_000, 198_000, 199_000]);
    assert_eq!(health.report(usize::MAX).seconds.len(), SECONDS);
}

#[test]
fn another_publisher_is_judged_by_its_own_seconds() {
    let mut health = Health::default();
    health.begin(WallTime(0));
    for n in 0..20 {
        health.push(second(n, 10), FACTS, TERMS);
    }
    assert!(!codes(&health.report(SECONDS)).is_empty());
    assert!(health.sustained_bps().is_some());
    assert_eq!(health.begin(WallTime(20_000)), None);
    let report = health.report(SECONDS);
    assert_eq!(
        (report.summary, report.findings),
        (Summary::Unknown, vec![])
    );
    assert_eq!(
        report.seconds.len(),
        20,
        "the past is shown, but not judged"
    );
    assert_eq!(health.sustained_bps(), None);
    assert_eq!(health.push(second(20, 100), FACTS, TERMS), []);
}

#[test]
fn an_encoder_that_connects_often_is_told() {
    let mut health = Health::default();
    // Minutes at which it connects, and whether that is often.
    for (minute, is_often) in [
        (0, false),
        (1, false),
        (2, false),
        (9, true),
        (10, true),
        (30, false),
    ] {
        let change = health.begin(WallTime(minute * 60_000));
        let is_told = matches!(change, Some(Change::Found(Code::ReconnectsOften, _)));
        assert_eq!(is_told, is_often, "minute {minute}");
        assert_eq!(
            codes(&health.report(0)).contains(&Code::ReconnectsOften),
            is_often
        );
    }
}

#[test]
fn what_is_told_is_new_once_and_only_what_became_of_the_stream_is_for_everybody() {
    let mut health = Health::default();
    let at = WallTime(0);
    let tell = |health: &mut Health, code| health.tell(code, format!("{code:?}"), at);
    let expected = Change::Found(Code::AudioTranscoded, "AudioTranscoded".to_owned());
    assert_eq!(tell(&mut health, Code::AudioTranscoded), Some(expected));
    assert_eq!(tell(&mut health, Code::AudioTranscoded), None);
    assert!(tell(&mut health, Code::AvDrift).is_some());
    assert!(tell(&mut health, Code::VideoTranscoded).is_some());
    assert_eq!(health.notices(), ["AudioTranscoded", "VideoTranscoded"]);
    assert_eq!(health.report(0).findings.len(), 3);
}
