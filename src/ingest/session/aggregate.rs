//! Aggregate messages: FLV tags in one message, whose timestamps count from the first.
//!
//! Read: Adobe RTMP 1.0 §7.1.6.

use bytes::{Buf, Bytes};

use crate::ingest::chunk::Message;

/// An aggregate message being taken apart.
pub(super) struct Aggregate {
    rest: Bytes,
    stream_id: u32,
    timestamp: u32,
    first: Option<u32>,
}

impl Aggregate {
    pub(super) fn new(message: Message) -> Self {
        let Message {
            body,
            stream_id,
            timestamp,
            ..
        } = message;
        Self {
            rest: body,
            stream_id,
            timestamp,
            first: None,
        }
    }

    /// The next tag; a cut tag ends the message.
    pub(super) fn next(&mut self) -> Option<Message> {
        let kind = self.rest.try_get_u8().ok()?;
        let length = usize::try_from(self.rest.try_get_uint(3).ok()?).ok()?;
        let low = u32::try_from(self.rest.try_get_uint(3).ok()?).ok()?;
        let time = u32::from(self.rest.try_get_u8().ok()?) << 24 | low;
        self.rest.try_get_uint(3).ok()?;
        if self.rest.len() < length {
            return None;
        }
        let body = self.rest.split_to(length);
        // The tag's own size follows it; the last one may be missing.
        self.rest.advance(self.rest.len().min(4));
        let since_first = time.wrapping_sub(*self.first.get_or_insert(time));
        let timestamp = self.timestamp.wrapping_add(since_first);
        Some(Message {
            kind,
            stream_id: self.stream_id,
            timestamp,
            body,
        })
    }
}
