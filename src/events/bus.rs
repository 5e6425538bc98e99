//! The bus: an event goes out once, to all who listen.
//!
//! In:  [`Bus::emit`], which neither waits nor fails. Out: [`Subscription`]s, a log line, a counter, and
//! the newest events of each channel.
//! Bounded: a subscriber that does not keep up loses the oldest and is told how many; a channel keeps
//! [`CHANNEL_EVENTS`], of [`CHANNELS`] channels.
//! Not here: delivery to the outside, with its retries.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::event::{Event, Kind};
use crate::model::ChannelId;

/// Events kept for a slow subscriber, as the recorder is while its database is away.
const QUEUE_EVENTS: usize = 16_384;
/// Events kept of a channel: as many as IVS lists of a stream session.
const CHANNEL_EVENTS: usize = 500;
/// Channels of which events are kept.
const CHANNELS: usize = 512;

/// Where events are emitted and heard.
#[derive(Debug)]
pub struct Bus {
    events_tx: broadcast::Sender<Arc<Event>>,
    log: Mutex<Log>,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            events_tx: broadcast::Sender::new(QUEUE_EVENTS),
            log: Mutex::default(),
        }
    }
}

impl Bus {
    /// A bus that nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everybody; in the order of the calls.
    pub fn emit(&self, event: Event) {
        let (kind, name) = (event.detail_type(), event.name());
        metrics::counter!("weir_events_total", "type" => kind, "name" => name).increment(1);
        tracing::info!(
            event.id,
            channel.id = %event.channel_id,
            session.id = event.stream_id,
            code = event.code(),
            details = event.kind.details(),
            "event: {name}"
        );
        let event = Arc::new(event);
        let mut log = self.log();
        log.push(Arc::clone(&event));
        // Without a subscriber nobody misses it; within the lock all hear the same order.
        drop(self.events_tx.send(event));
    }

    /// Hears every event from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription {
            events_rx: self.events_tx.subscribe(),
        }
    }

    /// A channel's events, the newest first.
    pub fn newest(&self, channel_id: &ChannelId) -> Vec<Arc<Event>> {
        let log = self.log();
        let events = log.channels.get(channel_id);
        events.map_or_else(Vec::new, |events| events.iter().rev().cloned().collect())
    }

    /// A lock whose holder panicked still guards a usable log.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The next event.
    Event(Arc<Event>),
    /// So many were lost, because they were not taken in time.
    Missed(u64),
}

/// A subscriber's end.
#[derive(Debug)]
pub struct Subscription {
    events_rx: broadcast::Receiver<Arc<Event>>,
}

impl Subscription {
    /// What comes next; `None` when the bus is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.events_rx.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// The newest events of each channel, oldest first.
#[derive(Debug, Default)]
struct Log {
    channels: HashMap<ChannelId, VecDeque<Arc<Event>>>,
}

impl Log {
    fn push(&mut self, event: Arc<Event>) {
        if !self.channels.contains_key(&event.channel_id) && self.channels.len() >= CHANNELS {
            self.forget_quietest();
        }
        let events = self.channels.entry(event.channel_id.clone()).or_default();
        if events.len() >= CHANNEL_EVENTS {
            events.pop_front();
        }
        events.push_back(event);
    }

    /// Makes room: the channel whose newest event is oldest goes.
    fn forget_quietest(&mut self) {
        let newest = |(_, events): &(&ChannelId, &VecDeque<Arc<Event>>)| {
            events.back().map(|event| event.time)
        };
        let quietest = self.channels.iter().min_by_key(newest);
        if let Some(id) = quietest.map(|(id, _)| id.clone()) {
            self.channels.remove(&id);
        }
    }
}

impl Kind {
    /// What the log line says besides the name; no secrets, no media.
    fn details(&self) -> Option<String> {
        match self {
            Self::StreamFailure { reason } => Some(reason.clone()),
            Self::RenditionShed { rendition } | Self::RenditionRestored { rendition } => {
                Some(rendition.clone())
            }
            Self::Finding { words, .. } => Some(words.clone()),
            Self::LimitBreach {
                limit,
                limit_value,
                exceeded_by,
            } => {
                let unit = limit.unit();
                Some(format!("{exceeded_by} above {limit_value} {unit}"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::event;
    use super::*;
    use crate::base::clock::WallTime;

    /// The `n`th event, of one of many channels.
    fn nth(n: usize, channel: usize) -> Event {
        Event {
            id: n.to_string(),
            time: WallTime(i64::try_from(n).unwrap()),
            channel_id: format!("channel{channel:05}").parse().unwrap(),
            ..event(Kind::StreamStart)
        }
    }

    fn ids(bus: &Bus, channel: usize) -> Vec<usize> {
        let events = bus.newest(&nth(0, channel).channel_id);
        events
            .iter()
            .map(|event| event.id.parse().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn every_subscriber_hears_every_event_in_order() {
        let bus = Bus::new();
        bus.emit(nth(0, 0));
        let mut heard = [bus.subscribe(), bus.subscribe()];
        for n in 1..4 {
            bus.emit(nth(n, n % 2));
        }
        drop(bus);
        for subscription in &mut heard {
            for n in 1..4 {
                let expected = Heard::Event(Arc::new(nth(n, n % 2)));
                assert_eq!(subscription.next().await, Some(expected));
            }
            assert_eq!(subscription.next().await, None);
        }
    }

    #[tokio::test]
    async fn a_slow_subscriber_loses_the_oldest_and_knows_it() {
        let bus = Bus::new();
        let mut slow = bus.subscribe();
        for n in 0..QUEUE_EVENTS + 10 {
            bus.emit(nth(n, 0));
        }
        assert_eq!(slow.next().await, Some(Heard::Missed(10)));
        assert_eq!(slow.next().await, Some(Heard::Event(Arc::new(nth(10, 0)))));
    }

    #[test]
    fn a_channel_keeps_its_newest_events_and_another_its_own() {
        let bus = Bus::new();
        bus.emit(nth(0, 1));
        for n in 1..=CHANNEL_EVENTS + 3 {
            bus.emit(nth(n, 0));
        }
        let expected: Vec<usize> = (4..=CHANNEL_EVENTS + 3).rev().collect();
        assert_eq!(ids(&bus, 0), expected);
        assert_eq!(ids(&bus, 1), [0]);
        assert!(ids(&bus, 2).is_empty());
    }

    #[test]
    fn of_too_many_channels_the_quietest_is_forgotten() {
        let bus = Bus::new();
        for n in 0..CHANNELS {
            bus.emit(nth(n, n));
        }
        bus.emit(nth(CHANNELS, 0));
        bus.emit(nth(CHANNELS + 1, CHANNELS));
        assert!(ids(&bus, 1).is_empty());
        assert_eq!(ids(&bus, 0), [CHANNELS, 0]);
        assert_eq!(ids(&bus, CHANNELS), [CHANNELS + 1]);
        assert_eq!(bus.log().channels.len(), CHANNELS);
    }
}
