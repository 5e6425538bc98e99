//! What messages of audio and video carry, byte by byte.

use super::*;

fn video(bytes: &[u8]) -> Result<VideoTag, Malformed> {
    parse_video(&Bytes::copy_from_slice(bytes))
}

fn audio(bytes: &[u8]) -> Result<AudioTag, Malformed> {
    parse_audio(&Bytes::copy_from_slice(bytes))
}

fn frame(composition_ms: i32, data: &'static [u8]) -> VideoTag {
    VideoTag::Frame {
        kind: VideoKind::Avc,
        composition_ms,
        data: Bytes::from_static(data),
    }
}

fn no_video(name: &str) -> VideoTag {
    VideoTag::Unsupported(name.to_owned())
}

fn no_audio(name: &str) -> AudioTag {
    AudioTag::Unsupported(name.to_owned())
}

#[test]
fn reads_h264_in_both_forms() {
    let config = VideoTag::Config(VideoKind::Avc, Bytes::from_static(b"avcC"));
    let cases: [(&[u8], VideoTag); 15] = [
        (b"\x17\x00\x00\x00\x00avcC", config.clone()),
        (b"\x17\x01\x00\x00\x42unit", frame(66, b"unit")),
        (b"\x27\x01\xff\xff\xfeunit", frame(-2, b"unit")),
        (b"\x17\x02\x00\x00\x00", VideoTag::SequenceEnd),
        (b"\x90avc1avcC", config),
        (b"\x91avc1\x00\x00\x21unit", frame(33, b"unit")),
        (b"\xa3avc1unit", frame(0, b"unit")),
        (b"\x92avc1", VideoTag::SequenceEnd),
        (b"\x94avc1amf", VideoTag::Nothing),
        (b"", VideoTag::Nothing),
        (b"\x17", VideoTag::Nothing),
        (b"\x17\x01\x00\x00\x00", VideoTag::Nothing),
        (b"\x17\x00\x00\x00\x00", VideoTag::Nothing),
        (b"\x57\x00", VideoTag::Nothing),
        (b"\xd1\x00", VideoTag::Nothing),
    ];
    for (bytes, tag) in cases {
        assert_eq!(video(bytes), Ok(tag), "{}", bytes.escape_ascii());
    }
}

#[test]
fn reads_aac_in_both_forms() {
    let config = AudioTag::Config(AudioKind::Aac, Bytes::from_static(b"\x11\x90"));
    let unit = AudioTag::Frame(AudioKind::Aac, Bytes::from_static(b"raw"));
    let cases: [(&[u8], AudioTag); 8] = [
        (b"\xaf\x00\x11\x90", config.clone()),
        (b"\xaf\x01raw", unit.clone()),
        (b"\x90mp4a\x11\x90", config),
        (b"\x91mp4araw", unit),
        (b"\x94mp4a\x00\x02", AudioTag::Nothing),
        (b"", AudioTag::Nothing),
        (b"\xaf", AudioTag::Nothing),
        (b"\xaf\x01", AudioTag::Nothing),
    ];
    for (bytes, tag) in cases {
        assert_eq!(audio(bytes), Ok(tag), "{}", bytes.escape_ascii());
    }
}

#[test]
fn reads_the_other_codecs() {
    let of = |kind, composition_ms, data| VideoTag::Frame {
        kind,
        composition_ms,
        data: Bytes::from_static(data),
    };
    let config = |kind, record| VideoTag::Config(kind, Bytes::from_static(record));
    let cases: [(&[u8], VideoTag); 9] = [
        (b"\x90hvc1hvcC", config(VideoKind::Hevc, b"hvcC")),
        (
            b"\xa1hvc1\x00\x00\x21unit",
            of(VideoKind::Hevc, 33, b"unit"),
        ),
        (b"\xa3hvc1unit", of(VideoKind::Hevc, 0, b"unit")),
        (
            b"\x1c\x00\x00\x00\x00hvcC",
            config(VideoKind::Hevc, b"hvcC"),
        ),
        (
            b"\x2c\x01\x00\x00\x21unit",
            of(VideoKind::Hevc, 33, b"unit"),
        ),
        (b"\x90av01av1C", config(VideoKind::Av1, b"av1C")),
        // No composition time in these.
        (
            b"\x91av01\x00\x00\x21obu",
            of(VideoKind::Av1, 0, b"\0\0\x21obu"),
        ),
        (b"\x91vp09frame", of(VideoKind::Vp9, 0, b"frame")),
        (b"\x92vp09", VideoTag::SequenceEnd),
    ];
    for (bytes, tag) in cases {
        assert_eq!(video(bytes), Ok(tag), "{}", bytes.escape_ascii());
    }
    let frame = |kind| AudioTag::Frame(kind, Bytes::from_static(b"unit"));
    let config = |kind, bytes| AudioTag::Config(kind, Bytes::from_static(bytes));
    let cases: [(&[u8], AudioTag); 8] = [
        (b"\x90OpusHead", config(AudioKind::Opus, b"Head")),
        (b"\x90Opus", config(AudioKind::Opus, b"")),
        (b"\x91Opusunit", frame(AudioKind::Opus)),
        (b"\x90fLaCfLaC", config(AudioKind::Flac, b"fLaC")),
        (b"\x91fLaCunit", frame(AudioKind::Flac)),
        (b"\x91.mp3unit", frame(AudioKind::Mp3)),
        (b"\x90.mp3any", AudioTag::Nothing),
        (b"\x2funit", frame(AudioKind::Mp3)),
    ];
    for (bytes, tag) in cases {
        assert_eq!(audio(bytes), Ok(tag), "{}", bytes.escape_ascii());
    }
}

#[test]
fn names_what_is_not_carried() {
    let cases: [(&[u8], &str); 5] = [
        (b"\x90vvc1vvcC", "VVC"),
        (b"\x90vp08", "VP8"),
        (b"\x9c\x00zz\x00", "codec \"\\x00zz\\x00\""),
        (b"\x1d\x00\x00\x00\x00", "AV1"),
        (b"\x22", "Sorenson H.263"),
    ];
    for (bytes, name) in cases {
        assert_eq!(video(bytes), Ok(no_video(name)), "{}", bytes.escape_ascii());
    }
    let cases: [(&[u8], AudioTag); 4] = [
        (b"\x90ac-3", AudioTag::Unannounced("AC-3".to_owned())),
        (b"\x91ec-3x", AudioTag::Unannounced("E-AC-3".to_owned())),
        (b"\xb2", no_audio("Speex")),
        (b"\x82", no_audio("G.711")),
    ];
    for (bytes, tag) in cases {
        assert_eq!(audio(bytes), Ok(tag), "{}", bytes.escape_ascii());
    }
}

#[test]
fn skips_mod_ex_prefixes_within_bounds() {
    assert_eq!(
        video(b"\x97\x02\x00\x00\x01\x01avc1\x00\x00\x00u"),
        Ok(frame(0, b"u"))
    );
    let long = [b"\x97\xff\x01\x00".as_slice(), &[0; 257], b"\x03avc1u"].concat();
    assert_eq!(video(&long), Ok(frame(0, b"u")));
    let mod_ex = |n: usize| {
        [
            b"\x97".as_slice(),
            &b"\x00\x00\x07".repeat(n - 1),
            b"\x00\x00\x03avc1u",
        ]
        .concat()
    };
    assert_eq!(video(&mod_ex(MAX_MOD_EX)), Ok(frame(0, b"u")));
    assert_eq!(video(&mod_ex(MAX_MOD_EX + 1)), Err(Malformed));
}

#[test]
fn of_several_tracks_each_is_read() {
    let tracks = |first: Option<VideoTag>, others: &[(u8, VideoTag)]| VideoTag::Multitrack {
        first: first.map(Box::new),
        others: others.to_vec(),
    };
    let config = VideoTag::Config(VideoKind::Avc, Bytes::from_static(b"xx"));
    let many = [
        &b"\x96\x13avc1"[..],
        &[0, 0, 0, 1, b'u'],
        &[7, 0, 0, 1, b'v'].repeat(MAX_TRACKS),
    ];
    let cases: [(&[u8], VideoTag); 6] = [
        (
            b"\x96\x01avc1\x01\0\0\0rest",
            tracks(None, &[(1, frame(0, b"rest"))]),
        ),
        (
            b"\x96\x01avc1\x00\0\0\x21unit",
            tracks(Some(frame(33, b"unit")), &[]),
        ),
        // Codecs of their own.
        (
            b"\x96\x20avc1\x00\x00\x00\x02xxzzzz\x09\x00\x00\x01x",
            tracks(Some(config), &[(9, no_video("codec \"zzzz\""))]),
        ),
        (
            b"\x96\x20vvc1\x00\x00\x00\x00",
            tracks(Some(no_video("VVC")), &[]),
        ),
        // Within a multitrack packet there is no other.
        (
            b"\x96\x06avc1\x00\x96\x06avc1\x00",
            tracks(Some(VideoTag::Nothing), &[]),
        ),
        (
            &many.concat(),
            tracks(
                Some(frame(0, b"u")),
                &vec![(7, frame(0, b"v")); MAX_TRACKS - 1],
            ),
        ),
    ];
    for (bytes, tag) in cases {
        assert_eq!(video(bytes), Ok(tag), "{}", bytes.escape_ascii());
    }
    let first = AudioTag::Frame(AudioKind::Aac, Bytes::from_static(b"x"));
    for (bytes, first) in [
        (
            &b"\x95\x11mp4a\x00\x00\x00\x01x\x01\x00\x00\x00"[..],
            Some(Box::new(first)),
        ),
        (b"\x95\x01mp4a\x01x", None),
    ] {
        assert_eq!(audio(bytes), Ok(AudioTag::Multitrack(first)));
    }
}

#[test]
fn refuses_cut_bodies() {
    let cases: [&[u8]; 11] = [
        b"\x96\x00avc1",
        b"\x96\x30avc1\x01x",
        b"\x17\x00\x00",
        b"\x17\x01\x00",
        b"\x17\x09\x00\x00\x00x",
        b"\x90avc",
        b"\x97",
        b"\x97\x05abc",
        b"\x91avc1\x00\x00",
        b"\x96\x10avc1\x00\x00\x00\x09short",
        b"\x97\xff\xff",
    ];
    for bytes in cases {
        assert_eq!(video(bytes), Err(Malformed), "{}", bytes.escape_ascii());
    }
    assert_eq!(audio(b"\xaf\x02x"), Err(Malformed));
    assert_eq!(audio(b"\x90mp"), Err(Malformed));
}

proptest::proptest! {
    #[test]
    fn survives_any_bytes(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), first: u8) {
        for _ in 0..2 {
            drop(video(&bytes));
            drop(audio(&bytes));
            bytes.insert(0, first | 0x90);
        }
    }
}
