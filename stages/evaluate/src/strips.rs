//! Strips of frames: one clip of each class as a row of pictures.

use fedact_clips::{ClipSet, Split};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{ImageError, RgbImage};
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::EvaluateError;
use crate::report::Strip;

/// Classes pictured of one set; more would make the page heavy without telling more.
const MOST_CLASSES: usize = 32;
/// Pixels in height that a picture is reduced to if it is taller.
const TALLEST: u32 = 96;
/// JPEG quality, 1 to 100.
const QUALITY: u8 = 82;

/// A strip for every class (up to a limit) that has a clip: of a test clip where there is one.
///
/// # Errors
/// A clip of the set `name` that is damaged; a picture that cannot be encoded.
pub fn strips(
    name: &str,
    set: &ClipSet,
    frames: usize,
    seed: u64,
) -> Result<Vec<Strip>, EvaluateError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut strips = Vec::new();
    for class in 0..set.dataset().classes.len().min(MOST_CLASSES) {
        let of_class = |split: Split| -> Vec<usize> {
            let mut indices = set.indices(split);
            indices.retain(|index| set.label(*index) == class);
            indices
        };
        let mut candidates = of_class(Split::Test);
        if candidates.is_empty() {
            candidates = of_class(Split::Train);
        }
        if let Some(&index) = candidates.choose(&mut random) {
            strips.push(strip(name, set, index, frames)?);
        }
    }
    Ok(strips)
}

fn strip(name: &str, set: &ClipSet, index: usize, frames: usize) -> Result<Strip, EvaluateError> {
    let damaged = |source| EvaluateError::Clips {
        step: name.to_owned(),
        source,
    };
    let clip = set.clip(index).map_err(damaged)?;
    let mut room = Vec::new();
    let pixels = set.pixels(index, &mut room).map_err(damaged)?;
    let [_, height, width, _] = set.dataset().clip_shape();
    let chosen = set.dataset().spread(frames);
    let (jpeg, size) =
        encode(pixels, (height, width), &chosen).map_err(|source| EvaluateError::Picture {
            clip: clip.id.clone(),
            source,
        })?;
    Ok(Strip {
        class: clip.label,
        clip: clip.id,
        frames: chosen.len(),
        size,
        jpeg,
    })
}

/// The chosen frames of a clip side by side, as JPEG, with width and height.
fn encode(
    pixels: &[u8],
    (height, width): (usize, usize),
    frames: &[usize],
) -> Result<(Vec<u8>, (u32, u32)), ImageError> {
    let row = 3 * width;
    let mut strip = Vec::with_capacity(row * height * frames.len());
    for y in 0..height {
        for frame in frames {
            let start = (frame * height + y) * row;
            strip.extend_from_slice(&pixels[start..start + row]);
        }
    }
    let size = ((width * frames.len()) as u32, height as u32);
    let too_small = || {
        let kind = image::error::ParameterErrorKind::DimensionMismatch;
        ImageError::Parameter(image::error::ParameterError::from_kind(kind))
    };
    let mut picture = RgbImage::from_raw(size.0, size.1, strip).ok_or_else(too_small)?;
    if size.1 > TALLEST {
        let width = (f64::from(size.0) * f64::from(TALLEST) / f64::from(size.1))
            .round()
            .max(1.0);
        picture = image::imageops::resize(&picture, width as u32, TALLEST, FilterType::Triangle);
    }
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&picture)?;
    Ok((jpeg, picture.dimensions()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_stand_side_by_side() {
        // Two frames of 16 x 16: black, then white.
        let mut pixels = vec![0u8; 16 * 16 * 3];
        pixels.extend(vec![255u8; 16 * 16 * 3]);
        let (jpeg, size) = encode(&pixels, (16, 16), &[0, 1]).unwrap();
        assert_eq!(size, (32, 16));
        let picture = image::load_from_memory(&jpeg).unwrap().to_rgb8();
        assert!(picture.get_pixel(2, 8).0[0] < 20);
        assert!(picture.get_pixel(29, 8).0[0] > 235);
    }

    #[test]
    fn tall_frames_are_reduced() {
        let pixels = vec![90u8; 2 * 192 * 192 * 3];
        let (_, size) = encode(&pixels, (192, 192), &[0, 1]).unwrap();
        assert_eq!(size, (192, 96));
    }
}
