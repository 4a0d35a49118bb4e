//! The arithmetic of a step, in one pass over memory.
//!
//! A step is bound by memory: written with tensors, the rule of SGD reads and writes the parameters a dozen times, here
//! once. Every number is computed on its own and in the order of operations that the rule has with tensors, so that the
//! results do not depend on how the work is parted.

/// Constants of stochastic gradient descent, as they are in 32 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sgd {
    pub learning_rate: f32,
    pub momentum: f32,
    pub nesterov: bool,
}

/// Constants of AdamW at one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdamW {
    /// Shares of the new gradient, and of its square, in the running means.
    pub share1: f32,
    pub share2: f32,
    /// Root of what corrects the second mean for its beginning at 0.
    pub root_correction: f32,
    /// Learning rate over what corrects the first mean.
    pub step_size: f32,
    pub epsilon: f32,
    pub learning_rate: f64,
}

/// A rule with its constants.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Sgd(Sgd),
    AdamW(AdamW),
}

/// A number in the memory of a tensor.
pub(super) trait Number: Copy + Send + Sync {
    fn get(self) -> f32;
    fn from(value: f32) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn get(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from(value: f32) -> Self {
        value
    }
}

/// A number of bfloat16: the upper half of a 32-bit one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Bfloat16(pub u16);

impl Number for Bfloat16 {
    #[inline(always)]
    fn get(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// The nearest, the even one of two, as libtorch rounds.
    #[inline(always)]
    fn from(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
        Self(if value.is_nan() { 0x7fc0 } else { rounded })
    }
}

/// A stretch of one variable: all slices are equally long.
#[derive(Debug)]
pub(super) struct Stretch<'a, G> {
    pub weights: &'a mut [f32],
    pub gradients: &'a [G],
    /// Momentum, or the running mean of gradients; empty where the rule keeps none.
    pub first: &'a mut [f32],
    /// The running mean of squared gradients; empty where the rule keeps none.
    pub second: &'a mut [f32],
    /// What the network computes with, where that is not the weights themselves.
    pub copy: Option<&'a mut [G]>,
    /// Weight decay of this variable.
    pub decay: f64,
    /// The factor that brings the gradient's norm to its limit; 1 where it is below.
    pub scale: f32,
}

impl<G: Number> Stretch<'_, G> {
    /// Takes a step.
    pub fn advance(self, step: Step) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has these instructions.
            return unsafe { self.advance_wide(step) };
        }
        self.advance_here(step);
    }

    /// The same numbers, eight at a time. Nothing is contracted to fused multiply-adds: Rust never does so by itself.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn advance_wide(self, step: Step) {
        self.advance_here(step);
    }

    #[inline(always)]
    fn advance_here(mut self, step: Step) {
        match step {
            Step::Sgd(rule) if self.first.is_empty() => self.plain(rule),
            Step::Sgd(rule) => self.sgd(rule),
            Step::AdamW(rule) => self.adamw(rule),
        }
        if let Some(copy) = &mut self.copy {
            for (copy, weight) in copy.iter_mut().zip(&*self.weights) {
                *copy = G::from(*weight);
            }
        }
    }

    #[inline(always)]
    fn plain(&mut self, rule: Sgd) {
        let (decay, scale) = (self.decay as f32, self.scale);
        for (weight, gradient) in self.weights.iter_mut().zip(self.gradients) {
            let gradient = gradient.get() * scale + *weight * decay;
            *weight -= gradient * rule.learning_rate;
        }
    }

    #[inline(always)]
    fn sgd(&mut self, rule: Sgd) {
        let (decay, scale) = (self.decay as f32, self.scale);
        let numbers = self.weights.iter_mut().zip(self.gradients);
        for ((weight, gradient), momentum) in numbers.zip(&mut *self.first) {
            let gradient = gradient.get() * scale + *weight * decay;
            *momentum = *momentum * rule.momentum + gradient;
            let step = if rule.nesterov {
                gradient + *momentum * rule.momentum
            } else {
                *momentum
            };
            *weight -= step * rule.learning_rate;
        }
    }

    #[inline(always)]
    fn adamw(&mut self, rule: AdamW) {
        let kept = (1.0 - rule.learning_rate * self.decay) as f32;
        let scale = self.scale;
        let means = self.first.iter_mut().zip(&mut *self.second);
        let numbers = self.weights.iter_mut().zip(self.gradients);
        for ((weight, gradient), (first, second)) in numbers.zip(means) {
            let gradient = gradient.get() * scale;
            *first += rule.share1 * (gradient - *first);
            *second += rule.share2 * (gradient * gradient - *second);
            let root = second.sqrt() / rule.root_correction + rule.epsilon;
            *weight = *weight * kept - *first / root * rule.step_size;
        }
    }
}

/// How many sums run side by side.
const LANES: usize = 8;

/// The sum of squares, in 64 bits: the same whatever the processor.
pub(super) fn squares<G: Number>(values: &[G]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has these instructions.
        return unsafe { squares_wide(values) };
    }
    squares_here(values)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn squares_wide<G: Number>(values: &[G]) -> f64 {
    squares_here(values)
}

#[inline(always)]
fn squares_here<G: Number>(values: &[G]) -> f64 {
    let mut sums = [0.0f64; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            let value = f64::from(value.get());
            *sum += value * value;
        }
    }
    let rest = rest.iter().map(|value| f64::from(value.get()));
    sums.iter().sum::<f64>() + rest.map(|value| value * value).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn numbers_of_bfloat16_are_those_of_libtorch() {
        let values = [
            0.0f32,
            -0.0,
            1.0,
            1.003_906_2, // Half way between two: to the even one below.
            1.011_718_7, // Half way between two: to the even one above.
            3.4e38,
            1e-40,
            f32::INFINITY,
            f32::NAN,
            -7.123_456,
        ];
        let rounded = Tensor::from_slice(&values).to_kind(Kind::BFloat16);
        let back = rounded.to_kind(Kind::Float);
        for (index, value) in values.iter().enumerate() {
            let found = <Bfloat16 as Number>::from(*value).get();
            let expected = back.double_value(&[index as i64]) as f32;
            assert!(
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
                "{value}: {found} instead of {expected}"
            );
        }
    }

    #[test]
    fn squares_are_summed_to_the_last_value() {
        let values: Vec<f32> = (1..=19).map(|value| value as f32).collect();
        assert_eq!(squares(&values), 2470.0);
        assert_eq!(squares::<f32>(&[]), 0.0);
    }
}
