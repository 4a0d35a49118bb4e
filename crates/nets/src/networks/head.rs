//! The last layer.

use tch::Tensor;
use tch::nn::Path;

use super::initial::{descend, random};
use crate::HeadLayout;

/// From features to the logits of the classes.
#[derive(Debug)]
pub(super) struct Head {
    weight: Tensor,
    bias: Tensor,
}

impl Head {
    pub fn new(root: &Path, layout: &HeadLayout, classes: usize, seed: u64) -> Self {
        let path = descend(root, &layout.name);
        let classes = classes as i64;
        Self {
            weight: random(&path, "weight", &[classes, layout.inputs], 0.01, seed),
            bias: path.zeros("bias", &[classes]),
        }
    }

    /// Logits \[clips, classes\] of \[clips, features\].
    pub fn forward(&self, features: &Tensor) -> Tensor {
        features.linear(&self.weight, Some(&self.bias))
    }
}
