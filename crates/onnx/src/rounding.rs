//! Where values become bytes and numbers again: `QuantizeLinear` and `DequantizeLinear`, from which
//! runtimes take what their int8 kernels need.
//!
//! | | [`Int8`](Precision::Int8) | [`SymmetricInt8`](Precision::SymmetricInt8) |
//! | --- | --- | --- |
//! | activations | unsigned bytes with a zero point, as the model has them | signed bytes around 0 that reach as far |
//! | weights | signed bytes, a scale an output channel | the same |
//! | biases | 32-bit numbers | the same |
//!
//! The first is what ONNX Runtime and OpenVINO compute with, the second all that TensorRT takes
//! (its guide on working with quantized types: zero points must be 0, biases are not quantized). As integers in
//! steps of the accumulator, as ONNX Runtime's own tool writes them, biases would be off by up to half of such a step: in
//! narrow networks that moves so many values over the border between two bytes that the logits differ by half as much as by all
//! roundings together. ONNX Runtime makes integers of them by itself (since 1.21).

use fedact_recipe::Affine;
use fedact_stored::{Bytes, Floats};

use crate::graph::{Graph, integer};
use crate::proto::kind;
use crate::value::Value;
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
            Precision::SymmetricInt8 => (symmetric_scale(affine), 0, kind::INT8),
            Precision::Float | Precision::Int8 => (affine.scale, affine.zero_point, kind::UINT8),
        };
        let step = self.floats(&format!("{place}/scale"), &[], &[scale]);
        let zero = self.constant(&format!("{place}/zero_point"), kind, &[], vec![zero]);
        let bytes = value.named(self.fresh(format!("{place}/bytes")));
        let inputs = [&value.name, &step, &zero].map(String::as_str);
        self.typed_operation("QuantizeLinear", &inputs, &bytes, kind, Vec::new());
        let back = value.named(self.fresh(place));
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
    ) -> Result<String, OnnxError> {
        let name = format!("{layer}.weight");
        if self.precision == Precision::Float {
            return Ok(self.floats(&name, shape, &weight.values));
        }
        let Bytes { values, scales } = self.weights.bytes(layer, &weight.shape)?;
        let channels = [scales.len() as i64];
        let bytes = values.iter().map(|byte| byte.cast_unsigned()).collect();
        let bytes = self.constant(&format!("{name}_int8"), kind::INT8, shape, bytes);
        let step = self.floats(&format!("{name}_scale"), &channels, &scales);
        let zeros = vec![0; scales.len()];
        let zeros = self.constant(&format!("{name}_zero_point"), kind::INT8, &channels, zeros);
        let name = self.fresh(name);
        let inputs = [&bytes, &step, &zeros].map(String::as_str);
        self.raw_operation("DequantizeLinear", &inputs, &name, vec![integer("axis", 0)]);
        Ok(name)
    }

    /// The bias of a layer as a constant.
    pub fn bias(&mut self, layer: &str, bias: &[f32]) -> String {
        self.floats(&format!("{layer}.bias"), &[bias.len() as i64], bias)
    }
}

/// The step of the signed bytes −127..=127 around 0 that reach as far as the unsigned ones.
fn symmetric_scale(affine: Affine) -> f32 {
    let below = f32::from(affine.zero_point);
    let above = f32::from(u8::MAX - affine.zero_point);
    affine.scale * below.max(above) / 127.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symmetric_bytes_reach_as_far_as_the_unsigned_ones() {
        let rectified = Affine {
            scale: 0.02,
            zero_point: 0,
        };
        assert!((symmetric_scale(rectified) * 127.0 - 5.1).abs() < 1e-5);
        let lopsided = Affine {
            scale: 1.0,
            zero_point: 200,
        };
        assert!((symmetric_scale(lopsided) * 127.0 - 200.0).abs() < 1e-4);
    }
}
