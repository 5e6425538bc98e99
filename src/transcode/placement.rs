//! Thread placement: on which processors a transcoder's threads run.
//!
//! In:  how late a transcoder is. Out: the processors its threads may use.
//! A transcoder that keeps up has one processor: its threads work one after the other there, a picture
//! is still in that processor's cache when the next rung is made of it, and no other processor has to
//! be woken for it. That takes 5 to 15 % less processor time for the same work (`benches/ladder`). One
//! that falls behind has all processors until it has been in time for a while.
//! Not here: what is left out when all processors are too few (`load`). Elsewhere than on Linux the
//! threads run where they like.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Later than this, one processor is not enough.
const LATE: Duration = Duration::from_millis(60);
/// How long a transcoder must have been in time before it settles, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_mins(5);
/// One that is late again so soon has settled too early.
const TRIAL: Duration = Duration::from_mins(1);
/// As a processor's number: any of them.
const ANY: usize = usize::MAX;

/// The processors of this process, and who has settled where.
#[derive(Debug)]
struct Processors {
    /// Their numbers.
    numbers: Vec<usize>,
    /// What those weigh who have settled on each.
    weights: Vec<u64>,
}

/// When to have one processor.
#[derive(Debug)]
struct Rule {
    settled: Option<Instant>,
    in_time_since: Option<Instant>,
    rest: Duration,
}

/// Where a transcoder runs.
#[derive(Debug)]
pub(super) struct Placement {
    rule: Rule,
    weight: u64,
    home: Arc<AtomicUsize>,
}

/// A thread that goes where its transcoder does.
#[derive(Debug)]
pub(super) struct Affinity {
    home: Arc<AtomicUsize>,
    followed: usize,
}

impl Placement {
    /// A transcoder that makes so many pixels a second.
    pub(super) fn new(weight: u64) -> Self {
        Self {
            rule: Rule::new(),
            weight,
            home: Arc::new(AtomicUsize::new(ANY)),
        }
    }

    /// For one of its threads.
    pub(super) fn affinity(&self) -> Affinity {
        Affinity {
            home: Arc::clone(&self.home),
            followed: ANY,
        }
    }

    /// At `now` a picture was done `lag` after it had arrived.
    pub(super) fn observe(&mut self, now: Instant, lag: Duration) {
        let has_home = self.home.load(Ordering::Relaxed) != ANY;
        match (self.rule.is_settled(now, lag), has_home) {
            (true, false) => {
                let home = of_processors(|all| all.settle(self.weight));
                self.home.store(home.unwrap_or(ANY), Ordering::Relaxed);
            }
            (false, true) => self.leave(),
            _ => {}
        }
    }

    fn leave(&mut self) {
        let home = self.home.swap(ANY, Ordering::Relaxed);
        of_processors(|all| all.leave(home, self.weight));
    }
}

impl Drop for Placement {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Affinity {
    /// Has the calling thread run where its transcoder does now.
    pub(super) fn follow(&mut self) {
        let home = self.home.load(Ordering::Relaxed);
        if home == self.followed {
            return;
        }
        self.followed = home;
        go_to(home);
    }

    /// Does what may start threads, which begin where the calling one runs and stay there: on all processors.
    pub(super) fn anywhere<T>(&self, start: impl FnOnce() -> T) -> T {
        if self.followed == ANY {
            return start();
        }
        go_to(ANY);
        let started = start();
        go_to(self.followed);
        started
    }
}

/// Has the calling thread run there.
fn go_to(home: usize) {
    match home {
        ANY => of_processors(|all| system::run_on(&all.numbers)),
        home => system::run_on(&[home]),
    }
}

impl Rule {
    fn new() -> Self {
        Self {
            settled: None,
            in_time_since: None,
            rest: FIRST_REST,
        }
    }

    fn is_settled(&mut self, now: Instant, lag: Duration) -> bool {
        if lag >= LATE {
            self.in_time_since = None;
            if let Some(at) = self.settled.take() {
                self.rest = if now.duration_since(at) < TRIAL {
                    (self.rest * 2).min(LONGEST_REST)
                } else {
                    FIRST_REST
                };
            }
            return false;
        }
        let since = *self.in_time_since.get_or_insert(now);
        if self.settled.is_none() && now.duration_since(since) >= self.rest {
            self.settled = Some(now);
        }
        self.settled.is_some()
    }
}

impl Processors {
    fn new(numbers: Vec<usize>) -> Self {
        let weights = vec![0; numbers.len()];
        Self { numbers, weights }
    }

    /// The processor with the least on it; none where there is no choice.
    fn settle(&mut self, weight: u64) -> Option<usize> {
        if self.numbers.len() < 2 {
            return None;
        }
        let all = self.numbers.iter().zip(&mut self.weights);
        let (number, least) = all.min_by_key(|(_, weight)| **weight)?;
        *least += weight;
        Some(*number)
    }

    fn leave(&mut self, number: usize, weight: u64) {
        let mut all = self.numbers.iter().zip(&mut self.weights);
        if let Some((_, left)) = all.find(|(of, _)| **of == number) {
            *left = left.saturating_sub(weight);
        }
    }
}

/// Looks at the process's processors; those it may use when it asks for the first time.
fn of_processors<T>(look: impl FnOnce(&mut Processors) -> T) -> T {
    static PROCESSORS: OnceLock<Mutex<Processors>> = OnceLock::new();
    let all = PROCESSORS.get_or_init(|| Mutex::new(Processors::new(system::processors())));
    look(&mut all.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The numbers of those that the calling thread may use.
    pub(super) fn processors() -> Vec<usize> {
        let Ok(set) = sched_getaffinity(None) else {
            return Vec::new();
        };
        let all = 0..CpuSet::MAX_CPU;
        all.filter(|number| set.is_set(*number)).collect()
    }

    /// Has the calling thread use these only. Where that is not allowed, it runs where it ran.
    pub(super) fn run_on(numbers: &[usize]) {
        let mut set = CpuSet::new();
        for number in numbers.iter().filter(|number| **number < CpuSet::MAX_CPU) {
            set.set(*number);
        }
        if let Err(error) = sched_setaffinity(None, &set) {
            tracing::debug!(%error, ?numbers, "the thread stays where it is");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn processors() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn run_on(_: &[usize]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// When it has settled first, in ms, if every 10 ms a picture is `lag` late.
    fn settles(rule: &mut Rule, from: Instant, lag: u32) -> Option<u32> {
        let mut times = (0..=600_000).step_by(10);
        times.find(|ms| rule.is_settled(from + MS * *ms, MS * lag))
    }

    #[test]
    fn in_time_for_a_while_it_settles_and_late_it_does_not_stay() {
        let now = Instant::now();
        let mut rule = Rule::new();
        assert_eq!(settles(&mut rule, now, 60), None);
        assert_eq!(settles(&mut rule, now, 59), Some(2000));
        assert!(!rule.is_settled(now + MS * 2010, MS * 60));
    }

    #[test]
    fn who_settles_too_early_waits_longer_and_longer() {
        let mut now = Instant::now();
        let mut rule = Rule::new();
        for rest in [2000, 4000, 8000] {
            assert_eq!(settles(&mut rule, now, 20), Some(rest));
            now += MS * (rest + 10);
            assert!(!rule.is_settled(now, MS * 100));
        }
        assert_eq!(settles(&mut rule, now, 20), Some(16_000));
        now += MS * 100_000;
        assert!(!rule.is_settled(now, MS * 100), "after a long time in time");
        assert_eq!(settles(&mut rule, now, 20), Some(2000));
    }

    #[test]
    fn the_least_laden_processor_is_taken_and_left_again() {
        let mut all = Processors::new(vec![3, 5]);
        assert_eq!(all.settle(10), Some(3));
        assert_eq!(all.settle(4), Some(5));
        assert_eq!(all.settle(4), Some(5));
        assert_eq!(all.settle(4), Some(5), "8 is less than 10");
        assert_eq!(all.settle(4), Some(3), "10 is less than 12");
        all.leave(5, 4);
        assert_eq!(all.weights, [14, 8]);
        all.leave(ANY, 4);
        assert_eq!(all.weights, [14, 8], "it had none");
        assert_eq!(Processors::new(vec![0]).settle(1), None, "no choice");
        assert_eq!(Processors::new(Vec::new()).settle(1), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn threads_follow_their_transcoder() {
        let all = system::processors();
        let mut placement = Placement::new(1);
        let mut affinity = placement.affinity();
        let now = Instant::now();
        // On a thread of its own: where it runs at last does not matter to others.
        let follow = move || {
            let mut seen = Vec::new();
            for (ms, lag) in [(0, 10), (2000, 10), (2010, 500)] {
                placement.observe(now + MS * ms, MS * lag);
                affinity.follow();
                let started = affinity.anywhere(|| std::thread::spawn(system::processors));
                let started = started.join().unwrap();
                seen.push((system::processors().len(), started.len()));
            }
            seen
        };
        let seen = std::thread::spawn(follow).join().unwrap();
        let all = all.len();
        assert_eq!(seen, [(all, all), (1, all), (all, all)]);
    }
}
