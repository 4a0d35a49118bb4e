//! The display matrix: how a picture must be turned and mirrored to be the right way up.

use crate::Size;

/// One of the eight ways to put a picture the right way up: exchange rows and columns first, then mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orientation {
    /// Rows become columns.
    pub transpose: bool,
    /// Left and right change places, after the transposition.
    pub flip_horizontal: bool,
    /// Top and bottom change places, after the transposition.
    pub flip_vertical: bool,
}

impl Orientation {
    /// The nearest of the eight to FFmpeg's display matrix, which maps a source point `(x, y)` to
    /// `(m[0]*x + m[3]*y, m[1]*x + m[4]*y)` (`libavutil/display.h`).
    pub fn from_matrix(matrix: &[i32; 9]) -> Self {
        let [a, b, _, c, d, ..] = *matrix;
        if a.unsigned_abs() >= b.unsigned_abs() {
            Self {
                transpose: false,
                flip_horizontal: a < 0,
                flip_vertical: d < 0,
            }
        } else {
            Self {
                transpose: true,
                flip_horizontal: c < 0,
                flip_vertical: b < 0,
            }
        }
    }

    /// Turns packed RGB the right way up: a picture of `size` is filled from `source`, which is stored, transposed or not,
    /// in as many pixels.
    pub(crate) fn apply(self, source: &[u8], size: Size, target: &mut [u8]) {
        let (width, height) = (size.width as usize, size.height as usize);
        let stored = if self.transpose { height } else { width };
        for (row, line) in target.chunks_exact_mut(width * 3).enumerate() {
            let y = if self.flip_vertical {
                height - 1 - row
            } else {
                row
            };
            for (column, pixel) in line.chunks_exact_mut(3).enumerate() {
                let x = if self.flip_horizontal {
                    width - 1 - column
                } else {
                    column
                };
                let (x, y) = if self.transpose { (y, x) } else { (x, y) };
                pixel.copy_from_slice(&source[(y * stored + x) * 3..][..3]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i32 = 1 << 16;

    /// What becomes of the picture `ab / cd`.
    fn turned(matrix: [i32; 9]) -> String {
        let size = Size {
            width: 2,
            height: 2,
        };
        applied(matrix, "abcd", size)
    }

    /// What becomes of a picture of one letter a pixel that has this size when it is turned.
    fn applied(matrix: [i32; 9], letters: &str, size: Size) -> String {
        let source: Vec<u8> = letters.bytes().flat_map(|letter| [letter; 3]).collect();
        let mut target = vec![0; size.frame_bytes()];
        Orientation::from_matrix(&matrix).apply(&source, size, &mut target);
        target
            .iter()
            .step_by(3)
            .map(|byte| char::from(*byte))
            .collect()
    }

    #[test]
    fn all_eight_orientations_come_out_right() {
        let matrix = |a, b, c, d| [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30];
        for (a, b, c, d, expected) in [
            (1, 0, 0, 1, "abcd"),
            (-1, 0, 0, 1, "badc"),
            (1, 0, 0, -1, "cdab"),
            (-1, 0, 0, -1, "dcba"),
            // x' = -y, y' = x: a quarter turn clockwise, as phones record held upright.
            (0, 1, -1, 0, "cadb"),
            (0, -1, 1, 0, "bdac"),
            (0, 1, 1, 0, "acbd"),
            (0, -1, -1, 0, "dbca"),
        ] {
            assert_eq!(turned(matrix(a, b, c, d)), expected, "{a} {b} {c} {d}");
        }
    }

    #[test]
    fn pictures_that_are_no_squares_are_turned_whole() {
        let matrix = |a, b, c, d| [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30];
        let lying = Size {
            width: 3,
            height: 2,
        };
        for (a, b, c, d, size, expected) in [
            // `abc / def`, as it is, upside down, and a quarter turn clockwise and back.
            (1, 0, 0, 1, lying, "abcdef"),
            (-1, 0, 0, -1, lying, "fedcba"),
            (0, 1, -1, 0, lying.transposed(), "daebfc"),
            (0, -1, 1, 0, lying.transposed(), "cfbead"),
        ] {
            let found = applied(matrix(a, b, c, d), "abcdef", size);
            assert_eq!(found, expected, "{a} {b} {c} {d}");
        }
    }

    #[test]
    fn ffmpegs_own_rotation_is_understood() {
        let mut matrix = [0; 9];
        // SAFETY: the matrix has the nine values that FFmpeg writes.
        unsafe { ffmpeg_next::ffi::av_display_rotation_set(matrix.as_mut_ptr(), 90.0) };
        assert_eq!(turned(matrix), "cadb");
    }
}
