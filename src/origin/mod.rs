//! Windows become HTTP. Step 12 of the walk.
//!
//! In:  requests under [`request::PREFIX`], the live channels (`playlist::Directory`).
//! Out: multivariant and media playlists, initialization sections, segments, parts; each answered at
//! once, when the asked-for part exists, or refused: to whoever may not watch (`protection`), too. Each request's
//! viewer session is noted in the channel's audience.
//! Not here: changing a window, SQL, TLS. A waiting request costs one waker and one timer.
//! Read: RFC 8216bis appendix B.1 (server profile).

pub mod request;
pub mod reload;
pub mod playback_token;
pub mod protection;
pub mod viewer_session;
mod answer;
mod growing;
mod playlist;
mod segment;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::ORIGIN;
use http::{Method, Request, StatusCode};
use http_body_util::Either;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

pub use answer::Answer;
pub use growing::Growing;

use answer::Age;
use playback_token::MaximumResolution;
use protection::{Protection, Refusal};
use reload::{Cached, MsnOnly};
use request::{MediaPath, PlaybackPath};
use viewer_session::ViewerSession;

use crate::base::clock::SharedClock;
use crate::playlist::{Directory, MediaFile, RenditionHandle, Snapshot};

/// How playback is answered.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What a blocking reload with `_HLS_msn` alone waits for: `segment` or `first_part`.
    pub msn_only: MsnOnly,
    /// A database of addresses and countries in MaxMind's format; empty: nobody knows where clients are.
    pub country_database: PathBuf,
    /// Most viewers of all channels together; further ones are refused.
    pub max_viewers: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            msn_only: MsnOnly::default(),
            country_database: PathBuf::new(),
            max_viewers: 15_000,
        }
    }
}

/// Serves live channels.
#[derive(Clone)]
pub struct Origin {
    directory: Arc<Directory>,
    protection: Option<Arc<Protection>>,
    region: Arc<str>,
    account: Arc<str>,
    msn_only: MsnOnly,
    max_viewers: u64,
    target_duration_s: u32,
    clock: SharedClock,
}

impl Origin {
    /// An origin for the channels of `directory`, all of this target duration; their playback URLs
    /// carry `region` and `account`. Players learn what `clock` says.
    pub fn new(
        directory: Arc<Directory>,
        (region, account): (&str, &str),
        target_duration_s: u32,
        config: &Config,
        clock: SharedClock,
    ) -> Self {
        let (region, account) = (region.into(), account.into());
        Self {
            directory,
            protection: None,
            region,
            account,
            msn_only: config.msn_only,
            max_viewers: config.max_viewers,
            target_duration_s,
            clock,
        }
    }

    /// This origin, which serves protected channels only to those who may watch them. Without, all may.
    #[must_use]
    pub fn protected_by(mut self, protection: Arc<Protection>) -> Self {
        self.protection = Some(protection);
        self
    }

    /// Answers a request of `client` whose path begins with [`request::PREFIX`].
    pub async fn handle<B>(&self, request: &Request<B>, client: IpAddr) -> Answer {
        match *request.method() {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return answer::preflight(),
            _ => return answer::method_not_allowed(),
        }
        match PlaybackPath::parse(request.uri().path()) {
            Some(PlaybackPath::Multivariant {
                region,
                account,
                channel_id,
            }) if *region == *self.region && *account == *self.account => {
                let answer = self.multivariant(channel_id, request, client).await;
                answer.unwrap_or_else(answer::forbidden)
            }
            Some(PlaybackPath::Media(path)) => match self.admit(&path, request) {
                Ok(None) => self.media(&path, request, None).await,
                Ok(Some(admitted)) => self.protected_media(&path, request, admitted).await,
                Err(refusal) => answer::forbidden(refusal),
            },
            _ => self.missing("no such URL"),
        }
    }

    /// Who asks for a protected channel's media; nothing if everybody may have it.
    fn admit<B>(
        &self,
        path: &MediaPath<'_>,
        request: &Request<B>,
    ) -> Result<Option<Admitted<'_>>, Refusal> {
        let Some(protection) = self.protection.as_deref() else {
            return Ok(None);
        };
        let origin = said_origin(request);
        let session = protection.admit(path.channel_id, path.viewer_session, origin)?;
        Ok(session.map(|session| (protection, session)))
    }

    /// Media for one viewer, until that viewer is to watch no more.
    async fn protected_media<B>(
        &self,
        path: &MediaPath<'_>,
        request: &Request<B>,
        (protection, session): Admitted<'_>,
    ) -> Answer {
        let largest = session.maximum_resolution;
        let mut answer = tokio::select! {
            biased;
            refusal = protection.revoked(session) => return answer::forbidden(refusal),
            answer = self.media(path, request, largest) => answer.map(|body| match body {
                Either::Right(growing) => {
                    Either::Right(growing::until(growing, protection.revoked(session)))
                }
                ready @ Either::Left(_) => ready,
            }),
        };
        let is_strict = protection.is_strict(path.channel_id, &session);
        let page = request.headers().get(ORIGIN).filter(|_| is_strict);
        answer::protect(&mut answer, page);
        answer
    }

    async fn media<B>(
        &self,
        path: &MediaPath<'_>,
        request: &Request<B>,
        largest: Option<MaximumResolution>,
    ) -> Answer {
        let find = || self.directory.epoch(path.channel_id, path.epoch);
        let Some(channel) = self.find(path.channel_id, find).await else {
            return self.missing("no such stream");
        };
        let Some(rendition) = channel.rendition(path.rendition).cloned() else {
            return self.missing("no such rendition");
        };
        if !is_within(largest, &rendition) {
            return answer::forbidden(Refusal::Resolution);
        }
        channel.audience.see(path.viewer_session, Instant::now());
        let priority = answer::media_priority(channel.lower_than(&rendition));
        drop(channel);
        if let Some(demand) = &rendition.demand {
            demand.ask(Instant::now());
        }
        match path.file {
            MediaFile::Playlist => self.media_playlist(&rendition, request).await,
            MediaFile::Part(position) => self.part(&rendition, position, priority).await,
            MediaFile::Segment(msn) => self.segment(&rendition, msn, priority).await,
            MediaFile::Init(hash) => self.init(&rendition, hash, priority),
        }
    }

    /// What `find` finds, once a channel that comes back after a crash is there.
    async fn find<T>(&self, channel_id: &str, find: impl Fn() -> Option<T>) -> Option<T> {
        let found = find();
        if found.is_some() || !self.directory.is_expected(channel_id) {
            return found;
        }
        let mut changes = self.directory.changes();
        let is_settled = |_: &u64| !self.directory.is_expected(channel_id);
        let settled = tokio::time::timeout(self.longest_wait(), changes.wait_for(is_settled));
        settled.await.ok()?.ok()?;
        find()
    }

    /// A failure that caches may keep for one target duration (rule 45).
    fn missing(&self, words: &str) -> Answer {
        let age = self.age(Cached::Failure);
        answer::refusal(StatusCode::NOT_FOUND, "not_found", words, age)
    }

    fn age(&self, cached: Cached) -> Age {
        Age::Seconds(cached.max_age_s(self.target_duration_s))
    }

    /// Rule 37: no request is held longer than three target durations.
    fn longest_wait(&self) -> Duration {
        reload::longest_wait(self.target_duration_s)
    }

    /// The first snapshot that is `good`, if it comes in time and the channel lives on.
    async fn snapshot_when(
        &self,
        rendition: &RenditionHandle,
        good: impl FnMut(&Arc<Snapshot>) -> bool,
    ) -> Option<Arc<Snapshot>> {
        let mut snapshots: watch::Receiver<Arc<Snapshot>> = rendition.snapshot.clone();
        let waited = tokio::time::timeout(self.longest_wait(), snapshots.wait_for(good)).await;
        Some(Arc::clone(&*waited.ok()?.ok()?))
    }
}

/// A viewer whose session was opened, and by whom.
type Admitted<'a> = (&'a Protection, ViewerSession);

/// The page that a request says it comes from.
fn said_origin<B>(request: &Request<B>) -> Option<&str> {
    let origin = request.headers().get(ORIGIN)?;
    // What is no text is no page that anybody allows.
    Some(origin.to_str().unwrap_or_default())
}

/// Whether a rendition's pictures are as small as they have to be; sound is.
fn is_within(largest: Option<MaximumResolution>, rendition: &RenditionHandle) -> bool {
    let variant = rendition.variant.borrow();
    largest.is_none_or(|largest| largest.allows(variant.width, variant.height))
}

#[cfg(test)]
mod tests;
