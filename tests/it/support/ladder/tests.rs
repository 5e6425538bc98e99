//! The judges see what is wrong: a sound ladder passes, each kind of damage to it does not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::DateTime;

use super::grid::millis;
use super::*;
use crate::support::clips::clip;
use crate::support::publisher::Publisher;
use crate::support::server::TestServer;
use crate::support::viewer::Report;

/// Two equal renditions that report on each other, made of a real one.
fn twins(one: &Rendition) -> Ladder {
    let twin = |name: &str, other: &str| {
        let mut variant = one.variant.clone();
        name.clone_into(&mut variant.name);
        variant.url = one
            .variant
            .url
            .join(&format!("../{name}/live.m3u8"))
            .unwrap();
        let mut watched = one.watched.clone();
        for (own, reports) in &mut watched.reports {
            let uri = format!("../{other}/live.m3u8");
            *reports = vec![Report { uri, last: *own }];
        }
        Rendition { variant, watched }
    };
    Ladder {
        renditions: vec![twin("a", "b"), twin("b", "a")],
    }
}

/// Adds to the decode time in the first fragment header.
fn delay(part: &mut [u8], ticks: u64) {
    let at = part.windows(4).position(|name| name == b"tfdt").unwrap() + 8;
    let is_long = part[at - 4] == 1;
    let value = &mut part[at..at + if is_long { 8 } else { 4 }];
    let time = value
        .iter()
        .fold(0, |time, byte| time << 8 | u64::from(*byte))
        + ticks;
    let bytes = time.to_be_bytes();
    value.copy_from_slice(&bytes[8 - value.len()..]);
}

type Damage = fn(&mut Watched, (u64, u32));

const DAMAGES: &[(&str, Damage)] = &[
    ("another EXTINF", |watched, (msn, _)| {
        *watched.segments.get_mut(&msn).unwrap() += 0.002;
    }),
    ("a missing segment", |watched, (msn, _)| {
        watched.segments.remove(&msn);
    }),
    ("another date", |watched, (msn, _)| {
        let date = watched.dates.get_mut(&msn).unwrap();
        *date = DateTime::from_timestamp_millis(millis(date) + 2)
            .unwrap()
            .to_rfc3339();
    }),
    ("a missing part", |watched, at| {
        watched.parts.remove(&at);
    }),
    ("a moved boundary", |watched, (msn, part)| {
        watched.parts.get_mut(&(msn, part)).unwrap().0.duration += 0.01;
        watched.parts.get_mut(&(msn, part + 1)).unwrap().0.duration -= 0.01;
    }),
    ("a discontinuity of its own", |watched, (msn, _)| {
        watched.discontinuities.push(msn);
    }),
    ("another discontinuity number", |watched, (msn, _)| {
        *watched.discontinuity_sequences.get_mut(&msn).unwrap() += 1;
    }),
    ("two ticks late", |watched, at| {
        delay(&mut watched.parts.get_mut(&at).unwrap().1, 2);
    }),
    (
        "a segment that opens on any picture",
        |watched, (msn, _)| {
            watched.parts.get_mut(&(msn, 0)).unwrap().0.is_independent = false;
        },
    ),
    ("a gap that its segment does not tell", |watched, at| {
        watched.parts.get_mut(&at).unwrap().0.is_gap = true;
    }),
    ("a report of what never was", |watched, (msn, _)| {
        watched.reports[3].1[0].last = (msn, 40);
    }),
    ("a report far behind", |watched, _| {
        let first = *watched.parts.first_key_value().unwrap().0;
        let before_last = watched.reports.len() - 2;
        watched.reports[before_last].1[0].last = first;
    }),
    ("no report", |watched, _| {
        let middle = watched.reports.len() / 2;
        watched.reports[middle].1.clear();
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_ladder_is_found_out() {
    let server = TestServer::start().await;
    let channel = server.new_channel_with("twins", &["--type", "BASIC"]).await;
    let publisher = Publisher::once(&clip("fps30.flv"), &channel.ingest_url);
    let ladder = watch(&channel.playback_url).await;
    assert_eq!(publisher.ended().await, "");
    let [one] = &ladder.renditions[..] else {
        panic!("{:?}", ladder.names());
    };
    twins(one).check_grid();
    twins(one).check_declared();
    twins(one).check_whole();
    let second = one.watched.segments.keys().nth(1).unwrap();
    for (what, damage) in DAMAGES {
        for which in [0, 1] {
            let mut damaged = twins(one);
            damage(&mut damaged.renditions[which].watched, (*second, 2));
            let outcome = catch_unwind(AssertUnwindSafe(|| damaged.check_grid()));
            assert!(
                outcome.is_err(),
                "{what} in rendition {which} went unnoticed"
            );
        }
    }
    for (from, to) in [
        ("BANDWIDTH=", "BANDWIDTH=1"),
        ("INF:BANDWIDTH=", "INF:BANDWIDTH=9"),
        ("RESOLUTION=320x180", "RESOLUTION=320x182"),
        ("FRAME-RATE=30.000", "FRAME-RATE=29.000"),
        ("mp4a.40.2", "mp4a.40.5"),
        ("avc1.64", "avc1.4D"),
    ] {
        let mut damaged = twins(one);
        let tag = &mut damaged.renditions[1].variant.tag;
        assert!(tag.contains(from), "{from} in {tag}");
        *tag = match from {
            "BANDWIDTH=" => tag.replacen(":BANDWIDTH=", ":BANDWIDTH=1,X=", 1),
            _ => tag.replace(from, to),
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| damaged.check_declared()));
        assert!(outcome.is_err(), "{to} went unnoticed");
    }
}
