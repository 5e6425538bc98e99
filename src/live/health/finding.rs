//! What is not as it should be, for the streamer.
//!
//! In:  a code and words with the remedy, each time it is seen. Out: [`Finding`]s, each with its first and
//! last time, and whether one is new. Pure; bounded by the number of codes.
//! Not here: when something is a finding (`rules`, `session`).

use crate::base::clock::WallTime;

/// Not seen for so long, a measured finding is over.
const LASTING_MS: i64 = 5_000;
/// So long it stays listed after that.
const LISTED_MS: i64 = 600_000;

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $text:literal,)*) => {
        /// What kind of finding; its text is stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$meta])* $name,)*
        }

        impl Code {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// For programs.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// The top quality is encoded anew, because the source cannot be passed on.
    VideoTranscoded = "video_transcoded",
    /// The sound is encoded anew.
    AudioTranscoded = "audio_transcoded",
    /// The sound is passed on although not every player takes it.
    AudioUnusual = "audio_unusual",
    /// The sound cannot be carried.
    AudioUnsupported = "audio_unsupported",
    /// Of several tracks of pictures one is used.
    TracksUnused = "tracks_unused",
    /// No sound comes.
    AudioMissing = "audio_missing",
    /// Sound stopped for a while; viewers heard silence.
    AudioStopped = "audio_stopped",
    /// Sound began long after the picture.
    AudioLate = "audio_late",
    /// Sound and picture move apart.
    AvDrift = "av_drift",
    /// Keyframes are too far apart.
    KeyframeIntervalLong = "keyframe_interval_long",
    /// Keyframes come at varying intervals.
    KeyframeIntervalIrregular = "keyframe_interval_irregular",
    /// Far fewer bits come than declared.
    BitrateLow = "bitrate_low",
    /// More bits come than allowed.
    BitrateHigh = "bitrate_high",
    /// The picture is larger than allowed.
    ResolutionHigh = "resolution_high",
    /// Fewer pictures come than declared.
    FrameRateLow = "frame_rate_low",
    /// Pictures come at varying distances.
    FrameRateUnsteady = "frame_rate_unsteady",
    /// Single pictures are missing.
    PicturesMissing = "pictures_missing",
    /// Media comes slower than it plays.
    MediaSlow = "media_slow",
    /// Media comes faster than it plays.
    MediaFast = "media_fast",
    /// Parts reach viewers later than the playlist promises.
    PartsLate = "parts_late",
    /// Broken units came.
    UnitsDropped = "units_dropped",
    /// The encoder's timestamps jumped.
    TimestampsJumped = "timestamps_jumped",
    /// The encoder connects again and again.
    ReconnectsOften = "reconnects_often",
}

impl Code {
    /// Whether every viewer may know: it says what became of the stream, not how it comes.
    pub fn is_public(self) -> bool {
        matches!(
            self,
            Self::VideoTranscoded
                | Self::AudioTranscoded
                | Self::AudioUnusual
                | Self::AudioUnsupported
        )
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// For the streamer, with the remedy.
    pub words: String,
    /// When it was seen first, in this run of it.
    pub since: WallTime,
    /// When it was seen last.
    pub last_seen: WallTime,
    /// Whether it still holds.
    pub is_active: bool,
}

/// The findings of a channel, the newest last.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// Something was seen; whether it is new: what comes and goes is so once in a while only.
    pub(super) fn see(&mut self, code: Code, words: String, at: WallTime) -> bool {
        let known = self.0.iter().position(|known| known.code == code);
        if let Some(known) = known.and_then(|known| self.0.get_mut(known))
            && known.is_active
        {
            (known.words, known.last_seen) = (words, at);
            return false;
        }
        let listed = self.0.len();
        self.0.retain(|known| known.code != code);
        let is_new = self.0.len() == listed;
        self.0.push(Finding {
            code,
            words,
            since: at,
            last_seen: at,
            is_active: true,
        });
        is_new
    }

    /// Time has passed: what was not seen for long is over, and then forgotten.
    pub(super) fn settle(&mut self, now: WallTime) {
        for finding in &mut self.0 {
            // What became of the stream holds to the publisher's end, and is not seen again.
            if finding.code.is_public() {
                finding.last_seen = now;
            } else {
                let unseen_ms = now.millis_since(finding.last_seen);
                finding.is_active &= unseen_ms <= LASTING_MS;
            }
        }
        self.0
            .retain(|f| f.is_active || now.millis_since(f.last_seen) <= LISTED_MS);
    }

    /// Another publisher: nothing is known of it yet.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// All that hold or held lately, the newest first.
    pub(super) fn list(&self) -> Vec<Finding> {
        self.0.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: i64) -> WallTime {
        WallTime(n * 1000)
    }

    #[test]
    fn a_finding_is_new_once_and_keeps_its_first_and_last_time() {
        let mut findings = Findings::default();
        assert!(findings.see(Code::AvDrift, "120 ms".to_owned(), seconds(1)));
        assert!(!findings.see(Code::AvDrift, "150 ms".to_owned(), seconds(4)));
        findings.settle(seconds(9));
        let expected = Finding {
            code: Code::AvDrift,
            words: "150 ms".to_owned(),
            since: seconds(1),
            last_seen: seconds(4),
            is_active: true,
        };
        assert_eq!(findings.list(), [expected]);
    }

    #[test]
    fn what_is_over_stays_listed_a_while_and_is_new_only_after_that() {
        let mut findings = Findings::default();
        findings.see(Code::AvDrift, String::new(), seconds(0));
        findings.see(Code::AudioMissing, String::new(), seconds(0));
        findings.settle(seconds(6));
        assert!(findings.list().iter().all(|finding| !finding.is_active));
        assert!(!findings.see(Code::AvDrift, String::new(), seconds(7)));
        let listed = findings.list();
        assert_eq!(listed.len(), 2);
        assert_eq!(
            (listed[0].code, listed[0].since),
            (Code::AvDrift, seconds(7))
        );
        findings.settle(seconds(600));
        assert_eq!(findings.list().len(), 2);
        findings.settle(seconds(608));
        assert!(findings.list().is_empty());
        assert!(findings.see(Code::AvDrift, String::new(), seconds(609)));
    }

    #[test]
    fn what_became_of_the_stream_holds_to_the_publishers_end() {
        let mut findings = Findings::default();
        findings.see(Code::AudioUnsupported, String::new(), seconds(0));
        findings.settle(seconds(100_000));
        assert!(findings.list()[0].is_active);
        assert!(!findings.see(Code::AudioUnsupported, String::new(), seconds(100_001)));
        findings.clear();
        assert!(findings.list().is_empty());
    }

    #[test]
    fn every_code_has_a_text_of_its_own() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
        let is_plain = |text: &&str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(texts.iter().all(is_plain));
    }
}
