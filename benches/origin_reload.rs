//! One part for many waiting viewers: blocking reloads held, the part pushed, every answer made.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has failed"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use http::Request;
use tokio::sync::watch;
use tokio::time::Instant;

use weir::base::clock::{SystemClock, WallTime};
use weir::media::codec::video::Coding;
use weir::media::codec::{Colour, Picture, VideoConfig, avc};
use weir::media::{Tracks, VideoTrack};
use weir::origin::{self, Origin};
use weir::packaging::{InitSection, Part};
use weir::playlist::{
    Audience, Config, Directory, Listed, LiveChannel, RenditionHandle, Variant, Window,
};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CHANNEL: &str = "abcdABCDefgh";
const TICKS_PER_PART: i64 = 30_000;
const PARTS_PER_SEGMENT: i64 = 6;

/// A live window that can be pushed on.
struct Stage {
    window: Window,
    snapshot_tx: watch::Sender<Arc<weir::playlist::Snapshot>>,
    origin: Origin,
    parts: i64,
}

impl Stage {
    fn new() -> Self {
        let config = Config::default();
        let mut window = Window::new(&config, 1);
        let init = Arc::new(InitSection {
            bytes: Bytes::from_static(&[0; 700]),
            hash: "00000000".to_owned(),
            tracks: Tracks {
                video: Some(VideoTrack {
                    config: Arc::new(video()),
                }),
                audio: None,
            },
        });
        window.start_timeline(init, WallTime(1_790_848_800_000));
        let (snapshot_tx, snapshot) = watch::channel(window.snapshot());
        let variant = Variant {
            name: "720p30".to_owned(),
            ..Variant::default()
        };
        let rendition = RenditionHandle {
            listed: Listed::Always,
            name: "source".to_owned(),
            snapshot,
            variant: watch::channel(variant).1,
            demand: None,
        };
        let directory = Arc::new(Directory::new());
        directory.announce(Arc::new(LiveChannel {
            channel_id: CHANNEL.to_owned(),
            epoch: 1,
            first_epoch: 1,
            renditions: vec![Arc::new(rendition)],
            audience: Arc::new(Audience::new(Instant::now())),
        }));
        let scope = ("us-east-1", "000000000000");
        let origin = Origin::new(
            directory,
            scope,
            config.target_duration_s,
            &origin::Config::default(),
            Arc::new(SystemClock),
        );
        let mut stage = Self {
            window,
            snapshot_tx,
            origin,
            parts: 0,
        };
        (0..120).for_each(|_| stage.push());
        stage
    }

    fn push(&mut self) {
        let index = self.parts % PARTS_PER_SEGMENT;
        self.window.push(Part {
            bytes: Bytes::from(vec![0; 100_000]),
            start: self.parts * TICKS_PER_PART,
            duration: TICKS_PER_PART,
            is_independent: index == 0,
            opens_segment: index == 0,
            closes_segment: index == PARTS_PER_SEGMENT - 1,
            is_gap: false,
            is_promised: false,
        });
        self.parts += 1;
        self.snapshot_tx.send_replace(self.window.snapshot());
    }

    fn next_url(&self) -> String {
        let next = self.window.snapshot().hint().unwrap();
        let (msn, part) = (next.msn, next.part);
        format!(
            "/api/video/v1/s/viewer/{CHANNEL}/1/source/live.m3u8?_HLS_msn={msn}&_HLS_part={part}"
        )
    }
}

fn video() -> VideoConfig {
    VideoConfig {
        coding: Coding::Avc(avc::Coding {
            profile: 100,
            compatibility: 0,
            level: 31,
            nal_length_bytes: 4,
        }),
        bytes: Bytes::new(),
        width: 1280,
        height: 720,
        declared_fps_millis: None,
        picture: Picture {
            chroma_format: 1,
            bit_depth: 8,
            sample_aspect: (1, 1),
            is_interlaced: false,
            colour: Colour::default(),
        },
    }
}

fn reload(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut group = c.benchmark_group("origin_reload");
    for viewers in [1_usize, 100, 1_000] {
        group.throughput(Throughput::Elements(viewers as u64));
        let mut stage = Stage::new();
        group.bench_function(BenchmarkId::from_parameter(viewers), |b| {
            b.iter(|| {
                let url = stage.next_url();
                let request = || {
                    Request::get(&url)
                        .header("accept-encoding", "gzip")
                        .body(())
                        .unwrap()
                };
                let requests: Vec<_> = (0..viewers).map(|_| request()).collect();
                let origin = stage.origin.clone();
                let waiting = join_all(
                    requests
                        .iter()
                        .map(|request| origin.handle(request, CLIENT)),
                );
                let push = async {
                    tokio::task::yield_now().await;
                    stage.push();
                };
                runtime.block_on(async { tokio::join!(waiting, push) })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, reload);
criterion_main!(benches);
