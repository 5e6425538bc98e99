//! RTMP chunks become messages.
//!
//! In:  bytes after the handshake, in any slices. Out: whole [`Message`]s in the order in which
//! they were completed; a large one that lay in a single chunk of the input shares its memory.
//! Not here: what messages mean, except Set Chunk Size and Abort, which steer this reader.
//! Read: Adobe RTMP 1.0 §5.3 and §5.4.
//!
//! Bounds: 64 chunk streams; a message's size by kind; the sum of unfinished messages. Memory is
//! taken as data arrives, at most four times of it.

mod header;

use bytes::{Buf, Bytes, BytesMut};

use self::header::{Header, skip_repeated_extended};

/// Most chunk streams of one connection; encoders use three to five.
pub const MAX_CHUNK_STREAMS: usize = 64;
/// Longest message that is not media, and longest of any kind before publishing.
pub const MAX_CONTROL_BYTES: usize = 64 * 1024;
/// Longest audio, video or aggregate message: what the 24-bit length can say.
pub const MAX_MEDIA_BYTES: usize = 16 * 1024 * 1024;
/// Most bytes held for unfinished messages before publishing.
pub const MAX_BUFFERED_BEFORE_PUBLISH: usize = 256 * 1024;
/// Most bytes held for unfinished messages while publishing.
pub const MAX_BUFFERED: usize = 2 * MAX_MEDIA_BYTES;

/// Shorter messages are copied: a sample that is kept must not keep a whole read buffer.
const MIN_SHARED_BYTES: usize = 4096;
/// First allocation for a message that spans chunks.
const FIRST_ALLOCATION: usize = 4096;
/// Above this, nobody repeats a type 0 chunk's timestamp as the distance to the next message.
const MAX_REPEATED_TIMESTAMP: u32 = 10_000;

/// Message type ids (Adobe RTMP 1.0 §5.4, §7.1).
pub mod kind {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message.
    pub const ABORT: u8 = 2;
    /// User Control.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data in AMF3 clothing.
    pub const DATA_AMF3: u8 = 15;
    /// Command in AMF3 clothing.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data.
    pub const DATA_AMF0: u8 = 18;
    /// Command.
    pub const COMMAND_AMF0: u8 = 20;
    /// Aggregate: FLV tags in one message.
    pub const AGGREGATE: u8 = 22;
}

/// One RTMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Message type id, see [`kind`].
    pub kind: u8,
    /// Message stream id.
    pub stream_id: u32,
    /// Milliseconds, modulo 2^32.
    pub timestamp: u32,
    /// The payload.
    pub body: Bytes,
}

/// Why a chunk stream cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More chunk streams than any encoder needs.
    #[error("more than {MAX_CHUNK_STREAMS} chunk streams")]
    TooManyChunkStreams,
    /// A message longer than its kind may be at this point.
    #[error("message of type {kind} with {length} bytes, at most {limit} are taken now")]
    MessageTooLong {
        /// Message type id.
        kind: u8,
        /// The length it declares.
        length: usize,
        /// The limit that holds now.
        limit: usize,
    },
    /// Too much in unfinished messages.
    #[error("unfinished messages hold more than {limit} bytes")]
    TooMuchBuffered {
        /// The limit that holds now.
        limit: usize,
    },
    /// Set Chunk Size outside 1 to 2^31 - 1, or cut short.
    #[error("impossible chunk size")]
    ChunkSize,
}

/// Reads one peer's chunks.
#[derive(Debug)]
pub struct ChunkReader {
    streams: Vec<ChunkStream>,
    chunk_size: usize,
    /// Index into `streams` and bytes left of the chunk being read.
    open_chunk: Option<(usize, usize)>,
    buffered: usize,
    max_media: usize,
    max_buffered: usize,
}

/// What later headers of one chunk stream may leave out, and its unfinished message.
#[derive(Debug, Default)]
struct ChunkStream {
    id: u32,
    timestamp: u32,
    delta: u32,
    /// The last extended timestamp field, if the last type 0, 1 or 2 header had one.
    extended: Option<u32>,
    length: usize,
    kind: u8,
    stream_id: u32,
    is_partial: bool,
    partial: Vec<u8>,
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self {
            streams: Vec::with_capacity(4),
            chunk_size: 128,
            open_chunk: None,
            buffered: 0,
            max_media: MAX_CONTROL_BYTES,
            max_buffered: MAX_BUFFERED_BEFORE_PUBLISH,
        }
    }
}

impl ChunkReader {
    /// A reader with the limits that hold before publishing.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on media messages may have their full size.
    pub fn allow_media(&mut self) {
        self.max_media = MAX_MEDIA_BYTES;
        self.max_buffered = MAX_BUFFERED;
    }

    /// Bytes held for unfinished messages.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Takes the next message off `input`; `None` when more bytes are needed. After an error the
    /// position in the stream is lost: close the connection.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            let open = match self.open_chunk.take() {
                None => self.start_chunk(input)?,
                open => open,
            };
            let Some((index, left)) = open else {
                return Ok(None);
            };
            let Some(body) = self.read_payload(index, left, input)? else {
                if self.open_chunk.is_some() {
                    return Ok(None);
                }
                continue;
            };
            let Some(stream) = self.streams.get_mut(index) else {
                return Ok(None);
            };
            stream.is_partial = false;
            let message = Message {
                kind: stream.kind,
                stream_id: stream.stream_id,
                timestamp: stream.timestamp,
                body,
            };
            match message.kind {
                kind::SET_CHUNK_SIZE => self.set_chunk_size(&message.body)?,
                kind::ABORT => self.abort(&message.body),
                _ => return Ok(Some(message)),
            }
        }
    }

    /// Reads a chunk header; gives the stream's index and the chunk's payload size.
    fn start_chunk(&mut self, input: &mut BytesMut) -> Result<Option<(usize, usize)>, Error> {
        let mut rest = &input[..];
        let Some(header) = Header::parse(&mut rest) else {
            return Ok(None);
        };
        let known = self
            .streams
            .iter()
            .position(|s| s.id == header.chunk_stream_id);
        let extended = known.and_then(|i| self.streams.get(i)?.extended);
        if header.format == 3 && skip_repeated_extended(&mut rest, extended).is_none() {
            return Ok(None);
        }
        let header_bytes = input.len().saturating_sub(rest.len());
        let index = known.map_or_else(|| self.add_stream(header.chunk_stream_id), Ok)?;
        let Some(stream) = self.streams.get_mut(index) else {
            return Ok(None);
        };
        self.buffered = self.buffered.saturating_sub(stream.apply(&header));
        let limit = match stream.kind {
            kind::AUDIO | kind::VIDEO | kind::AGGREGATE => self.max_media,
            _ => MAX_CONTROL_BYTES,
        };
        if stream.length > limit {
            let (kind, length) = (stream.kind, stream.length);
            return Err(Error::MessageTooLong {
                kind,
                length,
                limit,
            });
        }
        input.advance(header_bytes);
        let left = stream.length.saturating_sub(stream.partial.len());
        Ok(Some((index, left.min(self.chunk_size))))
    }

    fn add_stream(&mut self, id: u32) -> Result<usize, Error> {
        if self.streams.len() >= MAX_CHUNK_STREAMS {
            return Err(Error::TooManyChunkStreams);
        }
        self.streams.push(ChunkStream {
            id,
            ..ChunkStream::default()
        });
        Ok(self.streams.len().saturating_sub(1))
    }

    /// Takes what `input` has of a chunk's payload; gives the body if that finishes the message.
    fn read_payload(
        &mut self,
        index: usize,
        left: usize,
        input: &mut BytesMut,
    ) -> Result<Option<Bytes>, Error> {
        let Some(stream) = self.streams.get_mut(index) else {
            return Ok(None);
        };
        if stream.partial.is_empty() && left == stream.length && input.len() >= left {
            let body = input.split_to(left);
            let is_short = left < MIN_SHARED_BYTES;
            return Ok(Some(if is_short {
                Bytes::copy_from_slice(&body)
            } else {
                body.freeze()
            }));
        }
        let taken = left.min(input.len());
        let have = stream.partial.len().saturating_add(taken);
        let capacity_before = stream.partial.capacity();
        if have > capacity_before {
            let wanted = have
                .saturating_mul(4)
                .max(FIRST_ALLOCATION)
                .min(stream.length);
            let missing = wanted.saturating_sub(stream.partial.len());
            stream.partial.reserve_exact(missing);
        }
        stream.partial.extend_from_slice(&input.split_to(taken));
        let grown = stream.partial.capacity().saturating_sub(capacity_before);
        self.buffered = self.buffered.saturating_add(grown);
        if self.buffered > self.max_buffered {
            return Err(Error::TooMuchBuffered {
                limit: self.max_buffered,
            });
        }
        if have == stream.length {
            self.buffered = self.buffered.saturating_sub(stream.partial.capacity());
            return Ok(Some(std::mem::take(&mut stream.partial).into()));
        }
        if taken < left {
            self.open_chunk = Some((index, left.saturating_sub(taken)));
        }
        Ok(None)
    }

    fn set_chunk_size(&mut self, mut body: &[u8]) -> Result<(), Error> {
        let size = body.try_get_u32().map_err(|_| Error::ChunkSize)?;
        match usize::try_from(size) {
            Ok(size) if (1..=0x7FFF_FFFF).contains(&size) => self.chunk_size = size,
            _ => return Err(Error::ChunkSize),
        }
        Ok(())
    }

    /// Forgets the unfinished message of the chunk stream named in `body`.
    fn abort(&mut self, mut body: &[u8]) {
        let Ok(id) = body.try_get_u32() else { return };
        if let Some(stream) = self.streams.iter_mut().find(|s| s.id == id) {
            self.buffered = self.buffered.saturating_sub(stream.forget_partial());
        }
    }
}

impl ChunkStream {
    /// Takes over a header: it continues the unfinished message or starts one. Gives the bytes
    /// freed by dropping an unfinished message which the header contradicts.
    fn apply(&mut self, header: &Header) -> usize {
        if self.is_partial {
            // Continuations should be type 3; other types are legal while they agree.
            let agrees =
                header.format >= 2 || (header.length == self.length && header.kind == self.kind);
            if agrees {
                return 0;
            }
        }
        let freed = self.forget_partial();
        match header.format {
            0 => {
                self.timestamp = header.time;
                // §5.3.1.2.4: a type 3 chunk after a type 0 chunk repeats its timestamp as delta.
                self.delta = if header.time > MAX_REPEATED_TIMESTAMP {
                    0
                } else {
                    header.time
                };
                self.stream_id = header.stream_id;
            }
            1 | 2 => {
                self.delta = header.time;
                self.timestamp = self.timestamp.wrapping_add(self.delta);
            }
            _ => self.timestamp = self.timestamp.wrapping_add(self.delta),
        }
        if header.format < 3 {
            self.extended = header.is_extended.then_some(header.time);
        }
        if header.format < 2 {
            self.length = header.length;
            self.kind = header.kind;
        }
        self.is_partial = true;
        freed
    }

    /// Drops the unfinished message; gives the bytes freed.
    fn forget_partial(&mut self) -> usize {
        self.is_partial = false;
        std::mem::take(&mut self.partial).capacity()
    }
}

#[cfg(test)]
mod tests;
