//! Watches that a publisher's media keeps coming, with a timer that is not touched per message.
//!
//! In:  "there was media in what has just been read". Out: when to look again, and whether the
//! first-media or the silence deadline has passed.

use std::time::Duration;

use tokio::time::Instant;

use super::listener::Config;
use super::session::PING_INTERVAL;

/// `ms` after `start`; a year at most, so that it exists.
pub(super) fn after(start: Instant, ms: u64) -> Instant {
    let far = Duration::from_hours(24 * 365);
    start
        .checked_add(Duration::from_millis(ms).min(far))
        .unwrap_or(start)
}

/// Watches that media keeps coming, with a timer that is not touched per message.
pub(super) struct MediaWatch {
    first_media_timeout_ms: u64,
    silence_timeout_ms: u64,
    since: Instant,
    /// Media in what has just been read.
    pub(super) saw_media: bool,
    has_started: bool,
}

impl MediaWatch {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            first_media_timeout_ms: config.first_media_timeout_ms,
            silence_timeout_ms: config.silence_timeout_ms,
            since: Instant::now(),
            saw_media: false,
            has_started: false,
        }
    }

    pub(super) fn note_media(&mut self) {
        if std::mem::take(&mut self.saw_media) {
            self.has_started = true;
            self.since = Instant::now();
        }
    }

    /// What has not come, and the milliseconds it had.
    pub(super) fn check(&self) -> Result<(), (&'static str, u64)> {
        let (what, limit_ms) = self.waits_for();
        if Instant::now() < after(self.since, limit_ms) {
            return Ok(());
        }
        Err((what, limit_ms))
    }

    fn waits_for(&self) -> (&'static str, u64) {
        if self.has_started {
            ("audio or video", self.silence_timeout_ms)
        } else {
            ("first audio or video", self.first_media_timeout_ms)
        }
    }

    /// When to look again: at the deadline, but not later than a whole silence or ping from now.
    pub(super) fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let (_, limit_ms) = self.waits_for();
        let deadline = after(self.since, limit_ms);
        deadline
            .min(after(now, self.silence_timeout_ms))
            .min(now.checked_add(PING_INTERVAL).unwrap_or(now))
    }
}
