//! Chunk headers: basic header, message header, extended timestamp.
//!
//! Read: Adobe RTMP 1.0 §5.3.1.

use bytes::Buf;

/// In a 24-bit timestamp field: the real value follows in 32 bits.
pub(super) const EXTENDED: u32 = 0x00FF_FFFF;
/// A chunk header as it stands in the bytes.
pub(super) struct Header {
    pub(super) chunk_stream_id: u32,
    pub(super) format: u8,
    /// Timestamp (type 0) or delta (types 1 and 2).
    pub(super) time: u32,
    pub(super) is_extended: bool,
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) stream_id: u32,
}

impl Header {
    /// Takes the basic header, message header and extended timestamp off `rest`; `None` when
    /// they are not all there. Does not look for a type 3 chunk's extended timestamp.
    pub(super) fn parse(rest: &mut &[u8]) -> Option<Self> {
        let first = rest.try_get_u8().ok()?;
        let format = first >> 6;
        let chunk_stream_id = match first & 63 {
            0 => u32::from(rest.try_get_u8().ok()?).saturating_add(64),
            1 => u32::from(rest.try_get_u16_le().ok()?).saturating_add(64),
            id => u32::from(id),
        };
        let mut header = Self {
            chunk_stream_id,
            format,
            time: 0,
            is_extended: false,
            length: 0,
            kind: 0,
            stream_id: 0,
        };
        if format < 3 {
            header.time = u24(rest)?;
        }
        if format < 2 {
            header.length = usize::try_from(u24(rest)?).ok()?;
            header.kind = rest.try_get_u8().ok()?;
        }
        if format == 0 {
            header.stream_id = rest.try_get_u32_le().ok()?;
        }
        if header.time == EXTENDED {
            header.is_extended = true;
            header.time = rest.try_get_u32().ok()?;
        }
        Some(header)
    }
}

fn u24(rest: &mut &[u8]) -> Option<u32> {
    u32::try_from(rest.try_get_uint(3).ok()?).ok()
}

/// Some senders repeat the extended timestamp in type 3 chunks (the standard's later reading),
/// others do not: the bytes are taken as one only if they equal the last one sent.
/// `None`: more bytes are needed to tell.
pub(super) fn skip_repeated_extended(rest: &mut &[u8], extended: Option<u32>) -> Option<()> {
    let Some(extended) = extended.map(u32::to_be_bytes) else {
        return Some(());
    };
    if let Some(after) = rest.strip_prefix(&extended) {
        *rest = after;
        return Some(());
    }
    let is_undecided = rest.len() < extended.len() && extended.starts_with(rest);
    (!is_undecided).then_some(())
}
