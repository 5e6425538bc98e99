//! What the server says, as chunks: a thin layer over `rml_rtmp`'s serialisers.
//!
//! In:  replies. Out: bytes. Every message is one type 0 chunk, which all encoders understand: the
//! chunk size is raised before anything is longer than the initial 128 bytes.

use std::collections::HashMap;

use rml_amf0::Amf0Value;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::{PeerBandwidthLimitType, RtmpMessage, UserControlEventType};
use rml_rtmp::time::RtmpTimestamp;

use super::{Error, WINDOW_BYTES};

const CHUNK_BYTES: u32 = 4096;
/// Longest description in a status, so that every message fits one chunk.
const MAX_DESCRIPTION_CHARS: usize = 500;

/// Bytes on their way to the encoder.
pub(super) struct Wire {
    serializer: ChunkSerializer,
    outgoing: Vec<u8>,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self {
            serializer: ChunkSerializer::new(),
            outgoing: Vec::new(),
        }
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// What precedes the answer to `connect`: windows and our chunk size.
    pub(super) fn greeting(&mut self) -> Result<(), Error> {
        self.control(RtmpMessage::WindowAcknowledgement { size: WINDOW_BYTES })?;
        self.control(RtmpMessage::SetPeerBandwidth {
            size: WINDOW_BYTES,
            limit_type: PeerBandwidthLimitType::Dynamic,
        })?;
        let packet = self
            .serializer
            .set_max_chunk_size(CHUNK_BYTES, RtmpTimestamp::new(0))
            .map_err(|e| Error::Write(e.to_string()))?;
        self.raw(&packet.bytes);
        Ok(())
    }

    /// A protocol control message.
    pub(super) fn control(&mut self, message: RtmpMessage) -> Result<(), Error> {
        self.send(message, 0)
    }

    /// A ping or its answer.
    pub(super) fn ping(
        &mut self,
        event_type: UserControlEventType,
        timestamp: RtmpTimestamp,
    ) -> Result<(), Error> {
        let timestamp = Some(timestamp);
        self.control(RtmpMessage::UserControl {
            event_type,
            stream_id: None,
            buffer_length: None,
            timestamp,
        })
    }

    /// "The stream is there": FMLE-like encoders wait for it.
    pub(super) fn stream_begin(&mut self, stream_id: u32) -> Result<(), Error> {
        self.control(RtmpMessage::UserControl {
            event_type: UserControlEventType::StreamBegin,
            stream_id: Some(stream_id),
            buffer_length: None,
            timestamp: None,
        })
    }

    /// `onStatus`.
    pub(super) fn status(
        &mut self,
        stream_id: u32,
        level: &str,
        code: &str,
        description: &str,
    ) -> Result<(), Error> {
        let description: String = description.chars().take(MAX_DESCRIPTION_CHARS).collect();
        let information = object([
            ("level", text(level)),
            ("code", text(code)),
            ("description", text(&description)),
        ]);
        let command = command("onStatus", 0.0, Amf0Value::Null, vec![information]);
        self.send(command, stream_id)
    }

    /// A command on the control stream, usually an answer.
    pub(super) fn command(
        &mut self,
        name: &str,
        transaction: f64,
        object: Amf0Value,
        argument: Amf0Value,
    ) -> Result<(), Error> {
        self.send(command(name, transaction, object, vec![argument]), 0)
    }

    fn send(&mut self, message: RtmpMessage, stream_id: u32) -> Result<(), Error> {
        let payload = message
            .into_message_payload(RtmpTimestamp::new(0), stream_id)
            .map_err(|e| Error::Write(e.to_string()))?;
        let packet = self
            .serializer
            .serialize(&payload, true, false)
            .map_err(|e| Error::Write(e.to_string()))?;
        self.raw(&packet.bytes);
        Ok(())
    }
}

fn command(
    name: &str,
    transaction: f64,
    object: Amf0Value,
    arguments: Vec<Amf0Value>,
) -> RtmpMessage {
    RtmpMessage::Amf0Command {
        command_name: name.to_owned(),
        transaction_id: transaction,
        command_object: object,
        additional_arguments: arguments,
    }
}

/// An AMF0 object.
pub(super) fn object<const N: usize>(properties: [(&str, Amf0Value); N]) -> Amf0Value {
    let named = properties
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Amf0Value::Object(named.collect::<HashMap<_, _>>())
}

/// An AMF0 string.
pub(super) fn text(value: &str) -> Amf0Value {
    Amf0Value::Utf8String(value.to_owned())
}
