//! One check from the first request to the report.
//!
//! In:  [`Options`]. Out: a [`Report`]. Not here: rules.
//!
//! Everything runs in one task: the renditions are followed beside each other, the probes beside them, and a
//! heartbeat measures how late this program's own timers are, which is added to every allowance of time.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;

use super::exchange::{self, Reload};
use super::fetch::{Answer, Ask, Client, Resource};
use super::findings::Book;
use super::follow::{End, follow};
use super::later::Later;
use super::parse::{
    MediaPlaylist, MultivariantPlaylist, NotAPlaylist, Playlist, Surroundings, Variables,
    has_reference, parse_within,
};
use super::probes::Probe;
use super::rendition::{Rendition, digest};
use super::report::Followed;
use super::rules::{must, should};
use super::{Error, Options, Report, together};

/// Most renditions followed.
const MAX_RENDITIONS: usize = 32;
/// Most components of a path in a rendition's name.
const MAX_COMPONENTS: usize = 12;
/// How often the multivariant playlist is loaded again.
const MAX_RELOADS: usize = 50;
/// Between attempts at the first playlist.
const RETRY: Duration = Duration::from_millis(250);
/// How often the heartbeat beats.
const BEAT: Duration = Duration::from_millis(20);
/// Beats remembered.
const MAX_BEATS: usize = 2_000;
/// Delays below this are a timer's grain.
const GRAIN_MS: u64 = 5;
/// Longest wait for what is asked once more at the end.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Requests of those at once.
const AT_ONCE: usize = 8;
/// Longest wait for all of that.
const LAST_VISITS: Duration = Duration::from_secs(20);

/// What the parts of a check share.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) delay: Delay,
    pub(super) slack_ms: u64,
    pub(super) outage_ms: u64,
    deadline_ms: u64,
    book: Mutex<Book>,
    /// Each time an initialization section came.
    pub(super) sections: Notify,
    /// Those of the multivariant playlist.
    variables: Mutex<Variables>,
}

impl Context {
    fn new(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            client: Client::new()?,
            delay: Delay::default(),
            slack_ms: millis(options.slack),
            outage_ms: millis(options.outage),
            deadline_ms: millis(options.duration),
            book: Mutex::default(),
            sections: Notify::new(),
            variables: Mutex::default(),
        })
    }

    /// The book, for as long as one judgement takes.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The playlist in an answer, with values for its variables.
    pub(super) fn parse(&self, answer: &Answer) -> Result<Playlist, NotAPlaylist> {
        let imports = self.variables.lock();
        let imports = imports.unwrap_or_else(PoisonError::into_inner);
        let surroundings = Surroundings {
            url: Some(&answer.url),
            imports: Some(&imports),
        };
        parse_within(&answer.body, surroundings)
    }

    /// When following ends.
    pub(super) fn deadline(&self) -> Instant {
        self.client.instant(self.deadline_ms)
    }

    fn is_over(&self) -> bool {
        self.client.now_ms() >= self.deadline_ms
    }
}

/// How late this program's own timers were.
#[derive(Debug, Default)]
pub(super) struct Delay(Mutex<Beats>);

#[derive(Debug, Default)]
struct Beats {
    /// When the beat under way began.
    began_ms: u64,
    /// When a beat ended, and how late.
    late: VecDeque<(u64, u64)>,
}

impl Delay {
    /// The worst delay, in milliseconds, from `since_ms` to `now_ms`; that of the beat under way counts, for who
    /// asks may be woken before the heartbeat is.
    pub(super) fn worst(&self, since_ms: u64, now_ms: u64) -> u64 {
        let beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = now_ms.saturating_sub(beats.began_ms.saturating_add(millis(BEAT)));
        let recent = beats
            .late
            .iter()
            .rev()
            .take_while(|(at_ms, _)| *at_ms >= since_ms);
        recent
            .map(|(_, late_ms)| *late_ms)
            .fold(under_way, u64::max)
    }

    fn begin(&self, now_ms: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .began_ms = now_ms;
    }

    fn end(&self, at_ms: u64) {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late_ms = at_ms.saturating_sub(beats.began_ms.saturating_add(millis(BEAT)));
        if late_ms > GRAIN_MS {
            beats.late.push_back((at_ms, late_ms));
        }
        if beats.late.len() > MAX_BEATS {
            beats.late.pop_front();
        }
        beats.began_ms = at_ms;
    }
}

/// Beats until it is dropped.
async fn heartbeat(context: &Context) {
    context.delay.begin(context.client.now_ms());
    loop {
        sleep(BEAT).await;
        context.delay.end(context.client.now_ms());
    }
}

/// Checks the stream at `options.url`.
pub async fn check(options: Options) -> Result<Report, Error> {
    let context = Context::new(&options)?;
    let followed = tokio::select! {
        followed = run(&context, &options.url) => followed?,
        () = heartbeat(&context) => Vec::new(),
    };
    let now_ms = context.client.now_ms();
    let delay_ms = context.delay.worst(0, now_ms);
    let book = context.book();
    Ok(Report::new(&options, followed, &book, now_ms, delay_ms))
}

/// What is at the URL.
struct Entry {
    /// With its URL.
    multivariant: Option<(MultivariantPlaylist, Url)>,
    renditions: Vec<Rendition>,
}

/// Follows what is at `url`; if its playlists vanish, what is there then.
async fn run(context: &Context, url: &Url) -> Result<Vec<Followed>, Error> {
    let mut followed: Vec<Followed> = Vec::new();
    let mut is_first = true;
    loop {
        let entry = match load(context, url).await {
            Ok(entry) => entry,
            Err(error) if is_first => return Err(error),
            Err(error) => {
                let mut book = context.book();
                let page = &mut book.page("", context.client.now_ms());
                page.broken(must(9, "not-back"), "", || error.to_string());
                return Ok(followed);
            }
        };
        let Entry {
            multivariant,
            mut renditions,
        } = entry;
        let names: Vec<_> = renditions
            .iter()
            .map(|r| (r.name.clone(), r.url.clone()))
            .collect();
        let following = join_all(
            renditions
                .iter_mut()
                .map(|rendition| follow(context, rendition)),
        );
        let following = async { tokio::join!(following, probe(context, &names, is_first)) };
        let mut later = Later::default();
        let (ends, ()) = tokio::select! {
            ends = following => ends,
            () = reload(context, url, &mut later) => (Vec::new(), ()),
        };
        let is_gone = ends.contains(&End::Gone);
        if !is_gone {
            let revisits = renditions
                .iter_mut()
                .map(|rendition| revisit(context, rendition));
            if timeout(LAST_VISITS, join_all(revisits)).await.is_err() {
                let mut book = context.book();
                let page = &mut book.page("", context.client.now_ms());
                page.note("revisits-cut-off", || {
                    "what was to be asked once more at the end took too long".to_owned()
                });
            }
        }
        later.add(load_again(context, url).await);
        conclude(context, multivariant.as_ref(), &later, &renditions);
        for rendition in &renditions {
            Followed::add(&mut followed, rendition);
        }
        if !is_gone || context.is_over() {
            return Ok(followed);
        }
        is_first = false;
    }
}

/// Probes each rendition once, until the deadline.
async fn probe(context: &Context, names: &[(String, Url)], is_first: bool) {
    if !is_first {
        return;
    }
    let probes: Vec<_> = names
        .iter()
        .map(|(name, url)| Probe {
            context,
            name,
            url: url.clone(),
        })
        .collect();
    let all = join_all(probes.iter().map(Probe::run));
    if timeout_at(context.deadline(), all).await.is_err() {
        let mut book = context.book();
        let page = &mut book.page("", context.client.now_ms());
        page.note("probes-cut-off", || {
            "the time was over before all probes were answered; a longer check judges more"
                .to_owned()
        });
    }
}

/// Loads what is at `url`, waiting for a stream that is not there yet or not any more.
async fn load(context: &Context, url: &Url) -> Result<Entry, Error> {
    let begun_ms = context.client.now_ms();
    loop {
        let ask = Ask::playlist(url.clone(), Duration::from_secs(10));
        let why = match context.client.get(ask).await {
            Ok(answer) if answer.status == 200 => return entry(context, url, &answer),
            Ok(answer) => format!("status {}", answer.status),
            Err(failure) => failure.to_string(),
        };
        let waited = context.client.now_ms().saturating_sub(begun_ms);
        if waited > context.outage_ms {
            return Err(Error::Unreachable {
                url: url.to_string(),
                why,
            });
        }
        sleep(RETRY).await;
    }
}

fn entry(context: &Context, url: &Url, answer: &Answer) -> Result<Entry, Error> {
    let parsed = context.parse(answer).map_err(|why| Error::NotAPlaylist {
        url: url.to_string(),
        why: why.to_string(),
    })?;
    let slack_ms = context.slack_ms;
    let list = match parsed {
        Playlist::Media(_) => {
            let rendition = Rendition::new(tail(url, 2), answer.url.clone(), slack_ms);
            return Ok(Entry {
                multivariant: None,
                renditions: vec![rendition],
            });
        }
        Playlist::Multivariant(list) => list,
    };
    let mut book = context.book();
    let page = &mut book.page("", answer.end_ms);
    exchange::playlist(answer, Reload::Plain, None, page);
    together::judge_multivariant(&list, page);
    *context
        .variables
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = list.variables.clone();
    let uris = list.variants.iter().map(|variant| &variant.uri);
    let audio = list.media.iter().filter(|tag| tag.kind == "AUDIO");
    let uris = uris.chain(audio.filter_map(|tag| tag.uri.as_ref()));
    let mut urls: Vec<Url> = Vec::new();
    for uri in uris.filter(|uri| !has_reference(uri)) {
        match answer.url.join(uri) {
            Ok(url) if urls.contains(&url) => {}
            _ if urls.len() > MAX_RENDITIONS => break,
            Ok(url) => urls.push(url),
            Err(_) => page.broken(must(1, "bad-uri"), "", || format!("`{uri}` is no URI")),
        }
    }
    if urls.len() > MAX_RENDITIONS {
        page.note("many-renditions", || {
            format!("only the first {MAX_RENDITIONS} renditions are followed")
        });
        urls.truncate(MAX_RENDITIONS);
    }
    let named = std::iter::zip(names_of(&urls), urls);
    let renditions: Vec<_> = named
        .map(|(name, url)| Rendition::new(name, url, slack_ms))
        .collect();
    if renditions.is_empty() {
        return Err(Error::NotAPlaylist {
            url: url.to_string(),
            why: "a multivariant playlist without variants that can be followed".to_owned(),
        });
    }
    Ok(Entry {
        multivariant: Some((list, answer.url.clone())),
        renditions,
    })
}

/// The shortest ends of their paths, of at least two components, that tell these URLs apart.
fn names_of(urls: &[Url]) -> Vec<String> {
    let names = |count: usize| urls.iter().map(move |url| tail(url, count));
    let is_clear = |count: &usize| names(*count).collect::<BTreeSet<_>>().len() == urls.len();
    match (2..MAX_COMPONENTS).find(is_clear) {
        Some(count) => names(count).collect(),
        None => urls.iter().map(Url::to_string).collect(),
    }
}

pub(super) fn tail(url: &Url, count: usize) -> String {
    let path = url.path();
    let components: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let start = components.len().saturating_sub(count);
    components.get(start..).unwrap_or_default().join("/")
}

/// Rules 8, 11, 12, 25, 38 and 47: what was there is there still, and the same.
async fn revisit(context: &Context, rendition: &mut Rendition) {
    let left = stream::iter(rendition.want_at_last()).map(|wanted| async {
        let ask = Ask::media(wanted.resource.clone(), LAST_REQUESTS);
        let outcome = context.client.get_media(ask).await;
        (wanted, outcome)
    });
    let mut left = std::pin::pin!(left.buffer_unordered(AT_ONCE));
    while let Some((wanted, outcome)) = left.next().await {
        let mut book = context.book();
        let name = rendition.name.clone();
        let page = &mut book.page(&name, context.client.now_ms());
        rendition.push_media(wanted, outcome, page);
    }
    if let Some(list) = rendition.history.newest().filter(|list| list.is_ended) {
        let probe = Probe {
            context,
            name: &rendition.name,
            url: rendition.url.clone(),
        };
        probe.after_the_end(list).await;
    }
    let newest = rendition.history.newest();
    let listed: Vec<_> = newest
        .into_iter()
        .flat_map(MediaPlaylist::all_segments)
        .filter_map(|segment| segment.map.as_deref())
        .collect();
    let is_listed = |resource: &Resource| {
        let mut maps = listed.iter();
        maps.any(|map| rendition.resource(&map.uri, map.range).as_ref() == Some(resource))
    };
    let sections = rendition
        .init_digests
        .iter()
        .filter(|(resource, _)| is_listed(resource))
        .map(|(resource, digest)| (resource.clone(), *digest));
    let listed = newest.map(MediaPlaylist::first_msn);
    let mut known = rendition
        .records
        .values()
        .filter(|record| listed.is_some_and(|first| record.segment.msn >= first));
    let segment = known.find_map(|record| {
        let digest = record.facts.as_ref()?.digest;
        let resource = rendition.resource(&record.segment.uri, record.segment.range)?;
        Some((resource, digest))
    });
    let again: Vec<_> = sections
        .map(|known| (11, known))
        .chain(segment.map(|known| (47, known)))
        .collect();
    for (rule, (resource, before)) in again {
        let path = resource.url.path().to_owned();
        let Ok(answer) = context
            .client
            .get_media(Ask::media(resource, LAST_REQUESTS))
            .await
        else {
            continue;
        };
        let mut book = context.book();
        let page = &mut book.page(&rendition.name, answer.end_ms);
        page.check(must(12, "gone-while-listed"), answer.is_ok(), "", || {
            format!("{path}, which is listed, answers {}", answer.status)
        });
        let same = !answer.is_ok() || digest(&answer.body) == before;
        let kind = if rule == 11 {
            "init-changed"
        } else {
            "content-changed"
        };
        page.check(must(rule, kind), same, "", || {
            format!("{path} has another content than before")
        });
    }
}

/// Loads the multivariant playlist whenever media changes; it may say then what it could not foresee. Never ends.
async fn reload(context: &Context, url: &Url, later: &mut Later) {
    loop {
        context.sections.notified().await;
        if later.loads < MAX_RELOADS {
            later.add(load_again(context, url).await);
        }
    }
}

/// The multivariant playlist as it is now, if it is there still.
async fn load_again(context: &Context, url: &Url) -> Option<(MultivariantPlaylist, Url)> {
    let ask = Ask::playlist(url.clone(), Duration::from_secs(10));
    let answer = context.client.get(ask).await.ok()?;
    match context.parse(&answer) {
        Ok(Playlist::Multivariant(list)) => Some((list, answer.url)),
        _ => None,
    }
}

/// What only shows when all is seen.
fn conclude(
    context: &Context,
    multivariant: Option<&(MultivariantPlaylist, Url)>,
    later: &Later,
    renditions: &[Rendition],
) {
    let now_ms = context.client.now_ms();
    let mut book = context.book();
    let all: Vec<_> = renditions.iter().collect();
    let Some((list, base)) = multivariant else {
        return;
    };
    for variant in &list.variants {
        let is_its =
            |uri: &str, rendition: &Rendition| base.join(uri).is_ok_and(|url| url == rendition.url);
        let Some(rendition) = all.iter().find(|rendition| is_its(&variant.uri, rendition)) else {
            continue;
        };
        let group = list
            .media
            .iter()
            .filter(|tag| tag.kind == "AUDIO" && tag.group == variant.audio);
        let uris: Vec<_> = group.filter_map(|tag| tag.uri.as_deref()).collect();
        let audio: Vec<_> = all
            .iter()
            .filter(|other| variant.audio.is_some() && uris.iter().any(|uri| is_its(uri, other)))
            .copied()
            .collect();
        let page = &mut book.page(&rendition.name, now_ms);
        let later = later.of(&rendition.url);
        together::judge_truth(variant, later, rendition, &audio, page);
        if let Some(newest) = rendition.history.newest() {
            let same = list.version == newest.version;
            page.check(should(53, "version-differs"), same, "", || {
                format!(
                    "EXT-X-VERSION {:?}, in the multivariant playlist {:?}",
                    newest.version, list.version
                )
            });
        }
    }
    // Renditions that are not followed are reported on, too.
    let variants = list.variants.iter().map(|variant| &variant.uri);
    let others = list.media.iter().filter_map(|tag| tag.uri.as_ref());
    let iframes = list.iframes.iter().filter_map(|tag| tag.uri.as_ref());
    let uris = variants.chain(others).chain(iframes);
    let known: Vec<_> = uris.filter_map(|uri| base.join(uri).ok()).collect();
    let delay_ms = context.delay.worst(0, now_ms);
    together::judge_across(&all, &known, (now_ms, delay_ms), &mut book);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_they_may_be() {
        let urls = |texts: &[&str]| -> Vec<_> {
            let all = texts.iter().map(|text| Url::parse(text));
            all.collect::<Result<_, _>>().unwrap()
        };
        let names = names_of(&urls(&[
            "http://h/c/720p/live.m3u8",
            "http://h/c/480p/live.m3u8",
        ]));
        assert_eq!(names, ["720p/live.m3u8", "480p/live.m3u8"]);
        let names = names_of(&urls(&["http://h/1/v/i.m3u8", "http://h/2/v/i.m3u8"]));
        assert_eq!(names, ["1/v/i.m3u8", "2/v/i.m3u8"]);
        let same = ["http://h/i.m3u8?q=1", "http://h/i.m3u8?q=2"];
        assert_eq!(names_of(&urls(&same)), same);
    }

    #[test]
    fn the_worst_delay_since_a_time_counts_the_beat_under_way() {
        let delay = Delay::default();
        delay.begin(0);
        for at_ms in [20, 70, 97, 200] {
            delay.end(at_ms);
        }
        let worst = |since_ms| delay.worst(since_ms, 210);
        assert_eq!([0, 90, 150, 201].map(worst), [83, 83, 83, 0]);
        assert_eq!(delay.worst(201, 1_220), 1_000);
    }
}
