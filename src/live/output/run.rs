//! What runs from one discontinuity to the next.
//!
//! In:  the ladder, the source, what the transcoder makes. Out: who leads, who takes what, the tracks of each
//! rendition.
//! Not here: moving media (`output`).

use std::sync::Arc;

use bytes::Bytes;

use super::brew;
use crate::live::SourceConfig;
use crate::live::silence::Silence;
use crate::media::codec::{VideoConfig, aac};
use crate::media::{AudioTrack, Sample, Tracks, VideoTrack};
use crate::packaging::segmenter::Segmenter;
use crate::transcode::ladder::{Rung, RungAudio, RungVideo};
use crate::transcode::{Products, Transcoder, silent_frame};

/// A timeline under way.
pub(super) struct Run {
    pub(super) cutter: Cutter,
    pub(super) transcoder: Option<Transcoder>,
    pub(super) made_rx: Option<Products>,
    /// Whether it began with one.
    pub(super) needs_transcoder: bool,
    /// Whether what it makes are sounds only, and rungs are made on demand.
    pub(super) is_on_demand: bool,
    /// The rendition of each rung.
    pub(super) rung_slots: Vec<usize>,
    /// The renditions of each audio encode.
    pub(super) encode_slots: Vec<Vec<usize>>,
    /// The renditions with the source's own sound.
    pub(super) source_audio_slots: Vec<usize>,
    /// The renditions without pictures: they follow the video's clock.
    pub(super) sound_only_slots: Vec<usize>,
    /// The renditions that have gaps all the time.
    pub(super) missing_slots: Vec<usize>,
    pub(super) silence: Option<Silence>,
    /// Decoding time of the source's last picture.
    pub(super) seen: i64,
    /// Time of the frame grid's last tick.
    pub(super) ticked: i64,
    /// How far the leader's B-frames put presentation behind decoding. All renditions are packaged on
    /// the leader's decoding times: so they share the boundaries of their sound, too.
    pub(super) shift: i64,
}

/// Who decides where parts and segments end.
pub(super) enum Cutter {
    /// The packager of the rendition that passes the source through.
    Leader(usize),
    /// The transcoder's frame grid.
    Ticks(Segmenter),
}

impl Run {
    /// Nothing runs yet.
    pub(super) fn led_by_ticks(segmenter: Segmenter) -> Self {
        Self {
            cutter: Cutter::Ticks(segmenter),
            transcoder: None,
            made_rx: None,
            needs_transcoder: false,
            is_on_demand: false,
            rung_slots: Vec::new(),
            encode_slots: Vec::new(),
            source_audio_slots: Vec::new(),
            sound_only_slots: Vec::new(),
            missing_slots: Vec::new(),
            silence: None,
            seen: i64::MIN,
            ticked: i64::MIN,
            shift: 0,
        }
    }

    /// Whether its transcoder has ended and all that it made has been taken.
    pub(super) fn is_lost(&self) -> bool {
        self.needs_transcoder && self.transcoder.is_none() && self.made_rx.is_none()
    }

    /// The newest moment, and how far presentation is behind it; none before the first picture.
    pub(super) fn newest(&self) -> Option<(i64, i64)> {
        let newest = self.seen.max(self.ticked);
        (newest >= 0).then_some((newest, self.shift))
    }

    /// What was encoded, on the leader's decoding times.
    pub(super) fn on_the_grid(&self, sample: Sample) -> Sample {
        brew::on_the_grid(sample, self.shift)
    }

    pub(super) fn tracks(
        &self,
        slot: usize,
        rung: &Rung,
        source: &SourceConfig,
        (video, audio): &(Vec<Arc<VideoConfig>>, Vec<Arc<aac::Config>>),
    ) -> Tracks {
        let rung_of = |slot| self.rung_slots.iter().position(|s| *s == slot);
        let encode_of = |slot| self.encode_slots.iter().position(|s| s.contains(&slot));
        let picture = match rung.video {
            RungVideo::Source => Some(Arc::clone(&source.video)),
            RungVideo::Encode { .. } => rung_of(slot).and_then(|n| video.get(n).cloned()),
            RungVideo::Missing | RungVideo::None => None,
        };
        let sound = match rung.audio {
            RungAudio::Source => source
                .audio
                .as_ref()
                .and_then(|audio| audio.as_aac().cloned()),
            RungAudio::Encode { .. } => encode_of(slot).and_then(|n| audio.get(n).cloned()),
            RungAudio::None => None,
        };
        Tracks {
            video: picture.map(|config| VideoTrack { config }),
            audio: sound.map(|config| AudioTrack { config }),
        }
    }
}

/// What fills in for the source's sound. Where no viewer gets that as it is, an empty frame will do if there is no
/// silent one: it counts as lost, and what is lost is silence in all that is encoded.
pub(super) fn silence(source: &SourceConfig, is_encoded: bool) -> Option<Silence> {
    let config = source.audio.as_ref()?;
    let silent = config.as_aac().and_then(|aac| silent_frame(aac).ok());
    match silent {
        Some(frame) => Some(Silence::new(config, frame)),
        None if is_encoded => Some(Silence::new(config, Bytes::new())),
        None => {
            tracing::debug!("no silence for this sound");
            None
        }
    }
}
