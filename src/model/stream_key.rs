//! The secret that lets an encoder publish to one channel.
//!
//! In:  text from an encoder, or nothing (a new random key). Out: a value whose public part names
//! the row to look up and whose whole is compared in constant time.
//! Not here: keeping it encrypted (`db`).
//! Standard: `sk_<region>_<12 characters>_<secret>`; the 12 are the id in the key's ARN.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use super::id::{ChannelId, StreamKeyId};
use super::tags::Tags;
use crate::base::clock::WallTime;
use crate::base::ids;

/// Characters of a new key's secret: 190 bits.
const SECRET_CHARS: usize = 32;
/// Longest secret looked at.
const MAX_SECRET_CHARS: usize = 128;
/// Longest region looked at.
const MAX_REGION_CHARS: usize = 32;

/// A stream key's text. `Debug` masks the secret and there is no `Display`, so that it reaches a
/// log or a page only through [`StreamKeyValue::expose`].
#[derive(Clone)]
pub struct StreamKeyValue {
    text: String,
    id: StreamKeyId,
}

impl StreamKeyValue {
    /// A new random key for `region`.
    pub fn random(region: &str) -> Self {
        let id = StreamKeyId::random();
        let text = format!("sk_{region}_{id}_{}", ids::alphanumeric(SECRET_CHARS));
        Self { text, id }
    }

    /// The public part: what the ARN and the logs carry.
    pub fn id(&self) -> &StreamKeyId {
        &self.id
    }

    /// The whole key, secret included.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether both are the same key, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.text.as_bytes().ct_eq(other.text.as_bytes()).into()
    }
}

impl fmt::Debug for StreamKeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamKeyValue({}, masked)", self.id)
    }
}

impl FromStr for StreamKeyValue {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.splitn(4, '_');
        let (Some("sk"), Some(region), Some(id), Some(secret)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed);
        };
        let is_region_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let is_region = (1..=MAX_REGION_CHARS).contains(&region.len());
        let is_secret = (1..=MAX_SECRET_CHARS).contains(&secret.len());
        if !is_region
            || !is_secret
            || !region.bytes().all(is_region_byte)
            || !secret.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err(Malformed);
        }
        Ok(Self {
            text: text.to_owned(),
            id: id.parse().map_err(|_| Malformed)?,
        })
    }
}

/// Text that cannot be a stream key; it is not repeated here because it may be one misspelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed stream key: it looks like sk_<region>_<12 characters>_<secret>")]
pub struct Malformed;

/// A stream key as it is stored.
#[derive(Clone, Debug)]
pub struct StreamKey {
    /// The channel it publishes to.
    pub channel_id: ChannelId,
    /// The secret, which holds the key's id.
    pub value: StreamKeyValue,
    /// What the operator wrote on it.
    pub tags: Tags,
    /// Creation.
    pub created: WallTime,
}

impl StreamKey {
    /// A new random key for a channel.
    pub fn create(channel_id: &ChannelId, region: &str, now: WallTime) -> Self {
        let value = StreamKeyValue::random(region);
        Self {
            channel_id: channel_id.clone(),
            value,
            tags: Tags::new(),
            created: now,
        }
    }

    /// Identity, the last part of the ARN.
    pub fn id(&self) -> &StreamKeyId {
        self.value.id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_parses_to_itself_and_hides_its_secret() {
        let key = StreamKeyValue::random("ap-northeast-2");
        let parsed: StreamKeyValue = key.expose().parse().unwrap();
        assert!(parsed.matches(&key));
        assert_eq!(parsed.id(), key.id());
        let secret = key.expose().rsplit('_').next().unwrap();
        assert_eq!(secret.len(), SECRET_CHARS);
        let stored = StreamKey {
            channel_id: ChannelId::random(),
            value: key.clone(),
            tags: Tags::new(),
            created: WallTime(0),
        };
        let shown = format!("{stored:?}");
        assert!(
            !shown.contains(secret) && shown.contains(key.id().as_str()),
            "{shown}"
        );
    }

    #[test]
    fn matches_only_the_whole_key() {
        let key: StreamKeyValue = "sk_us-west-2_abcdABCDefgh_567890abcdef".parse().unwrap();
        assert_eq!(key.id().as_str(), "abcdABCDefgh");
        for other in [
            "sk_us-west-2_abcdABCDefgh_567890abcdeg",
            "sk_us-west-2_abcdABCDefgh_567890abcde",
            "sk_us-west-1_abcdABCDefgh_567890abcdef",
        ] {
            assert!(!key.matches(&other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn refuses_other_text() {
        let long = format!("sk_us-east-1_abcdABCDefgh_{}", "s".repeat(129));
        for text in [
            "",
            "live",
            "sk_us-east-1_abcdABCDefgh",
            "sk_us-east-1_abcdABCDefgh_",
            "sk__abcdABCDefgh_secret",
            "sk_us-east-1_abcdABCDefg_secret",
            "sk_us-east-1_abcdABCDefgh_sec_ret",
            "sk_us-east-1_abcdABCDefgh_secret?x=1",
            "pk_us-east-1_abcdABCDefgh_secret",
            &long,
        ] {
            assert!(text.parse::<StreamKeyValue>().is_err(), "{text}");
        }
    }
}
