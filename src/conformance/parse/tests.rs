use super::*;

/// A live list with a discontinuity, a gap, an open segment, hints and reports.
pub(in crate::conformance) const LIVE: &str = r#"#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.002,HOLD-BACK=6.0
#EXT-X-PART-INF:PART-TARGET=0.334
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-MAP:URI="init.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:00.000Z
#EXTINF:2.00000,live
10.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="other.mp4"
#EXT-X-PART:DURATION=0.33333,URI="11.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.33333,URI="11.1.m4s",GAP=YES
#EXT-X-GAP
#EXTINF:0.66667,live
11.m4s
#EXT-X-PART:DURATION=0.33333,URI="12.0.m4s",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="12.1.m4s"
#EXT-X-RENDITION-REPORT:URI="../b/live.m3u8",LAST-MSN=12,LAST-PART=0
"#;

pub(in crate::conformance) fn media(text: &str) -> MediaPlaylist {
    match parse(text.as_bytes()) {
        Ok(Playlist::Media(list)) => *list,
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_do_not_change_behind_the_first_segment() {
    for late in [
        "#EXT-X-MEDIA-SEQUENCE:90",
        "#EXT-X-SKIP:SKIPPED-SEGMENTS=90",
    ] {
        let list = media(&format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na\n{late}\n"
        ));
        assert_eq!((list.first_msn(), list.next_msn()), (0, 1), "{late}");
        assert_eq!(list.flaws[0].rule.kind, "header-behind-segment");
    }
}

#[test]
fn a_live_list_is_read_whole() {
    let list = media(LIVE);
    assert_eq!(list.flaws, []);
    assert_eq!((list.first_msn(), list.next_msn()), (10, 12));
    let [first, second] = &list.segments[..] else {
        panic!("{:?}", list.segments)
    };
    assert_eq!(
        (first.msn, first.duration_us, &*first.uri),
        (10, 2_000_000, "10.m4s")
    );
    assert_eq!(first.date_us, Some(1_790_848_800_000_000));
    assert!(second.has_discontinuity && second.is_gap && second.parts[1].is_gap);
    assert_eq!(second.map.as_ref().map(|map| &*map.uri), Some("other.mp4"));
    let open = list.open.as_ref().unwrap();
    assert_eq!((open.msn, open.parts.len()), (12, 1));
    assert!(open.parts[0].is_independent);
    let position = |msn, part| crate::conformance::Position { msn, part };
    assert_eq!(list.last_position(), Some(position(12, 0)));
    assert_eq!(list.next_position(), position(12, 1));
    assert_eq!(list.part_hint().map(|hint| &*hint.uri), Some("12.1.m4s"));
    assert_eq!(list.reports[0].last_msn, Some(12));
    assert_eq!(list.duration_us(), 3_000_000);
}

#[test]
fn flaws_name_rule_and_line() {
    let edits = [
        (("#EXTM3U", "\u{feff}#EXTM3U"), (1, "byte-order-mark", 1)),
        (
            ("#EXT-X-VERSION:6", "#EXT-X-VERSION:six"),
            (1, "required-value", 2),
        ),
        (
            ("#EXT-X-VERSION:6", "#EXT-X-VERSION:6\n#EXT-X-VERSION:6"),
            (1, "repeated-tag", 3),
        ),
        (
            ("#EXT-X-VERSION:6\n", "\n#EXT-X-VERSION:6\u{7}\n"),
            (1, "control-character", 3),
        ),
        (("#EXTM3U\n", ""), (1, "extm3u-not-first", 1)),
        (
            ("#EXT-X-TARGETDURATION:2\n", ""),
            (4, "no-target-duration", 1),
        ),
        (("#EXTINF:2.00000,live\n", ""), (1, "no-extinf", 10)),
        (
            ("DURATION=0.33333,URI=\"12.0", "URI=\"12.0"),
            (1, "required-value", 19),
        ),
        (
            ("#EXT-X-GAP\n", "#EXT-X-DISCONTINUITY\n"),
            (23, "tag-behind-part", 16),
        ),
        (
            ("11.m4s\n", "#EXT-X-PART:DURATION=0.1,URI=\"x\"\n11.m4s\n"),
            (23, "part-behind-extinf", 18),
        ),
        (
            ("11.m4s\n", "11.m4s\n#EXT-X-MEDIA-SEQUENCE:9\n"),
            (1, "repeated-tag", 19),
        ),
        (
            ("INDEPENDENT=YES", "INDEPENDENT=\"YES"),
            (1, "attribute-list", 14),
        ),
        (
            ("URI=\"11.0.m4s\"", "URI=\"11.0.m4s\",BYTERANGE=\"9\""),
            (21, "range-without-offset", 14),
        ),
    ];
    for ((from, to), (rule, kind, line)) in edits {
        let list = media(&LIVE.replacen(from, to, 1));
        let flaws: Vec<_> = list
            .flaws
            .iter()
            .map(|f| (f.rule.number, f.rule.kind, f.line))
            .collect();
        assert!(flaws.contains(&(rule, kind, line)), "{to}: {flaws:?}");
    }
}

#[test]
fn ranges_without_offset_continue_the_one_before() {
    let list = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART:DURATION=1,URI=\"a\",BYTERANGE=\"10@5\"\n\
         #EXT-X-PART:DURATION=1,URI=\"a\",BYTERANGE=\"7\"\n#EXTINF:2,\n#EXT-X-BYTERANGE:17@5\na\n\
         #EXTINF:2,\n#EXT-X-BYTERANGE:3\na\n",
    );
    assert_eq!(list.flaws, []);
    let offsets = |ranges: Vec<Option<ByteRange>>| -> Vec<_> {
        ranges
            .into_iter()
            .map(|range| range.unwrap().offset)
            .collect()
    };
    let parts = list.segments[0]
        .parts
        .iter()
        .map(|part| part.range)
        .collect();
    assert_eq!(offsets(parts), [Some(5), Some(15)]);
    let segments = list.segments.iter().map(|segment| segment.range).collect();
    assert_eq!(offsets(segments), [Some(5), Some(22)]);
}

#[test]
fn skipped_segments_count() {
    let list = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:5\n\
         #EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXTINF:2,\na\n",
    );
    assert_eq!(list.segments[0].msn, 8);
}

#[test]
fn a_multivariant_list_is_read_whole() {
    let text = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",DEFAULT=YES,URI=\"a.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=700000,CODECS=\"avc1.64001E\",\
        RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO=\"a\",CLOSED-CAPTIONS=NONE\nv.m3u8\n";
    let Ok(Playlist::Multivariant(list)) = parse(text.as_bytes()) else {
        panic!("not multivariant")
    };
    assert_eq!(list.flaws, []);
    let variant = &list.variants[0];
    assert_eq!(variant.uri, "v.m3u8");
    assert_eq!(variant.resolution, Some((640, 360)));
    assert_eq!(variant.frame_rate_micros, Some(29_970_000));
    assert!(list.media[0].is_default && !list.media[0].is_autoselect);
}

#[test]
fn what_is_no_playlist_is_refused() {
    for text in ["", "<html></html>", "\0\0\0\u{18}ftyp"] {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
}

proptest::proptest! {
    /// Whatever lines come in whatever order.
    #[test]
    fn nothing_panics(lines in proptest::collection::vec(
        "(#EXT(M3U|INF|-X-(PART|MAP|SKIP|BYTERANGE|PRELOAD-HINT|MEDIA-SEQUENCE|STREAM-INF|MEDIA|DATERANGE)))?:?[A-Z0-9=\"@,.-]{0,24}", 0..20)) {
        let text = lines.join("\n");
        if let Ok(Playlist::Media(list)) = parse(text.as_bytes()) {
            proptest::prop_assert!(list.last_position().is_none_or(|last| last.msn <= list.next_msn()));
        }
    }
}
