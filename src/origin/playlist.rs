//! Playlist requests: which text, after which wait, for how long in caches.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::header::ORIGIN;
use http::{Method, Request, StatusCode};
use tokio::time::Instant;

use super::answer::{self, Age, Answer};
use super::protection::{Refusal, Ticket, Visitor};
use super::reload::{self, Answer as Decision, Cached, Edge, Policy};
use super::request::{self, Directives};
use super::{Origin, is_within, said_origin};
use crate::base::coding::accepts_gzip;
use crate::base::ids;
use crate::playlist::snapshot::compress;
use crate::playlist::{Listed, LiveChannel, MediaFile, RenditionHandle, multivariant};

/// Characters of a viewer session's id: 95 bits.
const VIEWER_SESSION_CHARS: usize = 16;

impl Origin {
    /// The entry: each fetch mints a viewer session, which is in every URL from here on.
    /// Renditions that are behind at the start are listed too: their playlists make players wait.
    pub(super) async fn multivariant<B>(
        &self,
        channel_id: &str,
        request: &Request<B>,
        client: IpAddr,
    ) -> Result<Answer, Refusal> {
        let query = request.uri().query().unwrap_or_default();
        let ticket = self.admit_visitor(channel_id, request, client)?;
        let allows_audio_only = request::allows_audio_only(query);
        let offline = || {
            let age = self.age(Cached::Failure);
            answer::refusal(
                StatusCode::NOT_FOUND,
                "not_found",
                "the channel is offline",
                age,
            )
        };
        let find = || self.directory.live(channel_id);
        let Some(channel) = self.find(channel_id, find).await else {
            return Ok(offline());
        };
        if !self.is_playable(&channel).await {
            return Ok(offline());
        }
        if request.method() != Method::HEAD && self.is_full() {
            return Ok(answer::refusal(
                StatusCode::TOO_MANY_REQUESTS,
                "viewer_quota",
                "as many watch as may at once; try again later",
                self.age(Cached::Failure),
            ));
        }
        let largest = ticket.as_ref().and_then(|it| it.session.maximum_resolution);
        let is_listed = |handle: &&Arc<RenditionHandle>| {
            let is_listed = handle.listed == Listed::Always || allows_audio_only;
            is_listed && is_within(largest, handle)
        };
        if !channel.renditions.iter().any(|handle| is_listed(&handle)) {
            return Err(Refusal::Resolution);
        }
        let session = match (&ticket, &self.protection) {
            // A question about the answer uses up no token.
            (Some(ticket), Some(protection)) if request.method() != Method::HEAD => {
                protection.begin(channel_id, ticket)?
            }
            _ => ids::alphanumeric(VIEWER_SESSION_CHARS),
        };
        let entries = channel
            .renditions
            .iter()
            .filter(is_listed)
            .map(|rendition| {
                let (epoch, name, file) = (channel.epoch, &rendition.name, MediaFile::Playlist);
                let uri = format!("s/{session}/{channel_id}/{epoch}/{name}/{file}");
                (uri, rendition.variant.borrow().clone())
            });
        let now = self.clock.now().0;
        let now = format!("{}.{:03}", now.div_euclid(1000), now.rem_euclid(1000));
        let said = [
            ("NODE", &*self.region),
            ("SERVING-ID", &session),
            ("SERVER-TIME", &now),
        ];
        let text = multivariant::render(&said, entries).into();
        let is_gzip = accepts_gzip(request.headers());
        let text = if is_gzip { compress(&text) } else { text };
        let mut answer = answer::playlist(text, is_gzip, Age::NoStore);
        if ticket.is_some_and(|ticket| ticket.is_of_origin) {
            answer::protect(&mut answer, request.headers().get(ORIGIN));
        }
        Ok(answer)
    }

    /// The ticket of whoever asks for a protected channel; nothing if everybody may watch.
    fn admit_visitor<B>(
        &self,
        channel_id: &str,
        request: &Request<B>,
        client: IpAddr,
    ) -> Result<Option<Ticket>, Refusal> {
        let Some(protection) = &self.protection else {
            return Ok(None);
        };
        let token = request::token(request.uri().query().unwrap_or_default());
        let visitor = Visitor {
            token: token.as_deref(),
            origin: said_origin(request),
            address: client,
        };
        protection.admit_visitor(channel_id, &visitor)
    }

    /// Whether as many watch as may, all channels together.
    fn is_full(&self) -> bool {
        let (now, audiences) = (Instant::now(), self.directory.audiences());
        let viewers: u64 = audiences.iter().map(|(_, it)| it.count(now)).sum();
        viewers >= self.max_viewers
    }

    /// Rule 64: nobody is sent to a playlist that cannot be played yet. Waits for any of those that are
    /// listed for everybody: one that is late, or shed, keeps nobody from the others.
    async fn is_playable(&self, channel: &LiveChannel) -> bool {
        let listed = channel
            .renditions
            .iter()
            .filter(|handle| handle.listed == Listed::Always);
        let mut waits: FuturesUnordered<_> = listed
            .map(|handle| self.snapshot_when(handle, |now| now.has_full_segment_and_part()))
            .collect();
        while let Some(snapshot) = waits.next().await {
            if snapshot.is_some() {
                return true;
            }
        }
        false
    }

    /// A media playlist: now, when what was asked for is in it, or never.
    pub(super) async fn media_playlist<B>(
        &self,
        rendition: &RenditionHandle,
        request: &Request<B>,
    ) -> Answer {
        let bad = |code: &str, words: String| {
            let age = self.age(Cached::BlockedPlaylistFailure);
            answer::refusal(StatusCode::BAD_REQUEST, code, &words, age)
        };
        let directives = match Directives::parse(request.uri().query().unwrap_or_default()) {
            Ok(directives) => directives,
            Err(error) => return bad("bad_query", error.to_string()),
        };
        // One snapshot is judged and served: it cannot move on between the two.
        let now = rendition.snapshot.borrow().clone();
        let policy = Policy {
            advance_part_limit: now.config().advance_part_limit(),
            msn_only: self.msn_only,
        };
        let decide = |edge: &Edge| reload::decide(edge, &policy, &directives);
        let snapshot = match decide(&Edge::from(&*now)) {
            Decision::Ready => now,
            Decision::Refuse(refusal) => return bad("bad_reload", refusal.to_string()),
            Decision::Wait => {
                let reached = |now: &_| decide(&Edge::from(now)) == Decision::Ready;
                match self.snapshot_when(rendition, |now| reached(&**now)).await {
                    Some(snapshot) => snapshot,
                    None => return too_late(),
                }
            }
        };
        let is_gzip = accepts_gzip(request.headers());
        let text = snapshot.playlist(directives.skip, is_gzip);
        let is_final = directives.msn.is_some() && !snapshot.is_ended();
        let cached = if is_final {
            Cached::BlockedPlaylist
        } else {
            Cached::Playlist
        };
        answer::playlist(text, is_gzip, self.age(cached))
    }
}

/// Rule 37.
fn too_late() -> Answer {
    let words = "the stream did not go on in time";
    answer::refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "stalled",
        words,
        Age::NoStore,
    )
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::base::clock::SystemClock;
    use crate::origin::Config;
    use crate::playlist::{self, Audience, Directory, Snapshot, fixtures};

    /// A rendition with so many segments, and what keeps it alive.
    fn rendition(
        name: &str,
        listed: Listed,
        segments: usize,
    ) -> (Arc<RenditionHandle>, watch::Sender<Arc<Snapshot>>) {
        let grid = playlist::Config::default();
        let window = fixtures::window(&grid, 1, segments, usize::from(segments > 0));
        let (snapshot_tx, snapshot) = watch::channel(window.snapshot());
        let (_, variant) = watch::channel(fixtures::variant());
        let handle = RenditionHandle {
            name: name.to_owned(),
            listed,
            snapshot,
            variant,
            demand: None,
        };
        (Arc::new(handle), snapshot_tx)
    }

    /// The status of a channel's entry, and whether its time was needed.
    async fn entry(listed: [(Listed, usize); 2]) -> (StatusCode, bool) {
        let renditions = listed.map(|(listed, segments)| rendition("720p60", listed, segments));
        let (renditions, alive): (Vec<_>, Vec<_>) = renditions.into_iter().unzip();
        let directory = Arc::new(Directory::default());
        directory.announce(Arc::new(LiveChannel {
            channel_id: "abcdABCDefgh".to_owned(),
            epoch: 7,
            first_epoch: 7,
            audience: Arc::new(Audience::new(Instant::now())),
            renditions,
        }));
        let origin = Origin::new(
            directory,
            ("here", "1"),
            2,
            &Config::default(),
            Arc::new(SystemClock),
        );
        let begin = Instant::now();
        let request = Request::get("/").body(()).unwrap();
        let client = IpAddr::from([192, 0, 2, 1]);
        let answer = origin.multivariant("abcdABCDefgh", &request, client).await;
        let answer = answer.unwrap();
        drop(alive);
        let has_waited = begin.elapsed() >= origin.longest_wait();
        (answer.status(), has_waited)
    }

    #[tokio::test(start_paused = true)]
    async fn the_entry_waits_for_any_rendition_that_everybody_is_sent_to() {
        use Listed::{Always, OnRequest};
        let there = (StatusCode::OK, false);
        assert_eq!(entry([(Always, 2), (Always, 0)]).await, there);
        assert_eq!(entry([(Always, 0), (Always, 2)]).await, there);
        let offline = (StatusCode::NOT_FOUND, true);
        assert_eq!(entry([(Always, 0), (Always, 0)]).await, offline);
        assert_eq!(entry([(Always, 0), (OnRequest, 2)]).await, offline);
    }
}
