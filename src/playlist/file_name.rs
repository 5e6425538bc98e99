//! The names of what a rendition's folder holds, written into playlists and read from requests.
//!
//! In:  a path's last component. Out: a [`MediaFile`], or nothing. A file has exactly one name
//! (no leading zeros, no upper-case hash), so that caches and the mirror hold it once.
//! Not here: the folders above it (`origin::request`).

use std::fmt;

/// Most characters of a number in a name: `u64::MAX` has twenty.
const MAX_DIGITS: usize = 20;
/// Most characters of an initialization section's hash; ours have eight.
const MAX_HASH: usize = 32;

/// A part's place in the sequence; ordered by segment, then by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Media sequence number of the part's segment.
    pub msn: u64,
    /// Index in the segment, from zero.
    pub part: u32,
}

/// One file of a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaFile<'a> {
    /// `live.m3u8`
    Playlist,
    /// `init-<hash>.mp4`
    Init(&'a str),
    /// `<msn>.m4s`
    Segment(u64),
    /// `<msn>.<part>.m4s`
    Part(Position),
}

impl<'a> MediaFile<'a> {
    /// The file called `name`.
    pub fn parse(name: &'a str) -> Option<Self> {
        if name == "live.m3u8" {
            return Some(Self::Playlist);
        }
        if let Some(rest) = name.strip_prefix("init-") {
            let hash = rest.strip_suffix(".mp4")?;
            return is_hash(hash).then_some(Self::Init(hash));
        }
        let numbers = name.strip_suffix(".m4s")?;
        match numbers.split_once('.') {
            None => decimal(numbers).map(Self::Segment),
            Some((msn, part)) => Some(Self::Part(Position {
                msn: decimal(msn)?,
                part: decimal(part)?.try_into().ok()?,
            })),
        }
    }
}

impl fmt::Display for MediaFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Playlist => f.write_str("live.m3u8"),
            Self::Init(hash) => write!(f, "init-{hash}.mp4"),
            Self::Segment(msn) => write!(f, "{msn}.m4s"),
            Self::Part(Position { msn, part }) => write!(f, "{msn}.{part}.m4s"),
        }
    }
}

/// A decimal integer in its shortest form: digits only, no leading zero.
pub fn decimal(text: &str) -> Option<u64> {
    let is_shortest = text == "0" || !text.starts_with('0');
    let is_number = text.len() <= MAX_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    if is_shortest && is_number {
        text.parse().ok()
    } else {
        None
    }
}

fn is_hash(text: &str) -> bool {
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    (1..=MAX_HASH).contains(&text.len()) && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_exactly_one_name() {
        let part = |msn, part| MediaFile::Part(Position { msn, part });
        let cases = [
            ("live.m3u8", Some(MediaFile::Playlist)),
            ("init-7f3a09bc.mp4", Some(MediaFile::Init("7f3a09bc"))),
            ("0.m4s", Some(MediaFile::Segment(0))),
            (
                "18446744073709551615.m4s",
                Some(MediaFile::Segment(u64::MAX)),
            ),
            ("1057.0.m4s", Some(part(1057, 0))),
            ("1057.4294967295.m4s", Some(part(1057, u32::MAX))),
            ("", None),
            (".m4s", None),
            ("1057", None),
            ("1057.", None),
            ("01057.m4s", None),
            ("+1057.m4s", None),
            ("-1.m4s", None),
            ("1057.00.m4s", None),
            ("1057..m4s", None),
            (".1.m4s", None),
            ("1057.1.2.m4s", None),
            ("18446744073709551616.m4s", None),
            ("1057.4294967296.m4s", None),
            ("1057.m4s.m4s", None),
            ("LIVE.m3u8", None),
            ("init-.mp4", None),
            ("init-7F3A.mp4", None),
            ("init-7f3a.m4s", None),
            ("init-../../etc.mp4", None),
            ("init-000000000000000000000000000000000.mp4", None),
            ("١.m4s", None),
        ];
        for (name, expected) in cases {
            let file = MediaFile::parse(name);
            assert_eq!(file, expected, "{name}");
            if let Some(file) = file {
                assert_eq!(file.to_string(), name);
            }
        }
    }
}
