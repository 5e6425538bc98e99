//! Raw frames of a rung's size become H.264 samples.
//!
//! In:  frames in presentation order. Out: for each frame its sample, at once: no lookahead, no
//! B-frames, no threads that would hold frames back.
//! Not here: when a keyframe is due (`frame_clock`, `lane`), bit rates (`ladder`).

use std::sync::Arc;

use ffmpeg_next as ffmpeg;

use bytes::Bytes;
use ffmpeg::{Dictionary, Packet, Rational, codec, color, format, picture};

use super::raw_frame::RawFrame;
use super::{Error, ffi, parameter_sets};
use crate::media::codec::{Colour, VideoConfig, avc};
use crate::media::{Sample, TrackKind};

/// Private options of libx264 besides the preset.
const OPTIONS: [(&str, &str); 2] = [
    ("tune", "zerolatency"),
    // A frame that is marked as a keyframe becomes an IDR picture, not just an I picture.
    ("forced-idr", "1"),
];

/// What a rung's encoder is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VideoSettings {
    /// Pixels, even.
    pub(super) width: u16,
    /// Pixels, even.
    pub(super) height: u16,
    /// Frames in 1000 seconds.
    pub(super) fps_millis: u32,
    /// Of the coded picture, on average and at most over a second.
    pub(super) bitrate_bps: u32,
    /// x264's.
    pub(super) preset: String,
    /// x264's: `main`, or `baseline`, which every profile's decoder takes.
    pub(super) profile: &'static str,
    /// Milliseconds between keyframes.
    pub(super) segment_ms: u32,
    /// The source's colours.
    pub(super) colour: Colour,
}

/// A rung's encoder, as its lane sees it.
pub(super) trait EncodeVideo: Send {
    /// Encodes a picture that is shown at `frame.pts()`.
    fn encode(&mut self, frame: &RawFrame, is_keyframe: bool) -> Result<Option<Sample>, Error>;
    /// Decoder configuration of all samples.
    fn config(&self) -> &Arc<VideoConfig>;
}

/// libx264.
pub(super) struct X264Encoder {
    inner: ffmpeg::encoder::video::Encoder,
    config: Arc<VideoConfig>,
}

impl X264Encoder {
    /// Opens an encoder; equal settings give equal configurations.
    pub(super) fn open(settings: &VideoSettings) -> Result<Self, Error> {
        ffi::init();
        let at = Error::at("open libx264");
        let codec = ffmpeg::encoder::find_by_name("libx264");
        let codec = codec.ok_or(ffmpeg::Error::EncoderNotFound).map_err(&at)?;
        let mut context = codec::Context::new_with_codec(codec);
        context.set_flags(codec::Flags::GLOBAL_HEADER | codec::Flags::CLOSED_GOP);
        context.set_threading(codec::threading::Config::count(1));
        let fps = i32::try_from(settings.fps_millis).unwrap_or(30_000);
        context.set_frame_rate(Some(Rational(fps, 1000)));
        let mut encoder = context.encoder().video().map_err(&at)?;
        encoder.set_width(settings.width.into());
        encoder.set_height(settings.height.into());
        encoder.set_format(format::Pixel::YUV420P);
        encoder.set_time_base(Rational(1, 90_000));
        encoder.set_bit_rate(usize::try_from(settings.bitrate_bps).unwrap_or(usize::MAX));
        encoder.set_max_b_frames(0);
        encoder.set_aspect_ratio((1, 1));
        encoder.set_gop(settings.backup_gop());
        encoder.set_color_range(color::Range::MPEG);
        encoder.set_colorspace(space(settings.colour.matrix));
        encoder.set_color_primaries(primaries(settings.colour.primaries));
        encoder.set_color_transfer_characteristic(transfer(settings.colour.transfer));
        let inner = encoder
            .open_as_with(codec, settings.options())
            .map_err(&at)?;
        let record = parameter_sets::record(ffi::extradata(&inner))?;
        let config = Arc::new(avc::parse(&record)?);
        Ok(Self { inner, config })
    }
}

impl VideoSettings {
    /// A keyframe comes by itself only if the one that is asked for does not: after 1.25 segments.
    fn backup_gop(&self) -> u32 {
        let frames = u64::from(self.fps_millis) * u64::from(self.segment_ms) * 5 / 4 / 1_000_000;
        u32::try_from(frames).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn options(&self) -> Dictionary<'static> {
        let mut options = Dictionary::new();
        options.set("preset", &self.preset);
        options.set("profile", self.profile);
        for (name, value) in OPTIONS {
            options.set(name, value);
        }
        let kbps = (self.bitrate_bps / 1000).max(1);
        // Length prefixes instead of start codes; no keyframes of its own; a buffer of one second.
        let own = format!("annexb=0:scenecut=0:vbv-maxrate={kbps}:vbv-bufsize={kbps}");
        options.set("x264-params", &own);
        options
    }
}

impl EncodeVideo for X264Encoder {
    fn encode(&mut self, frame: &RawFrame, is_keyframe: bool) -> Result<Option<Sample>, Error> {
        let at = Error::at("encode");
        let mut picture = ffi::reference(&frame.picture).map_err(&at)?;
        picture.set_pts(Some(frame.pts()));
        picture.set_kind(if is_keyframe {
            picture::Type::I
        } else {
            picture::Type::None
        });
        self.inner.send_frame(&picture).map_err(&at)?;
        let mut packet = Packet::empty();
        match self.inner.receive_packet(&mut packet) {
            Ok(()) => {}
            Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EAGAIN => {
                return Ok(None);
            }
            Err(error) => return Err(at(error)),
        }
        let data = Bytes::copy_from_slice(packet.data().unwrap_or_default());
        Ok(Some(Sample {
            track: TrackKind::Video,
            dts: packet.pts().unwrap_or(frame.pts()),
            composition_offset: 0,
            is_sync: packet.is_key(),
            data,
        }))
    }

    fn config(&self) -> &Arc<VideoConfig> {
        &self.config
    }
}

/// ITU-T H.273 `ColourPrimaries`.
fn primaries(code: u8) -> color::Primaries {
    use color::Primaries as P;
    match code {
        1 => P::BT709,
        5 => P::BT470BG,
        6 => P::SMPTE170M,
        9 => P::BT2020,
        _ => P::Unspecified,
    }
}

/// `TransferCharacteristics`.
fn transfer(code: u8) -> color::TransferCharacteristic {
    use color::TransferCharacteristic as T;
    match code {
        1 => T::BT709,
        4 => T::GAMMA22,
        5 => T::GAMMA28,
        6 => T::SMPTE170M,
        13 => T::IEC61966_2_1,
        14 => T::BT2020_10,
        16 => T::SMPTE2084,
        18 => T::ARIB_STD_B67,
        _ => T::Unspecified,
    }
}

/// `MatrixCoefficients`.
fn space(code: u8) -> color::Space {
    use color::Space as S;
    match code {
        1 => S::BT709,
        5 => S::BT470BG,
        6 => S::SMPTE170M,
        9 => S::BT2020NCL,
        _ => S::Unspecified,
    }
}

#[cfg(test)]
pub(super) mod tests;
