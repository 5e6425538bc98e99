//! Scenes: a channel, what is published to it, and what must come out of that in every rendition.

use std::ops::Range;
use std::path::PathBuf;

use super::super::clips::{clip, frame_count};
use super::super::flv::Recording;
use super::super::publisher::Publisher;
use super::super::rtmp_client;
use super::super::server::{Channel, TestServer};
use super::super::{MACHINE, within};
use super::{Ladder, Rendition, watch};

/// Sound and picture may be this far apart (EBU R37 allows 40 ms of early sound).
const MAX_OFFSET_MS: f64 = 40.0;

/// Who sends what.
pub(crate) enum Source {
    /// ffmpeg, a file.
    File(PathBuf),
    /// An encoder that does what no muxer would.
    Edited(Recording),
}

/// How many pictures each rendition must show; half as many at half the frame rate.
pub(crate) enum Frames {
    /// Those of the source.
    All,
    /// At a constant rate for this long: those of the source, or copies of them.
    Seconds(f64),
    /// At least so many: what a pause is filled with is not asked here.
    AtLeast(u64),
}

pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) options: &'static [&'static str],
    pub(crate) source: Source,
    /// Heights of the renditions; 0 is audio only.
    pub(crate) heights: &'static [u32],
    pub(crate) frames: Frames,
    pub(crate) discontinuities: usize,
}

/// A STANDARD channel's stream without a break.
pub(crate) fn scene(
    name: &'static str,
    source: Source,
    heights: &'static [u32],
    frames: Frames,
) -> Scene {
    Scene {
        name,
        options: &["--type", "STANDARD"],
        source,
        heights,
        frames,
        discontinuities: 0,
    }
}

pub(crate) fn file(name: &str) -> Source {
    Source::File(clip(name))
}

pub(crate) fn recording(name: &str) -> Recording {
    Recording::read(&clip(name))
}

impl Source {
    fn frames(&self) -> u64 {
        match self {
            Self::File(path) => frame_count(path),
            Self::Edited(recording) => recording.pictures(),
        }
    }

    /// How long it is sent, rounded down.
    pub(crate) fn seconds(&self) -> u64 {
        let last_ms = match self {
            Self::File(path) => Recording::read(path).last_ms(),
            Self::Edited(recording) => recording.last_ms(),
        };
        u64::from(last_ms) / 1000
    }

    /// Sends all of it in real time, and unpublishes.
    pub(crate) async fn publish(&self, server: &TestServer, channel: &Channel) {
        match self {
            Self::File(path) => {
                let words = Publisher::once(path, &channel.ingest_url).ended().await;
                assert_eq!(words, "");
            }
            Self::Edited(recording) => {
                let publisher =
                    rtmp_client::Publisher::connect(server.rtmp, "app", &channel.stream_key);
                let published = recording.publish(publisher.await.unwrap()).await;
                published.unwrap_or_else(|error| panic!("{error}: {}", server.log()));
            }
        }
    }
}

/// Plays a scene to its end and checks what holds for all of them.
pub(crate) async fn play(server: &TestServer, scene: &Scene) -> Ladder {
    let _shared = MACHINE.read().await;
    play_now(server, scene).await
}

async fn play_now(server: &TestServer, scene: &Scene) -> Ladder {
    let name = scene.name;
    let channel = server.new_channel_with(name, scene.options).await;
    let url = format!("{}?allow_audio_only=true", channel.playback_url);
    let url = if scene.heights.contains(&0) {
        &url
    } else {
        &channel.playback_url
    };
    let both = async { tokio::join!(watch(url), scene.source.publish(server, &channel)) };
    let (ladder, ()) = within(90, "end of the ladder", both).await;
    assert_eq!(
        heights(&ladder),
        scene.heights,
        "{name}: {:?}",
        ladder.names()
    );
    ladder.check_whole();
    ladder.check_grid();
    ladder.check_declared();
    let breaks = ladder
        .renditions
        .iter()
        .map(|rendition| rendition.watched.discontinuities.len());
    let breaks: Vec<_> = breaks.collect();
    assert!(
        breaks.iter().all(|count| *count == scene.discontinuities),
        "{name}: discontinuities {breaks:?}"
    );
    check_frames(scene, &ladder);
    ladder
}

/// Every frame, in every rendition.
pub(crate) fn check_frames(scene: &Scene, ladder: &Ladder) {
    let top = ladder
        .renditions
        .iter()
        .filter_map(|rendition| rendition.variant.frame_rate());
    let top = top.fold(0.0, f64::max);
    for rendition in &ladder.renditions {
        let decoded = rendition.decode();
        let Some((width, height)) = rendition.variant.resolution() else {
            continue;
        };
        assert!(
            width % 2 == 0 && height % 2 == 0,
            "{}: {width}x{height}",
            scene.name
        );
        let (frames, rate) = (
            decoded.frames(),
            rendition.variant.frame_rate().unwrap_or(top),
        );
        let every = if rate < 0.75 * top { 2 } else { 1 };
        let what = format!(
            "{} in {}: {frames} frames",
            rendition.variant.name, scene.name
        );
        // Halving begins anew with each segment.
        let slack = if every == 1 {
            0
        } else {
            rendition.watched.segments.len() as u64
        };
        match scene.frames {
            Frames::All => assert!(
                frames.abs_diff(scene.source.frames() / every) <= slack,
                "{what}"
            ),
            Frames::AtLeast(wanted) => assert!(frames + slack >= wanted / every, "{what}"),
            Frames::Seconds(seconds) => {
                #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
                let off = frames as f64 - seconds * rate;
                assert!(
                    off.abs() <= 2.0,
                    "{what}, {off:+.1} from {seconds} s at {rate} fps"
                );
            }
        }
    }
}

/// Sound and picture belong together in every rendition that has both, but in `silence`, in milliseconds.
pub(crate) fn check_sync(scene: &Scene, ladder: &Ladder, silence: &Range<f64>) {
    let has_picture = |rendition: &&Rendition| rendition.variant.resolution().is_some();
    for rendition in ladder.renditions.iter().filter(has_picture) {
        let worst = rendition.decode().worst_offset_ms(silence);
        let name = &rendition.variant.name;
        assert!(
            worst <= MAX_OFFSET_MS,
            "{name} in {}: {worst:.0} ms",
            scene.name
        );
    }
}

/// The largest first: the playlist begins with the default pick.
pub(crate) fn heights(ladder: &Ladder) -> Vec<u32> {
    let resolutions = ladder
        .renditions
        .iter()
        .map(|rendition| rendition.variant.resolution());
    let heights = resolutions.map(|resolution| resolution.map_or(0, |(_, height)| height));
    let mut heights: Vec<_> = heights.collect();
    heights.sort_unstable_by(|a, b| b.cmp(a));
    heights
}

/// One after the other: an encoder that shares this machine with ten more would be shed.
pub(crate) async fn play_all(scenes: &[Scene]) -> Vec<Ladder> {
    let server = TestServer::start().await;
    let mut ladders = Vec::new();
    for scene in scenes {
        ladders.push(play(&server, scene).await);
    }
    assert!(server.metric("weir_task_panics_total").await < 1.0);
    ladders
}

/// Plays one that needs most of this machine, while no other ladder is played.
pub(crate) async fn play_alone(scene: &Scene) -> Ladder {
    let _alone = MACHINE.write().await;
    let server = TestServer::start().await;
    let ladder = play_now(&server, scene).await;
    assert!(server.metric("weir_task_panics_total").await < 1.0);
    ladder
}
