//! From the bytes of pixels to those that the first convolution reads.

use fedact_recipe::{Affine, Normalisation, STEM_POOL};
use fedact_stored::Description;

use crate::program::{Value, Windows};

/// Colours of a pixel.
const COLOURS: usize = 3;

/// What each byte of each colour becomes, normalised and rounded.
#[derive(Debug)]
pub(crate) struct Levels([[u8; 256]; COLOURS]);

impl Levels {
    /// The normalised value of each, as the input's place stores it.
    pub fn new(description: &Description, affine: Affine) -> Self {
        let Normalisation { slope, offset } = Normalisation::new(description.mean, description.std);
        let level = |colour: usize, byte: u8| {
            affine.quantize(f32::from(byte) * slope[colour] + offset[colour])
        };
        Self(std::array::from_fn(|colour| {
            std::array::from_fn(|byte| level(colour, byte as u8))
        }))
    }

    /// What pixels become.
    pub fn of(&self, pixels: &[u8]) -> Vec<u8> {
        let mut levels = vec![0; pixels.len()];
        self.write(pixels, &mut levels);
        levels
    }

    fn write(&self, pixels: &[u8], levels: &mut [u8]) {
        let (pixels, _) = pixels.as_chunks::<COLOURS>();
        let (levels, _) = levels.as_chunks_mut::<COLOURS>();
        for (level, pixel) in levels.iter_mut().zip(pixels) {
            for (colour, table) in self.0.iter().enumerate() {
                level[colour] = table[usize::from(pixel[colour])];
            }
        }
    }
}

impl Windows {
    /// Writes the windows of clips [clips, frames, height, width, 3].
    pub fn write(&self, levels: &Levels, zero_point: u8, clips: &[u8], room: &mut [u8]) {
        let [_, frames, height, width, _] = self.pixels;
        let [_, outer_frames, outer_height, count, channels] = self.to.sides;
        let [frames_before, rows_before, pixels_before] = self.padding;
        let mut row = vec![zero_point; (width + 2 * pixels_before) * COLOURS];
        let inner = pixels_before * COLOURS..(pixels_before + width) * COLOURS;
        let step = self.stride * COLOURS;
        for (nth, pixels) in clips.chunks_exact(width * COLOURS).enumerate() {
            let (clip, frame, line) =
                (nth / (frames * height), nth / height % frames, nth % height);
            levels.write(pixels, &mut row[inner.clone()]);
            let line =
                (clip * outer_frames + frames_before + frame) * outer_height + rows_before + line;
            let to = &mut room[line * count * channels..][..count * channels];
            for (window, at) in to.chunks_exact_mut(channels).zip((0..).step_by(step)) {
                window.copy_from_slice(&row[at..at + channels]);
            }
        }
    }
}

/// The largest byte that each window of the stem's pool sees.
pub(crate) fn pool((from, bytes): (Value, &[u8]), to: Value, target: &mut [u8]) {
    let (kernel, stride, padding) = STEM_POOL;
    let channels = from.channels();
    let seen = |at: usize, side: usize| {
        let first = at as i64 * stride - padding;
        (first.max(0) as usize)..((first + kernel) as usize).min(side)
    };
    for (nth, largest) in target[..to.len()].chunks_exact_mut(channels).enumerate() {
        let [clip, frame, row, column] = position(nth, to);
        largest.fill(0);
        for frame in seen(frame, from.sides[1]) {
            for row in seen(row, from.sides[2]) {
                for column in seen(column, from.sides[3]) {
                    let pixel = &bytes[offset(from, [clip, frame, row, column])..][..channels];
                    for (largest, byte) in largest.iter_mut().zip(pixel) {
                        *largest = (*largest).max(*byte);
                    }
                }
            }
        }
    }
}

/// So many times the bytes at the stride's positions, and zeros in the channels behind them.
pub(crate) fn pad(
    (from, bytes): (Value, &[u8]),
    to: Value,
    stride: [usize; 3],
    ratio: f32,
    target: &mut [f32],
) {
    let channels = from.channels();
    let pixels = target[..to.len()].chunks_exact_mut(to.channels());
    for (nth, target) in pixels.enumerate() {
        let [clip, frame, row, column] = position(nth, to);
        let at = [clip, frame * stride[0], row * stride[1], column * stride[2]];
        let (kept, new) = target.split_at_mut(channels);
        for (kept, byte) in kept.iter_mut().zip(&bytes[offset(from, at)..]) {
            *kept = f32::from(*byte) * ratio;
        }
        new.fill(0.0);
    }
}

/// The mean of each clip's channels, so many times and rounded.
pub(crate) fn mean((from, bytes): (Value, &[u8]), ratio: f32, target: &mut [u8]) {
    let channels = from.channels();
    let clip = from.len() / from.sides[0];
    let count = (clip / channels) as f32;
    let clips = bytes[..from.len()].chunks_exact(clip);
    for (clip, target) in clips.zip(target.chunks_exact_mut(channels)) {
        let mut sums = vec![0u32; channels];
        for pixel in clip.chunks_exact(channels) {
            for (sum, byte) in sums.iter_mut().zip(pixel) {
                *sum += u32::from(*byte);
            }
        }
        for (target, sum) in target.iter_mut().zip(sums) {
            let level = sum as f32 / count * ratio;
            *target = level.round_ties_even().clamp(0.0, 255.0) as u8;
        }
    }
}

/// Clip, frame, row and column of the nth pixel.
fn position(nth: usize, value: Value) -> [usize; 4] {
    let [_, frames, height, width, _] = value.sides;
    [
        nth / (frames * height * width),
        nth / (height * width) % frames,
        nth / width % height,
        nth % width,
    ]
}

/// Where a pixel begins.
fn offset(value: Value, [clip, frame, row, column]: [usize; 4]) -> usize {
    let [_, frames, height, width, channels] = value.sides;
    (((clip * frames + frame) * height + row) * width + column) * channels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(sides: [usize; 5]) -> Value {
        Value { room: 0, sides }
    }

    #[test]
    fn windows_hold_what_the_kernel_sees_side_by_side_with_the_byte_of_0_around() {
        // Two frames of two rows of three pixels, each pixel its number in all colours.
        let clips: Vec<u8> = (1..=12).flat_map(|pixel| [pixel; 3]).collect();
        let windows = Windows {
            pixels: [1, 2, 2, 3, 3],
            width: 3,
            stride: 2,
            padding: [1, 1, 1],
            to: value([1, 4, 4, 2, 9]),
        };
        let mut room = vec![0; windows.to.len()];
        let same = Levels(std::array::from_fn(|_| {
            std::array::from_fn(|byte| byte as u8)
        }));
        room.fill(77);
        windows.write(&same, 77, &clips, &mut room);
        let pixel = |frame: usize, row: usize, window: usize| {
            let at = ((frame * 4 + row) * 2 + window) * 9;
            [room[at], room[at + 3], room[at + 6]]
        };
        assert_eq!(pixel(1, 1, 0), [77, 1, 2]);
        assert_eq!(pixel(1, 1, 1), [2, 3, 77]);
        assert_eq!(pixel(2, 2, 0), [77, 10, 11]);
        assert_eq!(pixel(0, 1, 0), [77; 3]);
        assert_eq!(pixel(1, 3, 1), [77; 3]);
        assert_eq!(pixel(3, 3, 1), [77; 3]);
    }

    #[test]
    fn a_pool_takes_the_largest_of_what_is_there() {
        let from = value([1, 1, 3, 3, 2]);
        let bytes: Vec<u8> = (0..9).flat_map(|pixel| [pixel, 20 - pixel]).collect();
        let to = value([1, 1, 2, 2, 2]);
        let mut target = vec![0; to.len()];
        pool((from, &bytes), to, &mut target);
        assert_eq!(target, [4, 20, 5, 19, 7, 17, 8, 16]);
    }

    #[test]
    fn a_padded_shortcut_keeps_the_strides_positions_and_has_zeros_behind() {
        let from = value([1, 1, 3, 3, 1]);
        let bytes: Vec<u8> = (1..=9).collect();
        let to = value([1, 1, 2, 2, 2]);
        let mut target = vec![9.0; to.len()];
        pad((from, &bytes), to, [1, 2, 2], 0.5, &mut target);
        assert_eq!(target, [0.5, 0.0, 1.5, 0.0, 3.5, 0.0, 4.5, 0.0]);
    }

    #[test]
    fn means_are_of_each_clip_and_channel_and_round_to_even() {
        let from = value([2, 1, 1, 2, 2]);
        let bytes = [1, 10, 2, 20, 250, 0, 255, 1];
        let mut target = [0; 4];
        mean((from, &bytes), 1.0, &mut target);
        assert_eq!(target, [2, 15, 252, 0]);
        mean((from, &bytes), 2.0, &mut target);
        assert_eq!(target, [3, 30, 255, 1]);
    }
}
