//! A run from its job to its output.

use std::path::PathBuf;

use fedact_clips::{ClipSet, Split};
use fedact_federation::history::HistoryWriter;
use fedact_federation::partition::Partition;
use fedact_nets::quantize::QuantizedModel;
use fedact_nets::score::Scores;
use fedact_nets::set_threads;
use fedact_stage::{Job, Metrics, Reporter, StageError};
use tch::Device;

use crate::drive::Outcome;
use crate::kept::Kept;
use crate::metrics::{metrics, write_metrics};
use crate::served::{self, Place};
use crate::worker::Worker;
use crate::world::World;
use crate::{FederateError, FederateParams, StrategyKind, Transport, rules};

/// The history's file name, in the output as among the checkpoints.
pub const HISTORY: &str = "history.jsonl";

/// A run that has come to its end.
pub struct Tuned {
    /// The network, with the final parameters.
    pub model: QuantizedModel,
    /// All scores on the test split.
    pub scores: Scores,
    /// What it came to.
    pub outcome: Outcome,
    /// How many clients there were.
    pub clients: usize,
    /// Where its history is.
    pub history: PathBuf,
    /// Where it is kept in a fleet, if devices of one did the work.
    pub place: Option<Place>,
}

/// Fine-tunes the model and writes it, with its history and metrics, into the job's output folder.
///
/// # Errors
/// Says which input, param or file is at fault.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: FederateParams = job.params()?;
    set_threads(params.threads);
    let metrics = fine_tune(job, &params, reporter)?;
    Ok(metrics)
}

fn fine_tune(
    job: &Job,
    params: &FederateParams,
    reporter: &Reporter,
) -> Result<Metrics, FederateError> {
    let clips = ClipSet::open(job.input("clips").map_err(missing)?)?;
    let model = model_of(job, params, &clips)?;
    not_empty(&clips, Split::Test, "test")?;
    let tuned = match params.transport {
        Transport::Simulation => simulate(job, params, model, &clips, reporter)?,
        Transport::Nats => served::serve(job, params, model, clips, reporter)?,
    };
    tell(params, &tuned.outcome, tuned.clients, reporter);
    write(job, params, tuned)
}

/// The job's model, with the classes of the clips.
///
/// # Errors
/// It cannot be read, or takes other clips than these.
pub fn model_of(
    job: &Job,
    params: &FederateParams,
    clips: &ClipSet,
) -> Result<QuantizedModel, FederateError> {
    let folder = job.input("model").map_err(missing)?;
    let model = QuantizedModel::load(folder, Device::Cpu)?;
    let model = with_classes_of(model, clips, params.seed)?;
    model.info.check_geometry(clips.dataset())?;
    model.info.check_classes(clips.dataset())?;
    Ok(model)
}

/// Fine-tunes with clients that are simulated here.
fn simulate(
    job: &Job,
    params: &FederateParams,
    model: QuantizedModel,
    clips: &ClipSet,
    reporter: &Reporter,
) -> Result<Tuned, FederateError> {
    not_empty(clips, Split::Train, "train")?;
    let pooled = clips.indices(Split::Train);
    let clients = params.shares(clips, params.clients);
    if clients.len() < params.clients {
        reporter.warn(format!(
            "{} has {} {} in its train split, so there are {} clients and not {}",
            clips.folder().display(),
            clients.len(),
            match params.partition {
                Partition::Subject => "subjects",
                _ => "clips",
            },
            clients.len(),
            params.clients
        ));
    }
    let length = params.task_length();
    let of_a_round: u64 = clients
        .iter()
        .map(|client| length.samples(client.indices.len() as u64))
        .sum();
    let passes_of_a_task = of_a_round as f64 / pooled.len() as f64;
    let budget_samples = rules::rounds(params, clients.len(), passes_of_a_task) * of_a_round;
    let budget_client_epochs = budget_samples * clients.len() as u64 / pooled.len() as u64;
    let mut world = World::new(params, &model, clips, clients, budget_samples)?;

    let progress = reporter.task("fine-tuning", budget_client_epochs, "client-epochs");
    let kept = Kept::read(&job.checkpoints);
    let history_path = job.checkpoints.join(HISTORY);
    let (history, kept) = match kept {
        Some(kept) => match HistoryWriter::resume(&history_path, kept.history_bytes()) {
            Ok(history) => (history, Some(kept)),
            Err(_) => (HistoryWriter::create(&history_path)?, None),
        },
        None => (HistoryWriter::create(&history_path)?, None),
    };
    let clients = std::mem::take(&mut world.clients);
    let mut worker = Worker::new(model, params, clips, &clients, &pooled, history, &progress)?;
    world.fill_in_steps(&worker);
    let checkpoints = &job.checkpoints;
    let outcome = match params.server_strategy() {
        None => {
            let kept = kept.and_then(Kept::central);
            world.at_the_centre(&mut worker, kept, checkpoints, reporter)?
        }
        Some(strategy) => {
            let kept = kept.and_then(Kept::simulation);
            world.with_clients(strategy, &mut worker, kept, checkpoints, reporter)?
        }
    };
    worker.sync_history()?;
    let (model, scores) = worker.finish(&outcome.parameters)?;
    Ok(Tuned {
        model,
        scores,
        outcome,
        clients: clients.len(),
        history: history_path,
        place: None,
    })
}

/// Writes everything into the job's output folder.
fn write(job: &Job, params: &FederateParams, tuned: Tuned) -> Result<Metrics, FederateError> {
    tuned.model.save(&job.output)?;
    fedact_onnx::write_all(&job.output, &job.output)?;
    let output = job.output.join(HISTORY);
    std::fs::copy(&tuned.history, &output).map_err(|source| FederateError::Write {
        path: output,
        source,
    })?;
    let metrics = metrics(params, &tuned.outcome, &tuned.scores);
    write_metrics(&job.output, &metrics, &tuned.scores)?;
    if let Some(place) = tuned.place {
        place.done()?;
    }
    Ok(metrics)
}

fn not_empty(clips: &ClipSet, split: Split, name: &'static str) -> Result<(), FederateError> {
    if !clips.indices(split).is_empty() {
        return Ok(());
    }
    Err(FederateError::EmptySplit {
        path: clips.folder().to_owned(),
        split: name,
    })
}

/// Says what the user must know of a run beside its metrics.
fn tell(params: &FederateParams, outcome: &Outcome, clients: usize, reporter: &Reporter) {
    let totals = &outcome.totals;
    if totals.refused > 0 {
        reporter.warn(format!(
            "{} of {} updates were refused: {}",
            totals.refused,
            totals.refused + totals.updates,
            outcome.refusals
        ));
    }
    if let Some(spent) = &outcome.privacy {
        reporter.warn(format!(
            "differential privacy: epsilon {:.2} at delta {:e} for the client that took part most \
             (against whoever sees the models, not the server); with {clients} clients the noise on \
             a step is {:.2} times the clipping norm in every parameter",
            spent.epsilon,
            spent.delta,
            noise_of_a_step(params, clients),
        ));
    }
}

/// The noise's standard deviation in a step, over the clipping norm.
fn noise_of_a_step(params: &FederateParams, clients: usize) -> f64 {
    let updates = match params.strategy {
        StrategyKind::Fedavg => params.clients_per_round.unwrap_or(clients),
        _ => params.updates_per_version(),
    };
    let noise = params.privacy.map_or(0.0, |privacy| privacy.noise);
    noise / updates.max(1) as f64
}

/// The runner checks inputs before it starts a stage; whoever calls the stage otherwise learns it here.
fn missing(error: StageError) -> FederateError {
    FederateError::MissingInput(error.message)
}

/// The model itself if its classes are those of the clips, else the same with a fresh last layer.
fn with_classes_of(
    model: QuantizedModel,
    clips: &ClipSet,
    seed: u64,
) -> Result<QuantizedModel, FederateError> {
    let classes = &clips.dataset().classes;
    if &model.info.classes == classes {
        return Ok(model);
    }
    Ok(model.with_new_head(classes.clone(), seed)?)
}
