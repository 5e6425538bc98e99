//! What one second of a publisher costs the pure steps of ingest: chunks, session, FLV, timeline.
//!
//! The bytes are those of an encoder at 3 Mb/s: 30 frames and 47 AAC frames a second, in chunks of
//! OBS's size (4096) and of ffmpeg's (60000), cut into reads of 16 KiB.

use std::hint::black_box;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir::ingest::MultitrackInput;
use weir::ingest::chunk::{ChunkReader, kind};
use weir::ingest::demux::Demuxer;
use weir::ingest::session::{Event, Session};

const SECONDS: u32 = 10;
const READ_BYTES: usize = 16 * 1024;

/// libx264, 640x360, 30 fps.
const AVC_CONFIG: &[u8] = &[
    0x17, 0, 0, 0, 0, 0x01, 0x64, 0x00, 0x1e, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x1e, 0xac,
    0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00,
    0x3c, 0x0f, 0x16, 0x2d, 0x96, 0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8,
    0xf8, 0x00,
];

fn message(out: &mut Vec<u8>, chunk_size: usize, stream: u8, kind: u8, ms: u32, body: &[u8]) {
    out.push(stream);
    out.extend(&ms.to_be_bytes()[1..]);
    out.extend(&u32::try_from(body.len()).unwrap_or(0).to_be_bytes()[1..]);
    out.extend([kind, 1, 0, 0, 0]);
    for (n, piece) in body.chunks(chunk_size).enumerate() {
        if n > 0 {
            out.push(0xC0 | stream);
        }
        out.extend(piece);
    }
}

/// `SECONDS` of media as an encoder sends it after `publish`.
fn recording(chunk_size: usize) -> Vec<u8> {
    let mut out = vec![];
    let size = u32::try_from(chunk_size).unwrap_or(128).to_be_bytes();
    message(&mut out, 128, 2, kind::SET_CHUNK_SIZE, 0, &size);
    message(&mut out, chunk_size, 6, kind::VIDEO, 0, AVC_CONFIG);
    message(
        &mut out,
        chunk_size,
        4,
        kind::AUDIO,
        0,
        &[0xaf, 0, 0x11, 0x90],
    );
    let mut audio_frames = 0;
    for n in 0..SECONDS * 30 {
        let ms = n * 1000 / 30;
        let (head, nal_bytes): ([u8; 6], u32) = if n % 60 == 0 {
            ([0x17, 1, 0, 0, 0, 0], 60_000)
        } else {
            ([0x27, 1, 0, 0, 66, 0], 10_900)
        };
        let mut body = head[..5].to_vec();
        body.extend(nal_bytes.to_be_bytes());
        body.resize(body.len() + usize::try_from(nal_bytes).unwrap_or(0), 0x41);
        message(&mut out, chunk_size, 6, kind::VIDEO, ms, &body);
        while audio_frames * 1024 / 48 <= ms {
            let frame = [&[0xaf, 1][..], &[7; 400]].concat();
            message(
                &mut out,
                chunk_size,
                4,
                kind::AUDIO,
                audio_frames * 1024 / 48,
                &frame,
            );
            audio_frames += 1;
        }
    }
    out
}

/// Appends the next read to what is left, in a buffer as the connection keeps it.
fn read_into(input: &mut BytesMut, bytes: &[u8]) {
    if input.capacity() - input.len() < bytes.len() {
        input.reserve(4 * READ_BYTES);
    }
    input.extend_from_slice(bytes);
}

/// A session that has got as far as publishing.
fn publishing() -> Session {
    let mut session = Session::new_after_handshake(([127, 0, 0, 1], 1935).into());
    let mut bytes = vec![];
    let connect = b"\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00\x03\x00\x00\x09";
    let publish = b"\x02\x00\x07publish\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x02\x00\x03key";
    message(&mut bytes, 128, 3, kind::COMMAND_AMF0, 0, connect);
    message(&mut bytes, 128, 3, kind::COMMAND_AMF0, 0, publish);
    let asked = session.poll(&mut BytesMut::from(&bytes[..]));
    assert!(matches!(asked, Ok(Some(Event::Publish(_)))));
    assert!(session.accept().is_ok());
    session
}

fn read_chunks(recording: &[u8]) -> usize {
    let (mut reader, mut input, mut messages) = (ChunkReader::new(), BytesMut::new(), 0);
    for bytes in recording.chunks(READ_BYTES) {
        read_into(&mut input, bytes);
        while let Ok(Some(message)) = reader.read(&mut input) {
            messages += 1;
            black_box(message);
        }
    }
    messages
}

fn demultiplex(recording: &[u8]) -> usize {
    let (mut session, mut demuxer) = (publishing(), Demuxer::new(MultitrackInput::default()));
    let (mut input, mut samples) = (BytesMut::new(), 0);
    for bytes in recording.chunks(READ_BYTES) {
        read_into(&mut input, bytes);
        while let Ok(Some(event)) = session.poll(&mut input) {
            let media = match event {
                Event::Video { timestamp, body } => demuxer
                    .video(timestamp, &body, Duration::ZERO)
                    .unwrap_or_default(),
                Event::Audio { timestamp, body } => demuxer
                    .audio(timestamp, &body, Duration::ZERO)
                    .unwrap_or_default(),
                _ => None,
            };
            samples += usize::from(media.is_some());
            black_box(media);
        }
    }
    samples
}

fn flv_demux(c: &mut Criterion) {
    let mut group = c.benchmark_group("flv_demux");
    for chunk_size in [4096, 60_000] {
        let recording = recording(chunk_size);
        // 300 pictures, 468 AAC frames, two configurations.
        assert_eq!(read_chunks(&recording), 770);
        assert_eq!(demultiplex(&recording), 770);
        group.throughput(Throughput::Bytes(
            u64::try_from(recording.len()).unwrap_or(0),
        ));
        let named = |step| BenchmarkId::new(step, chunk_size);
        group.bench_with_input(named("chunks"), &recording, |b, r| {
            b.iter(|| read_chunks(r));
        });
        group.bench_with_input(named("samples"), &recording, |b, r| {
            b.iter(|| demultiplex(r));
        });
    }
    group.finish();
}

criterion_group!(benches, flv_demux);
criterion_main!(benches);
