//! Slates, decoded again.

use super::*;
use crate::transcode::encoder::tests::{pattern, settings};

const RUNGS: [SlateRung; 2] = [
    SlateRung {
        width: 320,
        height: 180,
        bitrate_bps: 400_000,
        form: Form(100, 0, 31),
    },
    SlateRung {
        width: 284,
        height: 160,
        bitrate_bps: 230_000,
        form: Form(77, 64, 12),
    },
];

/// Black pictures that can be decoded, 30 a second, which begin with their only keyframe.
pub(crate) fn black(frames: u32) -> Reel {
    let rung = SlateRung {
        width: 320,
        height: 180,
        bitrate_bps: 200_000,
        form: Form(66, 0xc0, 31),
    };
    let grid = SlateGrid {
        interval: 3000,
        frames,
    };
    let mut made = reels(&SlatePicture::Black, &[rung], grid, "ultrafast").unwrap();
    made.swap_remove(0)
}

/// Mean luma of the last picture of a reel.
fn luma(reel: &Reel) -> i64 {
    let shown = last_picture(&reel.config, &reel.samples).unwrap();
    let picture = &shown.picture;
    let rows = picture.data(0).chunks(picture.stride(0));
    let width = usize::try_from(picture.width()).unwrap();
    let sum: i64 = rows
        .flat_map(|row| &row[..width])
        .map(|y| i64::from(*y))
        .sum();
    sum / i64::from(picture.width() * picture.height())
}

#[test]
fn grids_give_parts_of_legal_length() {
    for (part_ms, target_s) in [
        (334, 2),
        (500, 2),
        (1000, 2),
        (450, 2),
        (100, 1),
        (334, 10),
        (2000, 2),
    ] {
        let grid = SlateGrid::new(part_ms, target_s);
        let (target, part) = (i64::from(part_ms) * 90, grid.interval * 2);
        assert!(
            part <= target && part * 100 >= target * 85,
            "{part_ms}: {grid:?}"
        );
        let segment = grid.interval * i64::from(grid.frames);
        let asked = i64::from(target_s) * 90_000;
        assert!(
            segment <= asked && segment + part > asked,
            "{part_ms}: {grid:?}"
        );
    }
    let usual = SlateGrid::new(334, 2);
    assert_eq!((usual.interval, usual.frames), (15_000, 12));
}

#[test]
fn a_frozen_picture_is_the_last_one_in_every_size() {
    let mut encoder = X264Encoder::open(&settings(320, 180)).unwrap();
    let mut gop = Vec::new();
    // Black, and in the end grey.
    for n in 0..5 {
        let mut frame = pattern(320, 180, n);
        let mut picture = frame::Video::new(Pixel::YUV420P, 320, 180);
        for plane in 0..3 {
            picture.data_mut(plane).fill(if n == 4 { 140 } else { 20 });
        }
        frame.picture = Arc::new(picture);
        gop.extend(encoder.encode(&frame, n == 0).unwrap());
    }
    let config = Arc::clone(encoder.config());
    let grid = SlateGrid::new(334, 2);
    let frozen = SlatePicture::Frozen { config, gop };
    let made = reels(&frozen, &RUNGS, grid, "superfast").unwrap();
    assert_eq!(made.len(), 2);
    for (reel, rung) in made.iter().zip(RUNGS) {
        assert_eq!(
            (reel.config.width, reel.config.height),
            (rung.width, rung.height)
        );
        let Form(profile, flags, level) = rung.form;
        let declared = format!("avc1.{profile:02X}{flags:02X}{level:02X}");
        assert_eq!(reel.config.codec_string(), declared);
        let times: Vec<_> = reel.samples.iter().map(|s| (s.dts, s.is_sync)).collect();
        let expected: Vec<_> = (0..12).map(|n| (n * 15_000, n == 0)).collect();
        assert_eq!(times, expected);
        assert!((135..=145).contains(&luma(reel)), "{}", luma(reel));
    }
}

#[test]
fn a_file_and_nothing_can_be_shown_and_what_is_no_picture_is_told() {
    let grid = SlateGrid::new(1000, 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slate.ppm");
    let mut bytes = b"P6 64 36 255\n".to_vec();
    bytes.extend([255; 64 * 36 * 3]);
    std::fs::write(&path, bytes).unwrap();
    let white = reels(&SlatePicture::File(path.clone()), &RUNGS, grid, "superfast").unwrap();
    assert!(luma(&white[0]) > 225, "{}", luma(&white[0]));
    let black = reels(&SlatePicture::Black, &RUNGS, grid, "superfast").unwrap();
    assert!(luma(&black[1]) < 20, "{}", luma(&black[1]));
    std::fs::write(&path, "no picture").unwrap();
    assert!(reels(&SlatePicture::File(path), &RUNGS, grid, "superfast").is_err());
    let config = Arc::clone(X264Encoder::open(&settings(320, 180)).unwrap().config());
    let empty = SlatePicture::Frozen {
        config,
        gop: Vec::new(),
    };
    assert!(reels(&empty, &RUNGS, grid, "superfast").is_err());
}
