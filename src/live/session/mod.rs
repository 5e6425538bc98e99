//! The task of one publishing channel: step 7 of the walk.
//!
//! In:  publishers, one after the other, and their media events. Out: the channel's playlists
//! (`output`), its [`Status`], events.
//! Life: Starting -> Live -> (lost) Held -> Live … -> ended by an explicit unpublish, a refusal, the
//! hold's expiry or the server's stop. The playlists belong to the channel, each stream session to
//! one publish, or to several that take it over. The first durable step is the epoch: nothing is
//! announced before it is stored.
//! While no pictures come, the playlists go on with a slate or with gaps (`filling`). A newcomer to a
//! live stream is a candidate until its pictures can be shown (`seats`).
//! Not here: what an event means (`intake`), what it does to the playlists (`stream`).

mod filling;
pub(super) mod resume;
mod seating;
pub(super) mod seats;
mod stream;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::filling::{Filling, next_slate};
use self::seats::{Seat, Seats};
use self::watch::Watch;
use super::TrackIngest;
use super::health::Health;
use super::intake::{Action, Ending, Intake};
use super::ledger::Ledger;
use super::metadata::Insert;
use super::output::{Next, Output};
use super::plan::Facts;
use super::registry::{Attach, Context, Entry, State, Status, lock};
use crate::base::retry::Backoff;
use crate::events::{Event, Kind};
use crate::ingest::{EndReason, MediaEvent, MediaReceiver, Refusal, RefusalCode};
use crate::media::TrackKind;
use crate::model::breaks::FailoverSlateConfiguration;
use crate::model::channel::LatencyMode;
use crate::model::repository::{self, EPOCH_MSN_RESERVE, EpochRepository};
use crate::model::{Channel, ChannelId};
use crate::playlist;

/// How long storing an epoch may take before the publisher is turned away.
const EPOCH_DEADLINE: Duration = Duration::from_secs(10);
/// Delays between tries to reserve more numbers; what is reserved lasts for a day at that time.
const EXTEND_DELAY: Duration = Duration::from_secs(1);
const LONGEST_EXTEND_DELAY: Duration = Duration::from_mins(1);
/// How long after its attachment a publisher must have become watchable.
const START_DEADLINE: Duration = Duration::from_secs(15);
/// How long before ENDLIST the last part is listed.
const LAST_PART_LEAD: Duration = Duration::from_secs(1);
/// What has run for less than this and is lost does not begin anew before the next keyframe.
const SHORT_RUN: Duration = Duration::from_secs(2);
/// So many events are taken before what is overdue is done: a publisher that sends without a pause does
/// not stop the clock, and what has waited in its queue is seen before it counts as missing.
const MAX_STREAK: u32 = 64;
/// What a publisher hears whose stream the operator ends.
const STOPPED: &str = "stopped by the operator";
/// The same with all streams.
const STOPPING: &str = "the server is stopping";
/// What a publisher hears whose place another one takes.
const REPLACED: &str = "replaced by a newer connection with the same stream key";

/// One publisher of the channel.
pub(super) struct Publisher {
    stream_id: String,
    encoder: String,
    priority: Option<u32>,
    /// As a candidate: whether it takes the stream session over.
    is_takeover: bool,
    /// How often its stream session was taken over.
    takeovers: u32,
    /// Whether its stream session was told of: a takeover has none of its own.
    is_announced: bool,
    media_rx: MediaReceiver,
    stop_tx: oneshot::Sender<Refusal>,
    intake: Intake,
    watch: Watch,
    /// Its further tracks of pictures.
    tracks: BTreeMap<u8, TrackIngest>,
    /// What its stream is, once that is known.
    facts: Option<Facts>,
    /// When it attached; since it is live: when its last picture was shown, or could be.
    seen: Instant,
    /// When its last picture came.
    sent: Instant,
    /// When its timeline began.
    begun: Instant,
    /// When its stream session became watchable.
    live_since: Option<Instant>,
}

/// The task's own state.
pub(super) struct ChannelTask {
    context: Arc<Context>,
    status: Arc<Mutex<Status>>,
    health: Arc<Mutex<Health>>,
    ledger: Arc<Ledger>,
    /// Told by the operator to end the stream.
    stop: CancellationToken,
    /// What its owner puts into the stream.
    insert_rx: mpsc::Receiver<Insert>,
    output: Option<Output>,
    /// Of the playlists that are open.
    open_grid: Option<playlist::Config>,
    /// What the playlists show while no pictures come.
    filling: Option<Filling>,
    /// What the channel has to say of it; else the configuration does.
    failover: Option<FailoverSlateConfiguration>,
    /// Whether a slate could not be made: gaps stay gaps.
    lacks_slate: bool,
    /// Held while one is being made.
    slate_turn: Arc<Semaphore>,
    epoch: u64,
    /// MSNs below this are reserved in the database.
    reserved_msn: u64,
    held_until: Option<Instant>,
}

/// What time brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The publisher's pictures have been missing, or its start has taken, too long.
    Publisher,
    /// A candidate's start has taken too long.
    Candidate,
    /// The stream is as long as a stream may be.
    Longest,
    /// Nobody has returned.
    Hold,
    /// Pictures have been missing for so long that something else is shown.
    Slate,
    /// The filler's next frame.
    Frame,
    /// A second of the publisher's is over.
    Second,
}

impl ChannelTask {
    pub(super) fn new(
        context: Arc<Context>,
        entry: &Entry,
        insert_rx: mpsc::Receiver<Insert>,
    ) -> Self {
        Self {
            context,
            status: Arc::clone(&entry.status),
            health: Arc::clone(&entry.health),
            ledger: Arc::clone(&entry.ledger),
            stop: entry.stop.clone(),
            insert_rx,
            output: None,
            open_grid: None,
            filling: None,
            failover: None,
            lacks_slate: false,
            slate_turn: Arc::new(Semaphore::new(1)),
            epoch: 0,
            reserved_msn: 0,
            held_until: None,
        }
    }

    /// The grid of the playlists that are open, whatever the channel is set to by now; else of those that would
    /// be opened for this channel with this part target.
    fn grid(&self, channel: &Channel, part_target_ms: Option<u32>) -> playlist::Config {
        let grid = self.context.grid;
        self.open_grid.unwrap_or(playlist::Config {
            part_target_ms: part_target_ms.unwrap_or(grid.part_target_ms),
            is_low_latency: channel.latency_mode == LatencyMode::Low,
            ..grid
        })
    }

    /// Serves publishers until the channel's playlists end; gives back those not served.
    pub(super) async fn run(
        mut self,
        first: Option<Attach>,
        mut attach_rx: mpsc::Receiver<Attach>,
    ) -> Vec<Attach> {
        let (token, stop) = (self.context.tasks.token().clone(), self.stop.clone());
        let mut seats = Seats::default();
        if let Some(first) = first {
            self.seat(&mut seats, first).await;
        }
        let mut streak = 0;
        loop {
            let (due, what) = self.next_due(&seats);
            let is_late = due.is_some_and(|due| due <= Instant::now());
            streak = if is_late { streak + 1 } else { 0 };
            let is_over = tokio::select! {
                biased;
                () = token.cancelled() => true,
                () = stop.cancelled() => true,
                () = std::future::ready(()), if streak > MAX_STREAK => {
                    streak = 0;
                    self.is_due(&mut seats, what).await
                }
                Some(attach) = attach_rx.recv() => {
                    self.seat(&mut seats, attach).await;
                    false
                }
                Some(insert) = self.insert_rx.recv() => {
                    self.insert(insert);
                    false
                }
                next = next_of_output(&mut self.output) => {
                    self.take_next(next, &mut seats.current).await;
                    false
                }
                made = next_slate(&mut self.filling) => {
                    self.slate_made(made);
                    false
                }
                (seat, event) = next_event(&mut seats) => match seat {
                    Seat::Current => self.publisher_sent(&mut seats, event).await,
                    Seat::Candidate => self.candidate_sent(&mut seats, event).await,
                },
                () = sleep_until(due) => {
                    streak = 0;
                    self.is_due(&mut seats, what).await
                }
            };
            if is_over {
                break;
            }
        }
        let words = if stop.is_cancelled() {
            STOPPED
        } else {
            STOPPING
        };
        // From here on there is nothing left to stop; whoever asks for it is to know.
        stop.cancel();
        for publisher in [seats.current, seats.candidate].into_iter().flatten() {
            self.leave(publisher, words);
        }
        self.finish().await;
        unserved(attach_rx)
    }

    /// What time brings next, and when.
    fn next_due(&self, seats: &Seats) -> (Option<Instant>, Due) {
        let seconds = Duration::from_secs;
        let config = &self.context.config;
        let silence = |publisher: &Publisher| match publisher.live_since {
            Some(_) => publisher.seen + seconds(config.video_silence_seconds),
            None => publisher.seen + START_DEADLINE,
        };
        let current = seats.current.as_ref();
        let live = current.filter(|publisher| publisher.live_since.is_some());
        let slate = live.filter(|_| self.filling.is_none() && self.may_be_filled());
        let longest = seconds(config.max_stream_seconds);
        let hold = if current.is_none() {
            self.held_until
        } else {
            None
        };
        let all = [
            (current.map(silence), Due::Publisher),
            (seats.candidate.as_ref().map(silence), Due::Candidate),
            (
                live.and_then(|p| Some(p.live_since? + longest)),
                Due::Longest,
            ),
            (hold, Due::Hold),
            (
                slate.map(|p| p.seen.max(p.sent) + self.slate_after()),
                Due::Slate,
            ),
            (self.filling.as_ref().map(Filling::due), Due::Frame),
            (current.map(|p| p.watch.next()), Due::Second),
        ];
        let timed = all.into_iter().filter(|(at, _)| at.is_some());
        timed.min_by_key(|(at, _)| *at).unwrap_or((None, Due::Hold))
    }

    /// Whether the playlists end with it.
    async fn is_due(&mut self, seats: &mut Seats, what: Due) -> bool {
        match what {
            Due::Publisher | Due::Longest => {
                let Some(publisher) = seats.current.take() else {
                    return false;
                };
                let ending = if what == Due::Longest {
                    let longest = self.context.config.max_stream_seconds;
                    Ending::Refused(format!("a stream may last {longest} s; start a new one"))
                } else {
                    publisher.overdue()
                };
                self.part_with(seats, publisher, ending).await
            }
            Due::Candidate => {
                if let Some(candidate) = seats.candidate.take() {
                    let Ending::Refused(words) = candidate.overdue() else {
                        return false;
                    };
                    self.leave(candidate, &words);
                }
                false
            }
            Due::Hold => {
                tracing::info!("the publisher did not return; ending the stream");
                true
            }
            Due::Slate => {
                tracing::warn!("no picture comes; the playlists go on without");
                if let Some(publisher) = &mut seats.current {
                    publisher.begin_anew();
                }
                self.begin_filler().await;
                false
            }
            Due::Frame => {
                self.fill().await;
                false
            }
            Due::Second => self.second_is_over(seats).await,
        }
    }

    /// The publisher's media. Whether the playlists end with it.
    async fn publisher_sent(&mut self, seats: &mut Seats, event: MediaEvent) -> bool {
        let Some(current) = &mut seats.current else {
            return false;
        };
        let is_picture =
            matches!(&event, MediaEvent::Sample(sample) if sample.track == TrackKind::Video);
        let action = match self.observe(current, &event) {
            Some(ending) => Action::Leave(ending),
            None if self.slate_stays(&event) => {
                current.seen = Instant::now();
                Action::Wait
            }
            None => current.intake.take(event),
        };
        if is_picture {
            current.sent = Instant::now();
            if self.filling.is_some() && current.live_since.is_some() {
                // It sends, though nothing can be shown before its next keyframe.
                current.seen = current.sent;
            }
        }
        let Err(ending) = self.act(current, action).await else {
            return false;
        };
        match seats.current.take() {
            Some(publisher) => self.part_with(seats, publisher, ending).await,
            None => false,
        }
    }

    /// Ends a publisher's part; whether the channel's playlists end with it. A candidate takes the
    /// place at once.
    async fn part_with(&mut self, seats: &mut Seats, publisher: Publisher, ending: Ending) -> bool {
        let stream_id = publisher.stream_id.clone();
        let is_over = match ending {
            Ending::Unpublished => {
                tracing::info!(session.id = stream_id, "publisher unpublished");
                let was_live = publisher.live_since.is_some();
                self.leave(publisher, "unpublished");
                was_live || self.nothing_is_held().await
            }
            Ending::Lost(reason) => {
                tracing::warn!(session.id = stream_id, reason, "publisher lost");
                self.leave(publisher, &reason);
                self.hold().await;
                self.output.is_none()
            }
            Ending::Refused(reason) => self.turn_away(publisher, &reason, None).await,
            Ending::Breach { code, words } => self.turn_away(publisher, &words, Some(code)).await,
        };
        if let Some(candidate) = seats.candidate.take() {
            self.hold().await;
            self.install(seats, candidate);
            return false;
        }
        is_over
    }

    /// Ends a publisher whose stream is not to be; whether the playlists end with it.
    async fn turn_away(
        &mut self,
        publisher: Publisher,
        reason: &str,
        code: Option<&'static str>,
    ) -> bool {
        let stream_id = &publisher.stream_id;
        tracing::warn!(session.id = stream_id, reason, code, "publisher refused");
        metrics::counter!("weir_streams_refused_total").increment(1);
        self.leave_with(publisher, reason, code);
        self.nothing_is_held().await
    }

    /// Whether the playlists end with a publisher that has left: one that was not live leaves a hold as it
    /// found it.
    async fn nothing_is_held(&mut self) -> bool {
        if self.held_until.is_some() {
            // It may have got as far as a timeline of its own.
            self.hold().await;
        }
        self.output.is_none() || self.held_until.is_none()
    }

    /// The end of a publisher, told to it and to all who listen.
    fn leave(&self, publisher: Publisher, words: &str) {
        self.leave_with(publisher, words, None);
    }

    fn leave_with(&self, mut publisher: Publisher, words: &str, code: Option<&'static str>) {
        self.end_watch(&mut publisher);
        if publisher.live_since.is_some() {
            self.keep_shed(&publisher, &BTreeSet::new());
            self.emit(&publisher, Kind::StreamEnd);
        }
        if publisher.is_announced {
            self.emit(&publisher, Kind::SessionEnded { code });
        }
        publisher.stop(words);
    }

    fn emit(&self, publisher: &Publisher, kind: Kind) {
        self.ledger.note(&publisher.stream_id, &kind);
        let channel = lock(&self.status).channel.clone();
        let now = self.context.clock.now();
        let event = Event::new(now, &channel, Some(&publisher.stream_id), kind);
        self.context.events.emit(event);
    }

    /// Closes the open segment and lets the playlists wait, from the first loss on.
    async fn hold(&mut self) {
        if self.output.is_none() {
            return;
        }
        let until = self.hold_until();
        self.held_until.get_or_insert(until);
        lock(&self.status).state = State::Held;
        if self.filling.is_none() {
            self.begin_filler().await;
        }
    }

    /// Moves the reservation on long before a very long stream reaches its end.
    fn reserve_msn(&mut self) {
        let Some(output) = &self.output else { return };
        if output.next_msn() + EPOCH_MSN_RESERVE / 2 < self.reserved_msn {
            return;
        }
        self.reserved_msn += EPOCH_MSN_RESERVE;
        let (epochs, epoch, until) = (
            Arc::clone(&self.context.epochs),
            self.epoch,
            self.reserved_msn,
        );
        let channel_id = lock(&self.status).channel.id.clone();
        let stop = self.stop.clone();
        self.context
            .tasks
            .spawn_cancellable("extend epoch", async move {
                let extended = extend_epoch(&*epochs, &channel_id, epoch, until);
                stop.run_until_cancelled(extended).await;
            });
    }

    /// Ends the playlists; they stay fetchable for a while.
    async fn finish(&mut self) {
        let Some(mut output) = self.output.take() else {
            return;
        };
        // Low-latency players take no more parts from a playlist that has ENDLIST: they get to
        // know the last one first.
        output.interrupt().await;
        self.filling = None;
        tokio::time::sleep(LAST_PART_LEAD).await;
        let next_msn = output.end();
        let (context, epoch) = (Arc::clone(&self.context), self.epoch);
        let channel_id = lock(&self.status).channel.id.clone();
        tracing::info!(channel.id = %channel_id, epoch, next_msn, "stream ended");
        let stored = context.epochs.end_epoch(&channel_id, epoch, next_msn);
        if !matches!(
            tokio::time::timeout(EPOCH_DEADLINE, stored).await,
            Ok(Ok(()))
        ) {
            tracing::warn!(
                "cannot store the last media sequence number; the next epoch skips ahead"
            );
        }
        // Rule 12: not before a player that starts now could have played it all.
        let window = u64::from(context.grid.window_seconds + context.grid.target_duration_s);
        let ended = Duration::from_secs(context.config.ended_seconds.max(window));
        let directory = Arc::clone(&context.directory);
        context.tasks.spawn_cancellable("retire epoch", async move {
            // Who is behind still plays what was promised.
            tokio::time::timeout(ended, output.keep_promises())
                .await
                .ok();
            directory.forget(channel_id.as_str(), epoch);
            drop(output);
        });
    }
}

impl Publisher {
    /// What it means that the deadline has passed.
    fn overdue(&self) -> Ending {
        if self.intake.is_live() {
            Ending::Lost("no picture came for too long".to_owned())
        } else {
            let seconds = START_DEADLINE.as_secs();
            Ending::Refused(format!("no watchable picture came within {seconds} s"))
        }
    }

    /// What is shown of its stream is lost or given up. Whether it begins anew with its next picture, and
    /// not only with its next keyframe.
    fn begin_anew(&mut self) -> bool {
        let has_run = self.seen.saturating_duration_since(self.begun) >= SHORT_RUN;
        self.intake.start_anew(has_run)
    }

    fn stop(self, description: &str) {
        if self
            .stop_tx
            .send(Refusal::new(RefusalCode::Rejected, description))
            .is_err()
        {
            tracing::debug!(
                session.id = self.stream_id,
                "the publisher had left already"
            );
        }
    }
}

/// Reserves the numbers below `until`, however often the database fails.
async fn extend_epoch(
    epochs: &dyn EpochRepository,
    channel_id: &ChannelId,
    epoch: u64,
    until: u64,
) {
    let mut backoff = Backoff::new(EXTEND_DELAY, LONGEST_EXTEND_DELAY);
    while let Err(error) = epochs.extend_epoch(channel_id, epoch, until).await {
        tracing::error!(%error, "cannot reserve media sequence numbers");
        if matches!(error, repository::Error::Superseded) {
            return;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Those who came too late.
fn unserved(mut attach_rx: mpsc::Receiver<Attach>) -> Vec<Attach> {
    attach_rx.close();
    std::iter::from_fn(|| attach_rx.try_recv().ok()).collect()
}

/// The next event of either publisher; one that sends without a pause does not silence the other.
async fn next_event(seats: &mut Seats) -> (Seat, MediaEvent) {
    tokio::select! {
        event = next_of(&mut seats.current) => (Seat::Current, event),
        event = next_of(&mut seats.candidate) => (Seat::Candidate, event),
    }
}

/// The publisher's next event; never resolves without a publisher.
async fn next_of(publisher: &mut Option<Publisher>) -> MediaEvent {
    let Some(publisher) = publisher else {
        return std::future::pending().await;
    };
    let lost = || MediaEvent::End(EndReason::Lost("the connection's task ended".into()));
    publisher.media_rx.recv().await.unwrap_or_else(lost)
}

/// What happens next without a publisher; never resolves without an output.
async fn next_of_output(output: &mut Option<Output>) -> Next {
    match output {
        Some(output) => output.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
