//! How a fleet stands, as far as its folder says: what its coordinator wrote last, and whether there is one.

use std::time::Duration;

use fedact_fleet::coordinator::{DeviceStatus, Status, is_served};
use fedact_fleet::engine::Presence;
use fedact_fleet::setup::Fleet;
use fedact_fleet::{FleetError, Name};
use serde::Serialize;

/// A coordinator writes once a second; one that has not for so long is busy, or not there.
const FRESH: Duration = Duration::from_secs(5);

/// Whether somebody serves the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coordinator {
    /// A process does, and says so.
    Running,
    /// A process does, and has not written for a while: it tests a model, or mixes a large one, or hangs.
    Busy,
    /// No process of this machine does.
    NotRunning,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Whether somebody serves it.
    pub coordinator: Coordinator,
    /// Seconds since the rest was written.
    pub age_seconds: f64,
    /// What the coordinator wrote last. Devices that were sent away since are revoked in it as well.
    #[serde(flatten)]
    pub status: Status,
}

impl Standing {
    /// Of the fleet's current run; nothing if there was none yet.
    ///
    /// # Errors
    /// A file of the fleet cannot be read.
    pub fn read(fleet: &Fleet) -> Result<Option<Self>, FleetError> {
        let folder = fleet.run_folder();
        let Some(age) = Status::age(&folder)? else {
            return Ok(None);
        };
        let mut status = Status::read(&folder)?;
        let roster = fleet.roster()?;
        let sent_away = |name: &Name| {
            let place = roster.place(name.as_str());
            place.is_some_and(|place| roster.devices[place].revoked)
        };
        for device in &mut status.devices {
            device.revoked |= sent_away(&device.name);
        }
        let coordinator = match (is_served(&folder), age > FRESH) {
            (true, false) => Coordinator::Running,
            (true, true) => Coordinator::Busy,
            (false, _) => Coordinator::NotRunning,
        };
        Ok(Some(Self {
            coordinator,
            age_seconds: age.as_secs_f64(),
            status,
        }))
    }

    /// How long the rest of the budget takes at the pace of the last minute; nothing for a run that is over or does not go on.
    pub fn seconds_left(&self) -> Option<f64> {
        let status = &self.status;
        let goes_on = status.finished.is_none() && self.coordinator != Coordinator::NotRunning;
        let devices = status.devices.iter();
        let updates: u64 = devices.map(|device| device.counted + device.refused).sum();
        let samples_of_an_update = status.samples as f64 / updates as f64;
        let samples_per_second = status.updates_per_second * samples_of_an_update;
        let rest = status.budget_samples.saturating_sub(status.samples) as f64;
        (goes_on && samples_per_second > 0.0).then(|| rest / samples_per_second)
    }
}

/// A device's state in one word.
pub fn state(device: &DeviceStatus) -> &'static str {
    match (device.revoked, device.presence) {
        (true, _) => "revoked",
        (false, Presence::Working) => "working",
        (false, Presence::Waiting) => "there",
        (false, Presence::Away) => "away",
    }
}

/// All words of [`state`].
pub const STATES: [&str; 4] = ["there", "working", "away", "revoked"];

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    /// A run of three devices in its midst.
    pub fn standing(coordinator: Coordinator) -> Standing {
        let device = |name: &str, presence: &str, counted: u64| {
            json!({
                "name": name, "presence": presence, "revoked": name == "pi-4", "task": null, "staleness": null,
                "silent_seconds": null, "counted": counted, "refused": 0, "lost": 1, "turned": 0,
            })
        };
        let mut devices = [
            device("nano-1", "working", 12),
            device("pi-3", "waiting", 8),
            device("pi-4", "away", 0),
        ];
        devices[0]["task"] = 57.into();
        devices[0]["clips"] = 24.into();
        devices[0]["staleness"] = 3.into();
        devices[0]["silent_seconds"] = 0.5.into();
        let status = json!({
            "fleet": "lab", "run": "00c0ffee00c0ffee", "seconds": 40.0, "version": 20, "samples": 200,
            "budget_samples": 1000, "tested": {"version": 16, "samples": 160, "top1": 0.71875, "loss": 0.83},
            "finished": null, "waits_for": "updates of nano-1", "trouble": null, "bytes_up": 1_572_864,
            "bytes_down": 12_582_912, "updates_per_second": 2.0, "mean_staleness": 1.5,
            "refused": {"norm-too-large": 2}, "turned": {"replayed": 1, "wrong-signature": 4}, "devices": devices,
        });
        Standing {
            coordinator,
            age_seconds: 0.25,
            status: serde_json::from_value(status).unwrap(),
        }
    }

    #[test]
    fn the_time_left_follows_from_the_pace_and_the_samples_of_an_update() {
        // 200 samples in 20 updates, two a second: 20 samples a second, and 800 are left.
        assert_eq!(standing(Coordinator::Running).seconds_left(), Some(40.0));
    }

    #[test]
    fn a_run_that_does_not_go_on_has_no_time_left() {
        assert_eq!(standing(Coordinator::NotRunning).seconds_left(), None);
        let mut finished = standing(Coordinator::Running);
        finished.status.finished = Some("budget-spent".into());
        assert_eq!(finished.seconds_left(), None);
        let mut stuck = standing(Coordinator::Busy);
        stuck.status.updates_per_second = 0.0;
        assert_eq!(stuck.seconds_left(), None);
        let mut new = standing(Coordinator::Running);
        new.status.samples = 0;
        for device in &mut new.status.devices {
            device.counted = 0;
        }
        assert_eq!(new.seconds_left(), None);
    }
}
