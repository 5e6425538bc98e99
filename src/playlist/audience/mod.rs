//! Who watches a channel: the viewer sessions seen lately, counted without a lock.
//!
//! In:  the viewer session in the path of each request, and when it came. Out: how many there are.
//! A session is one word of a table: what tells it from others, and the second it was last seen. A
//! request reads one cache line per level of the table and writes one word a second at most; the
//! table is walked by whoever asks for the count. Full, it grows by a level, up to [`CAPACITY`].
//! Not here: who may watch (`origin`); who wants to know (`live`, `api`).
//! Read: the IVS API's `Stream.viewerCount`: a view shows within 15 s of its start and is gone within
//! a minute of its end.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::iter::repeat_with;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use tokio::time::Instant;

/// A session counts for this long after its last request. The longest a player is silent is a held
/// playlist request, three target durations of 10 s; with the gauge's delay this is below a minute.
const SEEN_WITHIN_S: u64 = 40;
/// Words of a bucket: a cache line.
const SLOTS: usize = 8;
/// Buckets of each level, powers of two: 16 KiB, then eight times the level before.
const BUCKETS: [usize; LEVELS] = [1 << 8, 1 << 11, 1 << 14, 1 << 17];
const LEVELS: usize = 4;
/// Sessions a channel can tell apart, if they were spread evenly; what finds no place is not counted.
pub const CAPACITY: usize = SLOTS * (BUCKETS[0] + BUCKETS[1] + BUCKETS[2] + BUCKETS[3]);
/// The bits of a word that hold seconds, half a year of them; the others are the session's tag.
const SECONDS: u64 = (1 << 24) - 1;
/// How often a request tries again when others changed the same words; its session comes again soon.
const TRIES: usize = 4;

/// The viewers of one channel, through all its epochs.
pub struct Audience {
    /// Second 1 of this audience.
    started: Instant,
    /// Unknown outside, so that nobody can choose sessions that fall into one bucket.
    keys: RandomState,
    table: Table,
    /// The second of the last count, and below [`COUNT_BITS`] what it came to.
    counted: AtomicU64,
    /// Requests whose session found no place.
    unplaced: AtomicU64,
}

/// Bits of a remembered count.
const COUNT_BITS: u32 = 32;

impl Audience {
    /// Nobody yet; time is counted from `now`.
    pub fn new(now: Instant) -> Self {
        Self::with_buckets(now, BUCKETS)
    }

    fn with_buckets(now: Instant, buckets: [usize; LEVELS]) -> Self {
        Self {
            started: now,
            keys: RandomState::new(),
            table: Table {
                levels: Default::default(),
                buckets,
            },
            counted: AtomicU64::new(0),
            unplaced: AtomicU64::new(0),
        }
    }

    /// A request of `session` came.
    pub fn see(&self, session: &str, now: Instant) {
        let hash = self.keys.hash_one(session);
        if !self.table.note(hash, self.second(now)) {
            self.unplaced.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Viewers now: sessions seen within `SEEN_WITHIN_S`. Counted once a second, however often it
    /// is asked.
    pub fn count(&self, now: Instant) -> u64 {
        let now = self.second(now);
        let counted = self.counted.load(Ordering::Relaxed);
        if counted >> COUNT_BITS == now {
            return counted & ((1 << COUNT_BITS) - 1);
        }
        let viewers = self.table.count(now);
        let counted = now << COUNT_BITS | viewers;
        self.counted.store(counted, Ordering::Relaxed);
        viewers
    }

    /// Whether anybody watches.
    pub fn has_viewers(&self, now: Instant) -> bool {
        self.count(now) > 0
    }

    /// Requests, ever, whose session was not counted because the table was full.
    pub fn unplaced(&self) -> u64 {
        self.unplaced.load(Ordering::Relaxed)
    }

    /// Never 0, which is what an empty word says.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() + 1
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audience")
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

/// Words by the hash of their session: in each level one bucket is the session's own.
struct Table {
    levels: [OnceLock<Box<[Bucket]>>; LEVELS],
    /// Of each level; powers of two.
    buckets: [usize; LEVELS],
}

/// One cache line.
#[derive(Default)]
#[repr(align(64))]
struct Bucket([AtomicU64; SLOTS]);

/// What a look through a session's buckets found.
enum Found<'a> {
    /// The session's own word.
    Own(&'a AtomicU64, u64),
    /// None, but one that is free.
    Free(&'a AtomicU64, u64),
    /// All are in use, in as many levels as there are.
    Full { levels: usize },
}

impl Table {
    /// Writes down that the session was seen; `false` if there is no place for it.
    fn note(&self, hash: u64, now: u64) -> bool {
        let fresh = tag(hash) | (now & SECONDS);
        for _ in 0..TRIES {
            match self.find(hash, now) {
                Found::Own(_, word) if age(word, now) == 0 => return true,
                Found::Own(slot, word) => {
                    if replace(slot, word, fresh) {
                        return true;
                    }
                }
                Found::Free(slot, word) => {
                    if replace(slot, word, fresh) {
                        self.settle(hash);
                        return true;
                    }
                }
                Found::Full { levels } => {
                    if !self.grow(levels) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// A word of the session is the session's also if it is old: so there is never a second one.
    fn find(&self, hash: u64, now: u64) -> Found<'_> {
        let (mut levels, mut free) = (0, None);
        for level in self.levels.iter().map_while(OnceLock::get) {
            levels += 1;
            for slot in bucket(level, hash) {
                let word = slot.load(Ordering::Relaxed);
                if is_of(word, hash) {
                    return Found::Own(slot, word);
                }
                if free.is_none() && !is_watching(word, now) {
                    free = Some((slot, word));
                }
            }
        }
        match free {
            Some((slot, word)) => Found::Free(slot, word),
            None => Found::Full { levels },
        }
    }

    /// Two requests of a new session may each have taken a word, in different places if one came
    /// free in between. After the fence at least one of the two sees both, and the first stays.
    fn settle(&self, hash: u64) {
        fence(Ordering::SeqCst);
        let is_own = |slot: &&AtomicU64| is_of(slot.load(Ordering::Relaxed), hash);
        for later in self.slots(hash).filter(is_own).skip(1) {
            let clear = |word| is_of(word, hash).then_some(0);
            // Refused if it has become another's by now, which is as good.
            later
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, clear)
                .ok();
        }
    }

    /// The words where a session can be, always in this order.
    fn slots(&self, hash: u64) -> impl Iterator<Item = &AtomicU64> {
        let levels = self.levels.iter().map_while(OnceLock::get);
        levels.flat_map(move |level| bucket(level, hash))
    }

    /// Opens another level beside these, which takes milliseconds if it is the largest; `false` if
    /// there is none.
    fn grow(&self, levels: usize) -> bool {
        let Some((level, buckets)) = self.levels.get(levels).zip(self.buckets.get(levels)) else {
            return false;
        };
        level.get_or_init(|| repeat_with(Bucket::default).take(*buckets).collect());
        true
    }

    /// Counts who watches and frees the words of who does not.
    fn count(&self, now: u64) -> u64 {
        let buckets = self.levels.iter().filter_map(OnceLock::get).flatten();
        let mut viewers = 0;
        for slot in buckets.flat_map(|bucket| &bucket.0) {
            let word = slot.load(Ordering::Relaxed);
            if is_watching(word, now) {
                viewers += 1;
            } else if word != 0 {
                // Whoever comes back at this moment keeps it.
                replace(slot, word, 0);
            }
        }
        viewers
    }
}

/// A session's words in a level.
fn bucket(level: &[Bucket], hash: u64) -> &[AtomicU64; SLOTS] {
    let index = usize::try_from(hash).unwrap_or(usize::MAX) & (level.len() - 1);
    &level[index].0
}

/// The bits of a hash that stand in a word; those that choose the bucket are others.
fn tag(hash: u64) -> u64 {
    hash & !SECONDS
}

fn is_of(word: u64, hash: u64) -> bool {
    word != 0 && tag(word) == tag(hash)
}

fn is_watching(word: u64, now: u64) -> bool {
    word != 0 && age(word, now) <= SEEN_WITHIN_S
}

/// Seconds since a word was written; 0 also if that was a little after `now`, by another thread.
fn age(word: u64, now: u64) -> u64 {
    let age = now.wrapping_sub(word) & SECONDS;
    if age > SECONDS / 2 { 0 } else { age }
}

fn replace(slot: &AtomicU64, word: u64, new: u64) -> bool {
    slot.compare_exchange(word, new, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
}

#[cfg(test)]
mod tests;
