//! How much work a fleet is given.

use std::collections::BTreeSet;

use fedact_clips::{ClipSet, Split};
use fedact_federation::aggregator::Config;
use fedact_federation::layout::Layout;
use fedact_federation::strategy::Strategy;
use fedact_fleet::coordinator::OwnClips;
use fedact_stage::OutOfRange;

use crate::{FederateError, FederateParams, rules};

/// What the params come to for so many devices, before any has said how many clips it has.
#[derive(Debug, Clone)]
pub struct Plan {
    strategy: Strategy,
    /// Devices at the beginning.
    pub devices: usize,
    /// Clips of an ordinary task of a device that has not said how many it has, repeats counted.
    pub clips_per_task: u64,
    /// What follows from what the others say; none where all tasks have one length.
    pub own_clips: Option<OwnClips>,
    /// Clips of a pass of such a device.
    pub samples_per_client_epoch: f64,
    /// The budget in whole rounds of all devices.
    pub client_epochs: f64,
    /// The same in clips: of devices that have not said how many they have, until they do.
    pub budget_samples: u64,
}

impl Plan {
    /// The plan for a fleet of so many devices.
    ///
    /// # Errors
    /// A strategy that has no clients; rounds of more clients than the fleet has.
    pub fn of(
        params: &FederateParams,
        clips: &ClipSet,
        devices: usize,
    ) -> Result<Self, FederateError> {
        let strategy = params.server_strategy().ok_or_else(|| OutOfRange {
            key: "transport".into(),
            value: params.transport.name().into(),
            expected: "`simulation` under a strategy without clients".into(),
        })?;
        OutOfRange::unless(
            devices > 0,
            "the number of devices of the fleet",
            devices,
            "1 or more",
        )?;
        if let Some(clients) = params.clients_per_round {
            let expected = format!("at most {devices}, the devices of the fleet");
            OutOfRange::unless(clients <= devices, "clients_per_round", clients, &expected)?;
        }
        let train = clips.indices(Split::Train);
        let groups: BTreeSet<&str> = train.iter().map(|clip| clips.group(*clip)).collect();
        let clips_per_task = params.clips_per_task(train.len(), groups.len());
        let max_clips = params.max_clips(train.len(), groups.len());
        let passes = params.passes_of_a_task(train.len(), groups.len());
        let tasks = rules::rounds(params, devices, passes) * devices as u64;
        Ok(Self {
            strategy,
            devices,
            clips_per_task,
            own_clips: max_clips.map(|most| OwnClips {
                length: params.task_length(),
                most,
                tasks,
            }),
            samples_per_client_epoch: clips_per_task as f64 / passes,
            client_epochs: tasks as f64 * passes,
            budget_samples: tasks * clips_per_task,
        })
    }

    /// What the aggregator goes by.
    pub fn config(&self, params: &FederateParams, layout: Layout) -> Config {
        let samples = std::iter::repeat_n(self.clips_per_task, self.devices);
        rules::config(
            params,
            self.strategy.clone(),
            layout,
            samples,
            self.budget_samples,
        )
    }

    /// Clips between two tests.
    pub fn evaluate_every_samples(&self, params: &FederateParams) -> u64 {
        (params.evaluate_every as f64 * self.samples_per_client_epoch).round() as u64
    }

    /// Clips in passes of a mean device.
    pub fn client_epochs_of(&self, samples: u64) -> f64 {
        samples as f64 * self.client_epochs / self.budget_samples.max(1) as f64
    }
}
