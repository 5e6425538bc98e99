//! Codec configurations: `avcC` with the access units that follow it, and `AudioSpecificConfig`.
//!
//! The first byte is the length of the configuration; the rest is an access unit.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use weir::media::codec::{aac, avc};

fuzz_target!(|data: &[u8]| {
    let Some((&length, rest)) = data.split_first() else {
        return;
    };
    let (record, unit) = rest.split_at(usize::from(length).min(rest.len()));
    let record = Bytes::copy_from_slice(record);
    if let Ok(config) = aac::Config::parse(&record) {
        assert!(config.sample_rate > 0 && config.channels <= 8);
        assert!(!config.describe().is_empty() && config.timescale().hz() == config.sample_rate);
    }
    if let Ok(config) = avc::Config::parse(&record) {
        assert!(config.width > 0 && config.height > 0);
        assert_eq!(config.codec_string().len(), "avc1.640028".len());
        let walked = config
            .nal_units(unit)
            .filter_map(Result::ok)
            .map(<[u8]>::len)
            .sum::<usize>();
        assert!(walked <= unit.len());
        let _is_idr = config.is_idr(unit);
        if let Some(orientation) = config.display_orientation(unit) {
            assert!(!(orientation.is_upright() && orientation.is_quarter_turn()));
        }
    }
});
