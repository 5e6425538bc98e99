//! The catalogue: every event that a stream can have, by its IVS name.
//!
//! In:  what happened, to which channel and stream, when. Out: `EventBridge`'s envelope as JSON, and
//! the words of a stream session's `truncatedEvents`: type, name, code.
//! Weir's own additions carry the source `weir`, so that no rule for IVS events meets them.
//! Not here: recording and chat events, which come with those rooms.

use serde_json::{Value, json};

use crate::base::clock::WallTime;
use crate::base::ids;
use crate::model::{Channel, ChannelId, Scope};

/// Something that happened to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// A UUID.
    pub id: String,
    /// When it happened.
    pub time: WallTime,
    /// To which channel.
    pub channel_id: ChannelId,
    /// The channel's name at that time.
    pub channel_name: String,
    /// The stream session, `st-…`, if it belongs to one.
    pub stream_id: Option<String>,
    /// What.
    pub kind: Kind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A publisher was admitted.
    SessionCreated,
    /// A publisher's connection is over; the code tells why, where IVS has one.
    SessionEnded {
        /// For example `MultitrackInputRequired`.
        code: Option<&'static str>,
    },
    /// A publisher became watchable.
    StreamStart,
    /// A watchable publisher's part is over.
    StreamEnd,
    /// The stream cannot be carried, by the server's fault.
    StreamFailure {
        /// Why, in words.
        reason: String,
    },
    /// Another encoder goes on with the same stream.
    StreamTakeover,
    /// Another encoder wanted to, and was refused.
    StreamTakeoverFailure {
        /// For example `StreamTakeoverInvalidPriority`.
        code: &'static str,
    },
    /// Fewer bits come than the encoder declares.
    StarvationStart,
    /// They come again.
    StarvationEnd,
    /// More comes than the channel's type allows.
    LimitBreach {
        /// Which limit.
        limit: IngestLimit,
        /// Its value.
        limit_value: u64,
        /// By how much the stream is above it.
        exceeded_by: u64,
    },
    /// The whole server has as much as it may; no event of a channel's.
    ServerLimitBreach {
        /// Of what.
        limit: ServerLimit,
        /// How many may be.
        limit_value: u64,
        /// How many more there would be.
        exceeded_by: u64,
    },
    /// The channel's owner has inserted an ad break.
    AdBreakInserted {
        /// Twelve letters and digits.
        ad_break_id: String,
        /// How long it is.
        duration_seconds: u32,
        /// When it begins.
        target_start: WallTime,
    },
    /// Weir's own: a rendition is left out because the machine is overloaded.
    RenditionShed {
        /// Its name.
        rendition: String,
    },
    /// Weir's own: it is back.
    RenditionRestored {
        /// Its name.
        rendition: String,
    },
    /// Weir's own: something is not as it should be.
    Finding {
        /// Stable, for programs.
        code: &'static str,
        /// For the streamer, with the remedy.
        words: String,
    },
}

/// A limit of what an encoder may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngestLimit {
    /// Bits per second.
    Bitrate,
    /// Width times height.
    TotalPixels,
    /// Width or height.
    PixelsPerEdge,
}

impl IngestLimit {
    /// IVS's `limit_name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bitrate => "Ingest Bitrate",
            Self::TotalPixels | Self::PixelsPerEdge => "Ingest Resolution",
        }
    }

    /// IVS's `limit_unit`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Bitrate => "bits per second",
            Self::TotalPixels => "total pixels",
            Self::PixelsPerEdge => "pixels per edge",
        }
    }
}

/// A limit of what there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerLimit {
    /// Channels on air.
    Broadcasts,
    /// Who watches, all channels together.
    Viewers,
}

impl ServerLimit {
    /// IVS's `limit_name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broadcasts => "Concurrent Broadcasts",
            Self::Viewers => "Concurrent Viewers",
        }
    }

    /// IVS's `limit_unit`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Broadcasts => "active streams",
            Self::Viewers => "viewers",
        }
    }
}

impl Event {
    /// An event of `channel` with a new id.
    pub fn new(time: WallTime, channel: &Channel, stream_id: Option<&str>, kind: Kind) -> Self {
        Self {
            id: ids::uuid(),
            time,
            channel_id: channel.id.clone(),
            channel_name: channel.name.clone(),
            stream_id: stream_id.map(str::to_owned),
            kind,
        }
    }

    /// `EventBridge`'s detail-type.
    pub fn detail_type(&self) -> &'static str {
        match self.kind {
            Kind::SessionCreated
            | Kind::SessionEnded { .. }
            | Kind::StreamStart
            | Kind::StreamEnd
            | Kind::StreamFailure { .. }
            | Kind::StreamTakeover
            | Kind::StreamTakeoverFailure { .. } => "IVS Stream State Change",
            Kind::StarvationStart | Kind::StarvationEnd => "IVS Stream Health Change",
            Kind::LimitBreach { .. } | Kind::ServerLimitBreach { .. } => "IVS Limit Breach",
            Kind::AdBreakInserted { .. } => "IVS Ad Break State Change",
            Kind::RenditionShed { .. } | Kind::RenditionRestored { .. } => "Weir Rendition Change",
            Kind::Finding { .. } => "Weir Stream Finding",
        }
    }

    /// The event's name within its type: the `event_name`, or the name of the limit.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::SessionCreated => "Session Created",
            Kind::SessionEnded { .. } => "Session Ended",
            Kind::StreamStart => "Stream Start",
            Kind::StreamEnd => "Stream End",
            Kind::StreamFailure { .. } => "Stream Failure",
            Kind::StreamTakeover => "Stream Takeover",
            Kind::StreamTakeoverFailure { .. } => "Stream Takeover Failure",
            Kind::StarvationStart => "Starvation Start",
            Kind::StarvationEnd => "Starvation End",
            Kind::LimitBreach { limit, .. } => limit.name(),
            Kind::ServerLimitBreach { limit, .. } => limit.name(),
            Kind::AdBreakInserted { .. } => "Ad Break Inserted",
            Kind::RenditionShed { .. } => "Rendition Shed",
            Kind::RenditionRestored { .. } => "Rendition Restored",
            Kind::Finding { .. } => "Stream Finding",
        }
    }

    /// Why, for programs, where the event says it.
    pub fn code(&self) -> Option<&'static str> {
        match self.kind {
            Kind::SessionEnded { code } => code,
            Kind::StreamTakeoverFailure { code } | Kind::Finding { code, .. } => Some(code),
            _ => None,
        }
    }

    /// `EventBridge`'s envelope around the event.
    pub fn to_json(&self, scope: &Scope) -> Value {
        json!({
            "version": "0",
            "id": self.id,
            "detail-type": self.detail_type(),
            "source": self.source(),
            "account": scope.account(),
            "time": self.time.in_seconds(),
            "region": scope.region(),
            "resources": self.resource(scope).as_slice(),
            "detail": self.detail(),
        })
    }

    /// The ARN that it is about; none if that is the whole server.
    pub fn resource(&self, scope: &Scope) -> Option<String> {
        let is_of_channel = !matches!(self.kind, Kind::ServerLimitBreach { .. });
        is_of_channel.then(|| scope.channel_arn(&self.channel_id).to_string())
    }

    /// Whether Amazon IVS has such an event, too.
    pub fn is_of_ivs(&self) -> bool {
        self.detail_type().starts_with("IVS ")
    }

    fn source(&self) -> &'static str {
        if self.is_of_ivs() { "aws.ivs" } else { "weir" }
    }

    /// IVS's `detail`: the same keys, and none besides.
    fn detail(&self) -> Value {
        let mut detail = match &self.kind {
            Kind::LimitBreach {
                limit,
                limit_value,
                exceeded_by,
            } => json!({
                "limit_name": limit.name(),
                "limit_value": limit_value,
                "exceeded_by": exceeded_by,
                "limit_unit": limit.unit(),
            }),
            Kind::ServerLimitBreach {
                limit,
                limit_value,
                exceeded_by,
            } => {
                return json!({
                    "limit_name": limit.name(),
                    "limit_value": limit_value,
                    "exceeded_by": exceeded_by,
                    "limit_unit": limit.unit(),
                });
            }
            Kind::AdBreakInserted {
                ad_break_id,
                duration_seconds,
                target_start,
            } => json!({
                "event_name": self.name(),
                "ad_break_id": ad_break_id,
                "duration_seconds": duration_seconds,
                "target_start_time": target_start.to_string(),
            }),
            Kind::StreamFailure { reason } => json!({"event_name": self.name(), "reason": reason}),
            Kind::RenditionShed { rendition } | Kind::RenditionRestored { rendition } => {
                json!({"event_name": self.name(), "rendition": rendition})
            }
            Kind::Finding { words, .. } => json!({"event_name": self.name(), "words": words}),
            _ => json!({"event_name": self.name()}),
        };
        detail["channel_name"] = json!(self.channel_name);
        if let Some(stream_id) = &self.stream_id {
            detail["stream_id"] = json!(stream_id);
        }
        if let Some(code) = self.code() {
            detail["code"] = json!(code);
        }
        detail
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::channel::Settings;

    /// An event of a channel named `kitchen`, always the same.
    pub(in crate::events) fn event(kind: Kind) -> Event {
        let settings = Settings {
            name: Some("kitchen".to_owned()),
            ..Settings::default()
        };
        let mut channel = Channel::create(&settings, WallTime(0)).unwrap();
        channel.id = "abcdABCDefgh".parse().unwrap();
        let stream_id = "st-1A2b3c4D5e6F78ghij9Klmn";
        let time = WallTime(1_497_263_023_999);
        Event {
            id: "01234567-89ab-4def-8123-456789abcdef".to_owned(),
            ..Event::new(time, &channel, Some(stream_id), kind)
        }
    }

    fn json(kind: Kind) -> Value {
        let scope = Scope::new("us-west-2", "123456789012").unwrap();
        event(kind).to_json(&scope)
    }

    #[test]
    fn the_envelope_is_that_of_eventbridge() {
        insta::assert_json_snapshot!(json(Kind::StreamStart), @r#"
        {
          "account": "123456789012",
          "detail": {
            "channel_name": "kitchen",
            "event_name": "Stream Start",
            "stream_id": "st-1A2b3c4D5e6F78ghij9Klmn"
          },
          "detail-type": "IVS Stream State Change",
          "id": "01234567-89ab-4def-8123-456789abcdef",
          "region": "us-west-2",
          "resources": [
            "arn:aws:ivs:us-west-2:123456789012:channel/abcdABCDefgh"
          ],
          "source": "aws.ivs",
          "time": "2017-06-12T10:23:43Z",
          "version": "0"
        }
        "#);
    }

    #[test]
    fn a_limit_breach_has_no_event_name() {
        let breach = json(Kind::LimitBreach {
            limit: IngestLimit::TotalPixels,
            limit_value: 495_000,
            exceeded_by: 426_600,
        });
        insta::assert_json_snapshot!(breach["detail"], @r#"
        {
          "channel_name": "kitchen",
          "exceeded_by": 426600,
          "limit_name": "Ingest Resolution",
          "limit_unit": "total pixels",
          "limit_value": 495000,
          "stream_id": "st-1A2b3c4D5e6F78ghij9Klmn"
        }
        "#);
    }

    #[test]
    fn a_breach_of_the_whole_server_names_no_channel() {
        let breach = json(Kind::ServerLimitBreach {
            limit: ServerLimit::Broadcasts,
            limit_value: 100,
            exceeded_by: 1,
        });
        assert_eq!(breach["detail-type"], "IVS Limit Breach");
        assert_eq!(breach["resources"], json!([]));
        insta::assert_json_snapshot!(breach["detail"], @r#"
        {
          "exceeded_by": 1,
          "limit_name": "Concurrent Broadcasts",
          "limit_unit": "active streams",
          "limit_value": 100
        }
        "#);
    }

    #[test]
    fn an_ad_break_says_when_and_how_long() {
        let inserted = json(Kind::AdBreakInserted {
            ad_break_id: "abcdABCD1234".to_owned(),
            duration_seconds: 30,
            target_start: WallTime(1_497_263_030_000),
        });
        assert_eq!(inserted["detail-type"], "IVS Ad Break State Change");
        insta::assert_json_snapshot!(inserted["detail"], @r#"
        {
          "ad_break_id": "abcdABCD1234",
          "channel_name": "kitchen",
          "duration_seconds": 30,
          "event_name": "Ad Break Inserted",
          "stream_id": "st-1A2b3c4D5e6F78ghij9Klmn",
          "target_start_time": "2017-06-12T10:23:50.000Z"
        }
        "#);
    }

    /// Type, name and the details besides channel and stream.
    fn described(kind: Kind) -> String {
        let json = json(kind);
        let mut detail = json["detail"].clone();
        let keys = detail.as_object_mut().unwrap();
        assert_eq!(keys.remove("channel_name").unwrap(), "kitchen");
        assert_eq!(
            keys.remove("stream_id").unwrap(),
            "st-1A2b3c4D5e6F78ghij9Klmn"
        );
        let name = keys.remove("event_name").unwrap();
        let detail_type = json["detail-type"].as_str().unwrap();
        let source = json["source"].as_str().unwrap();
        format!("{source}: {detail_type}: {name} {detail}")
    }

    #[test]
    fn stream_events_have_the_types_names_and_details_of_ivs() {
        let code = "StreamTakeoverMediaMismatch";
        let reason = "no encoder".to_owned();
        for (kind, expected) in [
            (
                Kind::SessionCreated,
                r#"State Change: "Session Created" {}"#,
            ),
            (
                Kind::SessionEnded { code: None },
                r#"State Change: "Session Ended" {}"#,
            ),
            (
                Kind::SessionEnded { code: Some(code) },
                r#"State Change: "Session Ended" {"code":"StreamTakeoverMediaMismatch"}"#,
            ),
            (Kind::StreamStart, r#"State Change: "Stream Start" {}"#),
            (Kind::StreamEnd, r#"State Change: "Stream End" {}"#),
            (
                Kind::StreamFailure { reason },
                r#"State Change: "Stream Failure" {"reason":"no encoder"}"#,
            ),
            (
                Kind::StreamTakeover,
                r#"State Change: "Stream Takeover" {}"#,
            ),
            (
                Kind::StreamTakeoverFailure { code },
                r#"State Change: "Stream Takeover Failure" {"code":"StreamTakeoverMediaMismatch"}"#,
            ),
            (
                Kind::StarvationStart,
                r#"Health Change: "Starvation Start" {}"#,
            ),
            (Kind::StarvationEnd, r#"Health Change: "Starvation End" {}"#),
        ] {
            assert_eq!(described(kind), format!("aws.ivs: IVS Stream {expected}"));
        }
    }

    #[test]
    fn weirs_own_events_have_a_source_and_types_of_their_own() {
        let rendition = || "480p30".to_owned();
        for (kind, expected) in [
            (
                Kind::RenditionShed {
                    rendition: rendition(),
                },
                r#"Rendition Change: "Rendition Shed" {"rendition":"480p30"}"#,
            ),
            (
                Kind::RenditionRestored {
                    rendition: rendition(),
                },
                r#"Rendition Change: "Rendition Restored" {"rendition":"480p30"}"#,
            ),
            (
                Kind::Finding {
                    code: "av_drift",
                    words: "restart".to_owned(),
                },
                r#"Stream Finding: "Stream Finding" {"code":"av_drift","words":"restart"}"#,
            ),
        ] {
            assert_eq!(described(kind), format!("weir: Weir {expected}"));
        }
    }
}
