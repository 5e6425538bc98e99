//! Frames of any codec that is taken become PCM.
//!
//! In:  one raw frame. Out: [`Pcm`], or `None` where there was nothing to decode.
//! Not here: what takes the place of a broken frame (`mixer`).

use ffmpeg_next as ffmpeg;

use ffmpeg::format::Sample::{F32, I16, I32};
use ffmpeg::format::sample::Type::{Packed, Planar};
use ffmpeg::{Packet, codec, frame};

use super::Error;
use crate::media::codec::AudioKind;
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
        let mut frame = frame::Audio::new(F32(Planar), samples, super::layout(channels)?);
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
            match decoded.format() {
                F32(Planar) => fill(to, decoded.plane::<f32>(channel).iter().copied()),
                // FLAC's, whole numbers of all channels in turn.
                I16(Packed) => fill(to, interleaved(decoded, channel, i16_value)),
                I32(Packed) => fill(to, interleaved(decoded, channel, i32_value)),
                other => return Err(Error::Unsupported(format!("sound as {other:?}"))),
            }
        }
        Ok(pcm)
    }
}

fn fill(to: &mut [f32], from: impl Iterator<Item = f32>) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = if from.is_finite() {
            from.clamp(-LOUDEST, LOUDEST)
        } else {
            0.0
        };
    }
}

/// One channel's values of `N` bytes each.
fn interleaved<const N: usize>(
    decoded: &frame::Audio,
    channel: usize,
    value: fn([u8; N]) -> f32,
) -> impl Iterator<Item = f32> {
    let channels = usize::from(decoded.channels()).max(1);
    let (values, _) = decoded.data(0).as_chunks::<N>();
    let of_channel = values.iter().skip(channel).step_by(channels);
    of_channel.map(move |bytes| value(*bytes))
}

fn i16_value(bytes: [u8; 2]) -> f32 {
    f32::from(i16::from_ne_bytes(bytes)) / 32_768.0
}

#[expect(clippy::cast_precision_loss, reason = "24 bits of it are sound")]
fn i32_value(bytes: [u8; 4]) -> f32 {
    i32::from_ne_bytes(bytes) as f32 / 2_147_483_648.0
}

/// An opened decoder.
pub(super) struct Decoder {
    inner: ffmpeg::decoder::Audio,
}

impl Decoder {
    /// Opens libav's decoder with the source's configuration; MP3 has none.
    pub(super) fn open(kind: AudioKind, config: &[u8]) -> Result<Self, Error> {
        ffi::init();
        let (name, what) = match kind {
            AudioKind::Aac => ("aac", "open the AAC decoder"),
            AudioKind::Opus => ("opus", "open the Opus decoder"),
            AudioKind::Flac => ("flac", "open the FLAC decoder"),
            AudioKind::Mp3 => ("mp3float", "open the MP3 decoder"),
        };
        let at = Error::at(what);
        let codec = ffmpeg::decoder::find_by_name(name).ok_or(ffmpeg::Error::DecoderNotFound);
        let codec = codec.map_err(&at)?;
        let mut context = codec::Context::new_with_codec(codec);
        ffi::set_extradata(&mut context, config).map_err(&at)?;
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
            && (1..=MAX_RATE).contains(&decoded.rate());
        is_usable.then(|| Pcm::cleaned(&decoded).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_all_channels_in_turn_become_planes() {
        let values = [[16_384_i16, -8_192], [i16::MIN, 0], [i16::MAX, 1]];
        let expected = [[0.5, -1.0, 1.0], [-0.25, 0.0, 0.0]];
        let layout = ffmpeg::ChannelLayout::STEREO;
        let check = |frame: &mut frame::Audio| {
            frame.set_rate(48_000);
            let pcm = Pcm::cleaned(frame).unwrap();
            assert_eq!((pcm.rate, pcm.channels), (48_000, 2));
            for (channel, expected) in expected.iter().enumerate() {
                let found = pcm.frame.plane::<f32>(channel);
                assert_eq!(found.len(), 3);
                let is_near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
                assert!(found.iter().zip(expected).all(is_near), "{found:?}");
            }
        };
        let mut short = frame::Audio::new(I16(Packed), 3, layout);
        let bytes = values.as_flattened().iter().flat_map(|v| v.to_ne_bytes());
        for (to, from) in short.data_mut(0).iter_mut().zip(bytes) {
            *to = from;
        }
        check(&mut short);
        let mut long = frame::Audio::new(I32(Packed), 3, layout);
        let wide = values.as_flattened().iter().map(|v| i32::from(*v) << 16);
        for (to, from) in long
            .data_mut(0)
            .iter_mut()
            .zip(wide.flat_map(i32::to_ne_bytes))
        {
            *to = from;
        }
        check(&mut long);
        let mut odd = frame::Audio::new(I16(Planar), 3, layout);
        odd.set_rate(48_000);
        assert!(Pcm::cleaned(&odd).is_err());
    }
}
