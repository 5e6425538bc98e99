//! Media requests: initialization sections, segments, parts; a hinted part is waited for and then
//! comes whole (rules 27 and 28).

use std::sync::Arc;

use http::StatusCode;

use super::Origin;
use super::answer::{self, Age, Answer};
use super::reload::{PartAnswer, decide_part};
use crate::playlist::{Position, RenditionHandle, Snapshot};

impl Origin {
    pub(super) fn init(&self, rendition: &RenditionHandle, hash: &str) -> Answer {
        match rendition.snapshot.borrow().init(hash) {
            Some(init) => answer::media(vec![init.bytes.clone()]),
            None => self.missing("no such initialization section"),
        }
    }

    /// A segment; what is made on demand is waited for, and comes whole.
    pub(super) async fn segment(&self, rendition: &RenditionHandle, msn: u64) -> Answer {
        let is_decided = |now: &Arc<Snapshot>| {
            let is_promised = now.segment(msn).is_some_and(|found| found.is_promised());
            want_if(is_promised, rendition, msn);
            !is_promised
        };
        let Some(snapshot) = self.snapshot_when(rendition, is_decided).await else {
            return too_late("the segment did not come in time");
        };
        match snapshot.segment(msn).filter(|segment| segment.is_whole()) {
            Some(segment) => answer::media(segment.pieces().collect()),
            None => self.missing("no such segment"),
        }
    }

    pub(super) async fn part(&self, rendition: &RenditionHandle, position: Position) -> Answer {
        let is_decided = |now: &Arc<Snapshot>| {
            want_if(now.is_promised(position), rendition, position.msn);
            decide_part(now, position) != PartAnswer::Wait
        };
        let Some(snapshot) = self.snapshot_when(rendition, is_decided).await else {
            return too_late("the part did not come in time");
        };
        match snapshot.part(position) {
            Some(part) => answer::media(vec![part]),
            None => self.missing("no such part"),
        }
    }
}

/// Asks for the segment to be made.
fn want_if(is_promised: bool, rendition: &RenditionHandle, msn: u64) {
    if let Some(demand) = rendition.demand.as_ref().filter(|_| is_promised) {
        demand.want(msn);
    }
}

fn too_late(words: &str) -> Answer {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    answer::refusal(status, "stalled", words, Age::NoStore)
}
