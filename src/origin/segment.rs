//! Media requests: initialization sections, segments, parts; a hinted part is waited for and then
//! comes whole (rules 27 and 28).

use http::{HeaderValue, StatusCode};

use super::Origin;
use super::answer::{self, Age, Answer};
use super::reload::{PartAnswer, decide_part};
use crate::playlist::{Position, RenditionHandle};

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

    pub(super) fn segment(
        &self,
        rendition: &RenditionHandle,
        msn: u64,
        priority: HeaderValue,
    ) -> Answer {
        let snapshot = rendition.snapshot.borrow();
        match snapshot.segment(msn).filter(|segment| !segment.has_gap) {
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
        let is_decided = |now: &_| decide_part(now, position) != PartAnswer::Wait;
        let Some(snapshot) = self
            .snapshot_when(rendition, |now| is_decided(&**now))
            .await
        else {
            let words = "the part did not come in time";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return answer::refusal(status, "stalled", words, Age::NoStore);
        };
        match snapshot.part(position) {
            Some(part) => answer::media(vec![part], priority),
            None => self.missing("no such part"),
        }
    }
}
