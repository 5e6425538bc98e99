//! A video configuration of any codec that is taken.
//!
//! In:  configuration records and access units. Out: [`VideoConfig`]: what all codecs have in common, and how a
//! source of it may be passed on. Not here: the codecs' own bytes (`avc`, `hevc`, `av1`, `vp9`).

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::avc::Orientation;
use super::{Error, Picture, av1, avc, hevc, nal, vp9};

/// Declared frame rates outside are no hint at all, in millihertz.
const PLAUSIBLE_FPS_MILLIS: RangeInclusive<u32> = 1_000..=240_000;

/// The codecs that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoKind {
    /// H.264.
    Avc,
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
    /// VP9.
    Vp9,
}

impl VideoKind {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avc => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp9 => "VP9",
        }
    }
}

/// How pictures may reach players without being encoded anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Every player takes them.
    Alone,
    /// Some players take them; the others need H.264 beside them.
    Beside,
    /// Not at all.
    Never,
}

/// What one codec's configuration declares beyond what all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// H.264.
    Avc(avc::Coding),
    /// H.265.
    Hevc(hevc::Coding),
    /// AV1.
    Av1(av1::Coding),
    /// VP9.
    Vp9(vp9::Coding),
}

/// A decoder configuration, with what its headers say of the pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoConfig {
    /// What its codec declares.
    pub coding: Coding,
    /// The configuration record, as a decoder and a sample entry take it.
    pub bytes: Bytes,
    /// Displayed width in pixels, cropping applied; never zero.
    pub width: u16,
    /// Displayed height in pixels; never zero.
    pub height: u16,
    /// Frame rate as the headers declare it, in millihertz, if that can be; a hint, encoders lie here.
    pub declared_fps_millis: Option<u32>,
    /// What else its pictures are.
    pub picture: Picture,
}

/// An access unit that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// Whether it can be decoded without earlier ones.
    pub is_sync: bool,
    /// What a decoder and a fragment take: without what stands in the configuration.
    pub data: Bytes,
    /// The configuration from this unit on, if the unit itself says that it is another.
    pub renewed: Option<VideoConfig>,
}

impl VideoConfig {
    /// Parses a configuration record. VP9's says too little; see [`Self::of_unit`].
    pub fn parse(kind: VideoKind, record: &Bytes) -> Result<Self, Error> {
        match kind {
            VideoKind::Avc => avc::parse(record),
            VideoKind::Hevc => hevc::parse(record),
            VideoKind::Av1 => av1::parse(record),
            VideoKind::Vp9 => Err(Error::Unsupported {
                what: "vpcC",
                detail: "no picture size".to_owned(),
            }),
        }
    }

    /// The configuration that a sync unit brings along, for codecs where it does.
    pub fn of_unit(kind: VideoKind, unit: &[u8]) -> Option<Self> {
        match kind {
            VideoKind::Avc | VideoKind::Hevc => None,
            VideoKind::Av1 => av1::of_unit(unit),
            VideoKind::Vp9 => vp9::of_unit(unit),
        }
    }

    /// Looks at an access unit; none if there is nothing in it. An error means that no decoder could take it apart.
    pub fn examine(&self, data: Bytes) -> Result<Option<AccessUnit>, Error> {
        if data.is_empty() {
            return Ok(None);
        }
        match &self.coding {
            Coding::Avc(coding) => {
                if nal::units(&data, coding.nal_length_bytes).next().is_none() {
                    return Ok(None);
                }
                Ok(Some(AccessUnit {
                    is_sync: coding.is_idr(&data)?,
                    data,
                    renewed: None,
                }))
            }
            Coding::Hevc(coding) => hevc::examine(self, coding, data),
            Coding::Av1(_) => av1::examine(self, &data),
            Coding::Vp9(_) => Ok(Some(vp9::examine(self, data))),
        }
    }

    /// Which codec.
    pub fn kind(&self) -> VideoKind {
        match self.coding {
            Coding::Avc(_) => VideoKind::Avc,
            Coding::Hevc(_) => VideoKind::Hevc,
            Coding::Av1(_) => VideoKind::Av1,
            Coding::Vp9(_) => VideoKind::Vp9,
        }
    }

    /// RFC 6381 codec string, for example `avc1.64001F`.
    pub fn codec_string(&self) -> String {
        match &self.coding {
            Coding::Avc(coding) => coding.codec_string(),
            Coding::Hevc(coding) => coding.codec_string(),
            Coding::Av1(coding) => coding.codec_string(self.picture.bit_depth),
            Coding::Vp9(coding) => coding.codec_string(self.picture.bit_depth),
        }
    }

    /// Size in square pixels: the height is kept; both even.
    pub fn display_size(&self) -> (u16, u16) {
        let (num, den) = self.picture.sample_aspect;
        let width = u32::from(self.width).saturating_mul(u32::from(num));
        let width = width
            .checked_div(u32::from(den))
            .unwrap_or(0)
            .saturating_add(1);
        let even = |pixels: u32| u16::try_from(pixels & !1).unwrap_or(u16::MAX - 1).max(2);
        let height = even(u32::from(self.height));
        if num == den {
            (even(u32::from(self.width)), height)
        } else {
            (even(width), height)
        }
    }

    /// How it may be passed on: H.264 that every browser plays as it is alone, HEVC and AV1 that a phone plays beside
    /// H.264. 4:2:0, progressive and square pixels all of them, and no high dynamic range, which nothing here says of
    /// the renditions beside it.
    pub fn passing(&self) -> Passing {
        let picture = &self.picture;
        let (fits, passing) = match &self.coding {
            Coding::Avc(coding) => (
                coding.is_widely_playable() && picture.is_plain(8),
                Passing::Alone,
            ),
            Coding::Hevc(_) | Coding::Av1(_) => (
                picture.is_plain(10) && !picture.colour.is_hdr(),
                Passing::Beside,
            ),
            Coding::Vp9(_) => (false, Passing::Never),
        };
        if fits { passing } else { Passing::Never }
    }

    /// What its pictures are, in words for the streamer.
    pub fn describe(&self) -> String {
        let profile = match &self.coding {
            Coding::Avc(coding) => coding.describe(),
            Coding::Hevc(coding) => format!("profile {}", coding.profile()),
            Coding::Av1(coding) => format!("profile {}", coding.profile),
            Coding::Vp9(coding) => format!("profile {}", coding.profile),
        };
        let range = if self.picture.colour.is_hdr() {
            ", HDR"
        } else {
            ""
        };
        format!("{profile}, {}{range}", self.picture.describe())
    }

    /// How the pictures from this one on are to be shown, if a message says so.
    pub fn display_orientation(&self, access_unit: &[u8]) -> Option<Orientation> {
        match &self.coding {
            Coding::Avc(coding) => coding.display_orientation(access_unit),
            _ => None,
        }
    }

    /// Whether `access_unit` can be decoded without earlier ones: an IDR picture, or what its codec has instead.
    pub fn is_sync(&self, access_unit: &[u8]) -> Result<bool, Error> {
        match &self.coding {
            Coding::Avc(coding) => coding.is_idr(access_unit),
            Coding::Hevc(coding) => coding.is_sync(access_unit),
            Coding::Av1(_) => av1::is_sync(access_unit),
            Coding::Vp9(_) => Ok(vp9::is_sync(access_unit)),
        }
    }

    /// Whether pictures before a sync sample may be needed by what follows it: segments would not stand alone.
    pub fn is_open(&self, sync_unit: &[u8]) -> bool {
        match &self.coding {
            Coding::Hevc(coding) => coding.is_open(sync_unit),
            _ => false,
        }
    }
}

/// A picture size, if it is one.
pub(super) fn size(width: u32, height: u32) -> Option<(u16, u16)> {
    let narrow = |pixels: u32| u16::try_from(pixels).ok().filter(|p| *p > 0);
    Some((narrow(width)?, narrow(height)?))
}

/// A declared frame rate, if that can be.
pub(super) fn frame_rate(millihertz: u64) -> Option<u32> {
    let declared = u32::try_from(millihertz).ok()?;
    PLAUSIBLE_FPS_MILLIS.contains(&declared).then_some(declared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::{AudioConfig, AudioKind};

    const KINDS: [VideoKind; 4] = [
        VideoKind::Avc,
        VideoKind::Hevc,
        VideoKind::Av1,
        VideoKind::Vp9,
    ];
    const SOUNDS: [AudioKind; 4] = [
        AudioKind::Aac,
        AudioKind::Opus,
        AudioKind::Flac,
        AudioKind::Mp3,
    ];

    fn known() -> [VideoConfig; 4] {
        let parse = |kind, record| VideoConfig::parse(kind, &Bytes::from_static(record));
        let vp9 = [0x82, 0x49, 0x83, 0x42, 0, 0x27, 0xf0, 0x16, 0x70, 0];
        [
            parse(VideoKind::Avc, avc::tests::X264_360P30).unwrap(),
            parse(VideoKind::Hevc, hevc::tests::X265_360P30).unwrap(),
            parse(VideoKind::Av1, av1::tests::SVT_360P).unwrap(),
            VideoConfig::of_unit(VideoKind::Vp9, &vp9).unwrap(),
        ]
    }

    #[test]
    fn each_codec_has_its_string_and_its_way() {
        let seen = known().map(|config| {
            let (name, form) = (config.kind().name(), config.codec_string());
            format!("{name} {form} {:?}", config.passing())
        });
        let expected = [
            "H.264 avc1.64001E Alone",
            "HEVC hvc1.1.6.L63.90 Beside",
            "AV1 av01.0.01M.08 Beside",
            "VP9 vp09.00.21.08 Never",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn records_of_another_codec_are_refused() {
        for config in known() {
            for kind in KINDS {
                let parsed = VideoConfig::parse(kind, &config.bytes);
                let is_own = kind == config.kind() && kind != VideoKind::Vp9;
                assert_eq!(parsed.is_ok(), is_own, "{kind:?} of {:?}", config.kind());
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn survives_any_bytes(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), head in 0_usize..4) {
            // Often enough they begin as something does.
            let heads: [&[u8]; 4] = [&[], &[1], &[0x81, 0, 0, 0, 0x0a], &[0x82, 0x49, 0x83, 0x42]];
            let bytes = Bytes::from([heads[head], &bytes].concat());
            for kind in SOUNDS {
                if let Ok(config) = AudioConfig::parse(kind, &bytes) {
                    assert!(config.sample_rate() > 0 && config.least_samples() > 0);
                    let samples = config.samples_in(&bytes);
                    assert!(samples.is_none_or(|samples| (1..=65_536).contains(&samples)));
                }
            }
            let parsed = KINDS.map(|kind| VideoConfig::parse(kind, &bytes).ok());
            let brought = KINDS.map(|kind| VideoConfig::of_unit(kind, &bytes));
            for config in parsed.into_iter().chain(brought).flatten().chain(known()) {
                assert!(config.width > 0 && config.height > 0);
                drop(config.is_sync(&bytes));
                config.is_open(&bytes);
                let Ok(Some(unit)) = config.examine(bytes.clone()) else {
                    continue;
                };
                assert!(unit.data.len() <= bytes.len());
                if let Some(renewed) = unit.renewed {
                    let again = renewed.examine(bytes.clone()).unwrap();
                    assert_eq!(again.and_then(|unit| unit.renewed), None);
                }
            }
        }
    }
}
