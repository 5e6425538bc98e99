//! What a sequence parameter set of HEVC says of its pictures.
//!
//! In:  a NAL unit. Out: [`Sps`], or nothing if it ends before the size and depth of pictures. What stands behind
//! these and cannot be read is not said: it is a hint.
//! Read: ITU-T H.265 §7.3.2.2, §7.3.3, §7.3.7, annex E.

use crate::media::codec::bits::Bits;
use crate::media::codec::{Colour, Picture, video};

/// Shapes of pixels, from index 1 on.
const ASPECTS: [(u16, u16); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];
/// The index that a shape in numbers follows.
const ASPECT_IN_NUMBERS: u32 = 255;
/// Most reference picture sets, and pictures of one.
const MAX_SETS: u32 = 64;
const MAX_REFERENCES: u32 = 16;
/// Most long-term reference pictures.
const MAX_LONG_TERM: u32 = 32;
/// Largest width and height of any level, with room.
const MAX_EDGE: u32 = 1 << 16;

/// A parameter set, as far as anybody wants to know it.
#[derive(Debug)]
pub(super) struct Sps {
    general: [u8; 12],
    sub_layers: u8,
    is_nested: bool,
    pub(super) width: u32,
    pub(super) height: u32,
    depths: (u8, u8),
    pub(super) fps_millis: Option<u32>,
    pub(super) picture: Picture,
}

/// What lies between the picture's depth and its use.
#[derive(Default)]
struct Usability {
    aspect: Option<(u16, u16)>,
    colour: Colour,
    has_fields: bool,
    fps_millis: Option<u32>,
}

impl Sps {
    pub(super) fn parse(nal: &[u8]) -> Option<Self> {
        // Its header has two bytes; one is taken off with the emulation prevention.
        let nal = Some(nal).filter(|nal| nal.len() > 2)?;
        let rbsp = h264_reader::rbsp::decode_nal(nal).ok()?;
        let rbsp = rbsp.get(1..)?;
        let general = *rbsp.get(1..)?.first_chunk()?;
        let mut bits = Bits::new(rbsp);
        bits.skip(4)?;
        let more_layers = bits.take(3)?;
        let is_nested = bits.flag()?;
        let is_interlaced = profile_tier_level(&mut bits, more_layers)?;
        bits.golomb()?;
        let chroma_format = bits.golomb_to(3)?;
        if chroma_format == 3 {
            bits.flag()?;
        }
        let (mut width, mut height) = (bits.golomb_to(MAX_EDGE)?, bits.golomb_to(MAX_EDGE)?);
        if bits.flag()? {
            let across = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
            let down = if chroma_format == 1 { 2 } else { 1 };
            let mut crop = |edge: u32, unit: u32| {
                let both = bits.golomb()?.checked_add(bits.golomb()?)?;
                edge.checked_sub(both.checked_mul(unit)?)
            };
            width = crop(width, across)?;
            height = crop(height, down)?;
        }
        let depths = (bits.golomb_to(8)?, bits.golomb_to(8)?);
        let usability = usability(&mut bits, more_layers).unwrap_or_default();
        let narrow = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
        Some(Self {
            general,
            sub_layers: narrow(more_layers).saturating_add(1),
            is_nested,
            width,
            height,
            depths: (narrow(depths.0), narrow(depths.1)),
            fps_millis: usability.fps_millis,
            picture: Picture {
                chroma_format: narrow(chroma_format),
                bit_depth: narrow(depths.0.max(depths.1)).saturating_add(8),
                sample_aspect: Picture::plausible(usability.aspect),
                is_interlaced: is_interlaced || usability.has_fields,
                colour: usability.colour,
            },
        })
    }

    /// An `hvcC` record up to the number of its arrays.
    pub(super) fn record_head(&self, nal_length_bytes: u8) -> Vec<u8> {
        let mut head = vec![1];
        head.extend(self.general);
        // Segmentation and parallelism are not told.
        head.extend([0xf0, 0, 0xfc, 0xfc | self.picture.chroma_format]);
        head.extend([0xf8 | self.depths.0, 0xf8 | self.depths.1, 0, 0]);
        let nested = u8::from(self.is_nested) << 2;
        head.push(self.sub_layers << 3 | nested | nal_length_bytes.saturating_sub(1));
        head
    }
}

/// Skips `profile_tier_level`; whether the source was interlaced.
fn profile_tier_level(bits: &mut Bits<'_>, more_layers: u32) -> Option<bool> {
    bits.skip(2 + 1 + 5 + 32)?;
    let (is_progressive, is_interlaced) = (bits.flag()?, bits.flag()?);
    bits.skip(46 + 8)?;
    let mut present = Vec::new();
    for _ in 0..more_layers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if more_layers > 0 {
        bits.skip(8u32.saturating_sub(more_layers).saturating_mul(2))?;
    }
    for (has_profile, has_level) in present {
        bits.skip(if has_profile { 88 } else { 0 })?;
        bits.skip(if has_level { 8 } else { 0 })?;
    }
    Some(is_interlaced && !is_progressive)
}

/// Reads on behind the bit depths, up to the timing.
fn usability(bits: &mut Bits<'_>, more_layers: u32) -> Option<Usability> {
    let order_bits = bits.golomb_to(12)?.saturating_add(4);
    let layers = if bits.flag()? { more_layers } else { 0 };
    bits.skip_golombs(layers.saturating_add(1).saturating_mul(3))?;
    // Sizes of blocks, and depths of their trees.
    bits.skip_golombs(4 + 2)?;
    if bits.flag()? && bits.flag()? {
        scaling_lists(bits)?;
    }
    bits.skip(2)?;
    if bits.flag()? {
        bits.skip(8)?;
        bits.skip_golombs(2)?;
        bits.skip(1)?;
    }
    reference_sets(bits)?;
    if bits.flag()? {
        for _ in 0..bits.golomb_to(MAX_LONG_TERM)? {
            bits.skip(order_bits.saturating_add(1))?;
        }
    }
    bits.skip(2)?;
    if !bits.flag()? {
        return Some(Usability::default());
    }
    vui(bits)
}

fn scaling_lists(bits: &mut Bits<'_>) -> Option<()> {
    for size in 0..4u32 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if bits.flag()? {
                let coefficients = 16u32.checked_shl(size.saturating_mul(2))?.min(64);
                bits.skip_golombs(coefficients.saturating_add(u32::from(size > 1)))?;
            } else {
                bits.golomb()?;
            }
        }
    }
    Some(())
}

/// Skips the short-term reference picture sets; one may be told as a difference from the one before it.
fn reference_sets(bits: &mut Bits<'_>) -> Option<()> {
    let mut pictures = 0u32;
    for index in 0..bits.golomb_to(MAX_SETS)? {
        if index > 0 && bits.flag()? {
            bits.skip(1)?;
            bits.golomb()?;
            let mut kept = 0u32;
            for _ in 0..=pictures {
                let is_used = bits.flag()?;
                kept = kept.saturating_add(u32::from(is_used || bits.flag()?));
            }
            pictures = kept;
        } else {
            let (before, after) = (
                bits.golomb_to(MAX_REFERENCES)?,
                bits.golomb_to(MAX_REFERENCES)?,
            );
            pictures = before.saturating_add(after);
            for _ in 0..pictures {
                bits.golomb()?;
                bits.skip(1)?;
            }
        }
    }
    Some(())
}

/// Video usability information, up to the timing.
fn vui(bits: &mut Bits<'_>) -> Option<Usability> {
    let mut usability = Usability::default();
    if bits.flag()? {
        usability.aspect = match bits.take(8)? {
            ASPECT_IN_NUMBERS => {
                let (width, height) = (bits.take(16)?, bits.take(16)?);
                u16::try_from(width).ok().zip(u16::try_from(height).ok())
            }
            index => {
                let index = usize::try_from(index).ok()?;
                index.checked_sub(1).and_then(|at| ASPECTS.get(at)).copied()
            }
        };
    }
    if bits.flag()? {
        bits.skip(1)?;
    }
    if bits.flag()? {
        bits.skip(4)?;
        if bits.flag()? {
            let mut byte = || bits.take(8).and_then(|value| u8::try_from(value).ok());
            usability.colour = Colour {
                primaries: byte()?,
                transfer: byte()?,
                matrix: byte()?,
            };
        }
    }
    if bits.flag()? {
        bits.skip_golombs(2)?;
    }
    bits.skip(1)?;
    usability.has_fields = bits.flag()?;
    bits.skip(1)?;
    // What is missing from here on takes nothing from what was read.
    usability.fps_millis = timing(bits);
    Some(usability)
}

fn timing(bits: &mut Bits<'_>) -> Option<u32> {
    if bits.flag()? {
        bits.skip_golombs(4)?;
    }
    if !bits.flag()? {
        return None;
    }
    let (units, scale) = (bits.take(32)?, bits.take(32)?);
    let millihertz = u64::from(scale).saturating_mul(1000);
    video::frame_rate(millihertz.checked_div(u64::from(units))?)
}
