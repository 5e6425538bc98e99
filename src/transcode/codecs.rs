//! Asks the linked libav which codecs it has.
//!
//! Works alike with FFmpeg 5.1 and 7.1: names are looked up, nothing is opened.

use std::fmt;

use ffmpeg_next as ffmpeg;

/// Decoders that a publisher's codec may need.
const DECODERS: [&str; 8] = [
    "h264", "aac", "hevc", "libdav1d", "vp9", "opus", "flac", "mp3float",
];
/// Encoders that a ladder may use.
const ENCODERS: [&str; 4] = ["libx264", "aac", "libx265", "libsvtav1"];
/// Without these there is no ladder.
const NEEDED_DECODERS: [&str; 2] = ["h264", "aac"];
const NEEDED_ENCODERS: [&str; 2] = ["libx264", "aac"];

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codecs {
    /// libavcodec's version, for example `59.37.100`.
    pub version: String,
    /// The licence that libavcodec was built under.
    pub licence: String,
    /// Decoders present, of those Weir can use.
    pub decoders: Vec<&'static str>,
    /// Encoders present, of those Weir can use.
    pub encoders: Vec<&'static str>,
}

impl Codecs {
    /// Asks the linked library.
    pub fn probe() -> Self {
        let version = ffmpeg::codec::version();
        Self {
            version: format!(
                "{}.{}.{}",
                version >> 16,
                version >> 8 & 0xff,
                version & 0xff
            ),
            licence: ffmpeg::codec::license().to_owned(),
            decoders: present(&DECODERS, |name| {
                ffmpeg::decoder::find_by_name(name).is_some()
            }),
            encoders: present(&ENCODERS, |name| {
                ffmpeg::encoder::find_by_name(name).is_some()
            }),
        }
    }

    /// What a ladder needs and is not there, in words.
    pub fn missing(&self) -> Vec<String> {
        let lacks = |found: &[&str], name: &str| !found.contains(&name);
        let decoders = NEEDED_DECODERS
            .iter()
            .filter(|name| lacks(&self.decoders, name));
        let encoders = NEEDED_ENCODERS
            .iter()
            .filter(|name| lacks(&self.encoders, name));
        decoders
            .map(|name| format!("decoder {name}"))
            .chain(encoders.map(|name| format!("encoder {name}")))
            .collect()
    }
}

impl fmt::Display for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (decoders, encoders) = (self.decoders.join(" "), self.encoders.join(" "));
        let Self {
            version, licence, ..
        } = self;
        write!(
            f,
            "libavcodec {version} ({licence}), decodes {decoders}, encodes {encoders}"
        )
    }
}

fn present(names: &[&'static str], is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    names
        .iter()
        .copied()
        .filter(|name| is_there(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linked_library_has_what_the_ladder_needs() {
        let codecs = Codecs::probe();
        assert_eq!(codecs.missing(), Vec::<String>::new(), "{codecs}");
        assert!(codecs.version.starts_with(|c: char| c.is_ascii_digit()));
    }

    #[test]
    fn names_what_is_missing() {
        let codecs = Codecs {
            version: "59.37.100".to_owned(),
            licence: "LGPL".to_owned(),
            decoders: vec!["h264", "aac"],
            encoders: vec!["aac"],
        };
        assert_eq!(codecs.missing(), ["encoder libx264"]);
    }
}
