//! Codec configurations of all kinds, with the access units and frames that follow them.
//!
//! The first byte is the length of the configuration; the rest is an access unit.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use weir::media::codec::{AudioConfig, AudioKind, VideoConfig, VideoKind, nal};

const VIDEO: [VideoKind; 4] = [
    VideoKind::Avc,
    VideoKind::Hevc,
    VideoKind::Av1,
    VideoKind::Vp9,
];
const AUDIO: [AudioKind; 4] = [
    AudioKind::Aac,
    AudioKind::Opus,
    AudioKind::Flac,
    AudioKind::Mp3,
];

fuzz_target!(|data: &[u8]| {
    let Some((&length, rest)) = data.split_first() else {
        return;
    };
    let (record, unit) = rest.split_at(usize::from(length).min(rest.len()));
    let record = Bytes::copy_from_slice(record);
    for kind in AUDIO {
        if let Ok(config) = AudioConfig::parse(kind, &record) {
            assert!(config.sample_rate() > 0 && config.least_samples() > 0);
            assert!(!config.describe().is_empty());
            assert_eq!(config.timescale().hz(), config.sample_rate());
            let samples = config.samples_in(unit);
            assert!(samples.is_none_or(|samples| (1..=65_536).contains(&samples)));
        }
    }
    for kind in VIDEO {
        for config in [
            VideoConfig::parse(kind, &record).ok(),
            VideoConfig::of_unit(kind, unit),
        ] {
            let mut config = config;
            // What a unit makes of a configuration is one that takes the unit as it is.
            while let Some(found) = config {
                check(&found, kind);
                config = follow(&found, unit);
            }
        }
    }
    for bytes in [1, 2, 4] {
        let walked = nal::units(unit, bytes).filter_map(Result::ok);
        assert!(walked.map(<[u8]>::len).sum::<usize>() <= unit.len());
    }
});

fn check(config: &VideoConfig, kind: VideoKind) {
    assert_eq!(config.kind(), kind);
    assert!(config.width > 0 && config.height > 0);
    let (width, height) = config.display_size();
    assert!(width % 2 == 0 && height % 2 == 0 && width > 0 && height > 0);
    assert!((11..=40).contains(&config.codec_string().len()));
    assert!(!config.describe().is_empty());
    let _passing = config.passing();
    if kind != VideoKind::Vp9 {
        let again = VideoConfig::parse(kind, &config.bytes);
        assert_eq!(again.as_ref(), Ok(config), "what is kept can be read");
    }
}

/// Looks at a unit; the configuration that it makes, if it makes another.
fn follow(config: &VideoConfig, unit: &[u8]) -> Option<VideoConfig> {
    if let Some(orientation) = config.display_orientation(unit) {
        assert!(!(orientation.is_upright() && orientation.is_quarter_turn()));
    }
    let _is_sync = config.is_sync(unit);
    let _is_open = config.is_open(unit);
    let seen = config.examine(Bytes::copy_from_slice(unit)).ok()??;
    assert!(seen.data.len() <= unit.len());
    let renewed = seen.renewed?;
    let again = renewed.examine(Bytes::copy_from_slice(unit));
    let again = again.expect("the same unit").and_then(|again| again.renewed);
    assert_eq!(again, None, "a unit changes its own configuration again");
    Some(renewed)
}
