//! A channel's task with encoders that a test plays: no socket, no database, and mostly no real time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::base::clock::{Clock, SharedClock, SimulatedClock, SystemClock, WallTime};
use crate::base::tasks::Tasks;
use crate::events::{Bus, Heard, Subscription};
use crate::ingest::{MediaSender, Trouble, media_queue};
use crate::live::metadata;
use crate::live::plan::Transcoding;
use crate::live::{Config, Registry, SlateMode, start};
use crate::media::Sample;
use crate::media::codec::VideoConfig;
use crate::model::Channel;
use crate::model::channel::{ChannelType, Settings};
use crate::model::repository::{Epoch, RunningEpoch};
use crate::playlist::{self, Directory, RenditionHandle};
use crate::transcode::slate::tests::black;

mod failover;
mod seating;

/// A picture's duration: 30 a second.
const FRAME: i64 = 3000;
/// Pictures in two seconds.
const GOP: i64 = 60;
/// More than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// Numbers, and nothing behind them.
#[derive(Default)]
struct Epochs {
    newest: AtomicU64,
    /// How often it fails yet to reserve more.
    failures: AtomicU64,
    /// What was reserved last.
    reserved: AtomicU64,
}

#[async_trait]
impl EpochRepository for Epochs {
    async fn begin_epoch(&self, _: &ChannelId) -> Result<Epoch, repository::Error> {
        let number = self.newest.fetch_add(1, Ordering::SeqCst) + 1;
        let first_msn = number * EPOCH_MSN_RESERVE;
        Ok(Epoch { number, first_msn })
    }

    async fn extend_epoch(
        &self,
        _: &ChannelId,
        epoch: u64,
        until: u64,
    ) -> Result<(), repository::Error> {
        if epoch != self.newest.load(Ordering::SeqCst) {
            return Err(repository::Error::Superseded);
        }
        let left = |left: u64| left.checked_sub(1);
        let failed = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
        if failed.is_ok() {
            return Err(repository::Error::Database("seeded".into()));
        }
        self.reserved.store(until, Ordering::SeqCst);
        Ok(())
    }

    async fn resume_epoch(
        &self,
        channel: &ChannelId,
        _: u64,
        _: u64,
    ) -> Result<Epoch, repository::Error> {
        self.begin_epoch(channel).await
    }

    async fn running_epochs(&self, _: u32) -> Result<Vec<RunningEpoch>, repository::Error> {
        Ok(Vec::new())
    }

    async fn end_epoch(&self, _: &ChannelId, _: u64, _: u64) -> Result<(), repository::Error> {
        Ok(())
    }

    async fn abandon_epoch(&self, _: &ChannelId, _: u64) -> Result<(), repository::Error> {
        Ok(())
    }
}

/// A clock that may break: who reads it then panics, once.
#[derive(Debug, Default)]
struct Fragile(AtomicBool);

impl Clock for Fragile {
    fn now(&self) -> WallTime {
        assert!(!self.0.swap(false, Ordering::SeqCst), "seeded");
        WallTime(0)
    }
}

/// A server with one channel.
struct Bench {
    registry: Arc<Registry>,
    directory: Arc<Directory>,
    channel: Channel,
    failover: Option<FailoverSlateConfiguration>,
    events: Subscription,
    /// Events heard, by name and stream session.
    heard: Vec<(&'static str, String)>,
}

/// Gaps are listed where pictures are missing.
fn gaps() -> Config {
    Config {
        slate: SlateMode::Gap,
        ..Config::default()
    }
}

impl Bench {
    /// Sources are passed through, and gaps are listed without them.
    fn new() -> Self {
        Self::with(gaps(), false, Arc::new(SimulatedClock::default()))
    }

    fn with(config: Config, is_transcoding: bool, clock: SharedClock) -> Self {
        let settings = Settings {
            channel_type: Some(ChannelType::Basic),
            ..Settings::default()
        };
        let mut transcoding = Transcoding {
            config: crate::transcode::Config::default(),
            ladders: Arc::default(),
        };
        transcoding.config.enabled = is_transcoding;
        let (directory, bus) = (Arc::new(Directory::new()), Arc::new(Bus::new()));
        let events = bus.subscribe();
        let registry = Registry::new(Context {
            config,
            grid: playlist::Config::default(),
            transcoding,
            directory: Arc::clone(&directory),
            epochs: Arc::new(Epochs::default()),
            events: bus,
            clock,
            tasks: Tasks::new(),
        });
        Self {
            registry,
            directory,
            channel: Channel::create(&settings, WallTime(0)).unwrap(),
            failover: None,
            events,
            heard: Vec::new(),
        }
    }

    /// An encoder connects, whose stream session has this id.
    fn publish(&self, stream_id: &str, priority: Option<u32>) -> Encoder {
        let (media_tx, media_rx) = media_queue(1024, 1 << 25);
        let (stop_tx, stopped) = oneshot::channel();
        self.registry.attach(Attach {
            channel: self.channel.clone(),
            failover: self.failover.clone(),
            stream_id: stream_id.to_owned(),
            encoder: "a test".to_owned(),
            priority,
            media_rx,
            stop_tx,
        });
        Encoder {
            media_tx,
            stopped,
            next: 0,
        }
    }

    /// Waits for the next event of this name; its stream session.
    async fn hear(&mut self, name: &str) -> String {
        let hear = async {
            loop {
                let Some(Heard::Event(event)) = self.events.next().await else {
                    panic!("events are missing: {:?}", self.heard);
                };
                let stream_id = event.stream_id.clone().unwrap_or_default();
                self.heard.push((event.name(), stream_id.clone()));
                if event.name() == name {
                    return stream_id;
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, hear).await;
        heard.unwrap_or_else(|_| panic!("no {name}"))
    }

    /// The sessions of all events of this name that were emitted up to now.
    fn told(&self, name: &str) -> Vec<String> {
        let newest = self.registry.events().newest(&self.channel.id);
        let named = newest.iter().rev().filter(|event| event.name() == name);
        named
            .map(|event| event.stream_id.clone().unwrap_or_default())
            .collect()
    }

    fn status(&self) -> Status {
        self.registry.health(&self.channel.id).unwrap().0
    }

    /// The first rendition, once it is announced.
    async fn rendition(&self) -> Arc<RenditionHandle> {
        let mut changes = self.directory.changes();
        loop {
            if let Some(live) = self.directory.live(self.channel.id.as_str()) {
                return Arc::clone(&live.renditions[0]);
            }
            changes.changed().await.unwrap();
        }
    }

    /// Lets the channel's task do all that it can do now.
    async fn settle(&self) {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }
}

/// An encoder.
struct Encoder {
    media_tx: MediaSender,
    stopped: oneshot::Receiver<Refusal>,
    /// Its next picture.
    next: i64,
}

impl Encoder {
    async fn send(&self, event: MediaEvent) {
        self.media_tx.send(event).await.unwrap();
    }

    async fn configure(&self) {
        self.send(MediaEvent::VideoConfig(start::tests::video(1280)))
            .await;
    }

    /// Sends so many pictures, a keyframe each two seconds.
    async fn pictures(&mut self, count: i64) {
        for n in self.next..self.next + count {
            self.send(MediaEvent::Sample(Sample {
                track: TrackKind::Video,
                dts: n * FRAME,
                composition_offset: 0,
                is_sync: n % GOP == 0,
                data: Bytes::from_static(&[0; 100]),
            }))
            .await;
        }
        self.next += count;
    }

    /// Sends what makes it watchable.
    async fn start(&mut self) {
        self.configure().await;
        self.pictures(GOP + 1).await;
    }

    /// Waits for what it is told at its end.
    async fn refusal(&mut self) -> String {
        let told = tokio::time::timeout(PATIENCE, &mut self.stopped).await;
        told.expect("a word at the end").unwrap().description
    }

    fn is_there(&mut self) -> bool {
        self.stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }
}

/// The playlist behind each DISCONTINUITY, and what is before the first.
fn timelines(snapshot: &playlist::Snapshot) -> usize {
    text(snapshot).split("#EXT-X-DISCONTINUITY\n").count()
}

fn text(snapshot: &playlist::Snapshot) -> String {
    String::from_utf8(snapshot.playlist(false, false).to_vec()).unwrap()
}

/// Whether there are pictures behind the last DISCONTINUITY.
fn shows_a_new_timeline(snapshot: &Arc<playlist::Snapshot>) -> bool {
    let text = text(snapshot);
    let last = text.rsplit_once("#EXT-X-DISCONTINUITY\n");
    let mut parts = last.iter().flat_map(|(_, last)| last.lines());
    parts.any(|line| line.starts_with("#EXT-X-PART:") && !line.contains("GAP=YES"))
}

fn configuration(config: &Arc<VideoConfig>) -> MediaEvent {
    MediaEvent::VideoConfig(Arc::clone(config))
}

#[tokio::test]
async fn a_lost_transcoder_is_replaced_in_the_middle_of_a_gop() {
    let mut bench = Bench::with(gaps(), true, Arc::new(SystemClock));
    let reel = tokio::task::spawn_blocking(|| black(300)).await.unwrap();
    let encoder = bench.publish("st-a", None);
    encoder.send(configuration(&reel.config)).await;
    let picture = |n: i64, dts: i64| {
        let sample = reel.samples[usize::try_from(n).unwrap()].clone();
        MediaEvent::Sample(Sample { dts, ..sample })
    };
    let mut pace = tokio::time::interval(Duration::from_millis(33));
    // An encoder's pace: first what makes it live, then what has to run before it may be begun anew.
    for n in 0..76 {
        encoder.send(picture(n, n * FRAME)).await;
    }
    bench.hear("Stream Start").await;
    let channel_id = bench.channel.id.as_str();
    let is_awaited = bench.directory.is_expected(channel_id);
    assert!(is_awaited || bench.directory.live(channel_id).is_some());
    let rendition = bench.rendition().await;
    assert!(!bench.directory.is_expected(channel_id));
    for n in 76..156 {
        pace.tick().await;
        encoder.send(picture(n, n * FRAME)).await;
    }
    // The frame grid fits no segment any more: what was encoded is given up.
    let later = 20 * 90_000;
    let mut snapshot = rendition.snapshot.clone();
    let lost = Instant::now();
    let go_on = async {
        for n in 156..216 {
            encoder.send(picture(n, n * FRAME + later)).await;
            pace.tick().await;
        }
    };
    let new = async {
        snapshot.wait_for(shows_a_new_timeline).await.unwrap();
        lost.elapsed()
    };
    let (new, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(10), new), go_on);
    let waited = new.expect("new pictures");
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    assert_eq!(timelines(&snapshot.borrow()), 2, "nothing filled it");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_floods_stops_neither_the_clock_nor_another_one() {
    let mut bench = Bench::new();
    let mut flooding = bench.publish("st-a", None);
    flooding.start().await;
    bench.hear("Stream Start").await;
    let media_tx = flooding.media_tx.clone();
    // What it sends says nothing; there is always more of it than is taken at once.
    let nothing = || MediaEvent::Trouble(Trouble::default());
    let flood = async move {
        loop {
            while matches!(media_tx.try_send(nothing()), Ok(None)) {}
            tokio::task::yield_now().await;
        }
    };
    let drive = async {
        bench.settle().await;
        tokio::time::advance(Duration::from_millis(1500)).await;
        bench.settle().await;
        let (_, report) = bench.registry.health(&bench.channel.id).unwrap();
        assert_eq!(report.seconds.len(), 1, "a second is over");
        let mut newer = bench.publish("st-b", None);
        newer.start().await;
        bench.settle().await;
        assert_eq!(bench.told("Stream Start"), ["st-a", "st-b"]);
    };
    tokio::select! {
        biased;
        () = flood => {}
        () = drive => {}
    }
}

#[tokio::test(start_paused = true)]
async fn pictures_that_wait_in_the_queue_are_not_missing() {
    let mut bench = Bench::new();
    let mut encoder = bench.publish("st-a", None);
    encoder.start().await;
    bench.hear("Stream Start").await;
    let rendition = bench.rendition().await;
    bench.settle().await;
    // The machine stands still for longer than pictures may stay away.
    for _ in 0..10 {
        encoder.send(MediaEvent::Trouble(Trouble::default())).await;
    }
    encoder.pictures(GOP / 2).await;
    tokio::time::advance(Duration::from_secs(4)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(timelines(&rendition.snapshot.borrow()), 1);
    // Now they do stay away.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(timelines(&rendition.snapshot.borrow()), 2);
}

#[tokio::test(start_paused = true)]
async fn what_ends_already_is_offline_and_who_comes_meanwhile_is_served() {
    let mut bench = Bench::new();
    let mut first = bench.publish("st-a", None);
    first.start().await;
    bench.hear("Stream Start").await;
    first.send(MediaEvent::End(EndReason::Unpublished)).await;
    bench.hear("Session Ended").await;
    assert!(!bench.registry.stop(&bench.channel.id), "it ends already");
    assert!(bench.registry.list().is_empty());
    assert!(bench.registry.health(&bench.channel.id).is_none());
    let mut second = bench.publish("st-b", None);
    second.start().await;
    assert_eq!(bench.hear("Stream Start").await, "st-b");
    assert!(bench.registry.stop(&bench.channel.id));
    assert_eq!(second.refusal().await, STOPPED);
    assert!(!bench.registry.stop(&bench.channel.id), "once");
}

#[tokio::test(start_paused = true)]
async fn a_panic_leaves_nothing_behind_that_says_the_channel_is_live() {
    let clock = Arc::new(Fragile::default());
    let mut bench = Bench::with(gaps(), false, Arc::clone(&clock) as SharedClock);
    let mut first = bench.publish("st-a", None);
    first.start().await;
    bench.hear("Stream Start").await;
    let live = bench.directory.live(bench.channel.id.as_str()).unwrap();
    let waiting = bench.publish("st-b", None);
    waiting.configure().await;
    bench.settle().await;
    clock.0.store(true, Ordering::SeqCst);
    // The next second is measured by a broken clock.
    let told = tokio::time::timeout(PATIENCE, &mut first.stopped).await;
    assert!(told.unwrap().is_err(), "nobody is left to tell");
    bench.settle().await;
    assert!(bench.registry.list().is_empty());
    assert!(bench.directory.live(&live.channel_id).is_none());
    assert!(
        bench
            .directory
            .epoch(&live.channel_id, live.epoch)
            .is_none()
    );
    assert_eq!(bench.told("Stream End"), ["st-a"]);
    assert_eq!(bench.told("Session Ended"), ["st-a", "st-b"]);
    let mut second = bench.publish("st-c", None);
    second.start().await;
    assert_eq!(bench.hear("Stream Start").await, "st-c");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_it_is_live_leaves_the_hold_as_it_was() {
    let mut bench = Bench::new();
    let mut first = bench.publish("st-a", None);
    first.start().await;
    bench.hear("Stream Start").await;
    let epoch = bench
        .directory
        .live(bench.channel.id.as_str())
        .unwrap()
        .epoch;
    drop(first);
    bench.hear("Stream End").await;
    let short = bench.publish("st-b", None);
    short.configure().await;
    short.send(MediaEvent::End(EndReason::Unpublished)).await;
    bench.hear("Session Ended").await;
    assert_eq!(bench.hear("Session Ended").await, "st-b");
    let mut second = bench.publish("st-c", None);
    second.start().await;
    assert_eq!(bench.hear("Stream Start").await, "st-c");
    let live = bench.directory.live(bench.channel.id.as_str()).unwrap();
    assert_eq!(live.epoch, epoch, "the same playlists");
}

#[tokio::test(start_paused = true)]
async fn who_returns_is_judged_by_the_grid_of_the_playlists_that_are_open() {
    let mut bench = Bench::new();
    let mut first = bench.publish("st-a", None);
    first.start().await;
    bench.hear("Stream Start").await;
    drop(first);
    // Whole frames would fill too little of such parts, and nothing is transcoded here.
    bench.channel.part_target_ms = Some(130);
    let mut second = bench.publish("st-b", None);
    second.start().await;
    assert_eq!(bench.hear("Stream Start").await, "st-b");
    assert!(second.is_there());
}

#[tokio::test(start_paused = true)]
async fn a_starvation_ends_in_the_stream_session_in_which_it_began() {
    let mut bench = Bench::new();
    let mut first = bench.publish("st-a", None);
    first.start().await;
    let starve = async |encoder: &mut Encoder| {
        for _ in 0..15 {
            encoder.pictures(10).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    starve(&mut first).await;
    assert_eq!(bench.told("Starvation Start"), ["st-a"]);
    // It is taken over: a new encoder, whose own pace is not known yet.
    let mut second = bench.publish("st-b", Some(1));
    second.start().await;
    bench.hear("Stream Takeover").await;
    assert_eq!(bench.told("Starvation End"), ["st-a"]);
    starve(&mut second).await;
    assert_eq!(bench.told("Starvation Start"), ["st-a", "st-a"]);
    // It is lost, and another one returns.
    drop(second);
    bench.hear("Stream End").await;
    assert_eq!(bench.told("Starvation End"), ["st-a", "st-a"]);
    let mut third = bench.publish("st-c", None);
    third.start().await;
    bench.hear("Stream Start").await;
    assert_eq!(bench.told("Starvation End").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn numbers_are_reserved_however_often_the_database_fails() {
    let (epochs, id) = (Epochs::default(), Bench::new().channel.id);
    let epoch = epochs.begin_epoch(&id).await.unwrap();
    epochs.failures.store(5, Ordering::SeqCst);
    extend_epoch(&epochs, &id, epoch.number, 200_000).await;
    assert_eq!(epochs.reserved.load(Ordering::SeqCst), 200_000);
    epochs.begin_epoch(&id).await.unwrap();
    // It is nobody's any more: it ends all the same.
    extend_epoch(&epochs, &id, epoch.number, 300_000).await;
    assert_eq!(epochs.reserved.load(Ordering::SeqCst), 200_000);
}

#[tokio::test(start_paused = true)]
async fn texts_of_owner_and_publisher_are_shown_while_the_channel_is_live() {
    let mut bench = Bench::new();
    let not_live = Err(metadata::Refused::NotLive);
    let put = |bench: &Bench, text| bench.registry.put_metadata(&bench.channel.id, text);
    assert_eq!(put(&bench, "early"), not_live);
    let mut encoder = bench.publish("st-a", None);
    encoder.send(MediaEvent::Text("early".to_owned())).await;
    encoder.start().await;
    bench.hear("Stream Start").await;
    assert_eq!(put(&bench, ""), Err(metadata::Refused::Length(0)));
    assert_eq!(put(&bench, "a goal"), Ok(()));
    encoder.send(MediaEvent::Text("half time".to_owned())).await;
    bench.settle().await;
    encoder.pictures(20).await;
    bench.settle().await;
    let snapshot = bench.rendition().await.snapshot.borrow().clone();
    let whole = snapshot.listed().flat_map(|segment| segment.pieces());
    let playlist::Position { msn, part } = snapshot.last().unwrap();
    let open = (0..=part).filter_map(|part| snapshot.part(playlist::Position { msn, part }));
    let bytes: Vec<u8> = whole.chain(open).flatten().collect();
    let count = |text: &str| {
        bytes
            .windows(text.len())
            .filter(|w| *w == text.as_bytes())
            .count()
    };
    assert_eq!(
        count("metadata.live-video.net\0a goal"),
        2,
        "once in each form"
    );
    assert_eq!(count("inband.metadata.live-video.net\0half time"), 2);
    assert_eq!(count("early"), 0);

    drop(encoder);
    bench.settle().await;
    assert_eq!(put(&bench, "late"), not_live);
}
