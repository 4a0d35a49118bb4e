//! Quantization-aware training: the rounded network learns to answer as a float one does.
//!
//! Jacob et al. 2018 (arXiv 1712.05877), section 3: what is computed in the forward pass is rounded as it will be, gradients pass
//! straight through the rounding, and the ranges of activations follow by a moving average. The loss is Hinton's divergence from the teacher's
//! answers and, where wanted, a share of the labels' cross-entropy. The path through the network is
//! [`Execution::Simulated`], the one that federated clients train on, too.
//!
//! What follows is not the range itself, as in the paper and in torch's `fused_moving_avg_obs_fake_quant`, but how much the
//! largest value has grown since the beginning. Calibration has cut off what is not worth a byte, and it
//! stays cut off. (That operation takes 1.4 times as long on a
//! CPU, of one thread and 8 clips of 16x8x28x28: its rounding is not vectorised.)

use fedact_recipe::{OptimizerSettings, Rule, TuneSettings};
use rand::seq::SliceRandom;
use tch::{Kind, Tensor, no_grad};

use super::super::fold::finite;
use super::super::network::{Rounding, Visitor};
use super::super::{Affine, Execution, Quantization, QuantizedModel};
use super::Examples;
use crate::random::{Purpose, stream};
use crate::train::Optimizer;
use crate::{Classifier, NetsError, loss};

/// How much a step moves the average of the largest values: as torch's observers by default.
const FOLLOWING: f64 = 0.01;

/// What is to be learned.
pub(super) struct Lesson<'a> {
    examples: &'a Examples,
    /// The teacher's logits, a tensor a batch.
    answers: Vec<Tensor>,
}

impl<'a> Lesson<'a> {
    /// The answers of the teacher, or else of the float network.
    ///
    /// # Errors
    /// Answers that are NaN or infinite.
    pub fn new(
        examples: &'a Examples,
        reference: &QuantizedModel,
        teacher: Option<&dyn Classifier>,
    ) -> Result<Self, NetsError> {
        let answer = |clips: &Tensor| match teacher {
            Some(teacher) => teacher.classify(clips),
            None => no_grad(|| reference.logits(clips, Execution::Float)),
        };
        let answers: Vec<Tensor> = examples.clips.iter().map(answer).collect();
        for logits in &answers {
            finite(logits, "logits of the teacher")?;
        }
        Ok(Self { examples, answers })
    }
}

/// Trains a model, and gives it the ranges that its activations have in the end. What comes out depends on the model, the lesson,
/// the settings, the seed and the number of threads alone.
///
/// # Errors
/// The watcher's, who is told of each step; a loss that is no number.
pub(super) fn tune(
    model: &mut QuantizedModel,
    lesson: &Lesson,
    settings: &TuneSettings,
    seed: u64,
    watch: &mut dyn FnMut(u64, u64) -> Result<(), NetsError>,
) -> Result<(), NetsError> {
    let clips = Tensor::cat(&lesson.examples.clips, 0);
    let labels = Tensor::cat(&lesson.examples.labels, 0);
    let answers = Tensor::cat(&lesson.answers, 0);
    let mut ranges = Ranges::new(model, &lesson.examples.clips);
    let rule = OptimizerSettings {
        rule: Rule::AdamW,
        ..OptimizerSettings::default()
    };
    let mut optimizer = Optimizer::new(model.var_store(), rule, 0.0);
    let mut order: Vec<i64> = (0..clips.size()[0]).collect();
    let batches = order.len().div_ceil(settings.batch_size) as u64;
    let total = batches * u64::from(settings.epochs);
    for epoch in 0..settings.epochs {
        order.shuffle(&mut stream(Purpose::Tuning, seed, epoch.into(), 0));
        for (batch, rows) in order.chunks(settings.batch_size).enumerate() {
            watch(optimizer.steps(), total)?;
            let rows = Tensor::from_slice(rows);
            let logits = model.forward(
                &clips.index_select(0, &rows),
                Execution::Simulated,
                &mut ranges,
            );
            let loss = objective(
                &logits,
                &answers.index_select(0, &rows),
                &labels.index_select(0, &rows),
                settings,
            );
            let value = loss.double_value(&[]);
            if !value.is_finite() {
                return Err(NetsError::Diverged {
                    what: "loss of `tune`",
                    value: value.to_string(),
                    epoch: epoch + 1,
                    batch: batch + 1,
                    clips: "of the calibration".to_owned(),
                });
            }
            optimizer.backward(&loss)?;
            let done = optimizer.steps() as f64 / total as f64;
            let falling = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
            optimizer.step(settings.learning_rate * falling);
            model.refresh_scales();
        }
    }
    watch(total, total)?;
    ranges.settle(model);
    Ok(())
}

/// `(1 − share)·T²·KL(teacher ‖ student) + share·CE(labels, student)`.
fn objective(
    logits: &Tensor,
    answers: &Tensor,
    labels: &Tensor,
    settings: &TuneSettings,
) -> Tensor {
    let TuneSettings {
        temperature,
        labels: share,
        ..
    } = *settings;
    let taught = (answers / temperature).softmax(-1, Kind::Float);
    let divergence = loss::divergence(logits, &taught, temperature);
    if share == 0.0 {
        return divergence;
    }
    divergence * (1.0 - share) + loss::cross_entropy(logits, labels, 0.0) * share
}

/// Rounds activations, in ranges that follow what they become.
pub(super) struct Ranges {
    /// As calibrated.
    calibrated: Vec<Affine>,
    /// As they are now.
    affines: Vec<Affine>,
    /// The mean of the batches' largest values at first, and as it has moved.
    largest: Vec<(f64, f64)>,
}

impl Ranges {
    /// Those of a model on clips in batches, at least one.
    pub fn new(model: &QuantizedModel, clips: &[Tensor]) -> Self {
        let affines = model.affines();
        let mut sums = Sums {
            affines: &affines,
            largest: vec![0.0; affines.len()],
        };
        for batch in clips {
            let _ = no_grad(|| model.forward(batch, Execution::Simulated, &mut sums));
        }
        let means = sums.largest.iter().map(|sum| sum / clips.len() as f64);
        Self {
            largest: means.map(|mean| (mean, mean)).collect(),
            calibrated: affines.clone(),
            affines,
        }
    }

    /// Takes in the largest value of a batch.
    fn follow(&mut self, place: usize, value: f64) {
        let (first, now) = &mut self.largest[place];
        *now += FOLLOWING * (value - *now);
        let growth = *now / *first;
        // Clips are what they are; a place that was dead all along has nothing to grow from.
        if place > 0 && growth.is_normal() && growth > 0.0 {
            let scale = f64::from(self.calibrated[place].scale) * growth;
            self.affines[place].scale = scale as f32;
        }
    }

    /// Gives a model the ranges as they are now.
    fn settle(&self, model: &mut QuantizedModel) {
        let mut quantization: Quantization = model.quantization().clone();
        for (activation, affine) in quantization.activations.iter_mut().zip(&self.affines) {
            activation.affine = *affine;
        }
        model.set_quantization(quantization);
    }
}

impl Visitor for Ranges {
    fn visit(&mut self, place: usize, value: Tensor, relu: bool) -> Tensor {
        self.follow(place, largest(&value));
        Rounding(&self.affines).visit(place, value, relu)
    }
}

/// Adds up the batches' largest values.
struct Sums<'a> {
    affines: &'a [Affine],
    largest: Vec<f64>,
}

impl Visitor for Sums<'_> {
    fn visit(&mut self, place: usize, value: Tensor, relu: bool) -> Tensor {
        self.largest[place] += largest(&value);
        Rounding(self.affines).visit(place, value, relu)
    }
}

fn largest(value: &Tensor) -> f64 {
    no_grad(|| value.detach().max().double_value(&[]))
}
