//! A channel and the rules its settings obey.
//!
//! In:  optional settings, as `CreateChannel`, `UpdateChannel` and the command line give them.
//! Out: a [`Channel`] that is valid, or [`Invalid`] naming the setting.
//! Standard: IVS Channel. Defaults: LOW latency, STANDARD, not authorized, TS, and the preset
//! `HIGHER_BANDWIDTH_DELIVERY` for the ADVANCED types only. `part_target_ms` is Weir's own.
//! What a channel refers to, it refers to by ARN; the caller sees to it that there is such a thing.

use serde::{Deserialize, Serialize};

use super::id::ChannelId;
use super::tags::Tags;
use super::words::words;
use crate::base::clock::WallTime;

/// Longest channel name.
const MAX_NAME_CHARS: usize = 128;
/// Part targets that a channel may ask for instead of the server's.
pub const PART_TARGETS_MS: [u32; 3] = [334, 500, 1000];

words! {
    /// What is transcoded, and up to which size.
    pub enum ChannelType as "type" {
        /// The source is passed through.
        Basic = "BASIC",
        /// Transcoded ladder up to 1080p.
        Standard = "STANDARD",
        /// Transcoded ladder up to 480p.
        AdvancedSd = "ADVANCED_SD",
        /// Transcoded ladder up to 720p.
        AdvancedHd = "ADVANCED_HD",
    }
}

words! {
    /// How far viewers are behind the encoder.
    pub enum LatencyMode as "latency mode" {
        /// Segments only.
        Normal = "NORMAL",
        /// Segments and parts: LL-HLS.
        Low = "LOW",
    }
}

words! {
    /// Bit rates of the ADVANCED types.
    pub enum Preset as "preset" {
        /// More bits per rendition.
        HigherBandwidth = "HIGHER_BANDWIDTH_DELIVERY",
        /// Fewer bits per rendition.
        ConstrainedBandwidth = "CONSTRAINED_BANDWIDTH_DELIVERY",
    }
}

words! {
    /// The container a client asked for; playback is fragmented MP4 in either case.
    pub enum ContainerFormat as "container format" {
        /// MPEG-2 transport stream.
        Ts = "TS",
        /// Fragmented MP4.
        FragmentedMp4 = "FRAGMENTED_MP4",
    }
}

words! {
    /// Whether several tracks of pictures may, or must, come.
    pub enum MultitrackPolicy as "policy" {
        /// They may.
        Allow = "ALLOW",
        /// They must.
        Require = "REQUIRE",
    }
}

words! {
    /// The largest track that may come.
    pub enum MaximumResolution as "maximumResolution" {
        /// 480 lines.
        Sd = "SD",
        /// 720 lines.
        Hd = "HD",
        /// 1080 lines.
        FullHd = "FULL_HD",
    }
}

/// Whether an encoder may send several tracks of pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Multitrack {
    /// Whether.
    pub enabled: bool,
    /// Whether it must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<MultitrackPolicy>,
    /// How large the first one may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_resolution: Option<MaximumResolution>,
}

impl ChannelType {
    /// Whether the type takes a [`Preset`].
    pub fn takes_preset(self) -> bool {
        matches!(self, Self::AdvancedSd | Self::AdvancedHd)
    }

    fn default_preset(self) -> Option<Preset> {
        self.takes_preset().then_some(Preset::HigherBandwidth)
    }
}

/// A channel as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Identity, the last part of the ARN.
    pub id: ChannelId,
    /// Name, not unique, possibly empty.
    pub name: String,
    /// Transcoding.
    pub channel_type: ChannelType,
    /// Latency.
    pub latency_mode: LatencyMode,
    /// Set exactly for the ADVANCED types.
    pub preset: Option<Preset>,
    /// Stored, validated and echoed.
    pub container_format: ContainerFormat,
    /// Whether playback needs a token.
    pub is_authorized: bool,
    /// Whether plain RTMP may publish where TLS is required.
    pub is_insecure_ingest: bool,
    /// Part target of this channel's streams; none: the server's.
    pub part_target_ms: Option<u32>,
    /// Several tracks of pictures; none: never asked for.
    pub multitrack: Option<Multitrack>,
    /// What it refers to.
    pub attached: Attached,
    /// What the operator wrote on it.
    pub tags: Tags,
    /// Creation.
    pub created: WallTime,
}

/// What a channel refers to, each by its ARN; empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// Where its streams are recorded.
    pub recording_configuration_arn: String,
    /// Who may watch.
    pub playback_restriction_policy_arn: String,
    /// Where its ads come from.
    pub ad_configuration_arn: String,
    /// When a slate is shown.
    pub failover_slate_configuration_arn: String,
}

impl Attached {
    /// The ARNs, and the API's names of the members.
    pub fn all(&self) -> [(&'static str, &str); 4] {
        [
            (
                "recordingConfigurationArn",
                &self.recording_configuration_arn,
            ),
            (
                "playbackRestrictionPolicyArn",
                &self.playback_restriction_policy_arn,
            ),
            ("adConfigurationArn", &self.ad_configuration_arn),
            (
                "failoverSlateConfigurationArn",
                &self.failover_slate_configuration_arn,
            ),
        ]
    }
}

/// Settings given by a caller, in the API's names: absent means the default at creation, unchanged at an update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// New name.
    pub name: Option<String>,
    /// New type.
    #[serde(rename = "type")]
    pub channel_type: Option<ChannelType>,
    /// New latency mode.
    pub latency_mode: Option<LatencyMode>,
    /// New preset, for the ADVANCED types.
    pub preset: Option<Preset>,
    /// New container format.
    pub container_format: Option<ContainerFormat>,
    /// Whether playback needs a token.
    #[serde(rename = "authorized")]
    pub is_authorized: Option<bool>,
    /// Whether plain RTMP may publish.
    #[serde(rename = "insecureIngest")]
    pub is_insecure_ingest: Option<bool>,
    /// One of [`PART_TARGETS_MS`], or 0 for the server's own; no member of the IVS API.
    #[serde(skip)]
    pub part_target_ms: Option<u32>,
    /// Several tracks of pictures.
    #[serde(rename = "multitrackInputConfiguration")]
    pub multitrack: Option<Multitrack>,
    /// An ARN, or empty for none; as the three that follow.
    pub recording_configuration_arn: Option<String>,
    /// An ARN.
    pub playback_restriction_policy_arn: Option<String>,
    /// An ARN.
    pub ad_configuration_arn: Option<String>,
    /// An ARN.
    pub failover_slate_configuration_arn: Option<String>,
}

impl Channel {
    /// A new channel with a random id.
    pub fn create(settings: &Settings, now: WallTime) -> Result<Self, Invalid> {
        let blank = Self {
            id: ChannelId::random(),
            name: String::new(),
            channel_type: ChannelType::Standard,
            latency_mode: LatencyMode::Low,
            preset: None,
            container_format: ContainerFormat::Ts,
            is_authorized: false,
            is_insecure_ingest: false,
            part_target_ms: None,
            multitrack: None,
            attached: Attached::default(),
            tags: Tags::new(),
            created: now,
        };
        blank.update(settings)
    }

    /// This channel with `settings` applied. A preset survives a change between two types that
    /// take one and is dropped otherwise.
    pub fn update(&self, settings: &Settings) -> Result<Self, Invalid> {
        let channel_type = settings.channel_type.unwrap_or(self.channel_type);
        if settings.preset.is_some() && !channel_type.takes_preset() {
            return Err(Invalid::PresetNotTaken(channel_type));
        }
        let kept = self.preset.filter(|_| channel_type.takes_preset());
        let preset = settings.preset.or(kept).or(channel_type.default_preset());
        let name = settings.name.clone().unwrap_or_else(|| self.name.clone());
        check_name(&name)?;
        let updated = Self {
            id: self.id.clone(),
            name,
            channel_type,
            latency_mode: settings.latency_mode.unwrap_or(self.latency_mode),
            preset,
            container_format: settings.container_format.unwrap_or(self.container_format),
            is_authorized: settings.is_authorized.unwrap_or(self.is_authorized),
            is_insecure_ingest: settings
                .is_insecure_ingest
                .unwrap_or(self.is_insecure_ingest),
            part_target_ms: match settings.part_target_ms {
                None => self.part_target_ms,
                Some(asked) => part_target(asked)?,
            },
            multitrack: settings.multitrack.or(self.multitrack),
            attached: self.attached.update(settings),
            tags: self.tags.clone(),
            created: self.created,
        };
        updated.check_container()?;
        Ok(updated)
    }

    /// The rules that join the container with what is sent and shown in it.
    fn check_container(&self) -> Result<(), Invalid> {
        let is_fragmented = self.container_format == ContainerFormat::FragmentedMp4;
        if is_fragmented && !self.attached.ad_configuration_arn.is_empty() {
            return Err(Invalid::AdsInFragments);
        }
        let Some(multitrack) = self.multitrack.filter(|multitrack| multitrack.enabled) else {
            return Ok(());
        };
        let is_whole = multitrack.policy.is_some() && multitrack.maximum_resolution.is_some();
        (self.channel_type == ChannelType::Standard && is_whole && is_fragmented)
            .then_some(())
            .ok_or(Invalid::Multitrack)
    }
}

impl Attached {
    fn update(&self, settings: &Settings) -> Self {
        let new = |given: &Option<String>, old: &str| given.as_deref().unwrap_or(old).to_owned();
        Self {
            recording_configuration_arn: new(
                &settings.recording_configuration_arn,
                &self.recording_configuration_arn,
            ),
            playback_restriction_policy_arn: new(
                &settings.playback_restriction_policy_arn,
                &self.playback_restriction_policy_arn,
            ),
            ad_configuration_arn: new(&settings.ad_configuration_arn, &self.ad_configuration_arn),
            failover_slate_configuration_arn: new(
                &settings.failover_slate_configuration_arn,
                &self.failover_slate_configuration_arn,
            ),
        }
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.len() <= MAX_NAME_CHARS && name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(Invalid::Name)
}

fn part_target(asked_ms: u32) -> Result<Option<u32>, Invalid> {
    match asked_ms {
        0 => Ok(None),
        ms if PART_TARGETS_MS.contains(&ms) => Ok(Some(ms)),
        ms => Err(Invalid::PartTarget(ms)),
    }
}

/// A setting that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The name's length or characters.
    #[error("name must be at most 128 characters of A-Z, a-z, 0-9, - and _")]
    Name,
    /// A preset for a type that has none.
    #[error("preset is for the types ADVANCED_SD and ADVANCED_HD, not for {0}")]
    PresetNotTaken(ChannelType),
    /// A part target that is not offered.
    #[error("part target must be 334, 500 or 1000 ms, or 0 for the server's; not {0}")]
    PartTarget(u32),
    /// Multitrack input without what it needs.
    #[error(
        "multitrackInputConfiguration.enabled needs the type STANDARD, the containerFormat FRAGMENTED_MP4, a policy and a maximumResolution"
    )]
    Multitrack,
    /// Ads in a container that has none.
    #[error("adConfigurationArn is not for the containerFormat FRAGMENTED_MP4")]
    AdsInFragments,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::default();
        change(&mut settings);
        settings
    }

    #[test]
    fn defaults_are_those_of_ivs() {
        let channel = Channel::create(&Settings::default(), WallTime(7)).unwrap();
        assert_eq!(channel.name, "");
        assert_eq!(channel.channel_type.word(), "STANDARD");
        assert_eq!(channel.latency_mode.word(), "LOW");
        assert_eq!(channel.container_format.word(), "TS");
        assert_eq!((channel.preset, channel.part_target_ms), (None, None));
        assert!(!channel.is_authorized && !channel.is_insecure_ingest);
        assert_eq!(channel.created, WallTime(7));
    }

    #[test]
    fn preset_follows_the_type() {
        use ChannelType::{AdvancedHd, AdvancedSd, Basic, Standard};
        use Preset::{ConstrainedBandwidth, HigherBandwidth};
        // (type, preset) at creation, (type, preset) of the update, preset in the end
        for (before, asked, after) in [
            ((Standard, None), (None, None), Ok(None)),
            (
                (Basic, None),
                (Some(AdvancedSd), None),
                Ok(Some(HigherBandwidth)),
            ),
            ((AdvancedHd, None), (None, None), Ok(Some(HigherBandwidth))),
            (
                (AdvancedHd, Some(ConstrainedBandwidth)),
                (Some(AdvancedSd), None),
                Ok(Some(ConstrainedBandwidth)),
            ),
            (
                (AdvancedHd, Some(ConstrainedBandwidth)),
                (Some(Standard), None),
                Ok(None),
            ),
            (
                (AdvancedSd, None),
                (None, Some(ConstrainedBandwidth)),
                Ok(Some(ConstrainedBandwidth)),
            ),
            (
                (Standard, None),
                (None, Some(HigherBandwidth)),
                Err(Invalid::PresetNotTaken(Standard)),
            ),
            (
                (AdvancedSd, None),
                (Some(Basic), Some(HigherBandwidth)),
                Err(Invalid::PresetNotTaken(Basic)),
            ),
        ] {
            let settings = |channel_type, preset| Settings {
                channel_type,
                preset,
                ..with(|_| ())
            };
            let channel = Channel::create(&settings(Some(before.0), before.1), WallTime(0));
            let updated = channel.unwrap().update(&settings(asked.0, asked.1));
            assert_eq!(updated.map(|c| c.preset), after, "{before:?} {asked:?}");
        }
    }

    #[test]
    fn names_and_part_targets_are_bounded() {
        let channel = Channel::create(&Settings::default(), WallTime(0)).unwrap();
        for (name, is_valid) in [
            ("", true),
            ("A-z_09", true),
            (&*"n".repeat(128), true),
            (&*"n".repeat(129), false),
            ("a b", false),
            ("é", false),
        ] {
            let updated = channel.update(&with(|s| s.name = Some(name.to_owned())));
            assert_eq!(updated.is_ok(), is_valid, "{name}");
        }
        let slow = channel
            .update(&with(|s| s.part_target_ms = Some(1000)))
            .unwrap();
        assert_eq!(slow.part_target_ms, Some(1000));
        assert_eq!(slow.update(&Settings::default()).unwrap(), slow);
        let reset = slow.update(&with(|s| s.part_target_ms = Some(0))).unwrap();
        assert_eq!(reset.part_target_ms, None);
        let odd = channel.update(&with(|s| s.part_target_ms = Some(250)));
        assert_eq!(odd, Err(Invalid::PartTarget(250)));
    }

    #[test]
    fn what_stands_in_a_container_needs_the_right_one() {
        use ChannelType::{Basic, Standard};
        use ContainerFormat::{FragmentedMp4, Ts};
        let multitrack = |policy| Multitrack {
            enabled: true,
            policy,
            maximum_resolution: Some(MaximumResolution::Hd),
        };
        let settings = |channel_type, container_format, multitrack, ads: &str| Settings {
            channel_type: Some(channel_type),
            container_format: Some(container_format),
            multitrack,
            ad_configuration_arn: Some(ads.to_owned()),
            ..Settings::default()
        };
        let whole = Some(multitrack(Some(MultitrackPolicy::Allow)));
        let off = Some(Multitrack::default());
        for (settings, expected) in [
            (settings(Standard, FragmentedMp4, whole, ""), Ok(())),
            (settings(Standard, Ts, whole, ""), Err(Invalid::Multitrack)),
            (
                settings(Basic, FragmentedMp4, whole, ""),
                Err(Invalid::Multitrack),
            ),
            (
                settings(Standard, FragmentedMp4, Some(multitrack(None)), ""),
                Err(Invalid::Multitrack),
            ),
            (settings(Basic, Ts, off, "arn:x"), Ok(())),
            (
                settings(Standard, FragmentedMp4, None, "arn:x"),
                Err(Invalid::AdsInFragments),
            ),
        ] {
            let made = Channel::create(&settings, WallTime(0));
            assert_eq!(made.map(drop), expected, "{settings:?}");
        }
    }

    #[test]
    fn what_is_attached_stays_until_it_is_detached() {
        let attach =
            |arn: Option<&str>| with(|s| s.recording_configuration_arn = arn.map(str::to_owned));
        let channel = Channel::create(&attach(Some("arn:x")), WallTime(0)).unwrap();
        assert_eq!(channel.attached.recording_configuration_arn, "arn:x");
        assert_eq!(channel.update(&attach(None)).unwrap(), channel);
        let detached = channel.update(&attach(Some(""))).unwrap();
        assert_eq!(detached.attached, Attached::default());
    }

    #[test]
    fn words_are_exact() {
        assert_eq!("ADVANCED_HD".parse(), Ok(ChannelType::AdvancedHd));
        let refusal = "advanced_hd".parse::<ChannelType>().unwrap_err();
        assert_eq!(
            refusal,
            "type must be one of BASIC, STANDARD, ADVANCED_SD, ADVANCED_HD"
        );
    }
}
