//! A segment that is being made, in one answer: its parts as they come.
//!
//! In:  a rendition's snapshots, the number of a segment that has begun. Out: a body that ends with the segment.
//! If it does not close in time the body breaks off, so that nobody takes what came for all of it; so it does if its viewer
//! may not see the rest.
//! Not here: whether a segment can be had so (`reload`), headers (`answer`).

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::playlist::Snapshot;
use crate::playlist::snapshot::Piece;

/// A body whose length nobody knows yet.
pub type Growing = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, BrokenOff>> + Send>>>;

/// The rest of the segment does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the segment did not come to its end")]
pub struct BrokenOff;

/// How far one viewer is.
struct Reader {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    msn: u64,
    taken: usize,
    deadline: Instant,
}

/// Segment `msn`, of which nothing is waited for after `deadline`.
pub(super) fn body(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    msn: u64,
    deadline: Instant,
) -> Growing {
    let reader = Reader {
        snapshots,
        msn,
        taken: 0,
        deadline,
    };
    let parts = unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await? {
            Ok(part) => Some((Ok(Frame::data(part)), Some(reader))),
            Err(broken_off) => Some((Err(broken_off), None)),
        }
    });
    StreamBody::new(Box::pin(parts))
}

/// The same, broken off as soon as `over` comes.
pub(super) fn until<F>(body: Growing, over: F) -> Growing
where
    F: Future + Send + 'static,
{
    let parts = unfold(Some((body, Box::pin(over))), |state| async {
        let (mut body, mut over) = state?;
        tokio::select! {
            biased;
            _ = &mut over => Some((Err(BrokenOff), None)),
            frame = body.frame() => Some((frame?, Some((body, over)))),
        }
    });
    StreamBody::new(Box::pin(parts))
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        loop {
            let piece = self
                .snapshots
                .borrow_and_update()
                .piece(self.msn, self.taken);
            match piece {
                Piece::Ready(part) => {
                    self.taken += 1;
                    return Some(Ok(part));
                }
                Piece::Over => return None,
                Piece::Lost => return Some(Err(BrokenOff)),
                Piece::Coming => {}
            }
            let changed = timeout_at(self.deadline, self.snapshots.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return Some(Err(BrokenOff));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::Collected;

    use super::*;
    use crate::playlist::{Config, Window, fixtures};

    const FIRST: i64 = 12 * fixtures::PART;

    /// A window with two complete segments and two parts of the third, and who reads that.
    fn stage() -> (Window, watch::Sender<Arc<Snapshot>>, Growing) {
        let window = fixtures::window(&Config::default(), 1, 2, 2);
        let (snapshot_tx, snapshots) = watch::channel(window.snapshot());
        let body = body(snapshots, 3, Instant::now() + Duration::from_secs(6));
        (window, snapshot_tx, body)
    }

    fn named(part: i64) -> Bytes {
        format!("part at {}", FIRST + part * fixtures::PART).into()
    }

    async fn next(body: &mut Growing) -> Option<Result<Bytes, BrokenOff>> {
        let frame = body.frame().await?;
        Some(frame.map(|frame| {
            frame
                .into_data()
                .expect("a growing segment has no trailers")
        }))
    }

    fn push(window: &mut Window, part: i64, closes: bool) {
        let start = FIRST + part * fixtures::PART;
        window.push(crate::packaging::Part {
            bytes: named(part),
            start,
            duration: fixtures::PART,
            is_independent: false,
            opens_segment: false,
            closes_segment: closes,
            is_gap: false,
            is_promised: false,
        });
    }

    #[tokio::test(start_paused = true)]
    async fn parts_come_as_they_are_made_and_the_body_ends_with_the_segment() {
        let (mut window, snapshot_tx, mut body) = stage();
        assert_eq!(next(&mut body).await, Some(Ok(named(0))));
        assert_eq!(next(&mut body).await, Some(Ok(named(1))));
        let early = tokio::time::timeout(Duration::from_secs(1), next(&mut body)).await;
        assert!(early.is_err(), "nothing comes before it is made");
        // Two at once: the second is not lost, though it closes the segment and the next begins.
        push(&mut window, 2, false);
        push(&mut window, 3, true);
        fixtures::push_parts(
            &mut window,
            FIRST + 4 * fixtures::PART,
            &[fixtures::PART],
            false,
        );
        snapshot_tx.send_replace(window.snapshot());
        assert_eq!(next(&mut body).await, Some(Ok(named(2))));
        assert_eq!(next(&mut body).await, Some(Ok(named(3))));
        assert_eq!(next(&mut body).await, None);
        let whole: Vec<_> = window.snapshot().segment(3).unwrap().pieces().collect();
        assert_eq!(whole, [0, 1, 2, 3].map(named), "later it is the same");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_stream_ends_it() {
        let (mut window, snapshot_tx, body) = stage();
        window.end();
        snapshot_tx.send_replace(window.snapshot());
        drop(snapshot_tx);
        let read = body.collect().await.map(Collected::to_bytes);
        assert_eq!(read, Ok([named(0), named(1)].concat().into()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_where_a_part_is_missing() {
        let (mut window, snapshot_tx, mut body) = stage();
        let at = FIRST + 2 * fixtures::PART;
        window.push(crate::packaging::Part {
            bytes: Bytes::new(),
            start: at,
            duration: fixtures::PART,
            is_independent: false,
            opens_segment: false,
            closes_segment: false,
            is_gap: true,
            is_promised: false,
        });
        snapshot_tx.send_replace(window.snapshot());
        for part in 0..2 {
            assert_eq!(next(&mut body).await, Some(Ok(named(part))));
        }
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_go_on_breaks_off() {
        let begin = Instant::now();
        let (_window, snapshot_tx, mut body) = stage();
        for part in 0..2 {
            assert_eq!(next(&mut body).await, Some(Ok(named(part))));
        }
        assert_eq!(next(&mut body).await, Some(Err(BrokenOff)));
        assert_eq!(begin.elapsed(), Duration::from_secs(6));
        assert_eq!(next(&mut body).await, None);
        drop(snapshot_tx);
    }

    #[tokio::test(start_paused = true)]
    async fn it_breaks_off_when_its_viewer_may_not_see_the_rest() {
        let begin = Instant::now();
        let (_window, snapshot_tx, body) = stage();
        let revoked = tokio::time::sleep(Duration::from_secs(2));
        let mut body = until(body, revoked);
        for part in 0..2 {
            assert_eq!(next(&mut body).await, Some(Ok(named(part))));
        }
        assert_eq!(next(&mut body).await, Some(Err(BrokenOff)));
        assert_eq!(begin.elapsed(), Duration::from_secs(2));
        assert_eq!(next(&mut body).await, None);
        drop(snapshot_tx);
    }

    #[tokio::test(start_paused = true)]
    async fn without_its_owner_it_breaks_off_at_once() {
        let (_window, snapshot_tx, mut body) = stage();
        drop(snapshot_tx);
        for part in 0..2 {
            assert_eq!(next(&mut body).await, Some(Ok(named(part))));
        }
        assert_eq!(next(&mut body).await, Some(Err(BrokenOff)));
    }
}
