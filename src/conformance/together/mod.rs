//! Rules on a multivariant playlist, and on what renditions owe each other.
//!
//! In:  the multivariant playlist; what each rendition has told by the end. Out: judgements.
//! Not here: one rendition alone. Segments of two renditions are matched by their timestamps, because media
//! sequence numbers need not be equal.

mod across;
mod truth;

pub(super) use across::judge as judge_across;
pub(super) use truth::judge as judge_truth;

use super::findings::Page;
use super::parse::{MultivariantPlaylist, Variant};
use super::rules::{must, practice, should};
use super::single::syntax;

/// What players that start with the first variant should be given (Apple's authoring specification 1.32).
const DEFAULT_PICK_BPS: u64 = 2_000_000;
/// Codecs of sound, by their first characters.
const SOUND: &[&str] = &["mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac"];
/// Codecs of pictures, by their first characters.
const PICTURE: &[&str] = &["avc", "hvc", "hev", "av01", "vp09", "vp08", "dvh"];

/// Rules 52 to 57, what the text itself shows.
pub(super) fn judge_multivariant(list: &MultivariantPlaylist, page: &mut Page<'_>) {
    syntax(&list.flaws, page);
    page.check(
        must(53, "no-independent-segments"),
        list.has_independent_segments,
        "",
        || "the multivariant playlist has no EXT-X-INDEPENDENT-SEGMENTS".to_owned(),
    );
    for variant in &list.variants {
        judge_variant(variant, page);
    }
    let captions: Vec<_> = list
        .variants
        .iter()
        .map(|v| v.closed_captions.as_deref())
        .collect();
    let with_none = captions
        .iter()
        .filter(|captions| **captions == Some("NONE"))
        .count();
    let holds = with_none == 0 || with_none == captions.len();
    page.check(must(52, "captions-mixed"), holds, "", || {
        format!(
            "CLOSED-CAPTIONS=NONE on {with_none} of {} variants",
            captions.len()
        )
    });
    judge_media_tags(list, page);
    judge_first(list, page);
    let has_pictures = list
        .variants
        .iter()
        .any(|variant| variant.resolution.is_some());
    if has_pictures {
        page.check(
            practice(57, "no-iframes"),
            !list.iframes.is_empty(),
            "",
            || "no I-frame playlists; Apple asks for them in certified apps".to_owned(),
        );
    }
    for variant in &list.iframes {
        let holds = variant.uri.is_some() && variant.bandwidth_bps.is_some();
        page.check(
            must(57, "iframe-attributes"),
            holds,
            format_args!("line {}", variant.line),
            || "an EXT-X-I-FRAME-STREAM-INF without URI or BANDWIDTH".to_owned(),
        );
    }
}

fn judge_variant(variant: &Variant, page: &mut Page<'_>) {
    let place = format!("line {}", variant.line);
    page.check(
        must(52, "no-bandwidth"),
        variant.bandwidth_bps.is_some(),
        &place,
        || format!("{} has no BANDWIDTH", variant.uri),
    );
    page.check(
        must(52, "no-average-bandwidth"),
        variant.average_bps.is_some(),
        &place,
        || format!("{} has no AVERAGE-BANDWIDTH", variant.uri),
    );
    page.check(
        must(52, "no-codecs"),
        variant.codecs.is_some(),
        &place,
        || format!("{} has no CODECS", variant.uri),
    );
    let has_picture = variant
        .codecs
        .as_deref()
        .is_none_or(|codecs| has_any(codecs, PICTURE));
    if has_picture {
        page.check(
            must(52, "no-resolution"),
            variant.resolution.is_some(),
            &place,
            || format!("{} has no RESOLUTION", variant.uri),
        );
        page.check(
            must(52, "no-frame-rate"),
            variant.frame_rate_micros.is_some(),
            &place,
            || format!("{} has no FRAME-RATE", variant.uri),
        );
    }
}

/// Rule 54.
fn judge_media_tags(list: &MultivariantPlaylist, page: &mut Page<'_>) {
    for tag in &list.media {
        let place = format!("line {}", tag.line);
        let is_named = tag.group.is_some() && tag.name.is_some() && !tag.kind.is_empty();
        page.check(must(54, "media-attributes"), is_named, &place, || {
            "an EXT-X-MEDIA without TYPE, GROUP-ID or NAME".to_owned()
        });
        if tag.kind == "AUDIO" {
            page.check(
                should(54, "no-language"),
                tag.language.is_some(),
                &place,
                || "an audio rendition without LANGUAGE".to_owned(),
            );
            page.check(
                should(54, "no-channels"),
                tag.channels.is_some(),
                &place,
                || "an audio rendition without CHANNELS".to_owned(),
            );
            let holds = tag.is_autoselect || !tag.is_default;
            page.check(must(54, "default-not-autoselect"), holds, &place, || {
                "DEFAULT=YES without AUTOSELECT=YES".to_owned()
            });
        }
    }
    for variant in &list.variants {
        if let Some(group) = &variant.audio {
            let mut audio = list.media.iter().filter(|tag| tag.kind == "AUDIO");
            let is_there = audio.any(|tag| tag.group.as_ref() == Some(group));
            page.check(
                must(54, "no-such-group"),
                is_there,
                format_args!("line {}", variant.line),
                || format!("AUDIO names the group `{group}`, which no EXT-X-MEDIA has"),
            );
        }
    }
}

/// Rule 56.
fn judge_first(list: &MultivariantPlaylist, page: &mut Page<'_>) {
    let rate = |variant: &Variant| {
        variant
            .bandwidth_bps
            .unwrap_or(0)
            .abs_diff(DEFAULT_PICK_BPS)
    };
    let pictures: Vec<_> = list
        .variants
        .iter()
        .filter(|v| v.resolution.is_some())
        .collect();
    let (Some(first), Some(best)) = (
        list.variants.first(),
        pictures.iter().min_by_key(|v| rate(v)),
    ) else {
        return;
    };
    let holds = rate(first) <= rate(best) || pictures.len() < 2;
    page.check(practice(56, "first-variant"), holds, "", || {
        format!(
            "the first variant is {}; {} is nearer to 2 Mb/s",
            first.uri, best.uri
        )
    });
}

fn has_any(codecs: &str, prefixes: &[&str]) -> bool {
    codecs.split(',').any(|codec| {
        let codec = codec.trim().to_ascii_lowercase();
        prefixes.iter().any(|prefix| codec.starts_with(prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::super::findings::Book;
    use super::super::parse::{Playlist, parse};
    use super::*;

    const GOOD: &str = "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"n\",LANGUAGE=\"und\",CHANNELS=\"2\",DEFAULT=YES,AUTOSELECT=YES,URI=\"a.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=2000000,AVERAGE-BANDWIDTH=1,CODECS=\"avc1.64001E\",RESOLUTION=1x1,FRAME-RATE=30.000,AUDIO=\"a\",CLOSED-CAPTIONS=NONE\nhigh.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=500000,AVERAGE-BANDWIDTH=1,CODECS=\"avc1.64001E\",RESOLUTION=1x1,FRAME-RATE=30.000,CLOSED-CAPTIONS=NONE\nlow.m3u8\n\
        #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i.m3u8\"\n";

    fn kinds(text: &str) -> Vec<(u8, &'static str)> {
        let Ok(Playlist::Multivariant(list)) = parse(text.as_bytes()) else {
            panic!("{text}")
        };
        let mut book = Book::default();
        judge_multivariant(&list, &mut book.page("", 0));
        let findings = book.findings();
        findings
            .iter()
            .map(|found| (found.rule, found.kind))
            .collect()
    }

    #[test]
    fn each_edit_breaks_its_rule_and_no_other() {
        assert_eq!(kinds(GOOD), []);
        for (from, to, expected) in [
            (
                "#EXT-X-INDEPENDENT-SEGMENTS\n",
                "",
                (53, "no-independent-segments"),
            ),
            ("BANDWIDTH=2000000,", "", (52, "no-bandwidth")),
            (",AVERAGE-BANDWIDTH=1", "", (52, "no-average-bandwidth")),
            (",CODECS=\"avc1.64001E\"", "", (52, "no-codecs")),
            (",RESOLUTION=1x1", "", (52, "no-resolution")),
            (",FRAME-RATE=30.000", "", (52, "no-frame-rate")),
            (",CLOSED-CAPTIONS=NONE", "", (52, "captions-mixed")),
            (",NAME=\"n\"", "", (54, "media-attributes")),
            (",LANGUAGE=\"und\"", "", (54, "no-language")),
            (",CHANNELS=\"2\"", "", (54, "no-channels")),
            (",AUTOSELECT=YES", "", (54, "default-not-autoselect")),
            ("AUDIO=\"a\"", "AUDIO=\"b\"", (54, "no-such-group")),
            (
                "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i.m3u8\"\n",
                "",
                (57, "no-iframes"),
            ),
            (",URI=\"i.m3u8\"", "", (57, "iframe-attributes")),
            ("low.m3u8\n", "", (1, "variant-without-uri")),
        ] {
            let broken = kinds(&GOOD.replacen(from, to, 1));
            let rest: Vec<_> = broken
                .iter()
                .filter(|found| **found != (56, "first-variant"))
                .collect();
            assert_eq!(rest, [&expected], "{from}");
        }
        assert_eq!(
            kinds(
                &GOOD
                    .replace("=500000", "=1900000")
                    .replace("=2000000", "=6000000")
            ),
            [(56, "first-variant")]
        );
    }
}
