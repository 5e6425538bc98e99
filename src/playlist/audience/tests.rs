use std::collections::HashMap;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What is seen at which second; then at which second how many watch.
type Case = (&'static [(&'static str, u64)], &'static [(u64, u64)]);

/// A table whose levels fill up soon.
fn table(buckets: [usize; LEVELS]) -> Table {
    Table {
        levels: Default::default(),
        buckets,
    }
}

/// A hash by the bucket of the first levels and the tag.
fn hash(bucket: u64, tag: u64) -> u64 {
    (tag + 1) << 24 | bucket
}

#[test]
fn a_session_counts_from_its_request_until_it_was_unseen_for_long() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let cases: [Case; 6] = [
        (&[], &[(0, 0), (1000, 0)]),
        (&[("a", 0)], &[(0, 1), (40, 1), (41, 0)]),
        (&[("a", 0), ("a", 0), ("a", 1)], &[(1, 1), (41, 1), (42, 0)]),
        (&[("a", 0), ("b", 0), ("c", 5)], &[(5, 3), (41, 1), (46, 0)]),
        (&[("a", 0), ("a", 30), ("a", 60)], &[(60, 1), (100, 1)]),
        // Who comes back is one again.
        (&[("a", 0), ("a", 100)], &[(100, 1), (141, 0)]),
    ];
    for (seen, counts) in cases {
        let audience = Audience::new(start);
        for (session, seconds) in seen {
            audience.see(session, at(*seconds));
        }
        for (seconds, expected) in counts {
            let moment = at(*seconds);
            assert_eq!(audience.count(moment), *expected, "{seen:?} at {seconds} s");
            assert_eq!(audience.has_viewers(moment), *expected > 0);
        }
        assert_eq!(audience.unplaced(), 0);
    }
}

#[test]
fn a_request_allocates_nothing() {
    let start = Instant::now();
    let audience = Audience::new(start);
    // The first ever makes room for the others.
    audience.see("a", start);
    let later = start + Duration::from_secs(1);
    for (session, now) in [("a", start), ("a", later), ("b", later)] {
        let made = allocation_counter::measure(|| audience.see(session, now));
        assert_eq!(made.count_total, 0, "{session}");
    }
    let made = allocation_counter::measure(|| drop("a".to_owned()));
    assert_eq!(made.count_total, 1, "it is seen what is made");
}

#[test]
fn is_counted_once_a_second() {
    let start = Instant::now();
    let audience = Audience::new(start);
    assert_eq!(audience.count(start), 0);
    audience.see("a", start);
    assert_eq!(audience.count(start + Duration::from_millis(999)), 0);
    assert_eq!(audience.count(start + Duration::from_secs(1)), 1);
}

#[test]
fn a_request_whose_clock_was_read_earlier_changes_nothing() {
    let table = table([1, 1, 1, 1]);
    assert!(table.note(hash(0, 7), 100));
    assert!(table.note(hash(0, 7), 99));
    assert_eq!(
        (table.count(99), table.count(140), table.count(141)),
        (1, 1, 0)
    );
}

#[test]
fn seconds_go_round_without_a_jump() {
    let table = table([1, 1, 1, 1]);
    let last = SECONDS;
    assert!(table.note(hash(0, 7), last));
    assert_eq!((table.count(last + 40), table.count(last + 41)), (1, 0));
    assert!(table.note(hash(0, 7), last + 50));
    assert!(table.note(hash(0, 7), last + 60));
    assert_eq!((table.count(last + 100), table.count(last + 101)), (1, 0));
}

#[test]
fn a_full_bucket_opens_levels_and_the_last_turns_away_until_somebody_leaves() {
    let table = table([1, 2, 4, 8]);
    let open = |table: &Table| table.levels.iter().filter_map(OnceLock::get).count();
    // All of one bucket in each level.
    let place = |tag, now| table.note(hash(0, tag), now);
    for tag in 0..32 {
        assert!(place(tag, 1), "{tag}");
        assert_eq!(open(&table), usize::try_from(tag / 8).unwrap() + 1);
    }
    assert!(!place(32, 1), "33 sessions in 32 words");
    assert!(place(31, 41), "who is in stays in");
    assert_eq!(table.count(41), 32);
    // The words of those who left are taken before they are counted out.
    assert!(place(32, 42) && place(33, 42));
    assert_eq!(table.count(42), 3);
    assert!(table.note(hash(1, 0), 42), "another bucket has room");
    assert_eq!(table.count(42), 4);
}

#[test]
fn a_second_word_of_a_session_is_cleared() {
    let table = table([1, 1, 1, 1]);
    assert!(table.note(hash(0, 1), 1) && table.note(hash(0, 2), 1));
    let slots: Vec<_> = table.slots(hash(0, 1)).collect();
    // As if its other request had found the first word taken, and another one free.
    slots[5].store(tag(hash(0, 1)) | 1, Ordering::Relaxed);
    table.settle(hash(0, 1));
    assert_eq!(table.count(1), 2);
    assert_eq!(slots[5].load(Ordering::Relaxed), 0);
}

#[test]
fn threads_that_see_the_same_sessions_count_each_once() {
    const THREADS: u64 = 4;
    const SESSIONS: u64 = 3_000;
    let start = Instant::now();
    let audience = Audience::with_buckets(start, [16, 64, 256, 1024]);
    let together = Barrier::new(usize::try_from(THREADS).unwrap());
    let at = |second| start + Duration::from_secs(second);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (audience, together) = (&audience, &together);
            scope.spawn(move || {
                // The first rounds' sessions leave while the later ones come.
                for round in 0..6 {
                    together.wait();
                    let second = round * (SEEN_WITHIN_S + 1);
                    for n in 0..SESSIONS {
                        // Each thread in another order.
                        let n = (n + thread * 700) % SESSIONS;
                        audience.see(&format!("{round}-{n}"), at(second));
                    }
                }
            });
        }
    });
    assert_eq!(audience.count(at(5 * (SEEN_WITHIN_S + 1))), SESSIONS);
    assert_eq!(audience.unplaced(), 0);
}

proptest! {
    /// Whatever comes in whatever order, each session counts once, as long as all find a place.
    #[test]
    fn counts_as_a_list_of_names_would(
        steps in prop::collection::vec((0_u64..20, 0_u64..30, any::<bool>()), 0..200),
    ) {
        let table = table([1, 1, 2, 4]);
        let (mut now, mut names) = (1, HashMap::new());
        for (session, seconds, is_counted) in steps {
            now += seconds;
            prop_assert!(table.note(hash(session % 4, session), now));
            names.insert(session, now);
            if is_counted {
                let watching = names.values().filter(|seen| now - **seen <= SEEN_WITHIN_S);
                prop_assert_eq!(table.count(now), u64::try_from(watching.count()).unwrap());
            }
        }
    }
}
