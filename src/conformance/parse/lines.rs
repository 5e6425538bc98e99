//! A playlist's lines: tags and URIs with their numbers; comments and blank lines are left out.
//!
//! In:  text. Out: [`Document`], and flaws of what holds for every playlist: no BOM, no control
//! characters, `#EXTM3U` first, tags that appear once (§4.1, §4.4.1).

use super::super::rules::must;
use super::Flaws;

/// Tags that a playlist has once at most.
const SINGLE: &[&str] = &[
    "EXTM3U",
    "EXT-X-VERSION",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-START",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-ENDLIST",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-I-FRAMES-ONLY",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-SKIP",
    "EXT-X-CONTENT-STEERING",
];

/// Tags that make a playlist a multivariant one.
const MULTIVARIANT: &[&str] = &[
    "EXT-X-STREAM-INF",
    "EXT-X-MEDIA",
    "EXT-X-I-FRAME-STREAM-INF",
];

/// A tag or a URI, with its number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Tag {
        number: usize,
        name: &'a str,
        value: &'a str,
    },
    Uri {
        number: usize,
        text: &'a str,
    },
}

#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) lines: Vec<Line<'a>>,
}

impl<'a> Document<'a> {
    /// The lines of `text`; none if it has no tag at all.
    pub(super) fn read(text: &'a str, flaws: &mut Flaws) -> Option<Self> {
        let body = text.strip_prefix('\u{feff}').unwrap_or(text);
        if body.len() != text.len() {
            flaws.must(1, "byte-order-mark", 1, || {
                "a byte order mark is first".to_owned()
            });
        }
        let mut document = Self { lines: Vec::new() };
        for (number, line) in (1..).zip(body.split('\n')) {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.contains(char::is_control) {
                flaws.must(1, "control-character", number, || format!("{line:?}"));
            }
            document.push(number, line);
        }
        let first = document.lines.first()?;
        if !matches!(
            first,
            Line::Tag {
                name: "EXTM3U",
                number: 1,
                ..
            }
        ) {
            let has_tags = document
                .lines
                .iter()
                .any(|line| matches!(line, Line::Tag { .. }));
            if !has_tags {
                return None;
            }
            flaws.must(1, "extm3u-not-first", 1, || {
                "#EXTM3U is not the first line".to_owned()
            });
        }
        document.find_repeated(flaws);
        Some(document)
    }

    fn push(&mut self, number: usize, line: &'a str) {
        if let Some(tag) = line.strip_prefix('#') {
            if tag.starts_with("EXT") {
                let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
                self.lines.push(Line::Tag {
                    number,
                    name,
                    value,
                });
            }
        } else if !line.trim().is_empty() {
            self.lines.push(Line::Uri { number, text: line });
        }
    }

    fn find_repeated(&self, flaws: &mut Flaws) {
        let mut seen = Vec::new();
        for line in &self.lines {
            if let Line::Tag { number, name, .. } = *line
                && SINGLE.contains(&name)
            {
                if seen.contains(&name) {
                    let rule = must(1, "repeated-tag");
                    flaws.add(rule, number, || format!("#{name} appears more than once"));
                } else {
                    seen.push(name);
                }
            }
        }
    }

    pub(super) fn is_multivariant(&self) -> bool {
        self.lines
            .iter()
            .any(|line| matches!(line, Line::Tag { name, .. } if MULTIVARIANT.contains(name)))
    }
}
