//! Bits of a configuration, the most significant first.
//!
//! In:  bytes, emulation prevention removed. Out: numbers; `None` where the bytes end too early.

/// Reads from the front.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `count` bits (at most 32).
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.position >> 3)?;
        let bit = byte << (self.position & 7) & 0x80;
        self.position = self.position.saturating_add(1);
        Some(bit != 0)
    }

    pub(super) fn skip(&mut self, count: u32) -> Option<()> {
        let count = usize::try_from(count).ok()?;
        self.position = self.position.checked_add(count)?;
        (self.position >> 3 <= self.bytes.len()).then_some(())
    }

    /// An Exp-Golomb number below 2^32, which is `ue(v)` of H.26x and `uvlc` of AV1.
    pub(super) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0u32;
        while !self.flag()? {
            zeros = zeros.saturating_add(1);
        }
        if zeros > 31 {
            return None;
        }
        let base = (1u32 << zeros).wrapping_sub(1);
        base.checked_add(self.take(zeros)?)
    }

    /// The same, if it is at most `most`.
    pub(super) fn golomb_to(&mut self, most: u32) -> Option<u32> {
        self.golomb().filter(|value| *value <= most)
    }

    /// Skips so many Exp-Golomb numbers, signed or not.
    pub(super) fn skip_golombs(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.golomb().map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_until_the_bytes_end() {
        // 101 | 1 | 010 | 00100 ... : 5, then 0, 1 and 3.
        let mut bits = Bits::new(&[0b1011_0100, 0b0100_0000]);
        assert_eq!(bits.take(3), Some(5));
        assert_eq!(bits.golomb(), Some(0));
        assert_eq!(bits.golomb(), Some(1));
        assert_eq!(bits.golomb_to(3), Some(3));
        assert_eq!(bits.golomb(), None);
        let mut bits = Bits::new(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(bits.golomb(), None, "33 zeros");
        assert_eq!(Bits::new(&[1]).skip(8), Some(()));
        assert_eq!(Bits::new(&[1]).skip(16), None);
    }
}
