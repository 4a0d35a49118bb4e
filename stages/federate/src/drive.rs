//! A run from where it stands to its end, with checkpoints on the way.

use std::path::Path;

use fedact_federation::central::{CentralRun, CentralSetting};
use fedact_federation::energy::Energy;
use fedact_federation::simulation::{Simulation, Snapshot, Totals};
use fedact_federation::strategy::{Spent, Strategy};
use fedact_stage::Reporter;
use serde_json::{Value, json};

use crate::kept::{Kept, KeptCentral};
use crate::run::HISTORY;
use crate::worker::Worker;
use crate::world::World;
use crate::{FederateError, central_epochs_per_segment};

/// What a run came to.
pub struct Outcome {
    /// Why it ended, as a code.
    pub reason: &'static str,
    /// The final parameters.
    pub parameters: Vec<f32>,
    /// How long it took the devices: virtual seconds in a simulation, real ones in a fleet.
    pub seconds: f64,
    /// Passes of a mean client over its clips.
    pub client_epochs: f64,
    /// Clips processed.
    pub samples: u64,
    /// Versions made.
    pub version: u64,
    /// Bytes sent up.
    pub bytes_up: u64,
    /// Bytes sent down.
    pub bytes_down: u64,
    /// What devices, or clients and centre, have spent, modelled.
    pub energy: Energy,
    /// What else was counted.
    pub totals: Totals,
    /// Refused updates by reason.
    pub refusals: Value,
    /// Updates scaled down to a bound.
    pub clipped: u64,
    /// What the models tell of the client that took part most, where that is bounded.
    pub privacy: Option<Spent>,
}

impl World<'_> {
    /// Fine-tunes with the clients.
    ///
    /// # Errors
    /// Those of training and of files; [`Stopped`](fedact_stage::Stopped) once a checkpoint is kept.
    pub fn with_clients(
        &self,
        strategy: Strategy,
        worker: &mut Worker<'_>,
        kept: Option<Snapshot>,
        checkpoints: &Path,
        reporter: &Reporter,
    ) -> Result<Outcome, FederateError> {
        let (config, setting) = (self.config(strategy), self.setting());
        let resumed =
            kept.and_then(|kept| Simulation::resume(config.clone(), setting.clone(), kept));
        let mut simulation = match resumed {
            Some(simulation) => simulation,
            None => {
                worker.restart_history(&checkpoints.join(HISTORY))?;
                let parameters = worker.parameters()?;
                Simulation::begin(config, setting, parameters, self.start(), worker)?
            }
        };
        let handled =
            |simulation: &Simulation| simulation.totals().updates + simulation.totals().refused;
        let mut last_kept = handled(&simulation);
        let reason = loop {
            let end = simulation.step(worker)?;
            let samples = simulation.aggregator().samples();
            worker.show(samples, simulation.aggregator().version(), simulation.now());
            if let Some(reason) = end {
                break reason;
            }
            let go_on = reporter.go_on();
            if go_on.is_err() || handled(&simulation) >= last_kept + self.params.checkpoint_every {
                last_kept = handled(&simulation);
                let history_bytes = worker.sync_history()?;
                Kept::write_simulation(checkpoints, history_bytes, simulation.snapshot())?;
                go_on?;
            }
        };
        let totals = simulation.totals().clone();
        Ok(Outcome {
            reason: reason.code(),
            parameters: simulation.aggregator().model().to_vec(),
            seconds: simulation.now(),
            client_epochs: simulation.client_epochs(),
            samples: simulation.aggregator().samples(),
            version: simulation.aggregator().version(),
            bytes_up: totals.bytes_up,
            bytes_down: totals.bytes_down,
            refusals: serde_json::to_value(simulation.aggregator().refusals())
                .unwrap_or(Value::Null),
            energy: totals.energy,
            clipped: simulation.aggregator().clipped(),
            privacy: simulation.aggregator().privacy_spent(),
            totals,
        })
    }

    /// Fine-tunes at the centre.
    ///
    /// # Errors
    /// As [`with_clients`](Self::with_clients).
    pub fn at_the_centre(
        &self,
        worker: &mut Worker<'_>,
        kept: Option<KeptCentral>,
        checkpoints: &Path,
        reporter: &Reporter,
    ) -> Result<Outcome, FederateError> {
        let segment = central_epochs_per_segment(self.params, self.participants.len());
        let setting = CentralSetting {
            participants: self.participants.clone(),
            clip_bytes: self.clip_bytes.clone(),
            centre: self.centre.clone(),
            clock: self.centre_clock.clone(),
            budget_samples: self.budget_samples,
            evaluate_every_samples: segment * self.total_clips,
            samples_per_client_epoch: self.samples_per_client_epoch(),
            batch_size: self.params.batch_size as u64,
            target_top1: self.params.target_top1,
        };
        let kept = kept.filter(|kept| {
            kept.parameters.len() == self.layout.len()
                && worker
                    .first()
                    .train_at_the_centre(self.budget_samples, Some(&kept.velocity))
                    .is_some()
        });
        let mut central = match kept {
            Some(kept) => CentralRun::resume(setting, kept.state, kept.parameters.to_vec()),
            None => {
                worker.restart_history(&checkpoints.join(HISTORY))?;
                worker
                    .first()
                    .train_at_the_centre(self.budget_samples, None);
                let parameters = worker.parameters()?;
                CentralRun::begin(setting, parameters, self.start(), worker)?
            }
        };
        let per_update = self.params.local_epochs;
        let updates = |central: &CentralRun| (central.client_epochs() / per_update) as u64;
        let mut last_kept = updates(&central);
        let reason = loop {
            let end = central.step(worker)?;
            if let Some(reason) = end {
                break reason;
            }
            worker.show(central.samples(), central.version(), central.now());
            let go_on = reporter.go_on();
            if go_on.is_err() || updates(&central) >= last_kept + self.params.checkpoint_every {
                last_kept = updates(&central);
                let history_bytes = worker.sync_history()?;
                Kept::write_central(
                    checkpoints,
                    history_bytes,
                    &central,
                    worker.first().velocity(),
                )?;
                go_on?;
            }
        };
        worker.show(central.samples(), central.version(), central.now());
        Ok(Outcome {
            reason: reason.code(),
            parameters: central.parameters().to_vec(),
            seconds: central.now(),
            client_epochs: central.client_epochs(),
            samples: central.samples(),
            version: central.version(),
            bytes_up: central.bytes_up(),
            bytes_down: 0,
            energy: central.energy(),
            totals: Totals::default(),
            refusals: json!({}),
            clipped: 0,
            privacy: None,
        })
    }
}
