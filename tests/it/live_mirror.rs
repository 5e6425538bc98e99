//! The live mirror: what is in the store while a channel is live, after it, and when the store is
//! bad. The windows are real, their parts hand-made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use m3u8_rs::MediaPlaylist;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use weir::base::clock::{Clock, SimulatedClock, SystemClock};
use weir::base::tasks::Tasks;
use weir::media::codec::avc;
use weir::media::{Tracks, VideoTrack};
use weir::packaging::{InitSection, Part};
use weir::playlist::{
    self, Audience, Directory, Listed, LiveChannel, RenditionHandle, Snapshot, Variant, Window,
};
use weir::recording::{Config, mirror};
use weir::storage::keys::{LiveEpoch, LiveRendition};
use weir::storage::{Config as StorageConfig, Location, Store};

use crate::support::s3::{Fault, S3Server};

/// Ten frames at 30 fps, in 90 kHz ticks.
const PART: i64 = 30_000;
/// Window and grace of the default configuration.
const LIFETIME_SECONDS: u64 = 90;
/// An avcC box's content as x264 writes it for 640x360.
const AVCC: &[u8] = &[
    0x01, 0x64, 0x00, 0x1e, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0,
    0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16,
    0x2d, 0x96, 0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
];

fn init(hash: &str) -> Arc<InitSection> {
    let config = Arc::new(avc::parse(&Bytes::from_static(AVCC)).unwrap());
    Arc::new(InitSection {
        bytes: Bytes::from(format!("init {hash}")),
        hash: hash.to_owned(),
        tracks: Tracks {
            video: Some(VideoTrack { config }),
            audio: None,
        },
    })
}

/// A live channel of one rendition, fed by the test.
struct Stream {
    directory: Arc<Directory>,
    epoch: LiveEpoch,
    window: Window,
    snapshot_tx: watch::Sender<Arc<Snapshot>>,
    at: i64,
    /// The bytes of every segment pushed.
    segments: BTreeMap<u64, Bytes>,
    parts: Vec<Weak<Part>>,
}

impl Stream {
    fn announce(directory: &Arc<Directory>, channel: &str, number: u64) -> Self {
        let mut window = Window::new(&playlist::Config::default(), 100);
        window.start_timeline(init("0000aaaa"), SystemClock.now());
        let (snapshot_tx, snapshot) = watch::channel(window.snapshot());
        let variant = Variant {
            name: "360p30".to_owned(),
            bandwidth_bps: 900_000,
            average_bandwidth_bps: 700_000,
            codecs: "avc1.64001E".to_owned(),
            width: 640,
            height: 360,
            frame_rate_millis: 30_000,
            is_source: false,
        };
        let rendition = RenditionHandle {
            listed: Listed::Always,
            name: variant.name.clone(),
            snapshot,
            variant: watch::channel(variant).1,
            demand: None,
        };
        directory.announce(Arc::new(LiveChannel {
            channel_id: channel.to_owned(),
            epoch: number,
            first_epoch: number,
            renditions: vec![Arc::new(rendition)],
            audience: Arc::new(Audience::new(Instant::now())),
        }));
        Self {
            directory: directory.clone(),
            epoch: LiveEpoch::new(channel, number).unwrap(),
            window,
            snapshot_tx,
            at: 0,
            segments: BTreeMap::new(),
            parts: Vec::new(),
        }
    }

    /// Pushes whole segments, telling watchers after each part as `live` does; never awaits.
    fn push(&mut self, segments: usize) {
        for _ in 0..segments {
            for index in 0..6 {
                self.window.push(Part {
                    bytes: Bytes::from(format!("part at {};", self.at)),
                    start: self.at,
                    duration: PART,
                    is_independent: index == 0,
                    opens_segment: index == 0,
                    closes_segment: index == 5,
                    is_gap: false,
                    is_promised: false,
                });
                self.at += PART;
                self.snapshot_tx.send_replace(self.window.snapshot());
            }
            let snapshot = self.window.snapshot();
            let last = snapshot.listed().next_back().unwrap();
            let bytes: Vec<_> = last.parts.iter().map(|part| part.bytes.clone()).collect();
            self.segments.insert(last.msn, bytes.concat().into());
            self.parts.extend(last.parts.iter().map(Arc::downgrade));
        }
    }

    /// The publisher came back with another encoder: a new timeline in the same playlists.
    fn restart(&mut self, hash: &str) {
        self.window.start_timeline(init(hash), SystemClock.now());
    }

    fn end(&mut self) {
        self.window.end();
        self.snapshot_tx.send_replace(self.window.snapshot());
        self.directory
            .withdraw(self.epoch.channel(), self.epoch.number());
    }

    fn last_msn(&self) -> u64 {
        *self.segments.last_key_value().unwrap().0
    }

    fn keys(&self) -> LiveRendition {
        self.epoch.rendition("360p30").unwrap()
    }

    /// The mirrored playlist, once it lists the newest segment; every segment and map it names is
    /// in the store with the bytes that were pushed.
    async fn mirrored(&self, store: &Store) -> MediaPlaylist {
        let wanted = format!("{}.m4s", self.last_msn());
        let playlist = eventually(async || {
            let playlist = self.playlist(store).await?;
            (playlist.segments.last()?.uri == wanted).then_some(playlist)
        })
        .await;
        for (msn, segment) in (playlist.media_sequence..).zip(&playlist.segments) {
            assert_eq!(segment.uri, format!("{msn}.m4s"));
            assert!((segment.duration - 2.0).abs() < 0.001, "{segment:?}");
            assert!(segment.program_date_time.is_some());
            let stored = store.get(&self.keys().segment(msn), 1 << 20).await.unwrap();
            assert_eq!(stored, self.segments[&msn]);
            if let Some(map) = &segment.map {
                let hash = map
                    .uri
                    .strip_prefix("init-")
                    .unwrap()
                    .strip_suffix(".mp4")
                    .unwrap();
                let key = self.keys().init(hash).unwrap();
                assert_eq!(
                    store.get(&key, 1 << 20).await.unwrap(),
                    format!("init {hash}")
                );
            }
        }
        assert!(playlist.segments[0].map.is_some());
        playlist
    }

    async fn playlist(&self, store: &Store) -> Option<MediaPlaylist> {
        let text = store.get(&self.keys().playlist(), 1 << 20).await.ok()?;
        let (rest, playlist) = m3u8_rs::parse_media_playlist(&text).unwrap();
        assert!(rest.is_empty());
        Some(playlist)
    }

    /// The segments whose bytes are in the store, found as files below `root`.
    fn stored(&self, root: &Path) -> Vec<u64> {
        let folder = root.join(format!("{}/360p30", self.epoch.prefix()));
        let Ok(files) = folder.read_dir() else {
            return Vec::new();
        };
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let number = |name: String| name.strip_suffix(".m4s").and_then(|msn| msn.parse().ok());
        let mut stored: Vec<u64> = names.filter_map(number).collect();
        stored.sort_unstable();
        stored
    }
}

/// What `probe` gives as soon as it gives something. The store is another process's: asking again
/// is the only way to know.
async fn eventually<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(1), found).await.unwrap()
}

/// A mirror at work, on a clock of the test's.
struct Mirror {
    directory: Arc<Directory>,
    clock: Arc<SimulatedClock>,
    tasks: Tasks,
}

impl Mirror {
    fn start(store: &Store) -> Self {
        let mirror = Self {
            directory: Arc::default(),
            clock: Arc::new(SimulatedClock::new(SystemClock.now())),
            tasks: Tasks::new(),
        };
        mirror::start(
            &Config::default(),
            &playlist::Config::default(),
            store.clone(),
            mirror.directory.clone(),
            mirror.clock.clone(),
            &mirror.tasks,
        );
        mirror
    }
}

fn folder() -> (tempfile::TempDir, PathBuf, Store) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    let location = Location::Folder(root.clone());
    let store = Store::open(&location, &StorageConfig::default(), []).unwrap();
    (dir, root, store)
}

#[tokio::test]
async fn a_live_channel_is_plain_hls_in_the_bucket() {
    let server = S3Server::start().await;
    let store = server.store();
    let mirror = Mirror::start(&store);
    let mut stream = Stream::announce(&mirror.directory, "chanAAAA0001", 3);
    stream.push(1);
    let first = stream.mirrored(&store).await;
    assert_eq!((first.media_sequence, first.segments.len()), (100, 1));
    stream.push(4);
    stream.restart("0000bbbb");
    stream.push(4);
    let playlist = stream.mirrored(&store).await;
    assert_eq!((playlist.media_sequence, playlist.segments.len()), (100, 9));
    assert_eq!(playlist.target_duration, 2);
    assert!(!playlist.end_list);
    let breaks: Vec<bool> = playlist.segments.iter().map(|s| s.discontinuity).collect();
    assert_eq!(
        breaks,
        [false, false, false, false, false, true, false, false, false]
    );
    let text = store.get(&stream.keys().playlist(), 1 << 20).await.unwrap();
    assert!(
        !String::from_utf8_lossy(&text).contains("PART"),
        "parts are not mirrored"
    );

    let text = store
        .get(&stream.epoch.multivariant(), 1 << 20)
        .await
        .unwrap();
    let (_, multivariant) = m3u8_rs::parse_master_playlist(&text).unwrap();
    assert_eq!(multivariant.variants.len(), 1);
    assert_eq!(multivariant.variants[0].uri, "360p30/live.m3u8");

    stream.end();
    eventually(async || stream.playlist(&store).await.filter(|p| p.end_list)).await;
    assert_eq!(stream.mirrored(&store).await.segments.len(), 9);
    let order = [
        "360p30/init-0000aaaa.mp4",
        "360p30/100.m4s",
        "360p30/live.m3u8",
        "multivariant.m3u8",
        "360p30/init-0000bbbb.mp4",
        "360p30/105.m4s",
    ];
    let requests = server.requests();
    let put = |name: &str| format!("PUT /weir-test/live/chanAAAA0001/3/{name}");
    let first_put = |name: &&str| requests.iter().position(|r| *r == put(name)).unwrap();
    let places: Vec<usize> = order.iter().map(first_put).collect();
    assert!(places.is_sorted(), "{places:?}");
    for once in [
        "360p30/init-0000aaaa.mp4",
        "360p30/104.m4s",
        "multivariant.m3u8",
    ] {
        let puts = requests.iter().filter(|r| **r == put(once)).count();
        assert_eq!(puts, 1, "{once}");
    }
    mirror.tasks.stop().await;
}

#[tokio::test]
async fn what_an_outage_kept_back_is_stored_after_it() {
    let server = S3Server::start().await;
    let store = server.store();
    let mirror = Mirror::start(&store);
    let mut stream = Stream::announce(&mirror.directory, "chanAAAA0002", 1);
    stream.push(3);
    stream.mirrored(&store).await;
    for fault in [Fault::Status(503), Fault::Drop] {
        server.inject_always(Some(fault));
        let before = server.requests().len();
        stream.push(4);
        eventually(async || (server.requests().len() > before + 3).then_some(())).await;
        server.inject_always(None);
        stream.mirrored(&store).await;
    }
    let expected: Vec<u64> = (100..=110).collect();
    assert_eq!(stream.stored(&server.bucket_dir()), expected);
    assert_eq!(stream.mirrored(&store).await.segments.len(), 11);
}

#[tokio::test]
async fn after_a_long_outage_the_playlist_begins_anew_behind_the_hole() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = S3Server::start().await;
    let store = server.store();
    let mirror = Mirror::start(&store);
    let mut stream = Stream::announce(&mirror.directory, "chanAAAA0003", 1);
    stream.push(5);
    stream.mirrored(&store).await;
    server.inject_always(Some(Fault::Status(500)));
    let before = server.requests().len();
    stream.push(60);
    eventually(async || (server.requests().len() > before + 6).then_some(())).await;
    server.inject_always(None);
    let playlist = stream.mirrored(&store).await;
    // Without a hole, as `mirrored` saw; the missing ones are missing in the numbers.
    let stored = stream.stored(&server.bucket_dir());
    let hole = stored
        .windows(2)
        .find(|pair| pair[1] != pair[0] + 1)
        .unwrap();
    assert!(stored.starts_with(&[100, 101, 102, 103, 104]), "{stored:?}");
    assert_eq!(playlist.media_sequence, hole[1]);
    let lost = format!("weir_mirror_segments_lost_total {}", hole[1] - hole[0] - 1);
    let counters = metrics.render();
    assert!(
        counters.lines().any(|line| line == lost),
        "{lost} is not in {counters}"
    );
    assert!(playlist.segments.len() >= 3, "{}", playlist.segments.len());
    stream.push(10);
    let playlist = stream.mirrored(&store).await;
    assert!(playlist.segments.len() >= 15, "{}", playlist.segments.len());
}

#[tokio::test]
async fn a_store_that_never_answers_holds_back_nobody_and_keeps_one_segment() {
    let server = S3Server::start().await;
    server.inject_always(Some(Fault::Hang));
    let mirror = Mirror::start(&server.store());
    let mut stream = Stream::announce(&mirror.directory, "chanAAAA0004", 1);
    stream.push(20);
    eventually(async || (!server.requests().is_empty()).then_some(())).await;
    stream.push(200);
    let alive = stream
        .parts
        .iter()
        .filter(|part| part.strong_count() > 0)
        .count();
    // The window's own: listed ones, and as much again for late players.
    let newest = stream.window.snapshot();
    let kept = (100..=stream.last_msn())
        .filter(|msn| newest.segment(*msn).is_some())
        .count();
    assert!(
        alive <= (kept + 1) * 6,
        "{alive} parts alive, the window keeps {kept} segments"
    );
    mirror.tasks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn segments_are_deleted_when_window_and_grace_are_over_and_the_epoch_after_its_end() {
    let (_dir, root, store) = folder();
    let mirror = Mirror::start(&store);
    let mut stream = Stream::announce(&mirror.directory, "chanAAAA0005", 7);
    for _ in 0..100 {
        stream.push(1);
        sleep(Duration::from_secs(2)).await;
    }
    let playlist = stream.mirrored(&store).await;
    let listed = playlist.segments.len();
    assert!((15..=16).contains(&listed), "{listed}");
    let stored = stream.stored(&root);
    let kept = usize::try_from(LIFETIME_SECONDS / 2).unwrap();
    assert!(
        (kept..=kept + 1).contains(&(stored.len() - listed)),
        "{} stored",
        stored.len()
    );
    assert_eq!(
        stored.first().copied(),
        Some(200 - u64::try_from(stored.len()).unwrap())
    );

    stream.end();
    sleep(Duration::from_secs(1)).await;
    assert!(stream.playlist(&store).await.unwrap().end_list);
    sleep(Duration::from_secs(LIFETIME_SECONDS - 5)).await;
    assert_eq!(stream.mirrored(&store).await.segments.len(), listed);
    sleep(Duration::from_secs(10)).await;
    assert!(!root.join("live").exists(), "something is left");
}

#[tokio::test(start_paused = true)]
async fn left_overs_are_swept_when_they_are_old_and_only_they() {
    let (_dir, root, store) = folder();
    let left = [
        "live/gone00000001/4/360p30/1.m4s",
        "live/gone00000001/4/multivariant.m3u8",
    ];
    let other = [
        "live/gone00000001/notes/x",
        "live/x y/1/z",
        "recordings/live/1/a",
        "live/file",
    ];
    for name in left.iter().chain(&other) {
        std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        std::fs::write(root.join(name), "x").unwrap();
    }
    let exist = |names: &[&str]| names.iter().filter(|name| root.join(name).exists()).count();
    let mirror = Mirror::start(&store);
    let mut stream = Stream::announce(&mirror.directory, "chanAAAA0006", 5);
    stream.push(3);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(exist(&left), 2, "it may be another process's live channel");

    // An hour passes in which the live channel is held without a new segment.
    mirror.clock.advance_millis(3_600_000);
    sleep(Duration::from_secs(601)).await;
    assert_eq!(exist(&left), 0);
    assert_eq!(exist(&other), other.len());
    assert_eq!(stream.mirrored(&store).await.segments.len(), 3);

    // What this run left is the next run's to sweep, soon after its start.
    mirror.tasks.stop().await;
    let next = Mirror::start(&store);
    next.clock.advance_millis(3_600_000);
    sleep(Duration::from_secs(11)).await;
    assert!(stream.stored(&root).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_stores_the_end_and_does_not_wait_for_more() {
    let (_dir, _root, store) = folder();
    let mirror = Mirror::start(&store);
    let mut stream = Stream::announce(&mirror.directory, "chanAAAA0007", 1);
    stream.push(3);
    stream.mirrored(&store).await;
    let mut still_live = Stream::announce(&mirror.directory, "chanAAAA0008", 1);
    still_live.push(1);
    still_live.mirrored(&store).await;
    stream.push(1);
    stream.end();
    let stopping = Instant::now();
    mirror.tasks.stop().await;
    assert!(
        stopping.elapsed() < Duration::from_secs(10),
        "{:?}",
        stopping.elapsed()
    );
    let playlist = stream.mirrored(&store).await;
    assert!(playlist.end_list);
    assert_eq!(playlist.segments.len(), 4);
    assert!(!still_live.mirrored(&store).await.end_list);
}
