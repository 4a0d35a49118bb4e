//! How a network is trained: the loop's numbers and the rule by which gradients become steps.

use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Augmentation, Balance, Keep, ScheduleSettings, Views};

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSettings {
    /// Passes over the clips.
    pub epochs: u32,
    /// Clips in a batch; those that do not fill one are left out of the epoch.
    pub batch_size: usize,
    /// The highest learning rate: reached after the warm-up.
    pub learning_rate: f64,
    /// Epochs of the rise to it.
    pub warmup_epochs: f64,
    /// How it falls then.
    pub schedule: ScheduleSettings,
    /// Weight decay; not on biases and batch norm.
    pub weight_decay: f64,
    /// Largest norm of the gradient; 0 is no limit.
    pub clip_gradient: f64,
    /// The rule.
    pub optimizer: OptimizerSettings,
    /// Random views.
    pub augmentation: Augmentation,
    /// α of mixup: a clip is shown with a share of another one, the share drawn from Beta(α, α) for each batch
    /// (Zhang et al. 2018, arXiv 1710.09412); 0 is none.
    pub mixup: f64,
    /// How much of the weights' running mean is kept in a step (Polyak and Juditsky 1992, in its exponential form),
    /// at most `(1 + steps) / (10 + steps)`, so that it forgets where it began; 0 is no mean.
    pub ema: f64,
    /// What is done about rare classes.
    pub balance: Balance,
    /// Which epoch's weights are kept.
    pub keep: Keep,
    /// Epochs without a better validation after which training ends; 0 is never.
    pub patience: u32,
    /// Order, views and mixtures depend on it.
    pub seed: u64,
    /// Views that repeat, drawn by a seed of their own; `None` shows others in every epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<Views>,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            epochs: 20,
            batch_size: 16,
            learning_rate: 0.05,
            warmup_epochs: 2.0,
            schedule: ScheduleSettings::default(),
            weight_decay: 5e-4,
            clip_gradient: 5.0,
            optimizer: OptimizerSettings::default(),
            augmentation: Augmentation::default(),
            mixup: 0.0,
            ema: 0.0,
            balance: Balance::None,
            keep: Keep::Last,
            patience: 0,
            seed: 0,
            views: None,
        }
    }
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
