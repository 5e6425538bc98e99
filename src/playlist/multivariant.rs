//! The multivariant playlist: which variants a channel has.
//!
//! In:  the variants, best default first. Out: text.
//! Not here: how a variant's rates are found (`live`), who may see it (`origin`).
//! Read: §4.4.6; the EXT-X-MEDIA lines are how Amazon IVS names its qualities.

use super::tags::Tag;

/// One EXT-X-STREAM-INF entry. It is decided from configuration and stays for an epoch.
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

/// The playlist of `entries`: each variant with the URI of its media playlist, the default pick
/// first.
pub fn render(entries: impl IntoIterator<Item = (String, Variant)>) -> String {
    let mut text = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n".to_owned();
    for (uri, variant) in entries {
        write_variant(&mut text, &variant);
        text.push_str(&uri);
        text.push('\n');
    }
    text
}

fn write_variant(text: &mut String, variant: &Variant) {
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
    fn lists_each_variant_with_its_name_as_ivs_does() {
        let unknown_rate = Variant {
            name: "360p".to_owned(),
            bandwidth_bps: 900_000,
            average_bandwidth_bps: 700_000,
            codecs: "avc1.64001E".to_owned(),
            width: 640,
            height: 360,
            frame_rate_millis: 0,
        };
        let text = render([fixtures::variant(), unknown_rate].map(|variant| {
            (
                format!("s/abc/abcdABCDefgh/7/{}/live.m3u8", variant.name),
                variant,
            )
        }));
        insta::assert_snapshot!(text, @r#"
        #EXTM3U
        #EXT-X-VERSION:6
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="720p60",NAME="720p60",AUTOSELECT=YES,DEFAULT=YES
        #EXT-X-STREAM-INF:BANDWIDTH=3422999,AVERAGE-BANDWIDTH=3000000,CODECS="avc1.4D401F,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=59.940,VIDEO="720p60",CLOSED-CAPTIONS=NONE
        s/abc/abcdABCDefgh/7/720p60/live.m3u8
        #EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="360p",NAME="360p",AUTOSELECT=YES,DEFAULT=YES
        #EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=700000,CODECS="avc1.64001E",RESOLUTION=640x360,VIDEO="360p",CLOSED-CAPTIONS=NONE
        s/abc/abcdABCDefgh/7/360p/live.m3u8
        "#);
        let (_, parsed) = m3u8_rs::parse_master_playlist(text.as_bytes()).unwrap();
        assert_eq!(parsed.variants.len(), 2);
        assert_eq!(parsed.variants[0].video.as_deref(), Some("720p60"));
        assert_eq!(parsed.variants[0].frame_rate, Some(59.94));
    }
}
