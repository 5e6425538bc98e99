//! What a codec's headers say of its pictures.
//!
//! In:  facts that the codecs read. Out: [`Picture`]. Oddities are facts here, never errors.
//! Read: ITU-T H.273 for colours.

/// Aspect ratios of pixels beyond this are taken for garbage.
const MAX_ASPECT: u16 = 8;
/// `TransferCharacteristics` of PQ and HLG.
const HIGH_DYNAMIC_RANGE: [u8; 2] = [16, 18];

/// Facts about the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Of luma or chroma, whichever is deeper.
    pub bit_depth: u8,
    /// Shape of a pixel, width to height; (1, 1) if not said or absurd.
    pub sample_aspect: (u16, u16),
    /// Whether frames may be coded as two fields.
    pub is_interlaced: bool,
    /// As signalled.
    pub colour: Colour,
}

/// Colours as ITU-T H.273 numbers them; 2 is unspecified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// `ColourPrimaries`.
    pub primaries: u8,
    /// `TransferCharacteristics`.
    pub transfer: u8,
    /// `MatrixCoefficients`.
    pub matrix: u8,
}

impl Default for Colour {
    fn default() -> Self {
        let (primaries, transfer, matrix) = (2, 2, 2);
        Self {
            primaries,
            transfer,
            matrix,
        }
    }
}

impl Colour {
    /// Whether it is brighter than players of the usual range can show.
    pub fn is_hdr(self) -> bool {
        HIGH_DYNAMIC_RANGE.contains(&self.transfer)
    }
}

impl Picture {
    /// `aspect` if pixels can have that shape, else square.
    pub(super) fn plausible(aspect: Option<(u16, u16)>) -> (u16, u16) {
        let is_plausible = |(width, height): &(u16, u16)| {
            let (low, high) = (width.min(height), width.max(height));
            *low > 0 && *high <= low.saturating_mul(MAX_ASPECT)
        };
        aspect.filter(is_plausible).unwrap_or((1, 1))
    }

    /// Whether they are shown as they are meant wherever `most_bits` are: 4:2:0, square pixels, no fields.
    pub(super) fn is_plain(&self, most_bits: u8) -> bool {
        let (width, height) = self.sample_aspect;
        let is_deep = self.bit_depth > most_bits;
        self.chroma_format == 1 && !is_deep && width == height && !self.is_interlaced
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        let chroma = match self.chroma_format {
            0 => "monochrome",
            1 => "4:2:0",
            2 => "4:2:2",
            3 => "4:4:4",
            _ => "unknown chroma",
        };
        let mut words = format!("{chroma}, {} bit", self.bit_depth);
        if self.is_interlaced {
            words.push_str(", interlaced");
        }
        let (width, height) = self.sample_aspect;
        if width != height {
            let aspect = format!(", pixels of {width}:{height}");
            words.push_str(&aspect);
        }
        words
    }
}
