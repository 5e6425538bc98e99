//! A sample: one timed encoded unit of a track (one access unit, or one frame of sound).

use bytes::Bytes;

/// Which of a stream's two tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrackKind {
    /// The picture.
    Video,
    /// The sound.
    Audio,
}

/// One encoded unit with its time, in ticks of its track's timescale
/// ([`Timescale::VIDEO`](crate::media::Timescale::VIDEO), or the audio sampling rate).
///
/// Both tracks share one zero. A sample's duration is the distance to the next `dts` of its
/// track; an AAC sample lasts 1024 ticks, another codec says how long its own does.
#[derive(Clone, PartialEq, Eq)]
pub struct Sample {
    /// The track.
    pub track: TrackKind,
    /// Decoding time; strictly increasing within a track.
    pub dts: i64,
    /// Presentation time minus decoding time; may be negative.
    pub composition_offset: i32,
    /// Whether it can be decoded without earlier samples (H.264: an IDR picture).
    pub is_sync: bool,
    /// Pictures: length-prefixed NAL units, OBUs, or a superframe; sound: one raw frame.
    pub data: Bytes,
}

impl Sample {
    /// A frame of sound: shown when it is decoded, and needing no other.
    pub fn audio(dts: i64, data: Bytes) -> Self {
        Self {
            track: TrackKind::Audio,
            dts,
            composition_offset: 0,
            is_sync: true,
            data,
        }
    }

    /// Presentation time.
    pub fn pts(&self) -> i64 {
        self.dts.saturating_add(i64::from(self.composition_offset))
    }
}

impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sample")
            .field("track", &self.track)
            .field("dts", &self.dts)
            .field("composition_offset", &self.composition_offset)
            .field("is_sync", &self.is_sync)
            .field("bytes", &self.data.len())
            .finish()
    }
}
