//! What an encoder may send at most, as the channel's type has it.
//!
//! In:  the picture's size, the sustained bitrate. Out: a [`Breach`], which ends the publish: an event for
//! programs, words for the streamer. Pure.
//! Read: the limits of IVS's ingest: 8.5 Mb/s; on BASIC channels 3.5, and 1.5 up to 480p; 1920 pixels on
//! each edge and 2.1 million in all; with several tracks of pictures also what the channel's `maximumResolution` says.
//! A bitrate is judged over ten seconds of the wall's or the stream's time, whichever is longer, and may
//! be a tenth above the limit: neither a keyframe nor catching up after a stall ends a stream. Media that
//! comes faster than it plays is no excuse for long (`health::rules`).

use super::Config;
use super::health::mbps;
use crate::events::{IngestLimit, Kind};
use crate::model::Channel;
use crate::model::channel::{ChannelType, MaximumResolution};

/// The shorter edge of the largest picture that counts as SD.
const SD_LINES: u16 = 480;
/// Most pixels on an edge and in all of IVS's resolution classes for several tracks.
const SD_EDGE: u64 = 864;
const SD_PIXELS: u64 = 864 * 480;
const HD_EDGE: u64 = 1280;
const HD_PIXELS: u64 = 1280 * 720;
/// Parts of ten by which a bitrate may be above its limit before the stream ends.
const TOLERANCE_TENTHS: u64 = 1;

/// The limits of one publisher.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    config: Config,
    channel_type: ChannelType,
    /// Of channels that take several tracks of pictures.
    maximum_resolution: Option<MaximumResolution>,
    has_tracks: bool,
    /// The picture's size, once it is known.
    size: Option<(u16, u16)>,
}

/// More than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breach {
    limit: IngestLimit,
    limit_value: u64,
    value: u64,
    size: Option<(u16, u16)>,
}

impl Limits {
    /// The limits of `channel` on this server.
    pub(super) fn new(config: &Config, channel: &Channel) -> Self {
        Self {
            config: config.clone(),
            channel_type: channel.channel_type,
            maximum_resolution: channel.multitrack.and_then(|it| it.maximum_resolution),
            has_tracks: false,
            size: None,
        }
    }

    /// Whether a breach ends the publish.
    pub(super) fn is_enforced(&self) -> bool {
        self.config.enforce_limits
    }

    /// The picture's size is known, or another now.
    pub(super) fn set_size(&mut self, width: u16, height: u16) -> Option<Breach> {
        self.size = Some((width, height));
        self.oversize()
    }

    /// Several tracks of pictures come, of which this one is the largest.
    pub(super) fn set_tracks(&mut self) -> Option<Breach> {
        self.has_tracks = true;
        self.oversize()
    }

    /// Most pixels on an edge, and in all.
    fn max_pixels(&self) -> (u64, u64) {
        let (edge, total) = match self.maximum_resolution.filter(|_| self.has_tracks) {
            Some(MaximumResolution::Sd) => (SD_EDGE, SD_PIXELS),
            Some(MaximumResolution::Hd) => (HD_EDGE, HD_PIXELS),
            Some(MaximumResolution::FullHd) | None => (u64::MAX, u64::MAX),
        };
        (
            self.config.max_edge_pixels.min(edge),
            self.config.max_total_pixels.min(total),
        )
    }

    /// Judges the picture's size.
    pub(super) fn oversize(&self) -> Option<Breach> {
        let (width, height) = self.size?;
        let (max_edge, max_total) = self.max_pixels();
        let edge = u64::from(width.max(height));
        let total = u64::from(width) * u64::from(height);
        let breach = |limit, limit_value, value| {
            (value > limit_value).then_some(Breach {
                limit,
                limit_value,
                value,
                size: self.size,
            })
        };
        let by_total = breach(IngestLimit::TotalPixels, max_total, total);
        by_total.or_else(|| breach(IngestLimit::PixelsPerEdge, max_edge, edge))
    }

    /// Most bits per second of both tracks.
    pub(super) fn max_bps(&self) -> u64 {
        let is_sd = |(width, height): (u16, u16)| width.min(height) <= SD_LINES;
        let kbps = match self.channel_type {
            ChannelType::Basic if self.size.is_some_and(is_sd) => {
                self.config.max_basic_sd_bitrate_kbps
            }
            ChannelType::Basic => self.config.max_basic_bitrate_kbps,
            ChannelType::Standard | ChannelType::AdvancedSd | ChannelType::AdvancedHd => {
                self.config.max_bitrate_kbps
            }
        };
        kbps.saturating_mul(1000)
    }

    /// Judges a sustained bitrate.
    pub(super) fn bitrate(&self, bps: u64) -> Option<Breach> {
        let limit_value = self.max_bps();
        let tolerated = limit_value.saturating_add(limit_value / 10 * TOLERANCE_TENTHS);
        (bps > tolerated).then_some(Breach {
            limit: IngestLimit::Bitrate,
            limit_value,
            value: bps,
            size: self.size,
        })
    }
}

impl Breach {
    /// For programs.
    pub(super) fn event(&self) -> Kind {
        Kind::LimitBreach {
            limit: self.limit,
            limit_value: self.limit_value,
            exceeded_by: self.value - self.limit_value,
        }
    }

    /// For the streamer, with the remedy.
    pub(super) fn words(&self) -> String {
        let (width, height) = self.size.unwrap_or_default();
        // Smaller limits are a channel's `maximumResolution` only.
        let most = match self.limit_value {
            SD_EDGE | SD_PIXELS => "854x480",
            HD_EDGE | HD_PIXELS => "1280x720",
            _ => "1920x1080",
        };
        match self.limit {
            IngestLimit::Bitrate => format!(
                "{} Mb/s are above this channel's limit of {}; set a lower bitrate (OBS: Settings, \
                 Output)",
                mbps(self.value),
                mbps(self.limit_value)
            ),
            IngestLimit::TotalPixels => format!(
                "the picture of {width}x{height} has more than {} pixels; set {most} or less \
                 (OBS: Settings, Video, Output Resolution)",
                self.limit_value
            ),
            IngestLimit::PixelsPerEdge => format!(
                "the picture of {width}x{height} has more than {} pixels on an edge; set {most} \
                 or less (OBS: Settings, Video, Output Resolution)",
                self.limit_value
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::WallTime;
    use crate::model::channel::Settings;

    fn limits(channel_type: ChannelType) -> Limits {
        let settings = Settings {
            channel_type: Some(channel_type),
            ..Settings::default()
        };
        let channel = Channel::create(&settings, WallTime(0)).unwrap();
        Limits::new(&Config::default(), &channel)
    }

    #[test]
    fn pictures_up_to_full_hd_pass_whichever_way_they_stand() {
        for (width, height, breach) in [
            (1920, 1080, None),
            (1080, 1920, None),
            (1920, 1088, None),
            (1440, 1440, None),
            (
                3840,
                2160,
                Some((IngestLimit::TotalPixels, 2_100_000, 6_194_400)),
            ),
            (
                1920,
                1200,
                Some((IngestLimit::TotalPixels, 2_100_000, 204_000)),
            ),
            (2560, 720, Some((IngestLimit::PixelsPerEdge, 1920, 640))),
            (720, 1921, Some((IngestLimit::PixelsPerEdge, 1920, 1))),
        ] {
            let mut limits = limits(ChannelType::Standard);
            let found = limits.set_size(width, height).map(|breach| breach.event());
            let expected = breach.map(|(limit, limit_value, exceeded_by)| Kind::LimitBreach {
                limit,
                limit_value,
                exceeded_by,
            });
            assert_eq!(found, expected, "{width}x{height}");
        }
    }

    #[test]
    fn several_tracks_are_as_large_as_the_channel_says_and_one_alone_as_any() {
        for (maximum, largest, above, words) in [
            (
                MaximumResolution::Sd,
                (854, 480),
                (1280, 480),
                "set 854x480",
            ),
            (MaximumResolution::Sd, (480, 854), (860, 860), "set 854x480"),
            (
                MaximumResolution::Hd,
                (720, 1280),
                (1920, 480),
                "set 1280x720",
            ),
            (
                MaximumResolution::Hd,
                (1280, 720),
                (1920, 1080),
                "set 1280x720",
            ),
            (
                MaximumResolution::FullHd,
                (1920, 1080),
                (1920, 1200),
                "set 1920x1080",
            ),
        ] {
            let mut limits = limits(ChannelType::Standard);
            limits.maximum_resolution = Some(maximum);
            assert_eq!(limits.set_size(1920, 1080), None, "one track");
            limits.set_size(largest.0, largest.1);
            assert_eq!(limits.set_tracks(), None, "{largest:?}");
            let breach = limits.set_size(above.0, above.1).unwrap();
            assert!(breach.words().contains(words), "{}", breach.words());
            assert!(limits.set_tracks().is_some(), "known before the tracks");
        }
    }

    #[test]
    fn the_bitrate_limit_is_the_types_and_for_basic_the_sizes() {
        // Limits in kb/s by type: at 360p, at 720p, before the size is known.
        for (channel_type, expected) in [
            (ChannelType::Standard, [8500, 8500, 8500]),
            (ChannelType::AdvancedSd, [8500, 8500, 8500]),
            (ChannelType::AdvancedHd, [8500, 8500, 8500]),
            (ChannelType::Basic, [1500, 3500, 3500]),
        ] {
            let mut limits = limits(channel_type);
            let unknown = limits.max_bps();
            limits.set_size(640, 360);
            let small = limits.max_bps();
            limits.set_size(720, 1280);
            let found = [small, limits.max_bps(), unknown];
            assert_eq!(found, expected.map(|kbps| kbps * 1000), "{channel_type:?}");
        }
    }

    #[test]
    fn a_tenth_above_is_tolerated_and_the_excess_is_counted_from_the_limit() {
        let mut limits = limits(ChannelType::Basic);
        limits.set_size(854, 480);
        assert_eq!(limits.bitrate(1_650_000), None);
        let breach = limits.bitrate(1_650_001).unwrap();
        let expected = Kind::LimitBreach {
            limit: IngestLimit::Bitrate,
            limit_value: 1_500_000,
            exceeded_by: 150_001,
        };
        assert_eq!(breach.event(), expected);
        let words = "1.65 Mb/s are above this channel's limit of 1.50; set a lower bitrate (OBS: \
                     Settings, Output)";
        assert_eq!(breach.words(), words);
    }

    #[test]
    fn words_name_the_picture_and_the_remedy() {
        let words = limits(ChannelType::Standard)
            .set_size(3840, 2160)
            .unwrap()
            .words();
        assert!(
            words.contains("3840x2160") && words.contains("set 1920x1080"),
            "{words}"
        );
    }
}
