//! Enumerations whose members are AWS's own words.

/// An enumeration with one word per member: `Display`, `FromStr`, serde by word, and `ALL` come with it.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident as $noun:literal { $( $(#[$member_meta:meta])* $member:ident = $word:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$member_meta])* $member, )+ }

        impl $name {
            /// Every member, in the API model's order.
            pub const ALL: &[Self] = &[$(Self::$member),+];

            /// The word that stands for this member on the wire and in the database.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$member => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|m| m.word() == text).ok_or_else(|| {
                    let words = [$($word),+].join(", ");
                    format!(concat!($noun, " must be one of {}"), words)
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.word())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use words;
