//! One stream after another in the same playlists, under the stream checker: an encoder that returns with other
//! parameters, and a takeover by one whose pictures are of the same size and decoded otherwise.

use std::time::Duration;

use reqwest::Url;
use weir::conformance::{Finding, Level, Options, check};

use super::support::clips::{clip, frame_count};
use super::support::publisher::Publisher;
use super::support::server::{Channel, TestServer};
use super::support::viewer::{Watched, follow, media_playlist_url};
use super::support::{MACHINE, eventually, within};

/// Follows `channel` until viewers were given two segments behind so many discontinuities.
async fn shown(channel: &Channel, discontinuities: usize) -> Watched {
    let url = media_playlist_url(&channel.playback_url).await;
    let seen = follow(&url, |seen| {
        let begun = match discontinuities {
            0 => Some(&0),
            _ => seen.discontinuities.get(discontinuities - 1),
        };
        begun.is_some_and(|begun| seen.segments.range(begun..).count() >= 2)
    });
    within(40, "two segments", seen).await
}

/// What the stream checker and a viewer see of `channel`, while `change` gives it another encoder: no rule is broken,
/// and what comes behind the last of so many discontinuities is decoded.
async fn assert_holds(
    name: &str,
    channel: &Channel,
    discontinuities: usize,
    change: impl Future<Output = Publisher>,
) -> Watched {
    let options = Options {
        url: Url::parse(&channel.playback_url).unwrap(),
        duration: Duration::from_secs(18),
        // Two encoders, a transcoder and two viewers share this machine's cores.
        slack: Duration::from_secs(1),
        outage: Duration::from_secs(5),
    };
    let watching = shown(channel, discontinuities);
    let all = async { tokio::join!(check(options), watching, change) };
    let (report, watched, encoder) = within(90, "end of the check", Box::pin(all)).await;
    encoder.kill().await;
    let report = report.unwrap();
    let is_must = |finding: &&Finding| finding.level == Level::Must;
    let broken: Vec<_> = report.findings.iter().filter(is_must).collect();
    assert!(broken.is_empty(), "{name}: {report}");
    assert!(!report.renditions.is_empty(), "{name}: {report}");
    for followed in &report.renditions {
        assert!(followed.parts >= 45, "{name}: {report}");
    }
    assert_eq!(watched.discontinuities.len(), discontinuities, "{name}");
    assert_eq!(watched.gaps, [0; 0], "{name}: somebody watches");
    let folder = tempfile::tempdir().unwrap();
    let files = watched.write(folder.path());
    let frames = frame_count(files.last().unwrap());
    assert!(frames >= 90, "{name}: {frames} frames");
    watched
}

#[tokio::test(flavor = "multi_thread")]
async fn who_returns_with_another_stream_breaks_no_must() {
    let _calm = MACHINE.read().await;
    let server = TestServer::start().await;
    // Another size, without sound, another frame rate.
    for (before, name) in [
        ("fps30_480p.flv", "fps30"),
        ("fps30.flv", "noaudio30"),
        ("fps30.flv", "fps25"),
    ] {
        let channel = server.new_channel(name).await;
        let first = Publisher::looping(&clip(before), &channel.ingest_url);
        let change = async {
            shown(&channel, 0).await;
            first.kill().await;
            shown(&channel, 1).await;
            let live = server.live(&channel).await.unwrap();
            assert_eq!(live["state"], "HELD");
            Publisher::looping(&clip(&format!("{name}.flv")), &channel.ingest_url)
        };
        assert_holds(name, &channel, 2, change).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_with_pictures_that_are_decoded_otherwise_breaks_no_must() {
    let _calm = MACHINE.read().await;
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let first = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    let change = async {
        shown(&channel, 0).await;
        let session = server.live(&channel).await.unwrap()["streamId"].clone();
        // The same size, another frame rate, no B-frames.
        let url = format!("{}?priority=1", channel.ingest_url);
        let second = Publisher::looping(&clip("fps25.flv"), &url);
        assert_ne!(first.ended().await, "", "the first one is told");
        eventually(10, "the frame rate", || async {
            let live = server.live(&channel).await?;
            assert_eq!(live["streamId"], session);
            (live["frameRate"] == 25.0).then_some(())
        })
        .await;
        second
    };
    let watched = assert_holds("takeover", &channel, 1, change).await;
    let inits: Vec<&Vec<u8>> = watched.inits.values().collect();
    assert_eq!(inits.len(), 2, "a new initialization section");
    assert_ne!(inits[0], inits[1]);
    assert!(server.log().contains("event: Stream Takeover"));
}
