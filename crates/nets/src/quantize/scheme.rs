//! How a model says that it is quantized.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Affine, Improvement, Method};

/// The activation at one place of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Where: `input`, `stem`, `layer1.0.conv1` (after its ReLU), `layer1.0` (the residual sum after
    /// its ReLU), ..., `avgpool`. Between the two parts of a factored convolution: `layer1.0.conv1.0`.
    pub name: String,
    /// How its values are stored.
    pub affine: Affine,
    /// The smallest value seen during calibration.
    pub minimum: f32,
    /// The largest value seen during calibration.
    pub maximum: f32,
}

/// How a network is quantized: the part of `model.json` that a float model does not have.
///
/// Weights are signed bytes in ±127, symmetric per output channel; their scales are stored beside
/// them in `model.safetensors`. Activations are unsigned bytes, affine per tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// How the ranges of the activations were found.
    pub method: Method,
    /// For [`Method::Percentile`]: the share of values in percent that the range covers on each side.
    pub percentile: f64,
    /// Where something was chosen or improved: all that was tried, with what each left of the logits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// What was done beyond giving scales, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub improved: Vec<Improvement>,
    /// How many clips the activations were calibrated on.
    pub calibration_clips: usize,
    /// The activations, in the order of execution.
    pub activations: Vec<Activation>,
}

/// A way of quantizing that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// How the ranges of the activations were found.
    pub method: Method,
    /// What was done beyond that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub improved: Vec<Improvement>,
    /// The ratio of signal to noise of the logits, in dB: of the clips that improvements are judged by, or of the calibration
    /// clips where only a method was chosen.
    pub logits_snr_db: f64,
    /// Where improvements were judged: the share of the clips that the float network gets right beyond those that this one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1_lost: Option<f64>,
}
