//! The RTMP session of one publisher.
//!
//! In:  bytes from the encoder, and the gate's answer. Out: [`Event`]s, and bytes for the encoder
//! ([`Session::take_outgoing`]). A pure state machine: the driver owns socket, clock and deadlines.
//! Not here: FLV inside audio and video messages (`flv`), who may publish (`gate`), playing.
//! Read: Adobe RTMP 1.0 §5 to §7, Enhanced RTMP v2.
//!
//! This folder is the only place that knows `rml_rtmp`: its handshake here, its serialisers in
//! `wire`. Reading is ours because its readers can be crashed before authentication.

mod aggregate;
mod commands;
mod data;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::messages::{RtmpMessage, UserControlEventType};
use rml_rtmp::time::RtmpTimestamp;

use self::aggregate::Aggregate;
use self::wire::Wire;
use super::chunk::{self, ChunkReader, Message, kind};
use super::gate::{PublishRequest, Refusal};
use super::media_queue::Metadata;

/// Commands taken before publishing; encoders send five.
pub const MAX_COMMANDS_BEFORE_PUBLISH: usize = 64;
/// Streams one connection may create; encoders create one.
pub const MAX_STREAMS: u32 = 8;
/// Pause between pings, in the middle of the customary 10 to 30 s.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);

/// C0, C1 and C2.
const HANDSHAKE_BYTES: usize = 1 + 1536 + 1536;
/// The window asked of the encoder, and used towards it until it asks for another.
const WINDOW_BYTES: u32 = 2_500_000;

/// What a publisher does.
#[derive(Debug)]
pub enum Event {
    /// It wants to publish: answer with [`Session::accept`] or [`Session::refuse`]. Until then
    /// nothing more is read.
    Publish(PublishRequest),
    /// An audio message: an FLV tag body.
    Audio {
        /// Milliseconds, modulo 2^32.
        timestamp: u32,
        /// The tag body.
        body: Bytes,
    },
    /// A video message: an FLV tag body.
    Video {
        /// Milliseconds, modulo 2^32.
        timestamp: u32,
        /// The tag body.
        body: Bytes,
    },
    /// `onMetaData`.
    Metadata(Metadata),
    /// Words for those who watch.
    Text(String),
    /// It has stopped publishing, orderly. Nothing more is read.
    Unpublished,
}

/// Why a session cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first byte is no RTMP version.
    #[error("not RTMP: the first byte is {0:#04x}")]
    NotRtmp(u8),
    /// RTMPE and its kin.
    #[error("encrypted RTMP (RTMPE) is not supported, use RTMPS")]
    Encrypted,
    /// The handshake went wrong.
    #[error("handshake: {0}")]
    Handshake(String),
    /// The chunk stream is broken or beyond a limit.
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    /// A flood of commands.
    #[error("more than {MAX_COMMANDS_BEFORE_PUBLISH} commands before publishing")]
    TooManyCommands,
    /// A flood of createStream.
    #[error("more than {MAX_STREAMS} streams")]
    TooManyStreams,
    /// `publish` came before `connect`.
    #[error("publish without connect")]
    NotConnected,
    /// A player.
    #[error("this port takes publishers only")]
    Playing,
    /// A reply could not be written.
    #[error("writing a reply: {0}")]
    Write(String),
}

/// One publisher's session.
pub struct Session {
    remote: SocketAddr,
    phase: Phase,
    reader: ChunkReader,
    wire: Wire,
    connect: Option<commands::Connect>,
    streams: u32,
    commands_left: usize,
    aggregate: Option<Aggregate>,
    /// Bytes received after the handshake, modulo 2^32, and how many of them were acknowledged.
    received: u32,
    acknowledged: u32,
    ack_window: u32,
    next_ping: Duration,
}

enum Phase {
    Handshake {
        handshake: Box<Handshake>,
        bytes_left: usize,
    },
    Open,
    Asked {
        stream_id: u32,
    },
    Publishing {
        stream_id: u32,
    },
    Over,
}

impl std::fmt::Debug for Session {
    /// No more than this: the rest holds keys and tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = match self.phase {
            Phase::Handshake { .. } => "handshake",
            Phase::Open => "open",
            Phase::Asked { .. } => "asked",
            Phase::Publishing { .. } => "publishing",
            Phase::Over => "over",
        };
        let mut shown = f.debug_struct("Session");
        shown.field("remote", &self.remote).field("phase", &phase);
        shown.finish_non_exhaustive()
    }
}

impl Session {
    /// A session waiting for C0.
    pub fn new(remote: SocketAddr) -> Self {
        let handshake = Box::new(Handshake::new(PeerType::Server));
        Self {
            remote,
            phase: Phase::Handshake {
                handshake,
                bytes_left: HANDSHAKE_BYTES,
            },
            reader: ChunkReader::new(),
            wire: Wire::new(),
            connect: None,
            streams: 0,
            commands_left: MAX_COMMANDS_BEFORE_PUBLISH,
            aggregate: None,
            received: 0,
            acknowledged: 0,
            ack_window: WINDOW_BYTES,
            next_ping: PING_INTERVAL,
        }
    }

    /// A session whose handshake is done, for benches and fuzz targets.
    pub fn new_after_handshake(remote: SocketAddr) -> Self {
        Self {
            phase: Phase::Open,
            ..Self::new(remote)
        }
    }

    /// Whether the handshake is done.
    pub fn has_shaken_hands(&self) -> bool {
        !matches!(self.phase, Phase::Handshake { .. })
    }

    /// Takes the next event off `input`; `None` when more bytes (or the gate's answer) are needed.
    /// There may be bytes to send after each call, also after an error.
    pub fn poll(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Error> {
        self.shake_hands(input)?;
        while matches!(self.phase, Phase::Open | Phase::Publishing { .. }) {
            if let Some(message) = self.next_of_aggregate() {
                if let Some(event) = self.media(message) {
                    return Ok(Some(event));
                }
                continue;
            }
            let before = input.len();
            let message = self.reader.read(input)?;
            self.acknowledge(before.saturating_sub(input.len()))?;
            let Some(message) = message else { break };
            if let Some(event) = self.handle(message)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Bytes for the encoder that were not taken yet.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        self.wire.take()
    }

    /// Lets the publisher start.
    pub fn accept(&mut self) -> Result<(), Error> {
        let Phase::Asked { stream_id } = self.phase else {
            return Ok(());
        };
        self.phase = Phase::Publishing { stream_id };
        self.reader.allow_media();
        self.wire.stream_begin(stream_id)?;
        self.wire
            .status(stream_id, "status", "NetStream.Publish.Start", "publishing")
    }

    /// Tells the publisher to go, before it starts or later. The driver then closes.
    pub fn refuse(&mut self, refusal: &Refusal) -> Result<(), Error> {
        let stream_id = self.stream_id();
        self.phase = Phase::Over;
        self.wire.status(
            stream_id,
            "error",
            refusal.code.as_str(),
            &refusal.description,
        )
    }

    /// Tells the publisher that the server is stopping and that it should come back.
    pub fn stop(&mut self) -> Result<(), Error> {
        let Some(connect) = &self.connect else {
            return Ok(());
        };
        let code = if connect.can_reconnect {
            "NetConnection.Connect.ReconnectRequest"
        } else {
            "NetConnection.Connect.Closed"
        };
        self.phase = Phase::Over;
        self.wire
            .status(0, "status", code, "the server is stopping")
    }

    /// Sends a ping when it is time for one. `now` is the age of the session.
    pub fn tick(&mut self, now: Duration) -> Result<(), Error> {
        if now < self.next_ping || !self.has_shaken_hands() {
            return Ok(());
        }
        self.next_ping = now.saturating_add(PING_INTERVAL);
        let millis = u32::try_from(now.as_millis() & u128::from(u32::MAX)).unwrap_or(0);
        self.wire.ping(
            UserControlEventType::PingRequest,
            RtmpTimestamp::new(millis),
        )
    }

    fn shake_hands(&mut self, input: &mut BytesMut) -> Result<(), Error> {
        let Phase::Handshake {
            handshake,
            bytes_left,
        } = &mut self.phase
        else {
            return Ok(());
        };
        match input.first() {
            None => return Ok(()),
            Some(6 | 8) if *bytes_left == HANDSHAKE_BYTES => return Err(Error::Encrypted),
            Some(&version) if *bytes_left == HANDSHAKE_BYTES && version != 3 => {
                return Err(Error::NotRtmp(version));
            }
            Some(_) => {}
        }
        let taken = input.split_to(input.len().min(*bytes_left));
        *bytes_left = bytes_left.saturating_sub(taken.len());
        match handshake
            .process_bytes(&taken)
            .map_err(|e| Error::Handshake(e.to_string()))?
        {
            HandshakeProcessResult::InProgress { response_bytes } => self.wire.raw(&response_bytes),
            HandshakeProcessResult::Completed { response_bytes, .. } => {
                self.wire.raw(&response_bytes);
                self.phase = Phase::Open;
            }
        }
        Ok(())
    }

    /// Counts received bytes; acknowledges with the running total once per window.
    fn acknowledge(&mut self, taken: usize) -> Result<(), Error> {
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        self.received = self.received.wrapping_add(taken);
        if self.received.wrapping_sub(self.acknowledged) < self.ack_window {
            return Ok(());
        }
        self.acknowledged = self.received;
        self.wire.control(RtmpMessage::Acknowledgement {
            sequence_number: self.received,
        })
    }

    fn handle(&mut self, message: Message) -> Result<Option<Event>, Error> {
        match message.kind {
            kind::COMMAND_AMF0 | kind::COMMAND_AMF3 => self.command(&message),
            kind::USER_CONTROL => self.user_control(&message.body).map(|()| None),
            kind::WINDOW_ACK_SIZE => {
                let window = message.body.as_ref().try_get_u32().unwrap_or(WINDOW_BYTES);
                self.ack_window = window.clamp(4096, 1 << 30);
                Ok(None)
            }
            kind::AGGREGATE => {
                self.aggregate = Some(Aggregate::new(message));
                Ok(None)
            }
            _ => Ok(self.media(message)),
        }
    }

    /// Audio, video and data count only while publishing; everything else is ignored.
    fn media(&mut self, message: Message) -> Option<Event> {
        if !matches!(self.phase, Phase::Publishing { .. }) {
            return None;
        }
        let Message {
            kind,
            timestamp,
            body,
            ..
        } = message;
        match kind {
            kind::AUDIO => Some(Event::Audio { timestamp, body }),
            kind::VIDEO => Some(Event::Video { timestamp, body }),
            kind::DATA_AMF0 | kind::DATA_AMF3 => data::read(kind, &body),
            _ => None,
        }
    }

    fn next_of_aggregate(&mut self) -> Option<Message> {
        let message = self.aggregate.as_mut()?.next();
        if message.is_none() {
            self.aggregate = None;
        }
        message
    }

    fn user_control(&mut self, mut body: &[u8]) -> Result<(), Error> {
        const PING_REQUEST: u16 = 6;
        let (event, value) = (body.try_get_u16(), body.try_get_u32());
        if let (Ok(PING_REQUEST), Ok(value)) = (event, value) {
            self.wire.ping(
                UserControlEventType::PingResponse,
                RtmpTimestamp::new(value),
            )?;
        }
        Ok(())
    }

    /// The message stream that statuses go to.
    fn stream_id(&self) -> u32 {
        match self.phase {
            Phase::Asked { stream_id } | Phase::Publishing { stream_id } => stream_id,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
