//! H.264: the decoder configuration record (`avcC`) and the few facts of access units we need.
//!
//! In:  ISO/IEC 14496-15 §5.3.3 records and length-prefixed access units. Out: [`VideoConfig`], and
//! which access units are IDR pictures. Sequence parameter sets are parsed by `h264-reader`.
//! Not here: decoding, Annex B (FLV and MP4 both carry length prefixes).

mod picture;

use bytes::Bytes;
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::nal::{Nal, RefNal};

use super::nal::{self, Reader};
use super::{Error, Picture, VideoConfig, video};
pub use picture::Orientation;

/// Most bytes a record may have; real ones have 30 to 100.
const MAX_BYTES: usize = 16 * 1024;
const NAL_IDR: u8 = 5;
const NAL_SEI: u8 = 6;
const NAL_SPS: u8 = 7;

/// What an `avcC` record declares of the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// `AVCProfileIndication`.
    pub profile: u8,
    /// `profile_compatibility`.
    pub compatibility: u8,
    /// `AVCLevelIndication`, ten times the level.
    pub level: u8,
    /// Bytes of each NAL unit's length prefix: 1, 2 or 4.
    pub nal_length_bytes: u8,
}

/// Parses an `avcC` record; the record must hold a sequence and a picture parameter set.
pub fn parse(bytes: &Bytes) -> Result<VideoConfig, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(malformed(format!(
            "{} bytes, at most {MAX_BYTES}",
            bytes.len()
        )));
    }
    let (coding, sps) = read(bytes)?;
    let sps = parse_sps(sps)?;
    let (width, height) = sps
        .pixel_dimensions()
        .map_err(|e| malformed(format!("picture size: {e:?}")))?;
    let Some((width, height)) = video::size(width, height) else {
        return Err(malformed(format!("picture size {width}x{height}")));
    };
    Ok(VideoConfig {
        coding: video::Coding::Avc(coding),
        bytes: bytes.clone(),
        width,
        height,
        declared_fps_millis: declared_fps_millis(&sps),
        picture: Picture::of(&sps),
    })
}

/// The record's own fields, and its first sequence parameter set.
fn read(bytes: &[u8]) -> Result<(Coding, &[u8]), Error> {
    let early = || malformed("ends too early".into());
    let mut rest = Reader(bytes);
    let mut byte = || rest.byte().ok_or_else(early);
    let version = byte()?;
    if version != 1 {
        return Err(malformed(format!("version {version}")));
    }
    let coding = Coding {
        profile: byte()?,
        compatibility: byte()?,
        level: byte()?,
        nal_length_bytes: (byte()? & 3).saturating_add(1),
    };
    if coding.nal_length_bytes == 3 {
        return Err(malformed("NAL length of 3 bytes".into()));
    }
    let sps_count = byte()? & 31;
    let mut first_sps = None;
    for _ in 0..sps_count {
        let sps = rest.parameter_set().ok_or_else(early)?;
        first_sps.get_or_insert(sps);
    }
    let pps_count = rest.byte().ok_or_else(early)?;
    for _ in 0..pps_count {
        rest.parameter_set().ok_or_else(early)?;
    }
    let sps = first_sps.ok_or_else(|| malformed("no sequence parameter set".into()))?;
    if pps_count == 0 {
        return Err(malformed("no picture parameter set".into()));
    }
    Ok((coding, sps))
}

impl Coding {
    /// RFC 6381 codec string, for example `avc1.64001F`.
    pub(super) fn codec_string(self) -> String {
        format!(
            "avc1.{:02X}{:02X}{:02X}",
            self.profile, self.compatibility, self.level
        )
    }

    /// Whether every browser plays it: Baseline, Main or High, at most level 5.2.
    pub(super) fn is_widely_playable(self) -> bool {
        matches!(self.profile, 66 | 77 | 100) && self.level <= 52
    }

    /// The profile in words.
    pub(super) fn describe(self) -> String {
        match self.profile {
            66 => "Baseline".to_owned(),
            77 => "Main".to_owned(),
            100 => "High".to_owned(),
            110 => "High 10".to_owned(),
            122 => "High 4:2:2".to_owned(),
            244 => "High 4:4:4".to_owned(),
            other => format!("profile {other}"),
        }
    }

    /// How the pictures from this one on are to be shown, if a message says so.
    pub(super) fn display_orientation(self, access_unit: &[u8]) -> Option<Orientation> {
        let units = nal::units(access_unit, self.nal_length_bytes).filter_map(Result::ok);
        let mut messages = units.filter(|nal| nal.first().is_some_and(|h| h & 31 == NAL_SEI));
        messages.find_map(Orientation::of_sei)
    }

    /// Whether `access_unit` holds an IDR picture. Length prefixes are checked: an error means
    /// that no decoder could take the unit apart.
    pub(super) fn is_idr(self, access_unit: &[u8]) -> Result<bool, Error> {
        let mut is_idr = false;
        for nal in nal::units(access_unit, self.nal_length_bytes) {
            is_idr |= nal?.first().is_some_and(|header| header & 31 == NAL_IDR);
        }
        Ok(is_idr)
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
    video::frame_rate(millihertz.checked_div(u64::from(timing.num_units_in_tick))?)
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
        let config = parse(&Bytes::from_static(X264_360P30)).unwrap();
        assert_eq!(config.codec_string(), "avc1.64001E");
        assert_eq!((config.width, config.height), (640, 360));
        assert!(
            matches!(config.coding, video::Coding::Avc(coding) if coding.nal_length_bytes == 4)
        );
        assert_eq!(config.declared_fps_millis, Some(30_000));
    }

    #[test]
    fn declared_frame_rates_that_cannot_be_are_none() {
        // Half a frame and 414 frames a second.
        for (at, value) in [(29, 1), (28, 3)] {
            let mut record = X264_360P30.to_vec();
            record[at] = value;
            let config = parse(&Bytes::from(record)).unwrap();
            assert_eq!(config.declared_fps_millis, None, "byte {at}");
        }
    }

    #[test]
    fn refuses_every_truncation() {
        // The last four bytes are the optional chroma format extension.
        for len in 0..X264_360P30.len() - 4 {
            let cut = Bytes::from_static(&X264_360P30[..len]);
            assert!(parse(&cut).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn finds_idr_pictures_and_impossible_lengths() {
        let config = parse(&Bytes::from_static(X264_360P30)).unwrap();
        let idr = [0, 0, 0, 2, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x65, 0x88];
        assert_eq!(config.is_sync(&idr), Ok(true));
        assert_eq!(config.is_sync(&idr[..6]), Ok(false));
        assert_eq!(config.is_sync(&[]), Ok(false));
        assert!(config.is_sync(&idr[..15]).is_err());
        assert!(config.is_sync(&[0, 0]).is_err());
    }
}
