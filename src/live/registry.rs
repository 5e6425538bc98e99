//! Who is live: one task per publishing channel, and what each says of itself.
//!
//! In:  admitted publishers. Out: [`Status`] of every live channel. A publisher of a channel that
//! has a task already is handed to that task, which replaces the older one.
//! Not here: keys (`gate`), media (`session`).

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::health::{Health, Report, SECONDS, Summary};
use super::ledger::Ledger;
use super::measures::Look;
use super::metadata::{self, Inlet};
use super::plan::Transcoding;
use super::session::resume::Resumption;
use super::{Config, Ingest, session};
use crate::base::clock::{SharedClock, WallTime};
use crate::base::tasks::Tasks;
use crate::events::{Bus, Event, Kind, ServerLimit};
use crate::ingest::{MediaReceiver, Refusal, RefusalCode};
use crate::model::breaks::FailoverSlateConfiguration;
use crate::model::repository::{EpochRepository, RunningEpoch};
use crate::model::{Channel, ChannelId, StreamId};
use crate::playlist::{self, AdBreak, Directory};
use crate::recording::restore::Restorer;

/// What every channel task needs.
pub struct Context {
    /// This room's settings.
    pub config: Config,
    /// Parts, segments and window, frozen per epoch; a channel may set its own part target.
    pub grid: playlist::Config,
    /// What streams are transcoded into.
    pub transcoding: Transcoding,
    /// Where windows are announced.
    pub directory: Arc<Directory>,
    /// Where epochs are made durable.
    pub epochs: Arc<dyn EpochRepository>,
    /// Who is told what happens.
    pub events: Arc<Bus>,
    /// Wall clock for PROGRAM-DATE-TIME and start times.
    pub clock: SharedClock,
    /// The tasks of this room.
    pub tasks: Tasks,
}

/// A publisher on its way to its channel's task.
pub(super) struct Attach {
    /// The channel as it was when the key was looked up.
    pub(super) channel: Channel,
    /// What the channel has to say of slates.
    pub(super) failover: Option<FailoverSlateConfiguration>,
    /// The stream session's id, `st-…`.
    pub(super) stream_id: String,
    /// The encoder as it names itself.
    pub(super) encoder: String,
    /// `?priority=` of the publish, for takeovers.
    pub(super) priority: Option<u32>,
    /// What it sends.
    pub(super) media_rx: MediaReceiver,
    /// Ends its connection, with the reason for the streamer.
    pub(super) stop_tx: oneshot::Sender<Refusal>,
}

/// Whether a live channel has a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A publisher is connected, nothing is playable yet.
    Starting,
    /// A publisher sends and viewers can watch.
    Live,
    /// The publisher was lost; the playlists wait for it.
    Held,
}

impl State {
    /// IVS's word for how a stream comes of which that was measured.
    fn summary(self, measured: Summary) -> Summary {
        match self {
            Self::Starting => Summary::Unknown,
            Self::Live => measured,
            Self::Held => Summary::Starving,
        }
    }
}

/// What is known of a live channel.
#[derive(Clone, Debug)]
pub struct Status {
    /// The channel.
    pub channel: Channel,
    /// The stream session, `st-…`.
    pub stream_id: String,
    /// Whether it has a publisher.
    pub state: State,
    /// When this stream session began to be watchable.
    pub started: WallTime,
    /// Displayed picture size in pixels.
    pub size: (u16, u16),
    /// Frames per 1000 seconds.
    pub fps_millis: u32,
    /// What its publisher sends, once that is known.
    pub ingest: Option<Ingest>,
    /// What every viewer may know, in words.
    pub notices: Vec<String>,
    /// Renditions that are left out for now because the machine is overloaded.
    pub shed: BTreeSet<String>,
}

/// What a channel's task begins with.
enum First {
    Publisher(Attach),
    /// Playlists of a process that died.
    Playlists(Resumption),
}

/// A channel task as the registry holds it.
pub(super) struct Entry {
    attach_tx: mpsc::Sender<Attach>,
    pub(super) status: Arc<Mutex<Status>>,
    pub(super) health: Arc<Mutex<Health>>,
    pub(super) ledger: Arc<Ledger>,
    inlet: Inlet,
    /// Ends the task, its publisher's connection and its playlists; cancelled too once they end by
    /// themselves.
    pub(super) stop: CancellationToken,
}

/// All channel tasks.
pub struct Registry {
    context: Arc<Context>,
    entries: Mutex<HashMap<String, Entry>>,
}

impl Registry {
    /// An empty registry.
    pub fn new(context: Context) -> Arc<Self> {
        Arc::new(Self {
            context: Arc::new(context),
            entries: Mutex::default(),
        })
    }

    /// Where the channels' events are heard.
    pub fn events(&self) -> &Arc<Bus> {
        &self.context.events
    }

    /// Every channel that viewers can watch or that is held, by channel id; not one whose stream ends already.
    pub fn list(&self) -> Vec<Status> {
        let entries = lock(&self.entries);
        let running = entries.values().filter(|entry| entry.is_running());
        let mut all: Vec<_> = running.map(Entry::status).collect();
        drop(entries);
        all.retain(|status| status.state != State::Starting);
        all.sort_by(|a, b| a.channel.id.cmp(&b.channel.id));
        all
    }

    /// What is known of a channel and of how its stream comes; none without a publisher or a hold, as in
    /// [`Registry::list`].
    pub fn health(&self, channel_id: &ChannelId) -> Option<(Status, Report)> {
        let entries = lock(&self.entries);
        let entry = entries.get(channel_id.as_str());
        let entry = entry.filter(|entry| entry.is_running())?;
        let (status, health) = (entry.status(), Arc::clone(&entry.health));
        drop(entries);
        let mut report = lock(&health).report(SECONDS);
        report.summary = status.state.summary(report.summary);
        Some((status, report))
    }

    /// What the metrics are made of: every channel as in [`Registry::list`], with the seconds that were measured
    /// after the time that `seen` gives for its id.
    pub(super) fn looks(&self, seen: impl Fn(&str) -> WallTime) -> Vec<Look> {
        let entries = lock(&self.entries);
        let running = entries.iter().filter(|(_, entry)| entry.is_running());
        let of_each = running.map(|(id, entry)| {
            let state = lock(&entry.status).state;
            (id.clone(), state, Arc::clone(&entry.health))
        });
        let mut all: Vec<_> = of_each.collect();
        drop(entries);
        all.retain(|(_, state, _)| *state != State::Starting);
        let look = |(channel, state, health): (String, State, Arc<Mutex<Health>>)| {
            let audience = self.context.directory.audience(&channel);
            let health = lock(&health);
            Look {
                summary: state.summary(health.summary()),
                seconds: health.since(seen(&channel)),
                viewers: audience.as_ref().map_or(0, |it| it.count(Instant::now())),
                uncounted: audience.map_or(0, |audience| audience.unplaced()),
                channel,
            }
        };
        all.into_iter().map(look).collect()
    }

    /// Ends a channel's stream: its publisher is sent away, its playlists end; whether there was one.
    /// The stream key stays valid: who publishes again begins a new stream.
    pub fn stop(&self, channel_id: &ChannelId) -> bool {
        let entries = lock(&self.entries);
        let Some(entry) = entries.get(channel_id.as_str()) else {
            return false;
        };
        let is_running = entry.is_running();
        entry.stop.cancel();
        is_running
    }

    /// Has `text` shown to all who watch a live channel, at one moment of the stream.
    pub fn put_metadata(
        &self,
        channel_id: &ChannelId,
        text: &str,
    ) -> Result<(), metadata::Refused> {
        metadata::check(text)?;
        self.with_inlet(
            channel_id,
            |state| state == State::Live,
            |inlet| inlet.put_text(text, Instant::now()),
        )
    }

    /// Lists an ad break in the playlists of a channel that is on air.
    pub fn add_break(
        &self,
        channel_id: &ChannelId,
        ad_break: AdBreak,
    ) -> Result<(), metadata::Refused> {
        let now = self.context.clock.now();
        self.with_inlet(
            channel_id,
            |state| state != State::Starting,
            |inlet| inlet.put_break(ad_break, now),
        )
    }

    fn with_inlet(
        &self,
        channel_id: &ChannelId,
        may: impl Fn(State) -> bool,
        put: impl FnOnce(&Inlet) -> Result<(), metadata::Refused>,
    ) -> Result<(), metadata::Refused> {
        let entries = lock(&self.entries);
        let entry = entries.get(channel_id.as_str());
        let may = |entry: &&Entry| entry.is_running() && may(lock(&entry.status).state);
        let entry = entry.filter(may).ok_or(metadata::Refused::NotLive)?;
        put(&entry.inlet)
    }

    /// How many watch a channel now.
    pub fn viewers(&self, channel: &Channel) -> u64 {
        let audience = self.context.directory.audience(channel.id.as_str());
        audience.map_or(0, |audience| audience.count(Instant::now()))
    }

    /// Hands a publisher to its channel's task, starting one if there is none; refused when the
    /// task is swamped by publishers, or too many channels are on air.
    pub(super) fn attach(self: &Arc<Self>, attach: Attach) {
        let mut entries = lock(&self.entries);
        let mut attach = attach;
        let channel = attach.channel.clone();
        if let Some(entry) = entries.get(channel.id.as_str()) {
            match entry.attach_tx.try_send(attach) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(back)) => {
                    return back.refuse("too many connections publish with this stream key");
                }
                Err(mpsc::error::TrySendError::Closed(back)) => attach = back,
            }
        }
        let running = entries.values().filter(|entry| entry.is_running()).count();
        let (running, most) = (running as u64, u64::from(self.context.config.max_streams));
        if running >= most {
            let kind = Kind::ServerLimitBreach {
                limit: ServerLimit::Broadcasts,
                limit_value: most,
                exceeded_by: running + 1 - most,
            };
            let event = Event::new(self.context.clock.now(), &channel, None, kind);
            self.context.events.emit(event);
            let words = format!("{most} channels are on air, and more may not be; try again later");
            return attach.refuse(&words);
        }
        let stream_id = attach.stream_id.clone();
        self.start(&mut entries, channel, stream_id, First::Publisher(attach));
    }

    /// Takes up the playlists of a process that died, in a task of their own. Whoever publishes or
    /// watches meanwhile waits for the outcome.
    pub fn resume(self: &Arc<Self>, channel: Channel, running: RunningEpoch, restorer: &Restorer) {
        let mut entries = lock(&self.entries);
        if entries.contains_key(channel.id.as_str()) {
            return;
        }
        let first = First::Playlists(Resumption {
            running,
            restorer: restorer.clone(),
            expected: self.context.directory.expect(channel.id.as_str()),
        });
        let stream_id = StreamId::random().to_string();
        self.start(&mut entries, channel, stream_id, first);
    }

    /// Starts a channel's task.
    fn start(
        self: &Arc<Self>,
        entries: &mut HashMap<String, Entry>,
        channel: Channel,
        stream_id: String,
        first: First,
    ) {
        let (attach_tx, attach_rx) = mpsc::channel(4);
        let status = Status {
            channel: channel.clone(),
            stream_id,
            state: State::Starting,
            started: self.context.clock.now(),
            size: (0, 0),
            fps_millis: 0,
            ingest: None,
            notices: Vec::new(),
            shed: BTreeSet::new(),
        };
        let (inlet, insert_rx) = Inlet::new();
        let entry = Entry {
            attach_tx,
            inlet,
            status: Arc::new(Mutex::new(status)),
            health: Arc::default(),
            ledger: Arc::default(),
            stop: CancellationToken::new(),
        };
        let ledger = Arc::clone(&entry.ledger);
        let task = session::ChannelTask::new(Arc::clone(&self.context), &entry, insert_rx);
        entries.insert(channel.id.to_string(), entry);
        metrics::gauge!("weir_channels_active").set(count(entries.len()));
        let registry = Arc::clone(self);
        let span = tracing::info_span!(parent: None, "channel", channel.id = %channel.id);
        let leaves = Leaves {
            registry: Arc::clone(self),
            channel,
        };
        let serve = async move {
            match first {
                First::Publisher(attach) => Box::pin(task.run(Some(attach), attach_rx)).await,
                First::Playlists(resumption) => {
                    Box::pin(task.run_resumed(resumption, attach_rx)).await
                }
            }
        };
        let run = async move {
            let served = AssertUnwindSafe(Box::pin(serve)).catch_unwind().await;
            let unserved = served.unwrap_or_else(|panic| {
                registry.tell_ends(&leaves.channel, &ledger);
                resume_unwind(panic)
            });
            drop(leaves);
            for attach in unserved {
                registry.attach(attach);
            }
        };
        self.context.tasks.spawn("channel", run.instrument(span));
    }

    /// Tells what a channel's task, which panicked, cannot tell itself.
    fn tell_ends(&self, channel: &Channel, ledger: &Ledger) {
        let now = self.context.clock.now();
        for (stream_id, kind) in ledger.take_ends() {
            let event = Event::new(now, channel, Some(&stream_id), kind);
            self.context.events.emit(event);
        }
    }

    /// Forgets a channel's task after its end, unless a newer one took its place.
    fn remove(&self, channel: &Channel) {
        let mut entries = lock(&self.entries);
        if entries
            .get(channel.id.as_str())
            .is_some_and(|entry| entry.attach_tx.is_closed())
        {
            entries.remove(channel.id.as_str());
        }
        metrics::gauge!("weir_channels_active").set(count(entries.len()));
    }
}

/// Has the channel's task forgotten when dropped, even by a panic.
struct Leaves {
    registry: Arc<Registry>,
    channel: Channel,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        self.registry.remove(&self.channel);
    }
}

impl Entry {
    /// Whether its stream does not end yet: what only keeps its playlists for a while is offline.
    fn is_running(&self) -> bool {
        !self.attach_tx.is_closed() && !self.stop.is_cancelled()
    }

    fn status(&self) -> Status {
        let notices = lock(&self.health).notices();
        let status = lock(&self.status).clone();
        Status { notices, ..status }
    }
}

impl Attach {
    /// Turns the publisher away.
    pub(super) fn refuse(self, description: &str) {
        let refusal = Refusal::new(RefusalCode::Rejected, description);
        if self.stop_tx.send(refusal).is_err() {
            tracing::debug!(
                session.id = self.stream_id,
                "the publisher left before its refusal"
            );
        }
    }
}

/// A lock whose holder panicked still guards consistent data: every section only assigns.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of thousands")]
fn count(n: usize) -> f64 {
    n as f64
}
