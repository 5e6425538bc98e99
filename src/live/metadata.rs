//! What a channel's owner puts into its live stream: timed metadata and ad breaks.
//!
//! In:  texts and breaks. Out: those that the channel's task is to insert; of texts, few a second.
//! Not here: who may (`api`), which moment a text belongs to (`output`), boxes (`packaging`).

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::registry::lock;
use crate::base::clock::WallTime;
use crate::packaging::MAX_TEXT_BYTES;
use crate::playlist::AdBreak;

/// Texts a second on one channel, as Amazon IVS has it.
const PER_SECOND: usize = 5;
const SECOND: Duration = Duration::from_secs(1);

/// Why a text is not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing, or too much.
    #[error("metadata has 1 to {MAX_TEXT_BYTES} bytes, not {0}")]
    Length(usize),
    /// Nobody publishes, or nothing can be watched yet.
    #[error("the channel is not live")]
    NotLive,
    /// Too many in one second.
    #[error("a channel takes {PER_SECOND} metadata a second")]
    TooMany,
    /// A break has not ended.
    #[error("an ad break runs, or is to come")]
    BreakRuns,
}

/// What is put in.
#[derive(Debug)]
pub(super) enum Insert {
    /// Shown with the newest picture.
    Text(String),
    /// Listed.
    AdBreak(AdBreak),
}

/// Where it enters a channel's task.
pub(super) struct Inlet {
    insert_tx: mpsc::Sender<Insert>,
    pace: Mutex<Pace>,
    breaks_over_at: Mutex<WallTime>,
}

impl Inlet {
    /// An inlet and where it comes out. A task that is busy may find the texts of a second.
    pub(super) fn new() -> (Self, mpsc::Receiver<Insert>) {
        let (insert_tx, insert_rx) = mpsc::channel(PER_SECOND);
        let inlet = Self {
            insert_tx,
            pace: Mutex::default(),
            breaks_over_at: Mutex::default(),
        };
        (inlet, insert_rx)
    }

    /// Hands a text on.
    pub(super) fn put_text(&self, text: &str, now: Instant) -> Result<(), Refused> {
        let place = self.place()?;
        if !lock(&self.pace).take(now) {
            return Err(Refused::TooMany);
        }
        place.send(Insert::Text(text.to_owned()));
        Ok(())
    }

    /// Hands an ad break on, unless the last one goes on or is to come.
    pub(super) fn put_break(&self, ad_break: AdBreak, now: WallTime) -> Result<(), Refused> {
        let place = self.place()?;
        let mut over_at = lock(&self.breaks_over_at);
        if now < *over_at {
            return Err(Refused::BreakRuns);
        }
        *over_at = ad_break.end();
        place.send(Insert::AdBreak(ad_break));
        Ok(())
    }

    fn place(&self) -> Result<mpsc::Permit<'_, Insert>, Refused> {
        self.insert_tx.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => Refused::TooMany,
            mpsc::error::TrySendError::Closed(()) => Refused::NotLive,
        })
    }
}

/// Refuses texts of a length that Amazon IVS does not take.
pub(super) fn check(text: &str) -> Result<(), Refused> {
    if (1..=MAX_TEXT_BYTES).contains(&text.len()) {
        Ok(())
    } else {
        Err(Refused::Length(text.len()))
    }
}

/// When the last texts came.
#[derive(Debug, Default)]
struct Pace(VecDeque<Instant>);

impl Pace {
    /// Whether one more may come at `now`.
    fn take(&mut self, now: Instant) -> bool {
        while self.0.pop_front_if(|at| *at + SECOND <= now).is_some() {}
        let may = self.0.len() < PER_SECOND;
        if may {
            self.0.push_back(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_a_second_whenever_it_began() {
        let (begin, mut pace) = (Instant::now(), Pace::default());
        let mut at = |millis| pace.take(begin + Duration::from_millis(millis));
        let taken = [0, 300, 600, 900, 999, 999, 1000, 1001, 1299, 1300].map(&mut at);
        let (yes, no) = (true, false);
        assert_eq!(taken, [yes, yes, yes, yes, yes, no, yes, no, no, yes]);
        assert!((5000..5005).all(&mut at) && !at(5005));
    }

    #[tokio::test]
    async fn a_text_is_taken_if_it_has_a_length_a_place_and_somebody_to_take_it() {
        assert_eq!(check(""), Err(Refused::Length(0)));
        assert_eq!(check(&"\u{e4}".repeat(512)), Ok(()));
        assert_eq!(check(&"\u{e4}".repeat(513)), Err(Refused::Length(1026)));

        let (inlet, mut insert_rx) = Inlet::new();
        let mut now = Instant::now();
        for _ in 0..PER_SECOND {
            assert_eq!(inlet.put_text("x", now), Ok(()));
            now += SECOND;
        }
        assert_eq!(
            inlet.put_text("x", now),
            Err(Refused::TooMany),
            "nobody takes them"
        );
        assert!(matches!(insert_rx.recv().await, Some(Insert::Text(text)) if text == "x"));
        assert_eq!(inlet.put_text("y", now), Ok(()));
        drop(insert_rx);
        assert_eq!(inlet.put_text("z", now), Err(Refused::NotLive));
    }

    #[test]
    fn a_break_waits_for_the_end_of_the_one_before() {
        let (inlet, _insert_rx) = Inlet::new();
        let begin = |start: i64, now: i64| {
            let ad_break = AdBreak {
                id: "b".to_owned(),
                start: WallTime(start),
                duration_ms: 10,
                asset_list: None,
            };
            inlet.put_break(ad_break, WallTime(now))
        };
        assert_eq!(begin(5, 3), Ok(()));
        assert_eq!(begin(6, 4), Err(Refused::BreakRuns), "it is to come");
        assert_eq!(begin(14, 14), Err(Refused::BreakRuns), "it runs");
        assert_eq!(begin(15, 15), Ok(()));
    }
}
