use rml_amf0::Amf0Value;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::MessagePayload;

use super::wire::{object, text};
use super::*;
use crate::ingest::amf0::{self, Value};
use crate::ingest::gate::RefusalCode;

/// An encoder's side: writes messages, reads answers.
struct Encoder {
    session: Session,
    input: BytesMut,
    chunks: ChunkSerializer,
    answers: ChunkReader,
    answer_bytes: BytesMut,
}

impl Encoder {
    fn new() -> Self {
        Self {
            session: Session::new_after_handshake(([127, 0, 0, 1], 5000).into()),
            input: BytesMut::new(),
            chunks: ChunkSerializer::new(),
            answers: ChunkReader::new(),
            answer_bytes: BytesMut::new(),
        }
    }

    /// After connect, createStream and publish, accepted.
    fn publishing() -> Self {
        let mut encoder = Self::connected();
        encoder.command(1, "publish", 5.0, &[text("key"), text("live")]);
        assert!(matches!(encoder.poll(), Ok(Some(Event::Publish(_)))));
        encoder.session.accept().unwrap();
        encoder
    }

    fn connected() -> Self {
        let mut encoder = Self::new();
        encoder.connect(object([("app", text("live"))]));
        assert!(encoder.poll().unwrap().is_none());
        encoder
    }

    fn connect(&mut self, properties: Amf0Value) {
        let values = vec![text("connect"), Amf0Value::Number(1.0), properties];
        let body = rml_amf0::serialize(&values).unwrap();
        self.message(kind::COMMAND_AMF0, 0, 0, &body);
    }

    fn command(&mut self, stream_id: u32, name: &str, transaction: f64, arguments: &[Amf0Value]) {
        let mut values = vec![text(name), Amf0Value::Number(transaction), Amf0Value::Null];
        values.extend_from_slice(arguments);
        let body = rml_amf0::serialize(&values).unwrap();
        self.message(kind::COMMAND_AMF0, stream_id, 0, &body);
    }

    fn message(&mut self, type_id: u8, message_stream_id: u32, timestamp: u32, body: &[u8]) {
        let payload = MessagePayload {
            timestamp: RtmpTimestamp::new(timestamp),
            type_id,
            message_stream_id,
            data: Bytes::copy_from_slice(body),
        };
        let packet = self.chunks.serialize(&payload, false, true).unwrap();
        self.input.extend(packet.bytes);
    }

    fn poll(&mut self) -> Result<Option<Event>, Error> {
        self.session.poll(&mut self.input)
    }

    /// Messages that the server has sent since.
    fn answers(&mut self) -> Vec<Message> {
        self.answer_bytes.extend(self.session.take_outgoing());
        std::iter::from_fn(|| self.answers.read(&mut self.answer_bytes).unwrap()).collect()
    }

    /// Commands among them, as values.
    fn commands(&mut self) -> Vec<Vec<Value>> {
        let is_command = |m: &Message| m.kind == kind::COMMAND_AMF0;
        self.answers()
            .iter()
            .filter(|m| is_command(m))
            .map(|m| amf0::parse(&m.body).unwrap())
            .collect()
    }

    /// `level` and `code` of the last `onStatus`.
    fn status(&mut self) -> (String, String) {
        let commands = self.commands();
        let status = commands
            .iter()
            .rfind(|c| c[0].as_str() == Some("onStatus"))
            .unwrap();
        let field = |name| {
            status[3]
                .property(name)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        };
        (field("level"), field("code"))
    }
}

fn handshake(client_bytes: &[u8], step: usize) -> (Session, Vec<u8>, Result<(), Error>) {
    let mut session = Session::new(([127, 0, 0, 1], 5000).into());
    let (mut input, mut sent) = (BytesMut::new(), Vec::new());
    for piece in client_bytes.chunks(step) {
        input.extend_from_slice(piece);
        if let Err(error) = session.poll(&mut input) {
            return (session, sent, Err(error));
        }
        sent.extend(session.take_outgoing());
    }
    (session, sent, Ok(()))
}

#[test]
fn shakes_hands_the_simple_and_the_digest_way() {
    let simple = [&[3][..], &[0; 8], &[7; 1528]].concat();
    let digest = Handshake::new(PeerType::Client)
        .generate_outbound_p0_and_p1()
        .unwrap();
    for (first, echoes) in [(simple, true), (digest, false)] {
        for step in [1, 100, 4000] {
            let (session, sent, outcome) = handshake(&first, step);
            assert_eq!((outcome, session.has_shaken_hands()), (Ok(()), false));
            assert_eq!((sent.len(), sent[0]), (HANDSHAKE_BYTES, 3));
            assert_eq!(
                sent[1537..] == first[1..],
                echoes,
                "S2 echoes C1 only the simple way"
            );
            let all = [&first[..], &[9; 1536]].concat();
            let (session, sent, outcome) = handshake(&all, step);
            assert_eq!((outcome, session.has_shaken_hands()), (Ok(()), true));
            assert_eq!(sent.len(), HANDSHAKE_BYTES);
        }
    }
}

#[test]
fn bytes_after_the_handshake_are_read_as_chunks() {
    let mut bytes = [&[3][..], &[0; 3072]].concat();
    bytes.extend([2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let (_, _, outcome) = handshake(&bytes, 5000);
    assert_eq!(outcome, Err(Error::Chunk(chunk::Error::ChunkSize)));
}

#[test]
fn refuses_other_protocols_at_the_first_byte() {
    for (first, error) in [
        (6, Error::Encrypted),
        (8, Error::Encrypted),
        (b'G', Error::NotRtmp(b'G')),
        (0x16, Error::NotRtmp(0x16)),
    ] {
        assert_eq!(handshake(&[first], 1).2, Err(error));
    }
}

#[test]
fn answers_connect_and_announces_codecs_to_those_who_ask() {
    for asks in [false, true] {
        let mut encoder = Encoder::new();
        let list = Amf0Value::StrictArray(vec![text("*")]);
        let extra = if asks {
            ("fourCcList", list)
        } else {
            ("type", text("nonprivate"))
        };
        encoder.connect(object([("app", text("live")), extra]));
        assert!(encoder.poll().unwrap().is_none());
        let answers = encoder.answers();
        let kinds: Vec<u8> = answers.iter().map(|m| m.kind).collect();
        // The new chunk size is taken by the reader itself.
        assert_eq!(kinds, [5, 6, 20]);
        let result = amf0::parse(&answers[2].body).unwrap();
        assert_eq!(
            (result[0].as_str(), result[1].as_number()),
            (Some("_result"), Some(1.0))
        );
        assert_eq!(
            result[3].property("code").unwrap().as_str(),
            Some("NetConnection.Connect.Success")
        );
        let codecs = result[2].property("fourCcList");
        let ours = [
            "avc1", "hvc1", "av01", "vp09", "mp4a", "Opus", "fLaC", ".mp3",
        ];
        let ours = Value::Array(ours.map(|name| Value::String(name.into())).into());
        assert_eq!(codecs, asks.then_some(&ours));
        // 1: decoded; 5: decoded and forwarded.
        for (map, codec, mask) in [
            ("videoFourCcInfoMap", "hvc1", 5.0),
            ("videoFourCcInfoMap", "vp09", 1.0),
            ("audioFourCcInfoMap", "mp4a", 5.0),
            ("audioFourCcInfoMap", ".mp3", 1.0),
        ] {
            let found = result[2].property(map).and_then(|map| map.property(codec));
            let expected = Value::Number(mask);
            assert_eq!(found, asks.then_some(&expected), "{map} {codec}");
        }
        let caps = result[2].property("capsEx").and_then(Value::as_number);
        assert_eq!(caps, asks.then_some(4.0));
    }
}

#[test]
fn answers_what_encoders_ask_on_the_way() {
    let mut encoder = Encoder::connected();
    encoder.answers();
    for (number, name) in (2..).zip([
        "releaseStream",
        "FCPublish",
        "createStream",
        "_checkbw",
        "getStreamLength",
        "unknown",
    ]) {
        encoder.command(0, name, f64::from(number), &[text("key")]);
    }
    assert!(encoder.poll().unwrap().is_none());
    let commands = encoder.commands();
    let seen: Vec<_> = commands
        .iter()
        .map(|c| (c[0].as_str().unwrap(), c[1].as_number().unwrap()))
        .collect();
    let expected = [
        ("_result", 2.0),
        ("onFCPublish", 0.0),
        ("_result", 4.0),
        ("_result", 5.0),
        ("_result", 6.0),
    ];
    assert_eq!(seen, expected);
    assert_eq!(commands[2][3], Value::Number(1.0));
}

#[test]
fn a_publish_request_holds_all_that_was_said() {
    let mut encoder = Encoder::new();
    encoder.connect(object([
        ("app", text("live?a=1")),
        ("tcUrl", text("rtmp://host/live?a=1&b=%32")),
        ("flashVer", text("FMLE/3.0")),
    ]));
    // No publish type, as some mobile encoders do, and in AMF3 clothing.
    let values = vec![
        text("publish"),
        Amf0Value::Number(0.0),
        Amf0Value::Null,
        text("sk_key?c=3"),
    ];
    let body = [vec![0], rml_amf0::serialize(&values).unwrap()].concat();
    encoder.message(kind::COMMAND_AMF3, 1, 0, &body);
    encoder.message(kind::VIDEO, 1, 40, b"early");
    let Ok(Some(Event::Publish(request))) = encoder.poll() else {
        panic!("no request")
    };
    assert_eq!(
        (request.app.as_str(), request.stream_key.expose()),
        ("live", "sk_key")
    );
    assert_eq!(request.encoder, "FMLE/3.0");
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(
        request.query,
        [pair("c", "3"), pair("a", "1"), pair("b", "2")]
    );

    // Nothing is read before the answer; what came early is there after it.
    assert!(encoder.poll().unwrap().is_none());
    encoder.session.accept().unwrap();
    assert_eq!(
        encoder.status(),
        ("status".into(), "NetStream.Publish.Start".into())
    );
    assert!(
        matches!(encoder.poll(), Ok(Some(Event::Video { timestamp: 40, body })) if body == "early")
    );
}

#[test]
fn a_refusal_is_told_before_and_while_publishing() {
    let refusal = Refusal::new(RefusalCode::BadName, "x".repeat(5000));
    for mut encoder in [Encoder::connected(), Encoder::publishing()] {
        encoder.session.refuse(&refusal).unwrap();
        assert_eq!(
            encoder.status(),
            ("error".into(), "NetStream.Publish.BadName".into())
        );
        encoder.message(kind::VIDEO, 1, 0, b"late");
        assert!(encoder.poll().unwrap().is_none());
    }
}

#[test]
fn a_stopping_server_says_so() {
    for (caps, code) in [
        (0.0, "NetConnection.Connect.Closed"),
        (3.0, "NetConnection.Connect.ReconnectRequest"),
    ] {
        let mut encoder = Encoder::new();
        encoder.connect(object([
            ("app", text("live")),
            ("capsEx", Amf0Value::Number(caps)),
        ]));
        assert!(encoder.poll().unwrap().is_none());
        encoder.session.stop().unwrap();
        assert_eq!(encoder.status(), ("status".into(), code.into()));
    }
}

#[test]
fn media_and_metadata_come_out_while_publishing() {
    let mut encoder = Encoder::publishing();
    let properties = object([
        ("width", Amf0Value::Number(1280.0)),
        ("framerate", Amf0Value::Number(-1.0)),
        ("encoder", text("test")),
    ]);
    let values = vec![text("@setDataFrame"), text("onMetaData"), properties];
    encoder.message(
        kind::DATA_AMF0,
        1,
        0,
        &rml_amf0::serialize(&values).unwrap(),
    );
    encoder.message(
        kind::DATA_AMF0,
        1,
        0,
        &rml_amf0::serialize(&values[1..].to_vec()).unwrap(),
    );
    encoder.message(
        kind::DATA_AMF0,
        1,
        0,
        &rml_amf0::serialize(&vec![text("@setDataFrame")]).unwrap(),
    );
    encoder.message(
        kind::DATA_AMF0,
        1,
        0,
        &rml_amf0::serialize(&vec![text("onTextData")]).unwrap(),
    );
    encoder.message(kind::DATA_AMF0, 1, 0, &[0x11, 7]);
    encoder.message(kind::AUDIO, 1, 23, b"audio");
    for _ in 0..2 {
        let Ok(Some(Event::Metadata(metadata))) = encoder.poll() else {
            panic!("no metadata")
        };
        assert_eq!((metadata.width, metadata.frame_rate), (Some(1280.0), None));
        assert_eq!(metadata.encoder.as_deref(), Some("test"));
    }
    assert!(
        matches!(encoder.poll(), Ok(Some(Event::Audio { timestamp: 23, body })) if body == "audio")
    );
    assert!(encoder.poll().unwrap().is_none());
}

#[test]
fn aggregates_are_taken_apart() {
    let tag = |kind: u8, time: u32, body: &[u8]| {
        let time = time.to_be_bytes();
        let size = u8::try_from(body.len()).unwrap();
        [
            &[kind, 0, 0, size][..],
            &time[1..],
            &time[..1],
            &[0; 3],
            body,
            &[0; 4],
        ]
        .concat()
    };
    let mut encoder = Encoder::publishing();
    let nested = tag(kind::AGGREGATE, 5, b"x");
    let mut body = [
        tag(9, 0xFF00_0000, b"v"),
        tag(8, 0xFF00_0010, b"a"),
        nested,
        tag(9, 0xFF00_0021, b"w"),
    ]
    .concat();
    body.extend([9, 0, 0, 99]);
    encoder.message(kind::AGGREGATE, 1, 1000, &body);
    encoder.message(kind::AUDIO, 1, 2000, b"after");
    let mut seen = vec![];
    while let Some(event) = encoder.poll().unwrap() {
        match event {
            Event::Audio { timestamp, body } => seen.push(('a', timestamp, body)),
            Event::Video { timestamp, body } => seen.push(('v', timestamp, body)),
            other => panic!("{other:?}"),
        }
    }
    let bytes = Bytes::from_static;
    let expected = [
        ('v', 1000, bytes(b"v")),
        ('a', 1016, bytes(b"a")),
        ('v', 1033, bytes(b"w")),
        ('a', 2000, bytes(b"after")),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn every_way_to_unpublish_is_an_orderly_end() {
    let commands: [(&str, &[Amf0Value]); 4] = [
        ("FCUnpublish", &[text("key")]),
        ("deleteStream", &[Amf0Value::Number(1.0)]),
        ("deleteStream", &[]),
        ("closeStream", &[]),
    ];
    for (name, arguments) in commands {
        let mut before = Encoder::connected();
        before.command(0, name, 3.0, arguments);
        assert!(
            before.poll().unwrap().is_none(),
            "{name} before publishing means nothing"
        );

        let mut encoder = Encoder::publishing();
        encoder.command(1, name, 6.0, arguments);
        assert!(
            matches!(encoder.poll(), Ok(Some(Event::Unpublished))),
            "{name}"
        );
        assert_eq!(
            encoder.status(),
            ("status".into(), "NetStream.Unpublish.Success".into())
        );
        assert!(encoder.poll().unwrap().is_none());
    }
    let mut encoder = Encoder::publishing();
    encoder.command(0, "deleteStream", 6.0, &[Amf0Value::Number(7.0)]);
    assert!(encoder.poll().unwrap().is_none(), "another stream");
}

#[test]
fn floods_are_cut_off() {
    let mut encoder = Encoder::connected();
    (0..=MAX_STREAMS).for_each(|_| encoder.command(0, "createStream", 2.0, &[]));
    assert_eq!(encoder.poll().unwrap_err(), Error::TooManyStreams);

    let mut encoder = Encoder::connected();
    (0..MAX_COMMANDS_BEFORE_PUBLISH).for_each(|_| encoder.command(0, "nothing", 0.0, &[]));
    assert_eq!(encoder.poll().unwrap_err(), Error::TooManyCommands);

    let mut encoder = Encoder::new();
    encoder.command(1, "publish", 0.0, &[text("key")]);
    assert_eq!(encoder.poll().unwrap_err(), Error::NotConnected);

    let mut encoder = Encoder::connected();
    encoder.command(1, "play", 0.0, &[text("key")]);
    assert_eq!(encoder.poll().unwrap_err(), Error::Playing);
}

#[test]
fn unreadable_messages_are_ignored() {
    let mut encoder = Encoder::connected();
    for body in [
        &b"\x0A\x00\x00\x00\x01".repeat(4000)[..],
        &[],
        &[0x05],
        &[0x42],
        b"\x02\x00\x09publish",
    ] {
        encoder.message(kind::COMMAND_AMF0, 0, 0, body);
    }
    for kind in [3, 4, 5, 6, 7, 16, 19, 99] {
        encoder.message(kind, 0, 0, &[1]);
    }
    encoder.command(0, "createStream", 2.0, &[]);
    encoder.answers();
    assert!(encoder.poll().unwrap().is_none());
    assert_eq!(encoder.commands().len(), 1);
}

#[test]
fn acknowledges_the_running_total_and_answers_pings() {
    let mut encoder = Encoder::publishing();
    encoder.answers();
    encoder.message(kind::WINDOW_ACK_SIZE, 0, 0, &10_000u32.to_be_bytes());
    let mut totals = vec![];
    for _ in 0..30 {
        encoder.message(kind::VIDEO, 1, 0, &[0; 1000]);
        while encoder.poll().unwrap().is_some() {}
        let acks = encoder.answers().into_iter().filter(|m| m.kind == 3);
        totals.extend(acks.map(|m| u32::from_be_bytes(m.body[..].try_into().unwrap())));
    }
    assert!(totals.len() >= 2, "{totals:?}");
    assert!(
        totals
            .windows(2)
            .all(|w| (10_000..12_000).contains(&(w[1] - w[0]))),
        "{totals:?}"
    );

    encoder.message(kind::USER_CONTROL, 0, 0, &[0, 6, 1, 2, 3, 4]);
    assert!(encoder.poll().unwrap().is_none());
    let pongs = encoder.answers();
    assert_eq!(pongs[0].body, [0, 7, 1, 2, 3, 4][..]);

    encoder.session.tick(PING_INTERVAL.mul_f32(0.99)).unwrap();
    assert!(encoder.answers().is_empty());
    encoder.session.tick(PING_INTERVAL).unwrap();
    assert_eq!(encoder.answers()[0].body, [0, 6, 0, 0, 0x4e, 0x20][..]);
    encoder.session.tick(PING_INTERVAL).unwrap();
    assert!(encoder.answers().is_empty());
}

proptest::proptest! {
    #[test]
    fn survives_any_bytes(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..1500)) {
        for mut encoder in [Encoder::new(), Encoder::publishing()] {
            encoder.input.extend_from_slice(&bytes);
            while let Ok(Some(event)) = encoder.poll() {
                if matches!(event, Event::Publish(_)) {
                    encoder.session.accept().unwrap();
                }
            }
        }
    }
}
