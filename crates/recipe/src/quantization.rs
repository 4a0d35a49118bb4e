//! How a network is brought into eight bits, and computed there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the range of an activation is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// From the smallest to the largest value seen: nothing is cut off, one outlier coarsens the rest.
    MinMax,
    /// Leaves out a small share of the values at each end.
    Percentile,
    /// The range whose mean squared error over the values seen, rounding and cutting off together, is
    /// least.
    #[default]
    Mse,
    /// The range in which the distribution of the values seen loses least, by its Kullback-Leibler divergence (Migacz,
    /// "8-bit inference with TensorRT", GTC 2017).
    Entropy,
    /// Whichever of the others leaves the logits of the calibration clips the largest ratio of signal to noise.
    Auto,
}

impl Method {
    /// Those that [`Method::Auto`] chooses from; of equals the first.
    pub const CHOICE: [Self; 4] = [Self::Mse, Self::Percentile, Self::Entropy, Self::MinMax];

    /// As it stands in a pipeline.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "min-max",
            Self::Percentile => "percentile",
            Self::Mse => "mse",
            Self::Entropy => "entropy",
            Self::Auto => "auto",
        }
    }
}

/// What calibration needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrationSettings {
    /// How ranges are found.
    pub method: Method,
    /// For [`Method::Percentile`]: the share of values in percent, above 50 and up to 100, that lies
    /// below the upper end of the range (and above its lower end).
    pub percentile: f64,
}

impl Default for CalibrationSettings {
    fn default() -> Self {
        Self {
            method: Method::default(),
            percentile: 99.99,
        }
    }
}

/// How a quantized network is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Execution {
    /// The folded network in 32 bits, nothing rounded.
    Float,
    /// In 32 bits, with every weight and activation rounded to a value that its byte can stand for:
    /// what int8 kernels compute, up to the last bits of sums. Gradients pass straight through the
    /// rounding and stop where a value is cut off (Bengio et al. 2013, arXiv 1308.3432).
    #[default]
    Simulated,
}
