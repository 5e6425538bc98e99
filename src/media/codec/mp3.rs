//! MP3: what the header of a frame says; there is no other configuration.
//!
//! In:  frames (ISO/IEC 11172-3 §2.4.2.3, 13818-3). Out: [`Config`]. Not here: decoding, layers I and II.

use super::Error;

/// How a header names layer III.
const LAYER_3: u8 = 1;

/// An MP3 configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Never zero.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Samples of each frame.
    pub samples: i64,
}

impl Config {
    /// What a frame says.
    pub fn of_frame(frame: &[u8]) -> Result<Self, Error> {
        read(frame).ok_or_else(|| Error::Malformed {
            what: "MP3 frame",
            detail: "no header of layer III".to_owned(),
        })
    }
}

/// Samples of a frame.
pub(super) fn samples_in(frame: &[u8]) -> Option<i64> {
    read(frame).map(|config| config.samples)
}

fn read(frame: &[u8]) -> Option<Config> {
    let [0xff, second, third, fourth] = *frame.first_chunk::<4>()? else {
        return None;
    };
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    let (bitrate, rate) = (third >> 4, third >> 2 & 3);
    let base = [44_100u32, 48_000, 32_000]
        .get(usize::from(rate))
        .copied()?;
    let (halved, samples) = match version {
        3 => (0, 1152),
        2 => (1, 576),
        0 => (2, 576),
        _ => return None,
    };
    let is_header = second >> 5 == 7 && layer == LAYER_3 && bitrate != 15;
    is_header.then_some(Config {
        sample_rate: base >> halved,
        channels: if fourth >> 6 == 3 { 1 } else { 2 },
        samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_tells_all() {
        let cases = [
            ([0xff, 0xfb, 0x94, 0x64], Some((48_000, 2, 1152))),
            ([0xff, 0xfb, 0x90, 0xc4], Some((44_100, 1, 1152))),
            ([0xff, 0xf3, 0x80, 0x64], Some((22_050, 2, 576))),
            ([0xff, 0xe3, 0x88, 0x64], Some((8_000, 2, 576))),
            // Layer II; a bit rate that is none; no frame.
            ([0xff, 0xfd, 0x94, 0x64], None),
            ([0xff, 0xfb, 0xf4, 0x64], None),
            ([0xff, 0x1b, 0x94, 0x64], None),
        ];
        for (frame, expected) in cases {
            let found = Config::of_frame(&frame).ok();
            let found = found.map(|c| (c.sample_rate, c.channels, c.samples));
            assert_eq!(found, expected, "{frame:x?}");
        }
        assert!(Config::of_frame(&[0xff, 0xfb, 0x94]).is_err());
    }
}
