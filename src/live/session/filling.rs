//! Pictures are missing: the playlists go on with a slate, if somebody watches, or with gaps.
//!
//! In:  the channel's output, the instant. Out: parts at the pace of the wall clock.
//! A slate is made beside the channel's task, which waits for nobody: it is given a moment, then gaps are
//! listed until it is there.
//! Read: RFC 8216bis §6.2.1 on the cadence of playlists, §4.4.4.7 for EXT-X-GAP.
//! Not here: what a filler is made of (`output::filler`), when pictures count as missing (`session`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::ChannelTask;
use crate::base::clock::WallTime;
use crate::ingest::MediaEvent;
use crate::live::SlateMode;
use crate::live::output::{Filler, Output, Slate, SlatePlan};

/// How long the playlists stand still for a slate that is being made.
const MOMENT: Duration = Duration::from_millis(500);
/// How long making a slate may take at most.
const SLATE_DEADLINE: Duration = Duration::from_secs(3);

/// What the playlists show while no pictures come.
pub(super) struct Filling {
    /// When what is shown began, or will have begun.
    at: WallTime,
    began: Instant,
    /// When pictures were missed.
    since: Instant,
    /// None while a slate is given its moment.
    filler: Option<Filler>,
    slate: NextSlate,
}

/// A slate, or why there is none.
pub(super) type Made = Result<Slate, String>;

/// The slate that is to be shown next.
enum NextSlate {
    /// There will be none, or it is shown.
    None,
    /// It is being made.
    Awaited(oneshot::Receiver<Made>),
    /// It can be shown.
    Ready(Slate),
}

impl Filling {
    /// When something is to be done.
    pub(super) fn due(&self) -> Instant {
        let gaps = self.began + MOMENT;
        self.filler.as_ref().map_or(gaps, Filler::due)
    }

    fn take_ready(&mut self) -> Option<Slate> {
        match std::mem::replace(&mut self.slate, NextSlate::None) {
            NextSlate::Ready(slate) => Some(slate),
            other => {
                self.slate = other;
                None
            }
        }
    }
}

/// The slate that is being made; never resolves without one. Cancel safe.
pub(super) async fn next_slate(filling: &mut Option<Filling>) -> Made {
    match filling.as_mut().map(|filling| &mut filling.slate) {
        Some(NextSlate::Awaited(made_rx)) => {
            let lost = |_| Err("its task has ended".to_owned());
            made_rx.await.unwrap_or_else(lost)
        }
        _ => std::future::pending().await,
    }
}

impl ChannelTask {
    /// After so long without a picture the playlists go on without.
    pub(super) fn slate_after(&self) -> Duration {
        let failover = self.failover.as_ref();
        let seconds = failover.map(|failover| failover.activation_threshold_seconds.into());
        Duration::from_secs(seconds.unwrap_or(self.context.config.slate_after_seconds))
    }

    /// When the stream ends if nobody returns; the channel may say how long a slate is shown at most.
    pub(super) fn hold_until(&self) -> Instant {
        let Some(failover) = &self.failover else {
            return Instant::now() + Duration::from_secs(self.context.config.hold_seconds);
        };
        let since = self.filling.as_ref().map(|filling| filling.since);
        let longest = Duration::from_secs(failover.max_slate_display_seconds.into());
        since.unwrap_or_else(Instant::now) + longest
    }

    /// Whether what is shown has to stay a little longer, and this picture or sound is not shown.
    pub(super) fn slate_stays(&self, event: &MediaEvent) -> bool {
        let (Some(filling), Some(failover)) = (&self.filling, &self.failover) else {
            return false;
        };
        let shortest = Duration::from_secs(failover.min_slate_display_seconds.into());
        matches!(event, MediaEvent::Sample(_)) && filling.since.elapsed() < shortest
    }

    /// Whether the playlists stand still without pictures, and are to be filled then.
    pub(super) fn may_be_filled(&self) -> bool {
        let output = self.output.as_ref();
        self.context.config.slate != SlateMode::Off && output.is_some_and(Output::is_running)
    }

    /// Closes what is open, and fills the playlists from now on until [`ChannelTask::begin`].
    pub(super) async fn begin_filler(&mut self) {
        self.filling = None;
        let Some(output) = &mut self.output else {
            return;
        };
        output.interrupt().await;
        if self.context.config.slate == SlateMode::Off {
            return;
        }
        let slate = self.begin_slate();
        let is_awaited = matches!(slate, NextSlate::Awaited(_));
        self.filling = Some(Filling {
            at: self.context.clock.now(),
            began: Instant::now(),
            since: Instant::now(),
            filler: None,
            slate,
        });
        if !is_awaited {
            self.begin_to_show();
        }
    }

    /// Begins to show the slate that is ready, or gaps; what is open has been closed.
    fn begin_to_show(&mut self) {
        let (Some(filling), Some(output)) = (&mut self.filling, &mut self.output) else {
            return;
        };
        let slate = filling.take_ready();
        filling.filler = match output.begin_filler(slate, filling.at, filling.began) {
            Ok(filler) => filler,
            Err(error) => {
                tracing::error!(%error, "cannot fill the playlists");
                None
            }
        };
        if filling.filler.is_none() {
            self.filling = None;
        }
    }

    /// Begins to make a slate, if somebody is there to see it and none is being made.
    fn begin_slate(&self) -> NextSlate {
        let is_possible = self.context.config.slate == SlateMode::Picture && !self.lacks_slate;
        let output = self.output.as_ref().filter(|output| output.is_watched());
        let Some(output) = output.filter(|_| is_possible) else {
            return NextSlate::None;
        };
        // One that takes for ever has taken the only turn.
        let Ok(turn) = Arc::clone(&self.slate_turn).try_acquire_owned() else {
            return NextSlate::None;
        };
        let file = Some(self.context.config.slate_image.clone());
        let file = file.filter(|path| !path.as_os_str().is_empty());
        let plan = output.slate_plan(file, &self.context.transcoding.config.preset);
        let (made_tx, made_rx) = oneshot::channel();
        let make = async move {
            let made = make(plan, turn).await;
            if made_tx.send(made).is_err() {
                tracing::debug!("pictures came before the slate was made");
            }
        };
        self.context.tasks.spawn_cancellable("slate", make);
        NextSlate::Awaited(made_rx)
    }

    /// A slate is made, or cannot be.
    pub(super) fn slate_made(&mut self, made: Made) {
        let Some(filling) = &mut self.filling else {
            return;
        };
        filling.slate = match made {
            Ok(slate) => NextSlate::Ready(slate),
            Err(words) => {
                tracing::warn!(words, "no slate; the playlists go on with gaps");
                self.lacks_slate = true;
                NextSlate::None
            }
        };
        if filling.filler.is_none() {
            self.begin_to_show();
        }
    }

    /// Packages the filler's frames that are due. Gaps become a slate where a segment opens, if somebody
    /// watches.
    pub(super) async fn fill(&mut self) {
        let (Some(filling), Some(output)) = (&mut self.filling, &mut self.output) else {
            return;
        };
        let Some(filler) = &mut filling.filler else {
            return self.begin_to_show();
        };
        output.fill(filler, Instant::now());
        let opens_segment = filler.opens_segment();
        match &filling.slate {
            NextSlate::Ready(_) if opens_segment => {
                output.interrupt().await;
                (filling.at, filling.began) = (self.context.clock.now(), Instant::now());
                self.begin_to_show();
            }
            NextSlate::None if filler.is_gap() => {
                let slate = self.begin_slate();
                if let Some(filling) = &mut self.filling {
                    filling.slate = slate;
                }
            }
            _ => {}
        }
        self.reserve_msn();
    }
}

/// Makes a slate; who waits for it waits no longer than the deadline.
async fn make(plan: SlatePlan, turn: tokio::sync::OwnedSemaphorePermit) -> Made {
    let making = tokio::task::spawn_blocking(move || {
        let made = plan.make();
        drop(turn);
        made
    });
    match timeout(SLATE_DEADLINE, making).await {
        Ok(Ok(made)) => made.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
