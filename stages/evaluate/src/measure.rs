//! Accuracy and latency of one model.

use std::cell::OnceCell;
use std::time::Instant;

use fedact_clips::ClipSet;
use fedact_nets::data::{Loader, LoaderSettings};
use fedact_nets::quantize::{ExecutedModel, Execution, QuantizedModel};
use fedact_nets::score::{Scores, TestViews, predict_views};
use fedact_nets::{Classifier, ModelInfo, NetsError};
use tch::{Device, Kind, Tensor, no_grad};

use crate::report::Accuracy;

/// Untimed batches before the timed ones: memory is laid out and kernels are chosen in them.
const WARM_UP: usize = 2;

/// A quantized model's folded weights, run in float32.
pub struct InFloat<'a>(pub &'a QuantizedModel);

impl Classifier for InFloat<'_> {
    fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    fn device(&self) -> Device {
        self.0.device()
    }

    fn classify(&self, clips: &Tensor) -> Tensor {
        no_grad(|| self.0.logits(clips, Execution::Float))
    }
}

/// A quantized model in int8 kernels.
pub struct InInt8<'a> {
    model: ExecutedModel,
    /// For what the kernels do not need and a classifier has.
    simulated: &'a QuantizedModel,
    /// Why a batch was simulated and not run.
    failure: OnceCell<NetsError>,
}

impl<'a> InInt8<'a> {
    /// The model, compiled for this machine and tried on one clip.
    ///
    /// # Errors
    /// A libtorch that has no such kernels.
    pub fn of(simulated: &'a QuantizedModel) -> Result<Self, NetsError> {
        let model = ExecutedModel::compile(simulated)?;
        let shape = model.info.input.batch_shape(1);
        let nothing = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let _ = model.logits(&nothing)?;
        Ok(Self {
            model,
            simulated,
            failure: OnceCell::new(),
        })
    }

    /// Why some of what was classified was simulated and not run; none where all was run.
    pub fn failure(&self) -> Option<&NetsError> {
        self.failure.get()
    }
}

impl Classifier for InInt8<'_> {
    fn info(&self) -> &ModelInfo {
        &self.model.info
    }

    fn device(&self) -> Device {
        Device::Cpu
    }

    fn classify(&self, clips: &Tensor) -> Tensor {
        self.model.logits(clips).unwrap_or_else(|error| {
            // The first reason is enough.
            let _ = self.failure.set(error);
            self.simulated.classify(clips)
        })
    }
}

/// How models are tested on a clip set.
#[derive(Debug, Clone, Copy)]
pub struct Looks<'a> {
    /// The views whose answers are averaged.
    pub views: &'a TestViews,
    /// For each class the class that a mirrored clip belongs to.
    pub mirrored: &'a [usize],
    /// Clips computed at a time.
    pub batch_size: usize,
}

/// Accuracy on the clips at `indices`, and whether each of what is counted, clips or videos, was right.
///
/// # Errors
/// Clips that the model cannot take.
pub fn accuracy(
    classifier: &impl Classifier,
    set: &ClipSet,
    indices: &[usize],
    looks: Looks<'_>,
    seen: impl FnMut(usize),
) -> Result<(Accuracy, Vec<bool>), NetsError> {
    let predictions = predict_views(
        classifier,
        set,
        indices,
        looks.batch_size,
        looks.views,
        looks.mirrored,
        seen,
    )?;
    let scores = Scores::from(&predictions);
    let correct = predictions
        .rows()
        .iter()
        .zip(&predictions.indices)
        .map(|(row, index)| first_highest(row) == Some(set.label(*index)))
        .collect();
    let accuracy = Accuracy {
        top1: scores.top1,
        top5: scores.top5,
        mean_class: scores.mean_class_accuracy,
        loss: scores.loss,
        ece: scores.ece,
        confusion: scores.confusion,
    };
    Ok((accuracy, correct))
}

/// The class of the highest logit; of equal ones the first, as in [`Scores`].
fn first_highest(row: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (class, &logit) in row.iter().enumerate() {
        if best.is_none_or(|(_, highest)| logit > highest) {
            best = Some((class, logit));
        }
    }
    best.map(|(class, _)| class)
}

/// A batch of clips as a model takes them: the clips at `indices`, again from the start where there
/// are too few.
///
/// # Errors
/// Clips that the model cannot take.
pub fn batch(
    info: &ModelInfo,
    set: &ClipSet,
    indices: &[usize],
    size: usize,
) -> Result<Tensor, NetsError> {
    let repeated: Vec<usize> = indices.iter().copied().cycle().take(size).collect();
    let loader = Loader::new(set, &repeated, LoaderSettings::in_order(size, info))?;
    let mut tensor = None;
    loader.run(0, |batch| {
        tensor = Some(batch.clips);
        Ok::<(), NetsError>(())
    })?;
    tensor.ok_or_else(|| NetsError::Data("there is no clip to measure the time of".to_owned()))
}

/// Milliseconds for a clip: the median over `repeats` of the time for a batch, divided by its clips.
pub fn milliseconds_per_clip(
    classifier: &impl Classifier,
    batch: &Tensor,
    repeats: usize,
    mut done: impl FnMut(),
) -> f64 {
    let clips = batch.size().first().copied().unwrap_or(1).max(1) as f64;
    let mut times = Vec::with_capacity(repeats);
    for round in 0..WARM_UP + repeats {
        let start = Instant::now();
        let logits = classifier.classify(batch);
        // Reading a number waits for the work, should it be done elsewhere than on the CPU.
        let _ = logits.double_value(&[0, 0]);
        if round >= WARM_UP {
            times.push(start.elapsed().as_secs_f64());
            done();
        }
    }
    1000.0 * median(&mut times) / clips
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    match times.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => times[middle],
        _ => (times[middle - 1] + times[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_one_slow_batch() {
        assert_eq!(median(&mut [1.0, 100.0, 2.0]), 2.0);
        assert_eq!(median(&mut [3.0, 1.0]), 2.0);
        assert_eq!(median(&mut []), 0.0);
    }

    #[test]
    fn of_equal_logits_the_first_counts() {
        assert_eq!(first_highest(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(first_highest(&[f32::NAN, 3.0]), Some(0));
        assert_eq!(first_highest(&[]), None);
    }
}
