//! Random views of a clip. All frames of a clip get the same view, since motion is what counts.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::normalise::Normalisation;
use crate::{InputGeometry, OutOfRange};

/// How much views may differ from the stored clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Smallest and largest share of the picture's area that a view shows, scaled to the full size
    /// (random resized crop; Szegedy et al. 2015, arXiv 1409.4842, section 6). `[1, 1]` is none.
    pub scale: [f64; 2],
    /// Largest factor by which a view is stretched in one direction; 1 is none.
    pub aspect: f64,
    /// Share of clips that are mirrored left to right. 0 by default: a mirrored wave of the left hand
    /// is one of the right hand.
    pub flip: f64,
    /// Classes that mirroring turns into each other, as pairs of names; every other class keeps its
    /// label.
    pub flip_pairs: Vec<[String; 2]>,
    /// Brightness is multiplied by a factor between 1 minus and 1 plus this.
    pub brightness: f64,
    /// Contrast likewise, about the clip's mean grey.
    pub contrast: f64,
    /// Frames by which a view may begin earlier or later; the first or last frame stands in for what
    /// was not stored.
    pub shift: u32,
    /// Largest factor by which a view plays faster or slower about its middle, to the nearest stored
    /// frame; 1 is none.
    pub speed: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            scale: [0.6, 1.0],
            aspect: 1.15,
            flip: 0.0,
            flip_pairs: Vec::new(),
            brightness: 0.2,
            contrast: 0.2,
            shift: 1,
            speed: 1.0,
        }
    }
}

impl Augmentation {
    /// Every view is the stored clip.
    pub fn none() -> Self {
        Self {
            scale: [1.0, 1.0],
            aspect: 1.0,
            flip: 0.0,
            flip_pairs: Vec::new(),
            brightness: 0.0,
            contrast: 0.0,
            shift: 0,
            speed: 1.0,
        }
    }

    /// Refuses values out of range.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let [least, most] = self.scale;
        let ordered = 0.01 <= least && least <= most && most <= 1.0;
        let range = "two shares, ascending, between 0.01 and 1";
        OutOfRange::unless(ordered, "scale", format!("[{least}, {most}]"), range)?;
        for (key, factor) in [("aspect", self.aspect), ("speed", self.speed)] {
            OutOfRange::unless(
                (1.0..=4.0).contains(&factor),
                key,
                factor,
                "between 1 and 4",
            )?;
        }
        let shares = [
            ("flip", self.flip),
            ("brightness", self.brightness),
            ("contrast", self.contrast),
        ];
        for (key, share) in shares {
            OutOfRange::unless((0.0..=1.0).contains(&share), key, share, "between 0 and 1")?;
        }
        Ok(())
    }

    /// For each class the class that a mirrored clip belongs to.
    pub(super) fn mirrored_labels(&self, classes: &[String]) -> Result<Vec<usize>, OutOfRange> {
        let mut labels: Vec<usize> = (0..classes.len()).collect();
        for pair in &self.flip_pairs {
            let find = |name: &String| {
                let found = classes.iter().position(|class| class == name);
                found.ok_or_else(|| OutOfRange {
                    key: "flip_pairs".to_owned(),
                    value: name.clone(),
                    expected: format!("one of the classes {}", classes.join(", ")),
                })
            };
            let (left, right) = (find(&pair[0])?, find(&pair[1])?);
            labels[left] = right;
            labels[right] = left;
        }
        Ok(labels)
    }

    /// Draws a view. The draws are the same in number whatever the settings, so that one setting
    /// does not change what the others draw.
    pub fn view(&self, input: InputGeometry, random: &mut impl Rng) -> View {
        let mut between = |least: f64, most: f64| least + (most - least) * random.random::<f64>();
        let area = between(self.scale[0], self.scale[1]);
        let stretch = between(-1.0, 1.0) * self.aspect.ln() / 2.0;
        let width = (area.sqrt() * stretch.exp()).min(1.0);
        let height = (area.sqrt() * (-stretch).exp()).min(1.0);
        let (left, top) = (between(0.0, 1.0 - width), between(0.0, 1.0 - height));
        let mirrored = between(0.0, 1.0) < self.flip;
        let brightness = between(1.0 - self.brightness, 1.0 + self.brightness);
        let contrast = between(1.0 - self.contrast, 1.0 + self.contrast);
        let shift = f64::from(self.shift);
        let shift = between(-shift, shift).round();
        let speed = (between(-1.0, 1.0) * self.speed.ln()).exp();
        let middle = (input.frames as f64 - 1.0) / 2.0;
        let last = input.frames.saturating_sub(1) as f64;
        let source = |frame: usize| (frame as f64 - middle) * speed + middle + shift;
        View {
            left,
            top,
            width,
            height,
            mirrored,
            brightness,
            contrast,
            frames: (0..input.frames)
                .map(|frame| source(frame).round().clamp(0.0, last) as usize)
                .collect(),
        }
    }
}

/// One view of a clip. Lengths are shares of the stored picture's sides.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Left edge of what is shown.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Left and right are exchanged.
    pub mirrored: bool,
    /// Factor on all values.
    pub brightness: f64,
    /// Factor on the distance from the clip's mean grey.
    pub contrast: f64,
    /// The stored frame that each frame shows.
    pub frames: Vec<usize>,
}

impl View {
    /// Writes the view of one clip: bytes \[frames, height, width, 3\] to normalised numbers
    /// \[3, frames, height, width\].
    pub(super) fn write(
        &self,
        pixels: &[u8],
        input: InputGeometry,
        normalisation: &Normalisation,
        planes: &mut [f32],
    ) {
        let colour = Colour::new(self, pixels);
        let columns = taps(self.left, self.width, input.width, self.mirrored);
        let rows = taps(self.top, self.height, input.height, false);
        let row_bytes = input.width * 3;
        let picture = input.height * input.width;
        let plane = input.frames * picture;
        let mut mixed = vec![0.0f32; row_bytes];
        let mut line = vec![0.0f32; input.width];
        for (frame, source) in self.frames.iter().enumerate() {
            let picture_pixels = &pixels[source * picture * 3..][..picture * 3];
            for (y, row) in rows.iter().enumerate() {
                let above = &picture_pixels[row.first * row_bytes..][..row_bytes];
                let below = &picture_pixels[row.second * row_bytes..][..row_bytes];
                for ((out, a), b) in mixed.iter_mut().zip(above).zip(below) {
                    let (a, b) = (f32::from(*a), f32::from(*b));
                    *out = colour.apply(a + (b - a) * row.share);
                }
                let start = frame * picture + y * input.width;
                for channel in 0..3 {
                    let slope = normalisation.slope[channel];
                    let offset = normalisation.offset[channel];
                    for (out, pixel) in line.iter_mut().zip(mixed.chunks_exact(3)) {
                        *out = pixel[channel] * slope + offset;
                    }
                    let out = &mut planes[channel * plane + start..][..input.width];
                    for (out, column) in out.iter_mut().zip(&columns) {
                        let (a, b) = (line[column.first], line[column.second]);
                        *out = a + (b - a) * column.share;
                    }
                }
            }
        }
    }
}

/// Brightness and contrast as one line, cut off at the ends of the range.
struct Colour {
    slope: f32,
    offset: f32,
}

impl Colour {
    fn new(view: &View, pixels: &[u8]) -> Self {
        let sum: u64 = pixels.iter().map(|value| u64::from(*value)).sum();
        let grey = sum as f64 / pixels.len().max(1) as f64;
        Self {
            slope: (view.contrast * view.brightness) as f32,
            offset: (grey * (1.0 - view.contrast) * view.brightness) as f32,
        }
    }

    fn apply(&self, value: f32) -> f32 {
        (value * self.slope + self.offset).clamp(0.0, 255.0)
    }
}

/// Two neighbouring source positions and the share of the second.
struct Tap {
    first: usize,
    second: usize,
    share: f32,
}

/// Bilinear interpolation along one side, pixel centres at halves.
fn taps(start: f64, length: f64, pixels: usize, mirrored: bool) -> Vec<Tap> {
    let last = pixels - 1;
    let mut taps: Vec<Tap> = (0..pixels)
        .map(|index| {
            let position = start * pixels as f64 + (index as f64 + 0.5) * length - 0.5;
            let position = position.clamp(0.0, last as f64);
            let first = position.floor() as usize;
            Tap {
                first,
                second: (first + 1).min(last),
                share: (position - first as f64) as f32,
            }
        })
        .collect();
    if mirrored {
        taps.reverse();
    }
    taps
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const INPUT: InputGeometry = InputGeometry {
        frames: 4,
        height: 3,
        width: 5,
    };

    fn pixels() -> Vec<u8> {
        (0..INPUT.clip_values())
            .map(|i| (i * 7 % 251) as u8)
            .collect()
    }

    /// The view without normalisation: numbers are bytes again.
    fn written(view: &View, pixels: &[u8]) -> Vec<f32> {
        let plain = Normalisation {
            slope: [1.0; 3],
            offset: [0.0; 3],
        };
        let mut planes = vec![f32::NAN; INPUT.clip_values()];
        view.write(pixels, INPUT, &plain, &mut planes);
        planes
    }

    fn at(planes: &[f32], colour: usize, frame: usize, y: usize, x: usize) -> f32 {
        planes[((colour * INPUT.frames + frame) * INPUT.height + y) * INPUT.width + x]
    }

    fn stored(pixels: &[u8], colour: usize, frame: usize, y: usize, x: usize) -> f32 {
        let pixel = (frame * INPUT.height + y) * INPUT.width + x;
        f32::from(pixels[pixel * 3 + colour])
    }

    fn identity() -> View {
        Augmentation::none().view(INPUT, &mut ChaCha8Rng::seed_from_u64(0))
    }

    /// Compares every value of the view with the stored one that `source` names.
    fn compare(view: &View, source: impl Fn(usize, usize, usize) -> (usize, usize, usize)) {
        let pixels = pixels();
        let planes = written(view, &pixels);
        for colour in 0..3 {
            for (frame, y, x) in (0..4).flat_map(|f| (0..15).map(move |i| (f, i / 5, i % 5))) {
                let (from_frame, from_y, from_x) = source(frame, y, x);
                let expected = stored(&pixels, colour, from_frame, from_y, from_x);
                let found = at(&planes, colour, frame, y, x);
                assert!((found - expected).abs() < 1e-3, "{colour} {frame} {y} {x}");
            }
        }
    }

    #[test]
    fn without_augmentation_the_view_is_the_clip() {
        compare(&identity(), |frame, y, x| (frame, y, x));
    }

    #[test]
    fn mirroring_exchanges_left_and_right_only() {
        let view = View {
            mirrored: true,
            ..identity()
        };
        compare(&view, |frame, y, x| (frame, y, INPUT.width - 1 - x));
    }

    #[test]
    fn a_shift_repeats_the_frame_at_the_end() {
        let view = View {
            frames: vec![1, 2, 3, 3],
            ..identity()
        };
        compare(&view, |frame, y, x| ((frame + 1).min(3), y, x));
    }

    #[test]
    fn a_crop_shows_its_part_at_full_size() {
        // The left fifth of the width: one column, stretched over all.
        let view = View {
            width: 0.2,
            ..identity()
        };
        let pixels = pixels();
        let planes = written(&view, &pixels);
        let middle = at(&planes, 1, 2, 1, 2);
        assert!((middle - stored(&pixels, 1, 2, 1, 0)).abs() < 1e-3);
        assert!(
            at(&planes, 1, 2, 1, 4) != middle,
            "no interpolation to the neighbour"
        );
    }

    #[test]
    fn brightness_and_contrast_are_lines_that_stay_in_range() {
        let pixels = pixels();
        let bright = View {
            brightness: 3.0,
            ..identity()
        };
        let planes = written(&bright, &pixels);
        let expected = (stored(&pixels, 0, 0, 0, 1) * 3.0).min(255.0);
        assert!((at(&planes, 0, 0, 0, 1) - expected).abs() < 1e-3);
        assert!(planes.iter().all(|value| (0.0..=255.0).contains(value)));
        let flat = View {
            contrast: 0.0,
            ..identity()
        };
        let planes = written(&flat, &pixels);
        assert!(planes.iter().all(|value| (value - planes[0]).abs() < 1e-3));
    }

    #[test]
    fn views_stay_inside_the_picture_and_the_clip() {
        let wild = Augmentation {
            scale: [0.05, 1.0],
            aspect: 4.0,
            shift: 3,
            speed: 4.0,
            ..Augmentation::default()
        };
        wild.check().unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..500 {
            let view = wild.view(INPUT, &mut random);
            assert!(view.left >= 0.0 && view.left + view.width <= 1.0 + 1e-9);
            assert!(view.top >= 0.0 && view.top + view.height <= 1.0 + 1e-9);
            assert_eq!(view.frames.len(), INPUT.frames);
            assert!(view.frames.iter().all(|frame| *frame < INPUT.frames));
            assert!(view.frames.is_sorted());
        }
    }

    #[test]
    fn mirroring_exchanges_the_named_classes() {
        let classes = ["left".to_owned(), "walk".to_owned(), "right".to_owned()];
        let mut augmentation = Augmentation {
            flip_pairs: vec![["right".to_owned(), "left".to_owned()]],
            ..Augmentation::default()
        };
        assert_eq!(augmentation.mirrored_labels(&classes).unwrap(), [2, 1, 0]);
        augmentation.flip_pairs[0][1] = "lfet".to_owned();
        let error = augmentation
            .mirrored_labels(&classes)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("lfet") && error.contains("left, walk, right"),
            "{error}"
        );
    }
}
