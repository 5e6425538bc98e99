//! Raw frames become pictures of a rung's size: 4:2:0, 8 bit, limited range, upright.
//!
//! In:  any decoded picture. Out: one of the asked size; the very same if it fits already.
//! Not here: which sizes (`ladder`).

use std::collections::VecDeque;
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

/// Most pictures whose memory is kept.
const MAX_MADE: usize = 4;

/// Makes pictures of one size.
pub(super) struct Scaler {
    width: u32,
    height: u32,
    context: Option<Scaling>,
    /// Brings full range to limited range where the source's format does not say so by its name.
    narrower: Option<Scaling>,
    /// The pictures made last, the newest behind: their memory is used again when nobody holds them any more.
    made: VecDeque<Arc<frame::Video>>,
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
            made: VecDeque::new(),
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
        if let (Some(last), Some(of)) = (self.made.back(), &self.last_source)
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
        self.made.push_back(Arc::clone(&scaled));
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
        self.last_source = None;
        // Lanes hold a picture until the slowest one has encoded it, and so do those that are made of it.
        let unheld = self.made.iter_mut().rposition(|made| {
            let picture = Arc::get_mut(made);
            picture.is_some_and(ffi::is_writable)
        });
        let unheld = unheld.and_then(|at| self.made.remove(at));
        let unheld = unheld.and_then(|made| Arc::try_unwrap(made).ok());
        while self.made.len() >= MAX_MADE {
            self.made.pop_front();
        }
        let fits = |p: &frame::Video| (p.width(), p.height()) == (width, height);
        if let Some(picture) = unheld.filter(fits) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcode::encoder::tests::pattern;

    #[test]
    fn memory_is_used_again_and_keeps_nothing_of_the_picture_before() {
        let mut scaler = Scaler::new(320, 180);
        let mut seen = Vec::new();
        let mut held = VecDeque::new();
        for n in 1..=20 {
            let source = pattern(640, 360, n);
            let mut picture = ffi::reference(&source.picture).unwrap();
            let len = usize::try_from(n).unwrap();
            // No captions came with every third one.
            if n % 3 > 0 {
                picture.new_side_data(Type::A53CC, len).unwrap();
            }
            let scaled = scaler.scale(&RawFrame::new(picture, n * 3000)).unwrap();
            let captions = scaled.picture.side_data(Type::A53CC);
            let captions = captions.map(|captions| captions.data().len());
            assert_eq!(captions, (n % 3 > 0).then_some(len));
            seen.push(scaled.picture.data(0).as_ptr());
            held.push_back(scaled);
            if held.len() > 2 {
                held.pop_front();
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() <= MAX_MADE, "{} pictures", seen.len());
    }

    #[test]
    fn what_is_held_is_never_written_to() {
        let mut scaler = Scaler::new(320, 180);
        let scaled = |scaler: &mut Scaler, n| scaler.scale(&pattern(640, 360, n)).unwrap();
        let held: Vec<_> = (0..10).map(|n| scaled(&mut scaler, n)).collect();
        for (n, held) in (0..).zip(held) {
            let anew = scaled(&mut Scaler::new(320, 180), n);
            assert!(held.picture.data(0) == anew.picture.data(0), "picture {n}");
        }
    }
}
