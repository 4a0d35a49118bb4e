//! A run from its job to its output.

use fedact_clips::{ClipSet, Split};
use fedact_federation::history::HistoryWriter;
use fedact_federation::partition::Partition;
use fedact_nets::quantize::QuantizedModel;
use fedact_nets::set_threads;
use fedact_stage::{Job, Metrics, Reporter, StageError};
use tch::Device;

use crate::clients::shares;
use crate::drive::Outcome;
use crate::kept::Kept;
use crate::metrics::{metrics, write_metrics};
use crate::worker::Worker;
use crate::world::World;
use crate::{FederateError, FederateParams, StrategyKind};

/// The history's file name, in the output as among the checkpoints.
pub const HISTORY: &str = "history.jsonl";

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
    let model_folder = job.input("model").map_err(missing)?;
    let clips_folder = job.input("clips").map_err(missing)?;
    let clips = ClipSet::open(clips_folder)?;
    let model = with_classes_of(
        QuantizedModel::load(model_folder, Device::Cpu)?,
        &clips,
        params.seed,
    )?;
    let pooled = clips.indices(Split::Train);
    for (empty, split) in [
        (pooled.is_empty(), "train"),
        (clips.indices(Split::Test).is_empty(), "test"),
    ] {
        if empty {
            let path = clips.folder().to_owned();
            return Err(FederateError::EmptySplit { path, split });
        }
    }
    let clients = shares(&clips, params);
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
    let rounds = params
        .budget
        .client_epochs
        .div_ceil(clients.len() as u64 * u64::from(params.local_epochs));
    let budget_samples = rounds * u64::from(params.local_epochs) * pooled.len() as u64;
    let budget_client_epochs = rounds * u64::from(params.local_epochs) * clients.len() as u64;
    let mut world = World::new(params, &model, &clips, clients, budget_samples)?;

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
    let mut worker = Worker::new(model, params, &clips, &clients, &pooled, history, &progress)?;
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
    tell(params, &outcome, clients.len(), reporter);
    worker.sync_history()?;
    let (model, scores) = worker.finish(&outcome.parameters)?;
    model.save(&job.output)?;
    fedact_onnx::write_all(&job.output, &job.output)?;
    let output = job.output.join(HISTORY);
    std::fs::copy(&history_path, &output).map_err(|source| FederateError::Write {
        path: output,
        source,
    })?;
    let metrics = metrics(params, &outcome, &scores);
    write_metrics(&job.output, &metrics, &scores)?;
    Ok(metrics)
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
