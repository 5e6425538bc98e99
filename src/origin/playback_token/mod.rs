//! Playback tokens: a signed right to begin watching a private channel.
//!
//! In:  a JWT, the public keys of the account, the channel, the time. Out: what it allows, or why it is refused.
//! Not here: whether a token was used or its viewer revoked (`protection`), HTTP. Pure.
//! Read: RFC 7515 and 7519; the claims are Amazon IVS's. Only ES384 is known: what the header says chooses nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use serde::de::{Error as _, IgnoredAny, Unexpected};
use serde::{Deserialize, Deserializer};

use super::protection::origins::Origins;
use crate::base::clock::WallTime;

/// Longest token.
pub const MAX_TOKEN_BYTES: usize = 2048;
/// Longest name of a viewer, in characters.
const MAX_VIEWER_CHARS: usize = 40;
/// How far ahead a token may expire that can be used once or be revoked: so long both have to be remembered.
const MAX_AHEAD_S: u64 = 600;
/// How much the clock of whoever signs may be ahead of ours there.
const CLOCK_SKEW_S: u64 = 30;
/// Most origins that may be enforced for every request.
const MAX_STRICT_ORIGINS: usize = 5;

/// What playback tokens are signed against: a point of P-384, 97 bytes.
#[derive(Clone, Debug)]
pub struct VerifyingKey(UnparsedPublicKey<Vec<u8>>);

impl VerifyingKey {
    /// The key of an uncompressed point.
    pub fn new(point: Vec<u8>) -> Self {
        Self(UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point))
    }
}

/// The largest pictures that a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MaximumResolution {
    /// 480 lines.
    Sd,
    /// 720 lines.
    Hd,
    /// 1080 lines.
    FullHd,
}

impl MaximumResolution {
    /// Whether pictures of that size are allowed; lines are those of the shorter side.
    pub fn allows(self, width: u16, height: u16) -> bool {
        let most = match self {
            Self::Sd => 480,
            Self::Hd => 720,
            Self::FullHd => 1080,
        };
        width.min(height) <= most
    }
}

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaybackToken {
    /// When it begins to be refused, in seconds since 1970.
    pub expires_s: u64,
    /// Pages that may begin to play; none: all.
    pub origins: Option<Origins>,
    /// Whether each request is to come from that page.
    pub is_strict: bool,
    /// It can be used once, under this UUID.
    pub single_use: Option<u128>,
    /// Who watches, for revocations.
    pub viewer: Option<String>,
    /// Which of that viewer's tokens.
    pub version: i64,
    /// The largest pictures.
    pub maximum_resolution: Option<MaximumResolution>,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// More than any token needs.
    #[error("the playback token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// No JWT.
    #[error("the playback token is not a signed JWT")]
    Malformed,
    /// Any other algorithm, `none` included.
    #[error("the playback token is not signed with ES384")]
    Algorithm,
    /// No key of the account made it, or it was changed.
    #[error("the playback token's signature fits no playback key pair")]
    Signature,
    /// A claim is missing or has a value that it cannot have.
    #[error("the playback token lacks a claim, or a claim has a value that it cannot have")]
    Claims,
    /// It is for another channel.
    #[error("the playback token is for another channel")]
    Channel,
    /// It is too late.
    #[error("the playback token has expired")]
    Expired,
    /// It would have to be remembered for too long.
    #[error("the playback token expires more than ten minutes ahead")]
    TooFarAhead,
    /// More than can be enforced everywhere.
    #[error("the playback token enforces more than {MAX_STRICT_ORIGINS} origins")]
    TooManyOrigins,
}

#[derive(Deserialize)]
struct Header<'a> {
    alg: &'a str,
    /// Extensions that must be understood: none is.
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "aws:channel-arn")]
    channel_arn: String,
    exp: u64,
    #[serde(rename = "aws:access-control-allow-origin")]
    origins: Option<String>,
    #[serde(rename = "aws:strict-origin-enforcement")]
    is_strict: Option<bool>,
    #[serde(rename = "aws:single-use-uuid", default, deserialize_with = "uuid")]
    single_use: Option<u128>,
    #[serde(rename = "aws:viewer-id")]
    viewer: Option<String>,
    #[serde(rename = "aws:viewer-session-version")]
    version: Option<Version>,
    #[serde(rename = "aws:maximum-resolution")]
    maximum_resolution: Option<MaximumResolution>,
}

/// A number, or a text with one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Version {
    Number(i64),
    Text(String),
}

impl PlaybackToken {
    /// Reads a token for the channel `channel_arn`, signed with one of `keys`.
    pub fn verify(
        text: &str,
        keys: &[VerifyingKey],
        channel_arn: &str,
        now: WallTime,
    ) -> Result<Self, Invalid> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Invalid::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Invalid::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Invalid::Malformed)?;
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| Invalid::Malformed)?;
        if header.alg != "ES384" || header.crit.is_some() {
            return Err(Invalid::Algorithm);
        }
        let is_of = |key: &VerifyingKey| key.0.verify(signed.as_bytes(), &signature).is_ok();
        if !keys.iter().any(is_of) {
            return Err(Invalid::Signature);
        }
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Invalid::Claims)?;
        claims.judge(channel_arn, now)
    }
}

impl Claims {
    fn judge(self, channel_arn: &str, now: WallTime) -> Result<PlaybackToken, Invalid> {
        if self.channel_arn != channel_arn {
            return Err(Invalid::Channel);
        }
        let now_s = u64::try_from(now.0.div_euclid(1000)).unwrap_or_default();
        if self.exp <= now_s {
            return Err(Invalid::Expired);
        }
        let is_remembered = self.single_use.is_some() || self.viewer.is_some();
        if is_remembered && self.exp > now_s + MAX_AHEAD_S + CLOCK_SKEW_S {
            return Err(Invalid::TooFarAhead);
        }
        let is_name = |name: &str| (1..=MAX_VIEWER_CHARS).contains(&name.chars().count());
        if self.viewer.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(Invalid::Claims);
        }
        let origins = self.origins.map(|list| Origins::new(list.split(',')));
        let is_strict = self.is_strict.unwrap_or_default();
        if is_strict
            && origins
                .as_ref()
                .is_some_and(|list| list.len() > MAX_STRICT_ORIGINS)
        {
            return Err(Invalid::TooManyOrigins);
        }
        let version = match self.version {
            None => 0,
            Some(Version::Number(number)) => number,
            Some(Version::Text(text)) => text.parse().map_err(|_| Invalid::Claims)?,
        };
        Ok(PlaybackToken {
            expires_s: self.exp,
            origins,
            is_strict,
            single_use: self.single_use,
            viewer: self.viewer,
            version,
            maximum_resolution: self.maximum_resolution,
        })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Invalid::Malformed)
}

/// A UUID in its usual form, of any version.
fn uuid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u128>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let groups: Vec<&str> = text.split('-').collect();
    let has_form = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    let number = has_form.then(|| u128::from_str_radix(&groups.concat(), 16).ok());
    let wrong = || D::Error::invalid_value(Unexpected::Str(&text), &"a UUID");
    number.flatten().map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
