//! Pictures are missing: the playlists go on with a slate, if somebody watches, or with gaps.
//!
//! In:  the channel's output, the instant. Out: parts at the pace of the wall clock.
//! Read: RFC 8216bis §6.2.1 on the cadence of playlists, §4.4.4.7 for EXT-X-GAP.
//! Not here: what a filler is made of (`output::filler`), when pictures count as missing (`session`).

use std::time::Duration;

use tokio::time::Instant;

use super::ChannelTask;
use crate::live::SlateMode;
use crate::live::output::{Output, Slate};

/// How long making a slate may take before gaps are listed instead.
const SLATE_DEADLINE: Duration = Duration::from_secs(3);

impl ChannelTask {
    /// Whether the playlists stand still without pictures, and are to be filled then.
    pub(super) fn may_be_filled(&self) -> bool {
        let output = self.output.as_ref();
        self.context.config.slate != SlateMode::Off && output.is_some_and(Output::is_running)
    }

    /// Closes what is open, and fills the playlists from now on until [`ChannelTask::begin`].
    pub(super) async fn begin_filler(&mut self) {
        self.filler = None;
        let Some(output) = &mut self.output else {
            return;
        };
        output.interrupt().await;
        let (at, began) = (self.context.clock.now(), Instant::now());
        let slate = match self.context.config.slate {
            SlateMode::Off => return,
            SlateMode::Gap => None,
            SlateMode::Picture => self.slate().await,
        };
        let Some(output) = &mut self.output else {
            return;
        };
        match output.begin_filler(slate, at, began) {
            Ok(filler) => self.filler = filler,
            Err(error) => tracing::error!(%error, "cannot fill the playlists"),
        }
    }

    /// A slate, if somebody is there to see it.
    async fn slate(&mut self) -> Option<Slate> {
        let output = self.output.as_ref().filter(|output| output.is_watched())?;
        let file = Some(self.context.config.slate_image.clone());
        let file = file.filter(|path| !path.as_os_str().is_empty());
        let plan = output.slate_plan(file, &self.context.transcoding.config.preset);
        let made = tokio::task::spawn_blocking(move || plan.make());
        let words = match tokio::time::timeout(SLATE_DEADLINE, made).await {
            Ok(Ok(Ok(slate))) => return Some(slate),
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(words, "no slate; the playlists go on with gaps");
        self.lacks_slate = true;
        None
    }

    /// Packages the filler's frames that are due. Gaps become a slate when somebody comes to watch.
    pub(super) async fn fill(&mut self) {
        let (Some(filler), Some(output)) = (&mut self.filler, &mut self.output) else {
            return;
        };
        output.fill(filler, Instant::now());
        let is_possible = self.context.config.slate == SlateMode::Picture && !self.lacks_slate;
        let is_wanted = is_possible && output.is_watched();
        let is_changing = is_wanted && filler.may_become_slate();
        if is_changing {
            self.begin_filler().await;
        }
        self.reserve_msn();
    }
}
