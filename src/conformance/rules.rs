//! The rules of low-latency HLS, by number: what this room judges, and what no program can.
//!
//! In:  nothing. Out: [`RULES`], and the names under which breaches are reported.
//! Not here: the judgements themselves. Sources: RFC 8216bis (draft 22) with its appendix B.1, and Apple's
//! HLS Authoring Specification; "practice" is what players are known to stumble over, without a text behind it.

use serde::Serialize;

/// How much a breach matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The specification forbids it.
    Must,
    /// The specification advises against it.
    Should,
    /// Players are known to stumble over it.
    Practice,
}

impl Level {
    /// The word in text and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Practice => "practice",
        }
    }
}

/// One way to break a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number in [`RULES`].
    pub number: u8,
    /// How much this breach matters.
    pub level: Level,
    /// A stable word for this breach.
    pub kind: &'static str,
}

/// A breach of what the specification demands.
pub(super) const fn must(number: u8, kind: &'static str) -> Rule {
    let level = Level::Must;
    Rule {
        number,
        level,
        kind,
    }
}

/// A breach of what the specification advises.
pub(super) const fn should(number: u8, kind: &'static str) -> Rule {
    let level = Level::Should;
    Rule {
        number,
        level,
        kind,
    }
}

/// What players are known to stumble over.
pub(super) const fn practice(number: u8, kind: &'static str) -> Rule {
    let level = Level::Practice;
    Rule {
        number,
        level,
        kind,
    }
}

/// A rule's entry in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 1 to 64.
    pub number: u8,
    /// In few words.
    pub title: &'static str,
    /// Why this program does not judge it; none if it does.
    pub unjudged: Option<&'static str>,
}

const fn judged(number: u8, title: &'static str) -> Entry {
    Entry {
        number,
        title,
        unjudged: None,
    }
}

const fn unjudged(number: u8, title: &'static str, why: &'static str) -> Entry {
    Entry {
        number,
        title,
        unjudged: Some(why),
    }
}

/// All rules, in order.
pub const RULES: [Entry; 64] = [
    judged(1, "syntax, encoding and type of playlists"),
    judged(2, "EXT-X-VERSION fits what is used"),
    judged(3, "only permitted changes between playlists"),
    judged(4, "TARGETDURATION constant and not exceeded, EXTINF exact"),
    judged(5, "EXT-X-PLAYLIST-TYPE and what it forbids"),
    judged(6, "MEDIA-SEQUENCE and DISCONTINUITY-SEQUENCE accounting"),
    judged(7, "length of the window"),
    judged(
        8,
        "removed segments stay fetchable, as long as the check lasts",
    ),
    judged(9, "cadence of segments and parts"),
    judged(10, "PROGRAM-DATE-TIME present, consistent, shared"),
    judged(11, "every fMP4 segment under its EXT-X-MAP"),
    judged(12, "ENDLIST and what follows from it"),
    judged(13, "SERVER-CONTROL the same in all playlists"),
    judged(14, "CAN-BLOCK-RELOAD where there are parts"),
    judged(15, "PART-HOLD-BACK"),
    judged(16, "HOLD-BACK"),
    judged(17, "CAN-SKIP-UNTIL"),
    judged(18, "PART-INF and PART-TARGET"),
    judged(19, "durations of parts"),
    judged(20, "INDEPENDENT tells the truth"),
    judged(21, "byte ranges of parts"),
    judged(22, "what is listed is there, or marked as a gap"),
    judged(23, "order of tags around parts"),
    judged(24, "parts add up to their segment"),
    judged(
        25,
        "how long parts are listed, and fetchable as long as the check lasts",
    ),
    judged(26, "a part is whole fragments"),
    judged(27, "preload hints present and kept"),
    judged(28, "hinted parts are held and come whole"),
    judged(29, "a hint for a new initialization section"),
    judged(30, "rendition reports present and fresh"),
    judged(31, "delta updates"),
    judged(32, "blocking reload waits for what was asked"),
    judged(
        33,
        "a part past the end of a segment is the next segment's first",
    ),
    judged(34, "old positions are answered at once"),
    judged(35, "_HLS_part without _HLS_msn is refused"),
    judged(36, "positions far ahead are refused"),
    judged(37, "nothing is held longer than three target durations"),
    judged(38, "after ENDLIST delivery directives are ignored"),
    judged(39, "unknown _HLS_ parameters are ignored"),
    unjudged(
        40,
        "_HLS_msn alone at a segment boundary",
        "what suits best shows on an iPhone only",
    ),
    unjudged(
        41,
        "blocking reload of I-frame playlists",
        "I-frame playlists are not followed",
    ),
    judged(42, "HTTP/2 and TLS"),
    judged(43, "RFC 9218 priorities"),
    judged(44, "gzip for playlists, none for media"),
    judged(45, "Cache-Control lifetimes"),
    judged(46, "Date and Age"),
    judged(47, "no redirects, a URI never changes its content"),
    judged(48, "CORS"),
    judged(49, "media types and Content-Length"),
    unjudged(
        50,
        "HTTP/2 limits and proxies",
        "limits show under load only",
    ),
    judged(51, "renditions aligned and level"),
    judged(52, "STREAM-INF attributes tell the truth"),
    judged(53, "EXT-X-INDEPENDENT-SEGMENTS"),
    judged(54, "EXT-X-MEDIA, and sound where it is promised"),
    judged(55, "CODECS tell the truth"),
    judged(56, "the first variant is a fair default"),
    judged(57, "I-frame playlists"),
    judged(58, "structure and continuity of fMP4"),
    unjudged(
        59,
        "content steering",
        "optional, and only shows when it steers",
    ),
    judged(60, "EXT-X-DATERANGE"),
    judged(61, "DISCONTINUITY where timestamps or tracks change"),
    judged(62, "gaps keep the timeline"),
    unjudged(63, "players' support for gaps", "gaps are not fetched"),
    judged(64, "the first playlist is filled"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_numbered_from_1_to_64() {
        assert!(RULES.iter().map(|rule| rule.number).eq(1..=64));
    }
}
