//! A killed server: what its playlists listed goes on after the next start, under the same URLs.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::{StatusCode, Url};

use super::support::clips::clip;
use super::support::publisher::Publisher;
use super::support::s3::{Fault, S3Server};
use super::support::server::{Channel, TestServer};
use super::support::viewer::{MediaPlaylist, Watched, follow, get, media_playlist_url, text};
use super::support::{eventually, within};

/// Everything that one URL ever showed: by number, what the lines of a segment said and its bytes.
#[derive(Default)]
struct Known {
    segments: BTreeMap<u64, Seen>,
    /// By URI.
    media: BTreeMap<String, Vec<u8>>,
    last: MediaPlaylist,
    /// The newest segment that must have been in the mirror when the server was killed.
    mirrored: u64,
}

/// What may never change.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    extinf: f64,
    uri: String,
    date: String,
    map: Option<String>,
    is_discontinuity: bool,
    is_gap: bool,
}

impl Known {
    /// Takes a playlist in, comparing; fetches what is new.
    async fn take(&mut self, url: &Url, list: MediaPlaylist) {
        let mut map = None;
        for (msn, extinf, uri) in &list.segments {
            let new_map = list.maps.iter().find(|(before, _)| before == msn);
            map = new_map.map(|(_, uri)| uri.clone()).or(map);
            let seen = Seen {
                extinf: *extinf,
                uri: uri.clone(),
                date: list
                    .dates
                    .iter()
                    .find(|(at, _)| at == msn)
                    .unwrap()
                    .1
                    .clone(),
                map: map.clone(),
                is_discontinuity: list.discontinuities.contains(msn),
                is_gap: list.gaps.contains(msn),
            };
            let known = self.segments.entry(*msn).or_insert_with(|| seen.clone());
            // What the mirror had not got yet is a gap; its place stays.
            let is_lost = msn > &self.mirrored && seen.is_gap;
            known.is_gap |= is_lost;
            assert_eq!(*known, seen, "segment {msn} has changed");
            if !seen.is_gap {
                self.fetch(url, uri).await;
            }
        }
        for map in list.maps.iter().map(|(_, uri)| uri) {
            self.fetch(url, map).await;
        }
        let (first, last) = (list.first_msn, self.last.first_msn);
        assert!(first >= last, "the playlist begins at {first} after {last}");
        self.last = list;
    }

    async fn fetch(&mut self, url: &Url, uri: &str) {
        let answer = get(url.join(uri).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{uri}");
        let bytes = answer.bytes().await.unwrap().to_vec();
        let known = self.media.entry(uri.to_owned());
        let known = known.or_insert_with(|| bytes.clone());
        assert!(*known == bytes, "{uri} has other bytes");
    }

    /// Follows by blocking reload until `stop`, from where it was.
    async fn follow(&mut self, url: &Url, mut stop: impl FnMut(&MediaPlaylist) -> bool) {
        let mut target = url.clone();
        if !self.last.segments.is_empty() {
            target.set_query(Some(&self.last_query()));
        }
        loop {
            let list = MediaPlaylist::parse(&text(target.as_str()).await);
            self.take(url, list).await;
            if stop(&self.last) {
                return;
            }
            target.set_query(Some(&self.last_query()));
        }
    }

    /// What a player asks for next.
    fn last_query(&self) -> String {
        let (msn, part) = self.last.next();
        format!("_HLS_msn={msn}&_HLS_part={part}")
    }

    /// The same segments, asked for once more.
    async fn fetch_all_again(&mut self, url: &Url) {
        let listed = self.last.segments.clone();
        for (msn, _, uri) in listed {
            if !self.last.gaps.contains(&msn) {
                self.fetch(url, &uri).await;
            }
        }
    }
}

/// The number of the newest segment whose copy the mirror lists under this URL.
async fn mirrored(server: &TestServer, channel: &Channel, msn: u64) {
    let folder = server
        .data
        .path()
        .join("data/storage/live")
        .join(&channel.id);
    let is_there = || {
        let epochs = std::fs::read_dir(&folder).ok()?;
        let lists = epochs.map(|epoch| epoch.unwrap().path().join("source/live.m3u8"));
        let texts = lists.filter_map(|path| std::fs::read_to_string(path).ok());
        let mut texts: Vec<_> = texts.collect();
        texts.retain(|text| text.contains(&format!("\n{msn}.m4s")));
        (!texts.is_empty()).then_some(())
    };
    eventually(20, "segment in the mirror", || async { is_there() }).await;
}

fn epoch(url: &Url) -> u64 {
    let components: Vec<_> = url.path_segments().unwrap().collect();
    components[components.len() - 3].parse().unwrap()
}

/// Killed twice, the second time while the publisher has not returned yet: nothing that was listed
/// changes, numbers go on one by one, and no URI gets other bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_goes_on_with_the_same_url_after_kill_9() {
    let mut server = TestServer::start().await;
    let channel = server
        .new_channel_with("restarted", &["--type", "BASIC"])
        .await;
    let first = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let mut known = Known::default();
    let five = known.follow(&url, |list| list.segments.len() >= 5);
    within(40, "five segments", five).await;
    let last = known.last.segments.last().unwrap().0;
    mirrored(&server, &channel, last).await;
    known.mirrored = last;

    for _ in 0..2 {
        server.kill_and_restart().await;
        let held = server.live(&channel).await;
        let before = known.last.segments.last().unwrap().0;
        let target = known.follow(&url, |list| list.segments.len() > 5);
        within(10, "the playlist again", target).await;
        known.fetch_all_again(&url).await;
        assert!(known.last.segments.last().unwrap().0 > before);
        let state = held.and_then(|live| live.get("state").cloned());
        assert!(state.is_none_or(|state| state == "HELD"));
    }
    drop(first);
    let gaps = known.last.gaps.len();
    assert!((1..=20).contains(&gaps), "{gaps} gaps");

    // The publisher returns: a DISCONTINUITY, and media again.
    let returned = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let media = known.follow(&url, |list| {
        let newest = list.segments.iter().rev().take(3);
        newest.clone().count() == 3 && newest.clone().all(|(msn, ..)| !list.gaps.contains(msn))
    });
    within(40, "three new segments", media).await;
    let numbers: Vec<u64> = known.segments.keys().copied().collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );

    // Once more, whatever the mirror has by now.
    known.mirrored = known.last.segments.iter().rev().nth(1).unwrap().0;
    mirrored(&server, &channel, known.mirrored).await;
    server.kill_and_restart().await;
    let newest = known.last.next().0;
    let target = known.follow(&url, |list| list.next().0 > newest);
    within(10, "the playlist again", target).await;

    // Who comes now is sent to the new epoch, where the same is listed.
    let new = media_playlist_url(&channel.playback_url).await;
    assert_eq!(epoch(&new), epoch(&url) + 3);
    let same = |text: String| MediaPlaylist::parse(&text).segments[..5].to_vec();
    let (old, new) = (text(url.as_str()).await, text(new.as_str()).await);
    assert_eq!(same(old), same(new));
    assert!(server.metric("weir_task_panics_total").await < 1.0);
    returned.kill().await;
}

/// Players number timelines by the DISCONTINUITYs they know, also of a segment that was never complete.
#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_that_had_just_begun_is_counted_after_kill_9() {
    let mut server = TestServer::start().await;
    let channel = server.channel().await;
    let path = clip("fps30.flv");
    let _first = Publisher::looping(&path, &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let three = follow(&url, |seen| seen.segments.len() >= 3);
    within(40, "three segments", three).await;
    let _second = Publisher::looping(&path, &channel.ingest_url);
    let begun = follow(&url, |seen| {
        let begins = seen.discontinuities.last();
        begins.is_some_and(|begins| seen.parts.contains_key(&(*begins, 2)))
    });
    let before = within(40, "a new timeline", begun).await.last;
    server.kill_and_restart().await;
    let begins = *before.discontinuities.last().unwrap();
    let is_complete = before.segments.iter().any(|(msn, ..)| *msn >= begins);
    assert!(!is_complete, "it was in the making: {before:?}");
    let after = MediaPlaylist::parse(&text(url.as_str()).await);
    assert!(after.gaps.contains(&begins), "{after:?}");
    let number = |list: &MediaPlaylist| {
        let counted = list.discontinuities.iter().filter(|msn| **msn <= begins);
        list.discontinuity_sequence + u64::try_from(counted.count()).unwrap()
    };
    assert_eq!(number(&after), number(&before), "{after:?}");
    assert!(after.discontinuities.contains(&begins), "{after:?}");
}

/// All renditions of a ladder come back together, and end together if nobody returns.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_ladder_comes_back_and_ends_when_nobody_returns() {
    let mut server = TestServer::start_with(&[("WEIR__LIVE__HOLD_SECONDS", "8")]).await;
    let channel = server.channel().await;
    let publisher = Publisher::looping(&clip("ladder_360p30.flv"), &channel.ingest_url);
    let source = media_playlist_url(&channel.playback_url).await;
    let multivariant = text(&channel.playback_url).await;
    let children = multivariant.lines().filter(|line| !line.starts_with('#'));
    let base = Url::parse(&channel.playback_url).unwrap();
    let urls: Vec<Url> = children.map(|uri| base.join(uri).unwrap()).collect();
    assert!(urls.len() >= 2, "{multivariant}");
    let enough = follow(&source, |seen: &Watched| seen.segments.len() >= 4);
    let seen = within(60, "four segments", enough).await;
    mirrored(&server, &channel, *seen.segments.keys().last().unwrap()).await;
    let mut known = Vec::new();
    for url in &urls {
        let mut list = Known::default();
        list.take(url, MediaPlaylist::parse(&text(url.as_str()).await))
            .await;
        known.push(list);
    }

    publisher.kill().await;
    server.kill_and_restart().await;
    let mut lasts = Vec::new();
    for (url, known) in urls.iter().zip(&mut known) {
        let list = MediaPlaylist::parse(&text(url.as_str()).await);
        // What one rendition's mirror lacked is a gap by now; what it had is as it was.
        let had: Vec<_> = list.segments.iter().map(|(msn, ..)| *msn).collect();
        known
            .segments
            .retain(|msn, seen| !list.gaps.contains(msn) || seen.is_gap);
        known.last = MediaPlaylist::default();
        known.take(url, list).await;
        lasts.push((had[0], known.segments.len()));
    }
    let firsts: Vec<u64> = lasts.iter().map(|(first, _)| *first).collect();
    assert!(firsts.iter().all(|first| *first == firsts[0]), "{firsts:?}");

    for (url, known) in urls.iter().zip(&mut known) {
        let end = known.follow(url, |list| list.is_ended);
        within(40, "ENDLIST", end).await;
    }
    let status = get(&channel.playback_url).await.status();
    assert_eq!(status, StatusCode::NOT_FOUND);
    // The next stream's numbers are above all of them.
    let last = known
        .iter()
        .filter_map(|known| known.segments.keys().last());
    let last = *last.max().unwrap();
    let next = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    assert!(MediaPlaylist::parse(&text(url.as_str()).await).first_msn > last);
    next.kill().await;
}

/// Players take no other PART-TARGET from a playlist that they know, wherever the change came from.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_part_target_waits_for_the_next_stream() {
    let mut server = TestServer::start_with(&[("WEIR__LIVE__HOLD_SECONDS", "20")]).await;
    let basic = ["--type", "BASIC"];
    let channel = server.new_channel_with("changed", &basic).await;
    let first = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let grid = |text: String| -> Vec<String> {
        let tags = ["#EXT-X-PART-INF:", "#EXT-X-SERVER-CONTROL:"];
        let lines = text.lines().map(str::to_owned);
        lines
            .filter(|line| tags.iter().any(|tag| line.starts_with(tag)))
            .collect()
    };
    let known = grid(text(url.as_str()).await);
    assert!(known.concat().contains("PART-TARGET=0.334"), "{known:?}");
    let mut list = Known::default();
    let three = list.follow(&url, |list| list.segments.len() >= 3);
    within(30, "three segments", three).await;
    mirrored(&server, &channel, list.last.segments.last().unwrap().0).await;

    // While the encoder is away: the one that returns goes by the old grid.
    let set = ["channel", "set", &channel.id, "--part-target-ms", "1000"];
    server.weir(&set).await;
    first.kill().await;
    let second = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let is_live = || async {
        let live = server.live(&channel).await?;
        (live.get("state")? == "LIVE").then_some(())
    };
    eventually(20, "the encoder back", is_live).await;
    let next = list.last.segments.last().unwrap().0 + 4;
    let more = list.follow(&url, |list| list.next().0 > next);
    within(30, "more segments", more).await;
    assert_eq!(grid(text(url.as_str()).await), known);
    mirrored(&server, &channel, next - 1).await;

    // After a crash: what the new process takes up is as it was, too.
    server.kill_and_restart().await;
    second.kill().await;
    let taken_up = list.follow(&url, |list| list.next().0 > next + 1);
    within(20, "the playlist again", taken_up).await;
    assert_eq!(grid(text(url.as_str()).await), known);

    let ended = list.follow(&url, |list| list.is_ended);
    within(40, "ENDLIST", ended).await;
    let third = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let new = grid(text(url.as_str()).await).concat();
    assert!(new.contains("PART-TARGET=1.0"), "{new}");
    third.kill().await;
}

/// What can never be taken up is tried once, not at each start for ever.
#[tokio::test(flavor = "multi_thread")]
async fn playlists_that_are_lost_for_good_are_given_up_once() {
    let mut server = TestServer::start().await;
    let basic = ["--type", "BASIC"];
    let channel = server.new_channel_with("lost", &basic).await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let first = MediaPlaylist::parse(&text(url.as_str()).await).first_msn;
    let lose = |data: &Path| std::fs::remove_dir_all(data.join("storage/live")).unwrap();
    server.kill_and_restart_after(lose).await;
    publisher.kill().await;
    let words = "playlists are not taken up again";
    let given_up = || async { server.log().contains(words).then_some(()) };
    eventually(20, "the playlists given up", given_up).await;
    // Waits for the outcome, which is stored before.
    let status = get(&channel.playback_url).await.status();
    assert_eq!(status, StatusCode::NOT_FOUND);

    server.kill_and_restart().await;
    let status = get(&channel.playback_url).await.status();
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(server.log().matches(words).count(), 1, "tried again");
    let next = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    assert_eq!(epoch(&url), 2);
    assert!(MediaPlaylist::parse(&text(url.as_str()).await).first_msn > first);
    next.kill().await;
}

/// From a bucket; and while the bucket does not answer, only who asks for this channel waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_holds_up_nobody_else() {
    let s3 = S3Server::start().await;
    let (storage, env) = (s3.url(), S3Server::env());
    let mut extra = vec![("WEIR_STORAGE_URL", storage.as_str())];
    let credentials = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    extra.extend(credentials);
    let mut server = TestServer::start_with(&extra).await;
    let basic = ["--type", "BASIC"];
    let channel = server.new_channel_with("bucket", &basic).await;
    let other = server.new_channel_with("other", &basic).await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let url = media_playlist_url(&channel.playback_url).await;
    let mut known = Known::default();
    let three = known.follow(&url, |list| list.segments.len() >= 3);
    within(40, "three segments", three).await;
    let last = known.last.segments.last().unwrap().0;
    let lists = s3.bucket_dir().join("live").join(&channel.id);
    let lists = lists.join(epoch(&url).to_string());
    eventually(20, "segment in the bucket", || async {
        let read = std::fs::read_to_string(lists.join("source/live.m3u8"));
        let whole = read.ok()?.contains(&format!("\n{last}.m4s"));
        whole.then_some(())
    })
    .await;
    server.kill_and_restart().await;
    publisher.kill().await;
    let more = known.follow(&url, |list| list.segments.len() > 3);
    within(20, "the playlist from the bucket", more).await;

    s3.inject_always(Some(Fault::Hang));
    server.kill_and_restart().await;
    let asked = get(url.as_str());
    tokio::pin!(asked);
    tokio::select! {
        biased;
        answer = &mut asked => panic!("answered at once: {answer:?}"),
        list = server.live(&other) => assert!(list.is_none()),
    }
    let publishers = [&other, &channel].map(|channel| {
        let clip = clip("fps30.flv");
        Publisher::looping(&clip, &channel.ingest_url)
    });
    assert_eq!(asked.await.status(), StatusCode::NOT_FOUND);
    // Who publishes meanwhile begins anew, above all that was used.
    media_playlist_url(&other.playback_url).await;
    let new = media_playlist_url(&channel.playback_url).await;
    assert!(epoch(&new) > epoch(&url) + 1);
    let first = MediaPlaylist::parse(&text(new.as_str()).await).first_msn;
    assert!(first > known.last.next().0, "{first}");
    assert!(server.log().contains("playlists are not taken up again"));
    for publisher in publishers {
        publisher.kill().await;
    }
}
