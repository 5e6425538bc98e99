//! One part of 1/3 s, as 6 Mb/s of 30 fps video and 160 kb/s of audio fill it.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use weir::media::{Sample, TrackKind};
use weir::packaging::fragment::{self, Run};

const PICTURE_BYTES: usize = 25_000;
const SOUND_BYTES: usize = 427;

fn samples(track: TrackKind, count: i64, step: i64, bytes: usize) -> Vec<Sample> {
    let sample = |n: i64| Sample {
        track,
        dts: n * step,
        composition_offset: if track == TrackKind::Video { 6000 } else { 0 },
        is_sync: n == 0,
        data: Bytes::from(vec![0x5a; bytes]),
    };
    (0..count).map(sample).collect()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let video = samples(TrackKind::Video, 10, 3000, PICTURE_BYTES);
    let audio = samples(TrackKind::Audio, 16, 1024, SOUND_BYTES);
    let runs = [
        Run {
            track_id: 1,
            samples: &video,
            end: 30_000,
            decode_shift: 0,
        },
        Run {
            track_id: 2,
            samples: &audio,
            end: 16_384,
            decode_shift: 0,
        },
    ];
    let mut group = criterion.benchmark_group("fragment");
    let bytes = fragment::write(1, &[], &runs).len();
    group.throughput(Throughput::Bytes(u64::try_from(bytes).unwrap_or(u64::MAX)));
    group.bench_function("6 Mb/s, 1/3 s", |b| {
        b.iter(|| fragment::write(1, &[], black_box(&runs)));
    });
    group.finish();
    criterion.final_summary();
}
