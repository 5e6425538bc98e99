//! The commands of a publisher, and the answers that keep every encoder content.
//!
//! In:  AMF0 payloads. Out: replies on the wire, and the two events that matter: somebody wants to
//! publish, somebody has stopped. A payload that cannot be read is ignored.

use rml_amf0::Amf0Value;

use super::wire::{object, text};
use super::{Error, Event, MAX_STREAMS, Phase, Session};
use crate::ingest::amf0::{self, Value};
use crate::ingest::chunk::{Message, kind};
use crate::ingest::gate::{PublishRequest, StreamKeyText};
use crate::ingest::stream_name;

/// `capsEx` of Enhanced RTMP: the peer follows a reconnect request.
const CAPS_RECONNECT: u32 = 1;
/// `capsEx`: `ModEx` packets are understood.
const CAPS_MOD_EX: f64 = 4.0;
/// `FourCcInfoMask`: a codec is decoded, and forwarded, too.
const CAN_DECODE: f64 = 1.0;
const CAN_FORWARD_TOO: f64 = 5.0;
/// What is taken, and what becomes of it.
const VIDEO_CODECS: [(&str, f64); 4] = [
    ("avc1", CAN_FORWARD_TOO),
    ("hvc1", CAN_FORWARD_TOO),
    ("av01", CAN_FORWARD_TOO),
    ("vp09", CAN_DECODE),
];
const AUDIO_CODECS: [(&str, f64); 4] = [
    ("mp4a", CAN_FORWARD_TOO),
    ("Opus", CAN_DECODE),
    ("fLaC", CAN_DECODE),
    (".mp3", CAN_DECODE),
];
/// Longest application, `tcUrl`, stream name and `flashVer` that are kept.
const MAX_NAME_CHARS: usize = 4096;

/// What `connect` said.
pub(super) struct Connect {
    app: String,
    tc_url: String,
    encoder: String,
    pub(super) can_reconnect: bool,
}

impl Session {
    pub(super) fn command(&mut self, message: &Message) -> Result<Option<Event>, Error> {
        if !matches!(self.phase, Phase::Publishing { .. }) {
            self.commands_left = self
                .commands_left
                .checked_sub(1)
                .ok_or(Error::TooManyCommands)?;
        }
        let values = parse(message.kind, &message.body);
        let Some(name) = values.first().and_then(Value::as_str) else {
            return Ok(None);
        };
        let transaction = values.get(1).and_then(Value::as_number).unwrap_or(0.0);
        let argument = |index| values.get(index).unwrap_or(&Value::Null);
        match name {
            "connect" => self.connect(transaction, argument(2))?,
            "createStream" => self.create_stream(transaction)?,
            "releaseStream" | "_checkbw" => self.result(transaction, Amf0Value::Null)?,
            "getStreamLength" => self.result(transaction, Amf0Value::Number(0.0))?,
            "FCPublish" => {
                let information = object([("code", text("NetStream.Publish.Start"))]);
                self.wire
                    .command("onFCPublish", 0.0, Amf0Value::Null, information)?;
            }
            "publish" => return self.publish(message.stream_id, argument(3)),
            "FCUnpublish" | "closeStream" => return self.unpublish(),
            "deleteStream" if self.is_published_stream(argument(3)) => return self.unpublish(),
            "play" | "play2" => return Err(Error::Playing),
            _ => {}
        }
        Ok(None)
    }

    fn connect(&mut self, transaction: f64, properties: &Value) -> Result<(), Error> {
        if self.connect.is_some() {
            return Ok(());
        }
        let string = |name| {
            let value = properties
                .property(name)
                .and_then(Value::as_str)
                .unwrap_or_default();
            value.chars().take(MAX_NAME_CHARS).collect::<String>()
        };
        let caps = properties.property("capsEx").and_then(Value::as_number);
        let enhanced = [
            "capsEx",
            "fourCcList",
            "videoFourCcInfoMap",
            "audioFourCcInfoMap",
        ];
        let is_enhanced = enhanced
            .iter()
            .any(|name| properties.property(name).is_some());
        self.connect = Some(Connect {
            app: string("app"),
            tc_url: string("tcUrl"),
            encoder: string("flashVer"),
            can_reconnect: caps.is_some_and(has_reconnect),
        });
        self.wire.greeting()?;
        let information = object([
            ("level", text("status")),
            ("code", text("NetConnection.Connect.Success")),
            ("description", text("connected")),
            ("objectEncoding", Amf0Value::Number(0.0)),
        ]);
        self.wire.command(
            "_result",
            transaction,
            server_properties(is_enhanced),
            information,
        )
    }

    fn create_stream(&mut self, transaction: f64) -> Result<(), Error> {
        self.streams = self.streams.saturating_add(1);
        if self.streams > MAX_STREAMS {
            return Err(Error::TooManyStreams);
        }
        self.result(transaction, Amf0Value::Number(f64::from(self.streams)))
    }

    fn publish(&mut self, stream_id: u32, name: &Value) -> Result<Option<Event>, Error> {
        let Some(connect) = &self.connect else {
            return Err(Error::NotConnected);
        };
        if !matches!(self.phase, Phase::Open) {
            return Ok(None);
        }
        let name: String = name
            .as_str()
            .unwrap_or_default()
            .chars()
            .take(MAX_NAME_CHARS)
            .collect();
        let parsed = stream_name::parse(&connect.app, &connect.tc_url, &name);
        let request = PublishRequest {
            app: parsed.app,
            stream_key: StreamKeyText::new(parsed.stream_key),
            query: parsed.query,
            encoder: connect.encoder.clone(),
            remote: self.remote,
            // The connection knows; bytes look alike.
            is_encrypted: false,
        };
        self.phase = Phase::Asked { stream_id };
        Ok(Some(Event::Publish(request)))
    }

    /// `deleteStream` names its stream; a missing number means the only one.
    fn is_published_stream(&self, id: &Value) -> bool {
        let Phase::Publishing { stream_id } = self.phase else {
            return false;
        };
        id.as_number()
            .is_none_or(|id| (id - f64::from(stream_id)).abs() < 0.5)
    }

    /// Encoders also send these before publishing, to clean up after an earlier life.
    fn unpublish(&mut self) -> Result<Option<Event>, Error> {
        let Phase::Publishing { stream_id } = self.phase else {
            return Ok(None);
        };
        self.phase = Phase::Over;
        let information = object([("code", text("NetStream.Unpublish.Success"))]);
        self.wire
            .command("onFCUnpublish", 0.0, Amf0Value::Null, information)?;
        self.wire.status(
            stream_id,
            "status",
            "NetStream.Unpublish.Success",
            "unpublished",
        )?;
        Ok(Some(Event::Unpublished))
    }

    fn result(&mut self, transaction: f64, value: Amf0Value) -> Result<(), Error> {
        self.wire
            .command("_result", transaction, Amf0Value::Null, value)
    }
}

/// The values of a payload, none if it cannot be read. AMF3 messages of real encoders are a zero
/// byte and AMF0.
pub(super) fn parse(kind: u8, body: &[u8]) -> Vec<Value> {
    let body = match kind {
        kind::COMMAND_AMF3 | kind::DATA_AMF3 => body.strip_prefix(&[0]).unwrap_or(body),
        _ => body,
    };
    amf0::parse(body).unwrap_or_default()
}

/// The numbers of capsEx are small integers in a double; the lowest bit is "reconnect".
fn has_reconnect(caps: f64) -> bool {
    (0.0..=1024.0).contains(&caps) && (caps.rem_euclid(2.0) - f64::from(CAPS_RECONNECT)).abs() < 0.5
}

/// The first half of the answer to `connect`. Codecs are announced only to those who ask the
/// Enhanced RTMP way, and only those that are carried.
fn server_properties(is_enhanced: bool) -> Amf0Value {
    let Amf0Value::Object(mut properties) = object([
        ("fmsVer", text("FMS/3,0,1,123")),
        ("capabilities", Amf0Value::Number(31.0)),
        ("mode", Amf0Value::Number(1.0)),
    ]) else {
        return Amf0Value::Null;
    };
    if is_enhanced {
        let names = VIDEO_CODECS.iter().chain(&AUDIO_CODECS);
        let codecs = Amf0Value::StrictArray(names.map(|(name, _)| text(name)).collect());
        properties.insert("fourCcList".to_owned(), codecs);
        let map = |codecs: [(&'static str, f64); 4]| {
            object(codecs.map(|(name, mask)| (name, Amf0Value::Number(mask))))
        };
        properties.insert("videoFourCcInfoMap".to_owned(), map(VIDEO_CODECS));
        properties.insert("audioFourCcInfoMap".to_owned(), map(AUDIO_CODECS));
        properties.insert("capsEx".to_owned(), Amf0Value::Number(CAPS_MOD_EX));
    }
    Amf0Value::Object(properties)
}
