//! Newcomers: each publishes at once, waits as a candidate, or is turned away.
//!
//! In:  connections with the channel's stream key, a candidate's media. Out: the channel's [`Seats`].
//! Not here: who may sit where (`seats`), what the one that publishes sends (`stream`).

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::seats::{Seating, Seats, Sitting, seat};
use super::watch::Watch;
use super::{ChannelTask, Publisher, REPLACED};
use crate::events::Kind;
use crate::ingest::MediaEvent;
use crate::live::intake::{Action, Ending, Intake, Means};
use crate::live::plan;
use crate::live::registry::{Attach, lock};
use crate::live::start::Ready;

impl ChannelTask {
    /// A newcomer: it publishes, waits until it can, or is turned away.
    pub(super) async fn seat(&mut self, seats: &mut Seats, attach: Attach) {
        let sitting = seats.current.as_ref().map(|publisher| Sitting {
            is_live: publisher.live_since.is_some(),
            priority: publisher.priority,
            takeovers: publisher.takeovers,
        });
        let newcomer = self.welcome(attach);
        let seating = seat(sitting, newcomer.priority, self.context.config.takeover);
        let candidate = seats.candidate.as_ref().map(|candidate| Sitting {
            is_live: true,
            priority: candidate.priority,
            takeovers: 0,
        });
        let before = seat(candidate, newcomer.priority, self.context.config.takeover);
        let seating = match before {
            Seating::InvalidPriority | Seating::Occupied => before,
            _ => seating,
        };
        let (code, words) = match seating {
            Seating::Current => {
                // Nor does one wait any longer that has no more right to the place.
                let replaced = [seats.current.take(), seats.candidate.take()];
                for old in replaced.into_iter().flatten() {
                    self.leave(old, REPLACED);
                    self.hold().await;
                }
                self.install(seats, newcomer);
                return;
            }
            Seating::Candidate { is_takeover } => {
                let mut newcomer = Publisher {
                    is_takeover,
                    ..newcomer
                };
                if !is_takeover {
                    self.announce(&mut newcomer);
                }
                if let Some(older) = seats.candidate.replace(newcomer) {
                    self.leave(older, REPLACED);
                }
                return;
            }
            Seating::Occupied => (None, "a stream is published with this key already"),
            Seating::InvalidPriority => (
                Some("StreamTakeoverInvalidPriority"),
                "a publisher with a higher priority is live; send ?priority=N above its own",
            ),
            Seating::LimitBreached => (
                Some("StreamTakeoverLimitBreached"),
                "this stream has been taken over too often",
            ),
        };
        if let (Some(code), Some(current)) = (code, &seats.current) {
            self.emit(current, Kind::StreamTakeoverFailure { code });
        }
        self.leave(newcomer, words);
    }

    /// A publisher that has attached.
    pub(super) fn welcome(&mut self, attach: Attach) -> Publisher {
        tracing::info!(
            session.id = attach.stream_id,
            encoder = attach.encoder,
            "publisher attached"
        );
        let means = Means {
            grid: self.grid(&attach.channel, attach.channel.part_target_ms),
            may_pass: plan::may_pass(&attach.channel) || !self.context.transcoding.config.enabled,
            may_transcode: self.context.transcoding.is_allowed(&attach.channel),
        };
        lock(&self.status).channel = attach.channel.clone();
        self.failover = attach.failover;
        let now = Instant::now();
        Publisher {
            watch: Watch::new(&self.context, &attach.channel),
            stream_id: attach.stream_id,
            encoder: attach.encoder,
            priority: attach.priority,
            is_takeover: false,
            takeovers: 0,
            is_announced: false,
            media_rx: attach.media_rx,
            stop_tx: attach.stop_tx,
            intake: Intake::new(means),
            tracks: BTreeMap::new(),
            facts: None,
            seen: now,
            sent: now,
            begun: now,
            live_since: None,
        }
    }

    /// A publisher has the channel's place: its stream session begins, and its health is the channel's.
    pub(super) fn install(&self, seats: &mut Seats, mut publisher: Publisher) {
        self.announce(&mut publisher);
        self.begin_watch(seats.current.insert(publisher));
    }

    pub(super) fn announce(&self, publisher: &mut Publisher) {
        if !std::mem::replace(&mut publisher.is_announced, true) {
            self.emit(publisher, Kind::SessionCreated);
        }
    }

    /// A candidate's media: it is held back until it can take the place.
    pub(super) async fn candidate_sent(&mut self, seats: &mut Seats, event: MediaEvent) -> bool {
        let Some(candidate) = &mut seats.candidate else {
            return false;
        };
        let action = match self.observe(candidate, &event) {
            Some(ending) => Action::Leave(ending),
            None if self.slate_stays(&event) => {
                candidate.seen = Instant::now();
                Action::Wait
            }
            None => candidate.intake.take(event),
        };
        match action {
            Action::Begin(ready) => match seats.candidate.take() {
                Some(candidate) => self.take_place(seats, candidate, ready).await,
                None => false,
            },
            Action::Leave(ending) => {
                if let Some(candidate) = seats.candidate.take() {
                    let (words, code) = match ending {
                        Ending::Unpublished => ("unpublished before it was live".to_owned(), None),
                        Ending::Lost(words) | Ending::Refused(words) => (words, None),
                        Ending::Breach { code, words } => (words, Some(code)),
                    };
                    self.leave_with(candidate, &words, code);
                }
                false
            }
            Action::Tell(code, words) => {
                candidate.watch.tell_later(code, words);
                false
            }
            _ => false,
        }
    }

    /// A candidate's pictures can be shown: it publishes from now on. Whether the playlists end with
    /// that.
    pub(super) async fn take_place(
        &mut self,
        seats: &mut Seats,
        mut candidate: Publisher,
        ready: Ready,
    ) -> bool {
        if candidate.is_takeover {
            let known = seats.current.as_ref().and_then(|old| old.facts.as_ref());
            if known.is_some_and(|facts| !facts.source.is_like(&ready.source)) {
                let code = "StreamTakeoverMediaMismatch";
                if let Some(current) = &seats.current {
                    self.emit(current, Kind::StreamTakeoverFailure { code });
                }
                self.leave(
                    candidate,
                    "a takeover needs the resolution and the tracks of the stream",
                );
                return false;
            }
        }
        if let Some(mut old) = seats.current.take() {
            if candidate.is_takeover {
                self.end_watch(&mut old);
                candidate.stream_id.clone_from(&old.stream_id);
                candidate.takeovers = old.takeovers + 1;
                candidate.is_announced = true;
                candidate.live_since = old.live_since;
                self.emit(&candidate, Kind::StreamTakeover);
                old.stop("taken over by a publisher with a higher priority");
            } else {
                self.leave(old, REPLACED);
            }
        }
        self.install(seats, candidate);
        let Some(candidate) = &mut seats.current else {
            return false;
        };
        let Err(ending) = self.go_live(candidate, ready).await else {
            return false;
        };
        // Viewers lose neither stream for good: the older publisher may return.
        self.hold().await;
        match seats.current.take() {
            Some(publisher) => self.part_with(seats, publisher, ending).await,
            None => false,
        }
    }
}
