//! What the report says, as plain data, and how it becomes `index.html` and `metrics.json`.
//!
//! Nothing here knows about torch: the page is a pure function of [`Report`], so that it can be
//! tested and looked at without training anything (`cargo run -p fedact-evaluate --example specimen`).

mod comparison;
mod federated;
mod metrics;
mod page;
mod sections;
mod statistics;
mod target;

use fedact_chart::units::plural;

pub use comparison::{Pair, mcnemar};
pub use federated::{Client, Ending, Evaluation, FederatedRun, Strategy, Task, Update};
pub use statistics::{Interval, wilson};
pub use target::{AsyncVsSync, Crossing, crossing, final_accuracy, savings_curve, smoothed};

/// Everything the report is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The heading of the page.
    pub title: String,
    /// How accuracy was measured.
    pub tests: Tests,
    /// How latency was measured.
    pub timing: Timing,
    /// The clip sets that models were tested on.
    pub clip_sets: Vec<ClipSetSummary>,
    /// Every model, in the order of the pipeline file.
    pub models: Vec<ModelResult>,
    /// The histories of those models that have one, in the same order.
    pub runs: Vec<FederatedRun>,
}

/// What was asked in a test, and what was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tests {
    /// Views of each clip, whose answers were averaged.
    pub views: usize,
    /// The answers to all clips of a video were averaged, too, and videos counted.
    pub videos: bool,
}

impl Tests {
    /// What was counted: `clip` or `video`.
    pub fn unit(self) -> &'static str {
        if self.videos { "video" } else { "clip" }
    }

    /// So many of them, in words.
    pub fn count(self, number: usize) -> String {
        plural(number as u64, self.unit(), &format!("{}s", self.unit()))
    }

    /// Whether each clip was looked at once and counted for itself.
    pub fn single(self) -> bool {
        self.views == 1 && !self.videos
    }
}

/// How milliseconds per clip were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Clips in a batch.
    pub batch_size: usize,
    /// Timed batches, of which the median counts.
    pub repeats: usize,
    /// Threads that libtorch used.
    pub threads: usize,
}

/// What a reader should know about a clip set.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipSetSummary {
    /// The step that made it.
    pub name: String,
    /// Class names in the order of the labels.
    pub classes: Vec<String>,
    /// Clips for training.
    pub train_clips: usize,
    /// Clips for testing.
    pub test_clips: usize,
    /// What is counted in a test: these clips, or their videos ([`Tests::videos`]).
    pub tested: usize,
    /// People or recordings in the training clips.
    pub train_groups: usize,
    /// People or recordings in the test clips; none of them is in the training clips if the set was
    /// made well.
    pub test_groups: usize,
    /// Groups that are on both sides of the split.
    pub shared_groups: usize,
    /// Accuracy of always naming the class that is most frequent among the training clips, of what is
    /// counted in a test.
    pub majority: f64,
    /// That class.
    pub majority_class: usize,
    /// Frames of a clip.
    pub frames: usize,
    /// Height and width of a frame in pixels.
    pub size: (usize, usize),
    /// A clip of every class that has one.
    pub strips: Vec<Strip>,
}

impl ClipSetSummary {
    /// Accuracy of guessing.
    pub fn chance(&self) -> f64 {
        1.0 / self.classes.len().max(1) as f64
    }

    /// The name of a class.
    pub fn class(&self, index: usize) -> &str {
        self.classes.get(index).map_or("?", String::as_str)
    }
}

/// Frames of one clip side by side, as JPEG.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// Its class.
    pub class: usize,
    /// The clip's id.
    pub clip: String,
    /// How many frames are in the strip.
    pub frames: usize,
    /// Width and height of the whole strip in pixels.
    pub size: (u32, u32),
    /// The encoded picture.
    pub jpeg: Vec<u8>,
}

/// Which kind of artifact a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// Trained in float32.
    Float,
    /// Quantized to int8.
    Quantized,
    /// Quantized and then fine-tuned by a federation (or at the centre).
    Federated,
}

impl ModelKind {
    /// The word used in `metrics.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Quantized => "quantized",
            Self::Federated => "federated",
        }
    }
}

/// Accuracy on a test split; all but `confusion` are fractions from 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Accuracy {
    /// Share of clips whose most likely class is the true one.
    pub top1: f64,
    /// Share of clips whose true class is among the five most likely.
    pub top5: f64,
    /// Mean over the classes of the share of their clips that are right.
    pub mean_class: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Expected calibration error: how far confidence and accuracy are apart, from 0 to 1.
    pub ece: f64,
    /// `confusion[truth][predicted]`, in clips.
    pub confusion: Vec<Vec<u32>>,
}

/// One model, tested.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelResult {
    /// The step that made it.
    pub step: String,
    /// Its kind.
    pub kind: ModelKind,
    /// Its network in words, as in `R3D-18, width 16`.
    pub architecture: String,
    /// Index into [`Report::clip_sets`] of the set it was tested on.
    pub clip_set: usize,
    /// Accuracy as the model runs: in int8 (simulated) where it is quantized.
    pub accuracy: Accuracy,
    /// Whether each test clip (or video) was right, in the order of the clip set; for comparing models one by one.
    pub correct: Vec<bool>,
    /// Trained numbers in the network.
    pub parameters: u64,
    /// Bytes of its numbers as a device stores them: int8 weights where quantized.
    pub bytes: u64,
    /// Bytes of the same numbers in float32.
    pub float_bytes: u64,
    /// Milliseconds for a clip on this machine, the way the model runs.
    pub ms_per_clip: f64,
    /// For a quantized model: the same weights run in float32.
    pub as_float: Option<AsFloat>,
    /// For a quantized model: how its scales were found, and what was done beyond that, as in `mse, bias, round`.
    pub quantized_by: Option<String>,
    /// For a quantized model: the same weights run in int8 kernels, where this machine has them.
    pub executed: Option<Executed>,
    /// The models it was distilled from; `None` where the artifact does not say.
    pub teachers: Option<Vec<String>>,
    /// Its training, epoch by epoch, where the artifact has it.
    pub training: Vec<Epoch>,
}

/// A quantized model's weights, run in float32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AsFloat {
    /// Share of clips whose most likely class is the true one.
    pub top1: f64,
    /// Milliseconds for a clip.
    pub ms_per_clip: f64,
}

/// A quantized model, run in int8 kernels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Executed {
    /// Share of what was counted whose most likely class is the true one.
    pub top1: f64,
    /// Milliseconds for a clip.
    pub ms_per_clip: f64,
}

/// One epoch of training, as the model's artifact records it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: f64,
    /// Mean loss over the training clips.
    pub train_loss: Option<f64>,
    /// Share of the training clips, as augmented, that were right while training, 0 to 1.
    pub train_top1: Option<f64>,
    /// Top-1 on the test split, 0 to 1.
    pub test_top1: Option<f64>,
}

impl Report {
    /// The model of a step.
    pub fn model(&self, step: &str) -> Option<&ModelResult> {
        self.models.iter().find(|model| model.step == step)
    }

    /// The clip set that a model was tested on.
    pub fn clip_set(&self, model: &ModelResult) -> Option<&ClipSetSummary> {
        self.clip_sets.get(model.clip_set)
    }

    /// The first run of a strategy in the order of the pipeline file; one on real devices only where none is simulated.
    pub fn first(&self, strategy: Strategy) -> Option<&FederatedRun> {
        let mut runs = self.runs.iter().filter(|run| run.strategy == strategy);
        let simulated = runs.clone().find(|run| !run.real);
        simulated.or_else(|| runs.next())
    }

    /// The headline comparison: the first asynchronous run against the first synchronous one.
    ///
    /// # Errors
    /// Says in a sentence why the two cannot be compared.
    pub fn async_vs_sync(&self) -> Result<AsyncVsSync, String> {
        let missing = |what: &str| format!("no {what} run is among the models");
        let fedasync = self
            .first(Strategy::Async)
            .ok_or_else(|| missing("asynchronous (fedasync)"))?;
        let fedavg = self
            .first(Strategy::Sync)
            .ok_or_else(|| missing("synchronous (fedavg)"))?;
        AsyncVsSync::between(fedasync, fedavg)
    }

    /// A distilled model and the same network trained without a teacher: the last distilled float model
    /// that has such a twin (equal architecture, clip set and parameters, no teachers).
    pub fn distillation(&self) -> Option<(&ModelResult, &ModelResult)> {
        let float = || {
            self.models
                .iter()
                .filter(|model| model.kind == ModelKind::Float)
        };
        float()
            .rev()
            .filter(|model| {
                model
                    .teachers
                    .as_ref()
                    .is_some_and(|teachers| !teachers.is_empty())
            })
            .find_map(|student| {
                float()
                    .find(|twin| {
                        twin.teachers.as_ref().is_some_and(Vec::is_empty)
                            && twin.architecture == student.architecture
                            && twin.clip_set == student.clip_set
                            && twin.parameters == student.parameters
                    })
                    .map(|twin| (student, twin))
            })
    }

    /// `index.html`.
    pub fn html(&self) -> String {
        page::page(self)
    }

    /// `metrics.json`, with accuracies from 0 to 1.
    pub fn metrics(&self) -> serde_json::Value {
        metrics::metrics(self)
    }
}
