//! What the simulation needs from outside: real training and testing with libtorch.

use std::path::Path;

use fedact_clips::ClipSet;
use fedact_federation::aggregator::ClientId;
use fedact_federation::history::{HistoryWriter, Record};
use fedact_federation::partition::Share;
use fedact_federation::simulation::{Assignment, Host, Score, Training};
use fedact_nets::data::Loader;
use fedact_nets::quantize::QuantizedModel;
use fedact_nets::score::Scores;
use fedact_nets::set_threads;
use fedact_stage::Task;

use crate::clients::batches_of;
use crate::score::scores;
use crate::trainer::Trainer;
use crate::{FederateError, FederateParams, StrategyKind};

/// Trains on the clients' clips, with as many networks as may be trained side by side, tests with one of them, and keeps the history.
pub struct Worker<'a> {
    /// The one that tests, and trains at the centre.
    first: Trainer<'a>,
    others: Vec<Trainer<'a>>,
    params: &'a FederateParams,
    clips: &'a ClipSet,
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
        let loader = |indices, client| batches_of(client, clips, indices, params, &model.info);
        let mut loaders = Vec::with_capacity(clients.len() + 1);
        for (client, own) in clients.iter().enumerate() {
            loaders.push(loader(&own.indices, client)?);
        }
        loaders.push(loader(pooled, clients.len())?);
        // A step is no client-epoch, but it shows that the run goes on.
        let shown = |_| progress.advance(0);
        // At the centre there is one task at a time; of each client, too.
        let side_by_side = match params.strategy {
            StrategyKind::Central => 1,
            _ => params.workers.min(clients.len()),
        };
        let others = (1..side_by_side)
            .map(|_| Ok(Trainer::new(model.twin()?, params, shown)))
            .collect::<Result<_, FederateError>>()?;
        Ok(Self {
            first: Trainer::new(model, params, shown),
            others,
            samples_per_client_epoch: pooled.len() as f64 / clients.len() as f64,
            params,
            clips,
            loaders,
            history,
            progress,
            samples: 0,
            top1: 0.0,
        })
    }

    /// The network that trains at the centre.
    pub fn first(&mut self) -> &mut Trainer<'a> {
        &mut self.first
    }

    /// The parameters that the network has now, flat.
    ///
    /// # Errors
    /// libtorch's.
    pub fn parameters(&self) -> Result<Vec<f32>, FederateError> {
        self.first.parameters()
    }

    /// Steps of a client's pass over its clips.
    pub fn steps_per_pass(&self, client: ClientId) -> u64 {
        self.loaders[client].batches() as u64
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
        Ok((self.first.into_model(), scores))
    }

    fn client_epochs(&self, samples: u64) -> u64 {
        (samples as f64 / self.samples_per_client_epoch).floor() as u64
    }

    fn test(&mut self, parameters: &[f32]) -> Result<Scores, FederateError> {
        let progress = self.progress;
        scores(self.first.model(), parameters, self.clips, || {
            progress.advance(0);
        })
    }
}

impl Host for Worker<'_> {
    type Error = FederateError;

    fn train(&mut self, task: &Assignment, base: &[f32]) -> Result<Vec<f32>, FederateError> {
        let trained = self.first.train(task, base, &self.loaders[task.client])?;
        if self.first.is_at_the_centre() && !trained.iter().all(|number| number.is_finite()) {
            let samples = self.samples + task.samples;
            return Err(FederateError::Diverged { samples });
        }
        Ok(trained)
    }

    fn workers(&self) -> usize {
        1 + self.others.len()
    }

    fn train_together(&mut self, tasks: &[Training<'_>]) -> Result<Vec<Vec<f32>>, FederateError> {
        let Some((own, rest)) = tasks.split_first() else {
            return Ok(Vec::new());
        };
        let Self {
            first,
            others,
            loaders,
            params,
            ..
        } = self;
        let (loaders, threads) = (&*loaders, params.threads);
        let train = |trainer: &mut Trainer<'_>, task: &Training<'_>| {
            trainer.train(task.assignment, task.base, &loaders[task.assignment.client])
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = others
                .iter_mut()
                .zip(rest)
                .map(|(trainer, task)| {
                    scope.spawn(move || {
                        // libtorch keeps the number for every thread, and results depend on it.
                        set_threads(threads);
                        train(trainer, task)
                    })
                })
                .collect();
            let mut results = vec![train(first, own)];
            results.extend(others.into_iter().map(|other| {
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }));
            results.into_iter().collect()
        })
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
