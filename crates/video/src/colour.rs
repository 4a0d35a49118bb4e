//! From YCbCr to RGB (ITU-T H.273, 8.3), in whole numbers: the same bits on every processor.
//!
//! FFmpeg's own way to RGB with colour at full resolution takes a hundred instructions a pixel, more than
//! all scaling before it. This one takes planes, and a compiler can do many pixels at once.

/// Bits behind the point.
const BITS: u32 = 16;

/// Weights of red and blue in luma, by the number of the matrix in ITU-T H.273; BT.601 where the file says
/// nothing, as FFmpeg has it.
fn weights(matrix: u32) -> (f64, f64) {
    match matrix {
        // 0 says RGB, which a picture in YCbCr cannot be; FFmpeg takes BT.709 for it.
        0 | 1 => (0.2126, 0.0722),
        4 => (0.30, 0.11),
        7 => (0.212, 0.087),
        9 | 10 => (0.2627, 0.0593),
        _ => (0.299, 0.114),
    }
}

/// One matrix and range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Colours {
    black: i32,
    luma: i32,
    red_by_v: i32,
    green_by_u: i32,
    green_by_v: i32,
    blue_by_u: i32,
}

/// Rows of the three colours, until they are woven together.
#[derive(Debug, Default)]
pub(crate) struct Rows([Vec<u8>; 3]);

impl Colours {
    /// `full` says whether luma goes from 0 to 255 and not from 16 to 235.
    pub(crate) fn new(matrix: u32, full: bool) -> Self {
        let (red, blue) = weights(matrix);
        let green = 1.0 - red - blue;
        let (luma, colour) = match full {
            true => (1.0, 1.0),
            false => (255.0 / 219.0, 255.0 / 224.0),
        };
        let fixed = |value: f64| (value * f64::from(1 << BITS)).round() as i32;
        Self {
            black: if full { 0 } else { 16 },
            luma: fixed(luma),
            red_by_v: fixed(2.0 * (1.0 - red) * colour),
            green_by_u: fixed(-2.0 * (1.0 - blue) * blue / green * colour),
            green_by_v: fixed(-2.0 * (1.0 - red) * red / green * colour),
            blue_by_u: fixed(2.0 * (1.0 - blue) * colour),
        }
    }

    /// Converts rows of luma, blue and red difference, of equal length, into packed RGB.
    pub(crate) fn convert(&self, y: &[u8], u: &[u8], v: &[u8], rows: &mut Rows, rgb: &mut [u8]) {
        let length = rgb.len() / 3;
        let (y, u, v) = (&y[..length], &u[..length], &v[..length]);
        let [red, green, blue] = &mut rows.0;
        for row in [&mut *red, &mut *green, &mut *blue] {
            row.resize(length, 0);
        }
        let byte = |value: i32| (value >> BITS).clamp(0, 255) as u8;
        for index in 0..length {
            let light = (i32::from(y[index]) - self.black) * self.luma + (1 << (BITS - 1));
            let (u, v) = (i32::from(u[index]) - 128, i32::from(v[index]) - 128);
            red[index] = byte(light + v * self.red_by_v);
            green[index] = byte(light + u * self.green_by_u + v * self.green_by_v);
            blue[index] = byte(light + u * self.blue_by_u);
        }
        let colours = red.iter().zip(&*green).zip(&*blue);
        for (pixel, ((red, green), blue)) in rgb.chunks_exact_mut(3).zip(colours) {
            pixel.copy_from_slice(&[*red, *green, *blue]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(matrix: u32, full: bool, yuv: [u8; 3]) -> [u8; 3] {
        let [y, u, v] = yuv.map(|value| [value; 5]);
        let mut rgb = [0; 15];
        Colours::new(matrix, full).convert(&y, &u, &v, &mut Rows::default(), &mut rgb);
        assert!(rgb.chunks(3).all(|pixel| *pixel == rgb[..3]));
        [rgb[0], rgb[1], rgb[2]]
    }

    #[test]
    fn grey_stays_grey_from_black_to_white() {
        for matrix in [0, 1, 2, 4, 5, 6, 7, 9] {
            assert_eq!(convert(matrix, false, [16, 128, 128]), [0; 3]);
            assert_eq!(convert(matrix, false, [235, 128, 128]), [255; 3]);
            assert_eq!(convert(matrix, false, [0, 128, 128]), [0; 3]);
            assert_eq!(convert(matrix, false, [255, 128, 128]), [255; 3]);
            assert_eq!(convert(matrix, true, [77, 128, 128]), [77; 3]);
        }
    }

    #[test]
    fn the_colour_bars_of_bt601_and_bt709_come_out_as_they_went_in() {
        // 8-bit codes of 100% red, green and blue.
        for (matrix, bars) in [
            (6, [[81, 90, 240], [145, 54, 34], [41, 240, 110]]),
            (1, [[63, 102, 240], [173, 42, 26], [32, 240, 118]]),
        ] {
            for (channel, yuv) in bars.into_iter().enumerate() {
                let rgb = convert(matrix, false, yuv);
                for (index, value) in rgb.into_iter().enumerate() {
                    let wanted = if index == channel { 255 } else { 0u8 };
                    assert!(
                        value.abs_diff(wanted) <= 2,
                        "{matrix}: {yuv:?} became {rgb:?}"
                    );
                }
            }
        }
    }
}
