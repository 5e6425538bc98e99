//! The multivariant playlist: which variants a channel has.
//!
//! In:  the variants, in any order, and what is said of the session. Out: text; and from such a text the variants again.
//! Not here: how a variant's rates are found (`live`), who may see it (`origin`).
//! Read: §4.4.6; the EXT-X-MEDIA lines and the attributes that begin with IVS are how Amazon IVS names its qualities.

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
    /// Whether it is what the encoder sends.
    pub is_source: bool,
}

/// What players that start with the first variant are given: about this much (Apple's authoring
/// specification 1.32).
const DEFAULT_PICK_BPS: u64 = 2_000_000;

/// How IVS-VARIANT-SOURCE says what a variant is.
const SOURCE: &str = "source";
const TRANSCODE: &str = "transcode";

/// What begins each line of a variant that players are not sent to.
const HIDDEN: &str = "#WEIR-HIDDEN:";

/// The playlist of `entries`, each variant with the URI of its media playlist: the default pick
/// first, which every player takes, then downwards, sound alone last. Before them stand `session`'s names and values.
pub fn render(
    session: &[(&str, &str)],
    entries: impl IntoIterator<Item = (String, Variant)>,
) -> String {
    let mut entries: Vec<_> = entries.into_iter().collect();
    let is_usual = |variant: &Variant| variant.has_picture() && !variant.is_for_some();
    let pictures = entries.iter().filter(|(_, variant)| is_usual(variant));
    let rates = pictures.map(|(_, variant)| variant.bandwidth_bps);
    let pick = rates.min_by_key(|bps| bps.abs_diff(DEFAULT_PICK_BPS));
    entries.sort_by_key(|(_, variant)| {
        let bps = variant.bandwidth_bps;
        (
            !variant.has_picture(),
            Some(bps) != pick || !is_usual(variant),
            std::cmp::Reverse(bps),
        )
    });
    make_unique(&mut entries);
    let mut text = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n".to_owned();
    for (name, value) in session {
        Tag::new(&mut text, "#EXT-X-SESSION-DATA")
            .quoted("DATA-ID", name)
            .quoted("VALUE", value)
            .end();
    }
    for (uri, variant) in entries {
        write_variant(&mut text, &variant, folder(&uri));
        text.push_str(&uri);
        text.push('\n');
    }
    text
}

/// The folder that a media playlist lies in: it is the rendition's name, which stays what it is while the pictures change.
fn folder(uri: &str) -> &str {
    uri.rsplit('/').nth(1).unwrap_or_default()
}

/// Adds `entries` to a text of [`render`] as comments: players do not see them, [`parse`] does.
pub fn add_hidden(text: &mut String, entries: impl IntoIterator<Item = (String, Variant)>) {
    for (uri, variant) in entries {
        let mut lines = String::new();
        write_variant(&mut lines, &variant, folder(&uri));
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
            is_source: attribute(attributes, "IVS-VARIANT-SOURCE") == Some(SOURCE),
        })
    }

    fn has_picture(&self) -> bool {
        self.width > 0
    }

    /// Whether its pictures are of a codec that not every player takes.
    fn is_for_some(&self) -> bool {
        ["hvc1", "av01"]
            .iter()
            .any(|codec| self.codecs.starts_with(codec))
    }
}

/// `id` is the variant's, whatever it is like.
fn write_variant(text: &mut String, variant: &Variant, id: &str) {
    if !variant.has_picture() {
        return Tag::new(text, "#EXT-X-STREAM-INF")
            .attribute("BANDWIDTH", variant.bandwidth_bps)
            .attribute("AVERAGE-BANDWIDTH", variant.average_bandwidth_bps)
            .quoted("CODECS", &variant.codecs)
            // NONE on one variant is NONE on all (§4.4.6.2).
            .attribute("CLOSED-CAPTIONS", "NONE")
            .quoted("STABLE-VARIANT-ID", id)
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
    let origin = if variant.is_source { SOURCE } else { TRANSCODE };
    tag.quoted("VIDEO", &variant.name)
        .attribute("CLOSED-CAPTIONS", "NONE")
        .quoted("STABLE-VARIANT-ID", id)
        .quoted("IVS-NAME", &variant.name)
        .quoted("IVS-VARIANT-SOURCE", origin)
        .end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playlist::fixtures;

    #[test]
    fn no_player_begins_with_what_only_some_take() {
        let variant = |name: &str, bandwidth_bps, codecs: &str| {
            let variant = Variant {
                name: name.to_owned(),
                bandwidth_bps,
                codecs: codecs.to_owned(),
                ..fixtures::variant()
            };
            (name.to_owned(), variant)
        };
        let text = render(
            &[],
            [
                variant("high", 3_000_000, "avc1.4D401F"),
                variant("low", 900_000, "avc1.4D401E"),
                variant("hevc", 2_000_000, "hvc1.1.6.L93.B0"),
            ],
        );
        let uris: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(uris, ["high", "hevc", "low"]);
        // As it would be, were it the only one.
        let text = render(&[], [variant("av1", 2_000_000, "av01.0.05M.08")]);
        assert!(text.ends_with("av1\n"), "{text}");
    }

    #[test]
    fn lists_the_default_pick_first_and_sound_last_with_names_as_ivs_has_them() {
        let unknown_rate = Variant {
            name: "360p".to_owned(),
            bandwidth_bps: 900_000,
            average_bandwidth_bps: 700_000,
            codecs: "avc1.64001E".to_owned(),
            width: 640,
            height: 360,
            ..Variant::default()
        };
        let sound = Variant {
            name: "audio_only".to_owned(),
            bandwidth_bps: 176_000,
            average_bandwidth_bps: 160_000,
            codecs: "mp4a.40.2".to_owned(),
            ..Variant::default()
        };
        let entries = [sound, fixtures::variant(), unknown_rate].map(|variant| {
            let folder = if variant.is_source {
                "source"
            } else {
                &variant.name
            };
            let uri = format!("s/abc/abcdABCDefgh/7/{folder}/live.m3u8");
            (uri, variant)
        });
        let session = [("NODE", "here\""), ("SERVER-TIME", "1790848800.000")];
        let text = render(&session, entries);
        insta::assert_snapshot!(text, @r#"
        #EXTM3U
        #EXT-X-VERSION:6
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-SESSION-DATA:DATA-ID="NODE",VALUE="here"
        #EXT-X-SESSION-DATA:DATA-ID="SERVER-TIME",VALUE="1790848800.000"
        #EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="360p",NAME="360p",AUTOSELECT=YES,DEFAULT=YES
        #EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=700000,CODECS="avc1.64001E",RESOLUTION=640x360,VIDEO="360p",CLOSED-CAPTIONS=NONE,STABLE-VARIANT-ID="360p",IVS-NAME="360p",IVS-VARIANT-SOURCE="transcode"
        s/abc/abcdABCDefgh/7/360p/live.m3u8
        #EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="720p60",NAME="720p60",AUTOSELECT=YES,DEFAULT=YES
        #EXT-X-STREAM-INF:BANDWIDTH=3422999,AVERAGE-BANDWIDTH=3000000,CODECS="avc1.4D401F,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=59.940,VIDEO="720p60",CLOSED-CAPTIONS=NONE,STABLE-VARIANT-ID="source",IVS-NAME="720p60",IVS-VARIANT-SOURCE="source"
        s/abc/abcdABCDefgh/7/source/live.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=176000,AVERAGE-BANDWIDTH=160000,CODECS="mp4a.40.2",CLOSED-CAPTIONS=NONE,STABLE-VARIANT-ID="audio_only"
        s/abc/abcdABCDefgh/7/audio_only/live.m3u8
        "#);
        let (_, parsed) = m3u8_rs::parse_master_playlist(text.as_bytes()).unwrap();
        assert_eq!(parsed.variants.len(), 3);
        assert_eq!(parsed.variants[1].video.as_deref(), Some("720p60"));
        assert_eq!(parsed.variants[1].frame_rate, Some(59.94));

        let entries = parse(&text).unwrap();
        assert_eq!(entries[1].1, fixtures::variant());
        assert_eq!(entries[2].1.name, "", "sound has no name in the text");
        assert_eq!(render(&session, entries), text);
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        let good = render(&[], [("720p60/live.m3u8".to_owned(), fixtures::variant())]);
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
        let entries = [3_000_000, 4_000_000, 5_000_000].map(|bps| (format!("{bps}/live"), of(bps)));
        let text = render(&[], entries);
        for (uri, name) in [
            (3_000_000, "720p60"),
            (5_000_000, "720p60_2"),
            (4_000_000, "720p60_3"),
        ] {
            let group = format!("GROUP-ID=\"{name}\",NAME=\"{name}\"");
            assert_eq!(text.matches(&group).count(), 1, "{text}");
            let entry = format!(
                "VIDEO=\"{name}\",CLOSED-CAPTIONS=NONE,STABLE-VARIANT-ID=\"{uri}\",IVS-NAME=\"{name}\",IVS-VARIANT-SOURCE=\"source\"\n{uri}/live\n"
            );
            assert!(text.contains(&entry), "{text}");
        }
    }
}
