//! The way out of a transcoder: what its threads make waits here for the owner.
//!
//! In:  products, from several threads, at most as many as there is room for. Out: the same, in the
//! order in which each thread gave them.
//! Giving and waking are two things: to wake a sleeping task costs more than a product of a small rung
//! is worth, so the owner is woken once for a frame, by the last lane that is done with it, and finds
//! what all lanes made of it.
//! Not here: what the products are (`transcoder`).

use std::sync::Arc;

use tokio::sync::Notify;

use super::transcoder::Output;

/// Nobody takes the products any more.
#[derive(Debug)]
pub(super) struct Gone;

/// A thread's end.
#[derive(Clone)]
pub(super) struct Outlet {
    /// None only while it is dropped.
    output_tx: Option<flume::Sender<Output>>,
    wake: Arc<Notify>,
}

/// The owner's end.
pub struct Products {
    output_rx: flume::Receiver<Output>,
    wake: Arc<Notify>,
}

/// Wakes the owner when the last clone of it is dropped.
pub(super) struct WakeWhenDropped(Arc<Notify>);

/// A way out for at most `room` products at once.
pub(super) fn outlet(room: usize) -> (Outlet, Products) {
    let (output_tx, output_rx) = flume::bounded(room);
    let wake = Arc::new(Notify::new());
    let outlet = Outlet {
        output_tx: Some(output_tx),
        wake: Arc::clone(&wake),
    };
    (outlet, Products { output_rx, wake })
}

impl Outlet {
    /// Puts a product down and wakes nobody; waits where there is no room.
    pub(super) fn put(&self, output: Output) -> Result<(), Gone> {
        let Some(output_tx) = &self.output_tx else {
            return Err(Gone);
        };
        match output_tx.try_send(output) {
            Ok(()) => Ok(()),
            Err(flume::TrySendError::Full(output)) => {
                self.wake.notify_one();
                output_tx.send(output).map_err(|_| Gone)
            }
            Err(flume::TrySendError::Disconnected(_)) => Err(Gone),
        }
    }

    /// Puts a product down and wakes the owner.
    pub(super) fn give(&self, output: Output) -> Result<(), Gone> {
        self.put(output)?;
        self.wake.notify_one();
        Ok(())
    }

    /// What wakes the owner as soon as nobody holds it any more.
    pub(super) fn waker(&self) -> Arc<WakeWhenDropped> {
        Arc::new(WakeWhenDropped(Arc::clone(&self.wake)))
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        // The owner must find that it was the last one.
        self.output_tx = None;
        self.wake.notify_one();
    }
}

impl Drop for WakeWhenDropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Products {
    /// The next product, or none when all threads have ended. Nothing is lost if it is not waited for
    /// to the end.
    pub async fn recv(&mut self) -> Option<Output> {
        loop {
            match self.output_rx.try_recv() {
                Ok(output) => return Some(output),
                Err(flume::TryRecvError::Disconnected) => return None,
                // Whatever is put down after this look leaves its call behind.
                Err(flume::TryRecvError::Empty) => self.wake.notified().await,
            }
        }
    }

    /// What has been put down, without waiting.
    #[cfg(test)]
    pub(super) fn ready(&self) -> impl Iterator<Item = Output> {
        self.output_rx.try_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::JoinSet;

    use super::*;

    fn failed(what: usize) -> Output {
        let what = what.to_string();
        Output::Failed { what }
    }

    fn number(output: &Output) -> usize {
        match output {
            Output::Failed { what } => what.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_owner_sleeps_until_the_last_holder_is_done_and_finds_everything() {
        let (outlet, mut products) = outlet(8);
        let frame = outlet.waker();
        let of_another_lane = Arc::clone(&frame);
        let mut taker = JoinSet::new();
        taker.spawn(async move {
            let first = products.recv().await.unwrap();
            let ready: Vec<_> = products.ready().map(|output| number(&output)).collect();
            (number(&first), ready)
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        outlet.put(failed(1)).unwrap();
        drop(frame);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(taker.try_join_next().is_none(), "nobody called it");
        outlet.put(failed(2)).unwrap();
        drop(of_another_lane);
        let taken = taker.join_next().await.unwrap().unwrap();
        assert_eq!(taken, (1, vec![2]));
    }

    #[tokio::test]
    async fn a_full_outlet_calls_and_waits_and_nothing_is_lost() {
        let (outlet, mut products) = outlet(2);
        let giver = std::thread::spawn(move || {
            for number in 0..100 {
                outlet.put(failed(number)).unwrap();
            }
        });
        for wanted in 0..100 {
            assert_eq!(number(&products.recv().await.unwrap()), wanted);
        }
        assert!(products.recv().await.is_none(), "it ends with its threads");
        giver.join().unwrap();
    }

    #[tokio::test]
    async fn without_an_owner_nothing_is_taken() {
        let (outlet, products) = outlet(2);
        drop(products);
        assert!(outlet.put(failed(1)).is_err());
        assert!(outlet.give(failed(2)).is_err());
    }
}
