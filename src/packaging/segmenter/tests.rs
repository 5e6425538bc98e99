use proptest::prelude::*;

use super::*;

const PART_TARGET: i64 = 334 * 90;
const SEGMENT_LIMIT: i64 = 2490 * 90;

/// Spans of a finished timeline.
fn cut(samples: &[(i64, bool)]) -> Result<Vec<Span>, Error> {
    let mut segmenter = Segmenter::new(&Config::default(), true);
    for (dts, is_sync) in samples {
        segmenter.push(*dts, *is_sync)?;
    }
    segmenter.finish();
    Ok(std::iter::from_fn(|| segmenter.poll()).collect())
}

/// `seconds` of samples at `millihertz`, in exact ticks or rounded to RTMP's milliseconds, with
/// a sync sample every `gop` samples.
fn constant_rate(millihertz: i64, gop: i64, seconds: i64, rounded: bool) -> Vec<(i64, bool)> {
    let count = millihertz * seconds / 1000;
    let dts = |n: i64| {
        if rounded {
            n * 1_000_000 / millihertz * 90
        } else {
            n * 90_000_000 / millihertz
        }
    };
    (0..count).map(|n| (dts(n), n % gop == 0)).collect()
}

/// Durations in milliseconds, rounded to the nearest, of the segments' parts.
fn segments_in_ms(spans: &[Span]) -> Vec<Vec<i64>> {
    let mut segments: Vec<Vec<i64>> = Vec::new();
    for span in spans {
        if span.opens_segment {
            segments.push(Vec::new());
        }
        let parts = segments.last_mut().unwrap();
        parts.push((span.end - span.start + 45) / 90);
    }
    segments
}

#[test]
fn the_grid_of_two_second_segments() {
    let rest = |n: usize, part: i64, last: i64| [vec![part; n], vec![last]].concat();
    // Millihertz, samples in a GOP, parts of each segment in milliseconds.
    let table = [
        (23_976, 48, vec![334; 6]),
        (24_000, 48, vec![333; 6]),
        (25_000, 50, rest(6, 320, 80)),
        (29_970, 60, vec![334; 6]),
        (30_000, 60, vec![333; 6]),
        (50_000, 100, rest(6, 320, 80)),
        (59_940, 120, vec![334; 6]),
        (60_000, 120, vec![333; 6]),
        (15_000, 30, vec![333; 6]),
        (12_500, 25, rest(6, 320, 80)),
        (10_000, 20, rest(6, 300, 200)),
    ];
    for (millihertz, gop, parts) in table {
        let spans = cut(&constant_rate(millihertz, gop, 13, false)).unwrap();
        let segments = segments_in_ms(&spans);
        assert_eq!(segments.len(), 7, "{millihertz}");
        for segment in &segments[..6] {
            assert_eq!(*segment, parts, "{millihertz}");
        }
        // The parts hold the same samples when RTMP rounds their times to milliseconds.
        let rounded = cut(&constant_rate(millihertz, gop, 13, true)).unwrap();
        assert_eq!(rounded.len(), spans.len(), "{millihertz}");
        for (exact, rounded) in std::iter::zip(&spans, &rounded) {
            assert!((exact.start - rounded.start).abs() <= 90, "{millihertz}");
        }
    }
}

#[test]
fn segments_are_runs_of_gops_within_the_limit() {
    // GOP in samples at 30 fps; segments in milliseconds. Until the GOPs are known to be
    // regular, another of two seconds must be expected.
    let table = [
        (15, vec![500, 2000, 2000, 2000]),
        (30, vec![1000, 2000, 2000, 2000]),
        (45, vec![1500; 6]),
        (60, vec![2000; 4]),
        (72, vec![2400; 3]),
        (1, vec![2467; 3]),
    ];
    for (gop, expected) in table {
        let spans = cut(&constant_rate(30_000, gop, 10, false)).unwrap();
        let segments = segments_in_ms(&spans);
        for (segment, ms) in std::iter::zip(&segments, expected) {
            let sum: i64 = segment.iter().sum();
            assert!((sum - ms).abs() <= 5, "GOP {gop}: {segment:?} is not {ms}");
        }
    }
    // NTSC: a GOP of 1.001 s.
    let segments = segments_in_ms(&cut(&constant_rate(29_970, 30, 10, false)).unwrap());
    assert_eq!(segments[0], [334, 334, 334]);
    assert_eq!(segments[1], [334; 6]);
}

#[test]
fn keyframes_at_scene_cuts_do_not_overrun_a_segment() {
    // At most 60 frames apart as an encoder with `-g 60` sets them, the first ones early.
    let keyframes = [0, 18, 78, 138, 150, 161, 221, 281, 290];
    let samples: Vec<_> = (0..300)
        .map(|n| (n * 3000, keyframes.contains(&n)))
        .collect();
    let spans = cut(&samples).unwrap();
    let opening = spans.iter().filter(|s| s.opens_segment);
    let opening: Vec<i64> = opening.map(|s| s.start / 3000).collect();
    assert_eq!(opening, [0, 18, 78, 138, 161, 221, 281]);
}

#[test]
fn a_gop_too_long_is_an_error_and_leaves_the_open_segment_whole() {
    let mut segmenter = Segmenter::new(&Config::default(), true);
    let mut refused = None;
    for n in 0..100 {
        if let Err(error) = segmenter.push(n * 3000, n == 0) {
            refused = Some((n, error));
            break;
        }
    }
    assert_eq!(refused, Some((75, Error::GopTooLong { elapsed_ms: 2500 })));
    segmenter.finish();
    let spans: Vec<_> = std::iter::from_fn(|| segmenter.poll()).collect();
    let last = spans.last().unwrap();
    assert!(last.closes_segment && last.end <= SEGMENT_LIMIT && last.end > 74 * 3000);
}

#[test]
fn a_gop_of_just_the_limit_is_none_too_long() {
    let limit = SEGMENT_LIMIT;
    let samples = |next| [(0, true), (limit - 90, false), (next, true)];
    assert!(cut(&samples(limit)).is_ok());
    assert!(cut(&samples(limit + 1)).is_err());
    assert!(cut(&[(0, true), (limit, false)]).is_err());
}

#[test]
fn samples_before_the_first_sync_sample_are_ignored() {
    let spans = cut(&[(0, false), (3000, false), (6000, true), (9000, false)]).unwrap();
    assert_eq!(
        spans,
        [Span {
            start: 6000,
            end: 12_000,
            opens_segment: true,
            closes_segment: true
        }]
    );
}

#[test]
fn a_part_is_closed_when_the_first_sample_behind_it_arrives() {
    let mut segmenter = Segmenter::new(&Config::default(), true);
    for n in 0..10 {
        segmenter.push(n * 3000, n == 0).unwrap();
        assert_eq!(segmenter.poll(), None);
    }
    segmenter.push(30_000, false).unwrap();
    assert_eq!(segmenter.poll().map(|span| span.end), Some(30_000));
}

#[test]
fn a_gap_becomes_spans_without_video() {
    // Six samples at 30 fps, the last of which lasts 31 frames, and six more.
    let times = (0..6).chain(36..42).map(|n| (n * 3000, n == 0));
    let spans = cut(&times.collect::<Vec<_>>()).unwrap();
    let lengths: Vec<i64> = spans.iter().map(|s| s.end - s.start).collect();
    // The first part ends within the long sample. What is left of that after three spans is the beginning of
    // the part that the samples behind the gap join.
    let rest = 42 * 3000 - 3 * PART_TARGET;
    let last = 2 * 3000;
    assert_eq!(
        lengths,
        [PART_TARGET, PART_TARGET, PART_TARGET, rest - last, last]
    );
    // Without sound a segment's last part has to hold a picture: the one before it may then be short.
    let mut mute = Segmenter::new(&Config::default(), false);
    for (dts, is_sync) in [(0, true), (18_000, false), (36_000, false), (180_000, true)] {
        mute.push(dts, is_sync).unwrap();
    }
    let spans: Vec<_> = std::iter::from_fn(|| mute.poll()).collect();
    assert_eq!((spans[0].end, spans[1].start), (PART_TARGET, PART_TARGET));
    assert!(spans.last().unwrap().closes_segment);
}

#[test]
fn a_lone_sample_becomes_a_segment() {
    let spans = cut(&[(7, true)]).unwrap();
    assert_eq!(spans.len(), 1);
    assert_eq!((spans[0].start, spans[0].end), (7, 7 + LONE_SAMPLE_TICKS));
}

/// What holds for every timeline.
fn check_invariants(samples: &[(i64, bool)], spans: &[Span]) {
    let first = samples.iter().position(|(_, is_sync)| *is_sync).unwrap();
    assert_eq!(spans[0].start, samples[first].0);
    assert!(spans[0].opens_segment && spans.last().unwrap().closes_segment);
    for pair in spans.windows(2) {
        assert_eq!(pair[0].end, pair[1].start, "no gap, no overlap");
        assert_eq!(pair[0].closes_segment, pair[1].opens_segment);
    }
    let mut segment_start = 0;
    for span in spans {
        assert!(span.start < span.end && span.end - span.start <= PART_TARGET);
        if span.opens_segment {
            segment_start = span.start;
            assert!(
                samples.contains(&(span.start, true)),
                "opens on a sync sample"
            );
        }
        assert!(span.end - segment_start <= SEGMENT_LIMIT);
    }
    // Tiling and order: every sample is in exactly one span.
    assert!(samples[samples.len() - 1].0 < spans.last().unwrap().end);
}

proptest! {
    #[test]
    fn any_timeline_is_tiled(
        steps in prop::collection::vec((1i64..60_000, 0u8..8), 1..200),
        start in 0i64..1 << 40,
    ) {
        let mut dts = start;
        let mut samples = vec![(start, true)];
        for (step, kind) in steps {
            dts += if kind == 0 { step } else { 1 + step / 16 };
            samples.push((dts, kind == 1));
        }
        let mut segmenter = Segmenter::new(&Config::default(), true);
        let mut taken = Vec::new();
        for sample in &samples {
            match segmenter.push(sample.0, sample.1) {
                Ok(_) => taken.push(*sample),
                Err(Error::GopTooLong { elapsed_ms }) => {
                    prop_assert!(elapsed_ms >= 2490);
                    break;
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
        segmenter.finish();
        let spans: Vec<_> = std::iter::from_fn(|| segmenter.poll()).collect();
        check_invariants(&taken, &spans);
        for span in &spans {
            let long_enough = (span.end - span.start) * 100 >= PART_TARGET * 85;
            prop_assert!(long_enough || span.closes_segment, "{:?}", span);
        }
    }

    #[test]
    fn constant_rates_keep_every_rule(
        rate in prop::sample::select(vec![
            10_000i64, 12_000, 12_500, 15_000, 20_000, 23_976, 24_000, 25_000, 29_970, 30_000,
            48_000, 50_000, 59_940, 60_000, 90_000, 100_000, 119_880, 120_000,
        ]),
        gop_ms in 200i64..2300,
        phase in 0usize..50,
        rounded: bool,
    ) {
        let gop = (gop_ms * rate / 1_000_000).max(1);
        let mut samples = constant_rate(rate, gop, 14, rounded);
        // A stream does not begin on a round tick: RTMP's rounding may start anywhere.
        samples.drain(..phase);
        prop_assume!(samples.iter().any(|(_, is_sync)| *is_sync));
        let spans = cut(&samples).unwrap();
        check_invariants(&samples, &spans);
        for span in &spans {
            let long_enough = (span.end - span.start) * 100 >= PART_TARGET * 85;
            prop_assert!(long_enough || span.closes_segment, "{:?} at {}", span, rate);
        }
    }
}
