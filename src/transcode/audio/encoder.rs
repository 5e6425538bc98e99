//! PCM frames of 1024 become AAC-LC.
//!
//! In:  frames with their `dts`. Out: samples with the same `dts`. The encoder's own delay
//! (priming) is taken out: its first packet holds what was before the first frame.
//! Not here: where frames come from.

use std::collections::VecDeque;

use ffmpeg_next as ffmpeg;

use bytes::Bytes;
use ffmpeg::format::sample::Type::Planar;
use ffmpeg::{Dictionary, Packet, Rational, codec, format, frame};

use super::{Error, FRAME, FRAME_TICKS, Failure, Shape};
use crate::media::codec::aac;
use crate::media::{Sample, TrackKind};
use crate::transcode::ffi;

/// How libav looks for quantizers. Its default, `twoloop`, takes 2.5 times the CPU, and what it makes at 48 to 128 kb/s is
/// further from the source, in speech, music, tones and clicks alike (signal to distortion, and noise above the mask).
const OPTIONS: [(&str, &str); 1] = [("aac_coder", "fast")];

/// An opened encoder.
pub(super) struct Encoder {
    inner: ffmpeg::encoder::audio::Encoder,
    /// Of the frames that are inside, oldest first; before them the priming.
    inside: VecDeque<Option<i64>>,
}

impl Encoder {
    /// Opens libav's encoder; `bitrate_bps` is for all channels together.
    pub(super) fn open(shape: Shape, bitrate_bps: u32) -> Result<Self, Error> {
        ffi::init();
        let at = Error::at("open the AAC encoder");
        let codec = ffmpeg::encoder::find_by_name("aac").ok_or(ffmpeg::Error::EncoderNotFound);
        let codec = codec.map_err(&at)?;
        let rate = i32::try_from(shape.rate).map_err(|_| at(ffmpeg::Error::InvalidData))?;
        let mut context = codec::Context::new_with_codec(codec);
        // Bit-exact: no name of the library inside the first frame.
        context.set_flags(codec::Flags::GLOBAL_HEADER | codec::Flags::BITEXACT);
        context.set_threading(codec::threading::Config::count(1));
        let mut encoder = context.encoder().audio().map_err(&at)?;
        encoder.set_rate(rate);
        encoder.set_channel_layout(shape.layout()?);
        encoder.set_format(format::Sample::F32(Planar));
        encoder.set_bit_rate(usize::try_from(bitrate_bps).unwrap_or(usize::MAX));
        encoder.set_time_base(Rational(1, rate));
        let inner = encoder
            .open_as_with(codec, Dictionary::from_iter(OPTIONS))
            .map_err(&at)?;
        let frame_size = usize::try_from(inner.frame_size()).unwrap_or(0);
        if frame_size != FRAME || ffi::initial_padding(&inner) != FRAME_TICKS {
            let detail = "an AAC encoder whose frame or delay is not 1024".to_owned();
            return Err(Error::Unsupported(detail));
        }
        Ok(Self {
            inner,
            inside: VecDeque::from([None]),
        })
    }

    /// What a decoder needs to know.
    pub(super) fn config(&self) -> Result<aac::Config, Error> {
        let bytes = Bytes::copy_from_slice(ffi::extradata(&self.inner));
        Ok(aac::Config::parse(&bytes)?)
    }

    /// Encodes one frame; what comes out goes to `emit`.
    pub(super) fn encode(
        &mut self,
        frame: &frame::Audio,
        dts: i64,
        emit: &mut dyn FnMut(Sample) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let sent = self.inner.send_frame(frame);
        sent.map_err(Error::at("encode AAC"))?;
        self.inside.push_back(Some(dts));
        self.take(emit)
    }

    /// Gives what is inside.
    pub(super) fn finish(
        &mut self,
        emit: &mut dyn FnMut(Sample) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let ended = self.inner.send_eof();
        ended.map_err(Error::at("finish AAC"))?;
        self.take(emit)
    }

    fn take(&mut self, emit: &mut dyn FnMut(Sample) -> Result<(), Failure>) -> Result<(), Failure> {
        loop {
            let mut packet = Packet::empty();
            match self.inner.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof) => return Ok(()),
                Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EAGAIN => {
                    return Ok(());
                }
                Err(error) => return Err(Error::at("encode AAC")(error).into()),
            }
            let dts = self.inside.pop_front().flatten();
            let (Some(dts), Some(data)) = (dts, packet.data()) else {
                continue;
            };
            emit(Sample {
                track: TrackKind::Audio,
                dts,
                composition_offset: 0,
                is_sync: true,
                data: Bytes::copy_from_slice(data),
            })?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoder_knows_its_options() {
        ffi::init();
        let codec = ffmpeg::encoder::find_by_name("aac").unwrap();
        let context = codec::Context::new_with_codec(codec);
        for (name, _) in OPTIONS {
            assert!(ffi::has_private_option(&context, name), "{name}");
        }
    }
}
