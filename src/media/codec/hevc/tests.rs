//! Records and access units of HEVC as x265 makes them, whole, damaged, and with parameter sets in the stream.

use super::*;
use crate::media::codec::video::Passing;

/// libx265, 640x360, 30 fps, Main, level 2.1, as ffmpeg writes it into MP4.
pub(crate) const X265_360P30: &[u8] = &[
    0x01, 0x01, 0x60, 0x00, 0x00, 0x00, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x3f, 0xf0, 0x00, 0xfc,
    0xfd, 0xf8, 0xf8, 0x00, 0x00, 0x0f, 0x03, 0xa0, 0x00, 0x01, 0x00, 0x18, 0x40, 0x01, 0x0c, 0x01,
    0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
    0x3f, 0x95, 0x94, 0x09, 0xa1, 0x00, 0x01, 0x00, 0x2b, 0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00,
    0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3f, 0xa0, 0x05, 0x02, 0x01, 0x71,
    0xf2, 0xe5, 0x95, 0x95, 0x29, 0x30, 0xbc, 0x05, 0xa0, 0x20, 0x00, 0x00, 0x03, 0x00, 0x20, 0x00,
    0x00, 0x03, 0x03, 0xc1, 0xa2, 0x00, 0x01, 0x00, 0x06, 0x44, 0x01, 0xc0, 0x73, 0xc1, 0x89,
];
/// 322x180, 29.97 fps, Main 10, BT.709: with a cropping window and scaling lists.
const X265_MAIN_10: &[u8] = &[
    0x01, 0x02, 0x20, 0x00, 0x00, 0x00, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x3c, 0xf0, 0x00, 0xfc,
    0xfd, 0xfa, 0xfa, 0x00, 0x00, 0x0f, 0x03, 0xa0, 0x00, 0x01, 0x00, 0x18, 0x40, 0x01, 0x0c, 0x01,
    0xff, 0xff, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
    0x3c, 0x95, 0x98, 0x09, 0xa1, 0x00, 0x01, 0x00, 0x2d, 0x42, 0x01, 0x01, 0x02, 0x20, 0x00, 0x00,
    0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3c, 0xa0, 0x0a, 0x48, 0x0b, 0x9c,
    0x96, 0xd9, 0x65, 0x66, 0x92, 0x4e, 0x57, 0x80, 0xb5, 0x01, 0x01, 0x01, 0x04, 0x00, 0x00, 0x0f,
    0xa4, 0x00, 0x01, 0xd4, 0xc0, 0x20, 0xa2, 0x00, 0x01, 0x00, 0x07, 0x44, 0x01, 0xc1, 0x72, 0xb4,
    0x62, 0x40,
];
/// Where the heads of the three arrays lie in the first record.
const ARRAYS: [usize; 3] = [23, 52, 100];

fn parsed(record: &'static [u8]) -> VideoConfig {
    parse(&Bytes::from_static(record)).unwrap()
}

/// `time_scale`, two bits further on, and how many units a picture lasts.
#[test]
fn a_declared_frame_rate_that_cannot_be_is_none() {
    let mut record = X265_MAIN_10.to_vec();
    let scale = [0x00, 0x01, 0xd4, 0xc0];
    let at = record.windows(4).position(|bytes| bytes == scale).unwrap();
    record[at + 1] = 0x7f;
    let config = parse(&record.into()).unwrap();
    assert_eq!((config.width, config.declared_fps_millis), (322, None));
}

/// Length-prefixed NAL units.
fn unit(nals: &[&[u8]]) -> Bytes {
    let mut bytes = Vec::new();
    for nal in nals {
        bytes.put_u32(u32::try_from(nal.len()).unwrap());
        bytes.extend(*nal);
    }
    bytes.into()
}

/// A slice of this type.
fn slice(kind: u8) -> [u8; 4] {
    [kind << 1, 1, 0xaf, 0x09]
}

#[test]
fn reads_what_x265_writes() {
    let main = parsed(X265_360P30);
    assert_eq!(main.codec_string(), "hvc1.1.6.L63.90");
    assert_eq!((main.width, main.height), (640, 360));
    assert_eq!(main.declared_fps_millis, Some(30_000));
    assert_eq!(main.describe(), "profile 1, 4:2:0, 8 bit");
    assert_eq!(main.passing(), Passing::Beside);

    let deep = parsed(X265_MAIN_10);
    assert_eq!(deep.codec_string(), "hvc1.2.4.L60.90");
    assert_eq!((deep.width, deep.height), (322, 180));
    assert_eq!(deep.declared_fps_millis, Some(29_970));
    let colour = deep.picture.colour;
    assert_eq!(
        (colour.primaries, colour.transfer, colour.matrix),
        (1, 1, 1)
    );
    assert_eq!(
        (deep.picture.bit_depth, deep.passing()),
        (10, Passing::Beside)
    );
    let mut hdr = deep;
    hdr.picture.colour.transfer = 16;
    assert_eq!(hdr.passing(), Passing::Never);
    assert_eq!(hdr.describe(), "profile 2, 4:2:0, 10 bit, HDR");
}

#[test]
fn records_become_what_their_sample_entry_demands() {
    let mut record = X265_360P30.to_vec();
    for at in ARRAYS {
        record[at] &= 0x3f;
    }
    // From the time when the format was a draft.
    record[0] = 0;
    let config = parse(&record.into()).unwrap();
    assert_eq!(config, parsed(X265_360P30));
    assert_eq!(&config.bytes[..], X265_360P30);
}

#[test]
fn codec_strings_name_space_tier_and_constraints() {
    let of = |general| {
        let coding = Coding {
            general,
            nal_length_bytes: 4,
        };
        coding.codec_string()
    };
    let main = [0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93];
    assert_eq!(of(main), "hvc1.1.6.L93.B0");
    // The second profile space, high tier, a constraint behind zeros, level 5.1.
    let odd = [0xa4, 0x08, 0, 0, 0, 0, 0x8, 0, 0, 0, 0, 153];
    assert_eq!(of(odd), "hvc1.B4.10.H153.0.8");
    assert_eq!(of([1, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 93]), "hvc1.1.6.L93");
}

#[test]
fn refuses_every_truncation_and_survives_any_damage() {
    for record in [X265_360P30, X265_MAIN_10] {
        for len in 0..record.len() {
            assert!(parse(&Bytes::from_static(&record[..len])).is_err(), "{len}");
        }
        for at in 0..record.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut damaged = record.to_vec();
                damaged[at] ^= mask;
                if let Ok(config) = parse(&damaged.into()) {
                    assert!(config.width > 0 && config.height > 0);
                }
            }
        }
    }
}

#[test]
fn sync_samples_are_those_that_decoding_can_begin_with() {
    let config = parsed(X265_360P30);
    // TRAIL_R, RASL_R, BLA_W_LP, IDR_W_RADL, IDR_N_LP, CRA, prefix SEI.
    for (kind, is_sync, is_open) in [
        (1, false, false),
        (9, false, false),
        (16, true, false),
        (19, true, false),
        (20, true, false),
        (21, true, true),
        (39, false, false),
    ] {
        let data = unit(&[&slice(39), &slice(kind)]);
        let seen = config.examine(data.clone()).unwrap().unwrap();
        assert_eq!((seen.is_sync, seen.renewed), (is_sync, None), "type {kind}");
        assert_eq!(seen.data.as_ptr(), data.as_ptr(), "not copied");
        assert_eq!(config.is_sync(&data), Ok(is_sync));
        assert_eq!(config.is_open(&data), is_open);
    }
    assert!(
        config
            .examine(Bytes::from_static(&[0, 0, 0, 9, 2, 1]))
            .is_err()
    );
    assert_eq!(config.examine(Bytes::new()), Ok(None));
}

#[test]
fn parameter_sets_in_the_stream_are_taken_out() {
    let config = parsed(X265_360P30);
    let sets = parameter_sets(X265_360P30);
    let [vps, sps, pps] = sets[..] else {
        panic!("{} sets", sets.len());
    };
    let picture = slice(19);
    let seen = config.examine(unit(&[vps, sps, pps, &picture])).unwrap();
    let seen = seen.unwrap();
    assert_eq!((&seen.data, &seen.renewed), (&unit(&[&picture]), &None));
    assert!(seen.is_sync);
    assert_eq!(config.examine(unit(&[vps, sps, pps])), Ok(None));

    // Others make another configuration; what they do not bring stays.
    let other = parameter_sets(X265_MAIN_10);
    let seen = config
        .examine(unit(&[other[1], other[2], &picture]))
        .unwrap();
    let seen = seen.unwrap();
    assert_eq!(seen.data, unit(&[&picture]));
    let renewed = seen.renewed.unwrap();
    assert_eq!(renewed.codec_string(), "hvc1.2.4.L60.90");
    assert_eq!((renewed.width, renewed.height), (322, 180));
    assert_eq!(parameter_sets(&renewed.bytes), [vps, other[1], other[2]]);
    // All of them: the record that the encoder itself would have written, but for hints.
    let seen = config
        .examine(unit(&[other[0], other[1], other[2]]))
        .unwrap();
    let renewed = seen.unwrap().renewed.unwrap();
    assert_eq!(&renewed.bytes[..13], &X265_MAIN_10[..13]);
    assert_eq!(&renewed.bytes[15..], &X265_MAIN_10[15..]);
    // An SPS that cannot be read takes the unit with it.
    assert!(
        config
            .examine(unit(&[&[NAL_SPS << 1, 1, 0], &picture]))
            .is_err()
    );
}
