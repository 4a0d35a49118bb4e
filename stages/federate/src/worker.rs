//! What the simulation needs from outside: real training and testing with libtorch.

use std::ops::Range;
use std::path::Path;

use fedact_clips::{ClipSet, Split};
use fedact_federation::aggregator::ClientId;
use fedact_federation::clock::derived_rng;
use fedact_federation::history::{HistoryWriter, Record};
use fedact_federation::partition::Share;
use fedact_federation::purpose;
use fedact_federation::simulation::{Assignment, Host, Score};
use fedact_nets::data::{Loader, LoaderSettings, Remainder};
use fedact_nets::quantize::QuantizedModel;
use fedact_nets::score::{Scores, predict};
use fedact_nets::{NetsError, loss};
use fedact_stage::Task;
use rand::RngCore;
use tch::{Device, Kind, Tensor};

use crate::sgd::Sgd;
use crate::{FederateError, FederateParams};

const TEST_BATCH: usize = 32;

/// Trains on every client's clips in turn with one network, whose parameters are replaced for each
/// task: nothing is built anew.
pub struct Worker<'a> {
    model: QuantizedModel,
    tensors: Vec<Tensor>,
    velocity: Vec<Tensor>,
    /// Whether the velocity goes on from one task to the next: at the centre.
    keeps_velocity: bool,
    params: &'a FederateParams,
    clips: &'a ClipSet,
    test: Vec<usize>,
    /// One for each client, then one for the centre.
    loaders: Vec<Loader<'a>>,
    history: HistoryWriter,
    progress: &'a Task,
    samples_per_client_epoch: f64,
    samples: u64,
    top1: f64,
}

impl<'a> Worker<'a> {
    /// A worker for the clips of `clients` and, after them, for all of them together.
    ///
    /// # Errors
    /// A batch cannot be made, a split is empty, the classes or the geometry do not fit.
    pub fn new(
        model: QuantizedModel,
        params: &'a FederateParams,
        clips: &'a ClipSet,
        clients: &'a [Share],
        pooled: &'a [usize],
        history: HistoryWriter,
        progress: &'a Task,
    ) -> Result<Self, FederateError> {
        model.info.check_geometry(clips.dataset())?;
        model.info.check_classes(clips.dataset())?;
        let loader = |indices: &'a [usize], client: ClientId| {
            let settings = LoaderSettings {
                shuffle: true,
                remainder: Remainder::Keep,
                augmentation: Some(params.augmentation.clone()),
                seed: derived_rng(params.seed, &[purpose::CLIENT_ORDER, client as u64]).next_u64(),
                ..LoaderSettings::in_order(params.batch_size, &model.info)
            };
            Loader::new(clips, indices, settings)
        };
        let mut loaders = Vec::with_capacity(clients.len() + 1);
        for (client, own) in clients.iter().enumerate() {
            loaders.push(loader(&own.indices, client)?);
        }
        loaders.push(loader(pooled, clients.len())?);
        let tensors = model.trainable();
        let velocity = tensors
            .iter()
            .map(|tensor| Tensor::zeros(tensor.size(), (Kind::Float, Device::Cpu)))
            .collect();
        Ok(Self {
            keeps_velocity: false,
            test: clips.indices(Split::Test),
            samples_per_client_epoch: pooled.len() as f64 / clients.len() as f64,
            model,
            tensors,
            velocity,
            params,
            clips,
            loaders,
            history,
            progress,
            samples: 0,
            top1: 0.0,
        })
    }

    /// The parameters that the network has now, flat.
    ///
    /// # Errors
    /// libtorch's.
    pub fn parameters(&self) -> Result<Vec<f32>, FederateError> {
        let mut flat = vec![0.0; self.model.parameter_count()];
        self.model.copy_parameters_to(&mut flat)?;
        Ok(flat)
    }

    /// Steps that a client's task takes.
    pub fn steps_per_task(&self, client: ClientId) -> u64 {
        self.loaders[client].batches() as u64 * u64::from(self.params.local_epochs)
    }

    /// From now on the velocity goes on from one task to the next, beginning with this one (flat), or
    /// at rest.
    ///
    /// Gives nothing if the velocity has another length than the parameters.
    pub fn keep_velocity(&mut self, velocity: Option<&[f32]>) -> Option<()> {
        self.keeps_velocity = true;
        let Some(mut rest) = velocity else {
            return Some(());
        };
        for tensor in &mut self.velocity {
            let (own, others) = rest.split_at_checked(tensor.numel())?;
            *tensor = Tensor::from_slice(own).reshape(tensor.size());
            rest = others;
        }
        rest.is_empty().then_some(())
    }

    /// The velocity, flat.
    pub fn velocity(&self) -> Vec<f32> {
        let mut flat = Vec::with_capacity(self.model.parameter_count());
        for tensor in &self.velocity {
            let mut own = vec![0.0; tensor.numel()];
            let length = own.len();
            tensor.copy_data(&mut own, length);
            flat.extend(own);
        }
        flat
    }

    /// Says that tasks with so many samples are done, for the progress bar.
    pub fn show(&mut self, samples: u64, version: u64, virtual_seconds: f64) {
        self.samples = samples;
        self.progress.detail(format!(
            "virtual {}, version {version}, top-1 {:.1}%",
            duration(virtual_seconds),
            self.top1 * 100.0
        ));
        self.progress.set(self.client_epochs(samples));
    }

    /// Begins the history anew: what is there belongs to a run that cannot be carried on.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn restart_history(&mut self, path: &Path) -> Result<(), FederateError> {
        self.history = HistoryWriter::create(path)?;
        Ok(())
    }

    /// Puts the history on the disk and says how long it is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sync_history(&mut self) -> Result<u64, FederateError> {
        Ok(self.history.sync()?)
    }

    /// The network with these parameters and all scores on the test split.
    ///
    /// # Errors
    /// libtorch's.
    pub fn finish(mut self, parameters: &[f32]) -> Result<(QuantizedModel, Scores), FederateError> {
        let scores = self.test(parameters)?;
        Ok((self.model, scores))
    }

    fn client_epochs(&self, samples: u64) -> u64 {
        (samples as f64 / self.samples_per_client_epoch).floor() as u64
    }

    fn test(&mut self, parameters: &[f32]) -> Result<Scores, FederateError> {
        self.model.copy_parameters_from(parameters)?;
        let predictions = predict(&self.model, self.clips, &self.test, TEST_BATCH, |_| {
            self.progress.advance(0);
        })?;
        Ok(Scores::from(&predictions))
    }

    /// Trains on the clips of an epoch whose places in its order are within `places`.
    fn train_stretch(
        &mut self,
        worker: ClientId,
        epoch: u64,
        places: Range<u64>,
        sgd: Sgd,
        base: &[Tensor],
    ) -> Result<(), FederateError> {
        let Self {
            model,
            tensors,
            velocity,
            params,
            loaders,
            progress,
            ..
        } = self;
        let loader = &loaders[worker];
        let batch_size = params.batch_size as u64;
        // The last batch may be larger than the others.
        let first = (places.start / batch_size).min(loader.batches().saturating_sub(1) as u64);
        let mut place = first * batch_size;
        let outcome = loader.run_from(epoch, first as usize, |batch| {
            let length = batch.labels.size1().map_err(NetsError::from)?;
            let from = places.start.saturating_sub(place) as i64;
            let until = (places.end - place).min(length as u64) as i64;
            place += length as u64;
            let clips = batch.clips.narrow(0, from, until - from);
            let labels = batch.labels.narrow(0, from, until - from);
            let logits = model.logits(&clips, params.execution);
            let loss = loss::cross_entropy(&logits, &labels, params.label_smoothing);
            loss.f_backward().map_err(NetsError::from)?;
            sgd.step(tensors, base, velocity);
            model.refresh_scales();
            progress.advance(0);
            if place >= places.end {
                return Err(Halt::Done);
            }
            Ok(())
        });
        match outcome {
            Ok(()) | Err(Halt::Done) => Ok(()),
            Err(Halt::Failed(error)) => Err(error.into()),
        }
    }
}

/// Why no further batch is wanted.
enum Halt {
    /// The stretch is done.
    Done,
    /// A step or a batch failed.
    Failed(NetsError),
}

impl From<NetsError> for Halt {
    fn from(error: NetsError) -> Self {
        Self::Failed(error)
    }
}

impl Host for Worker<'_> {
    type Error = FederateError;

    fn train(&mut self, task: &Assignment, base: &[f32]) -> Result<Vec<f32>, FederateError> {
        self.model.copy_parameters_from(base)?;
        let sgd = Sgd {
            learning_rate: self.params.learning_rate_at(task.progress),
            momentum: self.params.momentum,
            weight_decay: self.params.weight_decay,
            proximal_weight: if self.keeps_velocity {
                0.0
            } else {
                self.params.proximal_weight()
            },
            clip_gradient: self.params.clip_gradient,
        };
        let mut started_from = Vec::with_capacity(self.tensors.len());
        for (tensor, velocity) in self.tensors.iter_mut().zip(&mut self.velocity) {
            tensor.zero_grad();
            started_from.push(tensor.detach().copy());
            if !self.keeps_velocity {
                let _ = velocity.zero_();
            }
        }
        let per_epoch = self.loaders[task.client].samples() as u64;
        let (mut from, end) = (task.samples_before, task.samples_before + task.samples);
        while from < end {
            let (epoch, start) = (from / per_epoch, from % per_epoch);
            let stop = per_epoch.min(start + (end - from));
            self.train_stretch(task.client, epoch, start..stop, sgd, &started_from)?;
            from += stop - start;
        }
        let trained = self.parameters()?;
        if self.keeps_velocity && !trained.iter().all(|number| number.is_finite()) {
            let samples = self.samples + task.samples;
            return Err(FederateError::Diverged { samples });
        }
        Ok(trained)
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Score, FederateError> {
        let scores = self.test(parameters)?;
        self.top1 = scores.top1;
        Ok(Score {
            top1: scores.top1,
            loss: scores.loss,
        })
    }

    fn record(&mut self, record: Record) -> Result<(), FederateError> {
        Ok(self.history.write(&record)?)
    }
}

/// As in `48 s` or `12 min 5 s`.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    if whole < 60 {
        format!("{whole} s")
    } else {
        format!("{} min {} s", whole / 60, whole % 60)
    }
}
