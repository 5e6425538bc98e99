//! AV1: the configuration record (`av1C`), the sequence header, and the few facts of temporal units we need.
//!
//! In:  records and temporal units of OBUs. Out: [`VideoConfig`], sync samples, units without temporal delimiters.
//! Not here: decoding.
//! Read: AV1 bitstream specification §5.3 to §5.9, "AV1 Codec ISO Media File Format Binding" §2.3 and §2.4.

use bytes::Bytes;

use super::bits::Bits;
use super::video::{self, AccessUnit};
use super::{Colour, Error, Picture, VideoConfig};

/// Most bytes a record may have; real ones have 15 to 25.
const MAX_BYTES: usize = 1024;
/// Bytes of a record before its OBUs.
const HEAD_BYTES: usize = 4;
/// Marker and version of the record.
const VERSION: u8 = 0x81;
const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_TEMPORAL_DELIMITER: u8 = 2;
const OBU_FRAME_HEADER: u8 = 3;
const OBU_FRAME: u8 = 6;
/// The level above which a tier is told.
const MAX_UNTIERED_LEVEL: u32 = 7;

/// What a sequence header declares of the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// `seq_profile`.
    pub profile: u8,
    /// `seq_level_idx` of the first operating point.
    pub level: u8,
    /// `seq_tier` of the first operating point: whether it is the high one.
    pub is_high_tier: bool,
}

impl Coding {
    /// For example `av01.0.04M.08`.
    pub(super) fn codec_string(self, bit_depth: u8) -> String {
        let tier = if self.is_high_tier { 'H' } else { 'M' };
        format!(
            "av01.{}.{:02}{tier}.{bit_depth:02}",
            self.profile, self.level
        )
    }
}

/// Parses an `av1C` record, which must hold a sequence header.
pub fn parse(bytes: &Bytes) -> Result<VideoConfig, Error> {
    if bytes.len() > MAX_BYTES {
        let detail = format!("{} bytes, at most {MAX_BYTES}", bytes.len());
        return Err(malformed(detail));
    }
    match bytes.split_at_checked(HEAD_BYTES) {
        Some(([VERSION, ..], units)) => of_unit(units)
            .map(|config| VideoConfig {
                bytes: bytes.clone(),
                ..config
            })
            .ok_or_else(|| malformed("no sequence header that can be read".into())),
        Some(([version, ..], _)) => Err(malformed(format!("version {version:#04x}"))),
        _ => Err(malformed("ends too early".into())),
    }
}

/// The configuration of a temporal unit that has a sequence header.
pub(super) fn of_unit(unit: &[u8]) -> Option<VideoConfig> {
    let header = Obus(unit).filter_map(Result::ok).find(Obu::is_sequence)?;
    let sequence = Sequence::parse(header.body)?;
    let (width, height) = video::size(sequence.width, sequence.height)?;
    let Sequence {
        coding, picture, ..
    } = sequence;
    let flags = u8::from(coding.is_high_tier) << 7
        | u8::from(picture.bit_depth > 8) << 6
        | u8::from(picture.bit_depth > 10) << 5
        | u8::from(picture.chroma_format == 0) << 4
        | u8::from(picture.chroma_format < 3) << 3
        | u8::from(picture.chroma_format < 2) << 2
        | sequence.sample_position;
    let mut record = vec![VERSION, coding.profile << 5 | coding.level, flags, 0];
    header.write(&mut record);
    Some(VideoConfig {
        coding: video::Coding::Av1(coding),
        bytes: record.into(),
        width,
        height,
        declared_fps_millis: sequence.fps_millis,
        picture,
    })
}

/// Looks at a temporal unit: delimiters at its front are taken off; a sequence header that is not the configuration's
/// makes another one.
pub(super) fn examine(config: &VideoConfig, data: &Bytes) -> Result<Option<AccessUnit>, Error> {
    let mut front = 0usize;
    let mut is_front = true;
    let (mut is_sync, mut header) = (false, None);
    for obu in Obus(data) {
        let obu = obu?;
        is_front &= obu.kind == OBU_TEMPORAL_DELIMITER;
        if is_front {
            front = front.saturating_add(obu.whole);
        }
        is_sync |= obu.is_key_picture();
        if obu.is_sequence() {
            header.get_or_insert(obu.body);
        }
    }
    if front >= data.len() {
        return Ok(None);
    }
    let is_other = header.is_some_and(|body| {
        let known = config.bytes.get(HEAD_BYTES..).unwrap_or_default();
        let known = Obus(known).filter_map(Result::ok).find(Obu::is_sequence);
        known.is_none_or(|known| known.body != body)
    });
    let renewed = if is_other { of_unit(data) } else { None };
    Ok(Some(AccessUnit {
        is_sync,
        data: data.slice(front..),
        renewed,
    }))
}

/// Whether decoding can begin with it: a key frame that is shown.
pub(super) fn is_sync(unit: &[u8]) -> Result<bool, Error> {
    let mut is_sync = false;
    for obu in Obus(unit) {
        is_sync |= obu?.is_key_picture();
    }
    Ok(is_sync)
}

/// An open bitstream unit.
struct Obu<'a> {
    kind: u8,
    body: &'a [u8],
    /// Bytes with its header.
    whole: usize,
}

impl Obu<'_> {
    fn is_sequence(&self) -> bool {
        self.kind == OBU_SEQUENCE_HEADER
    }

    /// Neither an older picture that is shown again, nor one that is not shown yet.
    fn is_key_picture(&self) -> bool {
        let mut bits = Bits::new(self.body);
        let begins = [bits.take(1), bits.take(2), bits.take(1)];
        matches!(self.kind, OBU_FRAME | OBU_FRAME_HEADER) && begins == [Some(0), Some(0), Some(1)]
    }

    /// Appends it with its size, without extension.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind << 3 | 2);
        let mut left = self.body.len();
        while left > 0x7f {
            out.push(u8::try_from(left & 0x7f).unwrap_or(0) | 0x80);
            left >>= 7;
        }
        out.push(u8::try_from(left).unwrap_or(0));
        out.extend(self.body);
    }
}

/// The OBUs of a temporal unit; the first impossible size ends the walk with an error. The last may have none.
struct Obus<'a>(&'a [u8]);

impl<'a> Iterator for Obus<'a> {
    type Item = Result<Obu<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let all = std::mem::take(&mut self.0);
        let first = *all.first()?;
        let taken = (|| {
            let has_extension = first & 4 != 0;
            let mut at = if has_extension { 2usize } else { 1 };
            let mut size = all.len().checked_sub(at)?;
            if first & 2 != 0 {
                let bytes;
                (size, bytes) = leb128(all.get(at..)?)?;
                at = at.checked_add(bytes)?;
            }
            let whole = at.checked_add(size)?;
            self.0 = all.get(whole..)?;
            Some(Obu {
                kind: first >> 3 & 15,
                body: all.get(at..whole)?,
                whole,
            })
        })();
        Some(taken.ok_or_else(|| Error::Malformed {
            what: "temporal unit",
            detail: "an OBU's size passes the end".into(),
        }))
    }
}

/// A number in bytes of seven bits, the lowest first, and how many bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(8).enumerate() {
        let shift = u32::try_from(index.saturating_mul(7)).ok()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, index.saturating_add(1)));
        }
    }
    None
}

/// A sequence header, as far as anybody wants to know it.
struct Sequence {
    coding: Coding,
    width: u32,
    height: u32,
    fps_millis: Option<u32>,
    sample_position: u8,
    picture: Picture,
}

impl Sequence {
    fn parse(body: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(body);
        let profile = bits.take(3)?;
        bits.skip(1)?;
        let is_reduced = bits.flag()?;
        let mut fps_millis = None;
        let (level, is_high_tier) = if is_reduced {
            (bits.take(5)?, false)
        } else {
            let delay_bits;
            (fps_millis, delay_bits) = timing(&mut bits)?;
            operating_points(&mut bits, delay_bits)?
        };
        let size_bits = (bits.take(4)?, bits.take(4)?);
        let mut edge = |bits_less_one: u32| bits.take(bits_less_one.saturating_add(1));
        let (width, height) = (edge(size_bits.0)?, edge(size_bits.1)?);
        tools(&mut bits, is_reduced)?;
        let (picture, sample_position) = colours(&mut bits, profile)?;
        let narrow = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
        Some(Self {
            coding: Coding {
                profile: narrow(profile),
                level: narrow(level),
                is_high_tier,
            },
            width: width.saturating_add(1),
            height: height.saturating_add(1),
            fps_millis,
            sample_position,
            picture,
        })
    }
}

/// The frame rate, if it is said and constant; and the bits of a decoder model's delays, if there is one.
fn timing(bits: &mut Bits<'_>) -> Option<(Option<u32>, Option<u32>)> {
    if !bits.flag()? {
        return Some((None, None));
    }
    let (units, scale) = (bits.take(32)?, bits.take(32)?);
    let mut fps_millis = None;
    if bits.flag()? {
        let ticks = u64::from(bits.golomb()?).saturating_add(1);
        let millihertz = u64::from(scale).saturating_mul(1000);
        let rate = millihertz.checked_div(u64::from(units).saturating_mul(ticks));
        fps_millis = rate.and_then(video::frame_rate);
    }
    let mut delay_bits = None;
    if bits.flag()? {
        delay_bits = Some(bits.take(5)?.saturating_add(1));
        bits.skip(32 + 5 + 5)?;
    }
    Some((fps_millis, delay_bits))
}

/// Level and tier of the first operating point; all are skipped.
fn operating_points(bits: &mut Bits<'_>, delay_bits: Option<u32>) -> Option<(u32, bool)> {
    let has_display_delay = bits.flag()?;
    let mut first = None;
    for _ in 0..=bits.take(5)? {
        bits.skip(12)?;
        let level = bits.take(5)?;
        let is_high = level > MAX_UNTIERED_LEVEL && bits.flag()?;
        first.get_or_insert((level, is_high));
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(delay_bits.saturating_mul(2).saturating_add(1))?;
        }
        if has_display_delay && bits.flag()? {
            bits.skip(4)?;
        }
    }
    first
}

/// Skips what says which tools are used.
fn tools(bits: &mut Bits<'_>, is_reduced: bool) -> Option<()> {
    if !is_reduced && bits.flag()? {
        bits.skip(4 + 3)?;
    }
    bits.skip(3)?;
    if !is_reduced {
        bits.skip(4)?;
        let has_order = bits.flag()?;
        if has_order {
            bits.skip(2)?;
        }
        let may_be_screen = bits.flag()? || bits.flag()?;
        if may_be_screen && !bits.flag()? {
            bits.skip(1)?;
        }
        if has_order {
            bits.skip(3)?;
        }
    }
    bits.skip(3)
}

/// `color_config`: the picture, and where its chroma samples lie.
fn colours(bits: &mut Bits<'_>, profile: u32) -> Option<(Picture, u8)> {
    let mut bit_depth = if bits.flag()? { 10 } else { 8 };
    if profile == 2 && bit_depth == 10 && bits.flag()? {
        bit_depth = 12;
    }
    let is_monochrome = profile != 1 && bits.flag()?;
    let mut colour = Colour::default();
    if bits.flag()? {
        let mut byte = || bits.take(8).and_then(|value| u8::try_from(value).ok());
        colour = Colour {
            primaries: byte()?,
            transfer: byte()?,
            matrix: byte()?,
        };
    }
    let mut sample_position = 0;
    let chroma_format = if is_monochrome {
        0
    } else if (colour.primaries, colour.transfer, colour.matrix) == (1, 13, 0) {
        3 // sRGB.
    } else {
        bits.skip(1)?;
        let format = match (profile, bit_depth) {
            (0, _) => 1,
            (1, _) => 3,
            (_, 12) if !bits.flag()? => 3,
            (_, 12) => u8::from(!bits.flag()?).saturating_add(1),
            _ => 2,
        };
        if format == 1 {
            sample_position = u8::try_from(bits.take(2)?).ok()?;
        }
        format
    };
    let picture = Picture {
        chroma_format,
        bit_depth,
        sample_aspect: (1, 1),
        is_interlaced: false,
        colour,
    };
    Some((picture, sample_position))
}

fn malformed(detail: String) -> Error {
    Error::Malformed {
        what: "av1C",
        detail,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::media::codec::VideoKind;
    use crate::media::codec::video::Passing;

    /// SVT-AV1, 640x360, 8 bit, as ffmpeg writes it into MP4.
    pub(crate) const SVT_360P: &[u8] = &[
        0x81, 0x01, 0x0c, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x0c, 0xc4, 0xff, 0x67, 0x00, 0xbe,
        0x00, 0x10,
    ];
    /// A delimiter; a key frame that is shown, one that is not, one that is shown again, another frame.
    const DELIMITER: &[u8] = &[0x12, 0];
    const KEY: &[u8] = &[0x32, 2, 0b0001_0000, 0];
    const HIDDEN_KEY: &[u8] = &[0x32, 2, 0, 0];
    const SHOWN_AGAIN: &[u8] = &[0x1a, 1, 0b1000_0000];
    const INTER: &[u8] = &[0x32, 2, 0b0011_0000, 0];

    fn config() -> VideoConfig {
        parse(&Bytes::from_static(SVT_360P)).unwrap()
    }

    fn unit(obus: &[&[u8]]) -> Bytes {
        obus.concat().into()
    }

    #[test]
    fn reads_what_svt_writes() {
        let config = config();
        assert_eq!(config.codec_string(), "av01.0.01M.08");
        assert_eq!((config.width, config.height), (640, 360));
        assert_eq!(config.describe(), "profile 0, 4:2:0, 8 bit");
        assert_eq!(config.passing(), Passing::Beside);
        // The record is what its sequence header makes.
        let unit = &SVT_360P[HEAD_BYTES..];
        assert_eq!(VideoConfig::of_unit(VideoKind::Av1, unit), Some(config));
        for len in 0..SVT_360P.len() - 1 {
            assert!(
                parse(&Bytes::from_static(&SVT_360P[..len])).is_err(),
                "{len}"
            );
        }
        let version = [&[0x82], &SVT_360P[1..]].concat();
        assert!(parse(&version.into()).is_err());
    }

    #[test]
    fn survives_any_damage() {
        for at in 4..SVT_360P.len() {
            for mask in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = SVT_360P.to_vec();
                damaged[at] ^= mask;
                if let Ok(config) = parse(&damaged.into()) {
                    assert!(config.width > 0 && config.height > 0);
                }
            }
        }
    }

    #[test]
    fn sync_samples_begin_with_a_key_frame_that_is_shown() {
        let config = config();
        let header = &SVT_360P[HEAD_BYTES..];
        for (obus, is_sync) in [
            (&[header, KEY][..], true),
            (&[KEY], true),
            (&[header, HIDDEN_KEY, INTER], false),
            (&[SHOWN_AGAIN], false),
            (&[INTER], false),
        ] {
            let data = unit(obus);
            let seen = config.examine(data.clone()).unwrap().unwrap();
            assert_eq!((seen.is_sync, seen.renewed), (is_sync, None), "{obus:x?}");
            assert_eq!(config.is_sync(&data), Ok(is_sync));
            let delimited = unit(&[DELIMITER, &data]);
            let seen = config.examine(delimited).unwrap().unwrap();
            assert_eq!(seen.data, data);
        }
        assert_eq!(config.examine(unit(&[DELIMITER])), Ok(None));
        assert!(config.examine(unit(&[&[0x32, 9, 0]])).is_err());
        // The last one may leave its size out.
        assert_eq!(config.is_sync(&[0x30, 0b0001_0000]), Ok(true));
    }

    #[test]
    fn another_sequence_header_makes_another_configuration() {
        let config = config();
        let mut header = SVT_360P[HEAD_BYTES..].to_vec();
        // The level is what follows on 24 bits of the body: 2.1 becomes 3.1.
        header[5] ^= 0x20;
        let seen = config.examine(unit(&[&header, KEY])).unwrap().unwrap();
        let renewed = seen.renewed.unwrap();
        assert_eq!(renewed.codec_string(), "av01.0.05M.08");
        assert_eq!((renewed.width, renewed.height), (640, 360));
        assert_eq!(&renewed.bytes[HEAD_BYTES..], header);
    }
}
