//! The cut rules alone: ten seconds of 60 fps video.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use weir::packaging::Config;
use weir::packaging::segmenter::Segmenter;

const SAMPLES: i64 = 600;

fn cut(config: &Config) -> usize {
    let mut segmenter = Segmenter::new(config, true);
    for n in 0..SAMPLES {
        segmenter
            .push(black_box(n * 1500), n % 120 == 0)
            .expect("GOPs are short");
    }
    segmenter.finish();
    std::iter::from_fn(|| segmenter.poll()).count()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let config = Config::default();
    let mut group = criterion.benchmark_group("segmenter");
    group.throughput(Throughput::Elements(SAMPLES.unsigned_abs()));
    group.bench_function("10 s of 60 fps", |b| b.iter(|| cut(&config)));
    group.finish();
    criterion.final_summary();
}
