//! Random streams through a window; after each part the playlist is compared with the one before
//! it, as a player sees them. Rule numbers are those of the project's LL-HLS checklist; each says in words what it wants.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::playlist::MediaFile;
use crate::playlist::fixtures::{PART, START, init, push_parts_with_gaps, push_segment, window};

/// A segment as a playlist shows it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    discontinuity: bool,
    map: String,
    program_date_time: String,
    parts: Vec<String>,
    /// EXTINF and URI; none while it is open.
    tail: Option<(String, String)>,
}

/// A playlist as a player understands it.
#[derive(Clone, Debug, PartialEq)]
struct Playlist {
    header: Vec<String>,
    media_sequence: u64,
    discontinuity_sequence: u64,
    segments: Vec<Seen>,
    hinted_part: Option<String>,
    is_ended: bool,
}

impl Playlist {
    /// Parses, and insists on the order of a segment's lines (rule 23).
    fn parse(text: &str) -> Self {
        let value = |line: &str| line.split_once(':').unwrap().1.to_owned();
        let mut playlist = Self {
            header: Vec::new(),
            media_sequence: 0,
            discontinuity_sequence: 0,
            segments: Vec::new(),
            hinted_part: None,
            is_ended: false,
        };
        let mut map = String::new();
        let mut discontinuity = false;
        let mut open: Option<Seen> = None;
        let mut extinf = None;
        for line in text.lines() {
            assert!(!playlist.is_ended, "nothing follows ENDLIST: {line}");
            let tag = line.split(':').next().unwrap();
            match tag {
                "#EXT-X-MEDIA-SEQUENCE" => playlist.media_sequence = value(line).parse().unwrap(),
                "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                    playlist.discontinuity_sequence = value(line).parse().unwrap();
                }
                "#EXT-X-DISCONTINUITY" => {
                    assert!(open.is_none() && !discontinuity);
                    discontinuity = true;
                }
                "#EXT-X-MAP" => {
                    assert!(open.is_none());
                    map = value(line);
                }
                "#EXT-X-PROGRAM-DATE-TIME" => {
                    assert!(open.is_none());
                    open = Some(Seen {
                        discontinuity: std::mem::take(&mut discontinuity),
                        map: map.clone(),
                        program_date_time: value(line),
                        parts: Vec::new(),
                        tail: None,
                    });
                }
                "#EXT-X-PART" => {
                    assert!(extinf.is_none());
                    open.as_mut().unwrap().parts.push(value(line));
                }
                "#EXTINF" => extinf = Some(value(line)),
                "#EXT-X-PRELOAD-HINT" if line.contains("TYPE=PART") => {
                    assert_eq!(playlist.hinted_part, None, "rule 27: one hint of a type");
                    playlist.hinted_part = Some(value(line));
                }
                "#EXT-X-PRELOAD-HINT" => assert_eq!(playlist.hinted_part, None),
                "#EXT-X-PREFETCH" => {}
                "#EXT-X-ENDLIST" => playlist.is_ended = true,
                _ if !line.starts_with('#') => {
                    let mut segment = open.take().unwrap();
                    segment.tail = Some((extinf.take().unwrap(), line.to_owned()));
                    playlist.segments.push(segment);
                }
                _ => playlist.header.push(line.to_owned()),
            }
        }
        playlist.segments.extend(open);
        playlist
    }

    fn complete(&self) -> usize {
        self.segments.iter().filter(|s| s.tail.is_some()).count()
    }
}

/// Rules 3 and 6: what may change from one version to the next.
fn check_succession(before: &Playlist, after: &Playlist) {
    assert_eq!(before.header, after.header, "rule 3: the header is frozen");
    assert!(
        !before.is_ended || before == after,
        "nothing changes after ENDLIST"
    );
    let removed = after
        .media_sequence
        .checked_sub(before.media_sequence)
        .unwrap();
    let removed = usize::try_from(removed).unwrap();
    let left = before.segments[..removed].iter();
    let discontinuities = left.filter(|s| s.discontinuity).count();
    let expected = before.discontinuity_sequence + u64::try_from(discontinuities).unwrap();
    assert_eq!(after.discontinuity_sequence, expected, "rule 6");
    assert!(after.segments.len() >= before.segments.len() - removed);
    for (old, new) in before.segments[removed..].iter().zip(&after.segments) {
        assert_eq!(old.discontinuity, new.discontinuity);
        assert_eq!(old.map, new.map);
        assert_eq!(old.program_date_time, new.program_date_time);
        match &old.tail {
            Some(_) => {
                assert_eq!(old.tail, new.tail);
                assert!(new.parts.is_empty() || new.parts == old.parts);
            }
            None => assert!(new.parts.starts_with(&old.parts)),
        }
    }
}

/// What one playlist must be by itself.
fn check_alone(config: &Config, playlist: &Playlist, snapshot: &Snapshot) {
    for (msn, segment) in (playlist.media_sequence..).zip(&playlist.segments) {
        if let Some((extinf, uri)) = &segment.tail {
            assert_eq!(*uri, MediaFile::Segment(msn).to_string(), "rule 6");
            let seconds: f64 = extinf.strip_suffix(",live").unwrap().parse().unwrap();
            assert!(
                seconds.round() <= f64::from(config.target_duration_s),
                "rule 4: {extinf}"
            );
        }
        for part in &segment.parts {
            let text = part.split(['=', ',']).nth(1).unwrap();
            let seconds: f64 = text.parse().unwrap();
            assert!(
                seconds * 1000.0 <= f64::from(config.part_target_ms),
                "rule 19: {part}"
            );
        }
    }
    assert_eq!(playlist.hinted_part.is_none(), playlist.is_ended, "rule 27");
    assert_eq!(snapshot.is_ended(), playlist.is_ended);
    for (index, segment) in playlist.segments.iter().rev().enumerate() {
        let open = usize::from(playlist.segments.len() > playlist.complete());
        assert_eq!(segment.parts.is_empty(), index >= 3 + open, "rule 25");
    }
}

/// Rules 6 and 8: enough stays listed, and what was listed stays fetchable.
struct Fetchable {
    /// Media time at which each segment left the list, and how long it must stay.
    removed: HashMap<u64, (i64, i64)>,
    longest: i64,
}

impl Fetchable {
    fn check(&mut self, window: &Window, before: &Snapshot, after: &Snapshot) {
        let duration = |s: &Snapshot| {
            let parts = s.listing.open.iter().flat_map(|open| &open.parts);
            let open: i64 = parts.map(|part| part.duration).sum();
            s.listed().map(|s| s.duration).sum::<i64>() + open
        };
        // The longest playlist that listed it: `after` no longer does.
        self.longest = self.longest.max(duration(before));
        let first = after.listed().next().map_or(0, |s| s.msn);
        for gone in before.listed().filter(|s| s.msn < first) {
            let stays = gone.duration + self.longest;
            self.removed.insert(gone.msn, (window.published, stays));
        }
        for (msn, (at, stays)) in &self.removed {
            if window.published < at + stays {
                let segment = after.segment(*msn).expect("rule 8: removed segments stay");
                let last = segment.last().unwrap();
                assert!(after.part(last).is_some() && after.init(&segment.init.hash).is_some());
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A segment's parts; the last one closes it.
    Segment(Vec<i64>),
    /// Parts of a segment that never closes by itself.
    Torn(Vec<i64>),
    /// The encoder comes back after so many milliseconds, with one of three configurations.
    Interrupt(i64, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = || prop_oneof![4 => Just(PART), 1 => 3_000_i64..=30_060];
    let step = prop_oneof![
        12 => prop::collection::vec(part(), 1..=7).prop_map(Step::Segment),
        1 => prop::collection::vec(part(), 1..=3).prop_map(Step::Torn),
        2 => (0_i64..40_000, 0_u8..3).prop_map(|(gap, init)| Step::Interrupt(gap, init)),
    ];
    prop::collection::vec(step, 1..70)
}

/// Runs `steps` and hands each (window, is a new part) to `observe`.
fn run(config: &Config, steps: &[Step], mut observe: impl FnMut(&Window, bool)) {
    let mut window = Window::new(config, 1000);
    let (mut wall, mut at) = (START, 17);
    window.start_timeline(init("00000000"), wall);
    for step in steps {
        let (parts, closes) = match step {
            Step::Segment(parts) => (parts, true),
            Step::Torn(parts) => (parts, false),
            Step::Interrupt(gap, kind) => {
                let published = Timescale::VIDEO.convert(window.published, Timescale::MILLIS);
                wall = wall.plus_millis(*gap);
                at = 12_345;
                window.start_timeline(init(&format!("0000000{kind}")), wall.plus_millis(published));
                observe(&window, false);
                continue;
            }
        };
        for (index, duration) in parts.iter().enumerate() {
            window.push(Part {
                bytes: Bytes::from_static(b"part"),
                start: at,
                duration: *duration,
                is_independent: index == 0,
                opens_segment: index == 0,
                closes_segment: closes && index + 1 == parts.len(),
                is_gap: false,
                is_promised: false,
            });
            at += duration;
            observe(&window, true);
        }
    }
    window.end();
    observe(&window, false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn successive_playlists_change_only_as_allowed(
        steps in steps(),
        window_seconds in prop_oneof![Just(12_u32), Just(30), Just(62)],
    ) {
        let config = Config { window_seconds, ..Config::default() };
        let mut before: Option<(Arc<Snapshot>, Playlist)> = None;
        let mut fetchable = Fetchable { removed: HashMap::new(), longest: 0 };
        run(&config, &steps, |window, is_new_part| {
            let snapshot = window.snapshot();
            let text = String::from_utf8(snapshot.playlist(false, false).to_vec()).unwrap();
            let (_, parsed) = m3u8_rs::parse_media_playlist(text.as_bytes()).unwrap();
            let playlist = Playlist::parse(&text);
            assert_eq!(parsed.media_sequence, playlist.media_sequence);
            assert_eq!(parsed.segments.len(), playlist.complete());
            assert_eq!(parsed.end_list, playlist.is_ended);
            check_alone(&config, &playlist, &snapshot);
            if let Some((old, old_playlist)) = &before {
                check_succession(old_playlist, &playlist);
                fetchable.check(window, old, &snapshot);
                if is_new_part && let Some(hinted) = old.hint() {
                    let is_torn = snapshot.part(hinted).is_none();
                    // A torn segment is closed by what comes next: its hint is given up (rule 28).
                    assert!(!is_torn || snapshot.hint().unwrap().msn > hinted.msn, "rule 27");
                    let uri = format!("URI=\"{}\"", MediaFile::Part(hinted));
                    assert!(old_playlist.hinted_part.as_ref().unwrap().ends_with(&uri));
                    let newest = playlist.segments.last().unwrap().parts.last().unwrap();
                    assert!(is_torn || newest.contains(&uri), "rule 27");
                }
                if playlist.media_sequence > old_playlist.media_sequence {
                    let listed: i64 = snapshot.listed().map(|s| s.duration).sum();
                    assert!(listed >= ticks(i64::from(window_seconds) * 1000), "rule 7");
                    assert!(playlist.complete() >= 6, "rule 7");
                }
            }
            before = Some((snapshot, playlist));
        });
    }

    #[test]
    fn delta_updates_restore_the_full_playlist(steps in steps()) {
        let config = Config { window_seconds: 62, ..Config::default() };
        let mut known: HashMap<u64, Seen> = HashMap::new();
        run(&config, &steps, |window, _| {
            let snapshot = window.snapshot();
            let [full, delta] = [false, true].map(|delta| {
                let bytes = snapshot.playlist(delta, false);
                String::from_utf8(bytes.to_vec()).unwrap()
            });
            m3u8_rs::parse_media_playlist(delta.as_bytes()).unwrap();
            let tag = "#EXT-X-SKIP:SKIPPED-SEGMENTS=";
            let skipped = delta.lines().find_map(|l| l.strip_prefix(tag));
            let full = Playlist::parse(&full);
            if let Some(skipped) = skipped {
                let skipped: usize = skipped.parse().unwrap();
                let delta = Playlist::parse(&delta);
                assert!(skipped > 0 && delta.media_sequence == full.media_sequence);
                assert_eq!(delta.discontinuity_sequence, full.discontinuity_sequence);
                assert_eq!(delta.segments.len() + skipped, full.segments.len());
                for (new, old) in delta.segments.iter().zip(&full.segments[skipped..]) {
                    assert_eq!(new.tail, old.tail);
                    assert!(new.map.is_empty() || new.map == old.map);
                }
                for (msn, segment) in (full.media_sequence..).zip(&full.segments[..skipped]) {
                    assert_eq!(known[&msn].tail, segment.tail, "only what was listed is skipped");
                }
            }
            for (msn, segment) in (full.media_sequence..).zip(&full.segments) {
                known.insert(msn, segment.clone());
            }
        });
    }

    /// Rule 10: the wall clock is read once per timeline, then media time counts.
    #[test]
    fn program_date_time_follows_media_time(steps in steps()) {
        let mut newest = None;
        run(&Config::default(), &steps, |window, _| newest = Some(window.snapshot()));
        let segments = newest.unwrap().listing.segments.clone();
        for (a, b) in segments.iter().zip(segments.iter().skip(1)) {
            let elapsed = b.program_date_time.millis_since(a.program_date_time);
            let media = Timescale::VIDEO.convert(b.offset - a.offset, Timescale::MILLIS);
            assert!(b.discontinuity || (elapsed - media).abs() <= 1);
            assert!(b.discontinuity || b.offset == a.offset + a.duration);
            assert!(!b.discontinuity || b.offset == 0);
        }
    }
}

#[test]
fn keeps_the_window_and_at_least_six_segments() {
    let window = window(&Config::default(), 1, 40, 2);
    let snapshot = window.snapshot();
    let listed: Vec<u64> = snapshot.listed().map(|s| s.msn).collect();
    assert_eq!(listed, (26..=40).collect::<Vec<_>>());
    // Removed at the end of segment n + 15, forgotten 2 s + (30 + 2) s of media later.
    assert!(snapshot.segment(8).is_none() && snapshot.segment(9).is_some());
    assert_eq!(
        snapshot.segment(26).unwrap().byte_len(),
        6 * "part at 4500000".len()
    );
    assert!(snapshot.segment(41).is_none(), "not complete");
    assert!(snapshot.part(Position { msn: 41, part: 1 }).is_some());
    assert!(snapshot.part(Position { msn: 41, part: 2 }).is_none());
    assert!(snapshot.part(Position { msn: 9, part: 5 }).is_some());
    assert!(snapshot.part(Position { msn: 9, part: 6 }).is_none());
    assert!(snapshot.part(Position { msn: 0, part: 0 }).is_none());

    let mut short = Window::new(
        &Config {
            window_seconds: 12,
            ..Config::default()
        },
        1,
    );
    short.start_timeline(init("7f3a09bc"), START);
    let mut at = 0;
    for _ in 0..9 {
        at = push_segment(&mut short, at, &[PART; 7]);
    }
    assert_eq!(short.snapshot().listed().count(), 6);
}

#[test]
fn positions_while_a_stream_runs() {
    let position = |msn, part| Some(Position { msn, part });
    let mut empty = Window::new(&Config::default(), 5);
    let snapshot = empty.snapshot();
    assert_eq!((snapshot.last(), snapshot.hint()), (None, position(5, 0)));
    assert!(!snapshot.has_full_segment_and_part());
    empty.end();
    let snapshot = empty.snapshot();
    assert_eq!((snapshot.last(), snapshot.hint()), (None, None));

    // (complete segments, parts) -> (last, hint, last complete, can be served first)
    let cases = [
        (0, 1, position(5, 0), position(5, 1), None, false),
        (1, 0, position(5, 5), position(6, 0), Some(5), false),
        (1, 1, position(6, 0), position(6, 1), Some(5), true),
        (2, 0, position(6, 5), position(7, 0), Some(6), true),
    ];
    for (segments, parts, last, hint, complete, is_ready) in cases {
        let mut window = window(&Config::default(), 5, segments, parts);
        let snapshot = window.snapshot();
        assert_eq!(snapshot.last(), last);
        assert_eq!(snapshot.hint(), hint);
        assert_eq!(snapshot.last_complete_msn(), complete);
        assert_eq!(snapshot.has_full_segment_and_part(), is_ready);
        window.end();
        let ended = window.snapshot();
        assert_eq!((ended.last(), ended.hint()), (last, None));
        assert!(ended.has_full_segment_and_part());
        assert_eq!(ended.last_complete_msn(), last.map(|l| l.msn));
    }
}

#[test]
fn a_snapshot_never_changes() {
    let mut window = window(&Config::default(), 5, 1, 1);
    let snapshot = window.snapshot();
    push_segment(&mut window, 7 * PART, &[PART; 6]);
    window.end();
    window.start_timeline(init("c0ffee00"), START);
    assert!(window.snapshot().hint().is_none() && window.snapshot().init("c0ffee00").is_none());
    assert_eq!(snapshot.hint(), Some(Position { msn: 6, part: 1 }));
    assert!(!snapshot.is_ended() && snapshot.segment(6).is_none());
}

#[test]
fn the_init_of_every_fetchable_part_and_of_the_next_is_there() {
    let mut window = window(&Config::default(), 5, 1, 1);
    window.start_timeline(init("c0ffee00"), START);
    let has = |window: &Window, hash| window.snapshot().init(hash).is_some();
    assert!(has(&window, "7f3a09bc") && has(&window, "c0ffee00"));
    let mut at = 0;
    for _ in 0..50 {
        at = push_segment(&mut window, at, &[PART; 6]);
    }
    assert!(!has(&window, "7f3a09bc") && has(&window, "c0ffee00"));
}

#[test]
fn a_pause_in_the_video_counts_up_to_the_target_duration() {
    let part = |start, closes_segment| Part {
        bytes: Bytes::new(),
        start,
        duration: PART,
        is_independent: false,
        opens_segment: false,
        closes_segment,
        is_gap: false,
        is_promised: false,
    };
    let cases = [(60_000, 90_000), (500_000, 224_998)];
    for (second_start, duration) in cases {
        let mut window = Window::new(&Config::default(), 1);
        window.start_timeline(init("7f3a09bc"), START);
        window.push(part(0, false));
        window.push(part(second_start, true));
        window.push(part(second_start + PART, true));
        let snapshot = window.snapshot();
        assert_eq!(snapshot.segment(1).unwrap().duration, duration);
        let millis = (second_start + PART) / 90;
        let next = snapshot.segment(2).unwrap().program_date_time;
        assert_eq!(
            next.millis_since(START),
            millis,
            "the next segment is where it is"
        );
    }
}

#[test]
fn a_missing_part_makes_a_gap_of_its_segment_and_of_no_other() {
    let mut window = window(&Config::default(), 5, 1, 0);
    let mut at = 6 * PART;
    for gaps in [&[0][..], &[2, 3], &[5], &[0, 1, 2, 3, 4, 5], &[]] {
        at = push_parts_with_gaps(&mut window, at, &[PART; 6], true, gaps);
    }
    let snapshot = window.snapshot();
    let shape = snapshot.listed().map(|s| (s.msn, s.has_gap, s.duration));
    let expected = [
        (5, false),
        (6, true),
        (7, true),
        (8, true),
        (9, true),
        (10, false),
    ];
    assert!(shape.eq(expected.map(|(msn, has_gap)| (msn, has_gap, 6 * PART))));
    let has_bytes = |msn| {
        let parts = (0..6).map(|part| snapshot.part(Position { msn, part }).is_some());
        parts.collect::<Vec<_>>()
    };
    assert_eq!(has_bytes(6), [false, true, true, true, true, true]);
    assert_eq!(has_bytes(7), [true, true, false, false, true, true]);
    assert_eq!(has_bytes(9), [false; 6]);
    let lengths = [7, 9].map(|msn| snapshot.segment(msn).unwrap().byte_len());
    assert_eq!(lengths, [4 * "part at 360000".len(), 0]);
}

#[test]
fn a_missing_part_counts_as_the_newest_and_the_next_is_hinted() {
    let mut window = window(&Config::default(), 5, 1, 0);
    push_parts_with_gaps(&mut window, 6 * PART, &[PART; 2], false, &[1]);
    let snapshot = window.snapshot();
    let position = |part| Some(Position { msn: 6, part });
    assert_eq!(
        (snapshot.last(), snapshot.hint()),
        (position(1), position(2))
    );
    assert!(snapshot.has_full_segment_and_part());
    let open = window.listing.open.as_ref().unwrap();
    assert_eq!((open.has_gap, open.duration), (true, 2 * PART));
}

#[test]
fn a_first_answer_waits_for_a_segment_without_a_gap_through_three() {
    let is_ready = |segments: &[bool]| {
        let mut window = window(&Config::default(), 5, 0, 0);
        let mut at = 0;
        for is_whole in segments {
            let gaps = if *is_whole { &[][..] } else { &[3] };
            at = push_parts_with_gaps(&mut window, at, &[PART; 6], true, gaps);
        }
        push_parts_with_gaps(&mut window, at, &[PART], false, &[]);
        window.snapshot().has_full_segment_and_part()
    };
    assert!(!is_ready(&[false; 1]) && !is_ready(&[false; 3]));
    assert!(is_ready(&[false; 4]), "nobody waits for ever");
    assert!(is_ready(&[true, false]) && is_ready(&[false, true]));
}
