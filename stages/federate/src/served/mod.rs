//! A run whose clients are the devices of a fleet: the coordinator, in this process.
//!
//! The devices' own side is `fedact fleet join`. Whatever dies, the run's folder in the fleet holds all that was acknowledged, and
//! the next start of the step goes on from there.

mod brief;
mod examiner;
mod history;
mod outcome;
mod place;
mod plan;
mod show;

use std::sync::Arc;
use std::time::Duration;

use fedact_clips::ClipSet;
use fedact_federation::aggregator::EndReason;
use fedact_fleet::Stop;
use fedact_fleet::coordinator::{Coordinator, Ended, Settings};
use fedact_fleet::engine::clients_at_start;
use fedact_fleet::setup::Fleet;
use fedact_nets::quantize::QuantizedModel;
use fedact_stage::{Job, Reporter, Stopped};
use tokio::runtime::Builder;

use crate::run::{HISTORY, Tuned, model_of};
use crate::score::scores;
use crate::{FederateError, FederateParams, rules};

use examiner::Examiner;
use plan::Plan;

pub use place::Place;

/// How often it is looked whether the step should end early.
const LOOK: Duration = Duration::from_millis(100);

/// For the connection to end in good order.
const FAREWELL: Duration = Duration::from_secs(1);

/// Events of a coordinator for every update: that it came, and that its device can work again.
const EVENTS_OF_AN_UPDATE: u64 = 2;

/// Fine-tunes the model with the devices of the job's fleet.
///
/// # Errors
/// There is no fleet, or it cannot be served; [`Stopped`] once everything is kept.
pub fn serve(
    job: &Job,
    params: &FederateParams,
    model: QuantizedModel,
    clips: ClipSet,
    reporter: &Reporter,
) -> Result<Tuned, FederateError> {
    let no_fleet = || FederateError::NoFleet {
        step: job.step.clone(),
    };
    let fleet = Fleet::open(job.fleet.as_deref().ok_or_else(no_fleet)?)?;
    let roster = fleet.roster()?;
    let layout = rules::layout_of(&model);
    // A run that was begun goes on by the rules that it began with, however many devices the fleet has by now.
    let begun = clients_at_start(&Place::path(&fleet, &job.checkpoints)?)?;
    let mut plan = Plan::of(params, &clips, begun.unwrap_or(roster.devices.len()))?;
    let brief = brief::brief(&model.info, &clips, params)?;
    let place = Place::take(&fleet, &job.checkpoints)?;

    let unit = "client-epochs";
    let client_epochs = plan.client_epochs.round() as u64;
    let progress = Arc::new(reporter.task("fine-tuning", client_epochs, unit));
    let mut parameters = vec![0.0; model.parameter_count()];
    model.copy_parameters_to(&mut parameters)?;
    let clips = Arc::new(clips);
    let examiner = Examiner::new(model, Arc::clone(&clips), Arc::clone(&progress));
    let seconds = Duration::from_secs_f64;
    let settings = Settings {
        authority: fleet.authority()?,
        roster: Some(fleet.roster_path()),
        newcomers: Some(plan.clips_per_task),
        own_clips: plan.own_clips,
        codec: params.codec.clone(),
        feedback: params.error_feedback && !params.codec.is_exact(),
        differences: params.fleet.down.clone(),
        seed: params.seed,
        lease: seconds(params.fleet.lease_seconds),
        round_deadline: params.round_deadline_seconds.map(seconds),
        patience: params.fleet.patience_seconds.map(seconds),
        max_losses_in_a_row: rules::max_losses_in_a_row(plan.devices),
        checkpoint_every: EVENTS_OF_AN_UPDATE.saturating_mul(params.checkpoint_every),
        trainer: brief,
        ..Settings::default()
    };
    let config = plan.config(params, layout);
    let key = fleet.coordinator_key()?;
    let coordinator =
        Coordinator::open(place.folder(), roster, key, config, settings, || parameters)?;
    let mut coordinator = coordinator
        .judged(
            Box::new(examiner),
            plan.evaluate_every_samples(params),
            params.target_top1,
        )
        .telling(show::teller(progress, reporter.clone(), &plan));
    let reason = until_it_ends(&mut coordinator, reporter)?;
    plan.budget_samples = coordinator.engine().aggregator().config().budget_samples;
    let mut outcome = outcome::outcome(coordinator.engine(), reason, &plan, params);
    let members = &coordinator.engine().progress().members;
    let devices = coordinator.roster().devices.iter().zip(members);
    let devices: Vec<history::Device> = devices
        .map(|(device, member)| history::Device {
            name: device.name.to_string(),
            clips: member.clips,
        })
        .collect();
    // With it goes the examiner's network, and the model is read once more.
    drop(coordinator);
    let history = job.checkpoints.join(HISTORY);
    let folder = place.folder();
    // The last test came after the end.
    outcome.seconds = history::write(&history, folder, &devices, &plan, params, &outcome)?;
    let mut model = model_of(job, params, &clips)?;
    let scores = scores(&mut model, &outcome.parameters, &clips, || {})?;
    Ok(Tuned {
        model,
        scores,
        outcome,
        clients: devices.len(),
        history,
        place: Some(place),
    })
}

/// Serves the run to its end, on this thread: the number of libtorch's threads is kept for each of them.
fn until_it_ends(
    coordinator: &mut Coordinator,
    reporter: &Reporter,
) -> Result<EndReason, FederateError> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("fleet")
        .enable_all()
        .build()
        .map_err(FederateError::Runtime)?;
    let stop = Stop::new();
    let (asked, looking) = (stop.clone(), reporter.clone());
    runtime.spawn(async move {
        while looking.go_on().is_ok() {
            tokio::time::sleep(LOOK).await;
        }
        asked.set();
    });
    let ended = runtime.block_on(coordinator.serve(&stop));
    runtime.shutdown_timeout(FAREWELL);
    match ended? {
        Ended::Finished(reason) => Ok(reason),
        Ended::Stopped => Err(Stopped.into()),
    }
}
