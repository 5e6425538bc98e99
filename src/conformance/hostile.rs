//! What a hostile server sends: nothing may take long, hold much memory, or panic.
//!
//! In:  playlists and media as large as they are read, of every kind that grows with itself. Out: tests.
//! Not here: bytes at random (`fuzz/`).

use std::fmt::Write as _;
use std::sync::mpsc;
use std::time::Duration;

use super::fetch::PLAYLIST_BYTES;
use super::findings::Book;
use super::parse::{Playlist, parse};
use super::successive::History;
use super::{single, together};

/// Far more than any of these takes, and far less than what grows with the square of its input.
const LONG: Duration = Duration::from_mins(1);

/// Runs `work` in a thread of its own; fails instead of waiting for ever.
fn soon(what: &str, work: impl FnOnce() + Send + 'static) {
    let (done_tx, done_rx) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        work();
        done_tx.send(()).unwrap();
    });
    let outcome = done_rx.recv_timeout(LONG);
    assert_ne!(
        outcome,
        Err(mpsc::RecvTimeoutError::Timeout),
        "{what} takes too long"
    );
    assert!(thread.join().is_ok(), "{what} panics");
}

/// Judges a playlist as the successor of itself with more parts, as following does.
fn judge(text: &str) {
    let mut book = Book::default();
    let mut history = History::default();
    for text in [text, &text.replace("#EXT-X-PART:", "#EXT-X-NOTHING:"), text] {
        let page = &mut book.page("a", 0);
        match parse(text.as_bytes()).unwrap() {
            Playlist::Media(list) => {
                single::judge(&list, page);
                history.push(*list, page);
            }
            Playlist::Multivariant(list) => together::judge_multivariant(&list, page),
        }
    }
    assert!(book.findings().len() < 200);
}

/// As many of the lines that `line` makes as a quarter of the largest playlist holds.
fn filled(head: &str, line: impl Fn(usize) -> String) -> String {
    let mut text = format!("#EXTM3U\n{head}");
    for n in 0.. {
        let line = line(n);
        if text.len() + line.len() > PLAYLIST_BYTES / 4 {
            break;
        }
        text.push_str(&line);
    }
    text
}

#[test]
fn no_playlist_takes_long() {
    const LIVE: &str = "#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n";
    let many = "#EXT-X-VERSION:6\n".repeat(30_000);
    let map = format!("{LIVE}#EXT-X-MAP:URI=\"{}\"\n", "x".repeat(1 << 19));
    let most = "9999999999.999999";
    let texts = [
        (
            "repeated tags",
            filled(&many, |_| "#EXT-X-ENDLIST\n".to_owned()),
        ),
        ("segments", filled(LIVE, |n| format!("#EXTINF:2,\n{n}\n"))),
        (
            "segments of a part",
            filled(LIVE, |n| {
                format!("#EXT-X-PART:URI=\"{n}p\",DURATION=.5\n#EXTINF:2,\n{n}\n")
            }),
        ),
        (
            "one part after the other",
            filled(LIVE, |_| "#EXT-X-PART:\n".to_owned()),
        ),
        (
            "segments under a long name",
            filled(&map, |n| format!("#EXTINF:2,\n{n}\n")),
        ),
        (
            "long times",
            filled(LIVE, |n| {
                format!("#EXT-X-PART:URI=\"{n}\",DURATION={most}\n#EXTINF:{most},\n{n}\n")
            }),
        ),
        (
            "a long open segment",
            filled(LIVE, |n| {
                format!("#EXT-X-PART:URI=\"{n}\",DURATION={most}\n")
            }),
        ),
        (
            "ranges of dates",
            filled(LIVE, |n| {
                format!("#EXT-X-DATERANGE:ID=\"{n}\",START-DATE=\"2026-10-01T10:00:00Z\"\n")
            }),
        ),
        (
            "hints",
            filled(LIVE, |_| {
                "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a\"\n".to_owned()
            }),
        ),
        ("attributes", filled("#EXT-X-PART:", |n| format!("A{n}=1,"))),
        (
            "variants",
            filled("", |n| format!("#EXT-X-STREAM-INF:AUDIO=\"{n}\"\n{n}\n")),
        ),
        (
            "groups",
            filled("", |n| {
                format!(
                    "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"g{n}\"\n#EXT-X-STREAM-INF:AUDIO=\"{n}\"\n{n}\n"
                )
            }),
        ),
        ("control characters", filled("", |_| "\u{1}\n".to_owned())),
    ];
    for (what, text) in texts {
        soon(what, move || judge(&text));
    }
}

#[test]
fn numbers_at_their_ends_are_only_numbers() {
    let most = u64::MAX;
    let mut text = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:{most}\n#EXT-X-MEDIA-SEQUENCE:{most}\n#EXT-X-DISCONTINUITY-SEQUENCE:{most}\n\
         #EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=9999999999,HOLD-BACK=9999999999,PART-HOLD-BACK=9999999999\n\
         #EXT-X-PART-INF:PART-TARGET=9999999999\n#EXT-X-SKIP:SKIPPED-SEGMENTS={most}\n"
    );
    for year in ["0000", "9999", "+262000", "-262000"] {
        write!(
            text,
            "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:{year}-01-01T00:00:00Z\n\
             #EXT-X-PART:URI=\"p\",DURATION=9999999999,BYTERANGE=\"{most}@{most}\"\n\
             #EXT-X-BYTERANGE:{most}@{most}\n#EXTINF:9999999999,\na\n"
        )
        .unwrap();
    }
    write!(
        text,
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p\",BYTERANGE-START={most},BYTERANGE-LENGTH={most}\n\
         #EXT-X-RENDITION-REPORT:URI=\"b\",LAST-MSN={most},LAST-PART={most}\n"
    )
    .unwrap();
    judge(&text);
}
