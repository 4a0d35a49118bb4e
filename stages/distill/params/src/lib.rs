//! Params of the stage `distill`, and its definition: all that planning needs of it, without torch and FFmpeg.
//!
//! The work is in `fedact-distill`, one folder up.

mod definition;

use fedact_recipe::{Architecture, Augmentation, OptimizerSettings, Precision, TrainingSettings};
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
    /// Passes over the training clips.
    pub epochs: u32,
    /// Clips in a batch; those that do not fill one are left out of the epoch, others each time.
    pub batch_size: usize,
    /// The highest learning rate. It is reached after the warm-up and falls to 0 like half a cosine.
    pub learning_rate: f64,
    /// Epochs in which the learning rate rises in a line.
    pub warmup_epochs: f64,
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
    /// How teachers are listened to, where there are any.
    pub distillation: Distillation,
    /// The test clips are asked after every so many epochs, and after the last; 0 is after the last
    /// alone. The answers are reported and change nothing: the model of the last epoch is kept,
    /// because choosing an epoch by its test accuracy would make that accuracy a training result.
    pub test_every: u32,
    /// Initial weights, order and views depend on it.
    pub seed: u64,
    /// Threads to compute with. The last bits of the weights depend on the number.
    pub threads: usize,
    /// Where to compute. There is no `auto`: what a result depends on stands in the params.
    pub device: ComputeDevice,
    /// In which numbers to compute; parameters are kept and saved in 32 bits, and tested in them.
    pub precision: Precision,
}

/// How teachers are listened to: `(1-λ)·CE(y, z_s) + λ·T²·KL(softmax(z_t/T) ‖ softmax(z_s/T))`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Distillation {
    /// λ: 0 listens to the labels alone, 1 to the teachers alone.
    pub lambda: f64,
    /// T: higher temperatures show more of what the teachers think of the wrong classes.
    pub temperature: f64,
}

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

impl Default for DistillParams {
    fn default() -> Self {
        Self {
            model: Architecture::default(),
            epochs: 20,
            batch_size: 16,
            learning_rate: 0.05,
            warmup_epochs: 2.0,
            weight_decay: 5e-4,
            clip_gradient: 5.0,
            label_smoothing: 0.1,
            optimizer: OptimizerSettings::default(),
            augmentation: Augmentation::default(),
            distillation: Distillation::default(),
            test_every: 1,
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
            weight_decay: self.weight_decay,
            clip_gradient: self.clip_gradient,
            optimizer: self.optimizer.clone(),
            augmentation: self.augmentation.clone(),
            seed: self.seed,
        }
    }
}

impl Params for DistillParams {
    fn check(&self) -> Result<(), OutOfRange> {
        let within = |part: &'static str| move |refusal: OutOfRange| refusal.within(part);
        self.model.check().map_err(within("model"))?;
        self.optimizer.check().map_err(within("optimizer"))?;
        self.augmentation.check().map_err(within("augmentation"))?;
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
            ("distillation.lambda", self.distillation.lambda, 0.0, 1.0),
            (
                "distillation.temperature",
                self.distillation.temperature,
                0.1,
                1000.0,
            ),
            ("threads", self.threads as f64, 1.0, 1024.0),
        ] {
            let expected = format!("between {least} and {most}");
            OutOfRange::unless((least..=most).contains(&value), key, value, &expected)?;
        }
        let rate = self.learning_rate;
        let positive = rate > 0.0 && rate <= 100.0;
        OutOfRange::unless(positive, "learning_rate", rate, "above 0 and at most 100")
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
    }
}
