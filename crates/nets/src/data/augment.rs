//! Random views of a clip. All frames of a clip get the same view, since motion is what counts.

use fedact_recipe::{Augmentation, Normalisation, OutOfRange};
use rand::Rng;

use crate::InputGeometry;

/// For each class the class that a mirrored clip belongs to.
///
/// # Errors
/// A name in `flip_pairs` that no class has.
pub fn mirrored_labels(
    augmentation: &Augmentation,
    classes: &[String],
) -> Result<Vec<usize>, OutOfRange> {
    let mut labels: Vec<usize> = (0..classes.len()).collect();
    for pair in &augmentation.flip_pairs {
        let find = |name: &String| find(name, classes, "flip_pairs");
        let (left, right) = (find(&pair[0])?, find(&pair[1])?);
        labels[left] = right;
        labels[right] = left;
    }
    Ok(labels)
}

/// For each class the share of its clips that is mirrored.
pub(super) fn mirrored_shares(
    augmentation: &Augmentation,
    classes: &[String],
) -> Result<Vec<f64>, OutOfRange> {
    let mut shares = vec![augmentation.flip; classes.len()];
    for name in &augmentation.flip_never {
        shares[find(name, classes, "flip_never")?] = 0.0;
    }
    Ok(shares)
}

fn find(name: &String, classes: &[String], key: &str) -> Result<usize, OutOfRange> {
    let found = classes.iter().position(|class| class == name);
    found.ok_or_else(|| OutOfRange {
        key: key.to_owned(),
        value: name.clone(),
        expected: format!("one of the classes {}", classes.join(", ")),
    })
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
    /// Factor on the distance of each colour from the pixel's grey.
    pub saturation: f64,
    /// The stored frame that each frame shows.
    pub frames: Vec<usize>,
}

impl View {
    /// Draws a view of so many frames of a clip with `stored` ones, mirrored with the share `flip`. The draws are
    /// the same in number whatever the settings, so that one setting does not change what the others draw.
    pub fn draw(
        augmentation: &Augmentation,
        flip: f64,
        frames: usize,
        stored: usize,
        random: &mut impl Rng,
    ) -> Self {
        let mut between = |least: f64, most: f64| least + (most - least) * random.random::<f64>();
        let area = between(augmentation.scale[0], augmentation.scale[1]);
        let stretch = between(-1.0, 1.0) * augmentation.aspect.ln() / 2.0;
        let width = (area.sqrt() * stretch.exp()).min(1.0);
        let height = (area.sqrt() * (-stretch).exp()).min(1.0);
        let (left, top) = (between(0.0, 1.0 - width), between(0.0, 1.0 - height));
        let mirrored = between(0.0, 1.0) < flip;
        let brightness = between(1.0 - augmentation.brightness, 1.0 + augmentation.brightness);
        let contrast = between(1.0 - augmentation.contrast, 1.0 + augmentation.contrast);
        let shift = f64::from(augmentation.shift);
        let shift = between(-shift, shift).round();
        let speed = (between(-1.0, 1.0) * augmentation.speed.ln()).exp();
        let saturation = between(1.0 - augmentation.saturation, 1.0 + augmentation.saturation);
        let (early, late) = slack(frames, stored, speed);
        let start = augmentation.window * between(-early, late);
        Self {
            left,
            top,
            width,
            height,
            mirrored,
            brightness,
            contrast,
            saturation,
            frames: window(frames, stored, speed, shift + start),
        }
    }

    /// A part of the picture at full size, of the frames in the middle of a clip with `stored` ones: nothing else
    /// is changed.
    pub(crate) fn still(
        [left, top, width, height]: [f64; 4],
        mirrored: bool,
        frames: usize,
        stored: usize,
    ) -> Self {
        Self {
            left,
            top,
            width,
            height,
            mirrored,
            brightness: 1.0,
            contrast: 1.0,
            saturation: 1.0,
            frames: window(frames, stored, 1.0, 0.0),
        }
    }

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
                if self.saturation != 1.0 {
                    saturate(&mut mixed, self.saturation as f32);
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

/// Where a window of `frames` in the middle of `stored` ones has its own middle; where half a frame is left
/// over, it is the earlier one.
fn centre(frames: usize, stored: usize) -> f64 {
    ((stored as f64 - frames as f64) / 2.0).floor() + (frames as f64 - 1.0) / 2.0
}

/// How far a window may move towards the first and towards the last stored frame: nowhere if it has all frames.
fn slack(frames: usize, stored: usize, speed: f64) -> (f64, f64) {
    if stored <= frames {
        return (0.0, 0.0);
    }
    let half = (frames as f64 - 1.0) / 2.0 * speed;
    let early = centre(frames, stored) - half;
    let late = (stored as f64 - 1.0) - (centre(frames, stored) + half);
    (early.max(0.0), late.max(0.0))
}

/// The stored frame that each of `frames` shows, about the middle moved by `offset`.
fn window(frames: usize, stored: usize, speed: f64, offset: f64) -> Vec<usize> {
    let (middle, last) = ((frames as f64 - 1.0) / 2.0, stored.saturating_sub(1) as f64);
    let centre = centre(frames, stored);
    let source = |frame: usize| (frame as f64 - middle) * speed + centre + offset;
    (0..frames)
        .map(|frame| source(frame).round().clamp(0.0, last) as usize)
        .collect()
}

/// Moves the colours of a row of pixels from their grey (ITU-R BT.601), or towards it.
fn saturate(row: &mut [f32], saturation: f32) {
    for pixel in row.chunks_exact_mut(3) {
        let grey = 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
        for colour in pixel {
            *colour = (grey + (*colour - grey) * saturation).clamp(0.0, 255.0);
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
        View::draw(
            &Augmentation::none(),
            0.0,
            INPUT.frames,
            INPUT.frames,
            &mut ChaCha8Rng::seed_from_u64(0),
        )
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
    fn saturation_moves_colours_about_the_grey_of_their_pixel() {
        let pixels = pixels();
        let planes = written(&identity(), &pixels);
        let grey_of = |planes: &[f32]| {
            let [red, green, blue] = [0, 1, 2].map(|colour| at(planes, colour, 2, 1, 3));
            0.299 * red + 0.587 * green + 0.114 * blue
        };
        let grey = View {
            saturation: 0.0,
            ..identity()
        };
        let flat = written(&grey, &pixels);
        for colour in 0..3 {
            assert!((at(&flat, colour, 2, 1, 3) - grey_of(&planes)).abs() < 1e-2);
        }
        let vivid = View {
            saturation: 1.5,
            ..identity()
        };
        let vivid = written(&vivid, &pixels);
        assert!(vivid.iter().all(|value| (0.0..=255.0).contains(value)));
        let expected = grey_of(&planes) + 1.5 * (at(&planes, 0, 2, 1, 3) - grey_of(&planes));
        assert!((at(&vivid, 0, 2, 1, 3) - expected.clamp(0.0, 255.0)).abs() < 1e-2);
    }

    #[test]
    fn a_window_is_anywhere_in_the_stored_frames_and_in_the_middle_for_tests() {
        let draw = |window: f64, speed: f64, random: &mut ChaCha8Rng| {
            let augmentation = Augmentation {
                window,
                speed,
                ..Augmentation::none()
            };
            View::draw(&augmentation, 0.0, 4, 12, random).frames
        };
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut starts = std::collections::BTreeSet::new();
        for _ in 0..400 {
            let frames = draw(1.0, 1.0, &mut random);
            assert!(
                frames.windows(2).all(|pair| pair[1] == pair[0] + 1),
                "{frames:?}"
            );
            starts.insert(frames[0]);
            let frames = draw(1.0, 2.5, &mut random);
            assert!(frames.is_sorted() && frames[3] < 12, "{frames:?}");
            assert_eq!(draw(0.0, 1.0, &mut random), [4, 5, 6, 7]);
        }
        assert_eq!(
            starts.into_iter().collect::<Vec<_>>(),
            (0..=8).collect::<Vec<_>>()
        );
        assert_eq!(
            View::still([0.0, 0.0, 1.0, 1.0], false, 4, 12).frames,
            [4, 5, 6, 7]
        );
        assert_eq!(
            View::still([0.0, 0.0, 1.0, 1.0], false, 4, 7).frames,
            [1, 2, 3, 4]
        );
    }

    #[test]
    fn classes_that_are_never_mirrored_have_no_share() {
        let classes = ["wave".to_owned(), "write".to_owned()];
        let mut augmentation = Augmentation {
            flip: 0.5,
            flip_never: vec!["write".to_owned()],
            ..Augmentation::default()
        };
        assert_eq!(
            mirrored_shares(&augmentation, &classes).unwrap(),
            [0.5, 0.0]
        );
        augmentation.flip_never[0] = "wriet".to_owned();
        let error = mirrored_shares(&augmentation, &classes).unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.value.as_str()),
            ("flip_never", "wriet")
        );
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
            let view = View::draw(&wild, 0.5, INPUT.frames, INPUT.frames, &mut random);
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
        assert_eq!(mirrored_labels(&augmentation, &classes).unwrap(), [2, 1, 0]);
        augmentation.flip_pairs[0][1] = "lfet".to_owned();
        let error = mirrored_labels(&augmentation, &classes)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("lfet") && error.contains("left, walk, right"),
            "{error}"
        );
    }
}
