//! The ladder: which renditions a source gets.
//!
//! In:  a [`Table`] (one channel type and preset), a [`Source`]. Out: a [`Ladder`]. Pure.
//! Sizes: a rung has a box, 16:9 of its height, turned for portrait sources. It applies to sources
//! that fill the box in one dimension at least, so nothing is ever enlarged.
//! Not here: whether a source can pass (`live`), encoding.
//! Read: Amazon IVS, "Streaming Configuration", channel types; `config/ladders.toml`.

mod source;

use serde::{Deserialize, Serialize};

pub use self::source::{Source, SourceAudio};
use crate::media::codec::video::Passing;

/// Name of the rendition that has the source's own size: passed through, or encoded.
pub const SOURCE: &str = "source";
/// Name of the rendition that passes on what only some players take, beside all others.
pub const ORIGINAL: &str = "original";
/// Name of the rendition without pictures.
pub const AUDIO_ONLY: &str = "audio_only";
/// The tables that come with the program.
const DEFAULT_TABLES: &str = include_str!("../../../config/ladders.toml");
/// Sources above this have their frames halved for rungs of 30 frames a second; in millihertz.
const HALVED_ABOVE: u32 = 31_000;
/// What the boxes of a rendition take: some 500 bytes a part.
const CONTAINER_BPS: u64 = 12_000;

/// The ladders of all channel types.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ladders {
    basic: Table,
    standard: Table,
    advanced_sd_higher: Table,
    advanced_sd_constrained: Table,
    advanced_hd_higher: Table,
    advanced_hd_constrained: Table,
    /// What a top rendition of the source's own size is encoded at: by size, the largest first.
    source_rates: Vec<SourceRate>,
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "channel types and presets of Amazon IVS")]
pub enum LadderKind {
    Basic,
    Standard,
    AdvancedSdHigher,
    AdvancedSdConstrained,
    AdvancedHdHigher,
    AdvancedHdConstrained,
}

/// The ladder of one channel type and preset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Whether a source that can be is passed through.
    passes_source: bool,
    /// Whether sources larger than the highest rung have a rendition of their own size.
    #[serde(default)]
    has_source_above: bool,
    /// Of an encoded rendition in the source's size, if `source_rates` is not to be asked.
    #[serde(default)]
    source_kbps: u32,
    /// Sound of renditions in the source's size that has to be encoded.
    audio_kbps: u32,
    /// Sound alone.
    audio_only_kbps: u32,
    /// Whether sound alone is listed without being asked for, and always encoded.
    #[serde(default)]
    lists_audio_only: bool,
    /// The highest first.
    #[serde(default)]
    rungs: Vec<TableRung>,
    #[serde(skip)]
    source_rates: Vec<SourceRate>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TableRung {
    /// Lines of a landscape picture.
    height: u16,
    /// Fastest rate: 30 or 60.
    max_fps: u32,
    /// At more than 31 frames a second.
    #[serde(default)]
    fast_kbps: u32,
    kbps: u32,
    /// 0: the source's sound if that can pass, else as `audio_kbps` of the table.
    #[serde(default)]
    audio_kbps: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SourceRate {
    height: u16,
    kbps: u32,
    fast_kbps: u32,
}

/// The renditions of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// The highest first, sound alone last.
    pub rungs: Vec<Rung>,
}

/// One rendition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Its name and folder: `720p30`, [`SOURCE`], [`AUDIO_ONLY`].
    pub name: String,
    /// Its picture.
    pub video: RungVideo,
    /// Its sound.
    pub audio: RungAudio,
    /// Bits per second of its sound.
    pub audio_bps: u32,
    /// Whether the multivariant playlist has it for everybody.
    pub is_listed_always: bool,
}

/// Where a rendition's picture comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RungVideo {
    /// The source's own.
    Source,
    /// Encoded.
    Encode {
        /// Pixels, even.
        width: u16,
        /// Pixels, even.
        height: u16,
        /// Every frame, or every second one.
        every: u32,
        /// Frames in 1000 seconds.
        fps_millis: u32,
        /// On average, and at most over a second.
        bitrate_bps: u32,
    },
    /// None for now, but its playlists have been there before: they have gaps.
    Missing,
    /// There is none.
    None,
}

/// Where a rendition's sound comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RungAudio {
    /// The source's own.
    Source,
    /// Encoded.
    Encode {
        /// All channels together.
        bitrate_bps: u32,
    },
    /// There is none.
    None,
}

impl Default for Ladders {
    fn default() -> Self {
        Self::parse(DEFAULT_TABLES).expect("the tables that come with the program are whole")
    }
}

impl Ladders {
    /// Reads tables as in `config/ladders.toml`; what is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        use figment::Figment;
        use figment::providers::{Format as _, Toml};
        let read = Figment::from(Toml::string(text)).extract::<Self>();
        let mut ladders = read.map_err(|error| error.to_string())?;
        let rates = ladders.source_rates.clone();
        if rates.is_empty() {
            return Err("source_rates is empty".to_owned());
        }
        for table in ladders.tables_mut() {
            table.source_rates.clone_from(&rates);
            table.validate()?;
        }
        Ok(ladders)
    }

    /// The table of a channel type and preset.
    pub fn table(&self, kind: LadderKind) -> &Table {
        match kind {
            LadderKind::Basic => &self.basic,
            LadderKind::Standard => &self.standard,
            LadderKind::AdvancedSdHigher => &self.advanced_sd_higher,
            LadderKind::AdvancedSdConstrained => &self.advanced_sd_constrained,
            LadderKind::AdvancedHdHigher => &self.advanced_hd_higher,
            LadderKind::AdvancedHdConstrained => &self.advanced_hd_constrained,
        }
    }

    fn tables_mut(&mut self) -> [&mut Table; 6] {
        [
            &mut self.basic,
            &mut self.standard,
            &mut self.advanced_sd_higher,
            &mut self.advanced_sd_constrained,
            &mut self.advanced_hd_higher,
            &mut self.advanced_hd_constrained,
        ]
    }
}

impl Table {
    /// Whether sound alone is listed for everybody.
    pub fn lists_audio_only(&self) -> bool {
        self.lists_audio_only
    }

    fn validate(&self) -> Result<(), String> {
        let is_falling = self
            .rungs
            .windows(2)
            .all(|pair| pair[0].height > pair[1].height);
        if !is_falling {
            return Err("rungs must go down in height".to_owned());
        }
        let is_sound = |kbps: u32| (16..=512).contains(&kbps);
        let is_picture = |kbps: u32| (50..=50_000).contains(&kbps);
        if !is_sound(self.audio_kbps) || !is_sound(self.audio_only_kbps) {
            return Err("audio_kbps and audio_only_kbps must be 16 to 512".to_owned());
        }
        let of_sources = self.source_rates.iter().map(|rate| rate.kbps);
        let own = (self.source_kbps > 0).then_some(self.source_kbps);
        if !of_sources.chain(own).all(is_picture) {
            return Err("kbps of sources must be 50 to 50000".to_owned());
        }
        let is_rung = |rung: &TableRung| {
            (90..=2160).contains(&rung.height)
                && matches!(rung.max_fps, 30 | 60)
                && is_picture(rung.kbps)
                && rung.fast_kbps <= 50_000
                && (rung.audio_kbps == 0 || is_sound(rung.audio_kbps))
        };
        match self.rungs.iter().find(|rung| !is_rung(rung)) {
            Some(rung) => Err(format!(
                "rung of height {}: a number is out of range",
                rung.height
            )),
            None if self.rungs.len() > 12 => Err("at most 12 rungs".to_owned()),
            None => Ok(()),
        }
    }

    /// The rungs that a source is large enough for.
    fn applicable(&self, source: &Source) -> impl Iterator<Item = &TableRung> {
        let covers = |rung: &&TableRung| {
            let (long, short) = source.edges();
            short >= u32::from(rung.height) || long * 9 >= u32::from(rung.height) * 16
        };
        self.rungs.iter().filter(covers)
    }
}

impl Ladder {
    /// The renditions of a source.
    pub fn plan(table: &Table, source: &Source) -> Self {
        let (own_width, own_height) = source.own_size();
        let encoded: Vec<_> = table
            .applicable(source)
            .map(|rung| encoded(table, rung, source))
            .collect();
        let is_own_size = |rung: &Rung| match rung.video {
            RungVideo::Encode { width, height, .. } => (width, height) == (own_width, own_height),
            _ => false,
        };
        let top = table.rungs.first();
        let is_above = top.is_none_or(|top| source.exceeds(top.height))
            && (table.has_source_above || table.rungs.is_empty());
        let is_between = encoded.is_empty() || is_above;
        let replaces = table.passes_source
            && source.passing == Passing::Alone
            && (is_between
                || encoded.first().is_some_and(is_own_size)
                || table.is_below_all(source));
        let stands_beside = table.passes_source && source.passing == Passing::Beside;
        let mut rungs = encoded;
        if replaces {
            rungs.retain(|rung| !is_own_size(rung));
            rungs.insert(0, passed(table, source));
        } else if is_between
            || table.is_below_all(source)
            || table.takes_own_size(source)
            || (stands_beside && !rungs.iter().any(is_own_size))
        {
            rungs.retain(|rung| !is_own_size(rung));
            rungs.insert(0, own(table, source));
        }
        if stands_beside {
            rungs.push(original(table, source));
        }
        rungs.extend(audio_only(table, source));
        Self { rungs }
    }

    /// The same renditions, by name, for a source of another kind: a publisher that returns while
    /// its playlists wait. None is larger than the new source.
    #[must_use]
    pub fn refit(&self, table: &Table, source: &Source) -> Self {
        let rungs = self.rungs.iter().map(|known| {
            if known.name == AUDIO_ONLY {
                let planned = audio_only(table, source);
                return planned.unwrap_or_else(|| without_sound(known));
            }
            if known.name == ORIGINAL {
                return match source.passing {
                    Passing::Beside if table.passes_source => original(table, source),
                    _ => missing(known),
                };
            }
            let by_name = table.rungs.iter().find(|rung| {
                known.name.split('p').next() == Some(rung.height.to_string().as_str())
            });
            let rung = match by_name {
                Some(rung) => encoded(table, rung, source),
                None if table.passes_source && source.passing == Passing::Alone => {
                    passed(table, source)
                }
                None => own(table, source),
            };
            Rung {
                name: known.name.clone(),
                ..rung
            }
        });
        Self {
            rungs: rungs.collect(),
        }
    }
}

impl Table {
    /// Whether the source is smaller than 480 lines, where it has a rendition of its own size.
    fn is_below_all(&self, source: &Source) -> bool {
        let (long, short) = source.edges();
        self.passes_source && short < 480 && long * 9 < 480 * 16
    }

    /// Whether a source between two rungs is encoded at its own size (`source_kbps` says so).
    fn takes_own_size(&self, source: &Source) -> bool {
        let (long, short) = source.edges();
        let is_small = short < 720 && long * 9 < 720 * 16;
        self.source_kbps > 0 && short > 480 && is_small
    }
}

impl Rung {
    /// Most bits per second over any second or so, container included.
    pub fn max_bandwidth_bps(&self) -> u64 {
        // Encoders keep to their rate over a second at most on average.
        self.average_bandwidth_bps() * 23 / 20
    }

    /// Bits per second in the long run, container included.
    pub fn average_bandwidth_bps(&self) -> u64 {
        let video = match self.video {
            RungVideo::Encode { bitrate_bps, .. } => bitrate_bps,
            _ => 0,
        };
        u64::from(video) + u64::from(self.audio_bps) + CONTAINER_BPS
    }
}

/// Sound for a rendition, and its rate: the source's if `kbps` is 0 and it can pass.
fn audio(table: &Table, kbps: u32, source: &Source) -> (RungAudio, u32) {
    let encode = |kbps: u32| {
        let bitrate_bps = kbps * 1000;
        (RungAudio::Encode { bitrate_bps }, bitrate_bps)
    };
    match (&source.audio, kbps) {
        (None, _) => (RungAudio::None, 0),
        (Some(audio), 0) if audio.is_passable => (RungAudio::Source, audio.passed_bps()),
        (Some(_), 0) => encode(table.audio_kbps),
        (Some(_), kbps) => encode(kbps),
    }
}

/// Sound for a rendition of the source's size.
fn top_audio(table: &Table, source: &Source) -> (RungAudio, u32) {
    let kbps = if table.passes_source {
        0
    } else {
        table.audio_kbps
    };
    audio(table, kbps, source)
}

fn passed(table: &Table, source: &Source) -> Rung {
    let (audio, audio_bps) = top_audio(table, source);
    Rung {
        name: SOURCE.to_owned(),
        video: RungVideo::Source,
        audio,
        audio_bps,
        is_listed_always: true,
    }
}

/// What only some players take.
fn original(table: &Table, source: &Source) -> Rung {
    Rung {
        name: ORIGINAL.to_owned(),
        ..passed(table, source)
    }
}

/// A rendition that has gaps for now.
fn missing(known: &Rung) -> Rung {
    Rung {
        video: RungVideo::Missing,
        ..without_sound(known)
    }
}

/// A rendition encoded at the source's own size.
fn own(table: &Table, source: &Source) -> Rung {
    let (width, height) = source.own_size();
    let (every, fps_millis) = source.frames(60);
    let (audio, audio_bps) = top_audio(table, source);
    Rung {
        name: SOURCE.to_owned(),
        video: RungVideo::Encode {
            width,
            height,
            every,
            fps_millis,
            bitrate_bps: source.own_bps(table),
        },
        audio,
        audio_bps,
        is_listed_always: true,
    }
}

fn encoded(table: &Table, rung: &TableRung, source: &Source) -> Rung {
    let (every, fps_millis) = source.frames(rung.max_fps);
    let is_fast = fps_millis > HALVED_ABOVE && rung.fast_kbps > 0;
    let kbps = if is_fast { rung.fast_kbps } else { rung.kbps };
    let (width, height) = source.size_in(rung.height);
    let (width, height) = (
        width.min(source.own_size().0),
        height.min(source.own_size().1),
    );
    let (audio, audio_bps) = audio(table, rung.audio_kbps, source);
    Rung {
        name: format!("{}p{}", rung.height, (fps_millis + 500) / 1000),
        video: RungVideo::Encode {
            width,
            height,
            every,
            fps_millis,
            bitrate_bps: kbps * 1000,
        },
        audio,
        audio_bps,
        is_listed_always: true,
    }
}

fn audio_only(table: &Table, source: &Source) -> Option<Rung> {
    let kbps = if table.lists_audio_only {
        table.audio_only_kbps
    } else {
        0
    };
    let (audio, audio_bps) = audio(table, kbps, source);
    source.audio.as_ref().map(|_| Rung {
        name: AUDIO_ONLY.to_owned(),
        video: RungVideo::None,
        audio,
        audio_bps,
        is_listed_always: table.lists_audio_only,
    })
}

/// A rendition that has nothing to carry.
fn without_sound(known: &Rung) -> Rung {
    Rung {
        audio: RungAudio::None,
        audio_bps: 0,
        ..known.clone()
    }
}

#[cfg(test)]
mod tests;
