//! HEVC: the decoder configuration record (`hvcC`) and the few facts of access units we need.
//!
//! In:  ISO/IEC 14496-15 §8.3.3 records and length-prefixed access units. Out: [`VideoConfig`], sync samples, units
//! without the parameter sets that the record has: its sample entry is `hvc1`, which allows none in them.
//! Not here: sequence parameter sets (`sps`), decoding.

mod sps;

use bytes::{BufMut, Bytes, BytesMut};

use self::sps::Sps;
use super::nal::{self, Reader};
use super::video::{self, AccessUnit};
use super::{Error, VideoConfig};

/// Most bytes a record may have; real ones have 80 to 2500 (x265 puts its settings in).
const MAX_BYTES: usize = 16 * 1024;
/// Bytes before the arrays, their count included.
const HEAD_BYTES: usize = 23;
/// Where the general profile, tier and level lie, in the record as in a sequence parameter set.
const GENERAL_BYTES: usize = 12;
/// "None of this kind are in the stream", in the head of an array.
const COMPLETE: u8 = 0x80;
const NAL_VPS: u8 = 32;
const NAL_SPS: u8 = 33;
const NAL_PPS: u8 = 34;
const PARAMETER_SETS: [u8; 3] = [NAL_VPS, NAL_SPS, NAL_PPS];
/// Pictures that decoding can begin with; those of CRA may have pictures before them that it cannot show.
const SYNC: std::ops::RangeInclusive<u8> = 16..=21;
const NAL_CRA: u8 = 21;

/// What an `hvcC` record declares of the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// Profile space, tier, profile, compatibility, constraints and level, as both record and parameter set have them.
    general: [u8; GENERAL_BYTES],
    /// Bytes of each NAL unit's length prefix: 1, 2 or 4.
    pub nal_length_bytes: u8,
}

/// Parses an `hvcC` record, which must hold all three kinds of parameter sets.
pub fn parse(bytes: &Bytes) -> Result<VideoConfig, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(malformed(format!(
            "{} bytes, at most {MAX_BYTES}",
            bytes.len()
        )));
    }
    let (record, kinds) = completed(bytes).ok_or_else(|| malformed("ends too early".into()))?;
    // Encoders write 0 here, too, from the time when the format was a draft.
    let version = bytes.first().copied().unwrap_or(0);
    if version > 1 {
        return Err(malformed(format!("version {version}")));
    }
    let general = record.get(1..).and_then(|rest| rest.first_chunk());
    let general = *general.ok_or_else(|| malformed("ends too early".into()))?;
    let nal_length_bytes = (record.get(HEAD_BYTES - 2).copied().unwrap_or(0) & 3).saturating_add(1);
    if nal_length_bytes == 3 {
        return Err(malformed("NAL length of 3 bytes".into()));
    }
    if let Some(lacking) = PARAMETER_SETS.iter().find(|kind| !kinds.contains(kind)) {
        return Err(malformed(format!("no parameter set of type {lacking}")));
    }
    let sets = parameter_sets(&record);
    let first = sets.iter().find(|nal| kind(nal) == Some(NAL_SPS));
    let sps = first.and_then(|nal| Sps::parse(nal));
    let sps = sps.ok_or_else(|| malformed("SPS that cannot be read".into()))?;
    let Some((width, height)) = video::size(sps.width, sps.height) else {
        let (width, height) = (sps.width, sps.height);
        return Err(malformed(format!("picture size {width}x{height}")));
    };
    Ok(VideoConfig {
        coding: video::Coding::Hevc(Coding {
            general,
            nal_length_bytes,
        }),
        bytes: record,
        width,
        height,
        declared_fps_millis: sps.fps_millis,
        picture: sps.picture,
    })
}

/// The record as `hvc1` demands it: of version 1, its arrays of parameter sets marked as complete, which encoders leave
/// out; and the kinds of arrays that are not empty.
fn completed(bytes: &Bytes) -> Option<(Bytes, Vec<u8>)> {
    let mut record = bytes.to_vec();
    *record.first_mut()? = 1;
    let mut kinds = Vec::new();
    let mut rest = Reader(bytes.get(HEAD_BYTES..)?);
    for _ in 0..*bytes.get(HEAD_BYTES - 1)? {
        let at = bytes.len().checked_sub(rest.0.len())?;
        let kind = rest.byte()? & 0x3f;
        let count = rest.u16()?;
        for _ in 0..count {
            rest.parameter_set()?;
        }
        if PARAMETER_SETS.contains(&kind) {
            *record.get_mut(at)? |= COMPLETE;
        }
        if count > 0 {
            kinds.push(kind);
        }
    }
    Some((record.into(), kinds))
}

/// All NAL units of a record that [`completed`] has walked.
fn parameter_sets(record: &[u8]) -> Vec<&[u8]> {
    let mut sets = Vec::new();
    let mut walk = || {
        let mut rest = Reader(record.get(HEAD_BYTES..)?);
        for _ in 0..*record.get(HEAD_BYTES - 1)? {
            rest.byte()?;
            for _ in 0..rest.u16()? {
                sets.push(rest.parameter_set()?);
            }
        }
        Some(())
    };
    walk();
    sets
}

/// Looks at an access unit: its parameter sets are taken out, and make another configuration if they are others.
pub(super) fn examine(
    config: &VideoConfig,
    coding: &Coding,
    data: Bytes,
) -> Result<Option<AccessUnit>, Error> {
    let (mut is_sync, mut is_empty) = (false, true);
    let mut sets = Vec::new();
    for nal in nal::units(&data, coding.nal_length_bytes) {
        let nal = nal?;
        match kind(nal) {
            Some(kind) if PARAMETER_SETS.contains(&kind) => sets.push(nal),
            Some(kind) => {
                is_sync |= SYNC.contains(&kind);
                is_empty = false;
            }
            None => {}
        }
    }
    let renewed = renewed(config, coding, &sets)?;
    let has_sets = !sets.is_empty();
    if is_empty && renewed.is_none() {
        return Ok(None);
    }
    Ok(Some(AccessUnit {
        is_sync,
        data: if has_sets {
            without_sets(coding, &data)
        } else {
            data
        },
        renewed,
    }))
}

fn without_sets(coding: &Coding, data: &[u8]) -> Bytes {
    let mut kept = BytesMut::with_capacity(data.len());
    let units = nal::units(data, coding.nal_length_bytes).filter_map(Result::ok);
    for nal in units.filter(|nal| kind(nal).is_some_and(|k| !PARAMETER_SETS.contains(&k))) {
        let len = u64::try_from(nal.len()).unwrap_or(u64::MAX);
        kept.put_uint(len, usize::from(coding.nal_length_bytes));
        kept.put_slice(nal);
    }
    kept.freeze()
}

/// The configuration that parameter sets in the stream make, if it is another. Kinds that did not come stay.
fn renewed(
    config: &VideoConfig,
    coding: &Coding,
    sets: &[&[u8]],
) -> Result<Option<VideoConfig>, Error> {
    if sets.is_empty() {
        return Ok(None);
    }
    let known = parameter_sets(&config.bytes);
    if sets.iter().all(|set| known.contains(set)) {
        return Ok(None);
    }
    let of_kind = |wanted: u8| {
        let of = |sets: &[&[u8]]| -> Vec<Vec<u8>> {
            let found = sets.iter().filter(|set| kind(set) == Some(wanted));
            found.map(|set| set.to_vec()).collect()
        };
        let new = of(sets);
        if new.is_empty() { of(&known) } else { new }
    };
    let sps = of_kind(NAL_SPS);
    let first = sps.first().and_then(|nal| Sps::parse(nal));
    let first = first.ok_or_else(|| malformed("SPS that cannot be read".into()))?;
    let mut record = first.record_head(coding.nal_length_bytes);
    record.push(3);
    for kind in PARAMETER_SETS {
        let sets = of_kind(kind);
        record.push(COMPLETE | kind);
        record.put_u16(u16::try_from(sets.len()).unwrap_or(u16::MAX));
        for set in sets {
            record.put_u16(u16::try_from(set.len()).unwrap_or(u16::MAX));
            record.put_slice(&set);
        }
    }
    parse(&record.into()).map(Some)
}

impl Coding {
    /// `general_profile_idc`.
    pub(super) fn profile(&self) -> u8 {
        let [first, ..] = self.general;
        first & 0x1f
    }

    /// ISO/IEC 14496-15 annex E.3, for example `hvc1.1.6.L93.B0`.
    pub(super) fn codec_string(&self) -> String {
        let [first, a, b, c, d, constraints @ .., level] = self.general;
        let space = ["", "A", "B", "C"].get(usize::from(first >> 6));
        let tier = if first & 0x20 == 0 { 'L' } else { 'H' };
        let compatibility = u32::from_be_bytes([a, b, c, d]).reverse_bits();
        let mut words = format!(
            "hvc1.{}{}.{compatibility:X}.{tier}{level}",
            space.unwrap_or(&""),
            self.profile()
        );
        let used = constraints.iter().rposition(|byte| *byte != 0);
        for byte in constraints
            .iter()
            .take(used.map_or(0, |last| last.saturating_add(1)))
        {
            let byte = format!(".{byte:X}");
            words.push_str(&byte);
        }
        words
    }

    pub(super) fn is_sync(&self, access_unit: &[u8]) -> Result<bool, Error> {
        let mut is_sync = false;
        for nal in nal::units(access_unit, self.nal_length_bytes) {
            is_sync |= kind(nal?).is_some_and(|kind| SYNC.contains(&kind));
        }
        Ok(is_sync)
    }

    /// Whether it is a picture of an open GOP.
    pub(super) fn is_open(&self, access_unit: &[u8]) -> bool {
        let mut units = nal::units(access_unit, self.nal_length_bytes).filter_map(Result::ok);
        units.any(|nal| kind(nal) == Some(NAL_CRA))
    }
}

/// The type of a NAL unit, whose header has two bytes.
fn kind(nal: &[u8]) -> Option<u8> {
    nal.first_chunk::<2>().map(|[first, _]| first >> 1 & 0x3f)
}

fn malformed(detail: String) -> Error {
    Error::Malformed {
        what: "hvcC",
        detail,
    }
}

#[cfg(test)]
pub(crate) mod tests;
