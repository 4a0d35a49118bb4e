//! Training: epochs of augmented batches, an objective, an optimizer, checkpoints.

mod checkpoint;
mod optimizer;
mod schedule;

use std::path::Path;
use std::time::Instant;

use fedact_clips::{ClipSet, ClipsError};
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::data::{Batch, Loader, LoaderSettings};
use crate::quantize::{Execution, QuantizedModel};
use crate::{Classifier, FloatModel, NetsError};

pub use fedact_recipe::{OptimizerSettings, Rule, TrainingSettings};
pub use optimizer::Optimizer;
pub use schedule::Schedule;

/// A network that can be trained.
pub trait Trainable: Classifier {
    /// The parameters and buffers by name.
    fn var_store(&self) -> &VarStore;

    /// What gradients are computed of, by the same names: where the network does not compute with the parameters
    /// themselves, its copies of them.
    fn leaves(&self) -> &VarStore {
        self.var_store()
    }

    /// Logits with gradients, batch norm in training mode.
    fn train_logits(&self, clips: &Tensor) -> Tensor;
}

impl Trainable for FloatModel {
    fn var_store(&self) -> &VarStore {
        self.var_store()
    }

    fn train_logits(&self, clips: &Tensor) -> Tensor {
        self.logits(clips, true)
    }
}

impl Trainable for QuantizedModel {
    fn var_store(&self) -> &VarStore {
        self.var_store()
    }

    fn train_logits(&self, clips: &Tensor) -> Tensor {
        self.logits(clips, Execution::Simulated)
    }
}

/// A finished epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u32,
    /// Mean of the objective over the epoch's clips, augmented.
    pub loss: f64,
    /// Share of them that was classified right while training, in 0..=1.
    pub train_accuracy: f64,
    /// Mean norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Of the test clips, where they were asked after this epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<TestRecord>,
    /// How fast this machine was; left out of what is published, so that equal training leaves equal files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
}

/// How long an epoch took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Seconds spent training.
    pub seconds: f64,
    /// Clips trained on.
    pub clips: u64,
}

/// What a network scored on clips that it was not trained on, in 0..=1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestRecord {
    /// See [`Scores::top1`](crate::score::Scores::top1).
    pub top1: f64,
    /// See [`Scores::top5`](crate::score::Scores::top5).
    pub top5: f64,
    /// See [`Scores::loss`](crate::score::Scores::loss).
    pub loss: f64,
}

/// How far an epoch is, after each batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Counted from 1.
    pub epoch: u32,
    /// Clips of this epoch that have been trained on.
    pub clips: usize,
    /// Mean of the objective in this epoch so far.
    pub loss: f64,
    /// Share of right answers in this epoch so far.
    pub accuracy: f64,
}

/// What a caller of [`fit`] can hear and say meanwhile.
pub trait Observer {
    /// The epochs that a checkpoint had already finished.
    fn resumed(&mut self, _finished: &[EpochRecord]) {}

    /// A batch is done.
    fn batch(&mut self, _progress: Progress) {}

    /// Whether training should end before it is complete; asked after each batch.
    fn stop_requested(&self) -> bool {
        false
    }

    /// An epoch is trained; tests the network, if it is to be tested after this one.
    ///
    /// # Errors
    /// Those of testing; they end the training.
    fn epoch(&mut self, _record: &EpochRecord) -> Result<Option<TestRecord>, NetsError> {
        Ok(None)
    }
}

/// Hears nothing, tests never.
impl Observer for () {}

/// Trains a network on the clips at `indices` and returns what each epoch came to.
///
/// `objective` turns a batch and the network's logits into the number to minimise (a scalar tensor,
/// the mean over the batch). With `checkpoints`, an existing folder, each finished epoch is saved, and
/// so is the batch after which the observer asks for a stop; a later call with the same settings goes
/// on there: the weights at the end are the same, bit for bit, as without the interruption, for the
/// same number of threads on the same machine.
///
/// # Errors
/// [`NetsError::Stopped`] where the observer asked for it. Too few clips for a batch, clips of another geometry, a loss or gradient that is no number, a
/// checkpoint that cannot be written, and what the observer's test refuses.
pub fn fit(
    network: &impl Trainable,
    clips: &ClipSet,
    indices: &[usize],
    settings: &TrainingSettings,
    checkpoints: Option<&Path>,
    mut objective: impl FnMut(&Batch, &Tensor) -> Tensor,
    observer: &mut impl Observer,
) -> Result<Vec<EpochRecord>, NetsError> {
    let info = network.info();
    info.check_geometry(clips.dataset())?;
    settings.optimizer.check()?;
    let (batch_size, seed) = (settings.batch_size, settings.seed);
    let augmentation = settings.augmentation.clone();
    let loader_settings = LoaderSettings {
        device: network.device(),
        ..LoaderSettings::training(batch_size, seed, augmentation, info)
    };
    let loader = Loader::new(clips, indices, loader_settings)?;
    let steps = loader.batches() as u64;
    let schedule = Schedule {
        peak: settings.learning_rate,
        warmup_steps: (settings.warmup_epochs * steps as f64).round() as u64,
        total_steps: steps * u64::from(settings.epochs),
    };
    let store = network.var_store();
    let (rule, decay) = (settings.optimizer.clone(), settings.weight_decay);
    let mut optimizer = Optimizer::with_leaves(store, network.leaves(), rule, decay);
    let Reached {
        mut records,
        mut sums,
    } = match checkpoints {
        Some(folder) => checkpoint::restore(folder, settings, store, &mut optimizer),
        None => Reached::default(),
    };
    observer.resumed(&records);
    for epoch in records.len() as u32 + 1..=settings.epochs {
        let started = Instant::now();
        let seconds_before = sums.seconds;
        loader.run_from(u64::from(epoch), sums.batches, |batch| {
            let rate = schedule.rate(optimizer.steps());
            let at = Place {
                epoch,
                batch: sums.batches + 1,
                indices: &batch.indices,
                clips,
            };
            let logits = network.train_logits(&batch.clips);
            let loss = objective(&batch, &logits);
            let value = at.finite("loss", loss.f_double_value(&[])?)?;
            optimizer.backward(&loss)?;
            let norm = optimizer.clip_gradients(settings.clip_gradient)?;
            at.finite("gradient norm", norm)?;
            optimizer.step(rate);
            sums.add(&batch, &logits, value, norm);
            sums.rate = rate;
            sums.seconds = seconds_before + started.elapsed().as_secs_f64();
            observer.batch(sums.progress(epoch));
            if !observer.stop_requested() {
                return Ok(());
            }
            if let Some(folder) = checkpoints {
                checkpoint::save(folder, settings, &records, &sums, store, &optimizer)?;
            }
            Err(NetsError::Stopped)
        })?;
        let mut record = std::mem::take(&mut sums).record(epoch);
        record.test = observer.epoch(&record)?;
        records.push(record);
        if let Some(folder) = checkpoints {
            checkpoint::save(folder, settings, &records, &sums, store, &optimizer)?;
        }
    }
    Ok(records)
}

/// Where training is, for the message when it diverges.
struct Place<'a> {
    epoch: u32,
    batch: usize,
    indices: &'a [usize],
    clips: &'a ClipSet,
}

impl Place<'_> {
    fn finite(&self, what: &'static str, value: f64) -> Result<f64, NetsError> {
        if value.is_finite() {
            return Ok(value);
        }
        let ids = self
            .indices
            .iter()
            .map(|index| Ok(self.clips.clip(*index)?.id));
        Err(NetsError::Diverged {
            what,
            value: value.to_string(),
            epoch: self.epoch,
            batch: self.batch,
            clips: ids.collect::<Result<Vec<_>, ClipsError>>()?.join(", "),
        })
    }
}

/// How far a training came: finished epochs, and the batches of the one after them.
#[derive(Default)]
struct Reached {
    records: Vec<EpochRecord>,
    sums: Sums,
}

/// What an epoch has come to so far.
#[derive(Default)]
struct Sums {
    seconds: f64,
    batches: usize,
    clips: usize,
    loss: f64,
    right: i64,
    norm: f64,
    rate: f64,
}

impl Sums {
    fn add(&mut self, batch: &Batch, logits: &Tensor, loss: f64, norm: f64) {
        let right = logits.argmax(1, false).eq_tensor(&batch.labels);
        self.right += right.sum(Kind::Int64).int64_value(&[]);
        self.batches += 1;
        self.clips += batch.indices.len();
        self.loss += loss * batch.indices.len() as f64;
        self.norm += norm;
    }

    fn progress(&self, epoch: u32) -> Progress {
        let clips = self.clips.max(1) as f64;
        Progress {
            epoch,
            clips: self.clips,
            loss: self.loss / clips,
            accuracy: self.right as f64 / clips,
        }
    }

    fn record(&self, epoch: u32) -> EpochRecord {
        let seconds = self.seconds;
        let Progress { loss, accuracy, .. } = self.progress(epoch);
        EpochRecord {
            epoch,
            loss,
            train_accuracy: accuracy,
            gradient_norm: self.norm / self.batches.max(1) as f64,
            learning_rate: self.rate,
            test: None,
            pace: Some(Pace {
                seconds,
                clips: self.clips as u64,
            }),
        }
    }
}
