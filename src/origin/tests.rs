use std::time::Duration;

use super::*;
use crate::base::clock::SystemClock;
use crate::playlist::multivariant::Variant;
use crate::playlist::{self, Audience, Listed, LiveChannel, Window, fixtures};

const CHANNEL: &str = "abcdABCDefgh";
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const PLAYBACK: &str = "/api/video/v1/us-east-1.000000000000.channel.abcdABCDefgh.m3u8";

/// A channel with two segments, and who serves it.
fn stage() -> (Origin, Arc<Directory>) {
    let config = playlist::Config::default();
    let mut window = Window::new(&config, 1);
    window.start_timeline(fixtures::init("aaaa"), fixtures::START);
    let parts = [fixtures::PART; 6];
    let end = fixtures::push_segment(&mut window, 0, &parts);
    fixtures::push_segment(&mut window, end, &parts);
    let rendition = RenditionHandle {
        name: "source".to_owned(),
        listed: Listed::Always,
        snapshot: watch::channel(window.snapshot()).1,
        variant: watch::channel(fixtures::variant()).1,
        demand: None,
    };
    let directory = Arc::new(Directory::new());
    directory.announce(Arc::new(LiveChannel {
        channel_id: CHANNEL.to_owned(),
        epoch: 7,
        first_epoch: 7,
        renditions: vec![Arc::new(rendition)],
        audience: Arc::new(Audience::new(Instant::now())),
    }));
    let scope = ("us-east-1", "000000000000");
    let config = Config::default();
    (
        Origin::new(
            Arc::clone(&directory),
            scope,
            2,
            &config,
            Arc::new(SystemClock),
        ),
        directory,
    )
}

async fn status(origin: &Origin, path: &str) -> StatusCode {
    let request = Request::get(path).body(()).unwrap();
    origin.handle(&request, CLIENT).await.status()
}

/// Rule 43, for seven renditions in no order.
#[tokio::test(start_paused = true)]
async fn playlists_come_first_and_higher_bitrates_never_before_lower_ones() {
    let (origin, directory) = stage();
    let source = Arc::clone(&directory.live(CHANNEL).unwrap().renditions[0]);
    let window = fixtures::window(&playlist::Config::default(), 1, 2, 1);
    let bitrates = [3, 5, 1, 4, 2, 7, 6];
    let renditions = bitrates.map(|bandwidth_bps| {
        let variant = Variant {
            bandwidth_bps,
            ..fixtures::variant()
        };
        Arc::new(RenditionHandle {
            name: format!("r{bandwidth_bps}"),
            variant: watch::channel(variant).1,
            snapshot: watch::channel(window.snapshot()).1,
            ..RenditionHandle::clone(&source)
        })
    });
    let channel = directory.prepare(CHANNEL.to_owned(), 8, renditions.into());
    directory.announce(Arc::new(channel));
    for bitrate in bitrates {
        let expected = format!("u={}", 1 + bitrate.min(5));
        for (file, expected) in [
            ("live.m3u8", "u=1"),
            ("init-7f3a09bc.mp4", &*expected),
            ("1.m4s", &expected),
            ("3.0.m4s", &expected),
            ("3.m4s", &expected),
        ] {
            let path = format!("/api/video/v1/s/v/{CHANNEL}/8/r{bitrate}/{file}");
            let request = Request::get(path).body(()).unwrap();
            let answer = origin.handle(&request, CLIENT).await;
            assert_eq!(answer.status(), StatusCode::OK, "{file}");
            assert_eq!(answer.headers()["priority"], expected, "{file}");
        }
    }
    let request = Request::get(PLAYBACK).body(()).unwrap();
    let entry = origin.handle(&request, CLIENT).await;
    assert_eq!(entry.headers()["priority"], "u=1");
}

async fn moment() -> Instant {
    tokio::time::advance(Duration::from_secs(1)).await;
    Instant::now()
}

#[tokio::test(start_paused = true)]
async fn a_session_counts_from_its_first_media_request_until_it_is_gone() {
    let (mut origin, directory) = stage();
    origin.max_viewers = 20;
    let audience = directory.audience(CHANNEL).unwrap();
    let file = |session: u32, file: &str| format!("/api/video/v1/s/v{session}/{CHANNEL}/{file}");

    for _ in 0..5 {
        assert_eq!(status(&origin, PLAYBACK).await, StatusCode::OK);
    }
    let missing = ["8/source/live.m3u8", "7/480p/live.m3u8", "7/source/live"];
    for file in missing.map(|path| file(0, path)) {
        assert_eq!(
            status(&origin, &file).await,
            StatusCode::NOT_FOUND,
            "{file}"
        );
    }
    assert_eq!(audience.count(moment().await), 0, "none of them plays");

    for session in 0..20 {
        for path in [
            "7/source/live.m3u8",
            "7/source/init-aaaa.mp4",
            "7/source/1.m4s",
        ] {
            assert_eq!(status(&origin, &file(session, path)).await, StatusCode::OK);
        }
    }
    assert_eq!(audience.count(moment().await), 20, "one each");
    let full = StatusCode::TOO_MANY_REQUESTS;
    assert_eq!(status(&origin, PLAYBACK).await, full, "as many as may");
    let theirs = file(0, "7/source/1.m4s");
    assert_eq!(status(&origin, &theirs).await, StatusCode::OK);

    // A slow player: a segment and a playlist each ten seconds. The others have left.
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(9)).await;
        let playlist = file(3, "7/source/live.m3u8");
        assert_eq!(status(&origin, &playlist).await, StatusCode::OK);
        assert!(audience.count(moment().await) >= 1);
    }
    assert_eq!(audience.count(moment().await), 1, "gone within a minute");
    assert_eq!(status(&origin, PLAYBACK).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_comes_back_is_waited_for() {
    let (origin, directory) = stage();
    let path = |epoch: u64| format!("/api/video/v1/s/v/{CHANNEL}/{epoch}/source/live.m3u8");
    let channel = directory.live(CHANNEL).unwrap();
    directory.forget(CHANNEL, 7);

    // Nobody expects it: refused at once. It does not come: refused in time.
    let started = Instant::now();
    assert_eq!(status(&origin, &path(7)).await, StatusCode::NOT_FOUND);
    assert_eq!(started.elapsed(), Duration::ZERO);
    let expected = directory.expect(CHANNEL);
    for path in [&path(7), PLAYBACK] {
        assert_eq!(status(&origin, path).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(started.elapsed(), Duration::from_secs(12));

    let come = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        directory.announce(Arc::new(LiveChannel {
            channel_id: CHANNEL.to_owned(),
            epoch: 8,
            first_epoch: 7,
            renditions: channel.renditions.clone(),
            audience: Arc::clone(&channel.audience),
        }));
        drop(expected);
    };
    let (old, playback) = (path(7), path(9));
    let (old, other, entry, ()) = tokio::join!(
        status(&origin, &old),
        status(&origin, &playback),
        status(&origin, PLAYBACK),
        come
    );
    let ok = StatusCode::OK;
    assert_eq!((old, other, entry), (ok, StatusCode::NOT_FOUND, ok));
}
