//! In which numbers a network computes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// In which numbers a network computes while it is trained. Its parameters are kept, and saved, in 32 bits either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    Float32,
    /// 16 bits with the range of 32 for convolutions and what is between them; batch norm's statistics, the last layer,
    /// the loss and the steps in 32. Faster where the processor has instructions for it, slower where not.
    Bfloat16,
}
