//! Silence for every configuration that a publisher may send.

use super::super::silent_frame;
use super::*;

#[test]
fn every_layout_and_rate_has_silence() {
    for channels in [1, 2, 3, 4, 5, 6, 8] {
        for rate in [48_000, 44_100, 22_050, 8_000, 96_000] {
            // Between real frames of a publisher's stream it is heard as silence.
            let mut source = Source::clicking(rate, channels, 2000, &[300, 1700], 0);
            let frame = silent_frame(&source.config).unwrap();
            assert!(frame.len() < 64, "{} bytes", frame.len());
            let middle = source.samples.len() / 2;
            for sample in &mut source.samples[middle - 2..middle + 3] {
                sample.data = frame.clone();
            }
            let sound = Run::start(&source.config, &ENCODES[..1])
                .push(source.samples)
                .finish();
            sound.check_grid(0, 0).check_clicks(&[300, 1700]);
            assert_eq!(sound.failures, 0);
        }
    }
}

#[test]
fn the_smallest_configuration_of_a_publisher_suffices() {
    for bytes in [
        &[0x11, 0x90][..],
        &[0x13, 0x88],
        &[0x11, 0xb0],
        &[0x12, 0x10],
    ] {
        let config = aac::Config::parse(&Bytes::copy_from_slice(bytes)).unwrap();
        assert!(silent_frame(&config).is_ok(), "{}", config.describe());
    }
}

#[test]
fn what_cannot_be_silenced_is_an_error() {
    // HE-AAC; HE-AAC v2; channels described in the stream; a rate that AAC has not.
    let exotic: [&[u8]; 4] = [
        &[0x2b, 0x92, 0x08, 0x00],
        &[0xeb, 0x8a, 0x08, 0x00],
        &[0x11, 0x80],
        &[0x17, 0x80, 0x49, 0x3e, 0x10],
    ];
    for bytes in exotic {
        let config = aac::Config::parse(&Bytes::copy_from_slice(bytes)).unwrap();
        assert!(silent_frame(&config).is_err(), "{}", config.describe());
    }
}
