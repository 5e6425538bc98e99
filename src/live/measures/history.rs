//! What was measured lately: samples folded into periods.
//!
//! In:  samples, each with its metric, whose it is and its time. Out: statistics for periods of any length.
//! Pure. Bounded: periods of [`FINE_S`] for 15 minutes, of [`COARSE_S`] for 3 hours, [`MAX_SERIES`] series.

use std::collections::{BTreeMap, VecDeque};

use super::metric::{Metric, Of};

/// Seconds of the shortest period kept.
pub(super) const FINE_S: i64 = 5;
/// Seconds of the periods that are kept for longer.
pub(super) const COARSE_S: i64 = 60;
/// Periods kept of either length.
const PERIODS: i64 = 180;
/// Most series: eight of each channel, and a few of all together.
const MAX_SERIES: usize = 10_000;

/// What samples within a period come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// How many.
    pub count: u32,
    /// All together.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Statistics {
    fn of(value: f64) -> Self {
        Self {
            count: 1,
            sum: value,
            min: value,
            max: value,
        }
    }

    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// Periods by the second they begin at, the oldest first.
type Periods = VecDeque<(i64, Statistics)>;

#[derive(Debug, Default)]
struct Series {
    fine: Periods,
    coarse: Periods,
}

/// All series.
#[derive(Debug, Default)]
pub(super) struct History(BTreeMap<(Metric, Of), Series>);

impl History {
    /// Takes a sample of the second `at`.
    pub(super) fn push(&mut self, metric: Metric, of: &Of, at: i64, value: f64) {
        let key = (metric, of.clone());
        if self.0.len() >= MAX_SERIES && !self.0.contains_key(&key) {
            let newest = |series: &Series| series.coarse.back().map(|(start, _)| *start);
            let silent = self.0.iter().min_by_key(|(_, series)| newest(series));
            if let Some(silent) = silent.map(|(key, _)| key.clone()) {
                self.0.remove(&silent);
            }
        }
        let series = self.0.entry(key).or_default();
        fold(&mut series.fine, FINE_S, at, value);
        fold(&mut series.coarse, COARSE_S, at, value);
    }

    /// Forgets what is too old at the second `now`.
    pub(super) fn forget(&mut self, now: i64) {
        self.0.retain(|_, series| {
            for (periods, length) in [(&mut series.fine, FINE_S), (&mut series.coarse, COARSE_S)] {
                let oldest = now - length * PERIODS;
                while periods.front().is_some_and(|(start, _)| *start < oldest) {
                    periods.pop_front();
                }
            }
            !series.coarse.is_empty()
        });
    }

    /// Whose metrics there are, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &(Metric, Of)> {
        self.0.keys()
    }

    /// Statistics of periods of `length` seconds that begin within `from..to`, the oldest first.
    pub(super) fn statistics(
        &self,
        key: &(Metric, Of),
        (from, to): (i64, i64),
        length: i64,
    ) -> Vec<(i64, Statistics)> {
        let length = length.max(1);
        let Some(series) = self.0.get(key) else {
            return Vec::new();
        };
        let periods = if length < COARSE_S {
            &series.fine
        } else {
            &series.coarse
        };
        let from = floor(from, length);
        let mut found: Vec<(i64, Statistics)> = Vec::new();
        for (start, statistics) in periods {
            if !(from..to).contains(start) {
                continue;
            }
            let start = floor(*start, length);
            match found.last_mut() {
                Some((last, sum)) if *last == start => sum.add(statistics),
                _ => found.push((start, *statistics)),
            }
        }
        found
    }
}

fn floor(at: i64, length: i64) -> i64 {
    at - at.rem_euclid(length)
}

fn fold(periods: &mut Periods, length: i64, at: i64, value: f64) {
    let start = floor(at, length);
    match periods.binary_search_by_key(&start, |(start, _)| *start) {
        Ok(index) => {
            if let Some((_, statistics)) = periods.get_mut(index) {
                statistics.add(&Statistics::of(value));
            }
        }
        Err(index) => {
            periods.insert(index, (start, Statistics::of(value)));
            let newest = periods.back().map_or(start, |(start, _)| *start);
            let oldest = newest - length * PERIODS;
            while periods.front().is_some_and(|(start, _)| *start <= oldest) {
                periods.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: (Metric, Of) = (Metric::IngestFramerate, Of::All);

    fn push(history: &mut History, at: i64, value: f64) {
        history.push(KEY.0, &KEY.1, at, value);
    }

    fn sums(history: &History, range: (i64, i64), length: i64) -> Vec<(i64, u32, f64)> {
        let found = history.statistics(&KEY, range, length);
        found.iter().map(|(at, s)| (*at, s.count, s.sum)).collect()
    }

    #[test]
    fn samples_are_folded_into_periods_in_whatever_order_they_come() {
        let mut history = History::default();
        for (at, value) in [(600, 1.0), (607, 4.0), (604, 3.0), (661, 8.0)] {
            push(&mut history, at, value);
        }
        assert_eq!(
            sums(&history, (600, 700), 5),
            [(600, 2, 4.0), (605, 1, 4.0), (660, 1, 8.0)]
        );
        assert_eq!(
            sums(&history, (600, 700), 60),
            [(600, 3, 8.0), (660, 1, 8.0)]
        );
        // A range begins with the period that its first second is in; its end is not in it.
        assert_eq!(sums(&history, (659, 660), 60), [(600, 3, 8.0)]);
        assert_eq!(sums(&history, (600, 700), 300), [(600, 4, 16.0)]);
        let all = history.statistics(&KEY, (0, 700), 300)[0].1;
        assert_eq!((all.min, all.max), (1.0, 8.0));
    }

    #[test]
    fn old_periods_and_silent_series_are_forgotten() {
        let mut history = History::default();
        for at in 0..20_000 {
            push(&mut history, at, 1.0);
        }
        assert_eq!(sums(&history, (0, 20_000), 5).len(), 180);
        assert_eq!(sums(&history, (0, 20_000), 60).len(), 180);
        history.forget(20_000 + 3 * 3600 - 60);
        assert_eq!(sums(&history, (0, 20_000), 5), []);
        assert_eq!(sums(&history, (0, 20_000), 60).len(), 1);
        history.forget(20_000 + 3 * 3600);
        assert_eq!(history.keys().count(), 0);
    }

    #[test]
    fn there_are_only_so_many_series_and_the_most_silent_leaves() {
        let mut history = History::default();
        for n in 0..=MAX_SERIES {
            let at = if n == 7 { 0 } else { 1_000 };
            history.push(KEY.0, &Of::Channel(n.to_string()), at, 1.0);
        }
        assert_eq!(history.keys().count(), MAX_SERIES);
        let gone = (KEY.0, Of::Channel("7".to_owned()));
        assert!(!history.keys().any(|key| *key == gone));
    }
}
