use std::fmt::Write as _;

use super::super::findings::Book;
use super::super::parse::tests::media;
use super::*;

/// A window of four segments of 2 s and an open one with `open` parts; segment 12 has a DISCONTINUITY.
fn list(first: u64, open: u64) -> String {
    let passed = u64::from(first > 12);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
         #EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{passed}\n#EXT-X-MAP:URI=\"init.mp4\"\n"
    );
    for msn in first..first + 4 {
        let head = if msn == 12 {
            "#EXT-X-DISCONTINUITY\n"
        } else {
            ""
        };
        writeln!(text, "{head}#EXTINF:2.00000,\n{msn}.m4s").unwrap();
    }
    let msn = first + 4;
    for part in 0..open {
        writeln!(text, "#EXT-X-PART:DURATION=0.5,URI=\"{msn}.{part}.m4s\"").unwrap();
    }
    writeln!(
        text,
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{msn}.{open}.m4s\""
    )
    .unwrap();
    text
}

fn broken(before: &str, after: &str) -> Vec<(u8, &'static str)> {
    let mut book = Book::default();
    let mut history = History::default();
    for text in [before, after] {
        history.push(media(text), &mut book.page("", 0));
    }
    let findings = book.findings();
    let must = findings
        .iter()
        .filter(|found| found.level == crate::conformance::Level::Must);
    must.map(|found| (found.rule, found.kind)).collect()
}

#[test]
fn permitted_changes_break_nothing() {
    for (before, after) in [
        (list(10, 0), list(10, 0)),
        (list(10, 1), list(10, 3)),
        (list(10, 3), list(11, 0)),
        (list(12, 3), list(13, 1)),
        (list(10, 0), list(10, 0) + "#EXT-X-ENDLIST\n"),
    ] {
        assert_eq!(broken(&before, &after), [], "{after}");
    }
}

#[test]
fn each_forbidden_change_breaks_its_rule() {
    let (before, after) = (list(10, 1), list(11, 1));
    let edits = [
        (
            "TARGETDURATION:2",
            "TARGETDURATION:3",
            (4, "target-changed"),
        ),
        (
            "PART-TARGET=0.5",
            "PART-TARGET=0.6",
            (18, "part-target-changed"),
        ),
        ("12.m4s", "12b.m4s", (3, "uri-changed")),
        (
            "#EXTINF:2.00000,\n13",
            "#EXTINF:1.99999,\n13",
            (3, "extinf-changed"),
        ),
        ("init.mp4", "init2.mp4", (3, "map-changed")),
        (
            "MEDIA-SEQUENCE:11",
            "MEDIA-SEQUENCE:12",
            (6, "media-sequence-accounting"),
        ),
        ("MEDIA-SEQUENCE:11", "MEDIA-SEQUENCE:5", (3, "went-back")),
        (
            "DISCONTINUITY-SEQUENCE:0",
            "DISCONTINUITY-SEQUENCE:1",
            (6, "discontinuity-sequence-accounting"),
        ),
        ("#EXT-X-DISCONTINUITY\n", "", (3, "tags-changed")),
        (
            "#EXT-X-PART-INF",
            "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-PART-INF",
            (5, "type-changed"),
        ),
    ];
    for (from, to, expected) in edits {
        let edited = after.replacen(from, to, 1);
        assert_ne!(edited, after);
        let broken = broken(&before, &edited);
        assert!(broken.contains(&expected), "{to}: {broken:?}");
    }
    let event = |text: &str| {
        text.replace(
            "#EXT-X-PART-INF",
            "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-PART-INF",
        )
    };
    assert_eq!(
        broken(&event(&before), &event(&after)),
        [(5, "removed-from-fixed")]
    );
}

#[test]
fn hints_parts_and_the_end_are_kept() {
    let (before, after) = (list(10, 1), list(10, 2));
    let other = after.replace("14.1.m4s", "14.1b.m4s");
    assert_eq!(broken(&before, &other), [(27, "hint-not-kept")]);
    let other = after.replace("14.0.m4s", "14.0b.m4s");
    assert_eq!(broken(&before, &other), [(3, "part-changed")]);
    assert_eq!(broken(&after, &before), [(3, "went-back")]);
    let ended = list(10, 0) + "#EXT-X-ENDLIST\n";
    assert_eq!(broken(&ended, &list(10, 0)), [(12, "end-withdrawn")]);
    let spliced = other.replace("#EXT-X-PART:", "#EXT-X-DISCONTINUITY\n#EXT-X-PART:");
    assert!(!broken(&list(10, 0), &spliced).contains(&(27, "hint-not-kept")));
}

#[test]
fn a_section_is_hinted_where_it_is_known_and_comes_as_hinted() {
    // Section 14 is another one than those before.
    let before = list(10, 0);
    let news = |break_line: &str| {
        let map = format!("{break_line}#EXT-X-MAP:URI=\"other.mp4\"\n#EXT-X-PART:");
        list(10, 1).replace("#EXT-X-PART:", &map)
    };
    let hinting = |uri: &str| format!("{before}#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"{uri}\"\n");
    let found = |before: &str, after: &str| {
        let mut book = Book::default();
        let mut history = History::default();
        for text in [before, after] {
            history.push(media(text), &mut book.page("", 0));
        }
        let findings = book.findings().into_iter();
        findings
            .filter(|found| found.rule == 29)
            .map(|found| found.kind)
            .collect::<Vec<_>>()
    };
    for break_line in ["", "#EXT-X-DISCONTINUITY\n"] {
        assert_eq!(found(&hinting("other.mp4"), &news(break_line)), [""; 0]);
        let wrong = found(&hinting("third.mp4"), &news(break_line));
        assert_eq!(wrong, ["map-hint-not-kept"], "{break_line}");
    }
    assert_eq!(found(&before, &news("")), ["no-map-hint"]);
    assert_eq!(found(&before, &news("#EXT-X-DISCONTINUITY\n")), [""; 0]);
    assert_eq!(
        found(&hinting("other.mp4"), &list(10, 1)),
        ["map-hint-not-kept"]
    );
}

#[test]
fn single_parts_are_dropped_once_they_are_stale() {
    let part = |n| format!("#EXT-X-PART:DURATION=0.5,URI=\"10.{n}.m4s\"\n");
    // Six seconds and `open` parts lie behind segment 10.
    let with = |parts: &[u64], open| {
        let parts: String = parts.iter().map(|n| part(*n)).collect();
        list(10, open).replace(
            "#EXTINF:2.00000,\n10.m4s",
            &format!("{parts}#EXTINF:2.00000,\n10.m4s"),
        )
    };
    let before = with(&[0, 1, 2, 3], 0);
    for rest in [&[1, 2, 3][..], &[3], &[0, 3]] {
        assert_eq!(broken(&before, &with(rest, 0)), [], "{rest:?}");
    }
    let other = with(&[1, 2, 3], 0).replace("10.2.m4s", "10.2b.m4s");
    assert_eq!(broken(&before, &other), [(3, "parts-added")]);
    assert_eq!(broken(&with(&[1, 2, 3], 0), &before), [(3, "parts-added")]);
    // Of a target duration of 3 s nothing is stale.
    let long = |text: String| text.replace("TARGETDURATION:2", "TARGETDURATION:3");
    let dropped = broken(&long(before), &long(with(&[1, 2, 3], 0)));
    assert!(dropped.contains(&(3, "part-dropped")), "{dropped:?}");
    // One goes in the same update in which the last comes.
    let first = "#EXT-X-PART:DURATION=0.5,URI=\"14.0.m4s\"\n";
    let complete = list(10, 4).replace(first, "");
    let complete = complete.replace("#EXT-X-PRELOAD", "#EXTINF:2,\n14.m4s\n#EXT-X-PRELOAD");
    assert_eq!(broken(&list(10, 3), &complete), [(3, "part-dropped")]);
}

#[test]
fn a_window_does_not_shrink_below_three_target_durations() {
    let short = |text: String, first: u64| {
        let cut = text
            .find(&format!("#EXTINF:2.00000,\n{}", first + 2))
            .unwrap();
        text[..cut].to_owned()
    };
    let before = short(list(13, 0), 13);
    let after = short(list(14, 0), 14);
    assert_eq!(broken(&before, &after), [(7, "window-short")]);
}

#[test]
fn delta_updates_are_judged_by_the_full_playlist() {
    let control = "#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=4\n#EXT-X-PART-INF";
    let full = list(10, 1).replace("#EXT-X-PART-INF", control);
    let skipping = |count: usize| {
        let mut text = full.clone();
        for msn in 10..10 + count {
            text = text.replace(&format!("#EXTINF:2.00000,\n{msn}.m4s\n"), "");
        }
        text.replace(
            "#EXT-X-MAP:URI=\"init.mp4\"\n",
            &format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={count}\n"),
        )
    };
    let judged = |update: &str| {
        let mut book = Book::default();
        delta(&media(update), &media(&full), &mut book.page("", 0));
        let findings = book.findings();
        findings.iter().map(|found| found.kind).collect::<Vec<_>>()
    };
    assert_eq!(judged(&full), [""; 0]);
    assert_eq!(judged(&skipping(2)), [""; 0]);
    assert_eq!(judged(&skipping(3)), ["skipped-too-much"]);
    assert_eq!(
        judged(&skipping(2).replace("12.m4s", "x.m4s")),
        ["delta-differs"]
    );
    assert_eq!(skippable(&media(&full), 4_000_000), 2);
}
