//! The deliverer: every receiver's next event is posted, tried again, or put aside.
//!
//! In:  the outbox. Out: posts. Each receiver has at most one under way, and no receiver waits for another. How far each is
//! stands in the database, after each post: what was posted and not written down before a crash is posted again.
//! Not here: rules and pauses (`model::webhook`).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, redirect};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::target::PublicOnly;
use super::{Config, check, signer};
use crate::base::clock::SharedClock;
use crate::base::ids;
use crate::model::repository::{self, OutboxRepository};
use crate::model::webhook::{DeadLetter, Webhook};

/// How long the database may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The pause after it failed.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest time without a look at who is due.
const LOOK: Duration = Duration::from_secs(30);
/// How long those that are due are served when the server ends.
const LAST: Duration = Duration::from_secs(10);
/// Events and dead letters that are read at once.
const BATCH: u32 = 100;

/// Why nothing can be delivered.
#[derive(Debug, thiserror::Error)]
#[error("cannot make an HTTP client for webhooks: {0}")]
pub struct Error(#[from] reqwest::Error);

/// Posts what is told.
pub struct Deliverer<R: ?Sized> {
    repository: Arc<R>,
    clock: SharedClock,
    config: Config,
    client: reqwest::Client,
}

/// How a receiver was left.
enum Left {
    /// It has all that there was when so much had been told.
    UpToDate(u64),
    /// It is to be tried later, or is gone, as the database says.
    Waiting,
    /// The database failed.
    Unknown,
}

type Serving<'a> = Pin<Box<dyn Future<Output = (String, Left)> + Send + 'a>>;

impl<R: OutboxRepository + ?Sized> Deliverer<R> {
    /// A deliverer of what `repository` has.
    pub fn new(repository: Arc<R>, clock: SharedClock, config: Config) -> Result<Self, Error> {
        // An error means that this process has a provider already.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let mut client = reqwest::Client::builder()
            .timeout(Duration::from_secs(config.timeout_seconds))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        if !config.allow_private_targets {
            client = client.dns_resolver(Arc::new(PublicOnly));
        }
        Ok(Self {
            repository,
            clock,
            config,
            client: client.build()?,
        })
    }

    /// Delivers until `token` is cancelled, and then what is there and due, for a while. A change of `told` is word of something
    /// new: events, receivers, or dead letters to be sent again.
    pub async fn run(self, mut told: watch::Receiver<u64>, token: CancellationToken) {
        let mut under_way: FuturesUnordered<Serving<'_>> = FuturesUnordered::new();
        // Those under way, and those that are up to date.
        let mut left: HashMap<String, Option<u64>> = HashMap::new();
        loop {
            let count = *told.borrow_and_update();
            let wait = match self.timely(self.repository.list_webhooks()).await {
                Some(webhooks) => {
                    left.retain(|id, at| at.is_none() || webhooks.iter().any(|it| it.id == *id));
                    let (due, wait) = self.due(webhooks, &left, count);
                    for webhook in due {
                        left.insert(webhook.id.clone(), None);
                        under_way.push(Box::pin(self.serve(webhook, count)));
                    }
                    wait
                }
                None => PAUSE,
            };
            let is_any = !under_way.is_empty();
            tokio::select! {
                () = token.cancelled() => break,
                Some((id, how)) = under_way.next(), if is_any => match how {
                    Left::UpToDate(at) => drop(left.insert(id, Some(at))),
                    Left::Waiting => drop(left.remove(&id)),
                    Left::Unknown => {
                        left.remove(&id);
                        token.run_until_cancelled(sleep(PAUSE)).await;
                    }
                },
                changed = told.changed() => if changed.is_err() {
                    return;
                },
                () = sleep(wait) => {}
            }
        }
        if timeout(LAST, self.finish(under_way, left)).await.is_err() {
            tracing::warn!("webhooks were too slow: they get the last events after the next start");
        }
    }

    /// Serves everybody who is due once more, beside those that are under way.
    async fn finish<'a>(
        &'a self,
        mut under_way: FuturesUnordered<Serving<'a>>,
        mut left: HashMap<String, Option<u64>>,
    ) {
        // Who has ended may have done so before the last event was there; who has not will find it.
        while let Some(Some((id, _))) = under_way.next().now_or_never() {
            left.remove(&id);
        }
        left.retain(|_, at| at.is_none());
        let webhooks = self.timely(self.repository.list_webhooks()).await;
        let (due, _) = self.due(webhooks.unwrap_or_default(), &left, 0);
        under_way.extend(
            due.into_iter()
                .map(|webhook| -> Serving<'_> { Box::pin(self.serve(webhook, 0)) }),
        );
        while under_way.next().await.is_some() {}
    }

    /// Those whose turn it is, and how long until the next one's.
    fn due(
        &self,
        webhooks: Vec<Webhook>,
        left: &HashMap<String, Option<u64>>,
        count: u64,
    ) -> (Vec<Webhook>, Duration) {
        let now = self.clock.now();
        let is_wanting = |webhook: &Webhook| {
            let known = left.get(&webhook.id);
            let is_served = known.is_some_and(|at| at.is_none_or(|at| at == count));
            !is_served && webhook.progress.disabled.is_none()
        };
        let wanting = webhooks.into_iter().filter(is_wanting);
        let (due, later): (Vec<_>, Vec<_>) =
            wanting.partition(|webhook| webhook.progress.due <= now);
        let pauses = later.iter().map(|it| it.progress.due.millis_since(now));
        let wait = pauses.min().and_then(|ms| u64::try_from(ms).ok());
        (due, wait.map_or(LOOK, Duration::from_millis).min(LOOK))
    }

    /// Sends a receiver all there is, up to the first failure.
    async fn serve(&self, mut webhook: Webhook, count: u64) -> (String, Left) {
        let left = match self.send_all(&mut webhook).await {
            Ok(true) => Left::UpToDate(count),
            Ok(false) | Err(repository::Error::NotFound(_)) => Left::Waiting,
            Err(error) => {
                tracing::warn!(%error, webhook.id, "cannot write down how far a webhook is");
                Left::Unknown
            }
        };
        (webhook.id, left)
    }

    /// Whether it has all.
    async fn send_all(&self, webhook: &mut Webhook) -> Result<bool, repository::Error> {
        let repository = &self.repository;
        for letter in repository.dead_letters(&webhook.id, false, BATCH).await? {
            match self.post(webhook, &letter.event_id, &letter.body).await {
                Ok(()) => {
                    repository
                        .delete_dead_letter(&webhook.id, &letter.event_id)
                        .await?;
                }
                Err(failure) => {
                    let letter = self.dead(&letter.event_id, &letter.body, &failure);
                    self.save(webhook, Some(&letter)).await?;
                }
            }
        }
        loop {
            let batch = repository
                .told_after(webhook.progress.after_seq, BATCH)
                .await?;
            if batch.is_empty() {
                return Ok(true);
            }
            for told in batch {
                let (mut dead, mut is_over) = (None, false);
                let is_wanted = webhook.wants(&told);
                let outcome = if is_wanted {
                    self.post(webhook, &told.id, &told.body).await
                } else {
                    Ok(())
                };
                match outcome {
                    Ok(()) => webhook.progress.pass(told.seq),
                    Err(failure) => {
                        let chance = f64::from(u32::from_le_bytes(ids::random_bytes()))
                            / f64::from(u32::MAX);
                        let now = self.clock.now();
                        is_over = !webhook.progress.fail(told.seq, now, chance);
                        if !is_over {
                            dead = Some(self.dead(&told.id, &told.body, &failure));
                        }
                        if failure.is_gone {
                            webhook.progress.disabled = Some(failure.words);
                            is_over = true;
                        }
                    }
                }
                self.save(webhook, dead.as_ref()).await?;
                if is_over {
                    return Ok(false);
                }
            }
        }
    }

    async fn save(
        &self,
        webhook: &Webhook,
        dead: Option<&DeadLetter>,
    ) -> Result<(), repository::Error> {
        if let Some(dead) = dead {
            metrics::counter!("weir_webhook_dead_letters_total").increment(1);
            tracing::warn!(
                webhook.id,
                event.id = dead.event_id,
                reason = dead.reason,
                "an event was given up"
            );
        }
        self.repository
            .save_progress(&webhook.id, &webhook.progress, dead)
            .await
    }

    fn dead(&self, event_id: &str, body: &str, failure: &Failure) -> DeadLetter {
        DeadLetter {
            event_id: event_id.to_owned(),
            failed: self.clock.now(),
            reason: failure.words.clone(),
            body: body.to_owned(),
        }
    }

    /// One post; it is taken if the answer's status is 200 to 299. What else the answer says is not read.
    async fn post(&self, webhook: &Webhook, event_id: &str, body: &str) -> Result<(), Failure> {
        let failed = |words: String| Failure {
            words,
            is_gone: false,
        };
        let url = check(&webhook.url, self.config.allow_private_targets);
        let url = url.map_err(|error| failed(error.to_string()))?;
        let timestamp_s = self.clock.now().0.div_euclid(1_000);
        let signature = signer::sign(&webhook.secret, event_id, timestamp_s, body);
        let signature = signature.ok_or_else(|| failed("the secret is damaged".to_owned()))?;
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", event_id)
            .header("webhook-timestamp", timestamp_s)
            .header("webhook-signature", signature)
            .body(body.to_owned());
        let outcome = match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(Failure {
                words: format!("the answer was {}", answer.status()),
                is_gone: answer.status() == StatusCode::GONE,
            }),
            Err(error) => Err(failed(chain(&error))),
        };
        let outcome_word = if outcome.is_ok() {
            "delivered"
        } else {
            "failed"
        };
        metrics::counter!("weir_webhook_posts_total", "outcome" => outcome_word).increment(1);
        outcome
    }

    /// What the database says, unless it fails.
    async fn timely<T>(
        &self,
        asked: impl Future<Output = Result<T, repository::Error>>,
    ) -> Option<T> {
        match timeout(DEADLINE, asked).await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot look for webhooks");
                None
            }
            Err(_) => None,
        }
    }
}

/// Why a post was not taken.
struct Failure {
    words: String,
    /// The receiver wants no more: 410.
    is_gone: bool,
}

/// An error and its causes, without the URL, in which there may be a secret.
fn chain(error: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    if error.is_timeout() {
        words.insert(0, "no answer in time".to_owned());
    }
    if words.is_empty() {
        words.push("the post failed".to_owned());
    }
    words.join(": ")
}
