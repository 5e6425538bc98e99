//! H.264: the decoder configuration record (`avcC`) and the few facts of access units we need.
//!
//! In:  ISO/IEC 14496-15 §5.3.3 records and length-prefixed access units. Out: [`Config`], and
//! which access units are IDR pictures. Sequence parameter sets are parsed by `h264-reader`.
//! Not here: decoding, Annex B (FLV and MP4 both carry length prefixes).

mod picture;

use std::ops::RangeInclusive;

use bytes::Bytes;
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::nal::{Nal, RefNal};

use super::Error;
pub use picture::{Colour, Orientation, Picture};

/// Most bytes a record may have; real ones have 30 to 100.
const MAX_BYTES: usize = 16 * 1024;
/// Declared frame rates outside are no hint at all, in millihertz.
const PLAUSIBLE_FPS_MILLIS: RangeInclusive<u32> = 1_000..=240_000;
const NAL_IDR: u8 = 5;
const NAL_SEI: u8 = 6;
const NAL_SPS: u8 = 7;

/// An H.264 decoder configuration, with what its first sequence parameter set says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The `AVCDecoderConfigurationRecord`, byte for byte.
    pub bytes: Bytes,
    /// `AVCProfileIndication`.
    pub profile: u8,
    /// `profile_compatibility`.
    pub compatibility: u8,
    /// `AVCLevelIndication`, ten times the level.
    pub level: u8,
    /// Bytes of each NAL unit's length prefix: 1, 2 or 4.
    pub nal_length_bytes: u8,
    /// Displayed width in pixels, cropping applied; never zero.
    pub width: u16,
    /// Displayed height in pixels; never zero.
    pub height: u16,
    /// Frame rate as the VUI declares it, in millihertz, if that can be; a hint, encoders lie here.
    pub declared_fps_millis: Option<u32>,
    /// What else its pictures are.
    pub picture: Picture,
}

impl Config {
    /// Parses an `avcC` record; the record must hold a sequence and a picture parameter set.
    pub fn parse(bytes: &Bytes) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(malformed(format!(
                "{} bytes, at most {MAX_BYTES}",
                bytes.len()
            )));
        }
        let mut rest = Reader(bytes);
        let version = rest.byte()?;
        if version != 1 {
            return Err(malformed(format!("version {version}")));
        }
        let (profile, compatibility, level) = (rest.byte()?, rest.byte()?, rest.byte()?);
        let nal_length_bytes = (rest.byte()? & 3).saturating_add(1);
        if nal_length_bytes == 3 {
            return Err(malformed("NAL length of 3 bytes".into()));
        }
        let sps_count = rest.byte()? & 31;
        let mut first_sps = None;
        for _ in 0..sps_count {
            let sps = rest.parameter_set()?;
            first_sps.get_or_insert(sps);
        }
        let pps_count = rest.byte()?;
        for _ in 0..pps_count {
            rest.parameter_set()?;
        }
        let sps = first_sps.ok_or_else(|| malformed("no sequence parameter set".into()))?;
        if pps_count == 0 {
            return Err(malformed("no picture parameter set".into()));
        }
        let sps = parse_sps(sps)?;
        let (width, height) = sps
            .pixel_dimensions()
            .map_err(|e| malformed(format!("picture size: {e:?}")))?;
        let narrow = |pixels: u32| u16::try_from(pixels).ok().filter(|p| *p > 0);
        let (Some(width), Some(height)) = (narrow(width), narrow(height)) else {
            return Err(malformed(format!("picture size {width}x{height}")));
        };
        Ok(Self {
            bytes: bytes.clone(),
            profile,
            compatibility,
            level,
            nal_length_bytes,
            width,
            height,
            declared_fps_millis: declared_fps_millis(&sps),
            picture: Picture::of(&sps),
        })
    }

    /// RFC 6381 codec string, for example `avc1.64001F`.
    pub fn codec_string(&self) -> String {
        format!(
            "avc1.{:02X}{:02X}{:02X}",
            self.profile, self.compatibility, self.level
        )
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

    /// Whether every browser plays it as it is: Baseline, Main or High, 8 bit, 4:2:0, progressive,
    /// square pixels, at most level 5.2.
    pub fn is_widely_playable(&self) -> bool {
        let is_usual = matches!(self.profile, 66 | 77 | 100);
        is_usual && self.level <= 52 && self.picture.is_widely_playable()
    }

    /// What its pictures are, in words for the streamer.
    pub fn describe(&self) -> String {
        let profile = match self.profile {
            66 => "Baseline".to_owned(),
            77 => "Main".to_owned(),
            100 => "High".to_owned(),
            110 => "High 10".to_owned(),
            122 => "High 4:2:2".to_owned(),
            244 => "High 4:4:4".to_owned(),
            other => format!("profile {other}"),
        };
        format!("{profile}, {}", self.picture.describe())
    }

    /// How the pictures from this one on are to be shown, if a message says so.
    pub fn display_orientation(&self, access_unit: &[u8]) -> Option<Orientation> {
        let units = self.nal_units(access_unit).filter_map(Result::ok);
        let mut messages = units.filter(|nal| nal.first().is_some_and(|h| h & 31 == NAL_SEI));
        messages.find_map(Orientation::of_sei)
    }

    /// Whether `access_unit` holds an IDR picture. Length prefixes are checked: an error means
    /// that no decoder could take the unit apart.
    pub fn is_idr(&self, access_unit: &[u8]) -> Result<bool, Error> {
        let mut is_idr = false;
        for nal in self.nal_units(access_unit) {
            is_idr |= nal?.first().is_some_and(|header| header & 31 == NAL_IDR);
        }
        Ok(is_idr)
    }

    /// The NAL units of a length-prefixed access unit; empty ones are skipped, the first
    /// impossible length ends the walk with an error.
    pub fn nal_units<'a>(
        &self,
        access_unit: &'a [u8],
    ) -> impl Iterator<Item = Result<&'a [u8], Error>> + use<'a> {
        let prefix_bytes = usize::from(self.nal_length_bytes);
        let mut rest = access_unit;
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                let taken = rest
                    .split_at_checked(prefix_bytes)
                    .and_then(|(prefix, body)| {
                        let len = prefix.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
                        body.split_at_checked(len)
                    });
                let Some((nal, tail)) = taken else {
                    rest = &[];
                    let detail = "a NAL unit's length passes the end".into();
                    return Some(Err(Error::Malformed {
                        what: "access unit",
                        detail,
                    }));
                };
                rest = tail;
                if !nal.is_empty() {
                    return Some(Ok(nal));
                }
            }
            None
        })
    }
}

fn malformed(detail: String) -> Error {
    Error::Malformed {
        what: "avcC",
        detail,
    }
}

fn parse_sps(nal: &[u8]) -> Result<SeqParameterSet, Error> {
    if nal.first().is_none_or(|header| header & 31 != NAL_SPS) {
        return Err(malformed("the first parameter set is no SPS".into()));
    }
    SeqParameterSet::from_bits(RefNal::new(nal, &[], true).rbsp_bits())
        .map_err(|e| malformed(format!("SPS: {e:?}")))
}

/// VUI timing counts fields: a frame lasts two ticks.
fn declared_fps_millis(sps: &SeqParameterSet) -> Option<u32> {
    let timing = sps.vui_parameters.as_ref()?.timing_info.as_ref()?;
    let millihertz = u64::from(timing.time_scale).saturating_mul(500);
    let millihertz = millihertz.checked_div(u64::from(timing.num_units_in_tick))?;
    let declared = u32::try_from(millihertz).ok()?;
    PLAUSIBLE_FPS_MILLIS.contains(&declared).then_some(declared)
}

/// Takes a record apart from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (head, tail) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| malformed("ends too early".into()))?;
        self.0 = tail;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        self.take(1)
            .map(|bytes| bytes.first().copied().unwrap_or(0))
    }

    fn parameter_set(&mut self) -> Result<&'a [u8], Error> {
        let (high, low) = (self.byte()?, self.byte()?);
        self.take(usize::from(u16::from_be_bytes([high, low])))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// libx264, 640x360, 30 fps, High, level 3.0 with B-frames, as ffmpeg writes it into FLV.
    pub(crate) const X264_360P30: &[u8] = &[
        0x01, 0x64, 0x00, 0x1e, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40,
        0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c,
        0x0f, 0x16, 0x2d, 0x96, 0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8,
        0xf8, 0x00,
    ];

    #[test]
    fn reads_what_x264_writes() {
        let config = Config::parse(&Bytes::from_static(X264_360P30)).unwrap();
        assert_eq!(config.codec_string(), "avc1.64001E");
        assert_eq!(
            (config.width, config.height, config.nal_length_bytes),
            (640, 360, 4)
        );
        assert_eq!(config.declared_fps_millis, Some(30_000));
    }

    #[test]
    fn declared_frame_rates_that_cannot_be_are_none() {
        // Half a frame and 414 frames a second.
        for (at, value) in [(29, 1), (28, 3)] {
            let mut record = X264_360P30.to_vec();
            record[at] = value;
            let config = Config::parse(&Bytes::from(record)).unwrap();
            assert_eq!(config.declared_fps_millis, None, "byte {at}");
        }
    }

    #[test]
    fn refuses_every_truncation() {
        // The last four bytes are the optional chroma format extension.
        for len in 0..X264_360P30.len() - 4 {
            let cut = Bytes::from_static(&X264_360P30[..len]);
            assert!(Config::parse(&cut).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn finds_idr_pictures_and_impossible_lengths() {
        let config = Config::parse(&Bytes::from_static(X264_360P30)).unwrap();
        let idr = [0, 0, 0, 2, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x65, 0x88];
        assert_eq!(config.is_idr(&idr), Ok(true));
        assert_eq!(config.is_idr(&idr[..6]), Ok(false));
        assert_eq!(config.is_idr(&[]), Ok(false));
        assert!(config.is_idr(&idr[..15]).is_err());
        assert!(config.is_idr(&[0, 0]).is_err());
    }
}
