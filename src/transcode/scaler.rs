//! Raw frames become pictures of a rung's size: 4:2:0, 8 bit, limited range, upright.
//!
//! In:  any decoded picture. Out: one of the asked size; the very same if it fits already.
//! Not here: which sizes (`ladder`).

use std::sync::Arc;

use ffmpeg_next as ffmpeg;

use ffmpeg::color::Range;
use ffmpeg::format::Pixel;
use ffmpeg::frame::side_data::Type;
use ffmpeg::software::scaling::{Context, Flags};
use ffmpeg::{frame, picture};

use super::ffi::Scaling;
use super::raw_frame::{RawFrame, Turn};
use super::{Error, ffi};

/// Makes pictures of one size.
pub(super) struct Scaler {
    width: u32,
    height: u32,
    context: Option<Scaling>,
    /// Brings full range to limited range where the source's format does not say so by its name.
    narrower: Option<Scaling>,
    /// The picture made last; its memory is used again when nobody holds it any more.
    last: Option<Arc<frame::Video>>,
    /// What it was made of: a picture that is shown again is not scaled again.
    last_source: Option<Arc<frame::Video>>,
}

impl Scaler {
    /// For pictures of `width` times `height` pixels, both even.
    pub(super) fn new(width: u16, height: u16) -> Self {
        ffi::init();
        Self {
            width: width.into(),
            height: height.into(),
            context: None,
            narrower: None,
            last: None,
            last_source: None,
        }
    }

    /// Scales one picture.
    pub(super) fn scale(&mut self, frame: &RawFrame) -> Result<RawFrame, Error> {
        let source = &frame.picture;
        let turn = frame.turn();
        let fits = source.format() == Pixel::YUV420P
            && source.color_range() != Range::JPEG
            && (source.width(), source.height()) == (self.width, self.height);
        if fits && turn == Turn::NONE {
            return Ok(frame.clone());
        }
        if let (Some(last), Some(of)) = (&self.last, &self.last_source)
            && Arc::ptr_eq(of, source)
        {
            return Ok(RawFrame {
                picture: Arc::clone(last),
                ..frame.clone()
            });
        }
        let (width, height) = if turn.is_quarter() {
            (self.height, self.width)
        } else {
            (self.width, self.height)
        };
        let mut scaled = self.picture(width, height);
        self.context(source, width, height)?
            .run(source, &mut scaled)
            .map_err(Error::at("scale"))?;
        if is_full_unnamed(source) {
            scaled = self.narrowed(scaled)?;
        }
        if turn != Turn::NONE {
            scaled = turned(&scaled, turn, (self.width, self.height));
        }
        ffi::copy_properties(source, &mut scaled).map_err(Error::at("scale"))?;
        scaled.remove_side_data(Type::DisplayMatrix); // It is upright now.
        scaled.set_color_range(Range::MPEG);
        scaled.set_kind(picture::Type::None);
        let scaled = Arc::new(scaled);
        self.last = Some(Arc::clone(&scaled));
        self.last_source = Some(Arc::clone(source));
        Ok(RawFrame {
            picture: scaled,
            ..frame.clone()
        })
    }

    /// The picture, of full range, in limited range.
    fn narrowed(&mut self, mut full: frame::Video) -> Result<frame::Video, Error> {
        let (width, height) = (full.width(), full.height());
        let (named, plain) = (Pixel::YUVJ420P, Pixel::YUV420P);
        full.set_format(named);
        let fits =
            |Scaling(made): &Scaling| (made.input().width, made.input().height) == (width, height);
        let context = match self.narrower.take().filter(fits) {
            Some(context) => context,
            None => Context::get(named, width, height, plain, width, height, Flags::AREA)
                .map(Scaling)
                .map_err(Error::at("make a scaler"))?,
        };
        let mut narrow = frame::Video::new(plain, width, height);
        let Scaling(context) = self.narrower.insert(context);
        context
            .run(&full, &mut narrow)
            .map_err(Error::at("scale"))?;
        Ok(narrow)
    }

    /// A picture to write to.
    fn picture(&mut self, width: u32, height: u32) -> frame::Video {
        let unheld = self.last.take().and_then(|last| Arc::try_unwrap(last).ok());
        let fitting = unheld.filter(|p| (p.width(), p.height()) == (width, height));
        if let Some(mut picture) = fitting
            && ffi::is_writable(&mut picture)
        {
            return picture;
        }
        frame::Video::new(Pixel::YUV420P, width, height)
    }

    fn context(
        &mut self,
        source: &frame::Video,
        width: u32,
        height: u32,
    ) -> Result<&mut Context, Error> {
        let (format, from_width, from_height) = (source.format(), source.width(), source.height());
        let fits = |Scaling(context): &Scaling| {
            let (input, output) = (context.input(), context.output());
            (input.format, input.width, input.height) == (format, from_width, from_height)
                && (output.width, output.height) == (width, height)
        };
        let context = if let Some(context) = self.context.take().filter(fits) {
            context
        } else {
            let from = (format, from_width, from_height);
            let to = (Pixel::YUV420P, width, height);
            Context::get(from.0, from.1, from.2, to.0, to.1, to.2, Flags::AREA)
                .map(Scaling)
                .map_err(Error::at("make a scaler"))?
        };
        Ok(&mut self.context.insert(context).0)
    }
}

/// Whether a picture is of full range and its format has no name for that: the scaler goes by names.
fn is_full_unnamed(picture: &frame::Video) -> bool {
    use Pixel::{YUVJ420P, YUVJ422P, YUVJ444P};
    let is_named = matches!(picture.format(), YUVJ420P | YUVJ422P | YUVJ444P);
    picture.color_range() == Range::JPEG && !is_named
}

/// An upright copy.
fn turned(from: &frame::Video, turn: Turn, (width, height): (u32, u32)) -> frame::Video {
    let mut to = frame::Video::new(Pixel::YUV420P, width, height);
    for plane in 0..3 {
        let size = |pixels: u32| {
            let pixels = usize::try_from(pixels).unwrap_or(0);
            if plane == 0 {
                pixels
            } else {
                pixels.div_ceil(2)
            }
        };
        let (stride, to_stride) = (from.stride(plane), to.stride(plane));
        turn.plane(
            (from.data(plane), stride),
            (size(from.width()), size(from.height())),
            (to.data_mut(plane), to_stride),
        );
    }
    to
}
