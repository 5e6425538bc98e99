//! What a part costs in the playlist room: pushing it, taking a snapshot, rendering its text.

#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use weir::base::clock::WallTime;
use weir::media::codec::avc;
use weir::media::{Tracks, VideoTrack};
use weir::packaging::{InitSection, Part};
use weir::playlist::{Config, Position, RenditionReport, Window};

/// libx264, 640x360, 30 fps, High, level 3.0.
const AVC_CONFIG: &[u8] = &[
    0x01, 0x64, 0x00, 0x1e, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0,
    0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16,
    0x2d, 0x96, 0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
];
const PART_TICKS: i64 = 30_000;

/// A live stream at 30 fps, without end.
struct Stream {
    window: Window,
    parts: i64,
}

impl Stream {
    /// A stream that has run for twice its window.
    fn running(window_seconds: u32) -> Self {
        let config = Config {
            window_seconds,
            ..Config::default()
        };
        let record = Bytes::from_static(AVC_CONFIG);
        let init = InitSection {
            bytes: Bytes::new(),
            hash: "7f3a09bc".to_owned(),
            tracks: Tracks {
                video: Some(VideoTrack {
                    config: Arc::new(avc::parse(&record).unwrap()),
                }),
                audio: None,
            },
        };
        let mut window = Window::new(&config, 1000);
        window.start_timeline(Arc::new(init), WallTime(1_790_848_800_000));
        window.set_reports(vec![RenditionReport {
            rendition: "480p30".into(),
            last: Position { msn: 1000, part: 0 },
        }]);
        let mut stream = Self { window, parts: 0 };
        for _ in 0..window_seconds * 6 + 3 {
            stream.push();
        }
        stream
    }

    fn push(&mut self) {
        let index = self.parts % 6;
        self.window.push(Part {
            bytes: Bytes::from_static(b"moof mdat"),
            start: self.parts * PART_TICKS,
            duration: PART_TICKS,
            is_independent: index == 0,
            opens_segment: index == 0,
            closes_segment: index == 5,
            is_gap: false,
            is_promised: false,
        });
        self.parts += 1;
    }
}

fn render(criterion: &mut Criterion) {
    for window_seconds in [30, 900] {
        let mut group = criterion.benchmark_group(format!("playlist_{window_seconds}s"));
        let mut stream = Stream::running(window_seconds);
        group.bench_function("push_and_snapshot", |bencher| {
            bencher.iter(|| {
                stream.push();
                black_box(stream.window.snapshot())
            });
        });
        for (name, delta, gzip) in [
            ("full", false, false),
            ("full_gzip", false, true),
            ("delta_gzip", true, true),
        ] {
            group.bench_function(name, |bencher| {
                let fresh = || stream.window.snapshot();
                bencher.iter_with_setup(fresh, |snapshot| snapshot.playlist(delta, gzip));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, render);
criterion_main!(benches);
