//! Which clips an epoch shows, and which epoch is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done about classes with fewer clips than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Nothing: an epoch shows each clip once, and all count alike.
    #[default]
    None,
    /// The labels' loss of a clip counts by the inverse of its class's share of the clips; the mean over all
    /// clips is 1. What teachers say counts alike.
    Weights,
    /// An epoch shows as many clips as before, equally many of each class: of rare ones again and again, each
    /// time another view, of frequent ones others each epoch.
    Sampling,
}

/// Which epoch's weights a training ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The last one's.
    #[default]
    Last,
    /// Those of the epoch with the highest top-1 on the validation clips; of equal ones that of the lowest
    /// loss there, then the first.
    Best,
}
