//! A slate: what viewers see while nobody sends. One picture, encoded once for each rendition, as a
//! reel that is played over and over.
//!
//! In:  what it shows, the renditions' sizes, the reel's grid. Out: [`Reel`]s.
//! Blocking: it costs the decoding of one GOP and the encoding of some still pictures.
//! Not here: when a slate is shown and its sound (`live`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ffmpeg_next as ffmpeg;

use ffmpeg::format::Pixel;
use ffmpeg::{codec, format, frame, media};

use super::decoder::VideoDecoder;
use super::encoder::{EncodeVideo as _, VideoSettings, X264Encoder};
use super::raw_frame::RawFrame;
use super::scaler::Scaler;
use super::{Error, ffi};
use crate::media::Sample;
use crate::media::codec::{Colour, VideoConfig, avc};

/// Luma and chroma of black, limited range.
const BLACK: [u8; 3] = [16, 128, 128];
/// The profile whose records have more fields: 4:2:0, 8 bits of luma and chroma, no further parameter sets.
const HIGH: u8 = 100;
const HIGH_FIELDS: [u8; 4] = [0xfd, 0xf8, 0xf8, 0];
/// Most packets of a file that are looked at for its picture.
const MAX_PACKETS: usize = 64;
/// Largest edge of a file's picture.
const MAX_EDGE: u32 = 8192;

/// What a slate shows.
#[derive(Clone, Debug)]
pub enum SlatePicture {
    /// The last picture of these samples, which begin with a sync sample.
    Frozen {
        /// Their configuration.
        config: Arc<VideoConfig>,
        /// In decoding order.
        gop: Vec<Sample>,
    },
    /// A picture file.
    File(PathBuf),
    /// Nothing.
    Black,
}

/// One rendition's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlateRung {
    /// Pixels, even.
    pub width: u16,
    /// Pixels, even.
    pub height: u16,
    /// Of the rendition that it stands in for.
    pub bitrate_bps: u32,
    /// What that rendition declares.
    pub form: Form,
}

/// Profile, compatibility flags and level, as `avcC` and CODECS have them. A slate declares those of the
/// rendition that it stands in for: it is Baseline, which conforms to all of them, and slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form(pub u8, pub u8, pub u8);

/// When a reel's frames are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlateGrid {
    /// 90 kHz ticks from one frame to the next.
    pub interval: i64,
    /// Frames of one reel: a segment.
    pub frames: u32,
}

/// A segment's worth of pictures; the first is a sync sample at tick 0.
#[derive(Clone, Debug)]
pub struct Reel {
    /// Decoder configuration.
    pub config: Arc<VideoConfig>,
    /// One for each frame of the grid.
    pub samples: Vec<Sample>,
}

impl SlateGrid {
    /// Two frames a part: parts of equal length if a segment can be cut into such, else parts of
    /// `part_target_ms` and a shorter last one.
    pub fn new(part_target_ms: u32, target_duration_s: u32) -> Self {
        let target = i64::from(part_target_ms.max(1)) * 90;
        let segment = i64::from(target_duration_s.max(1)) * 90_000;
        let parts = (segment + target - 1) / target;
        let equal = segment / parts;
        let part = if equal * 100 >= target * 85 {
            equal
        } else {
            target
        };
        let interval = (part / 2).max(1);
        let frames = u32::try_from(segment / interval).unwrap_or(u32::MAX).max(1);
        Self { interval, frames }
    }
}

/// Encodes a slate for each of `rungs`.
///
/// # Errors
/// If the picture cannot be had, or no encoder can be opened.
pub fn reels(
    picture: &SlatePicture,
    rungs: &[SlateRung],
    grid: SlateGrid,
    preset: &str,
) -> Result<Vec<Reel>, Error> {
    ffi::init();
    let (shown, colour) = match picture {
        SlatePicture::Frozen { config, gop } => (last_picture(config, gop)?, config.picture.colour),
        SlatePicture::File(path) => (picture_of(path)?, Colour::default()),
        SlatePicture::Black => (black(), Colour::default()),
    };
    let reel = |rung: &SlateRung| reel(&shown, *rung, grid, preset, colour);
    rungs.iter().map(reel).collect()
}

fn reel(
    shown: &RawFrame,
    rung: SlateRung,
    grid: SlateGrid,
    preset: &str,
    colour: Colour,
) -> Result<Reel, Error> {
    let fps_millis = 90_000_000 / grid.interval.max(1);
    let segment_ms = grid.interval * i64::from(grid.frames) / 90;
    let mut encoder = X264Encoder::open(&VideoSettings {
        width: rung.width,
        height: rung.height,
        fps_millis: u32::try_from(fps_millis).unwrap_or(1000),
        bitrate_bps: rung.bitrate_bps,
        preset: preset.to_owned(),
        profile: "baseline",
        segment_ms: u32::try_from(segment_ms).unwrap_or(u32::MAX),
        colour,
    })?;
    let scaled = Scaler::new(rung.width, rung.height).scale(shown)?;
    let mut samples = Vec::new();
    for n in 0..grid.frames {
        let frame = scaled.at(grid.interval * i64::from(n));
        samples.extend(encoder.encode(&frame, n == 0)?);
    }
    if samples.len() != usize::try_from(grid.frames).unwrap_or(0) {
        return Err(Error::Unsupported(
            "an encoder that holds pictures of a slate back".to_owned(),
        ));
    }
    Ok(Reel {
        config: Arc::new(declared(encoder.config(), rung.form)?),
        samples,
    })
}

/// The configuration under another form (ISO/IEC 14496-15 §5.3.3.1: one that the whole stream conforms to).
fn declared(config: &VideoConfig, form: Form) -> Result<VideoConfig, Error> {
    let mut record = config.bytes.to_vec();
    if let Some(head) = record.get_mut(1..4) {
        head.copy_from_slice(&[form.0, form.1, form.2]);
    }
    if form.0 == HIGH {
        record.extend(HIGH_FIELDS);
    }
    Ok(avc::parse(&record.into())?)
}

/// The picture that is shown last.
fn last_picture(config: &Arc<VideoConfig>, gop: &[Sample]) -> Result<RawFrame, Error> {
    // Scaled to any size: the loop filter is needed; one thread, so that nothing is held back long.
    let mut decoder = VideoDecoder::open(config, 1000, u32::MAX / 2)?;
    let mut last = None;
    for sample in gop {
        last = decoder.decode(sample)?.pop().or(last);
    }
    last = decoder.drain()?.pop().or(last);
    last.ok_or_else(|| Error::Unsupported("no picture to freeze".to_owned()))
}

fn picture_of(path: &Path) -> Result<RawFrame, Error> {
    let at = Error::at("read the slate's picture");
    let mut input = format::input(path).map_err(&at)?;
    let stream = input.streams().best(media::Type::Video);
    let stream = stream.ok_or(ffmpeg::Error::StreamNotFound).map_err(&at)?;
    let index = stream.index();
    let context = codec::Context::from_parameters(stream.parameters()).map_err(&at)?;
    let mut decoder = context.decoder().video().map_err(&at)?;
    if decoder.width() > MAX_EDGE || decoder.height() > MAX_EDGE {
        let size = format!(
            "a slate of {} x {} pixels",
            decoder.width(),
            decoder.height()
        );
        return Err(Error::Unsupported(size));
    }
    let mut picture = frame::Video::empty();
    for (stream, packet) in input.packets().take(MAX_PACKETS) {
        if stream.index() != index {
            continue;
        }
        decoder.send_packet(&packet).map_err(&at)?;
        if decoder.receive_frame(&mut picture).is_ok() {
            return Ok(RawFrame::new(picture, 0));
        }
    }
    decoder.send_eof().map_err(&at)?;
    decoder.receive_frame(&mut picture).map_err(&at)?;
    Ok(RawFrame::new(picture, 0))
}

fn black() -> RawFrame {
    let mut picture = frame::Video::new(Pixel::YUV420P, 64, 64);
    for (plane, value) in BLACK.into_iter().enumerate() {
        picture.data_mut(plane).fill(value);
    }
    RawFrame::new(picture, 0)
}

#[cfg(test)]
pub(crate) mod tests;
