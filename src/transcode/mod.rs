//! Transcode: source samples become renditions. Step 9 of the walk; what libav can do here.
//!
//! In:  a [`Job`] and the source's samples. Out: [`Output`]s: H.264 and AAC samples on one grid.
//! The source is decoded once (`worker`), scaled to each rung's size (`cascade`) and encoded for each
//! (`lane`), sound is mixed once and encoded per bit rate (`audio`): all on named threads of
//! their own, never on the runtime's.
//! Not here: boxes, playlists, who publishes. `ffmpeg_next` is used in this room only, and `unsafe`
//! in `ffi` only.

mod audio;
mod cascade;
pub mod codecs;
mod decoder;
mod encoder;
mod error;
mod ffi;
mod frame_clock;
pub mod ladder;
mod lane;
mod load;
mod outlet;
mod parameter_sets;
mod placement;
mod raw_frame;
mod scaler;
pub mod slate;
mod transcoder;
mod worker;

use serde::{Deserialize, Serialize};

pub use audio::{AudioEncode, silent_frame};
pub use error::Error;
pub use frame_clock::{FrameClock, FrameRate};
pub use outlet::Products;
pub use transcoder::{Job, Output, Started, Transcoder, VideoRung};

/// Most pixels that a picture may have: what H.264 level 5.2 has room for, 4096 times 2304.
pub const MAX_PIXELS: u32 = 4096 * 2304;
/// Most pixels of its longer edge.
pub const MAX_EDGE: u16 = 4096;

/// x264's presets, the fastest first; slower ones than these cannot keep up with live video.
const PRESETS: [&str; 7] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
];

/// What is transcoded, and how.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether anything is; else sources are passed through or refused.
    pub enabled: bool,
    /// x264's preset for all rungs.
    pub preset: String,
    /// A file like `config/ladders.toml`; empty: the tables that come with the program.
    pub ladders_file: std::path::PathBuf,
    /// What becomes of a source that cannot pass on a BASIC channel.
    pub basic: Basic,
    /// When a rendition is encoded beside a source that is passed on.
    pub ladder: Mode,
    /// Seconds after its last request for which a rendition is encoded on demand.
    pub idle_rung_seconds: u64,
    /// Milliseconds that decoded pictures may lag behind their arrival before a rung is shed.
    pub max_lag_ms: u64,
}

/// What becomes of a source that cannot pass on a BASIC channel.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Basic {
    /// It is encoded at its own size.
    #[default]
    Transcode,
    /// Its publisher is turned away, with the reason.
    Refuse,
}

/// When renditions are encoded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// While a viewer asks for them, where the source is passed on; else always.
    OnDemand,
    /// For as long as there is a source.
    #[default]
    Always,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            preset: "superfast".to_owned(),
            ladders_file: std::path::PathBuf::new(),
            basic: Basic::Transcode,
            ladder: Mode::default(),
            idle_rung_seconds: 30,
            max_lag_ms: 700,
        }
    }
}

impl Config {
    /// Refuses what no encoder knows; the key and the problem.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if !PRESETS.contains(&self.preset.as_str()) {
            let problem = format!("it must be one of {}", PRESETS.join(", "));
            return Err(("transcode.preset", problem));
        }
        if !(200..=5000).contains(&self.max_lag_ms) {
            return Err(("transcode.max_lag_ms", "it must be 200 to 5000".to_owned()));
        }
        if !(5..=86_400).contains(&self.idle_rung_seconds) {
            let problem = "it must be 5 to 86400".to_owned();
            return Err(("transcode.idle_rung_seconds", problem));
        }
        Ok(())
    }
}
