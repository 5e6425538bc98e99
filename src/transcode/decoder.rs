//! Samples of any codec that is taken become raw frames.
//!
//! In:  samples in decoding order. Out: [`RawFrame`]s in presentation order, their `pts` strictly
//! increasing. Broken samples give broken or no frames, never an end.
//! Not here: what a lost frame means (`worker`).

use ffmpeg_next as ffmpeg;

use ffmpeg::{Packet, codec, format, frame};

use super::raw_frame::RawFrame;
use super::{Error, MAX_PIXELS, ffi};
use crate::media::Sample;
use crate::media::codec::{VideoConfig, VideoKind};

/// Pixels a second above which a second thread decodes: more than 1080p60. It costs a frame of delay.
const ONE_THREAD_PIXELS: u64 = 1920 * 1088 * 61;

/// An opened decoder.
pub(super) struct VideoDecoder {
    inner: ffmpeg::decoder::Video,
    last_pts: Option<i64>,
}

impl VideoDecoder {
    /// Opens libav's decoder for a source of `fps_millis` frames in 1000 seconds. The frames will be
    /// scaled to at most `most_pixels` each.
    pub(super) fn open(
        config: &VideoConfig,
        fps_millis: u32,
        most_pixels: u32,
    ) -> Result<Self, Error> {
        ffi::init();
        let (name, what) = match config.kind() {
            VideoKind::Avc => ("h264", "open the H.264 decoder"),
            VideoKind::Hevc => ("hevc", "open the HEVC decoder"),
            // libav's own needs a graphics card.
            VideoKind::Av1 => ("libdav1d", "open the AV1 decoder"),
            VideoKind::Vp9 => ("vp9", "open the VP9 decoder"),
        };
        let at = Error::at(what);
        let codec = ffmpeg::decoder::find_by_name(name).ok_or(ffmpeg::Error::DecoderNotFound);
        let codec = codec.map_err(&at)?;
        let mut context = codec::Context::new_with_codec(codec);
        ffi::set_extradata(&mut context, &config.bytes).map_err(&at)?;
        // The stream may bring another sequence parameter set than the one that was looked at.
        ffi::limit_pixels(&mut context, MAX_PIXELS);
        let pixels = u64::from(config.width) * u64::from(config.height);
        let threads = if pixels * u64::from(fps_millis) / 1000 > ONE_THREAD_PIXELS {
            2
        } else {
            1
        };
        context.set_threading(codec::threading::Config {
            kind: codec::threading::Type::Frame,
            count: threads,
            ..codec::threading::Config::default()
        });
        context.set_time_base(ffmpeg::Rational(1, 90_000));
        let mut decoder = context.decoder();
        if u64::from(most_pixels) * 2 <= pixels {
            // What is scaled down shows nothing of the edges that are left in B pictures.
            decoder.skip_loop_filter(codec::discard::Discard::Bidirectional);
        }
        let opened = decoder.open_as(codec).map_err(&at)?;
        let inner = opened.video().map_err(&at)?;
        Ok(Self {
            inner,
            last_pts: None,
        })
    }

    /// Decodes a sample; the frames that are complete with it.
    pub(super) fn decode(&mut self, sample: &Sample) -> Result<Vec<RawFrame>, Error> {
        let mut packet = Packet::copy(&sample.data);
        packet.set_pts(Some(sample.pts()));
        packet.set_dts(Some(sample.dts));
        if let Err(error) = self.inner.send_packet(&packet) {
            metrics::counter!("weir_transcode_corrupt_total").increment(1);
            tracing::debug!(%error, dts = sample.dts, "a picture could not be decoded");
        }
        self.take()
    }

    /// The frames still inside; nothing can be decoded afterwards.
    pub(super) fn drain(&mut self) -> Result<Vec<RawFrame>, Error> {
        if let Err(error) = self.inner.send_eof() {
            // Of a picture before the end.
            metrics::counter!("weir_transcode_corrupt_total").increment(1);
            tracing::debug!(%error, "the last pictures could not be decoded");
        }
        self.take()
    }

    /// Forgets what it knows of earlier samples: some were lost.
    pub(super) fn flush(&mut self) {
        self.inner.flush();
    }

    fn take(&mut self) -> Result<Vec<RawFrame>, Error> {
        let mut frames = Vec::new();
        loop {
            let mut picture = frame::Video::empty();
            match self.inner.receive_frame(&mut picture) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof) => return Ok(frames),
                Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EAGAIN => {
                    return Ok(frames);
                }
                Err(ffmpeg::Error::InvalidData) => continue,
                // Larger than what is decoded here.
                Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EINVAL => {
                    metrics::counter!("weir_transcode_corrupt_total").increment(1);
                    return Ok(frames);
                }
                Err(error) => return Err(Error::at("decode")(error)),
            }
            let pts = picture.pts().or_else(|| picture.timestamp());
            match pts.filter(|pts| self.last_pts.is_none_or(|last| *pts > last)) {
                Some(pts) => {
                    self.last_pts = Some(pts);
                    mark_full_range(&mut picture);
                    frames.push(RawFrame::new(picture, pts));
                }
                None => metrics::counter!("weir_transcode_misplaced_total").increment(1),
            }
        }
    }
}

/// The scaler knows the full range by the pixel format's name only.
fn mark_full_range(picture: &mut frame::Video) {
    use format::Pixel::{YUV420P, YUV422P, YUV444P, YUVJ420P, YUVJ422P, YUVJ444P};
    if picture.color_range() != ffmpeg::color::Range::JPEG {
        return;
    }
    let marked = match picture.format() {
        YUV420P => YUVJ420P,
        YUV422P => YUVJ422P,
        YUV444P => YUVJ444P,
        _ => return,
    };
    picture.set_format(marked);
}
