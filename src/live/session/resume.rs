//! The first step of a channel whose process died: its playlists are taken up again and wait for the
//! publisher, as after a loss.
//!
//! In:  the epoch that nobody ended, who can read its mirror. Out: announced playlists, or the task's
//! end: then the channel is offline, and its next publisher begins a new epoch.
//! The epoch that continues the old one is stored before anything is announced under it. One that nobody
//! can ever continue is stored as no longer running, or each start would try again.
//! Not here: what is listed again (`recording::restore`).

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{ChannelTask, unserved};
use crate::live::output::{Output, Place};
use crate::live::registry::{Attach, State, lock};
use crate::model::repository::{EPOCH_MSN_RESERVE, RunningEpoch};
use crate::playlist::Expected;
use crate::recording::restore::{self, Restored, RestoredRendition, Restorer};

/// How long reading back and storing the epoch may take; players and publishers wait for it.
const RESUME_DEADLINE: Duration = Duration::from_secs(5);
/// How long of it more than the newest of a window is read; the rest of a larger one is left out.
const WINDOW_DEADLINE: Duration = Duration::from_secs(3);

/// What was found running at the start.
pub(in crate::live) struct Resumption {
    pub(in crate::live) running: RunningEpoch,
    pub(in crate::live) restorer: Restorer,
    /// Players that ask for the channel wait as long as it is kept.
    pub(in crate::live) expected: Expected,
}

/// Why playlists are not taken up again.
struct Failure {
    words: String,
    /// Whether no later start can do better.
    is_final: bool,
}

impl Failure {
    fn passing(words: &impl ToString) -> Self {
        let (words, is_final) = (words.to_string(), false);
        Self { words, is_final }
    }

    fn lasting(words: &impl ToString) -> Self {
        let (words, is_final) = (words.to_string(), true);
        Self { words, is_final }
    }
}

impl From<restore::Error> for Failure {
    fn from(error: restore::Error) -> Self {
        let (words, is_final) = (error.to_string(), error.is_final());
        Self { words, is_final }
    }
}

impl ChannelTask {
    /// As [`ChannelTask::run`], from a held channel on; if it cannot be had, nobody is served.
    pub(in crate::live) async fn run_resumed(
        mut self,
        resumption: Resumption,
        attach_rx: mpsc::Receiver<Attach>,
    ) -> Vec<Attach> {
        let Resumption {
            running,
            restorer,
            expected,
        } = resumption;
        let resumed = timeout(RESUME_DEADLINE, self.resume(&running, &restorer)).await;
        let failure = match resumed {
            Ok(Ok(())) => {
                drop(expected);
                self.begin_filler().await;
                return Box::pin(self.run(None, attach_rx)).await;
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::passing(&"it takes too long"),
        };
        tracing::warn!(
            words = failure.words,
            epoch = running.number,
            "playlists are not taken up again"
        );
        if failure.is_final {
            self.abandon(&running).await;
        }
        drop(expected);
        unserved(attach_rx)
    }

    /// Keeps later starts from trying again; without success they do, and fail again.
    async fn abandon(&self, running: &RunningEpoch) {
        let epochs = &self.context.epochs;
        let stored = epochs.abandon_epoch(&running.channel_id, running.number);
        match timeout(RESUME_DEADLINE, stored).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot store that playlists have ended"),
            Err(_) => tracing::warn!("the database is slow: not stored that playlists have ended"),
        }
    }

    async fn resume(&mut self, running: &RunningEpoch, restorer: &Restorer) -> Result<(), Failure> {
        let (channel_id, first_epoch) = (&running.channel_id, running.running_from);
        let (epochs, until) = (
            first_epoch..=running.number,
            Instant::now() + WINDOW_DEADLINE,
        );
        let mut restored = restorer.read(channel_id.as_str(), epochs, until).await?;
        restored
            .renditions
            .sort_by_key(|r| Reverse((r.variant.width > 0, r.variant.bandwidth_bps)));
        let channel = lock(&self.status).channel.clone();
        let known = restored
            .renditions
            .iter()
            .map(|r| (r.name.as_str(), &r.variant));
        let known: Vec<_> = known.collect();
        let ladder = self.context.transcoding.known(&channel, &known);
        let ladder = ladder
            .ok_or_else(|| Failure::lasting(&"its renditions would have to be transcoded"))?;
        let Restored {
            next_msn,
            part_target_ms,
            renditions,
        } = restored;
        let resumed = self
            .context
            .epochs
            .resume_epoch(channel_id, running.number, next_msn);
        let epoch = resumed.await.map_err(|error| Failure::passing(&error))?;
        let place = Place {
            channel_id: channel_id.to_string(),
            epoch: epoch.number,
            first_msn: epoch.first_msn,
        };
        // An epoch keeps its grid, whatever the channel is set to by now.
        let part_target_ms = part_target_ms.or(channel.part_target_ms);
        let grid = self.grid(&channel, part_target_ms);
        self.open_grid = Some(grid);
        let directory = Arc::clone(&self.context.directory);
        let mut output = Output::new(place, &grid, &ladder, directory);
        self.encode_on_demand(&mut output);
        self.show(&renditions);
        output
            .restore(first_epoch, &grid, renditions)
            .map_err(|error| Failure::passing(&error))?;
        tracing::info!(
            epoch = epoch.number,
            first_epoch,
            next_msn,
            "playlists are taken up again; waiting for the publisher"
        );
        (self.epoch, self.reserved_msn) = (epoch.number, epoch.first_msn + EPOCH_MSN_RESERVE);
        self.output = Some(output);
        let hold = Duration::from_secs(self.context.config.hold_seconds);
        self.held_until = Some(Instant::now() + hold);
        Ok(())
    }

    /// What is known of the stream until somebody publishes.
    fn show(&self, renditions: &[RestoredRendition]) {
        let Some(top) = renditions.first() else {
            return;
        };
        let mut status = lock(&self.status);
        status.state = State::Held;
        status.size = (top.variant.width, top.variant.height);
        status.fps_millis = top.variant.frame_rate_millis;
        if let Some(first) = top.past.segments.first() {
            status.started = first.listed.program_date_time;
        }
    }
}
