//! What a sequence parameter set says of its pictures, and an SEI message of how they stand.
//!
//! In:  a parsed set, NAL units. Out: [`Picture`], [`Orientation`]. Oddities are facts here, never errors.
//! Read: ITU-T H.264 §7.3.2.1.1, annex E (VUI), §D.1.27 (display orientation).

use h264_reader::nal::sps::{ChromaFormat, FrameMbsFlags, SeqParameterSet};

use crate::media::codec::{Colour, Picture};

/// SEI payload type of `display_orientation`.
const DISPLAY_ORIENTATION: u32 = 47;

impl Picture {
    pub(super) fn of(sps: &SeqParameterSet) -> Self {
        let chroma = &sps.chroma_info;
        let depth = chroma
            .bit_depth_luma_minus8
            .max(chroma.bit_depth_chroma_minus8);
        let vui = sps.vui_parameters.as_ref();
        let aspect = vui.and_then(|vui| vui.aspect_ratio_info.as_ref()?.get());
        let described = vui.and_then(|vui| {
            let signal = vui.video_signal_type.as_ref()?;
            signal.colour_description.as_ref()
        });
        Self {
            chroma_format: match chroma.chroma_format {
                ChromaFormat::Monochrome => 0,
                ChromaFormat::YUV420 => 1,
                ChromaFormat::YUV422 => 2,
                ChromaFormat::YUV444 => 3,
                ChromaFormat::Invalid(_) => u8::MAX,
            },
            bit_depth: depth.saturating_add(8),
            sample_aspect: Self::plausible(aspect),
            is_interlaced: matches!(sps.frame_mbs_flags, FrameMbsFlags::Fields { .. }),
            colour: described.map_or(Colour::default(), |colour| Colour {
                primaries: colour.colour_primaries,
                transfer: colour.transfer_characteristics,
                matrix: colour.matrix_coefficients,
            }),
        }
    }
}

/// How a picture is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    /// Mirrored left to right.
    pub is_flipped: bool,
    /// Upside down.
    pub is_flopped: bool,
    /// Anticlockwise, in units of 360/65536 degrees.
    pub rotation: u16,
}

impl Orientation {
    /// Whether it is shown as it is coded.
    pub fn is_upright(self) -> bool {
        !self.is_flipped && !self.is_flopped && self.quarters() == 0
    }

    /// Whether width and height change places.
    pub fn is_quarter_turn(self) -> bool {
        self.quarters() % 2 == 1
    }

    /// The nearest number of quarter turns, 0 to 3.
    fn quarters(self) -> u16 {
        self.rotation.wrapping_add(1 << 13) >> 14
    }

    /// From the SEI messages of a NAL unit, its header included.
    pub(super) fn of_sei(nal: &[u8]) -> Option<Self> {
        // The header and something behind it, which the decoder takes for granted.
        let nal = Some(nal).filter(|nal| nal.len() > 2)?;
        let rbsp = h264_reader::rbsp::decode_nal(nal).ok()?;
        let mut rest: &[u8] = &rbsp;
        while rest.len() > 2 {
            let (kind, length);
            (kind, rest) = varied(rest)?;
            (length, rest) = varied(rest)?;
            let (payload, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            rest = tail;
            if let (DISPLAY_ORIENTATION, Some(bits)) = (kind, payload.first_chunk::<3>()) {
                return Self::parse(*bits);
            }
        }
        None
    }

    /// The cancel flag, two flips, 16 bits of rotation.
    fn parse([a, b, c]: [u8; 3]) -> Option<Self> {
        let bits = u32::from_be_bytes([a, b, c, 0]);
        let is_cancelled = bits >> 31 == 1;
        let rotation = u16::try_from(bits >> 13 & 0xffff).ok()?;
        (!is_cancelled).then_some(Self {
            is_flipped: bits >> 30 & 1 == 1,
            is_flopped: bits >> 29 & 1 == 1,
            rotation,
        })
    }
}

/// A number in the form of SEI's types and sizes: bytes of 255 and a last one, all added up.
fn varied(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let full = bytes.iter().take_while(|byte| **byte == 0xff).count();
    let (head, tail) = bytes.split_at_checked(full.checked_add(1)?)?;
    let sum = head.iter().map(|byte| u32::from(*byte)).sum();
    Some((sum, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SEI NAL unit with a message before ours.
    fn sei(orientation: [u8; 3]) -> Vec<u8> {
        let [a, b, c] = orientation;
        vec![6, 5, 2, 9, 9, 47, 3, a, b, c, 0x80]
    }

    #[test]
    fn finds_the_orientation() {
        // A quarter anticlockwise: 16384, behind a zero cancel flag and two zero flips.
        let bits = (16_384_u32 << 13).to_be_bytes();
        let found = Orientation::of_sei(&sei([bits[0], bits[1], bits[2]])).unwrap();
        assert_eq!(found.rotation, 16_384);
        assert!(found.is_quarter_turn() && !found.is_upright());
        let mirrored = Orientation::of_sei(&sei([0x40, 0, 0x10])).unwrap();
        assert!(mirrored.is_flipped && !mirrored.is_flopped && !mirrored.is_upright());
        let upright = Orientation::of_sei(&sei([0, 0, 0x10])).unwrap();
        assert!(upright.is_upright() && !upright.is_quarter_turn());
        assert_eq!(Orientation::of_sei(&sei([0x80, 0, 0])), None, "cancelled");
    }

    #[test]
    fn garbage_has_no_orientation() {
        for nal in [
            &[][..],
            &[6],
            &[6, 0xff, 0xff],
            &[6, 47, 200, 1],
            &[6, 47, 2, 1, 1, 0x80],
        ] {
            assert_eq!(Orientation::of_sei(nal), None, "{nal:?}");
        }
    }
}
