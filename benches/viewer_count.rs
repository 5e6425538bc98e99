//! What counting viewers costs: each request of a media file, and each count.
//!
//! `second` is a request in a second in which its session was seen already, `new_second` the first in
//! a second, which writes. Sessions come in an order that no cache foresees.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tokio::time::Instant;

use weir::playlist::Audience;

/// A prime step through the sessions: neighbours in time are strangers in memory.
const STEP: usize = 7_919;

fn sessions(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("viewer{n:010}")).collect()
}

fn seen_by_all(sessions: &[String], now: Instant) -> Audience {
    let audience = Audience::new(now);
    for session in sessions {
        audience.see(session, now);
    }
    audience
}

fn see(c: &mut Criterion) {
    let mut group = c.benchmark_group("viewer_count");
    let start = Instant::now();
    for count in [1, 10_000, 200_000] {
        let sessions = sessions(count);
        let audience = seen_by_all(&sessions, start);
        assert_eq!(audience.count(start), u64::try_from(count).unwrap_or(0));
        assert_eq!(audience.unplaced(), 0);
        let mut next = 0;
        group.bench_function(BenchmarkId::new("second", count), |b| {
            b.iter(|| {
                next = (next + STEP) % sessions.len();
                audience.see(black_box(&sessions[next]), start);
            });
        });
        let (mut requests, mut now) = (0, start);
        group.bench_function(BenchmarkId::new("new_second", count), |b| {
            b.iter(|| {
                // Each second sees each session once: no count has STEP as a factor.
                if requests % sessions.len() == 0 {
                    now += Duration::from_secs(1);
                }
                requests += 1;
                let next = requests * STEP % sessions.len();
                audience.see(black_box(&sessions[next]), now);
            });
        });
    }
    group.finish();
}

fn count(c: &mut Criterion) {
    let mut group = c.benchmark_group("viewer_count_read");
    for count in [1, 10_000, 200_000] {
        let start = Instant::now();
        let audience = seen_by_all(&sessions(count), start);
        let mut seconds = [0, 1].into_iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                // Never the second of the count before, so that the table is walked.
                let second = seconds.next().unwrap_or(0);
                black_box(audience.count(start + Duration::from_secs(second)))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, see, count);
criterion_main!(benches);
