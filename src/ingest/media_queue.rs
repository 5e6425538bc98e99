//! The queue between a publisher's connection and its stream session: bounded by events and bytes.
//!
//! In:  [`MediaEvent`]s. Out: the same, in order. Bytes count until the receiver takes the event.
//! Not here: what to do when the queue is full; the connection waits a little and then gives up.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};
use tokio::time::Instant;

use crate::media::Sample;
use crate::media::codec::{AudioConfig, VideoConfig};

/// What a publisher sends, in its order.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaEvent {
    /// What the encoder claims; a hint only.
    Metadata(Metadata),
    /// A video configuration, the first or a changed one.
    VideoConfig(Arc<VideoConfig>),
    /// An audio configuration, the first or a changed one.
    AudioConfig(Arc<AudioConfig>),
    /// Words for the streamer, for example that an audio codec is not carried.
    Notice(String),
    /// Words for the streamer: of several tracks of pictures one is used.
    TracksUnused(String),
    /// The configuration of a further track of pictures, with its number, the first or a changed one.
    OtherTrack(u8, Arc<VideoConfig>),
    /// Words for those who watch.
    Text(String),
    /// What went wrong since the last time it was told.
    Trouble(Trouble),
    /// One access unit or frame of sound.
    Sample(Sample),
    /// Nothing follows.
    End(EndReason),
}

/// How a publication ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The encoder said goodbye.
    Unpublished,
    /// What it sends is against the channel's rules.
    Refused {
        /// For the event that tells the end.
        code: &'static str,
        /// For the streamer.
        words: String,
    },
    /// Anything else, in words; the encoder may come back.
    Lost(String),
}

/// `onMetaData`, as far as anybody wants to know it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// `videodatarate`, kilobits per second.
    pub video_data_rate_kbps: Option<f64>,
    /// `audiodatarate`, kilobits per second.
    pub audio_data_rate_kbps: Option<f64>,
    /// `framerate`, frames per second.
    pub frame_rate: Option<f64>,
    /// `width` in pixels.
    pub width: Option<f64>,
    /// `height` in pixels.
    pub height: Option<f64>,
    /// `encoder`.
    pub encoder: Option<String>,
}

/// Faults of what came, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Units that were left out: broken, before their configuration, or without a place in time.
    pub dropped_units: u64,
    /// Jumps of the timestamps, each of which was given a place by wall time.
    pub jumps: u32,
}

impl MediaEvent {
    fn bytes(&self) -> usize {
        match self {
            Self::Sample(sample) => sample.data.len(),
            Self::Text(text) => text.len(),
            _ => 0,
        }
    }
}

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream session has ended")]
pub struct QueueClosed;

/// The connection's end.
#[derive(Clone, Debug)]
pub struct MediaSender {
    events: mpsc::Sender<Queued>,
    kibibytes: Arc<Semaphore>,
    max_kibibytes: u32,
}

/// The stream session's end.
#[derive(Debug)]
pub struct MediaReceiver {
    events: mpsc::Receiver<Queued>,
    arrival: Instant,
}

/// An event, its bytes' share of the queue, and when it was read from the socket.
type Queued = (MediaEvent, OwnedSemaphorePermit, Instant);

/// A queue of at most `max_events` events which together have at most `max_bytes` of samples
/// (rounded up to KiB each; a larger sample passes alone).
pub fn media_queue(max_events: usize, max_bytes: usize) -> (MediaSender, MediaReceiver) {
    let max_kibibytes = u32::try_from(max_bytes.div_ceil(1024))
        .unwrap_or(u32::MAX)
        .max(1);
    let permits = usize::try_from(max_kibibytes)
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS);
    let (events_tx, events_rx) = mpsc::channel(max_events.max(1));
    let sender = MediaSender {
        events: events_tx,
        kibibytes: Arc::new(Semaphore::new(permits)),
        max_kibibytes,
    };
    let arrival = Instant::now();
    (
        sender,
        MediaReceiver {
            events: events_rx,
            arrival,
        },
    )
}

impl MediaSender {
    /// Waits for room. A dropped receiver frees all room, so this cannot wait for nobody.
    pub async fn send(&self, event: MediaEvent) -> Result<(), QueueClosed> {
        let arrival = Instant::now();
        let cost = self.cost(&event);
        let permit = Arc::clone(&self.kibibytes).acquire_many_owned(cost).await;
        let permit = permit.map_err(|_| QueueClosed)?;
        self.events
            .send((event, permit, arrival))
            .await
            .map_err(|_| QueueClosed)
    }

    /// Sends without waiting: gives the event back when there is no room.
    pub fn try_send(&self, event: MediaEvent) -> Result<Option<MediaEvent>, QueueClosed> {
        let cost = self.cost(&event);
        match Arc::clone(&self.kibibytes).try_acquire_many_owned(cost) {
            Ok(permit) => match self.events.try_send((event, permit, Instant::now())) {
                Ok(()) => Ok(None),
                Err(TrySendError::Full((event, ..))) => Ok(Some(event)),
                Err(TrySendError::Closed(_)) => Err(QueueClosed),
            },
            Err(TryAcquireError::NoPermits) => Ok(Some(event)),
            Err(TryAcquireError::Closed) => Err(QueueClosed),
        }
    }

    fn cost(&self, event: &MediaEvent) -> u32 {
        let kibibytes = u32::try_from(event.bytes().div_ceil(1024)).unwrap_or(u32::MAX);
        kibibytes.min(self.max_kibibytes)
    }
}

impl MediaReceiver {
    /// The next event; `None` when the connection is gone without [`MediaEvent::End`].
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<MediaEvent> {
        let (event, _, arrival) = self.events.recv().await?;
        self.arrival = arrival;
        Some(event)
    }

    /// When the event received last was handed to the queue: how long it has been under way.
    pub fn arrival(&self) -> Instant {
        self.arrival
    }

    /// An event that is there already.
    pub fn try_recv(&mut self) -> Option<MediaEvent> {
        let (event, _, arrival) = self.events.try_recv().ok()?;
        self.arrival = arrival;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::TrackKind;

    fn sample(bytes: usize) -> MediaEvent {
        MediaEvent::Sample(Sample {
            track: TrackKind::Video,
            dts: 0,
            composition_offset: 0,
            is_sync: true,
            data: vec![0; bytes].into(),
        })
    }

    #[tokio::test]
    async fn is_bounded_by_bytes_until_the_receiver_takes_them() {
        let (tx, mut rx) = media_queue(100, 4096);
        assert_eq!(tx.try_send(sample(3000)), Ok(None));
        assert_eq!(tx.try_send(sample(1025)), Ok(Some(sample(1025))));
        assert_eq!(tx.try_send(sample(1024)), Ok(None));
        assert_eq!(rx.recv().await, Some(sample(3000)));
        assert_eq!(tx.try_send(sample(1025)), Ok(None));
        // One larger than the whole queue passes when it is alone.
        while rx.try_recv().is_some() {}
        assert_eq!(tx.try_send(sample(1 << 20)), Ok(None));
        assert!(tx.try_send(sample(1)).unwrap().is_some());
    }

    #[tokio::test]
    async fn is_bounded_by_events() {
        let (tx, _rx) = media_queue(2, 4096);
        let notice = || MediaEvent::Notice(String::new());
        assert_eq!(tx.try_send(notice()), Ok(None));
        assert_eq!(tx.try_send(notice()), Ok(None));
        assert_eq!(tx.try_send(notice()), Ok(Some(notice())));
    }

    #[tokio::test]
    async fn a_waiting_sender_learns_that_the_receiver_has_gone() {
        let (tx, rx) = media_queue(10, 1024);
        tx.send(sample(1024)).await.unwrap();
        let (sent, ()) = tokio::join!(tx.send(sample(1024)), async { drop(rx) });
        assert_eq!(sent, Err(QueueClosed));
        assert_eq!(tx.try_send(sample(1)), Err(QueueClosed));
    }
}
