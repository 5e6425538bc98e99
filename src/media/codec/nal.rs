//! NAL units with length prefixes, as FLV and MP4 carry those of H.264 and HEVC.
//!
//! In:  an access unit. Out: its units. Not here: what is in them.

use super::Error;

/// The NAL units of an access unit whose length prefixes have `prefix_bytes`; empty ones are skipped, the first
/// impossible length ends the walk with an error.
pub fn units(
    access_unit: &[u8],
    prefix_bytes: u8,
) -> impl Iterator<Item = Result<&[u8], Error>> + use<'_> {
    let prefix_bytes = usize::from(prefix_bytes);
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

/// Takes a configuration record apart from the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).and_then(|bytes| bytes.first().copied())
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let (high, low) = (self.byte()?, self.byte()?);
        Some(u16::from_be_bytes([high, low]))
    }

    /// Bytes behind their length of 16 bits.
    pub(super) fn parameter_set(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}
