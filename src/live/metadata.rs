//! Timed metadata that a channel's owner puts into its live stream.
//!
//! In:  texts. Out: those that the channel's task is to insert, few a second.
//! Not here: who may (`api`), which moment a text belongs to (`output`), boxes (`packaging`).

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::registry::lock;
use crate::packaging::MAX_TEXT_BYTES;

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
}

/// Where texts enter a channel's task.
pub(super) struct Inlet {
    text_tx: mpsc::Sender<String>,
    pace: Mutex<Pace>,
}

impl Inlet {
    /// An inlet and where its texts come out. A task that is busy may find those of a second.
    pub(super) fn new() -> (Self, mpsc::Receiver<String>) {
        let (text_tx, text_rx) = mpsc::channel(PER_SECOND);
        let pace = Mutex::default();
        (Self { text_tx, pace }, text_rx)
    }

    /// Hands a text on.
    pub(super) fn put(&self, text: &str, now: Instant) -> Result<(), Refused> {
        let place = match self.text_tx.try_reserve() {
            Ok(place) => place,
            Err(mpsc::error::TrySendError::Full(())) => return Err(Refused::TooMany),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(Refused::NotLive),
        };
        if !lock(&self.pace).take(now) {
            return Err(Refused::TooMany);
        }
        place.send(text.to_owned());
        Ok(())
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

        let (inlet, mut text_rx) = Inlet::new();
        let mut now = Instant::now();
        for _ in 0..PER_SECOND {
            assert_eq!(inlet.put("x", now), Ok(()));
            now += SECOND;
        }
        assert_eq!(
            inlet.put("x", now),
            Err(Refused::TooMany),
            "nobody takes them"
        );
        assert_eq!(text_rx.recv().await.as_deref(), Some("x"));
        assert_eq!(inlet.put("y", now), Ok(()));
        drop(text_rx);
        assert_eq!(inlet.put("z", now), Err(Refused::NotLive));
    }
}
