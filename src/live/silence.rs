//! Sound that stays away: silent frames in its place, so that no player waits for it.
//!
//! In:  the source's samples. Out: silent samples before a picture that is far ahead of the sound.
//! Pure. How late sound may be is learnt: an encoder that sends it late all the time is waited for.
//! Not here: sound that never came (`start`), the silent frame itself (`transcode`).

use std::sync::Arc;

use bytes::Bytes;

use crate::media::codec::{AudioConfig, aac};
use crate::media::{Sample, Timescale};

/// How far the picture may be ahead before silence is put in: half a second.
const PATIENCE_TICKS: i64 = 45_000;
/// Most that patience grows to: two seconds.
const MAX_PATIENCE_TICKS: i64 = 180_000;
/// Most silence put in at once: ten seconds of frames at 48 kHz.
const MAX_FRAMES: usize = 470;

/// Watches one source's sound.
#[derive(Debug)]
pub(super) struct Silence {
    frame: Bytes,
    config: Arc<AudioConfig>,
    timescale: Timescale,
    /// Where the next frame of sound belongs, in its ticks; none before the first.
    next: Option<i64>,
    last_picture: i64,
    patience: i64,
    /// The last frames were silence.
    is_filling: bool,
    /// No sound has come since silence took its place.
    is_gone: bool,
    notice: Option<&'static str>,
}

impl Silence {
    /// Silence for sound of `config`, a frame of which is `frame`.
    pub(super) fn new(config: &Arc<AudioConfig>, frame: Bytes) -> Self {
        Self {
            frame,
            config: Arc::clone(config),
            timescale: config.timescale(),
            next: None,
            last_picture: i64::MIN,
            patience: PATIENCE_TICKS,
            is_filling: false,
            is_gone: false,
            notice: None,
        }
    }

    /// Whether a sample of sound is used; one whose place silence has taken is not.
    pub(super) fn admit(&mut self, sample: &Sample) -> bool {
        let begin = self.timescale.convert(sample.dts, Timescale::VIDEO);
        let lasts = self.config.samples_in(&sample.data);
        let lasts = lasts.unwrap_or(aac::SAMPLES_PER_FRAME);
        self.is_gone = false;
        if self.next.is_some_and(|next| sample.dts < next - lasts / 2) {
            let lateness = self.last_picture.saturating_sub(begin);
            let patience = lateness.saturating_add(PATIENCE_TICKS / 2);
            self.patience = self.patience.max(patience.min(MAX_PATIENCE_TICKS));
            return false;
        }
        self.next = Some(sample.dts + lasts);
        self.is_filling = false;
        true
    }

    /// The silent samples that belong before the picture at `dts`.
    pub(super) fn before(&mut self, dts: i64) -> Vec<Sample> {
        self.last_picture = dts;
        let Some(next) = self.next else {
            return Vec::new();
        };
        let behind = |next: i64| dts - self.timescale.convert(next, Timescale::VIDEO);
        // Once it is known to have gone, each picture has its silence at once: parts come as they should.
        let patience = if self.is_gone { 0 } else { self.patience };
        if behind(next) <= patience {
            return Vec::new();
        }
        let frames = std::iter::successors(Some(next), |at| Some(at + aac::SAMPLES_PER_FRAME));
        let starts = frames.take_while(|at| behind(*at) > 0).take(MAX_FRAMES);
        let samples: Vec<_> = starts.map(|dts| self.silent(dts)).collect();
        self.next = samples.last().map(|s| s.dts + aac::SAMPLES_PER_FRAME);
        self.tell(samples.len());
        samples
    }

    fn tell(&mut self, frames: usize) {
        let count = u64::try_from(frames).unwrap_or(u64::MAX);
        metrics::counter!("weir_silent_frames_total").increment(count);
        self.is_gone = true;
        if !std::mem::replace(&mut self.is_filling, true) {
            tracing::warn!("the sound has stopped; viewers hear silence");
            self.notice = Some("the sound stopped for a while; viewers heard silence");
        }
    }

    /// Words for the streamer, once each time that sound has stayed away.
    pub(super) fn take_notice(&mut self) -> Option<&'static str> {
        self.notice.take()
    }

    fn silent(&self, dts: i64) -> Sample {
        Sample::audio(dts, self.frame.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::AudioKind;

    fn silence() -> Silence {
        let config = Arc::new(
            AudioConfig::parse(AudioKind::Aac, &Bytes::from_static(&[0x11, 0x90])).unwrap(),
        );
        Silence::new(&config, Bytes::from_static(b"silent"))
    }

    fn sound(dts: i64) -> Sample {
        Sample {
            data: Bytes::from_static(b"loud"),
            ..silence().silent(dts)
        }
    }

    #[test]
    fn fills_what_is_missing_on_the_grid_and_no_more() {
        let mut silence = silence();
        assert!(silence.before(1_000_000).is_empty(), "before any sound");
        assert!(silence.admit(&sound(0)));
        assert!(silence.before(1920 + 45_000).is_empty(), "not late yet");
        let filled = silence.before(1920 + 45_001);
        let starts: Vec<_> = filled.iter().map(|s| s.dts).collect();
        let expected: Vec<_> = (1..=24).map(|n| n * 1024).collect();
        assert_eq!(starts, expected);
        assert!(filled.iter().all(|s| s.data == "silent"));
        assert!(silence.before(48_000).is_empty(), "it has all it needs");
    }

    #[test]
    fn once_the_sound_has_gone_each_picture_has_its_silence_at_once() {
        let mut silence = silence();
        silence.admit(&sound(0));
        silence.before(60_000);
        for n in 1..100 {
            let picture = 60_000 + n * 3000;
            let filled = silence.before(picture);
            assert!(
                (1..=2).contains(&filled.len()),
                "{} at {picture}",
                filled.len()
            );
            let last = filled.last().unwrap();
            let until = Timescale::new(48_000).unwrap();
            let until = until.convert(last.dts + 1024, Timescale::VIDEO);
            assert!(until >= picture, "{until} before {picture}");
        }
        // It is back, but late: it is waited for.
        assert!(!silence.admit(&sound(180 * 1024)));
        assert!(silence.before(60_000 + 101 * 3000).is_empty());
    }

    #[test]
    fn the_streamer_is_told_once_each_time_that_sound_stays_away() {
        let mut silence = silence();
        silence.admit(&sound(0));
        silence.before(1000);
        assert_eq!(silence.take_notice(), None);
        silence.before(90_000);
        assert!(silence.take_notice().is_some());
        silence.before(180_000);
        assert_eq!(silence.take_notice(), None);
        assert!(silence.admit(&sound(200 * 1024)));
        silence.before(900_000);
        assert!(silence.take_notice().is_some());
    }

    #[test]
    fn sound_that_returns_goes_on_where_silence_ends() {
        let mut silence = silence();
        silence.admit(&sound(0));
        silence.before(90_000);
        assert!(!silence.admit(&sound(30 * 1024)), "its place is taken");
        assert!(silence.admit(&sound(47 * 1024)));
        assert!(silence.admit(&sound(48 * 1024)));
    }

    #[test]
    fn sound_that_is_always_late_is_waited_for() {
        let mut silence = silence();
        silence.admit(&sound(0));
        // 0.7 s behind the picture, all the time.
        let mut dropped = 0;
        for n in 1..200 {
            silence.before(n * 1920 + 63_000);
            dropped += usize::from(!silence.admit(&sound(n * 1024)));
        }
        assert!((1..40).contains(&dropped), "{dropped}");
        assert!(silence.admit(&sound(200 * 1024)));
    }

    #[test]
    fn silence_is_bounded() {
        let mut silence = silence();
        silence.admit(&sound(0));
        assert_eq!(silence.before(i64::MAX / 4).len(), MAX_FRAMES);
    }
}
