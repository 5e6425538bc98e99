//! Amazon resource names of the `ivs` service.
//!
//! In:  text. Out: region, account and a typed resource, or a refusal; and back to text.
//! Not here: the chat service's ARNs, which come with chat.
//! Standard: `arn:aws:ivs:[a-z0-9-]+:[0-9]+:<type>/<id>`, at most 128 characters.

use std::fmt;
use std::str::FromStr;

use super::document::DocumentKind;
use super::id::{ChannelId, DocumentId, StreamKeyId};

/// Longest ARN that the API accepts.
const MAX_CHARS: usize = 128;

/// The region and account that every ARN of this server carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    region: String,
    account: String,
}

impl Scope {
    /// A scope, if `region` is of `[a-z0-9-]` and `account` has 12 digits.
    pub fn new(region: &str, account: &str) -> Result<Self, Invalid> {
        if !is_region(region) {
            return Err(Invalid("the region must be of a-z, 0-9 and -, at most 32"));
        }
        if account.len() != 12 || !is_digits(account) {
            return Err(Invalid("the account must have 12 digits"));
        }
        Ok(Self {
            region: region.to_owned(),
            account: account.to_owned(),
        })
    }

    /// The region, for example `us-east-1`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The account, 12 digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The ARN of a channel of this server.
    pub fn channel_arn(&self, id: &ChannelId) -> Arn {
        self.arn(Resource::Channel(id.clone()))
    }

    /// The ARN of a stream key of this server.
    pub fn stream_key_arn(&self, id: &StreamKeyId) -> Arn {
        self.arn(Resource::StreamKey(id.clone()))
    }

    /// The ARN of a document of this server.
    pub fn document_arn(&self, kind: DocumentKind, id: &DocumentId) -> Arn {
        self.arn(Resource::Document(kind, id.clone()))
    }

    /// What the ARNs of all resources of a kind begin with.
    pub fn arns_of(&self, kind: &str) -> String {
        format!("arn:aws:ivs:{}:{}:{kind}/", self.region, self.account)
    }

    /// What `text` names, if it is a resource of this region and account.
    pub fn resource(&self, text: &str) -> Option<Resource> {
        let arn: Arn = text.parse().ok()?;
        self.holds(&arn).then_some(arn.resource)
    }

    /// Whether `arn` belongs to this region and account.
    pub fn holds(&self, arn: &Arn) -> bool {
        self.region == arn.region && self.account == arn.account
    }

    fn arn(&self, resource: Resource) -> Arn {
        Arn {
            region: self.region.clone(),
            account: self.account.clone(),
            resource,
        }
    }
}

/// What an ARN names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `channel/<id>`
    Channel(ChannelId),
    /// `stream-key/<id>`
    StreamKey(StreamKeyId),
    /// `<kind>/<id>`
    Document(DocumentKind, DocumentId),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(id) => write!(f, "channel/{id}"),
            Self::StreamKey(id) => write!(f, "stream-key/{id}"),
            Self::Document(kind, id) => write!(f, "{kind}/{id}"),
        }
    }
}

/// One ARN of the `ivs` service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arn {
    /// Region, `[a-z0-9-]+`.
    pub region: String,
    /// Account, digits.
    pub account: String,
    /// The resource named.
    pub resource: Resource,
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arn:aws:ivs:{}:{}:{}",
            self.region, self.account, self.resource
        )
    }
}

impl FromStr for Arn {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_CHARS {
            return Err(Invalid("longer than 128 characters"));
        }
        let rest = text
            .strip_prefix("arn:aws:ivs:")
            .ok_or(Invalid("it starts with arn:aws:ivs:"))?;
        let mut parts = rest.splitn(3, ':');
        let mut next = || parts.next().ok_or(Invalid("it has six parts"));
        let (region, account, resource) = (next()?, next()?, next()?);
        if !is_region(region) || !is_digits(account) {
            return Err(Invalid("region or account is malformed"));
        }
        Ok(Self {
            region: region.to_owned(),
            account: account.to_owned(),
            resource: parse_resource(resource)?,
        })
    }
}

fn parse_resource(text: &str) -> Result<Resource, Invalid> {
    let malformed = Invalid("a resource id has 12 letters and digits");
    let (kind, id) = text.split_once('/').ok_or(malformed)?;
    match kind {
        "channel" => id.parse().map(Resource::Channel).map_err(|_| malformed),
        "stream-key" => id.parse().map(Resource::StreamKey).map_err(|_| malformed),
        kind => {
            let unknown = Invalid("the resource is of no known kind");
            let kind = kind.parse().map_err(|_| unknown)?;
            let id = id.parse().map_err(|_| malformed)?;
            Ok(Resource::Document(kind, id))
        }
    }
}

fn is_region(text: &str) -> bool {
    let is_region_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(is_region_byte)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Text that is no ARN, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed ARN: {0}")]
pub struct Invalid(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arn_survives_the_way_to_text_and_back() {
        let scope = Scope::new("eu-west-1", "123456789012").unwrap();
        let channel = scope.channel_arn(&"abcdABCDefgh".parse().unwrap());
        let text = "arn:aws:ivs:eu-west-1:123456789012:channel/abcdABCDefgh";
        assert_eq!(channel.to_string(), text);
        let key = scope.stream_key_arn(&"abcdABCD1234".parse().unwrap());
        let id = "abcdABCD5678".parse().unwrap();
        let policy = scope.document_arn(DocumentKind::PlaybackRestrictionPolicy, &id);
        for arn in [channel, key, policy] {
            assert_eq!(arn.to_string().parse(), Ok(arn.clone()));
            assert!(scope.holds(&arn));
            assert!(!Scope::new("eu-west-2", "123456789012").unwrap().holds(&arn));
        }
    }

    #[test]
    fn refuses_what_is_no_ivs_arn() {
        let long = format!("arn:aws:ivs:{}:1:channel/abcdABCDefgh", "a".repeat(120));
        for text in [
            "",
            "nope",
            "arn:aws:ivs:us-east-1",
            "arn:aws:s3:us-east-1:123456789012:channel/abcdABCDefgh",
            "arn:aws:ivs:US:123456789012:channel/abcdABCDefgh",
            "arn:aws:ivs:us-east-1::channel/abcdABCDefgh",
            "arn:aws:ivs:us-east-1:12x:channel/abcdABCDefgh",
            "arn:aws:ivs:us-east-1:123456789012:channel",
            "arn:aws:ivs:us-east-1:123456789012:channel/a/b",
            "arn:aws:ivs:us-east-1:123456789012:stage/abcdABCDefgh",
            &long,
        ] {
            assert!(text.parse::<Arn>().is_err(), "{text}");
        }
        assert!(Scope::new("us_east", "123456789012").is_err());
        assert!(Scope::new("us-east-1", "12345").is_err());
    }
}
