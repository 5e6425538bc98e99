//! Ladders whose codecs break or become too slow while viewers watch: what is lost, what goes on, what comes back. The real
//! server with faults in libavcodec that the test turns on and off.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::StatusCode;

use super::support::clips::{clip, frame_count};
use super::support::faults::Faults;
use super::support::ladder::scene::{Source, recording};
use super::support::ladder::{Rendition, variants, watch, watch_until};
use super::support::publisher::Publisher;
use super::support::server::{Channel, TestServer};
use super::support::viewer::{MediaPlaylist, follow, get, media_playlist_url, text};
use super::support::{MACHINE, eventually, within};

/// The rung that is slowed down.
const SLOW: &str = "480p30";
/// A second has so many pictures.
const FPS: f64 = 30.0;

/// Waits until the slow rung is shed, or is not any more.
async fn until_shed(server: &TestServer, channel: &Channel, is_shed: bool) {
    eventually(60, "change of what is shed", || async {
        let shed = server.shed(channel).await?;
        (shed.iter().any(|name| name == SLOW) == is_shed).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendition_that_is_shed_comes_back_and_plays() {
    let _alone = MACHINE.write().await;
    let faults = Faults::new();
    let server = faults.server().await;
    let channel = server
        .new_channel_with("sheds", &["--type", "STANDARD"])
        .await;
    let publisher = Publisher::looping(&clip("ladder_720p30.flv"), &channel.ingest_url);
    let enough = AtomicU64::new(u64::MAX);
    let watching = watch_until(&channel.playback_url, |watched| {
        watched.last.next().0 >= enough.load(Ordering::Relaxed)
    });
    let driving = async {
        let playable = variants(&channel.playback_url).await;
        let slow = playable.iter().find(|variant| variant.name == SLOW);
        let url = &slow.unwrap().url;
        // It is there, and the start has been caught up with.
        follow(url, |watched| watched.segments.len() >= 2).await;
        faults.slow_down(480);
        until_shed(&server, &channel, true).await;
        let listed = variants(&channel.playback_url).await;
        faults.speed_up(480);
        until_shed(&server, &channel, false).await;
        let now = MediaPlaylist::parse(&text(url).await).next().0;
        // Two whole segments more than the one in which it comes back.
        enough.store(now + 3, Ordering::Relaxed);
        listed.into_iter().map(|variant| variant.name)
    };
    let both = async { tokio::join!(watching, driving) };
    let (ladder, listed) = within(120, "rendition that is back", both).await;
    publisher.kill().await;
    let listed: Vec<_> = listed.collect();
    assert_eq!(listed.len(), 4, "not {listed:?} only");

    ladder.check_numbers();
    check_return(ladder.rendition(SLOW)).await;
    let source = ladder.rendition("720p30");
    assert!(source.watched.parts.values().all(|(part, _)| !part.is_gap));
    let pictures = source.decode().pictures();
    assert_eq!(pauses(&pictures), [], "the source never suffers");

    let events = server.events(&channel).await.into_iter();
    let told = events.filter(|event| event["rendition"] == SLOW);
    let told: Vec<_> = told.map(|event| event["event_name"].clone()).collect();
    assert_eq!(told, ["Rendition Shed", "Rendition Restored"]);
    let log = server.log();
    for words in ["overload: a rendition is shed", "a shed rendition is back"] {
        assert!(log.contains(words), "{log}");
    }
    assert!(server.metric("weir_rungs_shed_total").await > 0.0);
    assert!(server.metric("weir_rungs_shed").await < 1.0, "all are back");
}

/// It had gaps, which are listed and not to be fetched; then it is there again, whole, for who begins there.
async fn check_return(Rendition { variant, watched }: &Rendition) {
    assert!(watched.gaps.len() >= 3, "ten seconds at least are gaps");
    let listed = &watched.last.segments;
    let gaps = listed.iter().filter(|(msn, ..)| watched.gaps.contains(msn));
    for (msn, _, uri) in gaps {
        let answer = get(variant.url.join(uri).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{msn}");
    }
    let mut back = watched.clone();
    let mut keys = watched.parts.iter().rev();
    let last_gap = keys.find_map(|(key, (part, _))| part.is_gap.then_some(*key));
    let last_gap = last_gap.unwrap();
    back.parts.retain(|key, _| *key > last_gap);
    let (first, _) = back.parts.first_key_value().unwrap().1;
    assert!(first.is_independent, "{first:?}");
    let seconds: f64 = back.parts.values().map(|(part, _)| part.duration).sum();
    assert!(seconds > 4.0, "{seconds} s are back only");
    let variant = variant.clone();
    let decoded = Rendition {
        variant,
        watched: back,
    }
    .decode();
    let pictures = decoded.pictures();
    assert!(pictures[0].1, "it begins with a keyframe");
    assert_eq!(pauses(&pictures), []);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let shown = decoded.frames() as f64 / FPS;
    // It may have come back in the middle of a part.
    assert!((shown - seconds).abs() < 0.4, "{shown} s of {seconds} s");
}

/// The pauses between pictures: how long they are, and whether a keyframe ends them. Clips that are sent again and
/// again have a seam of less than half a frame.
fn pauses(pictures: &[(f64, bool)]) -> Vec<(f64, bool)> {
    let steps = pictures
        .windows(2)
        .map(|two| (two[1].0 - two[0].0, two[1].1));
    steps.filter(|(step, _)| *step > 1.6 / FPS).collect()
}

/// Waits until the transcoder has made so many parts of itself anew.
async fn until_restarted(server: &TestServer, times: f64) {
    eventually(20, "restart", || async {
        let restarts = server.metric("weir_transcode_restarts_total").await;
        (restarts >= times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codecs_that_fail_are_made_anew_while_viewers_watch() {
    let _alone = MACHINE.write().await;
    let faults = Faults::new();
    let server = faults.server().await;
    let channel = server
        .new_channel_with("breaks", &["--type", "STANDARD"])
        .await;
    let path = clip("fps30_480p.flv");
    let again = || recording("fps30_480p.flv");
    let source = Source::Edited(again().then(again()));
    let driving = async {
        let url = media_playlist_url(&channel.playback_url).await;
        // Amid the GOP behind so many segments.
        let amid = async |segments: usize| {
            follow(&url, |watched| {
                watched.segments.len() >= segments && watched.last.next().1 >= 2
            })
            .await;
        };
        amid(1).await;
        // Pauses of 0.1, 0.2 and 0.4 s.
        faults.fail_encoder(360, 3);
        until_restarted(&server, 3.0).await;
        amid(2).await;
        // The new one is given the GOP again: nothing is lost.
        faults.fail_decoder(1);
        until_restarted(&server, 4.0).await;
        amid(3).await;
        // The new ones fail with that, whole and without the last picture: the next GOP is waited for.
        faults.fail_decoder(3);
        until_restarted(&server, 5.0).await;
    };
    let all = async {
        tokio::join!(
            watch(&channel.playback_url),
            source.publish(&server, &channel),
            driving
        )
    };
    let (ladder, (), ()) = within(60, "end of the ladder", all).await;

    ladder.check_numbers();
    let of = |name: &str| ladder.rendition(name).decode().pictures();
    let sent = usize::try_from(2 * frame_count(&path)).unwrap();
    assert_eq!((of("480p30").len(), pauses(&of("480p30"))), (sent, vec![]));
    // What the decoder lost at last, and the encoder before that.
    for (name, expected) in [("160p30", 1), ("360p30", 2)] {
        let pauses = pauses(&of(name));
        assert_eq!(pauses.len(), expected, "{name}: {pauses:?}");
        for (seconds, ends_with_keyframe) in pauses {
            assert!(seconds < 2.1, "{name}: {seconds} s");
            assert!(ends_with_keyframe, "{name}: after {seconds} s");
        }
    }
    let broken = &ladder.rendition("360p30").watched;
    assert!(broken.parts.values().any(|(part, _)| part.is_gap));
    let log = server.log();
    let why = "Generic error in an external library";
    for what in ["encoder of 360p30: encode", "decoder: decode"] {
        let words = format!("{what}: {why}");
        assert!(log.contains(&words), "no {words}: {log}");
    }
    assert!(!log.contains("the transcoder has ended"), "{log}");
}
