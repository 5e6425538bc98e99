//! A raw frame: one decoded picture, shared between the rungs that are made of it.
//!
//! In:  a picture of libav. Out: a handle that is cheap to clone, how the picture is to be turned.
//! Not here: decoding, scaling.

use std::sync::Arc;

use ffmpeg_next as ffmpeg;

use ffmpeg::frame;
use ffmpeg::frame::side_data::Type;

/// One decoded picture.
#[derive(Clone)]
pub(super) struct RawFrame {
    pub(super) picture: Arc<frame::Video>,
    /// 90 kHz ticks.
    pub(super) pts: i64,
}

impl RawFrame {
    pub(super) fn new(picture: frame::Video, pts: i64) -> Self {
        Self {
            picture: Arc::new(picture),
            pts,
        }
    }

    /// When it is shown, in 90 kHz ticks.
    pub(super) fn pts(&self) -> i64 {
        self.pts
    }

    /// The same picture at another time.
    pub(super) fn at(&self, pts: i64) -> Self {
        Self {
            picture: Arc::clone(&self.picture),
            pts,
        }
    }

    /// How it has to be turned to stand upright.
    pub(super) fn turn(&self) -> Turn {
        let matrix = self.picture.side_data(Type::DisplayMatrix);
        matrix.map_or(Turn::NONE, |matrix| Turn::of(matrix.data()))
    }
}

/// A turn by quarters and mirroring: where the picture's axes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The source's step right, as a step (right, down) of the upright picture.
    right: (i8, i8),
    /// The source's step down.
    down: (i8, i8),
}

impl Turn {
    pub(super) const NONE: Self = Self {
        right: (1, 0),
        down: (0, 1),
    };

    /// Of libav's display matrix: nine 32-bit numbers in the machine's order, of which the first,
    /// second, fourth and fifth are the linear part. Anything but quarters is left as it is.
    fn of(matrix: &[u8]) -> Self {
        let number = |index: usize| {
            let bytes = matrix.get(index * 4..index * 4 + 4)?;
            let value = i32::from_ne_bytes(bytes.try_into().ok()?);
            Some(match value {
                ..-0x8000 => -1,
                0x8001.. => 1,
                _ => 0,
            })
        };
        let linear = || {
            Some(Self {
                right: (number(0)?, number(1)?),
                down: (number(3)?, number(4)?),
            })
        };
        linear()
            .filter(|turn| {
                let determinant = turn.right.0 * turn.down.1 - turn.right.1 * turn.down.0;
                determinant.abs() == 1
            })
            .unwrap_or(Self::NONE)
    }

    /// Whether width and height change places.
    pub(super) fn is_quarter(self) -> bool {
        self.right.0 == 0
    }

    /// Turns one plane: `from` has `width` times `height` pixels in rows of `stride` bytes.
    pub(super) fn plane(
        self,
        (from, stride): (&[u8], usize),
        (width, height): (usize, usize),
        (to, to_stride): (&mut [u8], usize),
    ) {
        let (to_width, to_height) = if self.is_quarter() {
            (height, width)
        } else {
            (width, height)
        };
        // Along an axis of the result: the source's index along `axis`, forwards or backwards.
        let along = |sign: i8, length: usize, at: usize| match sign {
            0.. => at,
            _ => length - 1 - at,
        };
        for y in 0..to_height {
            let Some(row) = to.get_mut(y * to_stride..y * to_stride + to_width) else {
                return;
            };
            for (x, pixel) in row.iter_mut().enumerate() {
                let (from_x, from_y) = if self.is_quarter() {
                    (along(self.right.1, width, y), along(self.down.0, height, x))
                } else {
                    (along(self.right.0, width, x), along(self.down.1, height, y))
                };
                *pixel = from.get(from_y * stride + from_x).copied().unwrap_or(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns "abc/def", rows one after another.
    fn turned(right: (i8, i8), down: (i8, i8)) -> String {
        let turn = Turn { right, down };
        let mut to = [0; 6];
        let to_stride = if turn.is_quarter() { 2 } else { 3 };
        turn.plane((b"abcdef", 3), (3, 2), (&mut to, to_stride));
        String::from_utf8(to.into()).unwrap()
    }

    #[test]
    fn turns_by_quarters_and_mirrors() {
        assert_eq!(turned((1, 0), (0, 1)), "abcdef");
        assert_eq!(turned((-1, 0), (0, -1)), "fedcba", "half a turn");
        assert_eq!(turned((-1, 0), (0, 1)), "cbafed", "mirrored");
        assert_eq!(turned((1, 0), (0, -1)), "defabc", "upside down");
        // Right becomes down, down becomes left: a quarter clockwise.
        assert_eq!(turned((0, 1), (-1, 0)), "daebfc");
        assert_eq!(turned((0, -1), (1, 0)), "cfbead", "a quarter the other way");
        assert_eq!(turned((0, 1), (1, 0)), "adbecf", "transposed");
    }

    #[test]
    fn reads_display_matrices() {
        let bytes = |numbers: [i32; 9]| numbers.map(i32::to_ne_bytes).concat();
        let one = 1 << 16;
        let quarter = Turn::of(&bytes([0, one, 0, -one, 0, 0, 0, 0, 1 << 30]));
        assert_eq!((quarter.right, quarter.down), ((0, 1), (-1, 0)));
        assert!(quarter.is_quarter());
        let skewed = Turn::of(&bytes([one, one, 0, 0, one, 0, 0, 0, 1 << 30]));
        assert_eq!(skewed.right.0, 1);
        assert_eq!(Turn::of(&bytes([0; 9])), Turn::NONE);
        assert_eq!(Turn::of(&[1, 2]), Turn::NONE);
    }
}
