//! Numbers as bytes: fp32 and fp16 in planes, int8 in blocks with a scale each.

use half::f16;
use rand::Rng;

use super::codec::Numbers;
use super::error::MessageError;

/// Appends the numbers.
pub(super) fn write(
    body: &mut Vec<u8>,
    values: &[f32],
    numbers: Numbers,
    block: usize,
    rng: &mut impl Rng,
) {
    match numbers {
        Numbers::Fp32 => {
            planes(body, values.iter().map(|value| value.to_bits()), 4);
        }
        Numbers::Fp16 => {
            let words: Vec<u16> = values.iter().map(|value| half(*value)).collect();
            planes(body, words.iter().map(|word| u32::from(*word)), 2);
        }
        Numbers::Int8 => {
            body.extend((block as u32).to_le_bytes());
            let scales: Vec<f32> = values.chunks(block).map(scale).collect();
            for scale in &scales {
                body.extend(scale.to_le_bytes());
            }
            for (values, scale) in values.chunks(block).zip(&scales) {
                round(body, values, *scale, rng);
            }
        }
    }
}

/// Appends the lowest byte of each word, then the next one, up to `width`.
fn planes(body: &mut Vec<u8>, words: impl Iterator<Item = u32> + Clone, width: usize) {
    for plane in 0..width {
        let shift = 8 * plane;
        body.extend(words.clone().map(|word| (word >> shift) as u8));
    }
}

/// The bytes that `count` numbers take, or the fewest where that depends on what is in them.
pub(super) fn least_bytes(numbers: Numbers, count: usize) -> usize {
    match numbers {
        Numbers::Fp32 => 4 * count,
        Numbers::Fp16 => 2 * count,
        Numbers::Int8 => 4 + count,
    }
}

/// The most bytes that `count` numbers take: int8 with a scale for each.
pub(super) fn most_bytes(numbers: Numbers, count: usize) -> usize {
    match numbers {
        Numbers::Int8 => 4 + 5 * count,
        exact => least_bytes(exact, count),
    }
}

/// Exactly `count` numbers that fill `body`.
pub(super) fn read(body: &[u8], numbers: Numbers, count: usize) -> Result<Vec<f32>, MessageError> {
    let length = |expected: usize| {
        if body.len() == expected {
            return Ok(());
        }
        Err(MessageError::BodyLength {
            found: body.len() as u64,
            expected: expected as u64,
        })
    };
    match numbers {
        Numbers::Fp32 => {
            length(4 * count)?;
            let (low, high) = body.split_at(2 * count);
            let ((a, b), (c, d)) = (low.split_at(count), high.split_at(count));
            Ok(of_planes([a, b, c, d]).collect())
        }
        Numbers::Fp16 => {
            length(2 * count)?;
            let (low, high) = body.split_at(count);
            let planes = low.iter().zip(high);
            Ok(planes
                .map(|(low, high)| f16::from_le_bytes([*low, *high]).to_f32())
                .collect())
        }
        Numbers::Int8 => {
            let within = "scales";
            let (block, rest) = body
                .split_first_chunk::<4>()
                .ok_or(MessageError::Cut { within })?;
            let block = u32::from_le_bytes(*block) as usize;
            if block == 0 {
                return Err(MessageError::Block);
            }
            let scale_bytes = 4 * count.div_ceil(block);
            length(4 + scale_bytes + count)?;
            let (scales, rounded) = rest.split_at(scale_bytes);
            let mut values = Vec::with_capacity(count);
            let (scales, _) = scales.as_chunks::<4>();
            for (scale, rounded) in scales.iter().zip(rounded.chunks(block)) {
                let scale = f32::from_le_bytes(*scale);
                values.extend(rounded.iter().map(|byte| f32::from(*byte as i8) * scale));
            }
            Ok(values)
        }
    }
}

/// The numbers of four planes of bytes, or of as much of each.
pub(super) fn of_planes([a, b, c, d]: [&[u8]; 4]) -> impl Iterator<Item = f32> {
    let planes = a.iter().zip(b).zip(c).zip(d);
    planes.map(|(((a, b), c), d)| f32::from_le_bytes([*a, *b, *c, *d]))
}

/// The nearest half-precision number; the largest one for what is finite and beyond it.
fn half(value: f32) -> u16 {
    if value.is_finite() {
        let most = f16::MAX.to_f32();
        f16::from_f32(value.clamp(-most, most)).to_bits()
    } else {
        f16::from_f32(value).to_bits()
    }
}

/// What 1 stands for in a block: its largest magnitude over 127; NaN if one of its numbers is not finite.
fn scale(values: &[f32]) -> f32 {
    // Without their sign, floats are ordered as their bits are, which the processor compares many at a time; those that are not
    // finite come last.
    const INFINITY: i32 = f32::INFINITY.to_bits() as i32;
    let largest = values
        .iter()
        .map(|value| (value.to_bits() & 0x7fff_ffff) as i32)
        .fold(0, i32::max);
    if largest < INFINITY {
        f32::from_bits(largest as u32) / 127.0
    } else {
        f32::NAN
    }
}

/// Appends each number in units of the scale, rounded up with the probability of its fraction, so that its expectation is
/// the number.
fn round(body: &mut Vec<u8>, values: &[f32], scale: f32, rng: &mut impl Rng) {
    let mut chance = [0_u32; 64];
    for values in values.chunks(chance.len()) {
        // As many draws whatever the values, so that a block's rounding does not depend on the blocks before.
        rng.fill(&mut chance[..]);
        if scale > 0.0 {
            body.extend(values.iter().zip(&chance).map(|(value, chance)| {
                let upward = (chance >> 8) as f32 * (1.0 / (1 << 24) as f32);
                let raised = value / scale + upward;
                // The floor, in instructions that every processor has for many numbers at a time.
                let towards_zero = raised as i32;
                let floor = towards_zero - i32::from(towards_zero as f32 > raised);
                floor.clamp(-127, 127) as i8 as u8
            }));
        } else {
            body.extend(std::iter::repeat_n(0, values.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn through(values: &[f32], numbers: Numbers, block: usize, seed: u64) -> Vec<f32> {
        let mut body = Vec::new();
        write(
            &mut body,
            values,
            numbers,
            block,
            &mut ChaCha8Rng::seed_from_u64(seed),
        );
        assert!(body.len() >= least_bytes(numbers, values.len()));
        assert!(body.len() <= most_bytes(numbers, values.len()));
        read(&body, numbers, values.len()).unwrap()
    }

    #[test]
    fn rounding_is_right_on_average() {
        // One block of scale 1: the fractions decide alone.
        let values = [127.0, 0.25, -0.25, 3.9, -77.5];
        let seeds = 20_000;
        let mut sums = [0.0_f64; 5];
        for seed in 0..seeds {
            for (sum, value) in sums
                .iter_mut()
                .zip(through(&values, Numbers::Int8, 8, seed))
            {
                *sum += f64::from(value);
            }
        }
        for (sum, value) in sums.iter().zip(values) {
            // The standard deviation of the mean is at most 0.5 / sqrt(20,000) = 0.0035.
            let mean = sum / seeds as f64;
            assert!(
                (mean - f64::from(value)).abs() < 0.016,
                "{mean} for {value}"
            );
        }
    }

    #[test]
    fn what_is_not_finite_comes_out_as_such_and_large_numbers_stay_finite() {
        assert_eq!(
            through(&[1e30, -1e30], Numbers::Fp16, 8, 1),
            [65504.0, -65504.0]
        );
        for numbers in [Numbers::Fp32, Numbers::Fp16, Numbers::Int8] {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let out = through(&[1.0, value], numbers, 8, 1);
                assert!(
                    out.iter().any(|number| !number.is_finite()),
                    "{numbers:?} {value}"
                );
            }
        }
        // Too small for a scale: zero, and no division by it.
        assert_eq!(
            through(&[f32::from_bits(1), 0.0], Numbers::Int8, 8, 1),
            [0.0, 0.0]
        );
    }
}
