//! One stream from publish to unpublish: the conductor. Steps 6 to 8 of the walk.
//!
//! In:  publish requests and media events (`ingest`), channels (`model`).
//! Out: announced live channels (`playlist::Directory`), the status of each ([`Registry::list`]).
//! Not here: media bytes, SQL, HTTP.
//!
//! A channel that publishes is one task (`session`); it owns the channel's playlists. A publisher
//! attaches to it, is replaced in it by a newer connection, or leaves it: an explicit end closes the
//! playlists, a loss holds them for [`Config::hold_seconds`]. How its stream comes is measured each second
//! (`health`), and what is above the channel's limits ends it (`limits`).

pub mod gate;
pub mod health;
mod limits;
mod ledger;
mod known_keys;
pub mod metadata;
pub mod registry;
mod session;
mod intake;
mod start;
mod plan;
mod silence;
mod output;
pub mod measures;

pub use crate::playlist::AdBreak;
pub use gate::Admission;
pub use plan::Transcoding;
pub use registry::{Registry, State, Status};
pub use session::seats::Takeover;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::media::codec::{AudioConfig, VideoConfig};

/// What a publisher sends: one picture, and sound if there is any.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SourceConfig {
    video: Arc<VideoConfig>,
    audio: Option<Arc<AudioConfig>>,
    /// Bits per second of the sound, as it began; 0 without.
    audio_bps: u32,
    /// Whether the picture is to be turned by a quarter.
    is_turned: bool,
}

/// What a publisher sends, as a stream session tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// The encoder as it names itself.
    pub encoder: String,
    /// For example `avc1.64001f`.
    pub video_codec: String,
    /// Bits per second of both tracks, as the encoder declares them.
    pub declared_bps: Option<u64>,
    /// Sound, if there is any.
    pub audio: Option<AudioIngest>,
    /// Further tracks of pictures, by their numbers.
    pub tracks: BTreeMap<u8, TrackIngest>,
}

/// A track of pictures beside the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackIngest {
    /// For example `avc1.64001f`.
    pub codec: String,
    /// Width and height in square pixels.
    pub size: (u16, u16),
    /// Frames per 1000 seconds, if the track says it.
    pub fps_millis: Option<u32>,
}

/// What a publisher sends of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioIngest {
    /// For example `mp4a.40.2`.
    pub codec: String,
    /// Bits per second, as it began.
    pub bps: u32,
    /// Samples per second.
    pub sample_rate: u32,
    /// 1 or more.
    pub channels: u8,
}

impl SourceConfig {
    fn ingest(&self, encoder: &str, declared_bps: Option<u64>) -> Ingest {
        Ingest {
            encoder: encoder.to_owned(),
            video_codec: self.video.codec_string(),
            declared_bps,
            audio: self.audio.as_ref().map(|audio| AudioIngest {
                codec: audio.codec_string(),
                bps: self.audio_bps,
                sample_rate: audio.sample_rate(),
                channels: audio.channels(),
            }),
            tracks: BTreeMap::new(),
        }
    }

    /// Whether it can go on with the stream of `other`: the same picture size, codecs and tracks.
    fn is_like(&self, other: &Self) -> bool {
        let sound = |source: &Self| source.audio.as_ref().map(|audio| audio.kind());
        self.display_size() == other.display_size()
            && self.video.kind() == other.video.kind()
            && sound(self) == sound(other)
    }

    /// Size of the upright picture in square pixels.
    fn display_size(&self) -> (u16, u16) {
        let (width, height) = self.video.display_size();
        if self.is_turned {
            (height, width)
        } else {
            (width, height)
        }
    }
}

/// What happens around a stream.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Seconds the playlists wait for a publisher that was lost without an unpublish.
    pub hold_seconds: u64,
    /// Seconds without a picture, repeated ones included, after which a live publisher counts as lost.
    pub video_silence_seconds: u64,
    /// Seconds an ended stream's playlists and media stay fetchable.
    pub ended_seconds: u64,
    /// What becomes of a newer connection with the same stream key.
    pub takeover: Takeover,
    /// What the playlists show while no pictures come.
    pub slate: SlateMode,
    /// A picture file for the slate; empty: the stream's last picture.
    pub slate_image: PathBuf,
    /// Seconds without a picture after which a connected publisher's playlists go on without it.
    pub slate_after_seconds: u64,
    /// Seconds after which a stream is ended.
    pub max_stream_seconds: u64,
    /// Most channels on air at once.
    pub max_streams: u32,
    /// Whether more than what follows ends a publish; else it is only told.
    pub enforce_limits: bool,
    /// Most kilobits per second of both tracks.
    pub max_bitrate_kbps: u64,
    /// The same on BASIC channels.
    pub max_basic_bitrate_kbps: u64,
    /// The same on BASIC channels, for pictures whose shorter edge has at most 480 pixels.
    pub max_basic_sd_bitrate_kbps: u64,
    /// Most pixels along the picture's longer edge.
    pub max_edge_pixels: u64,
    /// Most pixels in all.
    pub max_total_pixels: u64,
}

/// What the playlists show while no pictures come.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SlateMode {
    /// A still picture with silence, while somebody watches; else gaps.
    #[default]
    Picture,
    /// EXT-X-GAP.
    Gap,
    /// Nothing: they stand still.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hold_seconds: 30,
            video_silence_seconds: 10,
            ended_seconds: 90,
            takeover: Takeover::default(),
            slate: SlateMode::default(),
            slate_image: PathBuf::new(),
            slate_after_seconds: 3,
            max_stream_seconds: 48 * 3600,
            max_streams: 100,
            enforce_limits: true,
            max_bitrate_kbps: 8_500,
            max_basic_bitrate_kbps: 3_500,
            max_basic_sd_bitrate_kbps: 1_500,
            max_edge_pixels: 1_920,
            max_total_pixels: 2_100_000,
        }
    }
}

impl Config {
    /// Refuses what would hold a channel for ever or not at all; the key and the problem.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let within = |key, value, range: std::ops::RangeInclusive<u64>| {
            let problem = || format!("it must be {} to {}", range.start(), range.end());
            range
                .contains(&value)
                .then_some(())
                .ok_or_else(|| (key, problem()))
        };
        within("live.hold_seconds", self.hold_seconds, 0..=86_400)?;
        within(
            "live.video_silence_seconds",
            self.video_silence_seconds,
            1..=3_600,
        )?;
        within("live.ended_seconds", self.ended_seconds, 0..=86_400)?;
        within(
            "live.slate_after_seconds",
            self.slate_after_seconds,
            1..=3_600,
        )?;
        within(
            "live.max_stream_seconds",
            self.max_stream_seconds,
            1..=31_536_000,
        )?;
        let limits = [
            ("live.max_bitrate_kbps", self.max_bitrate_kbps),
            ("live.max_basic_bitrate_kbps", self.max_basic_bitrate_kbps),
            (
                "live.max_basic_sd_bitrate_kbps",
                self.max_basic_sd_bitrate_kbps,
            ),
            ("live.max_edge_pixels", self.max_edge_pixels),
            ("live.max_total_pixels", self.max_total_pixels),
        ];
        limits
            .into_iter()
            .try_for_each(|(key, limit)| within(key, limit, 1..=1_000_000_000))
    }
}
