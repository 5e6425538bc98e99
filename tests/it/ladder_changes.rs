//! Sources that become others in mid-stream: what is said of them, what is encoded of them, and what an overloaded
//! machine remembers of it.

use std::process::Command;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::support::clips::{clip, frame_count};
use super::support::flv::Recording;
use super::support::ladder::scene::{Frames, Scene, Source, heights, play, recording, scene};
use super::support::ladder::{Rendition, watch};
use super::support::server::{Channel, TestServer};
use super::support::viewer::{attribute, get};
use super::support::{MACHINE, eventually, within};

/// What the multivariant playlist said at last of a rendition of this size: its number `name`.
async fn last_said(playback_url: &str, size: &str, name: &str) -> f64 {
    let mut last = None;
    loop {
        let answer = get(playback_url).await;
        if let Some(last) = last.filter(|_| answer.status() == StatusCode::NOT_FOUND) {
            return last;
        }
        let list = answer.text().await.unwrap();
        let of_size = |line: &&str| attribute(line, "RESOLUTION").as_deref() == Some(size);
        if let Some(tag) = list.lines().find(of_size) {
            last = Some(attribute(tag, name).unwrap().parse().unwrap());
        }
        // Of another process, which tells nobody that it has ended.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_source_follows_it() {
    let server = TestServer::start().await;
    let channel = server
        .new_channel_with("follows", &["--type", "STANDARD"])
        .await;
    let small = recording("ladder_360p30.flv").gops(2);
    let source = Source::Edited(small.then(recording("ladder_720p30.flv").gops(3)));
    let _shared = MACHINE.read().await;
    let both = async {
        tokio::join!(
            watch(&channel.playback_url),
            source.publish(&server, &channel),
            last_said(&channel.playback_url, "1280x720", "BANDWIDTH"),
        )
    };
    let (ladder, (), said) = within(60, "end of the ladder", both).await;
    assert_eq!(heights(&ladder), [360, 160]);
    let watched = &ladder.renditions[0].watched;
    let [from] = watched.discontinuities[..] else {
        panic!("{:?}", watched.discontinuities);
    };
    let rate = |(msn, extinf): (&u64, &f64)| {
        let parts = watched.parts.range((*msn, 0)..(msn + 1, 0));
        let bytes: usize = parts.map(|(_, (_, bytes))| bytes.len()).sum();
        f64::from(u32::try_from(bytes * 8).unwrap()) / extinf
    };
    let whole = watched.segments.range(from..).filter(|(_, s)| **s > 1.5);
    let peak = whole.map(rate).fold(0.0, f64::max);
    assert!(peak > 1_000_000.0, "{peak} b/s: the test tests something");
    assert!(
        (peak..3.0 * peak).contains(&said),
        "{peak} b/s, BANDWIDTH={said}"
    );
}

/// The clip with other colours in its sequence headers, and no other picture.
fn recoloured(name: &str) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recoloured.flv");
    let filter =
        "h264_metadata=colour_primaries=6:transfer_characteristics=6:matrix_coefficients=6";
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(clip(name))
        .args(["-c", "copy", "-bsf:v", filter])
        .arg(&file)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}");
    Recording::read(&file)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_colours_are_told_where_everything_is_encoded() {
    let first = recording("ladder_360p30.flv").gops(3);
    let source = Source::Edited(first.then(recoloured("ladder_360p30.flv").gops(3)));
    let scene = Scene {
        options: &["--type", "ADVANCED_SD"],
        discontinuities: 1,
        ..scene("colours", source, &[360, 160, 0], Frames::All)
    };
    let ladder = play(&TestServer::start().await, &scene).await;
    let has_picture = |rendition: &&Rendition| rendition.variant.resolution().is_some();
    for rendition in ladder.renditions.iter().filter(has_picture) {
        let colours = rendition.decode().property("video", "color_space");
        assert_eq!(colours, Some(Value::from("smpte170m")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_come_faster_are_all_shown() {
    let slow = recording("fps12_5.flv").gops(2);
    let fast = clip("fps30.flv");
    let source = Source::Edited(slow.then(Recording::read(&fast)));
    let server = TestServer::start().await;
    let channel = server
        .new_channel_with("faster", &["--type", "ADVANCED_SD"])
        .await;
    let _shared = MACHINE.read().await;
    let both = async {
        tokio::join!(
            watch(&channel.playback_url),
            source.publish(&server, &channel)
        )
    };
    let (ladder, ()) = within(60, "end of the ladder", both).await;
    ladder.check_whole();
    ladder.check_numbers();
    let has_picture = |rendition: &&Rendition| rendition.variant.resolution().is_some();
    for rendition in ladder.renditions.iter().filter(has_picture) {
        let decoded = rendition.decode();
        // From the end of its first fast GOP on, which tells that it is fast.
        let shown = frame_count(decoded.files.last().unwrap());
        assert_eq!(shown, frame_count(&fast) - 60, "{}", rendition.variant.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_source_that_becomes_faster_is_described_and_halved_anew() {
    // Fifty pictures a second and then sixty, as its parameter sets say all the time.
    let clip = || recording("fps60.flv");
    let fast = clip().without_audio(..).gops(3);
    let source = Source::Edited(clip().gops(2).slower().then(fast));
    let server = TestServer::start().await;
    let channel = server
        .new_channel_with("quickens", &["--type", "STANDARD"])
        .await;
    let _shared = MACHINE.read().await;
    let both = async {
        tokio::join!(
            watch(&channel.playback_url),
            source.publish(&server, &channel),
            last_said(&channel.playback_url, "320x180", "FRAME-RATE"),
            last_said(&channel.playback_url, "284x160", "FRAME-RATE"),
        )
    };
    let (ladder, (), top, lower) = within(60, "end of the ladder", both).await;
    let first = ladder.renditions.iter().map(|r| r.variant.frame_rate());
    let first: Vec<_> = first.map(|rate| rate.unwrap().round()).collect();
    assert_eq!((first, top, lower), (vec![50.0, 25.0], 60.0, 30.0));
    ladder.check_whole();
    ladder.check_numbers();
    // From the end of its first fast GOP on, which tells that it is fast. Where it becomes so, its B pictures are less
    // late than before, and halving begins anew with the picture behind the keyframe.
    for (rendition, every) in std::iter::zip(&ladder.renditions, [1, 2]) {
        // Not `decode`: ffmpeg's own clock has one rate for a file, and complains of two.
        let folder = tempfile::tempdir().unwrap();
        let files = rendition.watched.write(folder.path());
        let counts: Vec<_> = files.iter().map(|file| frame_count(file)).collect();
        let name = &rendition.variant.name;
        let [slow, fast] = counts[..] else {
            panic!("{name}: {counts:?}");
        };
        assert!(slow.abs_diff(360 / every) < every, "{name}: {counts:?}");
        assert_eq!(fast, 240 / every, "{name}");
    }
}

/// How many times as fast as real time the overload is sent: no processor's core encodes 480p with the
/// preset `slow` so fast.
const SPEED: u32 = 8;
/// The rung that is shed first.
const EXPENSIVE: &str = "480p30";

/// What the events of a channel tell of that rung, and of the stream's end, the first one first.
async fn story(server: &TestServer, channel: &Channel) -> Vec<String> {
    let events = server.events(channel).await.into_iter();
    let told = events
        .filter(|event| event["rendition"] == EXPENSIVE || event["event_name"] == "Stream End");
    told.map(|event| event["event_name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shed_stays_so_when_the_source_becomes_another_one() {
    let _alone = MACHINE.write().await;
    let server = TestServer::start_with(&[
        ("WEIR__TRANSCODE__PRESET", "slow"),
        ("WEIR__TRANSCODE__MAX_LAG_MS", "200"),
        // It comes eight times as fast as it plays.
        ("WEIR__LIVE__ENFORCE_LIMITS", "false"),
    ])
    .await;
    let channel = server
        .new_channel_with("remembers", &["--type", "STANDARD"])
        .await;
    let large = || recording("ladder_720p30.flv");
    let mut source = (1..9).fold(large(), |all, _| all.then(large()));
    // Long enough to be seen live.
    source = (0..4).fold(source, |all, _| all.then(recording("fps30_480p.flv")));
    for tag in &mut source.tags {
        tag.send_ms /= SPEED;
    }
    let source = Source::Edited(source);
    let changed = eventually(60, "picture of another size", || async {
        let live = server.live(&channel).await?;
        (live["height"] == 480).then(|| live["shedRenditions"].clone())
    });
    let all = async { tokio::join!(source.publish(&server, &channel), changed) };
    let ((), shed) = within(90, "end of the overload", all).await;
    let shed = shed.as_array().unwrap();
    assert!(shed.contains(&Value::from(EXPENSIVE)), "{shed:?}");
    let told = eventually(10, "end of the stream", || async {
        let told = story(&server, &channel).await;
        told.contains(&"Stream End".to_owned()).then_some(told)
    });
    let told = told.await;
    assert_eq!(told, ["Rendition Shed", "Rendition Restored", "Stream End"]);
}
