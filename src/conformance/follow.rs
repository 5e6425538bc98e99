//! Follows one rendition as a player does: blocking reload, hinted and listed media, beside each other.
//!
//! In:  a rendition and the context of the check. Out: how it ended; judgements are in the book.
//! Not here: rules beyond what one request shows of blocking reload (32, 37, 9 for outages).

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, sleep_until, timeout_at};

use super::Position;
use super::check::Context;
use super::exchange::{self, Reload};
use super::fetch::{Answer, Ask, Failure};
use super::parse::{MediaPlaylist, Playlist};
use super::rendition::{Purpose, Rendition, Wanted, poll_ms};
use super::rules::{must, should};

/// How long a playlist may be gone before its multivariant playlist is asked again.
const GONE_AFTER_MS: u64 = 1_500;
/// Between attempts while a server does not answer.
const RETRY: Duration = Duration::from_millis(200);
/// Media requests at once; more wait their turn.
const MAX_REQUESTS: usize = 16;
/// Most requests waiting.
const MAX_WAITING: usize = 500;

/// How following ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The time is over.
    Deadline,
    /// The playlist has ENDLIST.
    Ended,
    /// The playlist is not there any more.
    Gone,
}

/// Follows `rendition` until the deadline, its end, or until it is gone.
pub(super) async fn follow(context: &Context, rendition: &mut Rendition) -> End {
    let mut follower = Follower {
        context,
        rendition,
        waiting: Vec::new(),
        outage_since: None,
        gone_since: None,
        still_since: None,
    };
    let end = follower.run().await;
    let now_ms = context.client.now_ms();
    let mut book = context.book();
    let name = follower.rendition.name.clone();
    let page = &mut book.page(&name, now_ms);
    if end != End::Deadline || follower.outage_since.is_some() {
        follower.rendition.lose(page);
    } else {
        let delay_ms = context.delay.worst(now_ms.saturating_sub(5_000), now_ms);
        follower.rendition.finish(now_ms, delay_ms, page);
    }
    end
}

struct Follower<'a> {
    context: &'a Context,
    rendition: &'a mut Rendition,
    /// Not asked for yet.
    waiting: Vec<Wanted>,
    outage_since: Option<u64>,
    gone_since: Option<u64>,
    still_since: Option<u64>,
}

impl Follower<'_> {
    async fn run(&mut self) -> End {
        let context = self.context;
        let mut media = FuturesUnordered::new();
        let mut next = Next::default();
        loop {
            let ask = ask(self.rendition, next);
            let request = async move {
                sleep(next.wait).await;
                context.client.get(ask).await
            };
            tokio::pin!(request);
            let outcome = loop {
                while media.len() < MAX_REQUESTS && !self.waiting.is_empty() {
                    media.push(fetch(
                        context,
                        self.waiting.remove(0),
                        self.rendition.target_s(),
                    ));
                }
                tokio::select! {
                    outcome = &mut request => break outcome,
                    Some((wanted, outcome)) = media.next() => self.media_came(wanted, outcome),
                    () = sleep_until(context.deadline()) => return End::Deadline,
                }
            };
            match self.list_came(next, outcome) {
                Step::Next(step) => next = step,
                Step::End(End::Ended) => {
                    // What the last playlist names is still judged.
                    self.drain(&mut media).await;
                    return End::Ended;
                }
                Step::End(end) => return end,
            }
        }
    }

    async fn drain<F>(&mut self, media: &mut FuturesUnordered<F>)
    where
        F: Future<Output = (Wanted, Result<Answer, Failure>)>,
    {
        let deadline = self.context.deadline();
        while let Ok(Some((wanted, outcome))) = timeout_at(deadline, media.next()).await {
            self.media_came(wanted, outcome);
        }
        let waiting = std::mem::take(&mut self.waiting);
        for wanted in waiting
            .into_iter()
            .filter(|wanted| wanted.purpose != Purpose::Hint)
        {
            let one = fetch(self.context, wanted, self.rendition.target_s());
            if let Ok((wanted, outcome)) = timeout_at(deadline, one).await {
                self.media_came(wanted, outcome);
            }
        }
    }

    fn media_came(&mut self, wanted: Wanted, outcome: Result<Answer, Failure>) {
        let mut book = self.context.book();
        let name = self.rendition.name.clone();
        let page = &mut book.page(&name, self.context.client.now_ms());
        if wanted.purpose == Purpose::Init {
            self.context.sections.notify_one();
        }
        let more = self.rendition.push_media(wanted, outcome, page);
        self.want(more);
    }

    fn want(&mut self, more: Vec<Wanted>) {
        let room = MAX_WAITING.saturating_sub(self.waiting.len());
        self.waiting.extend(more.into_iter().take(room));
    }

    fn list_came(&mut self, asked: Next, outcome: Result<Answer, Failure>) -> Step {
        let answer = match outcome {
            Ok(answer) if answer.status >= 500 && answer.status != 503 => {
                return self.outage(&format!("status {}", answer.status));
            }
            Ok(answer) => answer,
            Err(Failure::Timeout(ms)) if asked.position.is_some() => {
                self.breach(should(37, "held-too-long"), || {
                    format!("a blocking reload was held for more than {ms} ms")
                });
                return Step::Next(Next::default());
            }
            Err(failure) => return self.outage(&failure.to_string()),
        };
        match answer.status {
            200 => {
                self.recovered();
                (self.gone_since, self.still_since) = (None, None);
                self.playlist_came(asked, &answer)
            }
            503 => {
                self.recovered();
                self.stands_still(asked, &answer)
            }
            404 | 410 => self.gone(answer.status),
            status => {
                let words = || format!("a playlist request was answered with {status}");
                if asked.position.is_some() {
                    self.breach(must(32, "reload-refused"), words);
                } else {
                    self.breach(must(32, "playlist-refused"), words);
                }
                Step::Next(Next::default().after(Duration::from_millis(500)))
            }
        }
    }

    fn playlist_came(&mut self, asked: Next, answer: &Answer) -> Step {
        let list = match self.context.parse(answer) {
            Ok(Playlist::Media(list)) => list,
            Ok(Playlist::Multivariant(_)) => {
                self.breach(must(1, "not-a-media-playlist"), || {
                    "a multivariant playlist stands where a media playlist was expected".to_owned()
                });
                return Step::Next(Next::default().after(Duration::from_secs(1)));
            }
            Err(why) => {
                self.breach(must(1, "not-a-media-playlist"), || why.to_string());
                return Step::Next(Next::default().after(Duration::from_secs(1)));
            }
        };
        let name = self.rendition.name.clone();
        let at_ms = answer.end_ms;
        let since_ms = answer.sent_ms.min(at_ms.saturating_sub(500));
        let delay_ms = self
            .context
            .delay
            .worst(since_ms, self.context.client.now_ms());
        self.rendition.redirect(&answer.url);
        let mut book = self.context.book();
        let page = &mut book.page(&name, at_ms);
        let reload = if asked.position.is_some() {
            Reload::Blocking
        } else {
            Reload::Plain
        };
        // The last playlist never changes: it may be kept for as long as anybody likes.
        let target_s = list.target_s.filter(|_| !list.is_ended);
        exchange::playlist(answer, reload, target_s, page);
        let mut next = Next::of(&list);
        if let Some(position) = asked.position {
            let is_there = list.is_ended || list.next_position() > position;
            let held = answer.held_ms();
            page.check(must(32, "stale-answer"), is_there, position, || {
                format!("_HLS_msn={}&_HLS_part={} was answered after {held} ms with a playlist that ends before it", position.msn, position.part)
            });
            let most = held_most_ms(list.target_s.unwrap_or(6), self.rendition.slack_ms);
            page.check(should(37, "held-too-long"), held <= most, position, || {
                format!("a blocking reload was held for {held} ms")
            });
            if !is_there {
                next = next.after(Duration::from_millis(poll_ms(&list)));
            }
        }
        let is_ended = list.is_ended;
        let wanted = self.rendition.push_list(*list, at_ms, delay_ms, page);
        drop(book);
        self.want(wanted);
        if is_ended {
            Step::End(End::Ended)
        } else {
            Step::Next(next)
        }
    }

    /// A reload was given up with 503: the source pauses, and the server admits it.
    fn stands_still(&mut self, asked: Next, answer: &Answer) -> Step {
        self.rendition.interrupt();
        let since = *self.still_since.get_or_insert(answer.end_ms);
        let lasted = answer.end_ms.saturating_sub(since);
        let held = answer.held_ms();
        let held_most = held_most_ms(self.rendition.target_s(), self.rendition.slack_ms);
        let most = self.context.outage_ms;
        let mut book = self.context.book();
        let page = &mut book.page(&self.rendition.name, answer.end_ms);
        page.note("held-503", || {
            "a reload was answered with 503: the stream stands still".to_owned()
        });
        page.check(should(37, "held-too-long"), held <= held_most, "", || {
            format!("503 came after {held} ms; three target durations are the most")
        });
        page.check(must(9, "stands-still"), lasted <= most, "", || {
            format!("reloads are answered with 503 since {lasted} ms, {most} ms are allowed")
        });
        Step::Next(asked.after(RETRY))
    }

    fn outage(&mut self, why: &str) -> Step {
        let now_ms = self.context.client.now_ms();
        let since = *self.outage_since.get_or_insert(now_ms);
        let name = self.rendition.name.clone();
        let mut book = self.context.book();
        let page = &mut book.page(&name, now_ms);
        self.rendition.lose(page);
        page.note("outage", || format!("the playlist cannot be had: {why}"));
        let lasted = now_ms.saturating_sub(since);
        let most = self.context.outage_ms;
        if lasted <= most {
            return Step::Next(Next::default().after(RETRY));
        }
        page.broken(must(9, "unreachable"), "", || {
            format!("the playlist could not be had for {lasted} ms, {most} ms are allowed: {why}")
        });
        Step::End(End::Gone)
    }

    fn recovered(&mut self) {
        if let Some(since) = self.outage_since.take() {
            let now_ms = self.context.client.now_ms();
            let mut book = self.context.book();
            let page = &mut book.page(&self.rendition.name, now_ms);
            page.note("recovered", || {
                format!(
                    "the playlist was there again after {} ms",
                    now_ms.saturating_sub(since)
                )
            });
        }
    }

    fn gone(&mut self, status: u16) -> Step {
        let now_ms = self.context.client.now_ms();
        let since = *self.gone_since.get_or_insert(now_ms);
        let name = self.rendition.name.clone();
        let mut book = self.context.book();
        let page = &mut book.page(&name, now_ms);
        self.rendition.lose(page);
        page.note("gone", || format!("the playlist is gone: status {status}"));
        let lasted = now_ms.saturating_sub(since);
        if lasted <= GONE_AFTER_MS {
            return Step::Next(Next::default().after(RETRY));
        }
        // One that was never there is another matter, and who follows an ended one stops.
        if let Some(list) = self.rendition.history.newest() {
            let rule = must(12, "gone-without-end");
            page.broken(rule, list.next_position(), || {
                format!(
                    "the playlist had no ENDLIST and is answered with {status} since {lasted} ms"
                )
            });
        }
        Step::End(End::Gone)
    }

    fn breach(&mut self, rule: super::rules::Rule, text: impl FnOnce() -> String) {
        let now_ms = self.context.client.now_ms();
        let mut book = self.context.book();
        book.page(&self.rendition.name, now_ms)
            .broken(rule, "", text);
    }
}

enum Step {
    Next(Next),
    End(End),
}

/// The next playlist request.
#[derive(Clone, Copy, Debug, Default)]
struct Next {
    position: Option<Position>,
    /// Whether parts are counted.
    has_parts: bool,
    wait: Duration,
}

impl Next {
    fn of(list: &MediaPlaylist) -> Self {
        if list.can_block() {
            Self {
                position: Some(list.next_position()),
                has_parts: list.is_low_latency(),
                wait: Duration::ZERO,
            }
        } else {
            Self::default().after(Duration::from_millis(poll_ms(list)))
        }
    }

    fn after(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }
}

/// Longest time for which a reload may be held, with slack.
pub(super) fn held_most_ms(target_s: u64, slack_ms: u64) -> u64 {
    target_s.saturating_mul(3_000).saturating_add(slack_ms)
}

fn ask(rendition: &Rendition, next: Next) -> Ask {
    let mut url = rendition.url.clone();
    if let Some(position) = next.position {
        let mut query = url.query_pairs_mut();
        query.append_pair("_HLS_msn", &position.msn.to_string());
        if next.has_parts {
            query.append_pair("_HLS_part", &position.part.to_string());
        }
    }
    let most = held_most_ms(rendition.target_s(), rendition.slack_ms);
    Ask::playlist(url, Duration::from_millis(most.saturating_add(3_000)))
}

async fn fetch(
    context: &Context,
    wanted: Wanted,
    target_s: u64,
) -> (Wanted, Result<Answer, Failure>) {
    let seconds = target_s.saturating_mul(3).saturating_add(10);
    let ask = Ask::media(wanted.resource.clone(), Duration::from_secs(seconds));
    let outcome = context.client.get_media(ask).await;
    (wanted, outcome)
}
