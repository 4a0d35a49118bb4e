//! What bytes mean: real value = scale × (stored integer − zero point).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest magnitude of a stored weight. −128 is left out, so that the range is symmetric and a
/// product of a weight and its mirror image has the same magnitude.
pub const WEIGHT_MAXIMUM: i64 = 127;

/// Largest stored activation: activations are unsigned bytes.
pub const ACTIVATION_MAXIMUM: i64 = 255;

/// How an unsigned byte stands for a real value: `value = scale × (byte − zero_point)`.
///
/// Zero is always one of the values that can be represented, so that padding and what a ReLU cuts
/// off stay exact (Jacob et al. 2018, arXiv 1712.05877, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Affine {
    /// The real value of one step; positive and finite.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero_point: u8,
}

impl Affine {
    /// The finest mapping that covers `minimum..=maximum` after the range is widened to hold 0.
    ///
    /// `None` where the range is empty, not finite or too narrow for a scale.
    pub fn covering(minimum: f64, maximum: f64) -> Option<Self> {
        let (low, high) = (minimum.min(0.0), maximum.max(0.0));
        let scale = ((high - low) / ACTIVATION_MAXIMUM as f64) as f32;
        if !scale.is_normal() {
            return None;
        }
        let zero_point = (-low / f64::from(scale))
            .round()
            .clamp(0.0, ACTIVATION_MAXIMUM as f64);
        Some(Self {
            scale,
            zero_point: zero_point as u8,
        })
    }

    /// The byte that stands for `value`, saturated; halves round to even as they do in int8 kernels.
    pub fn quantize(self, value: f32) -> u8 {
        let level = (value * (1.0 / self.scale)).round_ties_even() + f32::from(self.zero_point);
        level.clamp(0.0, ACTIVATION_MAXIMUM as f32) as u8
    }

    /// The real value of a byte.
    pub fn dequantize(self, byte: u8) -> f32 {
        f32::from(i16::from(byte) - i16::from(self.zero_point)) * self.scale
    }

    /// The smallest and largest value that can be represented.
    pub fn range(self) -> (f32, f32) {
        (self.dequantize(0), self.dequantize(u8::MAX))
    }

    /// How many steps of the other one step of this is.
    pub fn in_steps_of(self, other: Self) -> f64 {
        f64::from(self.scale) / f64::from(other.scale)
    }
}

/// The scale of a channel's weights: its largest magnitude becomes ±127.
///
/// A channel of zeros gets 1, which represents it exactly.
pub fn weight_scale(channel: &[f32]) -> f32 {
    let largest = channel.iter().fold(0.0f32, |most, w| most.max(w.abs()));
    let scale = largest / WEIGHT_MAXIMUM as f32;
    if scale.is_normal() { scale } else { 1.0 }
}

/// The stored byte of a weight, saturated at ±127; the same arithmetic as the simulation's, so that
/// what is stored is what was simulated.
pub fn quantize_weight(weight: f32, scale: f32) -> i8 {
    let limit = WEIGHT_MAXIMUM as f32;
    (weight * (1.0 / scale))
        .round_ties_even()
        .clamp(-limit, limit) as i8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_of_positive_values_starts_at_zero() {
        let affine = Affine::covering(0.5, 5.1).unwrap();
        assert_eq!(affine.zero_point, 0);
        assert!((affine.scale - 0.02).abs() < 1e-7);
        assert_eq!(affine.quantize(-1.0), 0);
        assert_eq!(affine.quantize(1.0), 50);
        assert_eq!(affine.quantize(99.0), 255);
    }

    #[test]
    fn a_range_on_both_sides_puts_the_zero_point_between() {
        // (3 - (-1)) / 255 = 0.015686; 1 / 0.015686 = 63.75, rounded to 64.
        let affine = Affine::covering(-1.0, 3.0).unwrap();
        assert!((affine.scale - 4.0 / 255.0).abs() < 1e-8);
        assert_eq!(affine.zero_point, 64);
        assert_eq!(affine.dequantize(64), 0.0);
        assert_eq!(affine.quantize(0.0), 64);
    }

    #[test]
    fn a_range_without_extent_has_no_mapping() {
        assert_eq!(Affine::covering(0.0, 0.0), None);
        assert_eq!(Affine::covering(0.0, f64::NAN), None);
        assert_eq!(Affine::covering(0.0, f64::INFINITY), None);
        assert_eq!(Affine::covering(f64::INFINITY, f64::NEG_INFINITY), None);
        assert_eq!(Affine::covering(0.0, 1e-40), None);
    }

    #[test]
    fn weights_by_hand() {
        let channel = [0.5, -1.27, 0.004, 0.0];
        let scale = weight_scale(&channel);
        assert!((scale - 0.01).abs() < 1e-9);
        let stored = channel.map(|weight| quantize_weight(weight, scale));
        assert_eq!(stored, [50, -127, 0, 0]);
        assert_eq!(weight_scale(&[0.0, 0.0]), 1.0);
    }

    proptest! {
        #[test]
        fn values_in_range_return_within_half_a_step(
            low in -10.0f64..0.0, extent in 0.1f64..20.0, at in 0.0f64..1.0,
        ) {
            let affine = Affine::covering(low, low + extent).unwrap();
            let (minimum, maximum) = affine.range();
            let value = minimum + (maximum - minimum) * at as f32;
            let back = affine.dequantize(affine.quantize(value));
            prop_assert!((back - value).abs() <= affine.scale * 0.5001, "{value} came back as {back}");
            prop_assert_eq!(affine.dequantize(affine.quantize(0.0)), 0.0);
        }

        #[test]
        fn weights_return_within_half_a_step(
            channel in prop::collection::vec(-3.0f32..3.0, 1..50),
        ) {
            let scale = weight_scale(&channel);
            for weight in channel {
                let back = f32::from(quantize_weight(weight, scale)) * scale;
                prop_assert!((back - weight).abs() <= scale * 0.5001);
            }
        }
    }
}
