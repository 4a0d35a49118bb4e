//! Where values become bytes and numbers again: `QuantizeLinear` and `DequantizeLinear`, from which
//! runtimes take what their int8 kernels need.
//!
//! | | [`Int8`](Precision::Int8) | [`SymmetricInt8`](Precision::SymmetricInt8) |
//! | --- | --- | --- |
//! | activations | unsigned bytes with a zero point, as the model has them | signed bytes around 0 that reach as far |
//! | weights | signed bytes, a scale an output channel | the same |
//! | biases | 32-bit integers in steps of activation times weight | 32-bit numbers |
//!
//! The first is what ONNX Runtime and OpenVINO compute with, the second all that TensorRT takes
//! (its guide on working with quantized types: zero points must be 0, biases are not quantized).

use crate::description::Affine;
use crate::graph::{Graph, integer};
use crate::proto::kind;
use crate::value::Value;
use crate::weights::{Bytes, Floats};
use crate::{OnnxError, Precision};

impl Graph<'_> {
    /// The value as it is behind a place: rounded, where the model rounds there.
    pub fn at(&mut self, place: &str, value: Value) -> Value {
        match self.places.remove(place) {
            Some(affine) => self.rounded(place, affine, &value),
            None => value,
        }
    }

    /// The same, and the way in which it was rounded.
    pub fn at_with(&mut self, place: &str, value: Value) -> (Value, Option<Affine>) {
        let affine = self.places.get(place).copied();
        (self.at(place, value), affine)
    }

    /// Rounds a value to bytes, and makes numbers of them again.
    pub fn rounded(&mut self, place: &str, affine: Affine, value: &Value) -> Value {
        let (scale, zero, kind) = match self.precision {
            Precision::SymmetricInt8 => (affine.symmetric_scale(), 0, kind::INT8),
            Precision::Float | Precision::Int8 => (affine.scale, affine.zero_point, kind::UINT8),
        };
        let step = self.floats(&format!("{place}/scale"), &[], &[scale]);
        let zero = self.constant(&format!("{place}/zero_point"), kind, &[], vec![zero]);
        let bytes = value.named(self.fresh(format!("{place}/bytes")));
        let inputs = [&value.name, &step, &zero].map(String::as_str);
        self.typed_operation("QuantizeLinear", &inputs, &bytes, kind, Vec::new());
        let back = Value {
            step: Some(scale),
            ..value.named(self.fresh(place))
        };
        let inputs = [&bytes.name, &step, &zero].map(String::as_str);
        self.operation("DequantizeLinear", &inputs, &back, Vec::new());
        back
    }

    /// The weight of a layer as a constant of this shape, from bytes where the model has them.
    pub fn weight(
        &mut self,
        layer: &str,
        weight: &Floats,
        shape: &[i64],
    ) -> Result<(String, Option<Vec<f32>>), OnnxError> {
        let name = format!("{layer}.weight");
        if self.precision == Precision::Float {
            return Ok((self.floats(&name, shape, &weight.values), None));
        }
        let Bytes { values, scales, .. } = self.weights.bytes(layer, &weight.shape)?;
        let channels = [scales.len() as i64];
        let bytes = values.iter().map(|byte| byte.cast_unsigned()).collect();
        let bytes = self.constant(&format!("{name}_int8"), kind::INT8, shape, bytes);
        let step = self.floats(&format!("{name}_scale"), &channels, &scales);
        let zeros = vec![0; scales.len()];
        let zeros = self.constant(&format!("{name}_zero_point"), kind::INT8, &channels, zeros);
        let name = self.fresh(name);
        let inputs = [&bytes, &step, &zeros].map(String::as_str);
        self.raw_operation("DequantizeLinear", &inputs, &name, vec![integer("axis", 0)]);
        Ok((name, Some(scales)))
    }

    /// The bias of a layer as a constant; in steps of the accumulator where its kernel counts in them.
    pub fn bias(
        &mut self,
        layer: &str,
        bias: &[f32],
        input: &Value,
        scales: Option<&[f32]>,
    ) -> String {
        let name = format!("{layer}.bias");
        let channels = [bias.len() as i64];
        let counted = match (self.precision, input.step, scales) {
            (Precision::Int8, Some(step), Some(scales)) => counted(bias, step, scales),
            _ => None,
        };
        let Some((counts, steps)) = counted else {
            return self.floats(&name, &channels, bias);
        };
        let bytes = counts.iter().flat_map(|count| count.to_le_bytes());
        let counts = self.constant(
            &format!("{name}_int32"),
            kind::INT32,
            &channels,
            bytes.collect(),
        );
        let steps = self.floats(&format!("{name}_scale"), &channels, &steps);
        let zeros = vec![0; 4 * bias.len()];
        let zeros = self.constant(&format!("{name}_zero_point"), kind::INT32, &channels, zeros);
        let name = self.fresh(name);
        let inputs = [&counts, &steps, &zeros].map(String::as_str);
        self.raw_operation("DequantizeLinear", &inputs, &name, vec![integer("axis", 0)]);
        name
    }
}

/// A bias in steps of the accumulator, and the steps; `None` where one of them does not fit into 32 bits, as
/// happens where all weights of a channel are next to nothing.
fn counted(bias: &[f32], step: f32, scales: &[f32]) -> Option<(Vec<i32>, Vec<f32>)> {
    let steps: Vec<f32> = scales.iter().map(|scale| step * scale).collect();
    let counts = bias.iter().zip(&steps).map(|(bias, step)| {
        let count = (f64::from(*bias) / f64::from(*step)).round_ties_even();
        // As a 64-bit number; half of the range is left to what is added to it.
        (count.abs() < f64::from(1 << 30)).then_some(count as i32)
    });
    Some((counts.collect::<Option<_>>()?, steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_is_counted_in_steps_of_the_accumulator() {
        let (counts, steps) = counted(&[1.0, -0.5], 0.1, &[0.02, 0.5]).unwrap();
        assert_eq!(counts, [500, -10]);
        assert!((steps[0] - 0.002).abs() < 1e-9);
    }

    #[test]
    fn a_bias_that_does_not_fit_stays_a_number() {
        assert_eq!(counted(&[1.0], 0.1, &[1e-12]), None);
        assert_eq!(counted(&[1.0], 1e-30, &[1e-30]), None);
    }
}
