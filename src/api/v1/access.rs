//! Who may see and stop a channel's stream: who holds its stream key, or an access key. What belongs to the whole server
//! is for access keys only.
//!
//! In:  a request's `Authorization`, the channel asked for. Out: the channel, or [`Problem`].
//! Secrets are compared in constant time and never logged. Whether a channel exists is told only to
//! those who may know. A browser adds Basic credentials by itself, also to a request that a foreign page
//! makes: with them nothing is changed but from a page of this server, or by a program.
//! Not here: the signatures of the IVS API (`sigv4`).
//! Read: RFC 6750 §2.1 (Bearer), RFC 7617 (Basic), RFC 6454 §7 (Origin), W3C Fetch Metadata.

use std::fmt;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use super::Sources;
use super::problem::Problem;
use crate::model::access_key::{AccessKey, Role};
use crate::model::repository::Error;
use crate::model::{Channel, ChannelId};

/// What a browser says of the page that a request comes from; no page can set it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
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

/// As [`authorise`], for a request that changes something.
pub(super) async fn authorise_change(
    sources: &Sources,
    headers: &HeaderMap,
    channel_id: &str,
) -> Result<Channel, Problem> {
    let is_resent = matches!(presented(headers), Some(Presented::AccessKey { .. }));
    if is_resent && !is_own_page(headers, sources.endpoints.public_url()) {
        return Err(Problem::CrossSite);
    }
    authorise(sources, headers, channel_id).await
}

/// The right to see, or else to change, what belongs to the whole server: the first access key, or a stored one that is
/// not for a part only.
pub(super) async fn authorise_server(
    sources: &Sources,
    headers: &HeaderMap,
    is_change: bool,
) -> Result<(), Problem> {
    let Some(Presented::AccessKey { id, secret }) = presented(headers) else {
        return Err(Problem::NoAccessKey);
    };
    if is_change && !is_own_page(headers, sources.endpoints.public_url()) {
        return Err(Problem::CrossSite);
    }
    if sources.root_key.matches(&id, &secret) {
        return Ok(());
    }
    let stored = timely(sources.repository.load_access_key(&id)).await?;
    let is_enough = |key: &AccessKey| {
        let is_role = key.role == Role::Admin || (key.role == Role::ReadOnly && !is_change);
        let is_secret = bool::from(key.secret.as_bytes().ct_eq(secret.as_bytes()));
        is_secret && is_role && key.arn_prefix.is_empty() && key.session.is_none()
    };
    let found = stored.filter(is_enough);
    found.map(drop).ok_or(Problem::NoAccessKey)
}

/// Whether a request comes from a page of this server, from a person, or from what is no browser.
fn is_own_page(headers: &HeaderMap, public_url: &str) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    // Browsers older than that, and those that were sent here without TLS, still name the page's origin.
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let Some((_, page)) = origin.to_str().ok().and_then(|text| text.split_once("://")) else {
        return false;
    };
    // A proxy may have spoken TLS with the browser: schemes do not count.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let public = public_url.split_once("://").map(|(_, rest)| rest);
    let public = public.and_then(|rest| rest.split('/').next());
    let mut own = host.into_iter().chain(public);
    own.any(|own| own.eq_ignore_ascii_case(page))
}

/// What a lookup finds, in time.
pub(super) async fn timely<T>(
    lookup: impl Future<Output = Result<T, Error>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(LOOKUP_DEADLINE, lookup).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            tracing::error!(%error, "a lookup failed");
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
    fn only_own_pages_and_programs_may_change_something() {
        let own = |pairs: &[(HeaderName, &str)]| {
            let pairs = pairs.iter().map(|(n, v)| (n.clone(), v.parse().unwrap()));
            is_own_page(&pairs.collect(), "https://live.example.org/base")
        };
        for (site, expected) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
            ("else", false),
        ] {
            assert_eq!(own(&[(SEC_FETCH_SITE, site)]), expected, "{site}");
            let with_origin = [(SEC_FETCH_SITE, site), (ORIGIN, "https://evil.example")];
            assert_eq!(own(&with_origin), expected, "{site}");
        }
        assert!(own(&[]), "a program");
        for (origin, expected) in [
            ("https://live.example.org", true),
            ("http://LIVE.example.org", true),
            ("http://10.0.0.7:8080", true),
            ("http://10.0.0.7", false),
            ("https://live.example.org.evil.example", false),
            ("https://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let pairs = [(ORIGIN, origin), (HOST, "10.0.0.7:8080")];
            assert_eq!(own(&pairs), expected, "{origin}");
        }
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
