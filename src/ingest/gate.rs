//! The question every publisher is put through, and its two answers.
//!
//! In:  a [`PublishRequest`]. Out: a [`Publication`] to send media into, or a [`Refusal`] that the
//! encoder is told. Not here: the decision; `live` implements [`Gate`].

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::media_queue::MediaSender;
use super::video_tracks::MultitrackInput;

/// Decides who may publish, and where the media goes.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Accepts or refuses a publisher. Dropped when the publisher leaves or time runs out.
    async fn publish(&self, request: PublishRequest) -> Result<Publication, Refusal>;
}

/// Somebody wants to publish. Its `Debug` shows neither the key nor the values of the query.
pub struct PublishRequest {
    /// The RTMP application, without its query.
    pub app: String,
    /// The stream name, without its query: IVS calls it the stream key.
    pub stream_key: StreamKeyText,
    /// Query parameters of the stream name, the application and `tcUrl`, percent-decoded once.
    pub query: Vec<(String, String)>,
    /// `flashVer`: what the encoder says it is.
    pub encoder: String,
    /// Where the connection comes from.
    pub remote: SocketAddr,
    /// Whether it came through TLS.
    pub is_encrypted: bool,
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.query.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("PublishRequest")
            .field("app", &self.app)
            .field("query", &names)
            .field("encoder", &self.encoder)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// The secret as it was sent; its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKeyText(String);

impl StreamKeyText {
    /// Wraps a stream name.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, to be compared in constant time and not to be logged.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StreamKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKeyText(***)")
    }
}

/// An accepted publisher.
#[derive(Debug)]
pub struct Publication {
    /// Where its media goes. When the receiver is dropped the connection is closed.
    pub media_tx: MediaSender,
    /// Ends the publication from the server's side; dropping the sender means nothing.
    pub stop: oneshot::Receiver<Refusal>,
    /// The stream session's id (`st-…`), for logs.
    pub session_id: String,
    /// Whether several tracks of pictures may come.
    pub multitrack: MultitrackInput,
}

/// Why a publisher may not start, or may not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the encoder's program understands.
    pub code: RefusalCode,
    /// What the person at the encoder reads.
    pub description: String,
    /// What the end of the stream session is told with, where IVS has a code for it.
    pub event_code: Option<&'static str>,
}

impl Refusal {
    /// A refusal in words.
    pub fn new(code: RefusalCode, description: impl Into<String>) -> Self {
        Self {
            code,
            description: description.into(),
            event_code: None,
        }
    }
}

/// The `code` of the `onStatus` that tells a publisher to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// No such stream key, or it is in use.
    BadName,
    /// What it sends cannot be carried.
    Rejected,
    /// The server's own fault.
    Failed,
}

impl RefusalCode {
    /// As RTMP spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadName => "NetStream.Publish.BadName",
            Self::Rejected => "NetStream.Publish.Rejected",
            Self::Failed => "NetStream.Failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let key = StreamKeyText::new("sk_eu_secret".to_owned());
        assert_eq!(format!("{key:?}"), "StreamKeyText(***)");
        assert_eq!(key.expose(), "sk_eu_secret");
        let request = PublishRequest {
            app: "live".to_owned(),
            stream_key: key,
            query: vec![("token".to_owned(), "a secret".to_owned())],
            encoder: "OBS".to_owned(),
            remote: ([192, 0, 2, 1], 5000).into(),
            is_encrypted: false,
        };
        let shown = format!("{request:?}");
        assert!(
            shown.contains("token") && !shown.contains("secret"),
            "{shown}"
        );
    }
}
