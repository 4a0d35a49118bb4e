//! From bytes to the numbers a network sees.

/// Pixels to numbers, colour by colour: `(value / 255 - mean) / std` as `value * slope + offset`.
#[derive(Debug, Clone, Copy)]
pub struct Normalisation {
    /// Per byte value, for red, green and blue.
    pub slope: [f32; 3],
    /// Likewise.
    pub offset: [f32; 3],
}

impl Normalisation {
    /// For a mean and a standard deviation of values in 0..=1.
    pub fn new(mean: [f64; 3], std: [f64; 3]) -> Self {
        Self {
            slope: std.map(|std| (1.0 / (255.0 * std)) as f32),
            offset: std::array::from_fn(|colour| (-mean[colour] / std[colour]) as f32),
        }
    }

    /// Writes one clip: bytes \[frames, height, width, 3\] to numbers \[3, frames, height, width\].
    pub fn write(&self, pixels: &[u8], planes: &mut [f32]) {
        let plane = planes.len() / 3;
        for (colour, plane) in planes.chunks_exact_mut(plane).enumerate() {
            let (slope, offset) = (self.slope[colour], self.offset[colour]);
            for (out, pixel) in plane.iter_mut().zip(pixels.chunks_exact(3)) {
                *out = f32::from(pixel[colour]) * slope + offset;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_apart_and_are_normalised() {
        let normalisation = Normalisation::new([0.0, 0.5, 1.0], [1.0, 0.5, 0.25]);
        let pixels = [0, 255, 255, 255, 0, 0];
        let mut planes = [f32::NAN; 6];
        normalisation.write(&pixels, &mut planes);
        let expected = [0.0, 1.0, 1.0, -1.0, 0.0, -4.0];
        for (found, expected) in planes.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{planes:?}");
        }
    }
}
