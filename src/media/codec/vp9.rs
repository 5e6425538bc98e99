//! VP9: what the header of a key frame says; `vpcC` knows no more than this, and no picture size.
//!
//! In:  frames or superframes. Out: [`VideoConfig`], sync samples. Not here: decoding; VP9 is never passed on.
//! Read: VP9 bitstream specification §6.2 and §7.2, "VP Codec ISO Media File Format Binding".

use bytes::{BufMut, Bytes};

use super::bits::Bits;
use super::video::{self, AccessUnit};
use super::{Colour, Picture, VideoConfig};

const FRAME_MARKER: u32 = 2;
const SYNC_CODE: u32 = 0x0049_8342;
/// `color_space` of RGB.
const SRGB: u32 = 7;
/// Levels, ten times each, with the largest picture and the longest edge of each (annex A of the specification).
const LEVELS: [(u8, u32, u32); 10] = [
    (10, 36_864, 512),
    (11, 73_728, 768),
    (20, 122_880, 960),
    (21, 245_760, 1344),
    (30, 552_960, 2048),
    (31, 983_040, 2752),
    (40, 2_228_224, 4160),
    (50, 8_912_896, 8384),
    (60, 35_651_584, 16_832),
    (62, u32::MAX, u32::MAX),
];

/// What a key frame declares of the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// 0 to 3.
    pub profile: u8,
    /// Ten times the lowest level that has room for the pictures.
    pub level: u8,
}

impl Coding {
    /// For example `vp09.00.31.08`.
    pub(super) fn codec_string(self, bit_depth: u8) -> String {
        format!("vp09.{:02}.{:02}.{bit_depth:02}", self.profile, self.level)
    }
}

/// The configuration of a key frame.
pub(super) fn of_unit(unit: &[u8]) -> Option<VideoConfig> {
    let mut bits = Bits::new(unit);
    let profile = head(&mut bits)?;
    let (picture, range) = colours(&mut bits, profile)?;
    let (width, height) = (bits.take(16)?, bits.take(16)?);
    let (width, height) = (width.saturating_add(1), height.saturating_add(1));
    let (pixels, edge) = (width.saturating_mul(height), width.max(height));
    let has_room = |(_, most, longest): &&(u8, u32, u32)| pixels <= *most && edge <= *longest;
    let level = LEVELS.iter().find(has_room).map_or(62, |level| level.0);
    let (width, height) = video::size(width, height)?;
    let chroma = match picture.chroma_format {
        1 => 1,
        2 => 2,
        _ => 3,
    };
    let mut record = vec![1, 0, 0, 0, profile, level];
    record.put_u8(picture.bit_depth << 4 | chroma << 1 | range);
    let Colour {
        primaries,
        transfer,
        matrix,
    } = picture.colour;
    record.extend([primaries, transfer, matrix, 0, 0]);
    Some(VideoConfig {
        coding: video::Coding::Vp9(Coding { profile, level }),
        bytes: record.into(),
        width,
        height,
        declared_fps_millis: None,
        picture,
    })
}

/// Looks at a frame; a key frame may bring another configuration.
pub(super) fn examine(config: &VideoConfig, data: Bytes) -> AccessUnit {
    let found = of_unit(&data);
    AccessUnit {
        is_sync: found.is_some(),
        data,
        renewed: found.filter(|found| found != config),
    }
}

pub(super) fn is_sync(unit: &[u8]) -> bool {
    head(&mut Bits::new(unit)).is_some()
}

/// Reads up to the sync code of a key frame that is shown or not; its profile. None for all other frames.
fn head(bits: &mut Bits<'_>) -> Option<u8> {
    if bits.take(2)? != FRAME_MARKER {
        return None;
    }
    let (low, high) = (bits.take(1)?, bits.take(1)?);
    let profile = u8::try_from(high << 1 | low).ok()?;
    let is_reserved = profile == 3 && bits.flag()?;
    let (is_shown_again, is_inter) = (bits.flag()?, bits.flag()?);
    bits.skip(2)?;
    let is_key = !is_reserved && !is_shown_again && !is_inter;
    (is_key && bits.take(24)? == SYNC_CODE).then_some(profile)
}

/// `color_config`: the picture, and whether it has the full range.
fn colours(bits: &mut Bits<'_>, profile: u8) -> Option<(Picture, u8)> {
    let bit_depth = match profile {
        0 | 1 => 8,
        _ if bits.flag()? => 12,
        _ => 10,
    };
    let space = bits.take(3)?;
    let has_choice = profile & 1 == 1;
    let mut range = 1;
    let mut chroma_format = 3;
    if space != SRGB {
        range = u8::from(bits.flag()?);
        chroma_format = 1;
        if has_choice {
            chroma_format = match (bits.flag()?, bits.flag()?) {
                (true, false) => 2,
                (false, _) => 3,
                (true, true) => 1,
            };
        }
    }
    if has_choice {
        bits.skip(1)?;
    }
    let numbers = |primaries, transfer, matrix| Colour {
        primaries,
        transfer,
        matrix,
    };
    let colour = match space {
        1 => numbers(5, 6, 5),
        2 => numbers(1, 1, 1),
        3 => numbers(6, 6, 6),
        4 => numbers(7, 7, 7),
        // BT.2020, whose transfer may be any.
        5 => numbers(9, 2, 9),
        SRGB => numbers(1, 13, 0),
        _ => Colour::default(),
    };
    let picture = Picture {
        chroma_format,
        bit_depth,
        sample_aspect: (1, 1),
        is_interlaced: false,
        colour,
    };
    Some((picture, range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::VideoKind;

    /// libvpx, 640x360, 4:2:0 of 8 bits: the first bytes of a key frame.
    const KEY: &[u8] = &[
        0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70, 0x00, 0x00,
    ];

    #[test]
    fn a_key_frame_says_all_that_is_needed() {
        let config = VideoConfig::of_unit(VideoKind::Vp9, KEY).unwrap();
        assert_eq!((config.width, config.height), (640, 360));
        assert_eq!(config.codec_string(), "vp09.00.21.08");
        assert_eq!(config.describe(), "profile 0, 4:2:0, 8 bit");
        let again = config.examine(Bytes::from_static(KEY)).unwrap().unwrap();
        assert!(again.is_sync && again.renewed.is_none());
        let inter = config
            .examine(Bytes::from_static(&[0x86, 0, 0x40]))
            .unwrap();
        assert!(!inter.unwrap().is_sync);
        for len in 0..9 {
            assert_eq!(VideoConfig::of_unit(VideoKind::Vp9, &KEY[..len]), None);
        }
    }
}
