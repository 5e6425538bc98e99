//! Opus: the identification header, and how long a packet lasts.
//!
//! In:  `OpusHead` (RFC 7845 §5.1), packets (RFC 6716 §3.1). Out: [`Config`]. Not here: decoding.

use bytes::Bytes;

use super::Error;

/// Opus counts its samples at this rate, whatever was encoded.
pub const SAMPLE_RATE: u32 = 48_000;
/// The shortest frames: 2.5 ms.
pub(super) const LEAST_SAMPLES: i64 = 120;
/// The longest packet: 120 ms.
const MOST_SAMPLES: i64 = 5_760;
const MAGIC: &[u8] = b"OpusHead";
/// Bytes of a header without a mapping table.
const HEAD_BYTES: usize = 19;
/// The header of stereo, for encoders that send none.
const STEREO: [u8; HEAD_BYTES] = *b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";

/// An Opus configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `OpusHead`.
    pub bytes: Bytes,
    /// 1 to 8.
    pub channels: u8,
}

impl Config {
    /// Parses a header; an empty one stands for stereo.
    pub fn parse(bytes: &Bytes) -> Result<Self, Error> {
        let head = if bytes.is_empty() {
            &STEREO
        } else {
            &bytes[..]
        };
        let fixed = head.first_chunk::<HEAD_BYTES>();
        let fixed = fixed.filter(|head| head.starts_with(MAGIC));
        let [.., version, channels, _, _, _, _, _, _, _, _, family] =
            fixed.ok_or_else(malformed)?;
        let streams = head.get(HEAD_BYTES..).unwrap_or_default();
        let is_whole = match family {
            0 => matches!(channels, 1 | 2),
            _ => {
                (1..=8).contains(channels)
                    && streams.len() >= usize::from(*channels).saturating_add(2)
            }
        };
        if *version > 15 || !is_whole {
            return Err(malformed());
        }
        // No more of it than a decoder reads.
        let most = HEAD_BYTES.saturating_add(10).min(head.len());
        Ok(Self {
            bytes: Bytes::copy_from_slice(head.get(..most).unwrap_or(head)),
            channels: *channels,
        })
    }
}

fn malformed() -> Error {
    Error::Malformed {
        what: "OpusHead",
        detail: "it is no header of up to eight channels".to_owned(),
    }
}

/// Samples of a packet.
pub(super) fn samples_in(packet: &[u8]) -> Option<i64> {
    let first = *packet.first()?;
    let size = first >> 3 & 3;
    let samples: i64 = match first >> 3 {
        0..=11 => [480, 960, 1920, 2880].get(usize::from(size)).copied()?,
        12..=15 if size & 1 == 0 => 480,
        12..=15 => 960,
        _ => 120 << size,
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1)? & 0x3f,
    };
    let samples = samples.saturating_mul(i64::from(frames));
    (1..=MOST_SAMPLES).contains(&samples).then_some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headers_and_makes_the_one_that_is_missing() {
        let surround =
            b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
        let cases: [(&'static [u8], u8); 4] = [
            (b"", 2),
            (&STEREO, 2),
            (b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0", 1),
            (surround, 6),
        ];
        for (bytes, channels) in cases {
            let config = Config::parse(&Bytes::from_static(bytes)).unwrap();
            assert_eq!(config.channels, channels, "{}", bytes.escape_ascii());
        }
        for len in 1..surround.len() {
            let cut = Bytes::from_static(&surround[..len]);
            assert!(Config::parse(&cut).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn packets_tell_their_length() {
        // SILK of 20 ms; hybrid of 10 and 20; CELT of 2.5 and 20; two and three frames; 48 of 2.5 ms.
        let cases: [(&[u8], Option<i64>); 9] = [
            (&[1 << 3], Some(960)),
            (&[12 << 3], Some(480)),
            (&[15 << 3], Some(960)),
            (&[16 << 3], Some(120)),
            (&[31 << 3], Some(960)),
            (&[31 << 3 | 1], Some(1920)),
            (&[31 << 3 | 3, 3], Some(2880)),
            (&[16 << 3 | 3, 48], Some(5760)),
            (&[31 << 3 | 3, 0x3f], None),
        ];
        for (packet, samples) in cases {
            assert_eq!(samples_in(packet), samples, "{packet:x?}");
        }
        assert_eq!(samples_in(&[]), None);
        assert_eq!(samples_in(&[3]), None);
    }
}
