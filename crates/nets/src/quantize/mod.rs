//! Networks in eight bits: batch norm folded away, weights and activations as bytes.
//!
//! Residual networks (R3D, MC3, R(2+1)D) have that form; X3D, whose channels are weighed by numbers of each
//! clip's own, and TSM on MobileNetV2 have none yet and are refused.
//!
//! * Weights: signed bytes in ±127, symmetric, one scale an output channel.
//! * Activations: unsigned bytes, affine, one scale and zero point a tensor, at the input, behind each
//!   ReLU (that of a residual sum included) and at the mean that `fc` sees. Sums before a ReLU are not
//!   rounded: int8 kernels keep them in 32 bits.
//! * Biases and logits: 32 bits.
//!
//! [`QuantizedModel::trace`], and a quantized [`Classifier`](crate::Classifier), compute what int8 kernels compute, in whole numbers that
//! floats hold; [`ExecutedModel`] is those kernels themselves. [`QuantizedModel::logits`] with [`Execution::Simulated`] rounds
//! at the same places and has gradients, up to last bits; [`Execution::Float`] is the same network without any rounding.
//!
//! Where that loses too much, [`QuantizedModel::improve`] does something about it.
//!
//! ```text
//! quantized/
//!   model.safetensors   X.weight, X.bias: f32, folded, what fine-tuning trains
//!                       X.weight_int8, X.weight_scale: what a device needs beside X.bias
//!   model.json          ModelInfo with `quantization`: method, activation scales, zero points
//!   model.pt            the same model as a TorchScript archive that runs in eight bits
//! ```

mod calibrate;
mod executed;
mod flat;
mod fold;
mod improve;
mod model;
mod network;
mod noise;
mod observer;
mod scheme;
#[cfg(test)]
mod tests;
mod trace;
mod whole;

pub use executed::{ExecutedModel, archive};
pub use fedact_recipe::{
    ACTIVATION_MAXIMUM, Affine, CalibrationSettings, Execution, Improve, ImproveSettings,
    Improvement, Method, WEIGHT_MAXIMUM, quantize_weight, weight_scale,
};
pub use flat::ParameterShape;
pub use improve::{Examples, Improved, Improving};
pub use model::QuantizedModel;
pub use noise::{Compared, NOISELESS_DECIBELS, NoiseMeter, PlaceNoise, decibels};
pub use observer::Observer;
pub use scheme::{Activation, Quantization, Tried};
pub use trace::Traced;
