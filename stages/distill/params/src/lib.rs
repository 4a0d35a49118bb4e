//! Params of the stage `distill`, and its definition: all that planning needs of it, without torch and FFmpeg.
//!
//! The work is in `fedact-distill`, one folder up.

mod definition;

use fedact_recipe::{
    Architecture, Augmentation, Balance, ComputeDevice, Keep, OptimizerSettings, Precision,
    ScheduleSettings, TestViews, TrainingSettings,
};
use fedact_stage::{OutOfRange, Params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use definition::DEFINITION;

/// The params of `distill`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DistillParams {
    /// The network to train.
    pub model: Architecture,
    /// Frames that the network takes: a window of those that a clip has. Training looks anywhere in the clip
    /// (`augmentation.window`), tests look at its middle. 0 is all of them.
    pub frames: usize,
    /// Passes over the training clips.
    pub epochs: u32,
    /// Clips in a batch; those that do not fill one are left out of the epoch, others each time.
    pub batch_size: usize,
    /// The highest learning rate. It is reached after the warm-up.
    pub learning_rate: f64,
    /// Epochs in which the learning rate rises in a line.
    pub warmup_epochs: f64,
    /// How it falls then.
    pub schedule: ScheduleSettings,
    /// Weight decay, on the weights of convolutions and of `fc` only.
    pub weight_decay: f64,
    /// Largest Euclidean norm of the gradient of all parameters together; 0 is no limit.
    pub clip_gradient: f64,
    /// Share of each label that is spread over all classes.
    pub label_smoothing: f64,
    /// The rule by which gradients become steps.
    pub optimizer: OptimizerSettings,
    /// Random views of the training clips; the student and its teachers see the same.
    pub augmentation: Augmentation,
    /// α of mixup: clips are shown through one another, by shares drawn from Beta(α, α), and count for both labels
    /// (Zhang et al. 2018, arXiv 1710.09412); teachers see the same mixture. 0 is none.
    pub mixup: f64,
    /// How much of the weights' exponential running mean is kept in a step, as in 0.999; it is the mean that is
    /// tested and kept then. 0 is none.
    pub ema: f64,
    /// What is done about classes with fewer training clips than others.
    pub balance: Balance,
    /// Share of the training clips that is kept back to choose an epoch by: whole groups, of each class alike.
    pub validation_share: f64,
    /// `last`, or `best`: the epoch that was best on the validation clips.
    pub keep: Keep,
    /// Epochs without a better validation after which training ends; 0 is never.
    pub patience: u32,
    /// How teachers are listened to, where there are any.
    pub distillation: Distillation,
    /// The test clips are asked after every so many epochs, and after the last; 0 is after the last
    /// alone. The answers are reported and change nothing: the model of the last epoch is kept,
    /// because choosing an epoch by its test accuracy would make that accuracy a training result.
    pub test_every: u32,
    /// The views whose answers are averaged in a test, and in a validation.
    pub test_views: TestViews,
    /// Initial weights, order, views, mixtures and what is kept back depend on it.
    pub seed: u64,
    /// Threads to compute with. The last bits of the weights depend on the number.
    pub threads: usize,
    /// Where to compute. There is no `auto`: what a result depends on stands in the params.
    pub device: ComputeDevice,
    /// In which numbers to compute; parameters are kept and saved in 32 bits, and tested in them.
    pub precision: Precision,
}

/// How teachers are listened to: `(1-λ)·CE(y, z_s) + λ·T²·KL(softmax(z_t/T) ‖ softmax(z_s/T))`, and what is weighed
/// in beside it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Distillation {
    /// λ: 0 listens to the labels alone, 1 to the teachers alone.
    pub lambda: f64,
    /// T: higher temperatures show more of what the teachers think of the wrong classes.
    pub temperature: f64,
    /// Decoupled distillation (Zhao et al. 2022). As published: `lambda` 0, `weight` 1.
    pub decoupled: Decoupled,
    /// Weight of attention transfer (Zagoruyko and Komodakis 2017): the squared distance between the attention maps
    /// of student and teachers, from 0 to 2 for each stage of the student.
    pub attention: f64,
    /// Weight of feature transfer (Tung and Mori 2019): how differently student and teachers find the clips of a batch
    /// alike. Published: 3000, for batches of 128.
    pub similarity: f64,
}

/// `weight · T² · (target·KL(b ‖ b_s) + others·KL(p̂ ‖ p̂_s))`: how sure the teachers are of a clip's own class, and how
/// they divide what is left among the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Decoupled {
    /// 0 leaves it out.
    pub weight: f64,
    /// α: the clip's own class against all others together.
    pub target: f64,
    /// β: the others among themselves. Published: 8 for most pairs of networks.
    pub others: f64,
}

impl Default for DistillParams {
    fn default() -> Self {
        Self {
            model: Architecture::default(),
            frames: 0,
            epochs: 20,
            batch_size: 16,
            learning_rate: 0.05,
            warmup_epochs: 2.0,
            schedule: ScheduleSettings::default(),
            weight_decay: 5e-4,
            clip_gradient: 5.0,
            label_smoothing: 0.1,
            optimizer: OptimizerSettings::default(),
            augmentation: Augmentation::default(),
            mixup: 0.0,
            ema: 0.0,
            balance: Balance::None,
            validation_share: 0.0,
            keep: Keep::Last,
            patience: 0,
            distillation: Distillation::default(),
            test_every: 1,
            test_views: TestViews::default(),
            seed: 0,
            threads: 2,
            device: ComputeDevice::Cpu,
            precision: Precision::Float32,
        }
    }
}

impl Default for Distillation {
    fn default() -> Self {
        Self {
            lambda: 0.7,
            temperature: 4.0,
            decoupled: Decoupled::default(),
            attention: 0.0,
            similarity: 0.0,
        }
    }
}

impl Default for Decoupled {
    fn default() -> Self {
        Self {
            weight: 0.0,
            target: 1.0,
            others: 8.0,
        }
    }
}

impl DistillParams {
    /// The part that the training loop takes.
    pub fn training(&self) -> TrainingSettings {
        TrainingSettings {
            epochs: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            warmup_epochs: self.warmup_epochs,
            schedule: self.schedule.clone(),
            weight_decay: self.weight_decay,
            clip_gradient: self.clip_gradient,
            optimizer: self.optimizer.clone(),
            augmentation: self.augmentation.clone(),
            mixup: self.mixup,
            ema: self.ema,
            balance: self.balance,
            keep: self.keep,
            patience: self.patience,
            seed: self.seed,
            views: None,
        }
    }
}

impl Params for DistillParams {
    fn check(&self) -> Result<(), OutOfRange> {
        let within = |part: &'static str| move |refusal: OutOfRange| refusal.within(part);
        self.model.check().map_err(within("model"))?;
        self.optimizer.check().map_err(within("optimizer"))?;
        self.augmentation.check().map_err(within("augmentation"))?;
        self.test_views.check().map_err(within("test_views"))?;
        let decoupled = self.distillation.decoupled;
        for (key, value, least, most) in [
            ("epochs", f64::from(self.epochs), 1.0, 100_000.0),
            // Batch norm needs more than one clip to have a variance.
            ("batch_size", self.batch_size as f64, 2.0, 65_536.0),
            (
                "warmup_epochs",
                self.warmup_epochs,
                0.0,
                f64::from(self.epochs),
            ),
            ("weight_decay", self.weight_decay, 0.0, 1.0),
            ("clip_gradient", self.clip_gradient, 0.0, 1e9),
            ("label_smoothing", self.label_smoothing, 0.0, 0.99),
            ("mixup", self.mixup, 0.0, 100.0),
            ("ema", self.ema, 0.0, 0.999_999),
            ("validation_share", self.validation_share, 0.0, 0.5),
            ("distillation.lambda", self.distillation.lambda, 0.0, 1.0),
            (
                "distillation.temperature",
                self.distillation.temperature,
                0.1,
                1000.0,
            ),
            ("distillation.decoupled.weight", decoupled.weight, 0.0, 1e6),
            ("distillation.decoupled.target", decoupled.target, 0.0, 1e6),
            ("distillation.decoupled.others", decoupled.others, 0.0, 1e6),
            (
                "distillation.attention",
                self.distillation.attention,
                0.0,
                1e6,
            ),
            (
                "distillation.similarity",
                self.distillation.similarity,
                0.0,
                1e6,
            ),
            ("threads", self.threads as f64, 1.0, 1024.0),
        ] {
            let expected = format!("between {least} and {most}");
            OutOfRange::unless((least..=most).contains(&value), key, value, &expected)?;
        }
        let rate = self.learning_rate;
        let positive = rate > 0.0 && rate <= 100.0;
        OutOfRange::unless(positive, "learning_rate", rate, "above 0 and at most 100")?;
        let schedule = self.schedule.check(self.epochs, self.warmup_epochs);
        schedule.map_err(within("schedule"))?;
        let validated = self.validation_share > 0.0;
        let keeps = validated || self.keep == Keep::Last;
        OutOfRange::unless(keeps, "keep", "best", "last where `validation_share` is 0")?;
        let waits = validated || self.patience == 0;
        let patience = self.patience;
        OutOfRange::unless(
            waits,
            "patience",
            patience,
            "0 where `validation_share` is 0",
        )?;
        // In the mirror, nobody knows which class such a clip would have.
        let mirrors = !self.test_views.flip || self.augmentation.flip_never.is_empty();
        let expected = "false where `augmentation.flip_never` names classes";
        OutOfRange::unless(mirrors, "test_views.flip", true, expected)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(params: serde_json::Value) -> String {
        fedact_stage::resolve::<DistillParams>(&params)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn defaults_pass_their_own_check() {
        fedact_stage::resolve::<DistillParams>(&json!({})).unwrap();
    }

    #[test]
    fn a_part_of_the_model_can_be_set_alone() {
        let params = fedact_stage::resolve::<DistillParams>(&json!({"model": {"depth": 34}}));
        assert_eq!(
            params.unwrap()["model"],
            json!({"arch": "r3d", "depth": 34, "width": 16})
        );
    }

    #[test]
    fn values_out_of_range_are_named_with_their_path() {
        let text = refusal(json!({"model": {"depth": 20}}));
        assert_eq!(
            text,
            "`model.depth` is 20, but must be 10, 18, 26, 34 or 50"
        );
        let text = refusal(json!({"model": {"arch": "x3d", "depth": 18}}));
        assert!(
            text.starts_with("`model`: `depth` is no setting of `arch: x3d`"),
            "{text}"
        );
        let text = refusal(json!({"model": {"wdith": 4}}));
        assert!(
            text.contains("`model.wdith` (did you mean `width`?)"),
            "{text}"
        );
        let text = refusal(json!({"batch_size": 1}));
        assert_eq!(text, "`batch_size` is 1, but must be between 2 and 65536");
        let text = refusal(json!({"distillation": {"lambda": 1.5}}));
        assert!(text.starts_with("`distillation.lambda` is 1.5"), "{text}");
        let text = refusal(json!({"augmentation": {"scale": [0.9, 0.5]}}));
        assert!(
            text.starts_with("`augmentation.scale` is [0.9, 0.5]"),
            "{text}"
        );
        let text = refusal(json!({"epochs": 3, "warmup_epochs": 4}));
        assert!(text.starts_with("`warmup_epochs` is 4"), "{text}");
        let text = refusal(json!({"device": "tpu"}));
        assert!(text.contains("tpu") && text.contains("cuda"), "{text}");
        let text = refusal(json!({"precision": "float16"}));
        assert!(
            text.contains("float16") && text.contains("bfloat16"),
            "{text}"
        );
        let text = refusal(json!({"learning_rate": 0.0}));
        assert!(text.contains("above 0"), "{text}");
        for (params, words) in [
            (json!({"mixup": -0.1}), "`mixup` is -0.1"),
            (json!({"ema": 1.0}), "`ema` is 1"),
            (
                json!({"validation_share": 0.6}),
                "`validation_share` is 0.6",
            ),
            (
                json!({"test_views": {"crops": 4}}),
                "`test_views.crops` is 4",
            ),
            (
                json!({"schedule": {"shape": "steps"}}),
                "`schedule.milestones` is []",
            ),
            (
                json!({"augmentation": {"saturation": 2}}),
                "`augmentation.saturation` is 2",
            ),
            (
                json!({"augmentation": {"window": -1}}),
                "`augmentation.window` is -1",
            ),
        ] {
            let text = refusal(params);
            assert!(text.starts_with(words), "{text}");
        }
        let text = refusal(json!({"balance": "wieghts"}));
        assert!(
            text.contains("`balance`") && text.contains("weights"),
            "{text}"
        );
    }

    #[test]
    fn an_epoch_is_chosen_only_where_clips_are_kept_back_for_it() {
        let text = refusal(json!({"keep": "best"}));
        assert_eq!(
            text,
            "`keep` is best, but must be last where `validation_share` is 0"
        );
        let text = refusal(json!({"patience": 3}));
        assert_eq!(
            text,
            "`patience` is 3, but must be 0 where `validation_share` is 0"
        );
        let params = json!({"keep": "best", "patience": 3, "validation_share": 0.2});
        fedact_stage::resolve::<DistillParams>(&params).unwrap();
    }

    #[test]
    fn a_test_does_not_mirror_what_training_must_not() {
        let text = refusal(
            json!({"test_views": {"flip": true}, "augmentation": {"flip_never": ["Write"]}}),
        );
        assert!(text.starts_with("`test_views.flip` is true"), "{text}");
    }
}
