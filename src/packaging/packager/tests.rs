use std::sync::Arc;

use bytes::Bytes;
use mp4_atom::{Decode, Moof};
use proptest::prelude::*;

use super::*;
use crate::media::codec::avc;
use crate::media::codec::avc::tests::X264_360P30;
use crate::media::{AudioTrack, VideoTrack};

pub(super) fn tracks(has_audio: bool) -> Tracks {
    let audio = aac::Config::parse(&Bytes::from_static(&[0x11, 0x90])).unwrap();
    Tracks {
        video: Some(VideoTrack {
            config: Arc::new(avc::parse(&Bytes::from_static(X264_360P30)).unwrap()),
        }),
        audio: has_audio.then(|| AudioTrack {
            config: Arc::new(audio),
        }),
    }
}

fn packager(has_audio: bool) -> Packager {
    Packager::new(&Config::default(), tracks(has_audio)).unwrap()
}

/// The `n`th picture at 30 fps, an IDR picture every 60.
pub(super) fn picture(n: i64) -> Sample {
    Sample {
        track: TrackKind::Video,
        dts: n * 3000,
        composition_offset: 6000,
        is_sync: n % 60 == 0,
        data: Bytes::copy_from_slice(&n.to_be_bytes()),
    }
}

/// The `n`th AAC frame at 48 kHz.
pub(super) fn sound(n: i64) -> Sample {
    Sample {
        track: TrackKind::Audio,
        dts: n * 1024,
        composition_offset: 0,
        is_sync: true,
        data: Bytes::copy_from_slice(&(-n).to_be_bytes()),
    }
}

/// Samples in the order in which an encoder sends them.
fn interleave(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.sort_by_key(|s| match s.track {
        TrackKind::Video => s.dts * 16,
        TrackKind::Audio => s.dts * 30 + 1,
    });
    samples
}

pub(super) fn drain(packager: &mut Packager) -> Vec<Part> {
    std::iter::from_fn(|| packager.poll()).collect()
}

pub(super) fn package(packager: &mut Packager, samples: Vec<Sample>) -> Vec<Part> {
    let mut parts = Vec::new();
    for sample in samples {
        packager.push(sample).unwrap();
        parts.extend(drain(packager));
    }
    packager.finish();
    parts.extend(drain(packager));
    parts
}

/// One track of one part: when it begins, when it ends, and its samples' data.
#[derive(Debug)]
pub(super) struct Traf {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) data: Vec<Bytes>,
}

/// What a part holds of a track, if anything.
pub(super) fn read(part: &Part, track_id: u32) -> Option<Traf> {
    let moof = Moof::decode(&mut &part.bytes[..]).unwrap();
    assert!(!moof.traf.is_empty());
    let traf = moof.traf.iter().find(|t| t.tfhd.track_id == track_id)?;
    let start = i64::try_from(traf.tfdt.as_ref().unwrap().base_media_decode_time).unwrap();
    let mut offset = usize::try_from(traf.trun[0].data_offset.unwrap()).unwrap();
    let (mut end, mut data) = (start, Vec::new());
    for entry in &traf.trun[0].samples {
        end += i64::from(
            entry
                .duration
                .or(traf.tfhd.default_sample_duration)
                .unwrap(),
        );
        let size = usize::try_from(entry.size.unwrap()).unwrap();
        data.push(part.bytes.slice(offset..offset + size));
        offset += size;
    }
    assert!(!data.is_empty(), "no empty trun");
    Some(Traf { start, end, data })
}

/// Checks that a track's parts follow each other without a gap; returns its samples' data.
fn contiguous(parts: &[Part], track_id: u32) -> Vec<Bytes> {
    let mut all = Vec::new();
    let mut expected = None;
    for part in parts {
        if let Some(traf) = read(part, track_id) {
            assert!(
                expected.is_none_or(|e| e == traf.start),
                "{part:?}: {expected:?}"
            );
            expected = Some(traf.end);
            all.extend(traf.data);
        }
    }
    all
}

pub(super) fn data(samples: impl Iterator<Item = Sample>) -> Vec<Bytes> {
    samples.map(|s| s.data).collect()
}

#[test]
fn both_tracks_arrive_whole_in_contiguous_parts() {
    let samples = (0..150).map(picture).chain((0..235).map(sound)).collect();
    let parts = package(&mut packager(true), interleave(samples));
    assert_eq!(contiguous(&parts, 1), data((0..150).map(picture)));
    assert_eq!(contiguous(&parts, 2), data((0..235).map(sound)));
    let shape: Vec<_> = parts
        .iter()
        .map(|p| {
            (
                p.duration / 90,
                p.is_independent,
                p.opens_segment,
                p.closes_segment,
            )
        })
        .collect();
    let segment = |closed: usize| (0..closed).map(move |n| (333, n == 0, n == 0, n == closed - 1));
    let expected: Vec<_> = segment(6).chain(segment(6)).chain(segment(3)).collect();
    assert_eq!(shape, expected);
}

#[test]
fn a_segment_begins_when_its_first_picture_is_shown() {
    let parts = package(&mut packager(false), (0..70).map(picture).collect());
    // Decoded from 0 on, shown from 6000 on: no player finds a hole at the beginning.
    assert_eq!(read(&parts[0], 1).unwrap().start, 6000);
    assert_eq!(parts[0].start, 0, "the grid is counted in decoding times");
    let moof = Moof::decode(&mut &parts[0].bytes[..]).unwrap();
    let shown = moof.traf[0].trun[0]
        .samples
        .iter()
        .map(|entry| entry.cts.unwrap_or(0));
    assert!(shown.eq(std::iter::repeat_n(0, 10)));
}

#[test]
fn audio_that_ends_by_a_boundary_is_in_the_part_before_it() {
    let samples = (0..70).map(picture).chain((0..110).map(sound)).collect();
    let parts = package(&mut packager(true), interleave(samples));
    for part in &parts[..6] {
        let end = Timescale::VIDEO.convert(part.start + part.duration, Timescale::MICROS);
        let rate = Timescale::new(48_000).unwrap();
        let traf = read(part, 2).unwrap();
        assert!(rate.convert(traf.end, Timescale::MICROS) <= end);
        assert!(rate.convert(traf.end + 1024, Timescale::MICROS) > end);
    }
}

#[test]
fn a_part_waits_for_audio_until_the_video_is_100_ms_ahead() {
    let mut packager = packager(true);
    packager.push(sound(0)).unwrap();
    packager.push(sound(1)).unwrap();
    for n in 0..13 {
        packager.push(picture(n)).unwrap();
        assert_eq!(packager.poll(), None, "picture {n}");
    }
    packager.push(picture(13)).unwrap();
    let first = packager.poll().unwrap();
    // The second audio sample's duration is unknown until the third comes.
    assert_eq!(read(&first, 2).unwrap().data, data((0..1).map(sound)));
    for n in 2..40 {
        packager.push(sound(n)).unwrap();
    }
    for n in 14..21 {
        packager.push(picture(n)).unwrap();
    }
    let second = packager.poll().unwrap();
    let late = read(&second, 2).unwrap();
    assert_eq!((late.start, &late.data[0]), (1024, &sound(1).data));
}

#[test]
fn a_part_is_out_when_audio_reaches_its_end() {
    let mut packager = packager(true);
    for n in 0..=10 {
        packager.push(picture(n)).unwrap();
    }
    for n in 0..15 {
        packager.push(sound(n)).unwrap();
        assert_eq!(packager.poll(), None, "sound {n} ends before 1/3 s");
    }
    packager.push(sound(15)).unwrap();
    assert!(packager.poll().is_some());
}

#[test]
fn audio_that_ends_before_the_video_begins_is_dropped() {
    // Video begins at 2 s with an IDR picture; before that, others that nobody can decode.
    let samples = (30..200).map(picture).chain((0..300).map(sound)).collect();
    let parts = package(&mut packager(true), interleave(samples));
    assert_eq!(parts[0].start, 180_000);
    assert_eq!(contiguous(&parts, 1), data((60..200).map(picture)));
    // The 94th frame lasts from 2.00533 s; the 93rd straddles the beginning.
    assert_eq!(contiguous(&parts, 2), data((93..300).map(sound)));

    // The same when all audio comes first, of which a second is kept.
    let samples = (0..94).map(sound).chain((60..100).map(picture)).collect();
    let parts = package(&mut packager(true), samples);
    assert_eq!(contiguous(&parts, 2), data((93..94).map(sound)));
}

#[test]
fn no_track_is_made_of_audio_that_was_not_announced() {
    let samples = (0..30).map(picture).chain((0..50).map(sound)).collect();
    let parts = package(&mut packager(false), interleave(samples));
    assert_eq!(contiguous(&parts, 1).len(), 30);
    assert_eq!(contiguous(&parts, 2), Vec::<Bytes>::new());
}

#[test]
fn a_video_gap_is_filled_with_audio() {
    // An encoder on a bad line drops pictures 20 to 59 and keeps the sound.
    let pictures = (0..20).chain(60..90).map(picture);
    let samples = pictures.clone().chain((0..140).map(sound)).collect();
    let parts = package(&mut packager(true), interleave(samples));
    assert_eq!(contiguous(&parts, 1), data(pictures));
    assert_eq!(contiguous(&parts, 2), data((0..140).map(sound)));
    assert!(parts.iter().any(|p| read(p, 1).is_none()));
    assert_eq!(parts.iter().filter(|p| p.opens_segment).count(), 2);
    for pair in parts.windows(2) {
        assert_eq!(pair[0].start + pair[0].duration, pair[1].start);
    }
}

#[test]
fn a_gap_in_which_nothing_begins_makes_no_part() {
    let pictures = (0..20).chain(60..90).map(picture);
    let parts = package(&mut packager(false), pictures.clone().collect());
    assert_eq!(contiguous(&parts, 1), data(pictures));
    let closing: Vec<_> = parts.iter().filter(|p| p.closes_segment).collect();
    let opening: Vec<_> = parts.iter().filter(|p| p.opens_segment).collect();
    assert_eq!((closing.len(), opening.len()), (2, 2));
    assert!(closing[0].start < opening[1].start);
    assert!(parts.iter().all(|p| p.duration <= 334 * 90));
}

#[test]
fn samples_out_of_order_are_refused() {
    let mut packager = packager(true);
    packager.push(picture(0)).unwrap();
    packager.push(sound(3)).unwrap();
    let table = [
        (picture(0), 0, 0),
        (sound(2), 2 * 1024, 3 * 1024),
        (sound(i64::MAX / 1024), i64::MAX / 1024 * 1024, 3 * 1024),
    ];
    for (sample, dts, previous) in table {
        let track = sample.track;
        let expected = Error::OutOfOrder {
            track,
            dts,
            previous,
        };
        assert_eq!(packager.push(sample), Err(expected));
    }
    assert!(matches!(
        self::packager(true).push(sound(-1)),
        Err(Error::OutOfOrder { previous: -1, .. })
    ));
}

#[test]
fn what_waits_is_bounded() {
    let mut packager = packager(true);
    packager.push(picture(0)).unwrap();
    let mebibyte = Bytes::from(vec![0; 1 << 20]);
    let refused = (0..100).find_map(|n| {
        let data = mebibyte.clone();
        packager.push(Sample { data, ..sound(n) }).err()
    });
    assert!(matches!(refused, Some(Error::TooMuchHeld { held_bytes }) if held_bytes > 64 << 20));
}

#[test]
fn after_an_error_the_rest_can_be_had() {
    let mut packager = packager(false);
    let mut parts = Vec::new();
    let refused = (0..100).find_map(|n| {
        let sample = Sample {
            is_sync: n == 0,
            ..picture(n)
        };
        let result = packager.push(sample);
        parts.extend(drain(&mut packager));
        result.err()
    });
    assert_eq!(refused, Some(Error::GopTooLong { elapsed_ms: 2500 }));
    packager.finish();
    parts.extend(drain(&mut packager));
    assert_eq!(contiguous(&parts, 1).len(), 75);
    assert!(parts.last().unwrap().closes_segment);
}

#[test]
fn pictures_that_are_shown_later_from_some_keyframe_on_have_room_behind_it() {
    let mut packager = packager(false);
    for n in 0..60 + 74 {
        let sample = Sample {
            composition_offset: if n < 60 { 0 } else { 6000 },
            is_sync: n == 0 || n == 60,
            ..picture(n)
        };
        packager.push(sample).unwrap();
    }
    packager.finish();
    let segments = drain(&mut packager).into_iter();
    assert_eq!(segments.filter(|part| part.closes_segment).count(), 2);
}

/// Pictures of one endless GOP in decoding order: runs of `run` pictures, the last of which the others refer to.
fn with_b_pictures(run: i64) -> impl Iterator<Item = Sample> {
    (0..).map(move |n| {
        let (run_start, place) = ((n - 1) / run * run, (n - 1) % run);
        let shown = match (n, place) {
            (0, _) => 0,
            (_, 0) => run_start + run,
            _ => run_start + place,
        };
        let offset = (shown + 2 - n) * 3000;
        Sample {
            composition_offset: i32::try_from(offset).unwrap(),
            is_sync: n == 0,
            ..picture(n)
        }
    })
}

#[test]
fn a_gop_that_is_too_long_ends_where_no_earlier_picture_is_to_come() {
    for run in 1..=8 {
        let mut packager = packager(false);
        let mut shown = Vec::new();
        let error = with_b_pictures(run).find_map(|sample| {
            let pts = sample.pts();
            let error = packager.push(sample).err();
            shown.extend(error.is_none().then_some(pts));
            error
        });
        let error = error.unwrap();
        assert!(matches!(error, Error::GopTooLong { .. }), "{error}");
        shown.sort_unstable();
        let expected: Vec<_> = (2..).map(|n| n * 3000).take(shown.len()).collect();
        assert_eq!(shown, expected, "in runs of {run}");
        let most = usize::try_from(75 - run).unwrap();
        assert!(shown.len() > most, "{} in runs of {run}", shown.len());
    }
}

#[test]
fn an_impossible_grid_is_refused() {
    for (part_target_ms, target_duration_s) in [(0, 2), (99, 2), (2001, 2), (334, 0)] {
        let config = Config {
            part_target_ms,
            target_duration_s,
        };
        assert!(Packager::new(&config, tracks(true)).is_err());
    }
    let config: Result<Config, _> = serde_json::from_str(r#"{"part_target": 1}"#);
    assert!(config.is_err(), "unknown keys are refused");
}

proptest! {
    #[test]
    fn nothing_is_lost_whatever_the_interleaving(
        // How far each track's samples are delayed, in sixteenths of a video tick.
        video_lag in 0i64..1 << 22,
        audio_lag in 0i64..1 << 22,
        dropped in prop::collection::vec(0i64..200, 0..60),
        audio_gap in 0i64..300,
    ) {
        let is_kept = |n: &i64| n % 60 == 0 || !dropped.contains(n);
        let pictures: Vec<_> = (0..200).filter(is_kept).map(picture).collect();
        let sounds: Vec<_> = (0..315).filter(|n| !(audio_gap..audio_gap + 40).contains(n))
            .map(sound).collect();
        let mut samples = [pictures.clone(), sounds.clone()].concat();
        samples.sort_by_key(|s| match s.track {
            TrackKind::Video => s.dts * 16 + video_lag,
            TrackKind::Audio => s.dts * 30 + audio_lag,
        });
        let parts = package(&mut packager(true), samples);
        prop_assert_eq!(contiguous(&parts, 1), data(pictures.into_iter()));
        // Audio that came more than a second before the first picture was not kept.
        let sounds = data(sounds.into_iter());
        let carried = contiguous(&parts, 2);
        prop_assert!(sounds.ends_with(&carried));
        prop_assert!(video_lag > audio_lag || carried.len() == sounds.len());
        prop_assert!(parts.iter().all(|p| p.duration <= 334 * 90));
        let opens = parts.iter().filter(|p| p.opens_segment).count();
        let closes = parts.iter().filter(|p| p.closes_segment).count();
        prop_assert_eq!((opens, closes), (4, 4));
    }
}
