//! The rules: when a measure is a finding, and what the streamer can do about it.
//!
//! In:  the newest seconds of one publisher, what is known of it, what it may send. Out: findings in words.
//! Pure. B-frames are as good as none: there is no rule about them.
//! Not here: how long a finding lasts (`finding`), what is done about it (`limits`, `session`).

use super::finding::Code;
use super::meter::Facts;
use super::second::{Second, per_second};
use crate::live::limits::Breach;

/// Seconds over which rates are judged.
pub(super) const WINDOW: usize = 10;
/// Seconds over which media's pace is judged: viewers have no more in store.
const PACE_WINDOW: usize = 5;
/// Media that may come ahead of its time: what an encoder or a relay had in store.
const STORE_MS: u64 = 10_000;
/// Seconds over which drift is judged.
const DRIFT_WINDOW: usize = 3;
/// Seconds without sound that make it missing.
const SILENT_SECONDS: usize = 3;
/// Seconds for which a single event (a jump, a broken unit) is shown.
const EVENT_WINDOW: usize = 60;
/// Sound and picture this far apart are seen by viewers.
const MAX_DRIFT_MS: u64 = 100;
/// Sound that begins later than this after the picture is late.
const MAX_AUDIO_DELAY_MS: i64 = 1000;
/// Keyframe intervals that differ by less are regular.
const GOP_SPREAD_MS: u64 = 500;
/// Where a keyframe interval is set.
const OBS_KEYFRAMES: &str = "OBS: Settings, Output, Keyframe Interval";

/// What a publisher's stream is measured against.
#[derive(Clone, Copy, Debug)]
pub(in crate::live) struct Terms {
    /// Longest keyframe interval that can be passed on; none where everything is encoded anew.
    pub(in crate::live) max_gop_ms: Option<u64>,
    /// What the keyframe interval should be.
    pub(in crate::live) good_gop_s: u32,
    /// Most bits per second.
    pub(in crate::live) max_bps: u64,
    /// By what the picture is too large, if it is.
    pub(in crate::live) oversize: Option<Breach>,
}

/// One publisher, as the rules see it.
pub(super) struct View<'a> {
    /// Its seconds, the newest first.
    pub(super) seconds: &'a [Second],
    pub(super) facts: Facts,
    pub(super) terms: Terms,
}

/// Words if something is not as it should be.
type Rule = fn(&View<'_>) -> Option<String>;

/// Everything that is not as it should be.
pub(super) fn judge(view: &View<'_>) -> Vec<(Code, String)> {
    let rules: [(Code, Rule); 16] = [
        (Code::KeyframeIntervalLong, keyframe_interval_long),
        (Code::KeyframeIntervalIrregular, keyframe_interval_irregular),
        (Code::BitrateLow, bitrate_low),
        (Code::BitrateHigh, bitrate_high),
        (Code::ResolutionHigh, resolution_high),
        (Code::FrameRateLow, frame_rate_low),
        (Code::FrameRateUnsteady, frame_rate_unsteady),
        (Code::PicturesMissing, pictures_missing),
        (Code::MediaSlow, media_slow),
        (Code::MediaFast, media_fast),
        (Code::PartsLate, parts_late),
        (Code::AvDrift, av_drift),
        (Code::AudioMissing, audio_missing),
        (Code::AudioLate, audio_late),
        (Code::UnitsDropped, units_dropped),
        (Code::TimestampsJumped, timestamps_jumped),
    ];
    let found = rules
        .into_iter()
        .map(|(code, rule)| Some((code, rule(view)?)));
    found.flatten().collect()
}

/// Bits per second over the window; none before it is full. Measured by the longer of the
/// wall's time and the stream's: who catches up after a stall sends no more than is to be played. Media that
/// is further ahead than that is counted as it comes.
pub(super) fn sustained_bps(seconds: &[Second]) -> Option<u64> {
    let window = seconds.get(..WINDOW)?;
    let bits = sum(window, |s| s.video_bits + s.audio_bits);
    let excess_ms = ahead_ms(seconds).saturating_sub(STORE_MS);
    let media_ms = sum(window, |s| s.media_ms).saturating_sub(excess_ms);
    let elapsed_ms = sum(window, |s| s.elapsed_ms).max(media_ms);
    Some(per_second(bits, elapsed_ms))
}

/// By how much more media came than there was time, in all seconds that are known.
fn ahead_ms(seconds: &[Second]) -> u64 {
    sum(seconds, |s| s.media_ms).saturating_sub(sum(seconds, |s| s.elapsed_ms))
}

/// Bits per second over the window as they came, whatever they play.
fn arriving_bps(seconds: &[Second]) -> Option<u64> {
    let window = seconds.get(..WINDOW)?;
    let bits = sum(window, |s| s.video_bits + s.audio_bits);
    Some(per_second(bits, sum(window, |s| s.elapsed_ms)))
}

/// Whether too little comes: less media than there is time, or far fewer bits than declared. Who is
/// starving already has to do better to be well again.
pub(super) fn is_starving(view: &View<'_>, was_starving: bool) -> bool {
    let (pace_percent, bits_percent) = if was_starving { (95, 60) } else { (80, 50) };
    let is_slow = pace(view.seconds)
        .is_some_and(|(media_ms, elapsed_ms)| media_ms * 100 < elapsed_ms * pace_percent);
    let is_thin = arriving_bps(view.seconds)
        .zip(view.facts.declared_bps)
        .is_some_and(|(bps, declared)| bps * 100 < declared * bits_percent);
    is_slow || is_thin
}

/// Media and wall time of the newest seconds.
fn pace(seconds: &[Second]) -> Option<(u64, u64)> {
    let window = seconds.get(..PACE_WINDOW)?;
    Some((sum(window, |s| s.media_ms), sum(window, |s| s.elapsed_ms)))
}

fn keyframe_interval_long(view: &View<'_>) -> Option<String> {
    let newest = view.seconds.first()?.keyframe_interval_ms?;
    let longest = view.facts.gops_ms.iter().flatten().max();
    let interval = newest.max(longest.copied().unwrap_or(0));
    let max = view.terms.max_gop_ms?;
    (interval > max).then(|| {
        let good = view.terms.good_gop_s;
        format!(
            "the keyframe interval is {} s; set it to {good} s ({OBS_KEYFRAMES})",
            tenths(interval)
        )
    })
}

fn keyframe_interval_irregular(view: &View<'_>) -> Option<String> {
    view.terms.max_gop_ms?;
    if keyframe_interval_long(view).is_some() {
        return None;
    }
    let gops = view.facts.gops_ms;
    if gops.contains(&None) {
        return None;
    }
    let (shortest, longest) = (gops.iter().flatten().min()?, gops.iter().flatten().max()?);
    (longest - shortest > GOP_SPREAD_MS && longest * 2 > shortest * 3).then(|| {
        let good = view.terms.good_gop_s;
        format!(
            "the keyframe interval varies from {} s to {} s; set it to {good} s ({OBS_KEYFRAMES}), \
             and x264's option scenecut to 0",
            tenths(*shortest),
            tenths(*longest)
        )
    })
}

fn bitrate_low(view: &View<'_>) -> Option<String> {
    let (bps, declared) = arriving_bps(view.seconds).zip(view.facts.declared_bps)?;
    (bps * 2 < declared).then(|| {
        format!(
            "{} Mb/s come where the encoder declares {}; if the picture is not a still one, the \
             network may be too slow: set a lower bitrate, and rate control CBR (OBS: Settings, Output)",
            mbps(bps),
            mbps(declared)
        )
    })
}

fn bitrate_high(view: &View<'_>) -> Option<String> {
    let bps = sustained_bps(view.seconds)?;
    let max = view.terms.max_bps;
    (bps > max).then(|| {
        format!(
            "{} Mb/s come where {} are allowed; set a lower bitrate (OBS: Settings, Output)",
            mbps(bps),
            mbps(max)
        )
    })
}

fn resolution_high(view: &View<'_>) -> Option<String> {
    Some(view.terms.oversize?.words())
}

fn frame_rate_low(view: &View<'_>) -> Option<String> {
    let window = view.seconds.get(..WINDOW)?;
    let declared = u64::from(view.facts.declared_fps_millis?);
    let fps_millis = per_second(
        sum(window, |s| s.pictures) * 1000,
        sum(window, |s| s.media_ms),
    );
    (fps_millis * 10 < declared * 9).then(|| {
        format!(
            "{} frames per second come where the encoder declares {}; it may be too slow \
             (OBS: Stats shows lagged and skipped frames): set a faster preset or a lower frame rate",
            tenths(fps_millis),
            tenths(declared)
        )
    })
}

fn frame_rate_unsteady(view: &View<'_>) -> Option<String> {
    let window = view.seconds.get(..WINDOW)?;
    let (uneven, pictures) = (
        sum(window, |s| s.uneven_pictures),
        sum(window, |s| s.pictures),
    );
    (uneven * 10 > pictures).then(|| {
        format!(
            "the frame rate varies ({uneven} of {pictures} pictures came out of step); set a \
             constant one (OBS: Settings, Video)"
        )
    })
}

fn pictures_missing(view: &View<'_>) -> Option<String> {
    let window = view.seconds.get(..WINDOW)?;
    if frame_rate_unsteady(view).is_some() {
        return None;
    }
    let missing = sum(window, |s| s.missing_pictures);
    let all = missing + sum(window, |s| s.pictures);
    (missing >= 3 && missing * 100 >= all).then(|| {
        format!(
            "{missing} of {all} pictures are missing; the encoder or the network is too slow \
             (OBS: Stats shows dropped frames): set a lower bitrate or a faster preset"
        )
    })
}

fn media_slow(view: &View<'_>) -> Option<String> {
    let (media_ms, elapsed_ms) = pace(view.seconds)?;
    (media_ms * 100 < elapsed_ms * 80).then(|| {
        format!(
            "{} s of media came in {} s; the network or the encoder is too slow: set a lower \
             bitrate, or a faster preset",
            tenths(media_ms),
            tenths(elapsed_ms)
        )
    })
}

fn media_fast(view: &View<'_>) -> Option<String> {
    let window = view.seconds.get(..WINDOW)?;
    let (media_ms, elapsed_ms) = (sum(window, |s| s.media_ms), sum(window, |s| s.elapsed_ms));
    let is_fast = media_ms * 100 > elapsed_ms * 105;
    (is_fast && ahead_ms(view.seconds) > STORE_MS).then(|| {
        format!(
            "{} s of media came in {} s; viewers cannot play so fast: send it at the pace at which it \
             plays (ffmpeg: -re before the input)",
            tenths(media_ms),
            tenths(elapsed_ms)
        )
    })
}

fn parts_late(view: &View<'_>) -> Option<String> {
    let window = view.seconds.get(..WINDOW)?;
    if media_slow(view).is_some() {
        return None;
    }
    let (late, parts) = (sum(window, |s| s.late_parts), sum(window, |s| s.parts));
    (late >= 3 && late * 10 > parts).then(|| {
        format!(
            "{late} of {parts} parts reached viewers late; the network brings the stream in bursts, or \
             the server is overloaded: set a lower bitrate, or fewer renditions for the channel"
        )
    })
}

fn av_drift(view: &View<'_>) -> Option<String> {
    let window = view.seconds.get(..DRIFT_WINDOW)?;
    let drifts: Vec<i64> = window.iter().filter_map(|s| s.av_drift_ms).collect();
    let average = drifts.iter().sum::<i64>() / i64::try_from(DRIFT_WINDOW).ok()?;
    (drifts.len() == DRIFT_WINDOW && average.unsigned_abs() > MAX_DRIFT_MS).then(|| {
        let ms = average.unsigned_abs();
        let way = if average > 0 { "ahead of" } else { "behind" };
        format!(
            "sound has moved {ms} ms {way} the picture; restart the stream, and set the same sample \
             rate for all devices (OBS: Settings, Audio)"
        )
    })
}

fn audio_missing(view: &View<'_>) -> Option<String> {
    let window = view.seconds.get(..SILENT_SECONDS)?;
    let is_missing = sum(window, |s| s.sounds) == 0 && window.iter().all(|s| s.pictures > 0);
    is_missing.then(|| {
        "no sound comes; some players wait for it: send at least silence (OBS: Settings, Output, \
         Audio Track)"
            .to_owned()
    })
}

fn audio_late(view: &View<'_>) -> Option<String> {
    let delay_ms = view.facts.audio_delay_ms?;
    let is_recent = view.seconds.len() <= EVENT_WINDOW;
    (is_recent && delay_ms > MAX_AUDIO_DELAY_MS).then(|| {
        format!(
            "sound began {} s after the picture, which interrupts players once; start the audio \
             source before the stream",
            tenths(delay_ms.unsigned_abs())
        )
    })
}

fn units_dropped(view: &View<'_>) -> Option<String> {
    let dropped = sum(newest(view.seconds, EVENT_WINDOW), |s| s.dropped_units);
    (dropped > 0).then(|| {
        format!(
            "frames were broken or out of order and left out ({dropped} in the last minute); restart \
             the encoder"
        )
    })
}

fn timestamps_jumped(view: &View<'_>) -> Option<String> {
    let jumps = sum(newest(view.seconds, EVENT_WINDOW), |s| s.jumps);
    (jumps > 0).then(|| {
        format!(
            "the encoder's timestamps jump ({jumps} in the last minute); a looped or switched source \
             does that: restart the stream when it is set up"
        )
    })
}

fn newest(seconds: &[Second], count: usize) -> &[Second] {
    seconds.get(..count).unwrap_or(seconds)
}

fn sum(seconds: &[Second], count: impl Fn(&Second) -> u64) -> u64 {
    seconds.iter().map(count).fold(0, u64::saturating_add)
}

/// Thousandths with one decimal.
fn tenths(thousandths: u64) -> String {
    let rounded = (thousandths + 50) / 100;
    format!("{}.{}", rounded / 10, rounded % 10)
}

/// Bits per second in megabits with two decimals.
pub(in crate::live) fn mbps(bps: u64) -> String {
    let rounded = (bps + 5_000) / 10_000;
    format!("{}.{:02}", rounded / 100, rounded % 100)
}

#[cfg(test)]
mod tests;
