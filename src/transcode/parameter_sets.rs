//! An encoder's parameter sets become an `avcC` record.
//!
//! In:  extradata as FFmpeg's encoders leave it, which differs between versions and settings: an `avcC` record (from
//! FFmpeg 6.1 on), NAL units with length prefixes, or with start codes (Annex B).
//! Out: an `avcC` record, the same for all of these. Not here: what the parameter sets say (`media::codec::avc`).

use bytes::Bytes;

use crate::media::codec;

const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;

/// The record for `extradata` of a Main or Baseline stream; that of higher profiles would have more fields.
///
/// A record is written anew as well: FFmpeg appends the fields of High to that of a Main stream, with bits of the
/// wrong places as their values.
pub(super) fn record(extradata: &[u8]) -> Result<Bytes, codec::Error> {
    let units = match extradata {
        [1, ..] => in_record(extradata).ok_or_else(|| malformed("a record that is cut off"))?,
        [0, 0, 1, ..] | [0, 0, 0, 1, ..] => after_start_codes(extradata),
        _ => after_lengths(extradata),
    };
    let of_type = |wanted: u8| {
        let units = units.iter().copied();
        units.filter(move |unit| unit.first().is_some_and(|header| header & 31 == wanted))
    };
    let Some([_, profile, compatibility, level, ..]) = of_type(NAL_SPS).next() else {
        return Err(malformed("no sequence parameter set"));
    };
    // Length prefixes of four bytes; the bits reserved above the counts are ones.
    let mut record = vec![1, *profile, *compatibility, *level, 0xff];
    for (kind, mark) in [(NAL_SPS, 0xe0), (NAL_PPS, 0)] {
        let count = u8::try_from(of_type(kind).count()).ok().filter(|n| *n < 32);
        record.push(mark | count.ok_or_else(|| malformed("too many parameter sets"))?);
        for unit in of_type(kind) {
            let len = u16::try_from(unit.len()).map_err(|_| malformed("a long parameter set"))?;
            record.extend(len.to_be_bytes());
            record.extend(unit);
        }
    }
    Ok(Bytes::from(record))
}

fn in_record(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut units = Vec::new();
    let mut rest = bytes.get(5..)?;
    for count_bits in [0x1f, 0xff] {
        let (count, mut tail) = rest.split_first()?;
        for _ in 0..count & count_bits {
            let (len, body) = tail.split_first_chunk::<2>()?;
            let (unit, after) = body.split_at_checked(u16::from_be_bytes(*len).into())?;
            units.push(unit);
            tail = after;
        }
        rest = tail;
    }
    Some(units)
}

fn after_lengths(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    while let Some((prefix, body)) = rest.split_first_chunk::<4>() {
        let len = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        let Some((unit, tail)) = body.split_at_checked(len) else {
            break;
        };
        units.push(unit);
        rest = tail;
    }
    units
}

/// A NAL unit ends with a byte that is not zero, so zeros before a start code belong to that.
fn after_start_codes(bytes: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(3).position(|code| code == [0, 0, 1]) {
        let body = &rest[at + 3..];
        let end = body.windows(3).position(|code| code == [0, 0, 1]);
        let unit = &body[..end.unwrap_or(body.len())];
        let len = unit
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |n| n + 1);
        units.push(&unit[..len]);
        rest = &body[end.unwrap_or(body.len())..];
    }
    units
}

fn malformed(detail: &str) -> codec::Error {
    codec::Error::Malformed {
        what: "parameter sets of the encoder",
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::avc;
    use crate::media::codec::video::Coding;

    /// libx264, 640x360, Main.
    const SPS: &[u8] = &[
        0x67, 0x4d, 0x40, 0x1e, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00,
        0x04, 0x00, 0x00, 0x03, 0x00, 0xf2, 0x3c, 0x58, 0xba, 0x80,
    ];
    const PPS: &[u8] = &[0x68, 0xef, 0x0f, 0xc8];

    fn expected() -> Vec<u8> {
        let head: &[u8] = &[1, 0x4d, 0x40, 0x1e, 0xff, 0xe1, 0, 25];
        [head, SPS, &[1, 0, 4], PPS].concat()
    }

    #[test]
    fn all_forms_give_the_same_record() {
        let lengths = [&[0, 0, 0, 25], SPS, &[0, 0, 0, 4], PPS].concat();
        let long_codes = [&[0, 0, 0, 1], SPS, &[0, 0, 0, 1], PPS].concat();
        let short_codes = [&[0, 0, 1], SPS, &[0, 0, 1], PPS].concat();
        let with_fields_of_high = [&expected()[..], &[0xff, 0xf9, 0xf8, 0]].concat();
        for extradata in [
            lengths,
            long_codes,
            short_codes,
            expected(),
            with_fields_of_high,
        ] {
            let record = record(&extradata).unwrap();
            assert_eq!(record, expected());
            let config = avc::parse(&record).unwrap();
            assert_eq!((config.width, config.height), (640, 360));
            assert!(matches!(config.coding, Coding::Avc(coding) if coding.nal_length_bytes == 4));
        }
    }

    #[test]
    fn refuses_extradata_without_a_sequence_parameter_set() {
        for len in 0..expected().len() {
            let cut = record(&expected()[..len]).and_then(|cut| avc::parse(&cut));
            assert!(cut.is_err(), "{len} bytes");
        }
        for extradata in [&[][..], &[0, 0, 0, 1], &[0, 0, 0, 9, 0x67], PPS] {
            assert!(record(extradata).is_err(), "{extradata:?}");
        }
    }
}
