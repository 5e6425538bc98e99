//! What a playback URL asks for.
//!
//! In:  a path and a query as they came. Out: typed requests, or why there is none.
//! Not here: whether it exists (`playlist::directory`), whether it must wait (`reload`).
//! Read: rfc8216bis §6.2.5 for delivery directives.

use std::borrow::Cow;

use super::viewer_session;
use crate::playlist::file_name::{MediaFile, decimal};

/// What all playback paths begin with.
pub const PREFIX: &str = "/api/video/v1/";
/// Most bytes of a path; ours have about a hundred.
const MAX_PATH_BYTES: usize = 512;
/// Most bytes of a query; a playback token takes up to two thousand.
const MAX_QUERY_BYTES: usize = 8 * 1024;
/// Most characters of a viewer session, a rendition's name, a region.
const MAX_NAME: usize = viewer_session::CHARS;

/// A playback path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaybackPath<'a> {
    /// `<region>.<account>.channel.<channel id>.m3u8`
    Multivariant {
        /// The region that the URL names.
        region: &'a str,
        /// The account that the URL names.
        account: &'a str,
        /// The channel's resource id.
        channel_id: &'a str,
    },
    /// `s/<viewer session>/<channel id>/<epoch>/<rendition>/<file>`
    Media(MediaPath<'a>),
}

/// A media playlist or a piece of media, in one viewer session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPath<'a> {
    /// The viewer session; the answer's bytes do not depend on it.
    pub viewer_session: &'a str,
    /// The channel's resource id.
    pub channel_id: &'a str,
    /// The playlist epoch.
    pub epoch: u64,
    /// The rendition's name.
    pub rendition: &'a str,
    /// What in the rendition's folder.
    pub file: MediaFile<'a>,
}

impl<'a> PlaybackPath<'a> {
    /// Parses a whole path, such as `/api/video/v1/s/…`; nothing in it is percent-decoded, for no
    /// name of ours needs that.
    pub fn parse(path: &'a str) -> Option<Self> {
        if path.len() > MAX_PATH_BYTES {
            return None;
        }
        let rest = path.strip_prefix(PREFIX)?;
        match rest.strip_prefix("s/") {
            Some(rest) => media_path(rest).map(Self::Media),
            None => multivariant(rest),
        }
    }
}

fn media_path(rest: &str) -> Option<MediaPath<'_>> {
    let mut components = rest.split('/');
    let path = MediaPath {
        viewer_session: components.next().filter(|name| is_name(name))?,
        channel_id: components.next().filter(|id| is_channel_id(id))?,
        epoch: decimal(components.next()?)?,
        rendition: components.next().filter(|name| is_name(name))?,
        file: MediaFile::parse(components.next()?)?,
    };
    components.next().is_none().then_some(path)
}

fn multivariant(rest: &str) -> Option<PlaybackPath<'_>> {
    let mut labels = rest.strip_suffix(".m3u8")?.split('.');
    let region = labels.next().filter(|name| is_name(name))?;
    let account = labels.next().filter(|name| is_name(name))?;
    labels.next().filter(|label| *label == "channel")?;
    let channel_id = labels.next().filter(|id| is_channel_id(id))?;
    let path = PlaybackPath::Multivariant {
        region,
        account,
        channel_id,
    };
    labels.next().is_none().then_some(path)
}

fn is_name(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn is_channel_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Whether the query of a multivariant playlist asks for sound alone, too, as Amazon IVS spells it.
pub fn allows_audio_only(query: &str) -> bool {
    parameter(query, "allow_audio_only").is_some_and(|value| value == "true")
}

/// The playback token in the query of a multivariant playlist.
pub fn token(query: &str) -> Option<Cow<'_, str>> {
    parameter(query, "token").filter(|token| !token.is_empty())
}

/// The first value of a parameter.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let query = (query.len() <= MAX_QUERY_BYTES).then_some(query)?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The delivery directives of a media playlist request. Whether they go together is
/// [`reload::decide`](super::reload::decide)'s to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `_HLS_msn`
    pub msn: Option<u64>,
    /// `_HLS_part`
    pub part: Option<u32>,
    /// `_HLS_skip=YES` or `v2`, which is the same to us: no playlist of ours skips date ranges.
    pub skip: bool,
}

/// A query that is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// More than any request of a player needs.
    #[error("query longer than {MAX_QUERY_BYTES} bytes")]
    TooLong,
    /// A directive with a value it cannot have.
    #[error("{0} has a value it cannot have")]
    BadValue(&'static str),
    /// A directive given twice.
    #[error("{0} is given twice")]
    Repeated(&'static str),
}

impl Directives {
    /// Parses a query without its `?`. Other parameters, unknown `_HLS_` ones included, are
    /// somebody else's.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        if query.len() > MAX_QUERY_BYTES {
            return Err(QueryError::TooLong);
        }
        let (mut msn, mut part, mut skip) = (None, None, None);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "_HLS_msn" => set(&mut msn, "_HLS_msn", decimal(&value))?,
                "_HLS_part" => {
                    let number = decimal(&value).and_then(|n| n.try_into().ok());
                    set(&mut part, "_HLS_part", number)?;
                }
                "_HLS_skip" => {
                    let known = matches!(&*value, "YES" | "v2").then_some(());
                    set(&mut skip, "_HLS_skip", known)?;
                }
                _ => {}
            }
        }
        Ok(Self {
            msn,
            part,
            skip: skip.is_some(),
        })
    }
}

fn set<T>(slot: &mut Option<T>, name: &'static str, value: Option<T>) -> Result<(), QueryError> {
    let value = value.ok_or(QueryError::BadValue(name))?;
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(QueryError::Repeated(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playlist::Position;

    #[test]
    fn media_paths() {
        let file = |path| match PlaybackPath::parse(path) {
            Some(PlaybackPath::Media(path)) => Some(path),
            _ => None,
        };
        let good = "/api/video/v1/s/aB3_-9/abcdABCDefgh/7/720p60/1057.3.m4s";
        let expected = MediaPath {
            viewer_session: "aB3_-9",
            channel_id: "abcdABCDefgh",
            epoch: 7,
            rendition: "720p60",
            file: MediaFile::Part(Position { msn: 1057, part: 3 }),
        };
        assert_eq!(file(good), Some(expected));
        let long = format!(
            "/api/video/v1/s/{}/abcdABCDefgh/7/720p60/1.m4s",
            "a".repeat(73)
        );
        let refused = [
            "/api/video/v1/s//abcdABCDefgh/7/720p60/1057.m4s",
            "/api/video/v1/s/v/abcdABCDefg/7/720p60/1057.m4s",
            "/api/video/v1/s/v/abcdABCDefg./7/720p60/1057.m4s",
            "/api/video/v1/s/v/abcdABCDefgh/07/720p60/1057.m4s",
            "/api/video/v1/s/v/abcdABCDefgh/7/../1057.m4s",
            "/api/video/v1/s/v/abcdABCDefgh/7/%37/1057.m4s",
            "/api/video/v1/s/v/abcdABCDefgh/7/720p60/",
            "/api/video/v1/s/v/abcdABCDefgh/7/720p60",
            "/api/video/v1/s/v/abcdABCDefgh/7/720p60/1057.m4s/",
            "/api/video/v1/s/v/abcdABCDefgh/7/720p60//1057.m4s",
            "/api/video/v1/s/",
            "/api/video/v1/s",
            "/s/v/abcdABCDefgh/7/720p60/1057.m4s",
            "",
            &long,
        ];
        for path in refused {
            assert_eq!(PlaybackPath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn multivariant_paths() {
        let good = "/api/video/v1/us-west-2.123456789012.channel.abcdABCDefgh.m3u8";
        let expected = PlaybackPath::Multivariant {
            region: "us-west-2",
            account: "123456789012",
            channel_id: "abcdABCDefgh",
        };
        assert_eq!(PlaybackPath::parse(good), Some(expected));
        for path in [
            "/api/video/v1/us-west-2.123456789012.channel.abcdABCDefgh",
            "/api/video/v1/us-west-2.123456789012.room.abcdABCDefgh.m3u8",
            "/api/video/v1/.123456789012.channel.abcdABCDefgh.m3u8",
            "/api/video/v1/us-west-2.123456789012.channel.abcdABCDefgh.x.m3u8",
            "/api/video/v1/us-west-2.123456789012.channel.abc.m3u8",
            "/api/video/v1/x/us-west-2.123456789012.channel.abcdABCDefgh.m3u8",
            "/api/video/v1/.m3u8",
        ] {
            assert_eq!(PlaybackPath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn directives_are_strict_and_everything_else_is_ignored() {
        let parsed = |msn, part, skip| Ok(Directives { msn, part, skip });
        let bad = |name| Err(QueryError::BadValue(name));
        let repeated = |name| Err(QueryError::Repeated(name));
        let cases = [
            ("", parsed(None, None, false)),
            ("_HLS_msn=1057", parsed(Some(1057), None, false)),
            ("_HLS_msn=0&_HLS_part=0", parsed(Some(0), Some(0), false)),
            ("_HLS_part=3", parsed(None, Some(3), false)),
            ("_HLS_msn=1&_HLS_skip=YES", parsed(Some(1), None, true)),
            ("_HLS_skip=v2", parsed(None, None, true)),
            ("token=a.b&_HLS_msn=5&x", parsed(Some(5), None, false)),
            ("%5FHLS_msn=%35", parsed(Some(5), None, false)),
            (
                "_HLS_pathway=a&_HLS_future=&_HLS_MSN=x",
                parsed(None, None, false),
            ),
            ("&&==&%%%&=_HLS_msn", parsed(None, None, false)),
            (
                "_HLS_msn=18446744073709551615",
                parsed(Some(u64::MAX), None, false),
            ),
            ("_HLS_msn=18446744073709551616", bad("_HLS_msn")),
            ("_HLS_msn=", bad("_HLS_msn")),
            ("_HLS_msn", bad("_HLS_msn")),
            ("_HLS_msn=-1", bad("_HLS_msn")),
            ("_HLS_msn=+1", bad("_HLS_msn")),
            ("_HLS_msn=1.0", bad("_HLS_msn")),
            ("_HLS_msn=01", bad("_HLS_msn")),
            ("_HLS_msn=1&_HLS_part=4294967296", bad("_HLS_part")),
            ("_HLS_msn=1&_HLS_part=NaN", bad("_HLS_part")),
            ("_HLS_skip=yes", bad("_HLS_skip")),
            ("_HLS_msn=1&_HLS_msn=1", repeated("_HLS_msn")),
            ("_HLS_part=1&_HLS_part=2", repeated("_HLS_part")),
            ("_HLS_skip=YES&_HLS_skip=v2", repeated("_HLS_skip")),
        ];
        for (query, expected) in cases {
            assert_eq!(Directives::parse(query), expected, "{query}");
        }
        let long = "a".repeat(MAX_QUERY_BYTES + 1);
        assert_eq!(Directives::parse(&long), Err(QueryError::TooLong));
    }
}
