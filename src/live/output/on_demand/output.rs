//! Rungs on demand as an output has them.
//!
//! In:  what happened beside the source. Out: promises kept or broken in the windows, and what is left to be told.
//! Not here: what to make (`on_demand`).

use std::sync::Arc;
use std::time::Duration;

use super::timeline::{RungPlan, Timeline};
use super::{NEVER, OnDemand, RungEvent, Steady};
use crate::base::tasks::Tasks;
use crate::live::output::brew::Brew;
use crate::live::output::rendition::Rendition;
use crate::live::output::run::{Cutter, Run};
use crate::live::output::{Made, Output};
use crate::packaging::Part;
use crate::transcode::Job;
use crate::transcode::ladder::{Ladder, RungAudio};

impl Output {
    /// What is beside a source that is passed on is encoded while somebody asks for it, and for `patience` after.
    pub(in crate::live) fn encode_on_demand(&mut self, tasks: Tasks, patience: Duration) {
        let (wake, packaging) = (Arc::clone(&self.wake), self.packaging.clone());
        let slots = self.renditions.len();
        self.on_demand = Some(OnDemand::new(tasks, patience, wake, packaging, slots));
    }

    /// The rungs of a timeline that begins are cold.
    pub(in crate::live::output) fn begin_rungs(&mut self, job: Job, run: &Run, ladder: &Ladder) {
        let (Some(on_demand), Cutter::Leader(leader)) = (&mut self.on_demand, &run.cutter) else {
            return;
        };
        let encode_slots = &run.encode_slots;
        let plan = |slot: &usize| {
            let rendition = self.renditions.get(*slot)?;
            let encode = encode_slots.iter().position(|slots| slots.contains(slot));
            let is_source = ladder.rungs.get(*slot)?.audio == RungAudio::Source;
            Some(RungPlan {
                slot: *slot,
                tracks: rendition.tracks()?.clone(),
                sound: encode.map(|encode| encode + 1).or(is_source.then_some(0)),
            })
        };
        let plans: Vec<_> = run.rung_slots.iter().filter_map(plan).collect();
        let Some(first_msn) = self.renditions.get(*leader).map(Rendition::next_msn) else {
            return;
        };
        let timeline = Timeline::new((first_msn, *leader), job, plans, encode_slots.len());
        on_demand.begin(timeline, &mut self.renditions);
    }

    /// Takes what happened beside the source; what is left to be told of it.
    pub(in crate::live) fn take_rung(&mut self, event: RungEvent) -> Option<Made> {
        let on_demand = self.on_demand.as_mut()?;
        match event {
            RungEvent::Asked => on_demand.asked(&self.renditions),
            RungEvent::Started(started) => match started {
                Ok(started) => on_demand.steady = Steady::Ready(started),
                Err(words) => {
                    tracing::error!(words, "cannot encode the rungs that are asked for");
                    on_demand.steady = Steady::None;
                }
            },
            RungEvent::Made(Some(made)) => {
                match &made {
                    Made::Shed { rung } => on_demand.shed |= 1 << rung,
                    Made::Restored { rung } => on_demand.shed &= !(1 << rung),
                    _ => {}
                }
                return Some(made);
            }
            RungEvent::Made(None) => self.lose_steady(),
            RungEvent::Brewed(slot, msn, part) => self.take_brewed(slot, msn, part),
        }
        self.brew();
        None
    }

    /// Begins to make what is wanted.
    pub(in crate::live::output) fn brew(&mut self) {
        let Some(on_demand) = &mut self.on_demand else {
            return;
        };
        for (slot, msn) in on_demand.brew(&self.renditions) {
            if self.renditions[slot].window.break_promises(msn) {
                tracing::warn!(msn, slot, "a segment cannot be made");
                self.publish_one(slot);
            }
        }
    }

    fn take_brewed(&mut self, slot: usize, msn: u64, part: Option<Part>) {
        let Some(rendition) = self.renditions.get_mut(slot) else {
            return;
        };
        let has_changed = if let Some(part) = part {
            rendition.window.keep_promise(msn, &part)
        } else {
            if let Some(on_demand) = &mut self.on_demand {
                let is_it = |brew: &Brew| brew.slot == slot && brew.msn == msn;
                on_demand.brews.retain(|brew| !is_it(brew));
            }
            rendition.window.break_promises(msn)
        };
        if has_changed {
            self.publish_one(slot);
        }
    }

    /// The steady transcoder has ended by itself: what it owes becomes gaps, and rungs are cold from the next segment on.
    fn lose_steady(&mut self) {
        let Some(on_demand) = &mut self.on_demand else {
            return;
        };
        tracing::error!("the transcoder of the rungs has ended");
        metrics::counter!("weir_transcode_restarts_total", "what" => "transcoder").increment(1);
        on_demand.stop_steady();
        let plans = on_demand.running().map(|timeline| &timeline.plans);
        for plan in plans.into_iter().flatten() {
            let rendition = &mut self.renditions[plan.slot];
            rendition.cool();
            rendition.picture_until(NEVER, true);
        }
        self.settle(Vec::new(), None);
    }

    fn publish_one(&mut self, slot: usize) {
        let changed: Vec<_> = (0..self.renditions.len()).map(|one| one == slot).collect();
        self.publish(&changed);
    }

    /// Keeps what was promised, for ever: for playlists that have ended.
    pub(in crate::live) async fn keep_promises(&mut self) {
        loop {
            let event = match &mut self.on_demand {
                Some(on_demand) => on_demand.next().await,
                None => std::future::pending().await,
            };
            self.take_rung(event);
        }
    }
}
