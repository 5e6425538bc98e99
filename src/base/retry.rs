//! How long to wait before trying again: exponential backoff with jitter.
//!
//! In:  a first and a longest delay. Out: one delay per failure in a row.
//! Not here: sleeping, counting attempts, deciding what is worth a retry: the caller knows.

use std::time::Duration;

use super::ids;

/// The delays of one chain of failures. The ceiling of a delay doubles from `first` to `longest`;
/// each delay is drawn from the upper half below its ceiling, so that many that failed together
/// do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// No failure yet.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            ceiling: first.min(longest),
        }
    }

    /// The delay after one more failure.
    pub fn next_delay(&mut self) -> Duration {
        let half = self.ceiling / 2;
        self.ceiling = self.ceiling.saturating_mul(2).min(self.longest);
        half + half.mul_f64(f64::from(ids::random_bytes::<1>()[0]) / 255.0)
    }

    /// A success: the next failure is a first one again.
    pub fn reset(&mut self) {
        self.ceiling = self.first.min(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_longest_within_the_upper_half_and_starts_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        for ceiling in [100, 200, 350, 350] {
            let delay = backoff.next_delay();
            assert!(
                ms(ceiling) / 2 <= delay && delay <= ms(ceiling),
                "{delay:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= ms(100));
    }
}
