//! Devices that are added to the fleet when the run is under way.

use std::time::Instant;

use super::{Coordinator, Seen};
use crate::FleetError;
use crate::identity::{Device, Roster};
use crate::journal::Happened;

impl Coordinator {
    /// Takes in the devices that `read` has beyond those of the run, or notes that they take part from the next run on.
    pub(super) fn admit(&mut self, read: &Roster) -> Result<(), FleetError> {
        let known = self.roster.devices.len();
        let newcomers = read.devices.get(known..).unwrap_or_default();
        let strategy = &self.engine.aggregator().config().strategy;
        let over = self.engine.progress().finished.is_some();
        match self.settings.newcomers {
            Some(samples_per_task) if strategy.admits_newcomers() && !over => {
                for device in newcomers {
                    self.take_in(device, samples_per_task)?;
                }
            }
            _ => {
                let later = newcomers.iter().filter(|device| !device.revoked);
                self.latecomers = later.map(|device| device.name.clone()).collect();
            }
        }
        Ok(())
    }

    /// One device more. One that was revoked meanwhile as well, and in vain: places in the roster are numbers of clients.
    fn take_in(&mut self, device: &Device, samples_per_task: u64) -> Result<(), FleetError> {
        self.commit(Happened::Added { samples_per_task }, None)?;
        let client = self.devices.len();
        self.devices
            .push(Seen::new(Instant::now(), self.first_sequence));
        self.roster.devices.push(device.clone());
        self.due.insert(client);
        Ok(())
    }

    /// Whether this is the name of a device that takes part from the next run on.
    pub(super) fn is_latecomer(&self, device: &str) -> bool {
        self.latecomers.iter().any(|name| name.as_str() == device)
    }
}
