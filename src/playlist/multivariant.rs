//! The multivariant playlist: which variants a channel has.
//!
//! In:  the variants, in any order. Out: text; and from such a text the variants again.
//! Not here: how a variant's rates are found (`live`), who may see it (`origin`).
//! Read: §4.4.6; the EXT-X-MEDIA lines are how Amazon IVS names its qualities.

use std::collections::BTreeSet;

use super::file_name::decimal;
use super::plain::Unreadable;
use super::tags::{Tag, attribute};

/// One EXT-X-STREAM-INF entry. Only of a source that is passed through it changes with what is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// The rendition's name, for example `720p60`.
    pub name: String,
    /// Peak rate over any run of segments of about a target duration, audio included.
    pub bandwidth_bps: u64,
    /// Average rate, audio included.
    pub average_bandwidth_bps: u64,
    /// RFC 6381 strings of all tracks, comma-separated.
    pub codecs: String,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Frames per 1000 seconds; 0 if not known.
    pub frame_rate_millis: u32,
}

/// What players that start with the first variant are given: about this much (Apple's authoring
/// specification 1.32).
const DEFAULT_PICK_BPS: u64 = 2_000_000;

/// What begins each line of a variant that players are not sent to.
const HIDDEN: &str = "#WEIR-HIDDEN:";

/// The playlist of `entries`, each variant with the URI of its media playlist: the default pick
/// first, then downwards, sound alone last.
pub fn render(entries: impl IntoIterator<Item = (String, Variant)>) -> String {
    let mut entries: Vec<_> = entries.into_iter().collect();
    let pictures = entries.iter().filter(|(_, variant)| variant.has_picture());
    let rates = pictures.map(|(_, variant)| variant.bandwidth_bps);
    let pick = rates.min_by_key(|bps| bps.abs_diff(DEFAULT_PICK_BPS));
    entries.sort_by_key(|(_, variant)| {
        let bps = variant.bandwidth_bps;
        (
            !variant.has_picture(),
            Some(bps) != pick,
            std::cmp::Reverse(bps),
        )
    });
    make_unique(&mut entries);
    let mut text = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n".to_owned();
    for (uri, variant) in entries {
        write_variant(&mut text, &variant);
        text.push_str(&uri);
        text.push('\n');
    }
    text
}

/// Adds `entries` to a text of [`render`] as comments: players do not see them, [`parse`] does.
pub fn add_hidden(text: &mut String, entries: impl IntoIterator<Item = (String, Variant)>) {
    for (uri, variant) in entries {
        let mut lines = String::new();
        write_variant(&mut lines, &variant);
        for line in lines.lines().chain([&*uri]) {
            text.push_str(HIDDEN);
            text.push_str(line);
            text.push('\n');
        }
    }
}

/// Players tell groups apart by their names. A source that returns with another size may have that of
/// a rung: the later one of two is numbered.
fn make_unique(entries: &mut [(String, Variant)]) {
    let mut names = BTreeSet::new();
    for (_, variant) in entries {
        let mut name = variant.name.clone();
        for number in 2.. {
            if names.insert(name.clone()) {
                break;
            }
            name = format!("{}_{number}", variant.name);
        }
        variant.name = name;
    }
}

/// Reads a text of [`render`]: each variant with its URI, the hidden ones last.
pub fn parse(text: &str) -> Result<Vec<(String, Variant)>, Unreadable> {
    let (mut entries, mut described) = (Vec::new(), None);
    for (line, content) in (1..).zip(text.lines()) {
        let unreadable = |problem| Unreadable { line, problem };
        let content = content.strip_prefix(HIDDEN).unwrap_or(content);
        if let Some(attributes) = content.strip_prefix("#EXT-X-STREAM-INF:") {
            let variant = Variant::parse(attributes);
            described = Some(variant.ok_or_else(|| unreadable("a variant is not readable"))?);
        } else if !content.is_empty() && !content.starts_with('#') {
            let variant = described.take();
            let variant = variant.ok_or_else(|| unreadable("a URI of no variant"))?;
            entries.push((content.to_owned(), variant));
        }
    }
    Ok(entries)
}

impl Variant {
    fn parse(attributes: &str) -> Option<Self> {
        let number = |name| decimal(attribute(attributes, name)?);
        let pixels = |text| decimal(text).and_then(|n| u16::try_from(n).ok());
        let (width, height) = match attribute(attributes, "RESOLUTION") {
            Some(resolution) => {
                let (width, height) = resolution.split_once('x')?;
                (pixels(width)?, pixels(height)?)
            }
            None => (0, 0),
        };
        let frame_rate_millis = match attribute(attributes, "FRAME-RATE") {
            Some(rate) => {
                let (whole, millis) = rate.split_once('.')?;
                let whole = u32::try_from(decimal(whole)?).ok()?;
                whole.checked_mul(1000)?.checked_add(millis.parse().ok()?)?
            }
            None => 0,
        };
        Some(Self {
            name: attribute(attributes, "VIDEO")
                .unwrap_or_default()
                .to_owned(),
            bandwidth_bps: number("BANDWIDTH")?,
            average_bandwidth_bps: number("AVERAGE-BANDWIDTH")?,
            codecs: attribute(attributes, "CODECS")?.to_owned(),
            width,
            height,
            frame_rate_millis,
        })
    }

    fn has_picture(&self) -> bool {
        self.width > 0
    }
}

fn write_variant(text: &mut String, variant: &Variant) {
    if !variant.has_picture() {
        return Tag::new(text, "#EXT-X-STREAM-INF")
            .attribute("BANDWIDTH", variant.bandwidth_bps)
            .attribute("AVERAGE-BANDWIDTH", variant.average_bandwidth_bps)
            .quoted("CODECS", &variant.codecs)
            // NONE on one variant is NONE on all (§4.4.6.2).
            .attribute("CLOSED-CAPTIONS", "NONE")
            .end();
    }
    Tag::new(text, "#EXT-X-MEDIA")
        .attribute("TYPE", "VIDEO")
        .quoted("GROUP-ID", &variant.name)
        .quoted("NAME", &variant.name)
        .attribute("AUTOSELECT", "YES")
        .attribute("DEFAULT", "YES")
        .end();
    let resolution = format_args!("{}x{}", variant.width, variant.height);
    let mut tag = Tag::new(text, "#EXT-X-STREAM-INF")
        .attribute("BANDWIDTH", variant.bandwidth_bps)
        .attribute("AVERAGE-BANDWIDTH", variant.average_bandwidth_bps)
        .quoted("CODECS", &variant.codecs)
        .attribute("RESOLUTION", resolution);
    if variant.frame_rate_millis > 0 {
        let (whole, millis) = (
            variant.frame_rate_millis / 1000,
            variant.frame_rate_millis % 1000,
        );
        tag = tag.attribute("FRAME-RATE", format_args!("{whole}.{millis:03}"));
    }
    tag.quoted("VIDEO", &variant.name)
        .attribute("CLOSED-CAPTIONS", "NONE")
        .end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playlist::fixtures;

    #[test]
    fn lists_the_default_pick_first_and_sound_last_with_names_as_ivs_has_them() {
        let unknown_rate = Variant {
            name: "360p".to_owned(),
            bandwidth_bps: 900_000,
            average_bandwidth_bps: 700_000,
            codecs: "avc1.64001E".to_owned(),
            width: 640,
            height: 360,
            frame_rate_millis: 0,
        };
        let sound = Variant {
            name: "audio_only".to_owned(),
            bandwidth_bps: 176_000,
            average_bandwidth_bps: 160_000,
            codecs: "mp4a.40.2".to_owned(),
            ..Variant::default()
        };
        let text = render([sound, fixtures::variant(), unknown_rate].map(|variant| {
            (
                format!("s/abc/abcdABCDefgh/7/{}/live.m3u8", variant.name),
                variant,
            )
        }));
        insta::assert_snapshot!(text, @r#"
        #EXTM3U
        #EXT-X-VERSION:6
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="360p",NAME="360p",AUTOSELECT=YES,DEFAULT=YES
        #EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=700000,CODECS="avc1.64001E",RESOLUTION=640x360,VIDEO="360p",CLOSED-CAPTIONS=NONE
        s/abc/abcdABCDefgh/7/360p/live.m3u8
        #EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="720p60",NAME="720p60",AUTOSELECT=YES,DEFAULT=YES
        #EXT-X-STREAM-INF:BANDWIDTH=3422999,AVERAGE-BANDWIDTH=3000000,CODECS="avc1.4D401F,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=59.940,VIDEO="720p60",CLOSED-CAPTIONS=NONE
        s/abc/abcdABCDefgh/7/720p60/live.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=176000,AVERAGE-BANDWIDTH=160000,CODECS="mp4a.40.2",CLOSED-CAPTIONS=NONE
        s/abc/abcdABCDefgh/7/audio_only/live.m3u8
        "#);
        let (_, parsed) = m3u8_rs::parse_master_playlist(text.as_bytes()).unwrap();
        assert_eq!(parsed.variants.len(), 3);
        assert_eq!(parsed.variants[1].video.as_deref(), Some("720p60"));
        assert_eq!(parsed.variants[1].frame_rate, Some(59.94));

        let entries = parse(&text).unwrap();
        assert_eq!(entries[1].1, fixtures::variant());
        assert_eq!(entries[2].1.name, "", "sound has no name in the text");
        assert_eq!(render(entries), text);
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        let good = render([("720p60/live.m3u8".to_owned(), fixtures::variant())]);
        for (from, to) in [
            ("#EXT-X-STREAM-INF:", "#EXT-X-OTHER:"),
            ("BANDWIDTH=", "BAND="),
            ("1280x720", "1280"),
            ("1280x720", "70000x720"),
            ("59.940", "fast"),
            ("CODECS=", "CODEC="),
        ] {
            let changed = good.replacen(from, to, 1);
            assert!(parse(&changed).is_err(), "{changed}");
        }
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn no_two_variants_have_one_name() {
        let of = |bandwidth_bps| Variant {
            bandwidth_bps,
            ..fixtures::variant()
        };
        let entries = [3_000_000, 4_000_000, 5_000_000].map(|bps| (format!("{bps}"), of(bps)));
        let text = render(entries);
        for (uri, name) in [
            (3_000_000, "720p60"),
            (5_000_000, "720p60_2"),
            (4_000_000, "720p60_3"),
        ] {
            let group = format!("GROUP-ID=\"{name}\",NAME=\"{name}\"");
            assert_eq!(text.matches(&group).count(), 1, "{text}");
            let entry = format!("VIDEO=\"{name}\",CLOSED-CAPTIONS=NONE\n{uri}\n");
            assert!(text.contains(&entry), "{text}");
        }
    }
}
