//! Followers: whatever comes, each span becomes one part: of what came for it, or a gap.

use std::collections::HashMap;

use bytes::Bytes;
use mp4_atom::{Decode, Moof};
use proptest::prelude::*;

use super::tests::{data, drain, picture, read, sound, tracks};
use super::*;

/// From one picture to the next.
const FRAME: i64 = 3_000;
/// Ten pictures.
const SPAN: i64 = 10 * FRAME;

fn follower(has_audio: bool) -> Packager {
    Packager::following(&Config::default(), tracks(has_audio)).unwrap()
}

/// The `n`th span, six to a segment. The pictures from `10 * n` on begin in it.
fn span(n: i64) -> Span {
    Span {
        start: n * SPAN,
        end: (n + 1) * SPAN,
        opens_segment: n % 6 == 0,
        closes_segment: n % 6 == 5,
    }
}

fn push_all(packager: &mut Packager, samples: impl IntoIterator<Item = Sample>) {
    for sample in samples {
        assert_eq!(packager.push(sample), Ok(false));
    }
}

fn spans(parts: &[Part]) -> Vec<Span> {
    parts.iter().map(Part::span).collect()
}

/// For each part whether it is a gap.
fn gaps(parts: &[Part]) -> Vec<bool> {
    parts.iter().map(|part| part.is_gap).collect()
}

#[test]
fn each_span_becomes_a_part_of_the_pictures_that_begin_in_it() {
    let mut packager = follower(false);
    (0..8).map(span).for_each(|span| packager.push_span(span));
    push_all(&mut packager, (0..75).map(picture));
    let mut parts = drain(&mut packager);
    assert_eq!((parts.len(), packager.owed()), (7, 1));
    packager.finish();
    parts.extend(drain(&mut packager));
    assert_eq!(packager.owed(), 0);
    assert_eq!(spans(&parts), (0..8).map(span).collect::<Vec<_>>());
    for (n, part) in (0..).zip(&parts) {
        let pictures = 10 * n..(10 * n + 10).min(75);
        assert_eq!(read(part, 1).unwrap().data, data(pictures.map(picture)));
        assert_eq!(part.is_independent, n % 6 == 0);
    }
}

#[test]
fn a_part_waits_until_no_more_pictures_come_for_it() {
    let mut packager = follower(false);
    push_all(&mut packager, (0..9).map(picture));
    packager.push_span(span(0));
    packager.video_until(SPAN - 1, false);
    assert_eq!(packager.poll(), None);
    packager.video_until(SPAN, false);
    packager.video_until(FRAME, false);
    let part = packager.poll().unwrap();
    let video = read(&part, 1).unwrap();
    assert_eq!(video.data, data((0..9).map(picture)));
    assert_eq!(video.end - video.start, SPAN, "the last picture stays");
}

#[test]
fn a_span_for_which_nothing_comes_is_a_gap() {
    let mut packager = follower(false);
    (0..7).map(span).for_each(|span| packager.push_span(span));
    push_all(&mut packager, (0..10).map(picture));
    packager.video_until(6 * SPAN, false);
    let mut parts = drain(&mut packager);
    push_all(&mut packager, (60..71).map(picture));
    parts.extend(drain(&mut packager));
    assert_eq!(spans(&parts), (0..7).map(span).collect::<Vec<_>>());
    let is_real = |n| n == 0 || n == 6;
    assert_eq!(gaps(&parts), [0, 1, 2, 3, 4, 5, 6].map(|n| !is_real(n)));
    let [first, gap, .., last] = &parts[..] else {
        panic!("seven parts");
    };
    assert!(gap.bytes.is_empty() && !gap.is_independent);
    let video = [first, last].map(|part| read(part, 1).unwrap());
    assert_eq!(video[0].end + 5 * SPAN, video[1].start);
    let number = Moof::decode(&mut &last.bytes[..]).unwrap().mfhd;
    assert_eq!(number.sequence_number, 2, "gaps have no sequence number");
}

#[test]
fn a_span_with_sound_alone_is_no_gap() {
    let mut packager = follower(true);
    (0..2).map(span).for_each(|span| packager.push_span(span));
    push_all(&mut packager, (0..10).map(picture));
    push_all(&mut packager, (0..33).map(sound));
    packager.video_until(2 * SPAN, false);
    let parts = drain(&mut packager);
    assert_eq!(gaps(&parts), [false, false]);
    assert!(read(&parts[1], 1).is_none() && !parts[1].is_independent);
    assert_eq!(read(&parts[1], 2).unwrap().data, data((15..31).map(sound)));
}

#[test]
fn a_span_whose_pictures_were_lost_is_a_gap_although_it_has_sound() {
    let mut packager = follower(true);
    (0..3).map(span).for_each(|span| packager.push_span(span));
    push_all(&mut packager, (0..50).map(sound));
    push_all(&mut packager, (0..8).map(picture));
    packager.video_until(2 * SPAN, true);
    let keyframe = Sample {
        is_sync: true,
        ..picture(20)
    };
    push_all(&mut packager, [keyframe]);
    packager.video_until(3 * SPAN, false);
    let parts = drain(&mut packager);
    assert_eq!(gaps(&parts), [false, true, false]);
    let expected = data((31..46).map(sound));
    assert_eq!(
        read(&parts[2], 2).unwrap().data,
        expected,
        "the gap's is dropped"
    );
}

#[test]
fn a_follower_without_pictures_waits_for_sound_only() {
    let mut tracks = tracks(true);
    tracks.video = None;
    let mut packager = Packager::following(&Config::default(), tracks).unwrap();
    (0..2).map(span).for_each(|span| packager.push_span(span));
    push_all(&mut packager, (0..15).map(sound));
    assert_eq!(packager.poll(), None);
    push_all(&mut packager, (15..17).map(sound));
    let part = packager.poll().unwrap();
    assert_eq!(read(&part, 2).unwrap().data, data((0..15).map(sound)));
    assert!(part.is_independent);
    packager.wait_for_audio(SPAN);
    packager.video_until(3 * SPAN - 1, false);
    assert_eq!(packager.poll(), None);
    packager.video_until(3 * SPAN, false);
    let part = packager.poll().unwrap();
    assert_eq!(read(&part, 2).unwrap().data, data((15..16).map(sound)));
}

#[test]
fn sound_alone_is_as_long_as_its_parts() {
    let quiet = Bytes::from_static(b"quiet");
    // Frames 0 to 31 begin in the two spans; 15 and 31 end behind them.
    for (sent, first, second) in [
        (3..20, 3..15, 15..20),
        (0..31, 0..15, 15..31),
        (0..40, 0..15, 15..32),
    ] {
        let mut tracks = tracks(true);
        tracks.video = None;
        let mut packager = Packager::following(&Config::default(), tracks).unwrap();
        packager.fill_with(quiet.clone());
        (0..2).map(span).for_each(|span| packager.push_span(span));
        packager.expect_end();
        push_all(&mut packager, sent.map(sound));
        let mut parts = drain(&mut packager);
        packager.finish();
        parts.extend(drain(&mut packager));
        let read = |at: usize| read(&parts[at], 2).unwrap();
        let silence = |count: i64| -> Vec<Bytes> { (0..count).map(|_| quiet.clone()).collect() };
        let expected = [silence(first.start), data(first.map(sound))].concat();
        assert_eq!(read(0).data, expected);
        let missing = 31 - second.end.min(31);
        let expected = [data(second.map(sound)), silence(missing)].concat();
        assert_eq!(read(1).data, expected);
        assert_eq!((read(0).start, read(0).end), (0, read(1).start));
        let short = 2 * SPAN - read(1).end * 90_000 / 48_000;
        assert!(short.abs() < 1_920, "{short}");
    }
}

#[test]
fn the_last_part_of_sound_alone_begins_where_that_of_the_pictures_does() {
    let quiet = Bytes::from_static(b"quiet");
    for sent in [12, 13, 14, 15, 16, 17] {
        let mut tracks = tracks(true);
        tracks.video = None;
        let mut packager = Packager::following(&Config::default(), tracks).unwrap();
        packager.fill_with(quiet.clone());
        packager.push_span(span(0));
        packager.push_span(Span {
            end: SPAN + FRAME,
            ..span(1)
        });
        packager.expect_end();
        push_all(&mut packager, (0..sent).map(sound));
        let mut parts = drain(&mut packager);
        packager.finish();
        parts.extend(drain(&mut packager));
        assert_eq!(gaps(&parts), [false, false]);
        // The frame across the boundary is the sixteenth.
        let read = |at: usize| read(&parts[at], 2).unwrap();
        assert_eq!(
            (read(0).data.len(), read(1).start),
            (15, 15 * 1024),
            "{sent}"
        );
    }
}

#[test]
fn after_a_late_picture_only_a_sync_sample_goes_on() {
    let mut packager = follower(false);
    (0..7).map(span).for_each(|span| packager.push_span(span));
    push_all(&mut packager, (0..9).map(picture));
    packager.video_until(SPAN, false);
    assert!(packager.poll().is_some_and(|part| !part.is_gap));
    push_all(&mut packager, (9..71).map(picture));
    packager.video_until(7 * SPAN, false);
    let parts = drain(&mut packager);
    assert_eq!(gaps(&parts), [true, true, true, true, true, false]);
    let video = read(&parts[5], 1).unwrap();
    assert_eq!(video.data, data((60..70).map(picture)));
}

#[test]
fn what_cannot_be_decoded_after_a_loss_is_a_gap_although_it_has_sound() {
    for is_abandoned in [false, true] {
        let mut packager = follower(true);
        packager.push_span(span(0));
        push_all(&mut packager, (0..9).map(picture));
        push_all(&mut packager, (0..17).map(sound));
        if is_abandoned {
            packager.abandon();
        }
        packager.video_until(SPAN, false);
        let first = packager.poll().unwrap();
        assert_eq!(first.is_gap, is_abandoned);
        // The rung goes on as if nothing had been lost; a keyframe opens the next segment.
        (1..7).map(span).for_each(|span| packager.push_span(span));
        push_all(&mut packager, (9..71).map(picture));
        push_all(&mut packager, (17..113).map(sound));
        let parts = drain(&mut packager);
        assert_eq!(gaps(&parts), [true, true, true, true, true, false]);
    }
}

#[test]
fn abandoning_makes_gaps_of_all_that_is_owed_and_of_what_cannot_be_decoded_then() {
    let mut packager = follower(true);
    (0..3).map(span).for_each(|span| packager.push_span(span));
    push_all(&mut packager, (0..12).map(picture));
    assert_eq!((packager.poll(), packager.owed()), (None, 3));
    packager.abandon();
    let parts = drain(&mut packager);
    assert_eq!(spans(&parts), [0, 1, 2].map(span));
    assert_eq!((gaps(&parts), packager.owed()), (vec![true; 3], 0));

    (3..7).map(span).for_each(|span| packager.push_span(span));
    push_all(&mut packager, (12..80).map(picture));
    let parts = drain(&mut packager);
    assert_eq!(gaps(&parts), [true, true, true, false]);
}

#[test]
fn pictures_that_wait_beyond_what_is_abandoned_are_dropped_too() {
    let mut packager = follower(true);
    packager.push_span(span(0));
    packager.wait_for_audio(270_000);
    push_all(&mut packager, (0..15).map(picture));
    packager.abandon();
    assert_eq!(gaps(&drain(&mut packager)), [true]);
    packager.push_span(span(1));
    push_all(&mut packager, (15..20).map(picture));
    packager.finish();
    // Pictures 10 to 14 refer to those that were dropped.
    assert_eq!(gaps(&drain(&mut packager)), [true]);
}

#[test]
fn of_more_than_128_owed_spans_the_oldest_become_gaps() {
    let mut packager = follower(false);
    (0..134).map(span).for_each(|span| packager.push_span(span));
    let parts = drain(&mut packager);
    assert_eq!(spans(&parts), (0..6).map(span).collect::<Vec<_>>());
    assert_eq!((gaps(&parts), packager.owed()), (vec![true; 6], 128));
}

#[test]
fn the_last_span_waits_for_the_end_and_takes_the_sound_that_is_left() {
    for (is_expected, carried) in [(false, 15), (true, 20)] {
        let mut packager = follower(true);
        packager.push_span(span(0));
        push_all(&mut packager, (0..11).map(picture));
        if is_expected {
            packager.expect_end();
        }
        push_all(&mut packager, (0..20).map(sound));
        let mut parts = drain(&mut packager);
        assert_eq!(parts.is_empty(), is_expected);
        packager.finish();
        parts.extend(drain(&mut packager));
        let [part] = &parts[..] else {
            panic!("{parts:?}")
        };
        assert_eq!(read(part, 2).unwrap().data, data((0..carried).map(sound)));
    }
}

#[test]
fn finishing_leaves_nothing_owed() {
    let mut packager = follower(true);
    (0..4).map(span).for_each(|span| packager.push_span(span));
    push_all(&mut packager, (0..15).map(picture));
    packager.expect_end();
    packager.finish();
    let parts = drain(&mut packager);
    assert_eq!(gaps(&parts), [false, false, true, true]);
    assert_eq!((packager.owed(), packager.poll()), (0, None));
}

#[test]
fn what_is_not_told_at_the_end_is_a_gap_only_where_pictures_were_lost() {
    for is_lost in [false, true] {
        let mut packager = follower(true);
        (0..4).map(span).for_each(|span| packager.push_span(span));
        push_all(&mut packager, (0..10).map(picture));
        push_all(&mut packager, (0..64).map(sound));
        packager.video_until(2 * SPAN, is_lost);
        packager.expect_end();
        packager.finish();
        let parts = drain(&mut packager);
        assert_eq!(gaps(&parts), [false, is_lost, is_lost, is_lost]);
    }
}

/// What a follower is told.
#[derive(Clone, Debug)]
enum Event {
    Span(Span),
    Sample(Sample),
    VideoUntil(i64, bool),
    Abandon,
}

/// What comes of one span's time.
#[derive(Clone, Debug)]
struct Stretch {
    /// How many frames long it is.
    frames: i64,
    opens_segment: bool,
    /// Which of its frames are not encoded, a bit for each.
    missing: u16,
    has_sound: bool,
    /// What is owed after it is given up.
    is_abandoned: bool,
}

/// How much later than their times things come, in ticks.
#[derive(Clone, Copy, Debug)]
struct Lags {
    span: i64,
    picture: i64,
    video_until: i64,
    sound: i64,
}

fn stretch() -> impl Strategy<Value = Stretch> {
    let missing = prop_oneof![5 => Just(0), 1 => Just(u16::MAX), 1 => any::<u16>()];
    let fields = (
        prop_oneof![3 => Just(10_i64), 1 => 1_i64..=10],
        prop::bool::weighted(0.2),
        missing,
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.05),
    );
    fields.prop_map(
        |(frames, opens_segment, missing, has_sound, is_abandoned)| Stretch {
            frames,
            opens_segment,
            missing,
            has_sound,
            is_abandoned,
        },
    )
}

fn lags() -> impl Strategy<Value = Lags> {
    let lag = || 0_i64..2 * SPAN;
    (lag(), lag(), lag(), lag()).prop_map(|(span, picture, video_until, sound)| Lags {
        span,
        picture,
        video_until,
        sound,
    })
}

/// The stretches' spans, and all events in the order in which they come. As encoders promise, the
/// picture that follows a missing one is a sync sample.
fn schedule(stretches: &[Stretch], lags: Lags) -> (Vec<Span>, Vec<Event>) {
    let (mut spans, mut timed) = (Vec::new(), Vec::new());
    let (mut start, mut sounds, mut is_fresh) = (0, 0, true);
    for (index, stretch) in stretches.iter().enumerate() {
        let end = start + stretch.frames * FRAME;
        let next = stretches.get(index + 1);
        let span = Span {
            start,
            end,
            opens_segment: index == 0 || stretch.opens_segment,
            closes_segment: next.is_none_or(|next| next.opens_segment),
        };
        is_fresh |= span.opens_segment;
        for n in 0..stretch.frames {
            let dts = start + n * FRAME;
            let is_missing = stretch.missing >> n & 1 == 1;
            if !is_missing {
                let is_sync = std::mem::take(&mut is_fresh);
                let sample = Sample {
                    is_sync,
                    ..picture(dts / FRAME)
                };
                timed.push((dts + lags.picture, Event::Sample(sample)));
            }
            is_fresh |= is_missing;
            timed.push((
                dts + lags.video_until,
                Event::VideoUntil(dts + FRAME, is_missing),
            ));
        }
        while sounds * 1920 < end {
            if stretch.has_sound {
                timed.push((sounds * 1920 + lags.sound, Event::Sample(sound(sounds))));
            }
            sounds += 1;
        }
        timed.push((end + lags.span, Event::Span(span)));
        if stretch.is_abandoned {
            timed.push((end + lags.span + SPAN, Event::Abandon));
        }
        spans.push(span);
        start = end;
    }
    timed.sort_by_key(|(at, _)| *at);
    (spans, timed.into_iter().map(|(_, event)| event).collect())
}

/// Follows `events`.
fn run(packager: &mut Packager, events: &[Event]) -> Vec<Part> {
    let mut parts = Vec::new();
    for event in events.iter().cloned() {
        match event {
            Event::Span(span) => packager.push_span(span),
            Event::Sample(sample) => push_all(packager, [sample]),
            Event::VideoUntil(until, is_lost) => packager.video_until(until, is_lost),
            Event::Abandon => {
                packager.abandon();
                let owed = packager.owed();
                let given_up = drain(packager);
                assert_eq!(gaps(&given_up), vec![true; owed]);
                parts.extend(given_up);
            }
        }
        parts.extend(drain(packager));
    }
    packager.expect_end();
    packager.finish();
    parts.extend(drain(packager));
    parts
}

/// The pictures that were encoded, by their data, in order: each with its place and whether it is
/// a sync sample.
fn encoded(events: &[Event]) -> HashMap<Bytes, (usize, bool)> {
    let samples = events.iter().filter_map(|event| match event {
        Event::Sample(sample) if sample.track == TrackKind::Video => Some(sample),
        _ => None,
    });
    let placed = samples.enumerate();
    placed
        .map(|(place, sample)| (sample.data.clone(), (place, sample.is_sync)))
        .collect()
}

fn in_ascending_order(samples: &[Bytes]) -> bool {
    let number = |bytes: &Bytes| i64::from_be_bytes(bytes[..].try_into().unwrap()).abs();
    samples.is_sorted_by(|a, b| number(a) < number(b))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_comes_each_span_becomes_one_part_that_can_be_decoded(
        stretches in prop::collection::vec(stretch(), 1..24),
        lags in lags(),
        has_audio: bool,
    ) {
        let (spans_given, events) = schedule(&stretches, lags);
        let mut packager = follower(has_audio);
        let parts = run(&mut packager, &events);
        prop_assert_eq!(packager.owed(), 0);
        prop_assert_eq!(spans(&parts), spans_given);

        let encoded = encoded(&events);
        let (mut pictures, mut sounds) = (Vec::<Bytes>::new(), Vec::new());
        let (mut ends, mut sequence_number) = ([0, 0], 0);
        let mut follows_gap = false;
        for part in &parts {
            prop_assert_eq!(part.bytes.is_empty(), part.is_gap);
            follows_gap |= part.is_gap;
            if part.is_gap {
                continue;
            }
            sequence_number += 1;
            let moof = Moof::decode(&mut &part.bytes[..]).unwrap();
            prop_assert_eq!(moof.mfhd.sequence_number, sequence_number);
            let trafs = [1, 2].map(|track_id| read(part, track_id));
            for (end, traf) in ends.iter_mut().zip(&trafs) {
                if let Some(traf) = traf {
                    prop_assert!(*end <= traf.start && traf.start < traf.end, "tracks go on");
                    *end = traf.end;
                }
            }
            let [video, audio] = trafs;
            for (index, picture) in video.iter().flat_map(|video| &video.data).enumerate() {
                let (place, is_sync) = encoded[picture];
                prop_assert!(is_sync || index > 0 || !follows_gap, "sync after a gap");
                let before = pictures.last().map(|before| encoded[before].0 + 1);
                prop_assert!(is_sync || before == Some(place), "it can be decoded");
                pictures.push(picture.clone());
            }
            follows_gap &= video.is_none();
            sounds.extend(audio.into_iter().flat_map(|audio| audio.data));
        }
        prop_assert!(in_ascending_order(&pictures) && in_ascending_order(&sounds));
    }
}
