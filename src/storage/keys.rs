//! The key layout, in one place:
//!
//! ```text
//! live/<channel>/<epoch>/multivariant.m3u8
//! live/<channel>/<epoch>/<rendition>/{init-<hash>.mp4, <msn>.m4s, live.m3u8}
//! ```
//!
//! In:  names and numbers. Out: [`Key`]s and [`Prefix`]es, which only this file can make, so that
//! no name from outside ever climbs out of its folder.
//! File names are those of the live URLs: relative URIs mean the same in both places.

use std::fmt;

use object_store::path::Path;

use crate::base::ids;

/// The name of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(super) Path);

impl Key {
    /// A fresh key for trying the store out.
    pub(super) fn probe() -> Self {
        Self(Path::from_iter(["weir-check", &ids::alphanumeric(12)]))
    }
}

/// A folder of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(pub(super) Path);

impl Prefix {
    /// `live`: one folder per channel.
    pub fn live() -> Self {
        Self(Path::from("live"))
    }

    /// `live/<channel>`: one folder per epoch.
    pub fn live_channel(channel: &str) -> Result<Self, InvalidName> {
        Ok(Self(Path::from_iter(["live", checked(channel)?])))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name that must not become part of a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name a stored object: only 1 to 64 of A-Z a-z 0-9 _ - can")]
pub struct InvalidName(String);

/// One epoch of one channel's playlists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LiveEpoch {
    channel: String,
    number: u64,
}

impl LiveEpoch {
    /// Epoch `number` of `channel`.
    pub fn new(channel: &str, number: u64) -> Result<Self, InvalidName> {
        let channel = checked(channel)?.to_owned();
        Ok(Self { channel, number })
    }

    /// The epoch whose folder below `live/<channel>` has this `name`.
    pub fn from_folder(channel: &str, name: &str) -> Option<Self> {
        let epoch = Self::new(channel, name.parse().ok()?).ok()?;
        // `+7` and `007` parse as 7 but are not its folder.
        (epoch.number.to_string() == name).then_some(epoch)
    }

    /// The channel's id.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The epoch's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Everything of this epoch.
    pub fn prefix(&self) -> Prefix {
        Prefix(Path::from_iter([
            "live",
            &self.channel,
            &self.number.to_string(),
        ]))
    }

    /// The multivariant playlist.
    pub fn multivariant(&self) -> Key {
        Key(self.prefix().0.join("multivariant.m3u8"))
    }

    /// The rendition `name`.
    pub fn rendition(&self, name: &str) -> Result<LiveRendition, InvalidName> {
        Ok(LiveRendition(self.prefix().0.join(checked(name)?)))
    }
}

/// One rendition's folder.
#[derive(Clone, Debug)]
pub struct LiveRendition(Path);

impl LiveRendition {
    /// The media playlist.
    pub fn playlist(&self) -> Key {
        Key(self.0.clone().join("live.m3u8"))
    }

    /// The segment with this media sequence number.
    pub fn segment(&self, msn: u64) -> Key {
        Key(self.0.clone().join(format!("{msn}.m4s")))
    }

    /// The initialization section with this content hash.
    pub fn init(&self, hash: &str) -> Result<Key, InvalidName> {
        Ok(Key(self
            .0
            .clone()
            .join(format!("init-{}.mp4", checked(hash)?))))
    }
}

fn checked(name: &str) -> Result<&str, InvalidName> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(is_allowed) {
        Ok(name)
    } else {
        // What is shown is cut: the name may be anything of any length.
        Err(InvalidName(name.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lays_out_an_epoch() {
        let epoch = LiveEpoch::new("abcDEF123456", 7).unwrap();
        let rendition = epoch.rendition("source").unwrap();
        let keys = [
            epoch.multivariant(),
            rendition.playlist(),
            rendition.segment(18_446_744_073_709_551_615),
            rendition.init("0a1b2c3d").unwrap(),
        ];
        let text: Vec<String> = keys.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "live/abcDEF123456/7/multivariant.m3u8",
                "live/abcDEF123456/7/source/live.m3u8",
                "live/abcDEF123456/7/source/18446744073709551615.m4s",
                "live/abcDEF123456/7/source/init-0a1b2c3d.mp4",
            ]
        );
        assert_eq!(epoch.prefix().to_string(), "live/abcDEF123456/7");
    }

    #[test]
    fn refuses_names_that_are_not_one_plain_folder() {
        let epoch = LiveEpoch::new("a", 1).unwrap();
        let long = "a".repeat(65);
        for name in [
            "", ".", "..", "a/b", "/", "a b", "a%2e", "é", "a\0", "a.b", &long,
        ] {
            assert!(LiveEpoch::new(name, 1).is_err(), "{name:?}");
            assert!(Prefix::live_channel(name).is_err(), "{name:?}");
            assert!(epoch.rendition(name).is_err(), "{name:?}");
            assert!(
                epoch.rendition("a").unwrap().init(name).is_err(),
                "{name:?}"
            );
        }
        let shown = LiveEpoch::new(&"/".repeat(10_000), 1)
            .unwrap_err()
            .to_string();
        assert!(shown.len() < 200, "{shown}");
    }

    #[test]
    fn reads_an_epoch_back_from_its_folder() {
        let epoch = LiveEpoch::new("a", 12).unwrap();
        assert_eq!(LiveEpoch::from_folder("a", "12"), Some(epoch));
        for name in ["", "+12", "012", "-1", "12x", "99999999999999999999"] {
            assert_eq!(LiveEpoch::from_folder("a", name), None, "{name}");
        }
    }
}
