//! The recorder: what the channels tell is written down, for stream sessions and for those who are told.
//!
//! In:  the events of all channels, in their order. Out: for each, the event in the outbox and its stream session as it is
//! then, in one transaction; word that there is something new.
//! The live path never waits for it. What the database refuses is tried again until it is taken, and meanwhile the bus
//! keeps what follows, within its bound. A process that dies leaves sessions open: the next one ends them, and tells so.
//! Not here: sending (`events::webhook`). Weir's own events are told, but belong to no stream session.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ingest;
use crate::api::{Sources, channel, document};
use crate::base::clock::WallTime;
use crate::base::ids;
use crate::events::{Event, Heard, Kind, Subscription};
use crate::model::arn::Resource;
use crate::model::repository::Error;
use crate::model::stream_session::{KEPT_MS, StreamEvent, StreamSession};
use crate::model::webhook::Told;

/// How often old sessions and events are looked for.
const SWEEP: Duration = Duration::from_hours(1);
/// How long the database may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The pause before the database is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// Sessions whose end is waited for: a session's last event may come after `Session Ended`.
const MAX_OPEN: usize = 10_000;
/// How long an ended session's last events are waited for.
const GRACE: Duration = Duration::from_mins(1);
/// Sessions of a process that died, at once.
const LEFT_OPEN: u32 = 100;
/// How long events are kept for those who are told: longer than each is tried.
const TOLD_KEPT_MS: i64 = 7 * 24 * 3_600_000;

/// Records until `token` is cancelled, and then what was told until then.
pub async fn record(sources: Sources, mut events: Subscription, token: CancellationToken) {
    if let Err(error) = end_left_open(&sources).await {
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
                metrics::counter!("weir_events_lost_total").increment(count);
                tracing::error!(
                    count,
                    "events were lost: the database was away for too long"
                );
            }
            Some(Heard::Event(event)) => note_surely(&sources, &mut open, &event, &token).await,
        }
    }
}

/// A session, and when its last event is no longer waited for.
type Open = HashMap<String, (StreamSession, Option<Instant>)>;

/// Tries until the database has taken it; once more only when the server stops.
async fn note_surely(sources: &Sources, open: &mut Open, event: &Event, token: &CancellationToken) {
    let mut is_told = false;
    loop {
        let outcome = timeout(DEADLINE, note(sources, open, event)).await;
        let error = match outcome {
            Ok(Ok(())) => {
                sources.told.send_modify(|count| *count += 1);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the database is slow".to_owned(),
        };
        if !std::mem::replace(&mut is_told, true) {
            tracing::error!(
                error,
                event.id,
                "cannot record an event yet; it is tried again"
            );
        }
        if token.is_cancelled() {
            return tracing::error!(event.id, "an event is lost");
        }
        token.run_until_cancelled(sleep(PAUSE)).await;
    }
}

/// Writes an event down. Nothing has changed if it fails.
async fn note(sources: &Sources, open: &mut Open, event: &Event) -> Result<(), Error> {
    open.retain(|_, (_, until)| until.is_none_or(|until| Instant::now() < until));
    let found = match &event.stream_id {
        Some(stream_id) => session_of(sources, open, stream_id, event).await?,
        None => None,
    };
    let told = [told(sources, event)];
    let Some((mut session, mut until)) = found else {
        return sources.repository.tell(None, &told).await;
    };
    if let Kind::SessionEnded { .. } = event.kind {
        session.ended = Some(event.time);
        until = Some(Instant::now() + GRACE);
    }
    push(&mut session, event);
    sources.repository.tell(Some(&session), &told).await?;
    open.insert(session.stream_id.clone(), (session, until));
    Ok(())
}

/// The session that an event belongs to, begun if the event begins it.
async fn session_of(
    sources: &Sources,
    open: &Open,
    stream_id: &str,
    event: &Event,
) -> Result<Option<(StreamSession, Option<Instant>)>, Error> {
    let mut found = open.get(stream_id).cloned();
    if found.is_none() && event.kind == Kind::SessionCreated && open.len() < MAX_OPEN {
        let mut session = StreamSession::begin(stream_id, &event.channel_id, event.time);
        session.details = snapshot(sources, event).await?;
        found = Some((session, None));
    }
    // What is sent is known a moment after the stream has begun, or later if it changes hands.
    if let Some((session, _)) = &mut found
        && !session.details.contains_key(ingest::MEMBER)
    {
        session.details.extend(ingest::members(sources, session));
    }
    Ok(found)
}

fn push(session: &mut StreamSession, event: &Event) {
    if event.is_of_ivs() {
        session.push(StreamEvent {
            name: event.name().to_owned(),
            kind: event.detail_type().to_owned(),
            event_time: event.time.to_string(),
            code: event.code().map(str::to_owned),
        });
    }
}

fn told(sources: &Sources, event: &Event) -> Told {
    let scope = sources.endpoints.scope();
    Told {
        seq: 0,
        id: event.id.clone(),
        detail_type: event.detail_type().to_owned(),
        resource: event.resource(scope).unwrap_or_default(),
        at: event.time,
        body: event.to_json(scope).to_string(),
    }
}

/// Ends the sessions that a process left open when it died, and tells what it could not tell.
async fn end_left_open(sources: &Sources) -> Result<(), Error> {
    let now = sources.clock.now();
    loop {
        let left = sources.repository.open_stream_sessions(LEFT_OPEN).await?;
        if left.is_empty() {
            return Ok(());
        }
        for mut session in left {
            let events = last_events(&session, now);
            session.ended = Some(now);
            for event in &events {
                push(&mut session, event);
            }
            let told: Vec<_> = events.iter().map(|event| told(sources, event)).collect();
            sources.repository.tell(Some(&session), &told).await?;
            sources.told.send_modify(|count| *count += 1);
        }
    }
}

/// What remains to be told of a session that is over.
fn last_events(session: &StreamSession, now: WallTime) -> Vec<Event> {
    let name = session.details.get("channel").and_then(|it| it.get("name"));
    let event = |kind| Event {
        id: ids::uuid(),
        time: now,
        channel_id: session.channel_id.clone(),
        channel_name: name.and_then(Value::as_str).unwrap_or_default().to_owned(),
        stream_id: Some(session.stream_id.clone()),
        kind,
    };
    let mut names = session.events.iter().rev().map(|event| event.name.as_str());
    let is_live =
        names.find(|name| ["Stream Start", "Stream End"].contains(name)) == Some("Stream Start");
    let ends = is_live.then(|| event(Kind::StreamEnd));
    ends.into_iter()
        .chain([event(Kind::SessionEnded { code: None })])
        .collect()
}

/// The channel and what it refers to, as they are now.
async fn snapshot(sources: &Sources, event: &Event) -> Result<Map<String, Value>, Error> {
    let mut details = Map::new();
    let found = sources.repository.load_channel(&event.channel_id).await?;
    let Some(channel) = found else {
        return Ok(details);
    };
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
            && let Some(document) = sources.repository.load_document(kind, &id).await?
        {
            details.insert(member.to_owned(), document::present(sources, &document));
        }
    }
    Ok(details)
}

/// Forgets what is older than IVS keeps it.
async fn sweep(sources: &Sources) {
    let before = sources.clock.now().plus_millis(-KEPT_MS);
    let swept = async {
        sources.repository.delete_stream_sessions(before).await?;
        sources.repository.forget_revocations(before).await?;
        let before = sources.clock.now().plus_millis(-TOLD_KEPT_MS);
        sources.repository.forget_told(before).await
    };
    match timeout(DEADLINE, swept).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "cannot forget old stream sessions"),
        Err(_) => {
            tracing::error!("the database is slow; old stream sessions stay for an hour more");
        }
    }
}
