//! Requests that a player seldom makes, and what must come of them: rules 1, 28, 31 to 48 beside the following.
//!
//! In:  the URL of a media playlist. Out: judgements in the book. Not here: following (`follow`).
//! Each probe first looks where the playlist is; what cannot be probed in the time left is not judged.

use std::time::Duration;

use reqwest::Method;
use url::Url;

use super::Position;
use super::check::Context;
use super::exchange;
use super::fetch::{Answer, Ask, Failure, Resource};
use super::follow::held_most_ms;
use super::parse::{MediaPlaylist, Playlist};
use super::rules::{must, practice, should};
use super::successive;

/// A name that no server has.
const NOWHERE: &str = "weir-check-stream-no-such-part.m4s";
/// How far ahead of the edge a refusal is expected.
const FAR_AHEAD: u64 = 20;

/// One media playlist that is probed.
pub(super) struct Probe<'a> {
    pub(super) context: &'a Context,
    pub(super) name: &'a str,
    pub(super) url: Url,
}

impl Probe<'_> {
    /// All probes that fit a playlist of this kind.
    pub(super) async fn run(&self) {
        let Some((list, answer)) = self.list(&[]).await else {
            return;
        };
        let quick = async {
            self.preflight().await;
            self.unknown_parameter().await;
            self.missing_media(&list, &answer.url).await;
            self.http2(&list).await;
            self.delta(&list).await;
        };
        if list.can_block() {
            let blocking = async {
                self.part_alone(&list).await;
                self.old(&list).await;
                self.whole_segment(&list).await;
            };
            tokio::join!(quick, blocking, self.far_ahead(&list));
        } else {
            quick.await;
        }
    }

    /// Asks for the playlist with these parameters; the playlist if one came with 200.
    async fn list(&self, query: &[(&str, String)]) -> Option<(MediaPlaylist, Answer)> {
        let answer = self.ask(query, 6).await.ok()?;
        let list = self.parsed(&answer)?;
        Some((list, answer))
    }

    async fn ask(&self, query: &[(&str, String)], target_s: u64) -> Result<Answer, Failure> {
        let most = held_most_ms(target_s, self.context.slack_ms).saturating_add(2_000);
        let url = self.with(query);
        self.context
            .client
            .get(Ask::playlist(url, Duration::from_millis(most)))
            .await
    }

    /// Whether an answer other than the expected one tells of the rule, not of a server that is away.
    async fn is_telling(&self, is_expected: bool) -> bool {
        is_expected || self.list(&[]).await.is_some()
    }

    /// The playlist that came with 200.
    fn parsed(&self, answer: &Answer) -> Option<MediaPlaylist> {
        match self.context.parse(answer) {
            Ok(Playlist::Media(list)) if answer.status == 200 => Some(*list),
            _ => None,
        }
    }

    fn has_ended(&self, answer: &Answer) -> bool {
        self.parsed(answer).is_some_and(|list| list.is_ended)
    }

    fn with(&self, query: &[(&str, String)]) -> Url {
        let mut url = self.url.clone();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Writes a judgement.
    fn judge(&self, judge: impl FnOnce(&mut super::findings::Page<'_>)) {
        let now_ms = self.context.client.now_ms();
        judge(&mut self.context.book().page(self.name, now_ms));
    }

    /// Rule 48.
    async fn preflight(&self) {
        let ask = Ask {
            method: Method::OPTIONS,
            ..Ask::playlist(self.url.clone(), Duration::from_secs(10))
        };
        if let Ok(answer) = self.context.client.get(ask).await {
            let allowed = answer.header("access-control-allow-origin");
            let holds = answer.status < 300 && !allowed.is_empty();
            self.judge(|page| {
                page.check(practice(48, "no-preflight"), holds, "", || {
                    format!(
                        "OPTIONS is answered with {} and origin `{allowed}`",
                        answer.status
                    )
                });
            });
        }
    }

    /// Rule 39.
    async fn unknown_parameter(&self) {
        let query = [("_HLS_weir", "1".to_owned())];
        if let Ok(answer) = self.ask(&query, 6).await {
            let holds = self.parsed(&answer).is_some();
            if !self.is_telling(holds).await {
                return;
            }
            self.judge(|page| {
                page.check(must(39, "unknown-parameter-refused"), holds, "", || {
                    format!("_HLS_weir=1 is answered with {}", answer.status)
                });
            });
        }
    }

    /// Rules 28 and 45: what was neither listed nor hinted is missing, and caches forget that soon.
    async fn missing_media(&self, list: &MediaPlaylist, base: &Url) {
        if !list.is_low_latency() {
            return;
        }
        let target_s = list.target_s.unwrap_or(6);
        let Some(url) = list
            .all_segments()
            .next_back()
            .map(|segment| segment.parts.last().map_or(&segment.uri, |part| &part.uri))
            .and_then(|uri| base.join(uri).ok())
            .and_then(|url| url.join(NOWHERE).ok())
        else {
            return;
        };
        let timeout = Duration::from_secs(target_s.saturating_mul(3).saturating_add(1));
        let outcome = self
            .context
            .client
            .get_media(Ask::media(Resource { url, range: None }, timeout))
            .await;
        self.judge(|page| match &outcome {
            Ok(answer) => {
                let holds = (400..500).contains(&answer.status);
                page.check(must(28, "unknown-part-not-refused"), holds, "", || {
                    format!(
                        "a part that nothing names is answered with {}",
                        answer.status
                    )
                });
                exchange::failure(answer, target_s, page);
            }
            Err(Failure::Timeout(ms)) => page.broken(must(28, "unknown-part-hangs"), "", || {
                format!("a part that nothing names is held for {ms} ms")
            }),
            Err(_) => {}
        });
    }

    /// Rules 42 and 43.
    async fn http2(&self, list: &MediaPlaylist) {
        if !list.is_low_latency() {
            return;
        }
        let ask = Ask {
            by_http2: true,
            ..Ask::playlist(self.url.clone(), Duration::from_secs(10))
        };
        let outcome = self.context.client.get(ask).await;
        let is_tls = self.url.scheme() == "https";
        let is_http2 = outcome
            .as_ref()
            .is_ok_and(|answer| answer.is_http2 && answer.status == 200);
        if !self.is_telling(is_http2).await {
            return;
        }
        self.judge(|page| {
            let words = || match &outcome {
                Ok(answer) if answer.is_http2 => {
                    format!("HTTP/2 is answered with {}", answer.status)
                }
                Ok(_) => "an answer by HTTP/1.1 only".to_owned(),
                Err(why) => format!("no answer by HTTP/2: {why}"),
            };
            if is_tls {
                page.check(must(42, "no-http2"), is_http2, "", words);
            } else {
                page.check(should(42, "no-h2c"), is_http2, "", words);
                page.check(practice(42, "no-tls"), false, "", || {
                    "http without TLS: browsers then speak no HTTP/2 either; well if a proxy stands in front".to_owned()
                });
            }
            if let Ok(answer) = &outcome
                && is_http2
            {
                exchange::priority(answer, page);
            }
        });
    }

    /// Rule 31.
    async fn delta(&self, list: &MediaPlaylist) {
        let control = list.server_control.clone().unwrap_or_default();
        let can_skip = control.can_skip_until_us.filter(|_| !list.is_ended);
        let query = [("_HLS_skip", "YES".to_owned())];
        let update = self.list(&query).await;
        let Some((full, _)) = self.list(&[]).await else {
            return;
        };
        let Some((update, _)) = update else {
            self.judge(|page| {
                page.broken(must(31, "skip-refused"), "", || {
                    "_HLS_skip=YES brings no playlist".to_owned()
                });
            });
            return;
        };
        self.judge(|page| {
            let Some(until) = can_skip else {
                page.check(
                    must(31, "skip-unannounced"),
                    update.skipped.is_none(),
                    "",
                    || {
                        "EXT-X-SKIP though CAN-SKIP-UNTIL is not declared, or the stream has ended"
                            .to_owned()
                    },
                );
                return;
            };
            // Whichever of the lists before and after has less to skip.
            let due = successive::skippable(&full, until).min(successive::skippable(list, until));
            let is_over = update.is_ended || full.is_ended;
            let holds = due == 0 || is_over || update.skipped.is_some();
            page.check(must(31, "no-delta-update"), holds, "", || {
                format!(
                    "_HLS_skip=YES brought a full playlist, though {due} segments can be skipped"
                )
            });
            successive::delta(&update, &full, page);
        });
    }

    /// Rule 35.
    async fn part_alone(&self, list: &MediaPlaylist) {
        let query = [("_HLS_part", "0".to_owned())];
        let Ok(answer) = self.ask(&query, list.target_s.unwrap_or(6)).await else {
            return;
        };
        let holds = answer.status == 400 || self.has_ended(&answer);
        if !self.is_telling(holds).await {
            return;
        }
        self.judge(|page| {
            page.check(must(35, "part-without-msn"), holds, "", || {
                let status = answer.status;
                format!("_HLS_part=0 without _HLS_msn is answered with {status}")
            });
        });
    }

    /// Rule 34.
    async fn old(&self, list: &MediaPlaylist) {
        let target_s = list.target_s.unwrap_or(6);
        let first = list.first_msn();
        let asked = [first.saturating_sub(5), first];
        for msn in asked {
            let query = [("_HLS_msn", msn.to_string()), ("_HLS_part", "0".to_owned())];
            // However far away the server is.
            let plain = self.ask(&[], target_s).await;
            let plain_ms = plain.map_or(0, |answer| answer.held_ms());
            let outcome = self.ask(&query, target_s).await;
            // The answer needs no news: half a part target is plenty.
            let part_ms = list.part_target_us.unwrap_or(1_000_000) / 2000;
            let now_ms = self.context.client.now_ms();
            let delay_ms = self
                .context
                .delay
                .worst(now_ms.saturating_sub(1_000), now_ms);
            let most = part_ms
                .saturating_add(self.context.slack_ms)
                .saturating_add(delay_ms)
                .saturating_add(plain_ms.saturating_mul(2));
            let is_answered = outcome
                .as_ref()
                .is_ok_and(|answer| self.parsed(answer).is_some());
            if !self.is_telling(is_answered).await {
                return;
            }
            self.judge(|page| match &outcome {
                Ok(answer) => {
                    let is_full = self
                        .parsed(answer)
                        .is_some_and(|list| list.skipped.is_none());
                    page.check(must(34, "old-refused"), is_full, msn, || {
                        format!(
                            "_HLS_msn={msn}, long there, is answered with {}",
                            answer.status
                        )
                    });
                    page.check(must(34, "old-held"), answer.held_ms() <= most, msn, || {
                        format!(
                            "_HLS_msn={msn}, long there, is held for {} ms",
                            answer.held_ms()
                        )
                    });
                }
                Err(Failure::Timeout(ms)) => page.broken(must(34, "old-held"), msn, || {
                    format!("_HLS_msn={msn}, long there, is held for more than {ms} ms")
                }),
                Err(_) => {}
            });
        }
    }

    /// Rules 32 and 33: `_HLS_msn` alone waits for the whole segment; a part past its end is the next one's first.
    async fn whole_segment(&self, list: &MediaPlaylist) {
        let target_s = list.target_s.unwrap_or(6);
        let msn = list.next_msn();
        let Ok(answer) = self.ask(&[("_HLS_msn", msn.to_string())], target_s).await else {
            return;
        };
        let Some(now) = self.parsed(&answer) else {
            if !self.is_telling(answer.status == 503).await {
                return;
            }
            return self.judge(|page| {
                page.check(must(32, "msn-refused"), answer.status == 503, msn, || {
                    format!(
                        "_HLS_msn={msn}, the next segment, is answered with {}",
                        answer.status
                    )
                });
            });
        };
        let is_whole = now.is_ended || now.next_msn() > msn;
        self.judge(|page| {
            page.check(must(32, "segment-not-whole"), is_whole, msn, || {
                format!(
                    "_HLS_msn={msn} is answered after {} ms, before the segment is complete",
                    answer.held_ms()
                )
            });
        });
        let parts = now
            .segments
            .iter()
            .find(|segment| segment.msn == msn)
            .map(|segment| segment.parts.len());
        let Some(parts) = parts.filter(|parts| *parts > 0 && is_whole && !now.is_ended) else {
            return;
        };
        self.past_the_end(msn, u64::try_from(parts).unwrap_or(0), target_s)
            .await;
    }

    async fn past_the_end(&self, msn: u64, part: u64, target_s: u64) {
        let query = [
            ("_HLS_msn", msn.to_string()),
            ("_HLS_part", part.to_string()),
        ];
        let Ok(answer) = self.ask(&query, target_s).await else {
            return;
        };
        let list = self.parsed(&answer);
        let next = Position {
            msn: msn.saturating_add(1),
            part: 0,
        };
        let holds = list.is_some_and(|list| list.is_ended || list.next_position() > next);
        self.judge(|page| {
            page.check(must(33, "past-the-end"), holds || answer.status == 503, next, || {
                format!("_HLS_msn={msn}&_HLS_part={part} is answered with {} after {} ms, without the part {next} that it means", answer.status, answer.held_ms())
            });
        });
    }

    /// Rule 36.
    async fn far_ahead(&self, list: &MediaPlaylist) {
        let msn = list.next_msn().saturating_add(FAR_AHEAD);
        let target_s = list.target_s.unwrap_or(6);
        // A refusal needs no waiting.
        let patience = target_s.saturating_mul(1_000);
        let patience = patience.saturating_add(self.context.slack_ms);
        let url = self.with(&[("_HLS_msn", msn.to_string())]);
        let ask = Ask::playlist(url, Duration::from_millis(patience));
        let outcome = self.context.client.get(ask).await;
        self.judge(|page| match &outcome {
            Ok(answer) => page.check(
                should(36, "far-ahead-not-refused"),
                answer.status == 400 || self.has_ended(answer),
                msn,
                || {
                    format!(
                        "_HLS_msn={msn}, {FAR_AHEAD} ahead, is answered with {}",
                        answer.status
                    )
                },
            ),
            Err(Failure::Timeout(ms)) => page.broken(should(36, "far-ahead-held"), msn, || {
                format!("_HLS_msn={msn}, {FAR_AHEAD} ahead, is held for more than {ms} ms")
            }),
            Err(_) => {}
        });
    }

    /// Rule 38, for a playlist that has ended.
    pub(super) async fn after_the_end(&self, list: &MediaPlaylist) {
        let msn = list.next_msn().saturating_add(5);
        let query = [("_HLS_msn", msn.to_string()), ("_HLS_part", "0".to_owned())];
        let outcome = self.ask(&query, list.target_s.unwrap_or(6)).await;
        let can_block = list
            .server_control
            .as_ref()
            .is_some_and(|control| control.can_block_reload);
        if !can_block {
            return;
        }
        self.judge(|page| {
            let holds = outcome
                .as_ref()
                .is_ok_and(|answer| self.parsed(answer).is_some());
            page.check(
                must(38, "directives-after-end"),
                holds,
                msn,
                || match &outcome {
                    Ok(answer) => format!(
                        "_HLS_msn={msn} after ENDLIST is answered with {}",
                        answer.status
                    ),
                    Err(why) => format!("_HLS_msn={msn} after ENDLIST: {why}"),
                },
            );
        });
    }
}
