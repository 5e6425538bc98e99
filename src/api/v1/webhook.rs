//! `/v1/webhooks`: who is told what happens, and what they did not take.
//!
//! In:  the credentials of an access key; a URL, detail-types and beginnings of ARNs. Out: webhooks as JSON; the secret is
//! told to whoever may change them.
//! Not here: sending (`events::webhook`).

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State as Extract};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Sources;
use super::access::{authorise_server, timely};
use super::problem::Problem;
use crate::events::webhook::check;
use crate::model::repository::Error;
use crate::model::webhook::{DeadLetter, Webhook};

/// Most rules of a kind, and the longest of them.
const MAX_RULES: usize = 50;
const MAX_RULE_CHARS: usize = 256;
/// Dead letters that are listed.
const LETTERS: u32 = 1_000;

/// What a new webhook is to be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wanted {
    url: String,
    #[serde(default)]
    detail_types: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
}

/// A webhook, with its secret where it is asked for by itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    url: String,
    detail_types: Vec<String>,
    resources: Vec<String>,
    created_at: String,
    /// `ACTIVE`, `FAILING` or `DISABLED`.
    state: &'static str,
    /// How often the next event has failed.
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// `POST /v1/webhooks`: what happens from now on is posted to a URL.
pub(super) async fn create(
    Extract(sources): Extract<Sources>,
    headers: HeaderMap,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    authorise_server(&sources, &headers, true).await?;
    let Json(wanted) = wanted.map_err(|error| Problem::Malformed(error.body_text()))?;
    let is_private_allowed = sources.webhooks.allow_private_targets;
    check(&wanted.url, is_private_allowed)
        .map_err(|error| Problem::Malformed(error.to_string()))?;
    for rules in [&wanted.detail_types, &wanted.resources] {
        let is_rule = |rule: &String| (1..=MAX_RULE_CHARS).contains(&rule.chars().count());
        if rules.len() > MAX_RULES || !rules.iter().all(is_rule) {
            let words = format!("at most {MAX_RULES} rules of 1 to {MAX_RULE_CHARS} characters");
            return Err(Problem::Malformed(words));
        }
    }
    let newest = timely(sources.repository.newest_told()).await?;
    let webhook = Webhook {
        detail_types: wanted.detail_types,
        resources: wanted.resources,
        ..Webhook::create(&wanted.url, newest, sources.clock.now())
    };
    let most = sources.webhooks.max_webhooks;
    settled(sources.repository.create_webhook(&webhook, most).await)?;
    sources.told.send_modify(|count| *count += 1);
    tracing::info!(webhook.id, "a webhook was made");
    Ok((StatusCode::CREATED, answer(shown(webhook, true))))
}

/// `GET /v1/webhooks`.
pub(super) async fn list(
    Extract(sources): Extract<Sources>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    authorise_server(&sources, &headers, false).await?;
    let all = timely(sources.repository.list_webhooks()).await?;
    let all: Vec<Shown> = all.into_iter().map(|it| shown(it, false)).collect();
    Ok(answer(json!({ "webhooks": all })))
}

/// `GET /v1/webhooks/{id}`: with its secret.
pub(super) async fn get(
    Extract(sources): Extract<Sources>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    authorise_server(&sources, &headers, true).await?;
    Ok(answer(shown(find(&sources, &id).await?, true)))
}

/// `DELETE /v1/webhooks/{id}`: nothing is sent any more, and its dead letters are gone.
pub(super) async fn delete(
    Extract(sources): Extract<Sources>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    authorise_server(&sources, &headers, true).await?;
    settled(sources.repository.delete_webhook(&id).await)?;
    tracing::info!(webhook.id = id, "a webhook was deleted");
    Ok(answer(json!({})))
}

/// `GET /v1/webhooks/{id}/dead-letters`: the oldest first.
pub(super) async fn dead_letters(
    Extract(sources): Extract<Sources>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    authorise_server(&sources, &headers, false).await?;
    find(&sources, &id).await?;
    let letters = timely(sources.repository.dead_letters(&id, true, LETTERS)).await?;
    let letters: Vec<Value> = letters.iter().map(letter).collect();
    Ok(answer(json!({ "deadLetters": letters })))
}

/// `POST /v1/webhooks/{id}/dead-letters/{event}/replay`: it is sent once more, before what comes next.
pub(super) async fn replay(
    Extract(sources): Extract<Sources>,
    Path((id, event)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    authorise_server(&sources, &headers, true).await?;
    settled(sources.repository.replay_dead_letter(&id, &event).await)?;
    sources.told.send_modify(|count| *count += 1);
    Ok((StatusCode::ACCEPTED, answer(json!({}))))
}

async fn find(sources: &Sources, id: &str) -> Result<Webhook, Problem> {
    let all = timely(sources.repository.list_webhooks()).await?;
    let found = all.into_iter().find(|webhook| webhook.id == id);
    found.ok_or(Problem::NoSuchWebhook)
}

fn settled(outcome: Result<(), Error>) -> Result<(), Problem> {
    outcome.map_err(|error| match error {
        Error::NotFound(_) => Problem::NoSuchWebhook,
        Error::Full(most) => Problem::Full(most),
        error => {
            tracing::error!(%error, "cannot change webhooks");
            Problem::Database
        }
    })
}

fn shown(webhook: Webhook, is_secret_told: bool) -> Shown {
    let progress = webhook.progress;
    let is_failing = progress.attempts > 0;
    Shown {
        id: webhook.id,
        url: webhook.url,
        detail_types: webhook.detail_types,
        resources: webhook.resources,
        created_at: webhook.created.to_string(),
        state: match &progress.disabled {
            Some(_) => "DISABLED",
            None if is_failing => "FAILING",
            None => "ACTIVE",
        },
        attempts: progress.attempts,
        next_attempt_at: is_failing.then(|| progress.due.to_string()),
        disabled_reason: progress.disabled,
        secret: is_secret_told.then_some(webhook.secret),
    }
}

fn letter(letter: &DeadLetter) -> Value {
    json!({
        "eventId": letter.event_id,
        "failedAt": letter.failed.to_string(),
        "reason": letter.reason,
        // It was written as JSON by this server.
        "event": serde_json::from_str::<Value>(&letter.body).unwrap_or_default(),
    })
}

fn answer(body: impl Serialize) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], Json(body))
}
