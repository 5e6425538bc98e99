use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::ingest::{EndReason, Trouble};
use crate::live::start;
use crate::media::codec::AudioKind;

const AT: WallTime = WallTime(1000);

fn sample(track: TrackKind, dts: i64, is_sync: bool, bytes: usize) -> MediaEvent {
    MediaEvent::Sample(Sample {
        track,
        dts,
        composition_offset: 0,
        is_sync,
        data: Bytes::from(vec![0; bytes]),
    })
}

/// A meter that knows of sound at 48 kHz.
fn meter() -> Meter {
    let mut meter = Meter::default();
    let stereo = AudioConfig::parse(AudioKind::Aac, &Bytes::from_static(&[0x11, 0x90])).unwrap();
    meter.observe(&MediaEvent::AudioConfig(Arc::new(stereo)));
    meter
}

/// One second of a stream whose pictures begin at `pictures` milliseconds, the sound moved by
/// `sound_ms`; a keyframe every `gop_ms`.
fn second(meter: &mut Meter, from: i64, pictures: &[i64], sound_ms: i64, gop_ms: i64) -> Second {
    let mut sounds = (from * 48_000 / 1024..(from + 1) * 48_000 / 1024).peekable();
    for ms in pictures.iter().map(|ms| from * 1000 + ms) {
        while let Some(n) = sounds.next_if(|n| n * 1024 * 1000 / 48_000 <= ms) {
            let dts = n * 1024 + sound_ms * 48;
            meter.observe(&sample(TrackKind::Audio, dts, true, 100));
        }
        let is_sync = ms % gop_ms == 0;
        meter.observe(&sample(TrackKind::Video, ms * 90, is_sync, 1000));
    }
    meter.take_second(AT, 1000)
}

/// When pictures come at `fps`.
fn steady(fps: i64) -> Vec<i64> {
    (0..fps).map(|n| n * 1000 / fps).collect()
}

#[test]
fn counts_a_second_of_a_plain_stream() {
    let mut meter = meter();
    second(&mut meter, 0, &steady(25), 0, 2000);
    for from in 1..3 {
        second(&mut meter, from, &steady(25), 0, 2000);
    }
    let found = second(&mut meter, 3, &steady(25), 0, 2000);
    let expected = Second {
        at: AT,
        elapsed_ms: 1000,
        video_bits: 25 * 8000,
        audio_bits: found.sounds * 800,
        pictures: 25,
        sounds: found.sounds,
        media_ms: found.media_ms,
        keyframe_interval_ms: Some(2000),
        av_drift_ms: found.av_drift_ms,
        ..Second::default()
    };
    assert_eq!(found, expected);
    assert!((45..=48).contains(&found.sounds), "{found:?}");
    assert!((970..=1030).contains(&found.media_ms), "{found:?}");
    assert!(found.av_drift_ms.unwrap().abs() <= 10, "{found:?}");
    assert_eq!(found.bitrate_bps(), 200_000 + found.sounds * 800);
    assert_eq!(
        (found.fps_millis(), found.video_bitrate_bps()),
        (25_000, 200_000)
    );
}

#[test]
fn a_late_second_counts_by_its_length() {
    let second = Second {
        elapsed_ms: 2500,
        video_bits: 5_000_000,
        audio_bits: 250_000,
        pictures: 75,
        ..Second::default()
    };
    assert_eq!(second.bitrate_bps(), 2_100_000);
    assert_eq!(second.audio_bitrate_bps(), 100_000);
    assert_eq!(second.fps_millis(), 30_000);
    assert_eq!(Second::default().bitrate_bps(), 0);
}

#[test]
fn pictures_that_a_steady_rate_has_are_missed_whatever_the_rate() {
    for fps in [10, 24, 25, 30, 50, 60] {
        let mut meter = meter();
        second(&mut meter, 0, &steady(fps), 0, 2000);
        let mut thinned = steady(fps);
        thinned.drain(4..6);
        let found = second(&mut meter, 1, &thinned, 0, 2000);
        assert_eq!(found.missing_pictures, 2, "{fps} fps");
        assert_eq!(found.uneven_pictures, 1, "{fps} fps");
        let whole = second(&mut meter, 2, &steady(fps), 0, 2000);
        assert_eq!(
            (whole.missing_pictures, whole.uneven_pictures),
            (0, 0),
            "{fps} fps"
        );
    }
}

#[test]
fn a_changed_rate_becomes_the_usual_one() {
    let mut meter = meter();
    for from in 0..3 {
        second(&mut meter, from, &steady(60), 0, 2000);
    }
    for from in 3..8 {
        second(&mut meter, from, &steady(30), 0, 2000);
    }
    let found = second(&mut meter, 8, &steady(30), 0, 2000);
    assert_eq!((found.missing_pictures, found.uneven_pictures), (0, 0));
}

#[test]
fn a_pause_is_bounded() {
    let mut meter = meter();
    second(&mut meter, 0, &steady(30), 0, 2000);
    let after = second(&mut meter, 1_000_000, &steady(30), 0, 2000);
    assert_eq!(after.missing_pictures, MAX_MISSING.unsigned_abs());
}

#[test]
fn b_frames_are_as_good_as_none() {
    let mut meter = Meter::default();
    for n in 0..30i32 {
        let picture = Sample {
            track: TrackKind::Video,
            dts: i64::from(n) * 3000,
            composition_offset: [3000, 9000, 3000, 0][usize::try_from(n % 4).unwrap()],
            is_sync: n == 0,
            data: Bytes::new(),
        };
        meter.observe(&MediaEvent::Sample(picture));
    }
    let found = meter.take_second(AT, 1000);
    assert_eq!((found.missing_pictures, found.uneven_pictures), (0, 0));
}

#[test]
fn the_keyframe_interval_is_the_newest_or_the_open_one_if_that_is_longer() {
    let mut meter = meter();
    let intervals = (0..8).map(|from| {
        // Keyframes at 0 s and 2 s only.
        let gop_ms = if from < 3 { 2000 } else { i64::MAX };
        second(&mut meter, from, &steady(25), 0, gop_ms).keyframe_interval_ms
    });
    let intervals: Vec<_> = intervals.collect();
    assert_eq!(intervals[..2], [None, None]);
    assert_eq!(intervals[2..4], [Some(2000), Some(2000)]);
    assert_eq!(intervals[7], Some(5960));
    assert_eq!(meter.facts().gops_ms, [Some(2000), None, None, None, None]);
}

#[test]
fn sound_that_moves_away_from_the_picture_is_measured_against_the_start() {
    // (what sound is moved by from the start, what it is moved by after 6 s)
    for (usual, later) in [(0, 0), (0, 250), (0, -250), (-400, -400), (300, 0)] {
        let mut meter = meter();
        let mut drift = None;
        for from in 1..12 {
            let moved = if from < 7 { usual } else { later };
            drift = second(&mut meter, from, &steady(30), moved, 2000).av_drift_ms;
            assert_eq!(drift.is_none(), from <= 3, "settles within three seconds");
        }
        let drift = drift.unwrap();
        assert!(
            (drift - (later - usual)).abs() <= 10,
            "{usual} {later}: {drift}"
        );
    }
}

#[test]
fn a_second_without_sound_or_without_pictures_says_nothing_of_drift() {
    let mut meter = meter();
    for from in 0..5 {
        second(&mut meter, from, &steady(30), 0, 2000);
    }
    for n in 0..30 {
        let picture = sample(TrackKind::Video, (5000 + n * 33) * 90, false, 100);
        meter.observe(&picture);
    }
    let mute = meter.take_second(AT, 1000);
    assert_eq!((mute.sounds, mute.av_drift_ms), (0, None));
    for n in 234..280 {
        meter.observe(&sample(TrackKind::Audio, n * 1024, true, 100));
    }
    let still = meter.take_second(AT, 1000);
    assert_eq!((still.pictures, still.av_drift_ms), (0, None));
}

#[test]
fn late_sound_is_known_by_its_first_frame() {
    let mut meter = meter();
    for n in 0..60 {
        meter.observe(&sample(TrackKind::Video, n * 3000, n == 0, 100));
    }
    assert_eq!(meter.facts().audio_delay_ms, None);
    for n in 0..3 {
        let dts = 2 * 48_000 + n * 1024;
        meter.observe(&sample(TrackKind::Audio, dts, true, 100));
        assert_eq!(meter.facts().audio_delay_ms, Some(2000));
    }
}

#[test]
fn what_the_encoder_declares_is_known() {
    let mut meter = Meter::default();
    let fps_of_the_picture = start::tests::video(640).declared_fps_millis;
    meter.observe(&MediaEvent::VideoConfig(start::tests::video(640)));
    assert_eq!(meter.facts().declared_fps_millis, fps_of_the_picture);
    let metadata = Metadata {
        video_data_rate_kbps: Some(2500.0),
        audio_data_rate_kbps: Some(160.0),
        frame_rate: Some(59.94),
        ..Metadata::default()
    };
    meter.observe(&MediaEvent::Metadata(metadata));
    let facts = meter.facts();
    assert_eq!(facts.declared_bps, Some(2_660_000));
    assert_eq!(facts.declared_fps_millis, Some(59_940));
    // Nonsense says nothing.
    for kbps in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e12] {
        let metadata = Metadata {
            video_data_rate_kbps: Some(kbps),
            frame_rate: Some(kbps),
            ..Metadata::default()
        };
        meter.observe(&MediaEvent::Metadata(metadata));
        assert_eq!(meter.facts().declared_bps, None, "{kbps}");
        assert_eq!(meter.facts().declared_fps_millis, Some(59_940), "{kbps}");
    }
}

#[test]
fn trouble_and_parts_belong_to_their_second() {
    let mut meter = Meter::default();
    let trouble = Trouble {
        dropped_units: 2,
        jumps: 1,
    };
    meter.observe(&MediaEvent::Trouble(trouble));
    meter.observe(&MediaEvent::Trouble(trouble));
    meter.observe(&MediaEvent::Notice(String::new()));
    meter.observe(&MediaEvent::End(EndReason::Unpublished));
    meter.note_parts(3, 1);
    let second = meter.take_second(AT, 1000);
    assert_eq!((second.dropped_units, second.jumps), (4, 2));
    assert_eq!((second.parts, second.late_parts), (3, 1));
    let expected = Second {
        at: AT,
        elapsed_ms: 1000,
        ..Second::default()
    };
    assert_eq!(meter.take_second(AT, 1000), expected);
}
