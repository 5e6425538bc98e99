//! What is asked for of other servers' playlists, and what becomes of the answers.

use reqwest::header::HeaderMap;

use super::super::findings::Book;
use super::super::parse::tests::media;
use super::*;

const LIVE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n";

struct Stage {
    rendition: Rendition,
    book: Book,
}

impl Stage {
    fn new() -> Self {
        let url = Url::parse("http://127.0.0.1/a/live.m3u8?key=1").unwrap();
        Self {
            rendition: Rendition::new("a".to_owned(), url, 0),
            book: Book::default(),
        }
    }

    fn list(&mut self, lines: &str) -> Vec<Wanted> {
        let page = &mut self.book.page("a", 0);
        let list = media(&format!("{LIVE}{lines}"));
        self.rendition.push_list(list, 0, 0, page)
    }

    fn push(&mut self, wanted: Wanted, outcome: Result<Answer, Failure>) -> Vec<Wanted> {
        let page = &mut self.book.page("a", 0);
        self.rendition.push_media(wanted, outcome, page)
    }

    /// Breaches of what the specification demands.
    fn musts(&self) -> Vec<&'static str> {
        let findings = self.book.findings();
        let musts = findings
            .iter()
            .filter(|f| f.level == super::super::Level::Must);
        // Of the playlists of this test, which are short.
        let musts = musts.filter(|f| !matches!(f.rule, 2 | 10 | 11 | 14 | 15 | 18 | 27));
        musts.map(|found| found.kind).collect()
    }

    fn has_note(&self, words: &str) -> bool {
        self.book
            .notes()
            .iter()
            .any(|note| note.text.contains(words))
    }
}

fn answer(status: u16, body: Bytes) -> Answer {
    Answer {
        status,
        is_http2: false,
        headers: HeaderMap::new(),
        body,
        url: Url::parse("http://127.0.0.1/").unwrap(),
        redirect: None,
        sent_ms: 0,
        head_ms: 0,
        end_ms: 0,
    }
}

fn paths(wanted: &[Wanted]) -> Vec<String> {
    wanted.iter().map(|w| w.resource.url.to_string()).collect()
}

#[test]
fn uris_are_relative_to_where_the_playlist_came_from() {
    let mut stage = Stage::new();
    let moved = Url::parse("http://127.0.0.2/edge/7/live.m3u8?_HLS_msn=3").unwrap();
    stage.rendition.redirect(&moved);
    let wanted = stage.list("#EXTINF:2,\n1.ts\n#EXTINF:2,\nhttp://127.0.0.3/2.ts\n");
    let expected = ["http://127.0.0.2/edge/7/1.ts", "http://127.0.0.3/2.ts"];
    assert_eq!(paths(&wanted), expected);
    assert!(stage.rendition.is_at("/edge/7/live.m3u8") && stage.rendition.is_at("/a/live.m3u8"));
}

#[test]
fn a_transport_stream_may_have_a_section_of_its_own() {
    let mut stage = Stage::new();
    let wanted = stage.list("#EXT-X-MAP:URI=\"tables.ts\"\n#EXTINF:2,\n1.ts\n");
    assert_eq!(wanted.len(), 2);
    for wanted in wanted {
        stage.push(wanted, Ok(answer(200, Bytes::from(vec![0x47; 188]))));
    }
    assert_eq!(stage.musts(), [""; 0]);
    assert!(stage.has_note("not fragmented MP4"));
    let records = stage.rendition.records.values();
    assert!(
        records
            .map(|record| record.slot.cost())
            .all(|cost| cost == 0)
    );
}

#[test]
fn what_cannot_be_looked_into_is_not_asked_for_in_vain() {
    let mut stage = Stage::new();
    let encrypted =
        "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:2,\n1.m4s\n";
    let wanted = stage.list(encrypted);
    assert_eq!(paths(&wanted), ["http://127.0.0.1/a/1.m4s"]);
    for wanted in wanted {
        stage.push(wanted, Ok(answer(200, Bytes::from(vec![9; 64]))));
    }
    assert_eq!(stage.musts(), [""; 0]);

    for (lines, words) in [
        (
            "#EXT-X-I-FRAMES-ONLY\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:2,\n1.m4s\n",
            "I-frame",
        ),
        (
            &format!("#EXTINF:2,\n{}\n", "x".repeat(MAX_URI + 1)),
            "not followed",
        ),
    ] {
        let mut stage = Stage::new();
        assert_eq!(stage.list(lines), []);
        assert!(stage.has_note(words), "{words}");
    }
}

#[test]
fn what_is_listed_and_never_comes_is_missing() {
    let hung = || Err(Failure::Timeout(16_000));
    let mut stage = Stage::new();
    let parts = "#EXT-X-MAP:URI=\"i.mp4\"\n#EXT-X-PART:DURATION=1,URI=\"1.0.m4s\"\n";
    let hint = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1.1.m4s\"\n";
    let wanted = stage.list(&format!("{parts}{hint}"));
    assert_eq!(wanted.len(), 3);
    let hinted = wanted[2].clone();
    assert_eq!(hinted.purpose, Purpose::Hint);
    for wanted in wanted {
        stage.push(wanted, hung());
    }
    assert_eq!(
        stage.musts(),
        ["listed-part-hangs"],
        "the hint may be waited for"
    );
    // A hint that came to nothing is asked for when it is listed.
    let wanted = stage.list(&format!("{parts}#EXT-X-PART:DURATION=1,URI=\"1.1.m4s\"\n"));
    let again = wanted
        .iter()
        .find(|wanted| wanted.resource == hinted.resource);
    assert!(again.is_some(), "{wanted:?}");
    stage.push(hinted, hung());
    assert_eq!(stage.musts(), ["listed-part-hangs", "hint-hangs"]);
    stage.push(
        again.unwrap().clone(),
        Err(Failure::Broken("refused".to_owned())),
    );
    let both = ["listed-part-hangs", "hint-hangs"];
    assert_eq!(stage.musts(), both, "a connection that breaks is an outage");
}

#[test]
fn a_range_that_is_not_given_is_not_taken_for_a_part() {
    for (status, bytes, kind) in [(200, 900, "range-ignored"), (206, 90, "range-length")] {
        let mut stage = Stage::new();
        let wanted = stage.list("#EXT-X-BYTERANGE:100@0\n#EXTINF:2,\n1.m4s\n");
        let body = Bytes::from([&[0, 0, 0, 8][..], b"moof", &vec![0; bytes - 8]].concat());
        for wanted in wanted {
            stage.push(wanted, Ok(answer(status, body.clone())));
        }
        assert_eq!(stage.musts(), [kind]);
    }
}

#[test]
fn what_refers_to_nothing_is_not_asked_for() {
    let mut stage = Stage::new();
    let define = "#EXT-X-DEFINE:NAME=\"t\",VALUE=\"x\"\n";
    let wanted = stage.list(&format!(
        "{define}#EXTINF:2,\n1.ts?{{$t}}\n#EXTINF:2,\n2.ts?{{$u}}\n"
    ));
    assert_eq!(paths(&wanted), ["http://127.0.0.1/a/1.ts?x"]);
    assert_eq!(stage.musts(), ["undefined-variable"]);
}

#[test]
fn a_part_that_comes_while_another_goes_is_asked_for() {
    let mut stage = Stage::new();
    let part = |n| format!("#EXT-X-PART:DURATION=1,URI=\"1.{n}.m4s\"\n");
    stage.list(&(part(0) + &part(1)));
    let wanted = stage.list(&format!("{}{}#EXTINF:3,\n1.m4s\n", part(1), part(2)));
    let at = Position { msn: 0, part: 2 };
    assert_eq!(wanted[0].purpose, Purpose::Part(at), "{wanted:?}");
    assert!(wanted[0].resource.url.path().ends_with("/1.2.m4s"));
}

#[test]
fn what_left_is_asked_for_at_once_and_when_its_time_is_nearly_over() {
    let mut stage = Stage::new();
    let segments = |first: u64| -> String {
        let line = |n| format!("#EXTINF:2,\n{n}.ts\n");
        let lines = (first..first + 4).map(line);
        format!(
            "#EXT-X-MEDIA-SEQUENCE:{first}\n{}",
            lines.collect::<String>()
        )
    };
    let removed = |stage: &mut Stage, first, at_ms| -> Vec<Wanted> {
        let page = &mut stage.book.page("a", at_ms);
        let list = media(&format!("{LIVE}{}", segments(first)));
        let wanted = stage.rendition.push_list(list, at_ms, 0, page).into_iter();
        let is_removed = |wanted: &Wanted| matches!(wanted.purpose, Purpose::Removed(1, _));
        wanted.filter(is_removed).collect()
    };
    removed(&mut stage, 1, 0);
    let first = removed(&mut stage, 2, 1_000);
    assert_eq!(first.len(), 1);
    // Its own 2 s and the 8 s of the list are due: until 11 s.
    assert_eq!(removed(&mut stage, 3, 8_999), []);
    let again = removed(&mut stage, 3, 9_000);
    assert_eq!(again, first);
    assert_eq!(removed(&mut stage, 3, 9_500), []);
    let at = |head_ms| Answer {
        head_ms,
        ..answer(404, Bytes::new())
    };
    stage.push(again[0].clone(), Ok(at(11_001)));
    let is_missed = |stage: &Stage| stage.musts().contains(&"removed-too-soon");
    assert!(!is_missed(&stage), "it may go then");
    stage.push(again[0].clone(), Ok(at(10_999)));
    assert!(is_missed(&stage));
    let left = stage.rendition.want_at_last();
    assert_eq!(left.len(), 1, "the second waits until the check ends");
}

#[test]
fn a_name_that_comes_again_with_other_bytes_is_seen() {
    let mut stage = Stage::new();
    let hint = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a.m4s\"\n";
    let part =
        |name| format!("#EXT-X-PART:DURATION=2,URI=\"{name}.m4s\"\n#EXTINF:2,\n{name}s.m4s\n");
    for (lines, byte) in [
        (part("a"), 1),
        (part("a") + &part("b"), 2),
        (format!("{}{}{hint}", part("a"), part("b")), 3),
        (part("a") + &part("b") + &part("a"), 4),
    ] {
        for wanted in stage.list(&lines) {
            let body = Bytes::from(vec![byte; 10]);
            stage.push(wanted, Ok(answer(200, body)));
        }
    }
    assert_eq!(stage.musts(), ["uri-reused"]);
}

#[test]
fn bytes_that_wait_are_bounded() {
    let mut stage = Stage::new();
    let line = |n| format!("#EXT-X-PART:DURATION=1,URI=\"1.{n}.m4s\"\n");
    let lines: String = (0..40).map(line).collect();
    let wanted = stage.list(&format!("#EXT-X-MAP:URI=\"i.mp4\"\n{lines}"));
    assert_eq!(wanted.len(), 41);
    let body = Bytes::from(vec![0; 16 * 1024 * 1024]);
    // The section never comes.
    for wanted in wanted.into_iter().skip(1) {
        stage.push(wanted, Ok(answer(200, body.clone())));
    }
    let parts = stage
        .rendition
        .records
        .values()
        .flat_map(|record| &record.parts);
    let held: usize = parts.map(|part| part.slot.cost()).sum();
    assert_eq!(held, MAX_HELD);
    assert!(stage.has_note("wait to be compared"));

    let mut stage = Stage::new();
    let line = |n| format!("#EXT-X-MAP:URI=\"{n}.mp4\"\n#EXTINF:2,\n{n}.m4s\n");
    stage.list(&line(0));
    let lines: String = (0..300).map(line).collect();
    let wanted = stage.list(&lines);
    let sections = wanted
        .iter()
        .filter(|wanted| wanted.purpose == Purpose::Init);
    assert_eq!(sections.count(), MAX_INITS - 1);
}
