//! Identifiers as newtypes, so that a stream key's id cannot be handed in as a channel's.
//!
//! In:  text from outside, or nothing (a new random id). Out: an id of the right form.
//! Standard: IVS identifiers, 12 x `[A-Za-z0-9]` in ARNs; `st-` and 23 more for a stream.

use std::fmt;
use std::str::FromStr;

use crate::base::ids;

/// Characters of an identifier inside an ARN.
const RESOURCE_ID_CHARS: usize = 12;
/// Characters of a stream id after `st-`.
const STREAM_ID_CHARS: usize = 23;

/// Text that is not an identifier of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {noun}: it is {form}")]
pub struct Invalid {
    noun: &'static str,
    form: &'static str,
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $noun:literal, $form:literal, $prefix:literal, $chars:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// A new random identifier.
            pub fn random() -> Self {
                Self(format!("{}{}", $prefix, ids::alphanumeric($chars)))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                text.strip_prefix($prefix)
                    .filter(|rest| rest.len() == $chars)
                    .filter(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric()))
                    .map(|_| Self(text.to_owned()))
                    .ok_or(Invalid { noun: $noun, form: $form })
            }
        }
    };
}

id!(
    /// Names a channel: the last part of its ARN.
    ChannelId, "channel id", "12 letters and digits", "", RESOURCE_ID_CHARS
);
id!(
    /// Names a stream key: the last part of its ARN and the public part of its value.
    StreamKeyId, "stream key id", "12 letters and digits", "", RESOURCE_ID_CHARS
);
id!(
    /// Names a resource that is stored whole: the last part of its ARN.
    DocumentId, "resource id", "12 letters and digits", "", RESOURCE_ID_CHARS
);
id!(
    /// Names one stream, from publish to unpublish.
    StreamId, "stream id", "\"st-\" and 23 letters and digits", "st-", STREAM_ID_CHARS
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_parse_and_others_do_not() {
        let channel = ChannelId::random();
        assert_eq!(channel.as_str().parse(), Ok(channel.clone()));
        let stream = StreamId::random();
        assert_eq!(stream.as_str().len(), 26);
        assert_eq!(stream.as_str().parse(), Ok(stream.clone()));
        for text in [
            "",
            "abcdABCDefg",
            "abcdABCDefgh1",
            "abcd-BCDefgh",
            "abcdABCDefgé",
        ] {
            assert!(text.parse::<ChannelId>().is_err(), "{text}");
        }
        for text in [
            "st-",
            "abcdefghijklmnopqrstuvwxyz",
            "st-abcdefghijklmnopqrstuv_",
        ] {
            assert!(text.parse::<StreamId>().is_err(), "{text}");
        }
        let refusal = "x".parse::<StreamKeyId>().unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "not a stream key id: it is 12 letters and digits"
        );
    }
}
