//! The task of one publishing channel: step 7 of the walk.
//!
//! In:  publishers, one after the other, and their media events. Out: the channel's playlists
//! (`output`), its [`Status`].
//! Life: Starting -> Live -> (lost) Held -> Live … -> ended by an explicit unpublish, a refusal, the
//! hold's expiry or the server's stop. The playlists belong to the channel, each stream session to
//! one publish. The first durable step is the epoch: nothing is announced before it is stored.
//! Not here: what an event means (`intake`), what it does to the playlists (`stream`).

mod stream;
mod watch;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::watch::Watch;
use super::health::Health;
use super::intake::{Action, Ending, Intake, Means};
use super::output::Output;
use super::plan::{self, Facts};
use super::registry::{Attach, Context, Entry, State, Status, lock};
use crate::ingest::{EndReason, MediaEvent, MediaReceiver, Refusal, RefusalCode};
use crate::model::repository::EPOCH_MSN_RESERVE;
use crate::transcode;

/// How long storing an epoch may take before the publisher is turned away.
const EPOCH_DEADLINE: Duration = Duration::from_secs(10);
/// How long after its attachment a publisher must have become watchable.
const START_DEADLINE: Duration = Duration::from_secs(15);
/// How long before ENDLIST the last part is listed.
const LAST_PART_LEAD: Duration = Duration::from_secs(1);

/// One publisher of the channel.
struct Publisher {
    stream_id: String,
    media_rx: MediaReceiver,
    stop_tx: oneshot::Sender<Refusal>,
    intake: Intake,
    watch: Watch,
    /// What its stream is, once that is known.
    facts: Option<Facts>,
    /// When it must be watchable, or its next picture must have come.
    deadline: Instant,
}

/// The task's own state.
pub(super) struct ChannelTask {
    context: Arc<Context>,
    status: Arc<Mutex<Status>>,
    health: Arc<Mutex<Health>>,
    /// Told by the operator to end the stream.
    stop: CancellationToken,
    output: Option<Output>,
    epoch: u64,
    /// MSNs below this are reserved in the database.
    reserved_msn: u64,
    held_until: Option<Instant>,
}

impl ChannelTask {
    pub(super) fn new(context: Arc<Context>, entry: &Entry) -> Self {
        Self {
            context,
            status: Arc::clone(&entry.status),
            health: Arc::clone(&entry.health),
            stop: entry.stop.clone(),
            output: None,
            epoch: 0,
            reserved_msn: 0,
            held_until: None,
        }
    }

    /// Serves publishers until the channel's playlists end; gives back those not served.
    pub(super) async fn run(
        mut self,
        first: Attach,
        mut attach_rx: mpsc::Receiver<Attach>,
    ) -> Vec<Attach> {
        let token = self.context.tasks.token().clone();
        let stop = self.stop.clone();
        let mut publisher = Some(self.welcome(first));
        loop {
            // With a publisher its own deadline counts, without one the hold's.
            let deadline = publisher.as_ref().map(|p| p.deadline).or(self.held_until);
            let second = publisher.as_ref().map(|p| p.watch.next());
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                () = stop.cancelled() => break,
                () = sleep_until(second) => {
                    let Some(current) = &mut publisher else { continue };
                    let Err(ending) = self.second(current) else { continue };
                    if let Some(current) = publisher.take() && self.part_with(current, ending).await {
                        break;
                    }
                }
                Some(attach) = attach_rx.recv() => {
                    if let Some(old) = publisher.take() {
                        self.replace(old).await;
                    }
                    publisher = Some(self.welcome(attach));
                }
                made = next_made(&mut self.output) => self.take_made(made, &mut publisher).await,
                event = next_event(&mut publisher) => {
                    let Some(current) = &mut publisher else { continue };
                    let action = match self.observe(current, &event) {
                        Some(ending) => Action::Leave(ending),
                        None => current.intake.take(event),
                    };
                    let Err(ending) = self.act(current, action).await else { continue };
                    if let Some(current) = publisher.take() && self.part_with(current, ending).await {
                        break;
                    }
                }
                () = sleep_until(deadline) => {
                    let Some(current) = publisher.take() else {
                        tracing::info!("the publisher did not return; ending the stream");
                        break;
                    };
                    let ending = current.overdue();
                    if self.part_with(current, ending).await {
                        break;
                    }
                }
            }
        }
        if let Some(current) = publisher {
            self.dismiss(current);
        }
        self.finish().await;
        attach_rx.close();
        let mut unserved = Vec::new();
        while let Ok(attach) = attach_rx.try_recv() {
            unserved.push(attach);
        }
        unserved
    }

    fn welcome(&self, attach: Attach) -> Publisher {
        tracing::info!(
            session.id = attach.stream_id,
            encoder = attach.encoder,
            "publisher attached"
        );
        let mut grid = self.context.grid;
        if let Some(part_target_ms) = attach.channel.part_target_ms {
            grid.part_target_ms = part_target_ms;
        }
        let means = Means {
            grid,
            may_pass: plan::may_pass(&attach.channel) || !self.context.transcoding.config.enabled,
            may_transcode: self.context.transcoding.is_allowed(&attach.channel),
        };
        let channel = attach.channel;
        lock(&self.status).channel = channel.clone();
        Publisher {
            watch: self.watch(&channel, &attach.stream_id),
            stream_id: attach.stream_id,
            media_rx: attach.media_rx,
            stop_tx: attach.stop_tx,
            intake: Intake::new(means),
            facts: None,
            deadline: Instant::now() + START_DEADLINE,
        }
    }

    /// A newer connection takes the channel over: the older one is half-open or unwanted.
    async fn replace(&mut self, old: Publisher) {
        tracing::info!(
            session.id = old.stream_id,
            "publisher replaced by a newer connection"
        );
        self.tell_end(&old);
        old.stop("replaced by a newer connection with the same stream key");
        self.hold().await;
    }

    /// Sends a publisher away because everything ends: at the operator's word, or with the server.
    fn dismiss(&self, publisher: Publisher) {
        self.tell_end(&publisher);
        if self.stop.is_cancelled() {
            tracing::info!(session.id = publisher.stream_id, "stopped by the operator");
            publisher.stop("stopped by the operator");
        }
    }

    /// Ends a publisher's part; whether the channel's playlists end with it.
    async fn part_with(&mut self, publisher: Publisher, ending: Ending) -> bool {
        self.tell_end(&publisher);
        let stream_id = publisher.stream_id.as_str();
        match ending {
            Ending::Unpublished => {
                tracing::info!(session.id = stream_id, "publisher unpublished");
                true
            }
            Ending::Lost(reason) => {
                tracing::warn!(session.id = stream_id, reason, "publisher lost");
                publisher.stop(&reason);
                self.hold().await;
                self.output.is_none()
            }
            Ending::Refused(reason) => {
                tracing::warn!(session.id = stream_id, reason, "publisher refused");
                metrics::counter!("weir_streams_refused_total").increment(1);
                publisher.stop(&reason);
                // Refused before it was live, it leaves the hold as it found it.
                self.output.is_none() || self.held_until.is_none()
            }
        }
    }

    /// Closes the open segment and lets the playlists wait, from the first loss on.
    async fn hold(&mut self) {
        if let Some(output) = &mut self.output {
            output.interrupt().await;
            let hold = Duration::from_secs(self.context.config.hold_seconds);
            self.held_until.get_or_insert_with(|| Instant::now() + hold);
            let mut status = lock(&self.status);
            status.state = State::Held;
            status.shed.clear();
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
        self.context
            .tasks
            .spawn_cancellable("extend epoch", async move {
                if let Err(error) = epochs.extend_epoch(&channel_id, epoch, until).await {
                    tracing::error!(%error, "cannot reserve media sequence numbers");
                }
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
            tokio::time::sleep(ended).await;
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

/// The publisher's next event; never resolves without a publisher.
async fn next_event(publisher: &mut Option<Publisher>) -> MediaEvent {
    let Some(publisher) = publisher else {
        return std::future::pending().await;
    };
    let lost = || MediaEvent::End(EndReason::Lost("the connection's task ended".into()));
    publisher.media_rx.recv().await.unwrap_or_else(lost)
}

/// What the transcoder made next; never resolves without one.
async fn next_made(output: &mut Option<Output>) -> Option<transcode::Output> {
    match output {
        Some(output) => output.next_made().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
