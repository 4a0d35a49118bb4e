//! How a network is trained: the loop's numbers and the rule by which gradients become steps.

use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Augmentation, Views};

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSettings {
    /// Passes over the clips.
    pub epochs: u32,
    /// Clips in a batch; those that do not fill one are left out of the epoch.
    pub batch_size: usize,
    /// The highest learning rate: reached after the warm-up, falling to 0 like half a cosine.
    pub learning_rate: f64,
    /// Epochs of the rise to it.
    pub warmup_epochs: f64,
    /// Weight decay; not on biases and batch norm.
    pub weight_decay: f64,
    /// Largest norm of the gradient; 0 is no limit.
    pub clip_gradient: f64,
    /// The rule.
    pub optimizer: OptimizerSettings,
    /// Random views.
    pub augmentation: Augmentation,
    /// Order and views depend on it.
    pub seed: u64,
    /// Views that repeat, drawn by a seed of their own; `None` shows others in every epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<Views>,
}

/// The rule by which gradients become steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Stochastic gradient descent with momentum, as torch's `SGD`: weight decay is part of the
    /// gradient.
    #[default]
    Sgd,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101), as torch's
    /// `AdamW`.
    AdamW,
}

/// A rule and its constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerSettings {
    /// `sgd` or `adamw`.
    pub rule: Rule,
    /// Share of the last step that is taken again (`sgd`).
    pub momentum: f64,
    /// Look ahead along the momentum (`sgd`).
    pub nesterov: bool,
    /// Decay of the running mean of gradients (`adamw`).
    pub beta1: f64,
    /// Decay of the running mean of squared gradients (`adamw`).
    pub beta2: f64,
    /// Added to the root of the mean square (`adamw`).
    pub epsilon: f64,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self {
            rule: Rule::Sgd,
            momentum: 0.9,
            nesterov: true,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

impl OptimizerSettings {
    /// Plain gradient descent: no momentum, no state.
    pub fn plain() -> Self {
        Self {
            momentum: 0.0,
            nesterov: false,
            ..Self::default()
        }
    }

    /// Refuses values out of range.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let shares = [
            ("momentum", self.momentum),
            ("beta1", self.beta1),
            ("beta2", self.beta2),
        ];
        for (key, share) in shares {
            OutOfRange::unless(
                (0.0..1.0).contains(&share),
                key,
                share,
                "at least 0 and below 1",
            )?;
        }
        let positive = self.epsilon > 0.0 && self.epsilon <= 1.0;
        OutOfRange::unless(positive, "epsilon", self.epsilon, "above 0 and at most 1")
    }
}
