//! FLAC: the stream information, and how long a frame lasts.
//!
//! In:  `STREAMINFO`, alone or as FLV carries it behind `fLaC`; frames. Out: [`Config`]. Not here: decoding.
//! Read: RFC 9639 §8.2 and §9.1.

use bytes::Bytes;

use super::Error;
use super::bits::Bits;

/// Bytes of `STREAMINFO`.
const INFO_BYTES: usize = 34;
/// Highest sampling rate that is believed.
const MAX_RATE: u32 = 192_000;
/// In the head of a block: none follows.
const LAST: u8 = 0x80;
const SYNC: u16 = 0xfff8;
/// No block is shorter but the last.
const LEAST_SAMPLES: i64 = 16;

/// A FLAC configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `STREAMINFO`.
    pub bytes: Bytes,
    /// Never zero.
    pub sample_rate: u32,
    /// 1 to 8.
    pub channels: u8,
    /// The fewest samples of a block.
    pub least_samples: i64,
}

impl Config {
    /// Parses a header.
    pub fn parse(bytes: &Bytes) -> Result<Self, Error> {
        let info = match bytes.strip_prefix(b"fLaC") {
            // The head of the first block: its type, and whether it is the last; its length.
            Some([first, _, _, _, info @ ..]) if *first | LAST == LAST => info,
            Some(_) => return Err(malformed()),
            None => &bytes[..],
        };
        let info = info.get(..INFO_BYTES).ok_or_else(malformed)?;
        let mut bits = Bits::new(info);
        let mut read = || {
            let least = bits.take(16)?;
            bits.skip(16 + 24 + 24)?;
            Some((least, bits.take(20)?, bits.take(3)?))
        };
        let (least, sample_rate, channels) = read().ok_or_else(malformed)?;
        if !(1..=MAX_RATE).contains(&sample_rate) {
            return Err(malformed());
        }
        Ok(Self {
            bytes: Bytes::copy_from_slice(info),
            sample_rate,
            channels: u8::try_from(channels).unwrap_or(7).saturating_add(1),
            least_samples: i64::from(least).max(LEAST_SAMPLES),
        })
    }
}

fn malformed() -> Error {
    Error::Malformed {
        what: "FLAC header",
        detail: "no STREAMINFO of up to 192 kHz".to_owned(),
    }
}

/// Samples of a frame.
pub(super) fn samples_in(frame: &[u8]) -> Option<i64> {
    let [a, b, sizes, _, number, rest @ ..] = frame else {
        return None;
    };
    if u16::from_be_bytes([*a, *b]) & 0xfffe != SYNC {
        return None;
    }
    // Behind a number in the manner of UTF-8: as many bytes as its first has leading ones.
    let more = usize::try_from(number.leading_ones().saturating_sub(1)).ok()?;
    let explicit = rest.get(more..).unwrap_or_default();
    Some(match sizes >> 4 {
        1 => 192,
        n @ 2..=5 => 576 << n.saturating_sub(2),
        6 => i64::from(*explicit.first()?).saturating_add(1),
        7 => i64::from(u16::from_be_bytes(*explicit.first_chunk()?)).saturating_add(1),
        n @ 8..=15 => 256 << n.saturating_sub(8),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 48 kHz, stereo, 16 bits, blocks of 4608.
    const INFO: &[u8] = b"fLaC\x80\0\0\x22\x12\0\x12\0\0\0\x10\0\0\x10\x0b\xb8\x02\xf0\0\0\0\0\
        0123456789abcdef";

    #[test]
    fn reads_headers() {
        for bytes in [INFO, &INFO[8..]] {
            let config = Config::parse(&Bytes::from_static(bytes)).unwrap();
            assert_eq!((config.sample_rate, config.channels), (48_000, 2));
            assert_eq!(
                (config.least_samples, &config.bytes[..]),
                (4608, &INFO[8..])
            );
        }
        for len in 0..INFO.len() - 8 {
            assert!(
                Config::parse(&Bytes::from_static(&INFO[..len])).is_err(),
                "{len}"
            );
        }
    }

    #[test]
    fn frames_tell_their_length() {
        let cases: [(&[u8], Option<i64>); 9] = [
            (&[0xff, 0xf8, 0x1a, 0x18, 0], Some(192)),
            (&[0xff, 0xf8, 0x2a, 0x18, 0], Some(576)),
            (&[0xff, 0xf8, 0x5a, 0x18, 0], Some(4608)),
            (&[0xff, 0xf9, 0xca, 0x18, 0], Some(4096)),
            (&[0xff, 0xf8, 0x6a, 0x18, 0, 99], Some(100)),
            (
                &[0xff, 0xf8, 0x7a, 0x18, 0xc2, 0x80, 0x03, 0xe7],
                Some(1000),
            ),
            (&[0xff, 0xf8, 0x7a, 0x18, 0xc2, 0x80, 0x03], None),
            (&[0xff, 0xf8, 0x0a, 0x18, 0], None),
            (&[0xff, 0xf0, 0x5a, 0x18, 0], None),
        ];
        for (frame, samples) in cases {
            assert_eq!(samples_in(frame), samples, "{frame:x?}");
        }
    }
}
