//! The metrics of IVS that this server can know, and whose they are.

use std::fmt;

use crate::live::health::Summary;

/// A metric, as CloudWatch names it in the namespace AWS/IVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Streams now.
    ConcurrentStreams,
    /// Viewers now.
    ConcurrentViews,
    /// Bits of sound per second, as they come.
    IngestAudioBitrate,
    /// Bits of both tracks.
    IngestBitrate,
    /// Pictures per second.
    IngestFramerate,
    /// Bits of pictures.
    IngestVideoBitrate,
    /// From one keyframe to the next.
    KeyframeInterval,
    /// Time that was watched, by all viewers together.
    LiveDeliveredTime,
    /// Time that was published.
    LiveInputTime,
}

impl Metric {
    /// As CloudWatch spells it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Its unit in CloudWatch's words.
    pub fn unit(self) -> &'static str {
        match self {
            Self::ConcurrentStreams | Self::ConcurrentViews => "Count",
            Self::IngestAudioBitrate | Self::IngestBitrate | Self::IngestVideoBitrate => {
                "Bits/Second"
            }
            Self::IngestFramerate => "Count/Second",
            Self::KeyframeInterval | Self::LiveDeliveredTime | Self::LiveInputTime => "Seconds",
        }
    }

    /// Whether IVS has it for all channels together, too.
    pub(super) fn is_of_all(self) -> bool {
        !matches!(
            self,
            Self::IngestAudioBitrate | Self::IngestVideoBitrate | Self::KeyframeInterval
        )
    }
}

/// Whose metric it is: CloudWatch's dimension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// All channels together.
    All,
    /// A channel, by its id.
    Channel(String),
    /// The streams of one health.
    Health(&'static str),
}

impl Of {
    /// The streams that come like this.
    pub(super) fn health(summary: Summary) -> Self {
        Self::Health(summary.as_str())
    }

    /// Name and value of the dimension, if there is one.
    pub fn dimension(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::All => None,
            Self::Channel(id) => Some(("Channel", id)),
            Self::Health(word) => Some(("Health", word)),
        }
    }
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = self.dimension().unwrap_or_default();
        write!(f, "{name}={value}")
    }
}
