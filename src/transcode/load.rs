//! Overload: when a rung has to be left out, and when it may come back.
//!
//! In:  how late the transcoder is, with the time. Out: [`Advice`]. Pure.
//! Not here: which rung that is (`worker`).

use std::time::Duration;

use tokio::time::Instant;

/// A start, or a restart, may be late for so long as it catches up.
const GRACE: Duration = Duration::from_secs(6);
/// Lateness for this long is overload.
const PATIENCE: Duration = Duration::from_secs(1);
/// Lateness that falls by more than this in that time goes away by itself.
const CATCHING_UP: Duration = Duration::from_millis(100);
/// Below this nothing is late.
const CALM: Duration = Duration::from_millis(150);
/// Lateness beyond that ends the calm once it has summed up to this, ...
const UNREST: Duration = Duration::from_millis(500);
/// ... of which calm takes back this share of its own time: a tenth may be late.
const FORGIVEN: u32 = 9;
/// What one observation counts at most.
const LONGEST_STEP: Duration = Duration::from_millis(100);
/// How long it must have been calm before a rung comes back, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_mins(5);
/// A rung that has to be shed again so soon came back too early.
const TRIAL: Duration = Duration::from_secs(30);

/// How long one lane may hold up the others beyond a frame's duration each, all in all, ...
const MOST_CREDIT: Duration = Duration::from_millis(400);
/// ... which comes back as this share of time goes by.
const REFILL: u32 = 10;

/// How long the lanes are waited for that take no frame. A lane that keeps up takes one within a
/// frame's duration, whatever waits for it; stalls beyond that are borne for a while, not for ever.
#[derive(Debug)]
pub(super) struct Patience {
    credit: Duration,
    at: Instant,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            credit: MOST_CREDIT,
            at: now,
        }
    }

    /// How long the lanes may take for the next frame, which lasts for `frame`.
    pub(super) fn of(&mut self, now: Instant, frame: Duration) -> Duration {
        let refill = now.saturating_duration_since(self.at) / REFILL;
        self.credit = (self.credit + refill).min(MOST_CREDIT);
        self.at = now;
        frame + self.credit
    }

    /// They took so long.
    pub(super) fn spend(&mut self, waited: Duration, frame: Duration) {
        self.credit = self.credit.saturating_sub(waited.saturating_sub(frame));
    }
}

/// What to do about the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Go on.
    Keep,
    /// Leave the most expensive rung out.
    Shed,
    /// Take the cheapest rung that is left out back in.
    Restore,
}

/// The history of one transcoder's lateness.
#[derive(Debug)]
pub(super) struct Load {
    max_lag: Duration,
    started: Instant,
    has_caught_up: bool,
    /// Since when it has been too late, and how late it was then.
    late_since: Option<(Instant, Duration)>,
    calm_since: Option<Instant>,
    observed: Option<Instant>,
    /// How long it has been late of late.
    unrest: Duration,
    restored: Option<Instant>,
    rest: Duration,
}

impl Load {
    /// A transcoder that starts at `now`; later than `max_lag` is too late.
    pub(super) fn new(max_lag: Duration, now: Instant) -> Self {
        Self {
            max_lag,
            started: now,
            has_caught_up: false,
            late_since: None,
            calm_since: None,
            observed: None,
            unrest: Duration::ZERO,
            restored: None,
            rest: FIRST_REST,
        }
    }

    /// Whether it still works off what was held before it started.
    pub(super) fn may_be_late(&self, now: Instant) -> bool {
        !self.has_caught_up && now.duration_since(self.started) < GRACE
    }

    /// At `now` a picture was decoded `lag` after it arrived. `is_shed`: whether a rung is left out.
    pub(super) fn observe(&mut self, now: Instant, lag: Duration, is_shed: bool) -> Advice {
        self.has_caught_up |= lag < CALM;
        if lag < self.max_lag {
            self.late_since = None;
        }
        self.note_unrest(now, lag);
        if lag >= self.max_lag {
            if self.may_be_late(now) {
                return Advice::Keep;
            }
            let (since, lag_then) = *self.late_since.get_or_insert((now, lag));
            if now.duration_since(since) < PATIENCE {
                return Advice::Keep;
            }
            self.late_since = None;
            if lag + CATCHING_UP < lag_then {
                return Advice::Keep;
            }
            self.note_shedding(now);
            return Advice::Shed;
        }
        if !is_shed || lag >= CALM {
            return Advice::Keep;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.duration_since(since) < self.rest {
            return Advice::Keep;
        }
        self.calm_since = None;
        self.restored = Some(now);
        Advice::Restore
    }

    /// A hiccup does not end the calm; lateness that lasts, or comes again and again, does.
    fn note_unrest(&mut self, now: Instant, lag: Duration) {
        let step = self.observed.map_or(Duration::ZERO, |at| now - at);
        let step = step.min(LONGEST_STEP);
        self.observed = Some(now);
        if lag < CALM {
            self.unrest = self.unrest.saturating_sub(step / FORGIVEN);
            return;
        }
        self.unrest += step;
        if self.unrest >= UNREST {
            self.calm_since = None;
            self.unrest = Duration::ZERO;
        }
    }

    fn note_shedding(&mut self, now: Instant) {
        let was_on_trial = |at: Instant| now.duration_since(at) < TRIAL;
        self.rest = match self.restored.take() {
            Some(at) if was_on_trial(at) => (self.rest * 2).min(LONGEST_REST),
            Some(_) => FIRST_REST,
            None => self.rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Observes the same lag every 100 ms; when, in ms from `from`, advice came.
    fn observe(load: &mut Load, from: Instant, lag: u32, until: u32) -> Vec<(u32, Advice)> {
        let advised = (0..=until).step_by(100).filter_map(|ms| {
            let advice = load.observe(from + MS * ms, MS * lag, true);
            (advice != Advice::Keep).then_some((ms, advice))
        });
        advised.collect()
    }

    #[test]
    fn a_start_may_catch_up() {
        let now = Instant::now();
        let mut load = Load::new(MS * 700, now);
        assert_eq!(observe(&mut load, now, 2500, 5900), []);
        let later = observe(&mut load, now + MS * 6000, 2500, 2500);
        assert_eq!(later, [(1000, Advice::Shed), (2100, Advice::Shed)]);
    }

    #[test]
    fn lateness_that_lasts_sheds() {
        let now = Instant::now();
        let mut load = Load::new(MS * 700, now);
        assert_eq!(observe(&mut load, now, 10, 1000), []);
        let from = now + MS * 1000;
        assert_eq!(observe(&mut load, from, 800, 900), [], "a hiccup");
        assert_eq!(observe(&mut load, from + MS * 1000, 300, 900), []);
        let shed = observe(&mut load, from + MS * 2000, 800, 1500);
        assert_eq!(shed, [(1000, Advice::Shed)]);
    }

    #[test]
    fn lateness_that_falls_is_left_alone() {
        let now = Instant::now();
        let mut load = Load::new(MS * 700, now);
        observe(&mut load, now, 10, 0);
        for (n, lag) in (0..).zip((800..5000).rev().step_by(30)) {
            let advice = load.observe(now + MS * 100 * n, MS * lag, false);
            assert_eq!(advice, Advice::Keep, "{lag} ms");
        }
    }

    #[test]
    fn what_was_shed_comes_back_ever_more_slowly() {
        let mut now = Instant::now();
        let mut load = Load::new(MS * 700, now);
        observe(&mut load, now, 10, 0);
        for rest in [10_000, 20_000, 40_000] {
            now += MS * 1000;
            assert_eq!(observe(&mut load, now, 800, 1000), [(1000, Advice::Shed)]);
            now += MS * 1100;
            let back = observe(&mut load, now, 20, rest);
            assert_eq!(back, [(rest, Advice::Restore)]);
            now += MS * rest;
        }
        // It stayed for long: the next time is the first again.
        now += MS * 60_000;
        assert_eq!(observe(&mut load, now, 800, 1000), [(1000, Advice::Shed)]);
        let back = observe(&mut load, now + MS * 2000, 20, 10_000);
        assert_eq!(back, [(10_000, Advice::Restore)]);
    }

    /// When a shed rung comes back, in ms, if pictures come every 50 ms and those are late that `is_late`.
    fn back_after(is_late: impl Fn(u32) -> bool) -> Option<u32> {
        let now = Instant::now();
        let mut load = Load::new(MS * 700, now);
        let mut times = (0..60_000).step_by(50);
        times.find(|ms| {
            let lag = if is_late(*ms) { 160 } else { 20 };
            load.observe(now + MS * *ms, MS * lag, true) == Advice::Restore
        })
    }

    #[test]
    fn single_late_pictures_do_not_keep_a_rung_away_but_lateness_that_lasts_does() {
        let first = back_after(|_| false);
        assert_eq!(first, Some(10_000));
        assert_eq!(back_after(|ms| ms % 1000 == 500), first, "one in twenty");
        let burst = |ms: u32| (5000..5400).contains(&ms);
        assert_eq!(back_after(burst), first, "for less than half a second");
        let long = |ms: u32| (5000..5700).contains(&ms);
        assert_eq!(back_after(long), Some(15_700));
        assert_eq!(back_after(|ms| ms % 200 == 0), None, "one in four");
    }

    #[test]
    fn a_stall_is_borne_but_not_one_after_the_other() {
        let now = Instant::now();
        let mut patience = Patience::new(now);
        let frame = MS * 33;
        // As long as a lane keeps up, waiting for it costs nothing.
        for n in 0..100 {
            assert_eq!(patience.of(now + frame * n, frame), MS * 433);
            patience.spend(frame, frame);
        }
        let now = now + frame * 100;
        patience.spend(MS * 333, frame);
        assert_eq!(patience.of(now, frame), MS * 133 + frame / 10);
        patience.spend(MS * 433, frame);
        assert_eq!(patience.of(now, frame), frame);
        assert_eq!(patience.of(now + MS * 1000, frame), MS * 133);
        assert_eq!(patience.of(now + MS * 9000, frame), MS * 433);
    }

    #[test]
    fn nothing_comes_back_that_was_not_shed() {
        let now = Instant::now();
        let mut load = Load::new(MS * 700, now);
        for second in 0..60 {
            let at = now + MS * 1000 * second;
            assert_eq!(load.observe(at, MS * 5, false), Advice::Keep);
        }
    }
}
