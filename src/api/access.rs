//! Who may see and stop a channel's stream: who holds its stream key, or an access key.
//!
//! In:  a request's `Authorization`, the channel asked for. Out: the channel, or [`Problem`].
//! Secrets are compared in constant time and never logged. Whether a channel exists is told only to
//! those who may know. Not here: the signatures of the IVS API, which are to come.
//! Read: RFC 6750 §2.1 (Bearer), RFC 7617 (Basic).

use std::fmt;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use super::Sources;
use super::problem::Problem;
use crate::model::repository::Error;
use crate::model::{Channel, ChannelId};

/// How long the database may take.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

/// The first access key.
#[derive(Clone)]
pub struct RootKey {
    /// For example `AKIAIOSFODNN7EXAMPLE`.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({}, masked)", self.id)
    }
}

impl RootKey {
    /// Whether both are right, in a time that does not depend on where they differ.
    fn matches(&self, id: &str, secret: &str) -> bool {
        let is_id = self.id.as_bytes().ct_eq(id.as_bytes());
        (is_id & self.secret.as_bytes().ct_eq(secret.as_bytes())).into()
    }
}

/// What a request brings to show that it may.
#[derive(PartialEq, Eq)]
enum Presented {
    StreamKey(String),
    AccessKey { id: String, secret: String },
}

/// The channel of that id, if the request's credentials are for it.
pub(super) async fn authorise(
    sources: &Sources,
    headers: &HeaderMap,
    channel_id: &str,
) -> Result<Channel, Problem> {
    let (keys, channels) = (&sources.repository, &sources.repository);
    match presented(headers).ok_or(Problem::Unauthorised)? {
        Presented::StreamKey(key) => {
            let channel = timely(keys.channel_of_key(&key)).await?;
            let is_it = |channel: &Channel| channel.id.as_str() == channel_id;
            channel.filter(is_it).ok_or(Problem::Unauthorised)
        }
        Presented::AccessKey { id, secret } => {
            if !sources.root_key.matches(&id, &secret) {
                return Err(Problem::Unauthorised);
            }
            let id = channel_id.parse::<ChannelId>();
            let id = id.map_err(|_| Problem::NoSuchChannel)?;
            let channel = timely(channels.load_channel(&id)).await?;
            channel.ok_or(Problem::NoSuchChannel)
        }
    }
}

async fn timely<T>(lookup: impl Future<Output = Result<T, Error>>) -> Result<T, Problem> {
    match tokio::time::timeout(LOOKUP_DEADLINE, lookup).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            tracing::error!(%error, "cannot look a channel up");
            Err(Problem::Database)
        }
        Err(_) => Err(Problem::Database),
    }
}

fn presented(headers: &HeaderMap) -> Option<Presented> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Presented::StreamKey(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some(Presented::AccessKey {
        id: id.to_owned(),
        secret: secret.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(authorization: &str) -> Option<Presented> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        presented(&headers)
    }

    #[test]
    fn two_schemes_are_understood() {
        let key = || Some(Presented::StreamKey("sk_us-east-1_a_b".to_owned()));
        assert!(of("Bearer sk_us-east-1_a_b") == key());
        assert!(of("bearer  sk_us-east-1_a_b ") == key());
        let pair = |id: &str, secret: &str| {
            Some(Presented::AccessKey {
                id: id.to_owned(),
                secret: secret.to_owned(),
            })
        };
        // Aladdin:open sesame, as in the RFC; a secret with a colon in it; an empty one.
        assert!(of("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") == pair("Aladdin", "open sesame"));
        assert!(of("BASIC YTpiOmM=") == pair("a", "b:c"));
        assert!(of("Basic Og==") == pair("", ""));
        for other in [
            "",
            "Bearer",
            "Basic",
            "Basic !!!!",
            "Basic bm9jb2xvbg==",
            "Basic /////w==",
            "AWS4-HMAC-SHA256 Credential=x",
            "Digest a",
        ] {
            assert!(of(other).is_none(), "{other}");
        }
        assert!(presented(&HeaderMap::new()).is_none());
    }

    #[test]
    fn the_root_key_matches_as_a_whole_and_hides_its_secret() {
        let key = RootKey {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "hunter2".to_owned(),
        };
        assert!(key.matches("AKIDEXAMPLE", "hunter2"));
        for (id, secret) in [
            ("AKIDEXAMPLE", "hunter"),
            ("AKIDEXAMPL", "hunter2"),
            ("", ""),
            ("hunter2", "AKIDEXAMPLE"),
        ] {
            assert!(!key.matches(id, secret), "{id} {secret}");
        }
        assert!(!format!("{key:?}").contains("hunter2"));
    }
}
