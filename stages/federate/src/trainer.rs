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
    /// At the centre: the clips of the whole run, of which every task is a stretch.
    budget_samples: Option<u64>,
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
            budget_samples: None,
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

    /// From now on the tasks are the stretches of one run of so many clips: the velocity goes on from one to the next,
    /// beginning with this one (flat) or at rest, and the learning rate falls with each step. How long the
    /// stretches are, passes over the clips, then changes nothing in what is learned.
    ///
    /// Gives nothing if the velocity has another length than the parameters.
    pub fn train_at_the_centre(
        &mut self,
        budget_samples: u64,
        velocity: Option<&[f32]>,
    ) -> Option<()> {
        self.budget_samples = Some(budget_samples);
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

    /// Whether the tasks are stretches of one run.
    pub fn is_at_the_centre(&self) -> bool {
        self.budget_samples.is_some()
    }

    /// The constants of the step that begins with the clip `at` of all that this worker was given.
    fn sgd(&self, task: &Assignment, at: u64) -> Sgd {
        let (progress, proximal_weight) = match self.budget_samples {
            Some(budget) => (at as f64 / budget.max(1) as f64, 0.0),
            None => (task.progress, self.params.proximal_weight()),
        };
        Sgd {
            learning_rate: self.params.learning_rate_at(progress.min(1.0)),
            momentum: self.params.momentum,
            weight_decay: self.params.weight_decay,
            proximal_weight,
            clip_gradient: self.params.clip_gradient,
        }
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
        let at_rest = !self.is_at_the_centre();
        let mut started_from = Vec::with_capacity(self.tensors.len());
        for (tensor, velocity) in self.tensors.iter_mut().zip(&mut self.velocity) {
            tensor.zero_grad();
            started_from.push(tensor.detach().copy());
            if at_rest {
                let _ = velocity.zero_();
            }
        }
        let per_epoch = loader.samples() as u64;
        let (mut from, end) = (task.samples_before, task.samples_before + task.samples);
        while from < end {
            let (epoch, start) = (from / per_epoch, from % per_epoch);
            let stop = per_epoch.min(start + (end - from));
            self.train_stretch(task, loader, epoch, start..stop, &started_from)?;
            from += stop - start;
        }
        self.parameters()
    }

    /// Trains on the clips of an epoch whose places in its order are within `places`.
    fn train_stretch(
        &mut self,
        task: &Assignment,
        loader: &Loader<'_>,
        epoch: u64,
        places: Range<u64>,
        base: &[Tensor],
    ) -> Result<(), FederateError> {
        let params = self.params;
        let per_epoch = loader.samples() as u64;
        let mut at = epoch * per_epoch + places.start;
        let places = places.start as usize..places.end as usize;
        loader.run_within(epoch, places, |batch| {
            let sgd = self.sgd(task, at);
            let logits = self.model.logits(&batch.clips, params.execution);
            let loss = loss::cross_entropy(&logits, &batch.labels, params.label_smoothing);
            loss.f_backward()?;
            sgd.step(&mut self.tensors, base, &mut self.velocity);
            self.model.refresh_scales();
            let clips = batch.indices.len() as u64;
            at += clips;
            (self.stepped)(clips);
            Ok::<(), NetsError>(())
        })?;
        Ok(())
    }
}
