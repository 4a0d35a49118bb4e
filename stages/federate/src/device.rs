//! One task of a device in a fleet: what a client of the simulation does, in a process of its own and on the clips of its own.
//!
//! The same clips (by class, id and pixels), base, numbers and threads give bit for bit what the simulation's client makes of them.

use std::path::Path;

use fedact_clips::{ClipSet, Split};
use fedact_federate_params::fleet::{TRAINED, TrainRequest, read_numbers, write_numbers};
use fedact_federation::aggregator::ClientId;
use fedact_federation::simulation::Assignment;
use fedact_nets::quantize::QuantizedModel;
use fedact_nets::{ModelInfo, set_threads};
use fedact_stage::{Job, Metrics, Reporter, StageError};
use tch::Device;

use crate::FederateError;
use crate::clients::batches_of;
use crate::trainer::Trainer;

/// The work of [`fedact_federate_params::fleet::TRAIN`]: trains the network of the request on the job's input `clips`, whose classes
/// are some of the network's, and writes its parameters into the job's output.
///
/// # Errors
/// A request that makes no sense; clips of other classes or of another geometry than the network takes; a file that cannot be read
/// or written.
pub fn train_task(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    Ok(train(job, reporter)?)
}

fn train(job: &Job, reporter: &Reporter) -> Result<Metrics, FederateError> {
    let request: TrainRequest =
        serde_json::from_value(job.params.clone()).map_err(FederateError::Task)?;
    set_threads(job.threads);
    let (params, model) = (&request.brief.params, request.brief.model);
    let info = ModelInfo::of(model, Path::new("the run's model.json"))?;
    let clips_folder = job
        .input("clips")
        .map_err(|error| FederateError::MissingInput(error.message))?;
    let clips = ClipSet::open(clips_folder)?.under(info.classes.clone())?;
    info.check_geometry(clips.dataset())?;
    let indices = clips.indices(Split::Train);
    if indices.is_empty() {
        return Err(FederateError::EmptySplit {
            path: clips_folder.to_owned(),
            split: Split::Train.name(),
        });
    }
    let client = request.client as ClientId;
    let loader = batches_of(client, &clips, &indices, params, &info)?;
    let base = read_numbers(&request.base).map_err(|source| FederateError::Read {
        path: request.base.clone(),
        source,
    })?;
    let model = QuantizedModel::from_parameters(info, &base, Device::Cpu)?;
    let progress = reporter.task("training", request.samples, "clips");
    let per_epoch = loader.samples() as u64;
    let epochs = request.samples.div_ceil(per_epoch);
    progress.detail(format!("{epochs} epochs of {per_epoch} clips"));
    let mut trainer = Trainer::new(model, params, |clips| progress.advance(clips));
    let assignment = Assignment {
        client,
        nth: 0,
        samples_before: request.samples_before,
        base_version: 0,
        samples: request.samples,
        progress: request.progress,
    };
    let trained = trainer.train(&assignment, &base, &loader)?;
    let path = job.output.join(TRAINED);
    write_numbers(&path, &trained).map_err(|source| FederateError::Write { path, source })?;
    Ok(Metrics::new())
}

#[cfg(test)]
mod tests;
