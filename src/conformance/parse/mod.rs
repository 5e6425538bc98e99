//! Playlists of any server, read strictly: values with line numbers, and every flaw of the syntax.
//!
//! In:  the bytes of a playlist. Out: [`MediaPlaylist`] or [`MultivariantPlaylist`], with [`Flaw`]s.
//! Not here: HTTP, time, and what playlists mean together. Foreign input: nothing here panics.
//! Read: RFC 8216bis §4.

mod lines;
mod media;
mod multivariant;
mod playlist;
mod values;
mod variables;

use super::rules::Rule;
pub use multivariant::{IFrameVariant, MediaTag, MultivariantPlaylist, Variant};
pub use playlist::{
    ByteRange, DateRange, Hint, HintKind, Map, MediaPlaylist, Part, PlaylistType, Report, Segment,
    ServerControl,
};

pub use variables::{Surroundings, Variables, has_reference};

use lines::{Document, Line};
use values::Attributes;

/// Most segments, parts and other entries read of one media playlist: two days in segments of two seconds.
const MAX_ENTRIES: usize = 100_000;
/// Most entries of each kind read of a multivariant playlist.
const MAX_VARIANTS: usize = 1_000;
/// Most flaws kept of one playlist.
const MAX_FLAWS: usize = 100;

/// Something malformed in a playlist's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The rule it breaks.
    pub rule: Rule,
    /// Line, from 1.
    pub line: usize,
    /// The evidence.
    pub text: String,
}

/// A playlist of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playlist {
    /// One rendition's list.
    Media(Box<MediaPlaylist>),
    /// The entry list.
    Multivariant(MultivariantPlaylist),
}

/// The bytes are no playlist at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a playlist: it begins with `{start}`")]
pub struct NotAPlaylist {
    start: String,
}

/// Parses a playlist that takes no values from elsewhere; which kind it is, its tags tell.
pub fn parse(bytes: &[u8]) -> Result<Playlist, NotAPlaylist> {
    parse_within(bytes, Surroundings::default())
}

/// Parses a playlist whose variables may come from its URL and its multivariant playlist.
pub fn parse_within(
    bytes: &[u8],
    surroundings: Surroundings<'_>,
) -> Result<Playlist, NotAPlaylist> {
    let mut flaws = Flaws::default();
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        flaws.must(1, "not-utf-8", 1, || "the playlist is not UTF-8".to_owned());
    }
    let substituted = variables::substitute(&text, surroundings, &mut flaws);
    let Some(document) = Document::read(&substituted.text, &mut flaws) else {
        let printed = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let start = printed.take(40).collect();
        return Err(NotAPlaylist { start });
    };
    Ok(if document.is_multivariant() {
        let mut list = multivariant::read(&document, flaws);
        list.is_cut |= substituted.is_cut;
        list.variables = substituted.variables;
        Playlist::Multivariant(list)
    } else {
        let mut list = media::read(&document, flaws);
        list.is_cut |= substituted.is_cut;
        list.has_query_parameters = substituted.has_query_parameters;
        Playlist::Media(Box::new(list))
    })
}

/// A bounded list of flaws.
#[derive(Debug, Default)]
struct Flaws(Vec<Flaw>);

impl Flaws {
    fn add(&mut self, rule: Rule, line: usize, text: impl FnOnce() -> String) {
        if self.0.len() < MAX_FLAWS {
            let text = text();
            self.0.push(Flaw { rule, line, text });
        }
    }

    fn must(&mut self, number: u8, kind: &'static str, line: usize, text: impl FnOnce() -> String) {
        self.add(super::rules::must(number, kind), line, text);
    }

    /// A tag's attributes; what is malformed in the list is a flaw.
    fn attributes<'a>(&mut self, line: usize, value: &'a str) -> Attributes<'a> {
        Attributes::parse(value, &mut |words| {
            self.must(1, "attribute-list", line, || words);
        })
    }

    /// A required value that is missing or malformed.
    fn required<T>(&mut self, value: Option<T>, line: usize, what: &str) -> Option<T> {
        if value.is_none() {
            self.must(1, "required-value", line, || {
                format!("{what} is missing or malformed")
            });
        }
        value
    }
}

#[cfg(test)]
pub(in crate::conformance) mod tests;
