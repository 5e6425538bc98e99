//! How a timeline ends, and how the playlists do.
//!
//! In:  an output whose pictures stop. Out: windows that hold all that came. Not here: who decides that (`session`).

use std::time::Duration;

use tokio::time::Instant;

use super::run::Cutter;
use super::{Made, Output};

/// How long the renditions' tails are waited for when a timeline ends.
const TAIL_DEADLINE: Duration = Duration::from_millis(1500);

impl Output {
    /// Closes the open part and segment in all renditions; the windows wait for the next timeline.
    /// Renditions that are behind get a while to catch up.
    pub(in crate::live) async fn interrupt(&mut self) {
        let Some(run) = &mut self.run else { return };
        for rendition in &mut self.renditions {
            if let Some(packager) = &mut rendition.packager {
                packager.expect_end();
            }
        }
        if let Cutter::Leader(slot) = run.cutter
            && let Some(packager) = &mut self.renditions[slot].packager
        {
            packager.finish();
        }
        if let Some(transcoder) = &mut run.transcoder {
            transcoder.finish();
        }
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.finish();
        }
        self.settle(Vec::new(), None);
        let deadline = Instant::now() + TAIL_DEADLINE;
        loop {
            match tokio::time::timeout_at(deadline, self.next_tail()).await {
                Ok(Some(made)) => {
                    self.take(made);
                }
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!("the transcoder did not finish in time");
                    break;
                }
            }
        }
        let mut spans = Vec::new();
        if let Some(Cutter::Ticks(segmenter)) = self.run.as_mut().map(|run| &mut run.cutter) {
            segmenter.finish();
            spans.extend(std::iter::from_fn(|| segmenter.poll()));
        }
        self.settle(spans, None);
        for rendition in &mut self.renditions {
            if let Some(packager) = &mut rendition.packager {
                packager.finish();
            }
        }
        self.settle(Vec::new(), None);
        for rendition in &mut self.renditions {
            rendition.close();
        }
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.close();
        }
        self.run = None;
        self.cadence.pause();
        self.publish(&vec![true; self.renditions.len()]);
    }

    /// What is still made of a timeline that ends; none if that was all.
    async fn next_tail(&mut self) -> Option<Made> {
        if let Some(made_rx) = self.run.as_mut().and_then(|run| run.made_rx.as_mut())
            && let Some(made) = made_rx.recv().await
        {
            return Some(made);
        }
        match &mut self.on_demand {
            Some(on_demand) => on_demand.next_tail().await,
            None => None,
        }
    }

    /// Ends the playlists; returns the first media sequence number not used.
    pub(in crate::live) fn end(&mut self) -> u64 {
        self.is_ended = true;
        for rendition in &mut self.renditions {
            rendition.end();
        }
        self.publish(&vec![true; self.renditions.len()]);
        if self.expected.take().is_none() {
            self.directory
                .withdraw(&self.channel.channel_id, self.channel.epoch);
        }
        self.next_msn()
    }
}
