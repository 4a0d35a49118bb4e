//! A network that is trained on one client's clips after another's.

use std::ops::Range;

use fedact_federation::simulation::Assignment;
use fedact_nets::data::Loader;
use fedact_nets::quantize::QuantizedModel;
use fedact_nets::{NetsError, loss};
use tch::{Device, Kind, Tensor};

use crate::sgd::Sgd;
use crate::{FederateError, FederateParams};

/// One network, whose parameters are replaced for each task: nothing is built anew. What a task comes to depends on nothing that was
/// trained before, unless the velocity goes on.
pub struct Trainer<'a> {
    model: QuantizedModel,
    tensors: Vec<Tensor>,
    velocity: Vec<Tensor>,
    /// Whether the velocity goes on from one task to the next: at the centre.
    keeps_velocity: bool,
    params: &'a FederateParams,
    /// Told after each step how many clips it took.
    stepped: Box<dyn Fn(u64) + Send + 'a>,
}

impl<'a> Trainer<'a> {
    /// A trainer with this network. `stepped` is told after each step how many clips it took.
    pub fn new(
        model: QuantizedModel,
        params: &'a FederateParams,
        stepped: impl Fn(u64) + Send + 'a,
    ) -> Self {
        let tensors = model.trainable();
        let velocity = tensors
            .iter()
            .map(|tensor| Tensor::zeros(tensor.size(), (Kind::Float, Device::Cpu)))
            .collect();
        Self {
            model,
            tensors,
            velocity,
            keeps_velocity: false,
            params,
            stepped: Box::new(stepped),
        }
    }

    /// The network as it is now.
    pub fn model(&mut self) -> &mut QuantizedModel {
        &mut self.model
    }

    /// The network.
    pub fn into_model(self) -> QuantizedModel {
        self.model
    }

    /// Gives the network these parameters.
    ///
    /// # Errors
    /// Another number of parameters than the network's.
    pub fn load(&mut self, parameters: &[f32]) -> Result<(), FederateError> {
        Ok(self.model.copy_parameters_from(parameters)?)
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

    /// Whether the velocity goes on from task to task.
    pub fn keeps_velocity(&self) -> bool {
        self.keeps_velocity
    }

    /// Does a task, whose clips this loader gives, from `base`. Gives the new parameters, flat.
    ///
    /// # Errors
    /// A batch that cannot be made, libtorch's.
    pub fn train(
        &mut self,
        task: &Assignment,
        base: &[f32],
        loader: &Loader<'_>,
    ) -> Result<Vec<f32>, FederateError> {
        self.load(base)?;
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
        let per_epoch = loader.samples() as u64;
        let (mut from, end) = (task.samples_before, task.samples_before + task.samples);
        while from < end {
            let (epoch, start) = (from / per_epoch, from % per_epoch);
            let stop = per_epoch.min(start + (end - from));
            self.train_stretch(loader, epoch, start..stop, sgd, &started_from)?;
            from += stop - start;
        }
        self.parameters()
    }

    /// Trains on the clips of an epoch whose places in its order are within `places`.
    fn train_stretch(
        &mut self,
        loader: &Loader<'_>,
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
            stepped,
            ..
        } = self;
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
            stepped((until - from) as u64);
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
