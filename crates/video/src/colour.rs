//! From YCbCr to RGB (ITU-T H.273, 8.3), in whole numbers: the same bits on every processor.
//!
//! FFmpeg's own way to RGB with colour at full resolution takes a hundred instructions a pixel, more than
//! all scaling before it. This one takes planes, and numbers of sixteen bits, of which a processor multiplies eight
//! at once. It is off by at most one level.

/// Bits behind the point of a coefficient, which is below 4.
const BITS: u32 = 13;

/// Bits by which a value is moved up before it is multiplied: 255 stays within sixteen bits.
const LIFT: u32 = 7;

/// Bits behind the point of a product, of which the upper sixteen bits are kept.
const REST: u32 = BITS + LIFT - 16;

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
    black: i16,
    luma: i16,
    red_by_v: i16,
    green_by_u: i16,
    green_by_v: i16,
    blue_by_u: i16,
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
        let fixed = |value: f64| (value * f64::from(1 << BITS)).round() as i16;
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
        for row in &mut rows.0 {
            row.resize(length, 0);
        }
        let [red, green, blue] = &mut rows.0;
        let (red, green, blue) = (
            &mut red[..length],
            &mut green[..length],
            &mut blue[..length],
        );
        let (y, u, v) = (&y[..length], &u[..length], &v[..length]);
        for index in 0..length {
            let lifted = |value: u8, zero: i16| i16::from(value).wrapping_sub(zero) << LIFT;
            let (light, u, v) = (
                times(lifted(y[index], self.black), self.luma),
                lifted(u[index], 128),
                lifted(v[index], 128),
            );
            red[index] = byte(light.wrapping_add(times(v, self.red_by_v)));
            green[index] = byte(
                light
                    .wrapping_add(times(u, self.green_by_u))
                    .wrapping_add(times(v, self.green_by_v)),
            );
            blue[index] = byte(light.wrapping_add(times(u, self.blue_by_u)));
        }
        let colours = red.iter().zip(green).zip(blue);
        for (pixel, ((red, green), blue)) in rgb.chunks_exact_mut(3).zip(colours) {
            pixel.copy_from_slice(&[*red, *green, *blue]);
        }
    }
}

/// The upper half of a product.
fn times(value: i16, coefficient: i16) -> i16 {
    (i32::from(value).wrapping_mul(i32::from(coefficient)) >> 16) as i16
}

/// Rounds and clips.
fn byte(value: i16) -> u8 {
    (value.wrapping_add(1 << (REST - 1)) >> REST).clamp(0, 255) as u8
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
    fn no_colour_is_off_by_more_than_one_level() {
        for (matrix, full) in [(1, false), (2, false), (2, true), (9, false)] {
            let (red, blue) = weights(matrix);
            for y in (0..=255).step_by(15) {
                for u in (0..=255).step_by(15) {
                    for v in (0..=255).step_by(5) {
                        let (light, scale) = match full {
                            true => (f64::from(y), 1.0),
                            false => (f64::from(y - 16) * 255.0 / 219.0, 255.0 / 224.0),
                        };
                        let (by_u, by_v) = (f64::from(u - 128) * scale, f64::from(v - 128) * scale);
                        let r = light + 2.0 * (1.0 - red) * by_v;
                        let b = light + 2.0 * (1.0 - blue) * by_u;
                        let g = (light - red * r - blue * b) / (1.0 - red - blue);
                        let found = convert(matrix, full, [y as u8, u as u8, v as u8]);
                        for (found, wanted) in found.into_iter().zip([r, g, b]) {
                            let error = (f64::from(found) - wanted.clamp(0.0, 255.0)).abs();
                            assert!(
                                error <= 1.0,
                                "{matrix} {full}: {y} {u} {v} is off by {error}"
                            );
                        }
                    }
                }
            }
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
