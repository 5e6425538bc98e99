//! `GET /events`: what happens, as server-sent events.
//!
//! In:  the credentials of an access key; `channel`, to hear of one only; `Last-Event-ID`, to go on where a connection
//! broke. Out: `EventBridge`'s envelopes, each with its place in the outbox as its id, from now on if nothing else is said.
//! A client that does not read holds up nobody: what it has not read stays in the outbox.
//! Standard: HTML, "Server-sent events".

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Sources;
use super::access::{authorise_server, timely};
use super::problem::Problem;
use crate::model::webhook::Told;

/// Events that are read at once.
const BATCH: u32 = 100;
/// How often a silent connection says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The pause after the database failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What a client asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// A channel's id.
    channel: Option<String>,
}

/// `GET /events`.
pub(super) async fn handler(
    Extract(sources): Extract<Sources>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    authorise_server(&sources, &headers, false).await?;
    let last = headers.get("last-event-id");
    let after = match last.map(|value| value.to_str().ok().and_then(|text| text.parse().ok())) {
        Some(Some(after)) => after,
        Some(None) => {
            return Err(Problem::Malformed(
                "Last-Event-ID is not one of ours".to_owned(),
            ));
        }
        None => timely(sources.repository.newest_told()).await?,
    };
    let Ok(place) = sources.listeners.clone().try_acquire_owned() else {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    };
    let resource = match wanted.channel.map(|id| id.parse()) {
        None => None,
        Some(Ok(id)) => Some(sources.endpoints.scope().channel_arn(&id).to_string()),
        Some(Err(_)) => return Err(Problem::NoSuchChannel),
    };
    let is_over = sources.tasks.token().clone().cancelled_owned();
    let reader = Reader {
        told: sources.told.subscribe(),
        sources,
        after,
        resource,
        ready: VecDeque::new(),
        _place: place,
    };
    let events = reader.events().take_until(is_over);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

/// One client's place in the outbox.
struct Reader {
    sources: Sources,
    told: watch::Receiver<u64>,
    after: i64,
    resource: Option<String>,
    ready: VecDeque<Told>,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut reader| async {
            let told = reader.next().await?;
            let event = Event::default().id(told.seq.to_string());
            Some((Ok(event.event(told.detail_type).data(told.body)), reader))
        })
    }

    /// What comes next; nothing any more when the server stops.
    async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some(told) = self.ready.pop_front() {
                self.after = told.seq;
                if self.resource.as_ref().is_none_or(|it| *it == told.resource) {
                    return Some(told);
                }
            }
            self.told.borrow_and_update();
            match timely(self.sources.repository.told_after(self.after, BATCH)).await {
                Ok(batch) if batch.is_empty() => self.told.changed().await.ok()?,
                Ok(batch) => self.ready = batch.into(),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}
