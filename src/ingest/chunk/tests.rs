use super::header::EXTENDED;
use super::*;

/// A chunk: basic header for `format` and chunk stream `id`, then `rest`.
fn chunk(format: u8, id: u32, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = match id {
        2..=63 => vec![format << 6 | u8::try_from(id).unwrap()],
        64..=319 => vec![format << 6, u8::try_from(id - 64).unwrap()],
        _ => [
            vec![format << 6 | 1],
            u16::try_from(id - 64).unwrap().to_le_bytes().to_vec(),
        ]
        .concat(),
    };
    bytes.extend(rest.concat());
    bytes
}

/// A type 0 message header.
fn full(time: u32, length: usize, kind: u8) -> Vec<u8> {
    let mut bytes = time.min(EXTENDED).to_be_bytes()[1..].to_vec();
    bytes.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
    bytes.extend([kind, 1, 0, 0, 0]);
    if time >= EXTENDED {
        bytes.extend(time.to_be_bytes());
    }
    bytes
}

/// A type 1 message header.
fn delta(delta: u32, length: usize, kind: u8) -> Vec<u8> {
    let mut bytes = full(delta, length, kind);
    bytes.drain(7..11);
    bytes
}

/// Reads `bytes` in one slice and byte by byte: both must give the same.
fn read_all(bytes: &[u8]) -> Result<Vec<Message>, Error> {
    let drain = |reader: &mut ChunkReader, input: &mut BytesMut| {
        let mut messages = Vec::new();
        while let Some(message) = reader.read(input)? {
            messages.push(message);
        }
        Ok::<_, Error>(messages)
    };
    let whole = drain(&mut ChunkReader::new(), &mut BytesMut::from(bytes));
    let (mut reader, mut input) = (ChunkReader::new(), BytesMut::new());
    let mut messages = Vec::new();
    for byte in bytes {
        input.extend_from_slice(&[*byte]);
        match drain(&mut reader, &mut input) {
            Ok(more) => messages.extend(more),
            Err(error) => {
                assert_eq!(whole, Err(error));
                return Err(error);
            }
        }
    }
    assert_eq!(whole.as_ref(), Ok(&messages));
    whole
}

fn times(bytes: &[&[u8]]) -> Vec<u32> {
    let messages = read_all(&bytes.concat()).unwrap();
    messages.iter().map(|m| m.timestamp).collect()
}

#[test]
fn reads_every_form_of_header_and_chunk_stream_id() {
    for id in [2, 3, 63, 64, 319, 320, 65_599] {
        let bytes = [
            chunk(0, id, &[&full(1000, 3, 9), b"abc"]),
            chunk(1, id, &[&delta(40, 2, 8), b"de"]),
            chunk(2, id, &[&[0, 0, 20], b"fg"]),
            chunk(3, id, &[b"hi"]),
        ];
        let messages = read_all(&bytes.concat()).unwrap();
        let seen: Vec<_> = messages
            .iter()
            .map(|m| (m.timestamp, m.kind, m.stream_id, &m.body[..]))
            .collect();
        let expected: [(u32, u8, u32, &[u8]); 4] = [
            (1000, 9, 1, b"abc"),
            (1040, 8, 1, b"de"),
            (1060, 8, 1, b"fg"),
            (1080, 8, 1, b"hi"),
        ];
        assert_eq!(seen, expected, "chunk stream {id}");
    }
}

#[test]
fn joins_interleaved_chunk_streams() {
    let video: Vec<u8> = (0..200).collect();
    let audio = [7; 150];
    let bytes = [
        chunk(0, 4, &[&full(5, 200, 9), &video[..128]]),
        chunk(0, 5, &[&full(6, 150, 8), &audio[..128]]),
        chunk(3, 4, &[&video[128..]]),
        chunk(3, 5, &[&audio[128..]]),
    ];
    let messages = read_all(&bytes.concat()).unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!((messages[0].kind, &messages[0].body[..]), (9, &video[..]));
    assert_eq!((messages[1].kind, &messages[1].body[..]), (8, &audio[..]));
}

#[test]
fn continuations_may_repeat_their_header() {
    let body = [9; 130];
    let bytes = [
        chunk(0, 4, &[&full(50, 130, 9), &body[..128]]),
        chunk(1, 4, &[&delta(50, 130, 9), &body[128..]]),
        // This one contradicts: the unfinished message is dropped.
        chunk(0, 4, &[&full(60, 130, 9), &body[..128]]),
        chunk(0, 4, &[&full(70, 1, 9), b"x"]),
    ];
    let messages = read_all(&bytes.concat()).unwrap();
    let seen: Vec<_> = messages
        .iter()
        .map(|m| (m.timestamp, m.body.len()))
        .collect();
    assert_eq!(seen, [(50, 130), (70, 1)]);
}

#[test]
fn a_type_3_chunk_that_starts_a_message_repeats_the_delta() {
    let after_type_0 = [
        chunk(0, 4, &[&full(33, 1, 9), b"a"]),
        chunk(3, 4, &[b"b"]),
        chunk(3, 4, &[b"c"]),
    ];
    assert_eq!(times(&[&after_type_0.concat()]), [33, 66, 99]);
    let after_late_type_0 = [
        chunk(0, 4, &[&full(20_000, 1, 9), b"a"]),
        chunk(3, 4, &[b"b"]),
    ];
    assert_eq!(times(&[&after_late_type_0.concat()]), [20_000, 20_000]);
    let wraps = [
        chunk(0, 4, &[&full(u32::MAX, 1, 9), b"a"]),
        chunk(1, 4, &[&delta(2, 1, 9), b"b"]),
    ];
    assert_eq!(times(&[&wraps.concat()]), [u32::MAX, 1]);
}

#[test]
fn first_chunks_without_a_full_header_count_from_zero() {
    let bytes = [
        chunk(3, 7, &[]),
        chunk(2, 8, &[&[0, 0, 9]]),
        chunk(1, 9, &[&delta(30, 1, 8), b"x"]),
    ];
    let messages = read_all(&bytes.concat()).unwrap();
    let seen: Vec<_> = messages
        .iter()
        .map(|m| (m.timestamp, m.kind, m.body.len()))
        .collect();
    assert_eq!(seen, [(0, 0, 0), (9, 0, 0), (30, 8, 1)]);
}

#[test]
fn extended_timestamps_of_type_3_chunks_are_taken_only_when_repeated() {
    let time = 0x0100_0000u32;
    let body = [3; 300];
    for repeats in [true, false] {
        let again: &[u8] = if repeats { &time.to_be_bytes() } else { &[] };
        let bytes = [
            chunk(0, 4, &[&full(time, 300, 9), &body[..128]]),
            chunk(3, 4, &[again, &body[128..256]]),
            chunk(3, 4, &[again, &body[256..]]),
            chunk(1, 4, &[&delta(0x0100_0001, 1, 9), b"x"]),
            chunk(3, 4, &[if repeats { &[1, 0, 0, 1] } else { &[] }, b"y"]),
        ];
        let messages = read_all(&bytes.concat()).unwrap();
        assert_eq!(messages[0].body, body[..], "repeats: {repeats}");
        let seen: Vec<_> = messages.iter().map(|m| m.timestamp).collect();
        assert_eq!(seen, [time, 0x0200_0001, 0x0300_0002]);
    }
    // Payload that begins like the timestamp, at the very end of what has arrived.
    let tricky = [1, 0, 0];
    let bytes = [
        chunk(0, 4, &[&full(time, 131, 9), &body[..128]]),
        chunk(3, 4, &[&tricky]),
        chunk(2, 5, &[&[0; 3]]),
    ];
    assert_eq!(read_all(&bytes.concat()).unwrap()[0].body[128..], tricky);
}

#[test]
fn obeys_set_chunk_size_and_abort() {
    let bytes = [
        chunk(0, 2, &[&full(0, 4, 1), &[0, 0, 16, 0]]),
        chunk(0, 4, &[&full(0, 4096, 9), &[1; 4096]]),
        chunk(0, 2, &[&full(0, 4, 1), &[0, 0, 0, 1]]),
        chunk(0, 4, &[&full(5, 2, 9), b"a"]),
        // Abort itself comes in chunks of one byte, and drops the open message of stream 4.
        chunk(0, 2, &[&full(0, 4, 2), &[0]]),
        chunk(3, 2, &[&[0]]),
        chunk(3, 2, &[&[0]]),
        chunk(3, 2, &[&[4]]),
        chunk(0, 4, &[&full(9, 1, 9), b"z"]),
    ];
    let messages = read_all(&bytes.concat()).unwrap();
    let seen: Vec<_> = messages
        .iter()
        .map(|m| (m.timestamp, m.body.len()))
        .collect();
    assert_eq!(seen, [(0, 4096), (9, 1)]);
    for size in [0u32, 0x8000_0000, u32::MAX] {
        let bytes = chunk(0, 2, &[&full(0, 4, 1), &size.to_be_bytes()]);
        assert_eq!(read_all(&bytes), Err(Error::ChunkSize), "{size}");
    }
    assert_eq!(
        read_all(&chunk(0, 2, &[&full(0, 3, 1), &[0; 3]])),
        Err(Error::ChunkSize)
    );
}

#[test]
fn refuses_what_is_too_much() {
    let flood: Vec<u8> = (100..=164).flat_map(|id| chunk(3, id, &[])).collect();
    assert_eq!(read_all(&flood), Err(Error::TooManyChunkStreams));
    for (kind, length) in [(9, MAX_CONTROL_BYTES + 1), (20, 0x00FF_FFFF), (0, 70_000)] {
        let error = read_all(&chunk(0, 4, &[&full(0, length, kind)])).unwrap_err();
        let limit = MAX_CONTROL_BYTES;
        assert_eq!(
            error,
            Error::MessageTooLong {
                kind,
                length,
                limit
            }
        );
    }
    let mut reader = ChunkReader::new();
    reader.allow_media();
    let media = chunk(0, 4, &[&full(0, 0x00FF_FFFF, 9)]);
    assert_eq!(reader.read(&mut BytesMut::from(&media[..])), Ok(None));
    let command = chunk(0, 3, &[&full(0, MAX_CONTROL_BYTES + 1, 18)]);
    let error = ChunkReader::new()
        .read(&mut BytesMut::from(&command[..]))
        .unwrap_err();
    assert!(matches!(error, Error::MessageTooLong { .. }));
}

#[test]
fn memory_follows_what_arrived_not_what_was_declared() {
    let mut reader = ChunkReader::new();
    let mut input = BytesMut::new();
    let mut outcome = Ok(None);
    for id in 3..60 {
        input.extend(chunk(0, id, &[&full(0, 60_000, 9), &[0; 128]]));
        outcome = reader.read(&mut input);
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(outcome, Ok(None));
    assert_eq!(reader.buffered(), 57 * FIRST_ALLOCATION);

    let mut peak = 0;
    for id in (3..60).cycle() {
        input.extend(chunk(3, id, &[&[0; 128]]));
        outcome = reader.read(&mut input);
        peak = peak.max(reader.buffered());
        if outcome.is_err() {
            break;
        }
    }
    let limit = MAX_BUFFERED_BEFORE_PUBLISH;
    assert_eq!(outcome, Err(Error::TooMuchBuffered { limit }));
    assert!(peak <= limit + MAX_CONTROL_BYTES, "{peak}");
}

#[test]
fn what_was_buffered_is_given_back() {
    let mut reader = ChunkReader::new();
    let mut input = BytesMut::new();
    input.extend(chunk(0, 4, &[&full(0, 200, 9), &[0; 128]]));
    assert_eq!(reader.read(&mut input), Ok(None));
    assert_eq!(reader.buffered(), 200);
    input.extend(chunk(3, 4, &[&[0; 72]]));
    assert!(reader.read(&mut input).unwrap().is_some());
    assert_eq!(reader.buffered(), 0);
    input.extend(chunk(0, 4, &[&full(0, 200, 9), &[0; 128]]));
    input.extend(chunk(0, 2, &[&full(0, 4, 2), &[0, 0, 0, 4]]));
    assert_eq!(reader.read(&mut input), Ok(None));
    assert_eq!(reader.buffered(), 0);
}

#[test]
fn only_a_large_message_in_one_chunk_shares_the_read_buffer() {
    for (length, shares) in [(MIN_SHARED_BYTES - 1, false), (MIN_SHARED_BYTES, true)] {
        let body = vec![1; length];
        let bytes = [
            chunk(0, 2, &[&full(0, 4, 1), &[0, 1, 0, 0]]),
            chunk(0, 4, &[&full(0, length, 9), &body]),
        ];
        let mut input = BytesMut::from(&bytes.concat()[..]);
        let start = input.as_ptr().wrapping_add(16 + 12);
        let message = ChunkReader::new().read(&mut input).unwrap().unwrap();
        assert_eq!(message.body, body);
        assert_eq!(message.body.as_ptr() == start, shares, "{length}");
    }
}

proptest::proptest! {
    #[test]
    fn survives_any_bytes(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2000)) {
        drop(read_all(&bytes));
    }
}
