//! Where a network is computed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ComputeDevice {
    /// On the processor.
    #[default]
    Cpu,
    /// On the first GPU, where libtorch was built with CUDA.
    Cuda,
}
