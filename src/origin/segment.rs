//! Media requests: initialization sections, segments, parts; a hinted part is waited for and then
//! comes whole (rules 27 and 28). A segment that is being made is sent as it grows (`growing`).

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use super::answer::{self, Age, Answer};
use super::reload::{PartAnswer, SegmentAnswer, decide_part, decide_segment};
use super::{Origin, growing};
use crate::playlist::{Position, RenditionHandle, Snapshot};

impl Origin {
    pub(super) fn init(
        &self,
        rendition: &RenditionHandle,
        hash: &str,
        priority: HeaderValue,
    ) -> Answer {
        match rendition.snapshot.borrow().init(hash) {
            Some(init) => answer::media(vec![init.bytes.clone()], priority),
            None => self.missing("no such initialization section"),
        }
    }

    /// A segment that is not complete is held until it begins, and then sent as it grows. What is made on demand is
    /// waited for.
    pub(super) async fn segment(
        &self,
        rendition: &RenditionHandle,
        msn: u64,
        priority: HeaderValue,
    ) -> Answer {
        let is_decided = |now: &Arc<Snapshot>| {
            want_if(now.has_promises(msn), rendition, msn);
            decide_segment(now, msn) != SegmentAnswer::Wait
        };
        let Some(snapshot) = self.snapshot_when(rendition, is_decided).await else {
            return stalled("the segment did not come in time");
        };
        if decide_segment(&snapshot, msn) == SegmentAnswer::Growing {
            let deadline = Instant::now() + self.longest_wait();
            let parts = rendition.snapshot.clone();
            return answer::growing(growing::body(parts, msn, deadline), priority);
        }
        match snapshot.segment(msn).filter(|segment| segment.is_whole()) {
            Some(segment) => answer::media(segment.pieces().collect(), priority),
            None => self.missing("no such segment"),
        }
    }

    pub(super) async fn part(
        &self,
        rendition: &RenditionHandle,
        position: Position,
        priority: HeaderValue,
    ) -> Answer {
        let is_decided = |now: &Arc<Snapshot>| {
            want_if(now.is_promised(position), rendition, position.msn);
            decide_part(now, position) != PartAnswer::Wait
        };
        let Some(snapshot) = self.snapshot_when(rendition, is_decided).await else {
            return stalled("the part did not come in time");
        };
        match snapshot.part(position) {
            Some(part) => answer::media(vec![part], priority),
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

/// Rule 37.
fn stalled(words: &str) -> Answer {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    answer::refusal(status, "stalled", words, Age::NoStore)
}
