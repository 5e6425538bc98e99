//! AAC frames become PCM.
//!
//! In:  one raw AAC frame. Out: [`Pcm`], or `None` where there was nothing to decode.
//! Not here: what takes the place of a broken frame (`mixer`).

use ffmpeg_next as ffmpeg;

use ffmpeg::format::sample::Type::Planar;
use ffmpeg::{Packet, codec, format, frame};

use super::Error;
use crate::media::codec::aac;
use crate::transcode::ffi;

/// Beyond this a decoded value is nonsense of a broken frame; 1.0 is full scale.
const LOUDEST: f32 = 4.0;
/// Highest sampling rate that is believed.
const MAX_RATE: u32 = 192_000;

/// A decoded frame: planes of `f32`.
pub(super) struct Pcm {
    /// The samples.
    pub(super) frame: frame::Audio,
    /// Samples per second; with SBR twice the rate that the configuration says.
    pub(super) rate: u32,
    /// Number of planes.
    pub(super) channels: usize,
}

impl Pcm {
    /// `samples` of silence.
    pub(super) fn silent(rate: u32, channels: usize, samples: usize) -> Result<Self, Error> {
        let planar = format::Sample::F32(Planar);
        let mut frame = frame::Audio::new(planar, samples, super::layout(channels)?);
        frame.set_rate(rate);
        for channel in 0..channels {
            frame.plane_mut::<f32>(channel).fill(0.0);
        }
        Ok(Self {
            frame,
            rate,
            channels,
        })
    }

    /// A copy whose layout follows from the number of channels alone, without values that an
    /// encoder refuses.
    fn cleaned(decoded: &frame::Audio) -> Result<Self, Error> {
        let channels = usize::from(decoded.channels());
        let mut pcm = Self::silent(decoded.rate(), channels, decoded.samples())?;
        for channel in 0..channels {
            let to = pcm.frame.plane_mut::<f32>(channel);
            for (to, from) in to.iter_mut().zip(decoded.plane::<f32>(channel)) {
                *to = if from.is_finite() {
                    from.clamp(-LOUDEST, LOUDEST)
                } else {
                    0.0
                };
            }
        }
        Ok(pcm)
    }
}

/// An opened decoder.
pub(super) struct Decoder {
    inner: ffmpeg::decoder::Audio,
}

impl Decoder {
    /// Opens libav's decoder with the source's configuration.
    pub(super) fn open(config: &aac::Config) -> Result<Self, Error> {
        ffi::init();
        let at = Error::at("open the AAC decoder");
        let codec = ffmpeg::decoder::find_by_name("aac").ok_or(ffmpeg::Error::DecoderNotFound);
        let codec = codec.map_err(&at)?;
        let mut context = codec::Context::new_with_codec(codec);
        ffi::set_extradata(&mut context, &config.bytes).map_err(&at)?;
        context.set_threading(codec::threading::Config::count(1));
        let opened = context.decoder().open_as(codec).map_err(&at)?;
        let inner = opened.audio().map_err(&at)?;
        Ok(Self { inner })
    }

    /// Decodes one frame; `None` if it is broken, or not of a kind that is mixed here.
    pub(super) fn decode(&mut self, data: &[u8]) -> Option<Pcm> {
        if data.is_empty() {
            return None;
        }
        let is_taken = self.inner.send_packet(&Packet::copy(data)).is_ok();
        let mut decoded = frame::Audio::empty();
        let has_frame = self.inner.receive_frame(&mut decoded).is_ok();
        // Garbage behind a frame may decode to a second one, which has no time of its own.
        let mut surplus = frame::Audio::empty();
        while has_frame && self.inner.receive_frame(&mut surplus).is_ok() {}
        let is_usable = is_taken
            && has_frame
            && decoded.samples() > 0
            && (1..=MAX_RATE).contains(&decoded.rate())
            && decoded.format() == format::Sample::F32(Planar);
        is_usable.then(|| Pcm::cleaned(&decoded).ok()).flatten()
    }
}
