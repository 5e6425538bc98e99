//! What is shown in place of the stream: ads, and a slate when the encoder is silent.
//!
//! In:  the members of `CreateAdConfiguration` and `CreateFailoverSlateConfiguration`. Out: the same with defaults.
//! Not here: inserting a break (`api`), the slate of every channel (`live`).

use serde::{Deserialize, Serialize};

use super::document::{Contents, DocumentKind};

/// Where ads come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdConfiguration {
    /// Name, not unique, possibly empty.
    #[serde(default)]
    pub name: String,
    /// The first one is the usual one.
    pub media_tailor_playback_configurations: Vec<MediaTailor>,
    /// Ads after the stream.
    #[serde(default)]
    pub post_roll_configuration: PostRoll,
}

/// Amazon's ad decision service, by the ARN of its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediaTailor {
    /// The ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playback_configuration_arn: Option<String>,
}

/// Ads after the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostRoll {
    /// How long.
    pub duration_seconds: u32,
    /// Whether.
    pub enabled: bool,
}

impl Default for PostRoll {
    fn default() -> Self {
        Self {
            duration_seconds: 15,
            enabled: false,
        }
    }
}

impl Contents for AdConfiguration {
    const KIND: DocumentKind = DocumentKind::AdConfiguration;

    fn check(&self) -> Result<(), (&'static str, String)> {
        Ok(())
    }
}

/// When a slate takes the picture's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverSlateConfiguration {
    /// Name, not unique, possibly empty.
    pub name: String,
    /// After so long without pictures.
    pub activation_threshold_seconds: u32,
    /// So long at least.
    pub min_slate_display_seconds: u32,
    /// So long at most.
    pub max_slate_display_seconds: u32,
}

impl Default for FailoverSlateConfiguration {
    fn default() -> Self {
        Self {
            name: String::new(),
            activation_threshold_seconds: 3,
            min_slate_display_seconds: 3,
            max_slate_display_seconds: 60,
        }
    }
}

impl Contents for FailoverSlateConfiguration {
    const KIND: DocumentKind = DocumentKind::FailoverSlateConfiguration;

    fn check(&self) -> Result<(), (&'static str, String)> {
        Ok(())
    }
}
