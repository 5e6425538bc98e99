//! Is a request signed with this key, now, and unchanged?
//!
//! In:  a request's head, its body, the key that it names, the time. Out: yes, or a [`Refusal`]. Pure.
//! Signatures come in the `Authorization` header or, presigned, in the query. The region of the scope is the
//! client's own affair; the service must be one of ours. What is compared is compared in constant time.

use ring::{digest, hmac};
use subtle::ConstantTimeEq as _;

use super::canonical::{Head, SIGNATURE_PARAMETER, canonical_request};
use super::{hex, unhex};
use crate::base::clock::WallTime;
use crate::model::AccessKey;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The services whose operations stand here.
const SERVICES: [&str; 3] = ["ivs", "ivschat", "monitoring"];
/// How far a client's clock may be off.
const SKEW_MS: i64 = 15 * 60 * 1000;
/// Longest life of a presigned request, in seconds.
const MAX_EXPIRES_S: i64 = 7 * 24 * 3600;
/// Most headers that are signed.
const MAX_SIGNED_HEADERS: usize = 64;

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not signed at all.
    #[error("Missing Authentication Token")]
    Unsigned,
    /// Parts of the signature are missing or malformed.
    #[error("{0}")]
    Incomplete(String),
    /// There is no such key, or its session token is another.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The key's session is over.
    #[error("The security token included in the request is expired")]
    Expired,
    /// The signature is not that of this request, or not of this time.
    #[error("{0}")]
    Invalid(String),
}

/// What a request says of its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The key that it is signed with.
    pub access_key_id: String,
    /// Day, region and service.
    scope: [String; 3],
    signed_headers: Vec<String>,
    signature: Vec<u8>,
    /// As it is signed, and as a time.
    date: String,
    at: WallTime,
    /// How long a presigned request is good for.
    expires_s: Option<i64>,
    token: Option<String>,
}

/// The parts of a claim as they were found.
#[derive(Default)]
struct Found {
    credential: Option<String>,
    signed_headers: Option<String>,
    signature: Option<String>,
    date: Option<String>,
    expires: Option<String>,
    token: Option<String>,
}

impl Claim {
    /// Reads the claim from the header or the query.
    pub fn read(head: &Head<'_>) -> Result<Self, Refusal> {
        match head.header("authorization") {
            Some(text) => Self::from_parts(from_header(head, &text)?, false),
            None => Self::from_parts(from_query(head)?, true),
        }
    }

    fn from_parts(found: Found, is_presigned: bool) -> Result<Self, Refusal> {
        let incomplete =
            |what: &str| Refusal::Incomplete(format!("the signature has no valid {what}"));
        let part = |value: Option<String>, what| value.ok_or_else(|| incomplete(what));
        let credential = part(found.credential, "Credential")?;
        let mut pieces = credential.rsplitn(5, '/').map(str::to_owned);
        let (Some(end), Some(service), Some(region), Some(day), Some(access_key_id)) = (
            pieces.next(),
            pieces.next(),
            pieces.next(),
            pieces.next(),
            pieces.next(),
        ) else {
            return Err(incomplete("Credential"));
        };
        let date = part(found.date, "X-Amz-Date")?;
        let at = parse_date(&date).ok_or_else(|| incomplete("X-Amz-Date"))?;
        let signed_headers = part(found.signed_headers, "SignedHeaders")?;
        let signed_headers: Vec<_> = signed_headers.split(';').map(str::to_lowercase).collect();
        let signature = part(found.signature, "Signature")?;
        let signature = unhex(&signature).filter(|bytes| bytes.len() == digest::SHA256_OUTPUT_LEN);
        if end != "aws4_request" || !date.starts_with(&day) || !SERVICES.contains(&&*service) {
            let words = "Credential should be scoped to its date, a service of this server and aws4_request";
            return Err(Refusal::Invalid(words.to_owned()));
        }
        let has_host = signed_headers.iter().any(|name| name == "host");
        if !has_host || signed_headers.len() > MAX_SIGNED_HEADERS {
            return Err(incomplete("SignedHeaders: host must be among them"));
        }
        let expires_s = found.expires.and_then(|text| text.parse().ok());
        let expires_s = expires_s.filter(|s| (1..=MAX_EXPIRES_S).contains(s));
        if is_presigned && expires_s.is_none() {
            return Err(incomplete("X-Amz-Expires"));
        }
        Ok(Self {
            access_key_id,
            scope: [day, region, service],
            signed_headers,
            signature: signature.ok_or_else(|| incomplete("Signature"))?,
            date,
            at,
            expires_s,
            token: found.token,
        })
    }

    /// Whether the request was signed lately enough, or is still good.
    pub fn check_time(&self, now: WallTime) -> Result<(), Refusal> {
        let life_ms = self.expires_s.map_or(SKEW_MS, |s| s.saturating_mul(1000));
        let age_ms = now.millis_since(self.at);
        let words = if age_ms > life_ms {
            format!("Signature expired: {} is too long before {now}", self.date)
        } else if age_ms < -SKEW_MS {
            format!(
                "Signature not yet current: {} is too long after {now}",
                self.date
            )
        } else {
            return Ok(());
        };
        Err(Refusal::Invalid(words))
    }

    /// Whether the request's token is the key's, and its session still lasts.
    pub fn check_session(&self, key: &AccessKey, now: WallTime) -> Result<(), Refusal> {
        match (&key.session, &self.token) {
            (None, None) => Ok(()),
            (Some(session), Some(token)) => {
                if !bool::from(session.token.as_bytes().ct_eq(token.as_bytes())) {
                    return Err(Refusal::UnknownKey);
                }
                (now < session.expires)
                    .then_some(())
                    .ok_or(Refusal::Expired)
            }
            _ => Err(Refusal::UnknownKey),
        }
    }

    /// Whether this very request, body included, was signed with `secret`.
    pub fn check_signature(
        &self,
        head: &Head<'_>,
        body: &[u8],
        secret: &str,
    ) -> Result<(), Refusal> {
        let canonical = self.canonical_request(head, body)?;
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let scope = format!("{}/aws4_request", self.scope.join("/"));
        let to_sign = [ALGORITHM, &self.date, &scope, &hash].join("\n");
        hmac::verify(&self.signing_key(secret), to_sign.as_bytes(), &self.signature).map_err(|_| {
            let words = "The request signature we calculated does not match the signature you provided. \
                         Check your AWS Secret Access Key and signing method.";
            Refusal::Invalid(words.to_owned())
        })
    }

    /// What was hashed and signed.
    pub fn canonical_request(&self, head: &Head<'_>, body: &[u8]) -> Result<String, Refusal> {
        let payload_hash = hex(digest::digest(&digest::SHA256, body).as_ref());
        if head
            .header("x-amz-content-sha256")
            .is_some_and(|said| said != payload_hash)
        {
            let words = "x-amz-content-sha256 is not the hash of the body";
            return Err(Refusal::Invalid(words.to_owned()));
        }
        canonical_request(head, &self.signed_headers, &payload_hash)
            .map_err(|name| Refusal::Invalid(format!("the signed header {name} is missing")))
    }

    fn signing_key(&self, secret: &str) -> hmac::Key {
        let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
        let parts = self
            .scope
            .iter()
            .map(String::as_str)
            .chain(["aws4_request"]);
        parts.fold(first, |key, part| {
            hmac::Key::new(
                hmac::HMAC_SHA256,
                hmac::sign(&key, part.as_bytes()).as_ref(),
            )
        })
    }
}

fn from_header(head: &Head<'_>, authorization: &str) -> Result<Found, Refusal> {
    let fields = authorization.strip_prefix(ALGORITHM);
    let fields = fields
        .ok_or_else(|| Refusal::Incomplete(format!("Authorization must begin with {ALGORITHM}")))?;
    let mut found = Found {
        date: head.header("x-amz-date"),
        token: head.header("x-amz-security-token"),
        ..Found::default()
    };
    for field in fields.split(',') {
        let (name, value) = field.trim().split_once('=').unwrap_or_default();
        let value = Some(value.to_owned());
        match name {
            "Credential" => found.credential = value,
            "SignedHeaders" => found.signed_headers = value,
            "Signature" => found.signature = value,
            _ => {}
        }
    }
    Ok(found)
}

fn from_query(head: &Head<'_>) -> Result<Found, Refusal> {
    let mut found = Found::default();
    let mut algorithm = None;
    for (name, value) in head.parameters() {
        let value = Some(value.into_owned());
        match &*name {
            "X-Amz-Algorithm" => algorithm = value,
            "X-Amz-Credential" => found.credential = value,
            "X-Amz-SignedHeaders" => found.signed_headers = value,
            SIGNATURE_PARAMETER => found.signature = value,
            "X-Amz-Date" => found.date = value,
            "X-Amz-Expires" => found.expires = value,
            "X-Amz-Security-Token" => found.token = value,
            _ => {}
        }
    }
    match algorithm {
        None => Err(Refusal::Unsigned),
        Some(name) if name == ALGORITHM => Ok(found),
        Some(_) => Err(Refusal::Incomplete(format!(
            "X-Amz-Algorithm must be {ALGORITHM}"
        ))),
    }
}

/// `YYYYMMDDTHHMMSSZ`.
fn parse_date(text: &str) -> Option<WallTime> {
    let piece = |range: std::ops::Range<usize>| text.get(range);
    let is_form = text.len() == 16 && piece(8..9) == Some("T") && piece(15..16) == Some("Z");
    let [year, month, day] = [piece(0..4)?, piece(4..6)?, piece(6..8)?];
    let [hour, minute, second] = [piece(9..11)?, piece(11..13)?, piece(13..15)?];
    let standard = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    standard.parse().ok().filter(|_| is_form)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::model::access_key::{Role, Session};

    const DATE: &str = "20260101T000000Z";
    const NOW: WallTime = WallTime(1_767_225_600_000);

    fn header(credential: &str, rest: &str) -> Result<Claim, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-date", DATE.parse().unwrap());
        let text = format!("AWS4-HMAC-SHA256 Credential={credential}, {rest}");
        headers.insert("authorization", text.parse().unwrap());
        read(&headers, "")
    }

    fn read(headers: &HeaderMap, query: &str) -> Result<Claim, Refusal> {
        Claim::read(&Head {
            method: "POST",
            path: "/ListChannels",
            query,
            headers,
        })
    }

    fn signature() -> String {
        format!("SignedHeaders=host;x-amz-date,Signature={}", "0".repeat(64))
    }

    #[test]
    fn claims_are_whole_or_refused() {
        let good = "AKID/20260101/mars-1/ivs/aws4_request";
        let claim = header(good, &signature()).unwrap();
        assert_eq!((claim.access_key_id.as_str(), claim.at), ("AKID", NOW));
        for credential in [
            "AKID/20260102/mars-1/ivs/aws4_request",
            "AKID/20260101/mars-1/s3/aws4_request",
            "AKID/20260101/mars-1/ivs/aws3_request",
        ] {
            let refused = header(credential, &signature()).unwrap_err();
            assert!(
                matches!(refused, Refusal::Invalid(_)),
                "{credential}: {refused}"
            );
        }
        let zeros = "0".repeat(64);
        for (credential, rest) in [
            ("AKID", signature()),
            ("", signature()),
            (good, format!("SignedHeaders=x-amz-date,Signature={zeros}")),
            (good, format!("Signature={zeros}")),
            (good, "SignedHeaders=host".to_owned()),
            (good, "SignedHeaders=host,Signature=00".to_owned()),
            (
                good,
                format!("SignedHeaders=host,Signature={}", "g".repeat(64)),
            ),
            (
                good,
                format!("SignedHeaders={}host,Signature={zeros}", "a;".repeat(64)),
            ),
        ] {
            let refused = header(credential, &rest).unwrap_err();
            assert!(
                matches!(refused, Refusal::Incomplete(_)),
                "{rest}: {refused}"
            );
        }
        assert_eq!(read(&HeaderMap::new(), ""), Err(Refusal::Unsigned));
        let basic =
            HeaderMap::from_iter([(http::header::AUTHORIZATION, "Basic x".parse().unwrap())]);
        assert!(matches!(read(&basic, ""), Err(Refusal::Incomplete(_))));
    }

    #[test]
    fn a_presigned_request_lives_a_week_at_most() {
        let query = |expires: &str| {
            format!(
                "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260101%2Fr%2Fivs%2Faws4_request\
                 &X-Amz-Date={DATE}&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host&X-Amz-Signature={}",
                "0".repeat(64)
            )
        };
        for expires in ["0", "604801", "-1", "x", ""] {
            assert!(
                read(&HeaderMap::new(), &query(expires)).is_err(),
                "{expires}"
            );
        }
        let claim = read(&HeaderMap::new(), &query("3600")).unwrap();
        for (late_s, is_good) in [(-901, false), (-899, true), (3599, true), (3601, false)] {
            let now = NOW.plus_millis(late_s * 1000);
            assert_eq!(claim.check_time(now).is_ok(), is_good, "{late_s}");
        }
        let signed = header("AKID/20260101/r/ivs/aws4_request", &signature()).unwrap();
        for (late_s, is_good) in [(-901, false), (0, true), (899, true), (901, false)] {
            let now = NOW.plus_millis(late_s * 1000);
            assert_eq!(signed.check_time(now).is_ok(), is_good, "{late_s}");
        }
    }

    #[test]
    fn a_session_has_its_token_and_its_end() {
        let mut claim = header("AKID/20260101/r/ivs/aws4_request", &signature()).unwrap();
        let mut key = AccessKey::create(Role::Admin, "", None, NOW);
        assert_eq!(claim.check_session(&key, NOW), Ok(()));
        claim.token = Some("token".to_owned());
        assert_eq!(claim.check_session(&key, NOW), Err(Refusal::UnknownKey));
        key.session = Some(Session {
            token: "token".to_owned(),
            expires: NOW,
        });
        assert_eq!(claim.check_session(&key, NOW.plus_millis(-1)), Ok(()));
        assert_eq!(claim.check_session(&key, NOW), Err(Refusal::Expired));
        claim.token = Some("other".to_owned());
        assert_eq!(claim.check_session(&key, NOW), Err(Refusal::UnknownKey));
        claim.token = None;
        assert_eq!(claim.check_session(&key, NOW), Err(Refusal::UnknownKey));
    }
}
