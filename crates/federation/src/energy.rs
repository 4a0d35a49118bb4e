//! What a run costs its devices, in joules: modelled from the watts of their profiles, never measured.
//!
//! `E = P_transfer·(t_down + t_up) + P_train·t_train`, with the times of the virtual clock. Waiting between tasks costs
//! nothing here: the device would have been on anyway. A task that is lost has cost what it took until then.

use serde::{Deserialize, Serialize};

use crate::clock::TaskTimes;
use crate::device::DeviceProfile;

/// Power while bytes move, as a share of that in training, where the profile does not say.
const TRANSFER_SHARE: f64 = 0.25;

/// Joules by what they were spent on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// On downloads and uploads.
    pub transfer_joules: f64,
    /// On training.
    pub training_joules: f64,
}

impl Energy {
    /// What a task costs its device, up to its end or its loss.
    pub fn of_task(profile: &DeviceProfile, times: &TaskTimes) -> Self {
        let end = times.lost_at.unwrap_or(times.upload_end);
        let until = |time: f64| time.min(end);
        let transfer = (until(times.download_end) - times.start)
            + (until(times.upload_end) - until(times.training_end));
        let training = until(times.training_end) - until(times.download_end);
        let watts = profile.watts.value;
        let transfer_watts = profile
            .transfer_watts
            .as_ref()
            .map_or(TRANSFER_SHARE * watts, |figure| figure.value);
        Self {
            transfer_joules: transfer * transfer_watts,
            training_joules: training * watts,
        }
    }

    /// All of it.
    pub fn joules(&self) -> f64 {
        self.transfer_joules + self.training_joules
    }
}

impl std::ops::AddAssign for Energy {
    fn add_assign(&mut self, other: Self) {
        self.transfer_joules += other.transfer_joules;
        self.training_joules += other.training_joules;
    }
}

/// What each client of a run has spent, by its number; small enough for a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EnergyMeter {
    clients: Vec<Energy>,
}

impl EnergyMeter {
    /// Nothing spent yet by any of so many clients.
    pub fn new(clients: usize) -> Self {
        Self {
            clients: vec![Energy::default(); clients],
        }
    }

    /// Adds a task that ended or was lost.
    ///
    /// # Panics
    /// If there is no client of this number.
    pub fn add(&mut self, client: usize, profile: &DeviceProfile, times: &TaskTimes) {
        self.clients[client] += Energy::of_task(profile, times);
    }

    /// What each client has spent, by its number.
    pub fn clients(&self) -> &[Energy] {
        &self.clients
    }

    /// What all have spent.
    pub fn total(&self) -> Energy {
        let mut total = Energy::default();
        for client in &self.clients {
            total += *client;
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Catalogue;

    fn profile() -> DeviceProfile {
        let mut profile = Catalogue::built_in().profile("phone").unwrap().clone();
        profile.watts.value = 10.0;
        profile.transfer_watts.as_mut().unwrap().value = 2.0;
        profile
    }

    const TIMES: TaskTimes = TaskTimes {
        start: 100.0,
        download_end: 103.0,
        training_end: 113.0,
        upload_end: 118.0,
        lost_at: None,
    };

    #[test]
    fn a_task_costs_what_was_computed_by_hand() {
        // 3 s down and 5 s up at 2 W; 10 s of training at 10 W.
        let energy = Energy::of_task(&profile(), &TIMES);
        assert_eq!(
            (energy.transfer_joules, energy.training_joules),
            (16.0, 100.0)
        );
        assert_eq!(energy.joules(), 116.0);
        let mut silent = profile();
        silent.transfer_watts = None;
        assert_eq!(Energy::of_task(&silent, &TIMES).transfer_joules, 8.0 * 2.5);
    }

    #[test]
    fn a_lost_task_costs_what_it_took_until_then() {
        let lost = |at| {
            let lost_at = Some(at);
            Energy::of_task(&profile(), &TaskTimes { lost_at, ..TIMES })
        };
        assert_eq!(lost(101.0).joules(), 2.0);
        assert_eq!(lost(108.0).joules(), 6.0 + 50.0);
        assert_eq!(lost(114.0).joules(), 6.0 + 100.0 + 2.0);
        assert_eq!(lost(100.0), Energy::default());
    }

    #[test]
    fn a_meter_adds_up_by_client() {
        let mut meter = EnergyMeter::new(2);
        meter.add(1, &profile(), &TIMES);
        meter.add(1, &profile(), &TIMES);
        assert_eq!(meter.clients()[0], Energy::default());
        assert_eq!(meter.clients()[1].joules(), 232.0);
        assert_eq!(meter.total().joules(), 232.0);
    }
}
