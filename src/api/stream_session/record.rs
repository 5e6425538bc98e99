//! The recorder of stream sessions: what the channels tell is written down.
//!
//! In:  the events of all channels, in their order. Out: one row per stream session, written at each event.
//! The live path never waits for it. What the database refuses is tried again at the session's next event, as each
//! row is written whole; a process that dies leaves sessions open, which the next one ends.
//! Not here: Weir's own events, which no client of IVS knows.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::ingest;
use crate::api::{Sources, channel, document};
use crate::events::{Event, Heard, Kind, Subscription};
use crate::model::arn::Resource;
use crate::model::stream_session::{KEPT_MS, StreamEvent, StreamSession};

/// How often old sessions are looked for.
const SWEEP: Duration = Duration::from_hours(1);
/// How long the database may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Sessions whose end is waited for: a session's last event may come after `Session Ended`.
const MAX_OPEN: usize = 10_000;
/// How long an ended session's last events are waited for.
const GRACE: Duration = Duration::from_mins(1);

/// Records until `token` is cancelled, and then what was told until then.
pub async fn record(sources: Sources, mut events: Subscription, token: CancellationToken) {
    let now = sources.clock.now();
    if let Err(error) = sources.repository.end_stream_sessions(now).await {
        tracing::error!(%error, "cannot end the stream sessions of a process that died");
    }
    let mut open = HashMap::new();
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let heard = tokio::select! {
            // What was told before the end is recorded.
            biased;
            heard = events.next() => heard,
            () = token.cancelled() => return,
            _ = sweeps.tick() => {
                sweep(&sources).await;
                continue;
            }
        };
        match heard {
            None => return,
            Some(Heard::Missed(count)) => {
                tracing::warn!(count, "events of stream sessions were missed");
            }
            Some(Heard::Event(event)) => {
                let note = note(&sources, &mut open, &event);
                if tokio::time::timeout(DEADLINE, note).await.is_err() {
                    tracing::error!(
                        event.id,
                        "the database is slow; an event waits for the session's next"
                    );
                }
            }
        }
    }
}

/// A session, and when its last event is no longer waited for.
type Open = HashMap<String, (StreamSession, Option<Instant>)>;

async fn note(sources: &Sources, open: &mut Open, event: &Event) {
    let Some(stream_id) = &event.stream_id else {
        return;
    };
    open.retain(|_, (_, until)| until.is_none_or(|until| Instant::now() < until));
    if !open.contains_key(stream_id) {
        let begins = event.kind == Kind::SessionCreated && open.len() < MAX_OPEN;
        if !begins {
            return;
        }
        let mut session = StreamSession::begin(stream_id, &event.channel_id, event.time);
        session.details = snapshot(sources, event).await.unwrap_or_default();
        open.insert(stream_id.clone(), (session, None));
    }
    let Some((session, until)) = open.get_mut(stream_id) else {
        return;
    };
    // What is sent is known a moment after the stream has begun, or later if it changes hands.
    if !session.details.contains_key(ingest::MEMBER) {
        session.details.extend(ingest::members(sources, session));
    }
    if let Kind::SessionEnded { .. } = event.kind {
        session.ended = Some(event.time);
        *until = Some(Instant::now() + GRACE);
    }
    if event.is_of_ivs() {
        session.push(StreamEvent {
            name: event.name().to_owned(),
            kind: event.detail_type().to_owned(),
            event_time: event.time.to_string(),
            code: event.code().map(str::to_owned),
        });
    }
    if let Err(error) = sources.repository.save_stream_session(session).await {
        tracing::error!(%error, session.id = stream_id, "cannot record a stream session");
    }
}

/// The channel and what it refers to, as they are now.
async fn snapshot(sources: &Sources, event: &Event) -> Option<Map<String, Value>> {
    let channel = sources
        .repository
        .load_channel(&event.channel_id)
        .await
        .ok()??;
    let mut details = Map::new();
    details.insert("channel".to_owned(), channel::present(sources, &channel));
    let attached = &channel.attached;
    for (member, arn) in [
        (
            "recordingConfiguration",
            &attached.recording_configuration_arn,
        ),
        (
            "failoverSlateConfiguration",
            &attached.failover_slate_configuration_arn,
        ),
    ] {
        if let Some(Resource::Document(kind, id)) = sources.endpoints.scope().resource(arn)
            && let Ok(Some(document)) = sources.repository.load_document(kind, &id).await
        {
            details.insert(member.to_owned(), document::present(sources, &document));
        }
    }
    Some(details)
}

/// Forgets what is older than IVS keeps it.
async fn sweep(sources: &Sources) {
    let before = sources.clock.now().plus_millis(-KEPT_MS);
    let swept = async {
        sources.repository.delete_stream_sessions(before).await?;
        sources.repository.forget_revocations(before).await
    };
    match tokio::time::timeout(DEADLINE, swept).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "cannot forget old stream sessions"),
        Err(_) => {
            tracing::error!("the database is slow; old stream sessions stay for an hour more");
        }
    }
}
