//! A multivariant playlist: its variants, renditions and I-frame variants.
//!
//! In:  a document. Out: [`MultivariantPlaylist`]. Not here: whether its words are true (`together`, `truth`).

use super::values::{Attributes, integer, micros, resolution};
use super::{Document, Flaw, Flaws, Line, MAX_VARIANTS, Variables};

/// EXT-X-STREAM-INF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Line, from 1.
    pub line: usize,
    /// As written.
    pub uri: String,
    /// BANDWIDTH.
    pub bandwidth_bps: Option<u64>,
    /// AVERAGE-BANDWIDTH.
    pub average_bps: Option<u64>,
    /// CODECS.
    pub codecs: Option<String>,
    /// RESOLUTION.
    pub resolution: Option<(u64, u64)>,
    /// FRAME-RATE, millionths.
    pub frame_rate_micros: Option<u64>,
    /// AUDIO, a group.
    pub audio: Option<String>,
    /// CLOSED-CAPTIONS, as written.
    pub closed_captions: Option<String>,
}

/// EXT-X-MEDIA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaTag {
    /// Line, from 1.
    pub line: usize,
    /// TYPE.
    pub kind: String,
    /// GROUP-ID.
    pub group: Option<String>,
    /// NAME.
    pub name: Option<String>,
    /// URI.
    pub uri: Option<String>,
    /// LANGUAGE.
    pub language: Option<String>,
    /// CHANNELS.
    pub channels: Option<String>,
    /// DEFAULT=YES.
    pub is_default: bool,
    /// AUTOSELECT=YES.
    pub is_autoselect: bool,
}

/// EXT-X-I-FRAME-STREAM-INF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IFrameVariant {
    /// Line, from 1.
    pub line: usize,
    /// As written.
    pub uri: Option<String>,
    /// BANDWIDTH.
    pub bandwidth_bps: Option<u64>,
    /// CODECS.
    pub codecs: Option<String>,
}

/// A multivariant playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MultivariantPlaylist {
    /// EXT-X-VERSION.
    pub version: Option<u64>,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub has_independent_segments: bool,
    /// In order.
    pub variants: Vec<Variant>,
    /// In order.
    pub media: Vec<MediaTag>,
    /// In order.
    pub iframes: Vec<IFrameVariant>,
    /// EXT-X-DEFINE, with their values.
    pub variables: Variables,
    /// It was too long to be read to its end.
    pub is_cut: bool,
    /// What is malformed.
    pub flaws: Vec<Flaw>,
}

/// Reads a document line by line.
pub(super) fn read(document: &Document<'_>, flaws: Flaws) -> MultivariantPlaylist {
    let mut reader = Reader {
        list: MultivariantPlaylist::default(),
        flaws,
        pending: None,
    };
    for line in &document.lines {
        let MultivariantPlaylist {
            variants,
            media,
            iframes,
            ..
        } = &reader.list;
        if [variants.len(), media.len(), iframes.len()].contains(&MAX_VARIANTS) {
            reader.list.is_cut = true;
            break;
        }
        match *line {
            Line::Tag {
                number,
                name,
                value,
            } => reader.tag(number, name, value),
            Line::Uri { number, text } => reader.uri(number, text),
        }
    }
    reader.finish()
}

struct Reader {
    list: MultivariantPlaylist,
    flaws: Flaws,
    pending: Option<Variant>,
}

impl Reader {
    fn tag(&mut self, line: usize, name: &str, value: &str) {
        match name {
            "EXT-X-VERSION" => self.list.version = self.flaws.required(integer(value), line, name),
            "EXT-X-INDEPENDENT-SEGMENTS" => self.list.has_independent_segments = true,
            "EXT-X-STREAM-INF" => {
                self.miss_uri();
                let attributes = self.flaws.attributes(line, value);
                self.pending = Some(variant(line, &attributes));
            }
            "EXT-X-MEDIA" => {
                let attributes = self.flaws.attributes(line, value);
                self.list.media.push(media_tag(line, &attributes));
            }
            "EXT-X-I-FRAME-STREAM-INF" => {
                let attributes = self.flaws.attributes(line, value);
                self.list.iframes.push(IFrameVariant {
                    line,
                    uri: attributes.quoted("URI").map(str::to_owned),
                    bandwidth_bps: attributes.integer("BANDWIDTH"),
                    codecs: attributes.quoted("CODECS").map(str::to_owned),
                });
            }
            "EXTINF" | "EXT-X-TARGETDURATION" | "EXT-X-MEDIA-SEQUENCE" | "EXT-X-PART" => {
                let text = || format!("#{name} stands in a multivariant playlist");
                self.flaws.must(1, "mixed-playlist", line, text);
            }
            _ => {}
        }
    }

    fn uri(&mut self, line: usize, text: &str) {
        match self.pending.take() {
            Some(mut variant) => {
                text.clone_into(&mut variant.uri);
                self.list.variants.push(variant);
            }
            None => self.flaws.must(1, "uri-without-variant", line, || {
                format!("the URI {text} follows no EXT-X-STREAM-INF")
            }),
        }
    }

    fn miss_uri(&mut self) {
        if let Some(variant) = self.pending.take() {
            let text = || "EXT-X-STREAM-INF is not followed by a URI".to_owned();
            self.flaws
                .must(1, "variant-without-uri", variant.line, text);
        }
    }

    fn finish(mut self) -> MultivariantPlaylist {
        self.miss_uri();
        self.list.flaws = self.flaws.0;
        self.list
    }
}

fn variant(line: usize, attributes: &Attributes<'_>) -> Variant {
    Variant {
        line,
        uri: String::new(),
        bandwidth_bps: attributes.integer("BANDWIDTH"),
        average_bps: attributes.integer("AVERAGE-BANDWIDTH"),
        codecs: attributes.quoted("CODECS").map(str::to_owned),
        resolution: attributes.plain("RESOLUTION").and_then(resolution),
        frame_rate_micros: attributes.plain("FRAME-RATE").and_then(micros),
        audio: attributes.quoted("AUDIO").map(str::to_owned),
        closed_captions: attributes.text("CLOSED-CAPTIONS").map(str::to_owned),
    }
}

fn media_tag(line: usize, attributes: &Attributes<'_>) -> MediaTag {
    let quoted = |name: &str| attributes.quoted(name).map(str::to_owned);
    MediaTag {
        line,
        kind: attributes.plain("TYPE").unwrap_or_default().to_owned(),
        group: quoted("GROUP-ID"),
        name: quoted("NAME"),
        uri: quoted("URI"),
        language: quoted("LANGUAGE"),
        channels: quoted("CHANNELS"),
        is_default: attributes.is_yes("DEFAULT"),
        is_autoselect: attributes.is_yes("AUTOSELECT"),
    }
}
