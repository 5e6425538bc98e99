//! Where and how a channel's streams are recorded.
//!
//! In:  the members of `CreateRecordingConfiguration`. Out: the same with IVS's defaults.
//! Not here: recording (`recording`).

use serde::{Deserialize, Serialize};

use super::document::{Contents, DocumentKind};
use super::words::words;

words! {
    /// Whether the bucket was found.
    pub enum State as "state" {
        /// Not looked for yet.
        Creating = "CREATING",
        /// It was not.
        CreateFailed = "CREATE_FAILED",
        /// It was.
        Active = "ACTIVE",
    }
}

words! {
    /// Whether thumbnails are made.
    pub enum ThumbnailMode as "recordingMode" {
        /// None.
        Disabled = "DISABLED",
        /// One each interval.
        Interval = "INTERVAL",
    }
}

words! {
    /// How large pictures are, by class.
    pub enum ResolutionClass as "resolution" {
        /// 361 to 480 lines.
        Sd = "SD",
        /// 481 to 720 lines.
        Hd = "HD",
        /// 721 to 1080 lines.
        FullHd = "FULL_HD",
        /// 160 to 360 lines.
        Lowest = "LOWEST_RESOLUTION",
    }
}

words! {
    /// How thumbnails are kept.
    pub enum ThumbnailStorage as "storage" {
        /// All, numbered.
        Sequential = "SEQUENTIAL",
        /// The newest.
        Latest = "LATEST",
    }
}

words! {
    /// Which renditions are recorded.
    pub enum RenditionSelection as "renditionSelection" {
        /// All.
        All = "ALL",
        /// None.
        None = "NONE",
        /// Those that are named.
        Custom = "CUSTOM",
    }
}

/// A recording configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingConfiguration {
    /// Name, not unique, possibly empty.
    #[serde(default)]
    pub name: String,
    /// Where to.
    pub destination_configuration: Destination,
    /// Pictures beside the video.
    #[serde(default)]
    pub thumbnail_configuration: Thumbnails,
    /// How long a recording waits for its stream to come back.
    #[serde(default)]
    pub recording_reconnect_window_seconds: u32,
    /// What of the ladder.
    #[serde(default)]
    pub rendition_configuration: Renditions,
}

/// Where recordings go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The one kind of place there is.
    pub s3: Option<Bucket>,
}

/// A bucket of the recording store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// Its name.
    pub bucket_name: String,
}

/// How thumbnails are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Thumbnails {
    /// Whether.
    pub recording_mode: ThumbnailMode,
    /// How often.
    pub target_interval_seconds: u32,
    /// How large; none: as the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<ResolutionClass>,
    /// Which are kept.
    pub storage: Vec<ThumbnailStorage>,
}

impl Default for Thumbnails {
    fn default() -> Self {
        Self {
            recording_mode: ThumbnailMode::Interval,
            target_interval_seconds: 60,
            resolution: None,
            storage: vec![ThumbnailStorage::Sequential],
        }
    }
}

/// Which renditions are recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Renditions {
    /// By which rule.
    pub rendition_selection: RenditionSelection,
    /// Those of `CUSTOM`.
    pub renditions: Vec<ResolutionClass>,
}

impl Default for Renditions {
    fn default() -> Self {
        Self {
            rendition_selection: RenditionSelection::All,
            renditions: Vec::new(),
        }
    }
}

impl RecordingConfiguration {
    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        let bucket = self.destination_configuration.s3.as_ref();
        bucket.map_or("", |bucket| &bucket.bucket_name)
    }
}

impl Contents for RecordingConfiguration {
    const KIND: DocumentKind = DocumentKind::RecordingConfiguration;

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.destination_configuration.s3.is_none() {
            let rule = "Member must not be null".to_owned();
            return Err(("destinationConfiguration.s3", rule));
        }
        let Renditions {
            rendition_selection,
            renditions,
        } = &self.rendition_configuration;
        let is_custom = *rendition_selection == RenditionSelection::Custom;
        if is_custom == renditions.is_empty() {
            let rule = "Member must be set for the selection CUSTOM, and for no other".to_owned();
            return Err(("renditionConfiguration.renditions", rule));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_is_as_ivs_has_it() {
        let given = json!({"destinationConfiguration": {"s3": {"bucketName": "media"}}});
        let read: RecordingConfiguration = serde_json::from_value(given).unwrap();
        assert_eq!((read.check(), read.bucket()), (Ok(()), "media"));
        insta::assert_snapshot!(serde_json::to_string(&read).unwrap(), @r#"{"name":"","destinationConfiguration":{"s3":{"bucketName":"media"}},"thumbnailConfiguration":{"recordingMode":"INTERVAL","targetIntervalSeconds":60,"storage":["SEQUENTIAL"]},"recordingReconnectWindowSeconds":0,"renditionConfiguration":{"renditionSelection":"ALL","renditions":[]}}"#);
    }

    #[test]
    fn a_custom_selection_names_renditions_and_no_other_does() {
        for (selection, renditions, is_valid) in [
            ("ALL", json!([]), true),
            ("CUSTOM", json!([]), false),
            ("CUSTOM", json!(["HD"]), true),
            ("NONE", json!(["HD"]), false),
        ] {
            let given = json!({
                "destinationConfiguration": {"s3": {"bucketName": "media"}},
                "renditionConfiguration": {"renditionSelection": selection, "renditions": renditions},
            });
            let read: RecordingConfiguration = serde_json::from_value(given).unwrap();
            assert_eq!(read.check().is_ok(), is_valid, "{selection}");
        }
        let nowhere = json!({"destinationConfiguration": {}});
        let read: RecordingConfiguration = serde_json::from_value(nowhere).unwrap();
        assert!(read.check().is_err());
    }
}
