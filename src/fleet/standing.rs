//! How a fleet stands, as far as its folder says: what its coordinator wrote last, and whether there is one.

use std::time::Duration;

use fedact_fleet::coordinator::{DeviceStatus, Status, is_served};
use fedact_fleet::engine::Presence;
use fedact_fleet::setup::Fleet;
use fedact_fleet::{FleetError, Name};
use serde::Serialize;

/// A coordinator writes once a second; one that has not for so long is busy, or not there.
const FRESH: Duration = Duration::from_secs(5);

/// A pace taken over less of the run's time than this says nothing.
const SETTLING_SECONDS: f64 = 1.0;

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

/// How fast a run goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Updates that counted.
    pub updates_per_second: f64,
    /// How long the rest of the budget takes at this pace; nothing for a run that is over or does not go on.
    pub seconds_left: Option<f64>,
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

    /// Updates that counted so far.
    pub fn counted(&self) -> u64 {
        self.status
            .devices
            .iter()
            .map(|device| device.counted)
            .sum()
    }

    /// How fast it has gone on since it stood like `earlier`; since its beginning without one, or if that was of
    /// another run. Time is the run's own, so pauses between two coordinators count for nothing.
    pub fn pace(&self, earlier: Option<&Self>) -> Option<Pace> {
        let earlier = earlier.filter(|earlier| earlier.status.run == self.status.run);
        let (seconds, samples, counted) = earlier.map_or((0.0, 0, 0), |earlier| {
            let status = &earlier.status;
            (status.seconds, status.samples, earlier.counted())
        });
        let elapsed = self.status.seconds - seconds;
        if elapsed < SETTLING_SECONDS {
            return None;
        }
        let samples_per_second = self.status.samples.saturating_sub(samples) as f64 / elapsed;
        let rest = self
            .status
            .budget_samples
            .saturating_sub(self.status.samples);
        let goes_on = self.status.finished.is_none()
            && self.coordinator != Coordinator::NotRunning
            && samples_per_second > 0.0;
        Some(Pace {
            updates_per_second: self.counted().saturating_sub(counted) as f64 / elapsed,
            seconds_left: goes_on.then(|| rest as f64 / samples_per_second),
        })
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
        devices[0]["staleness"] = 3.into();
        devices[0]["silent_seconds"] = 0.5.into();
        let status = json!({
            "fleet": "lab", "run": "00c0ffee00c0ffee", "seconds": 40.0, "version": 20, "samples": 200,
            "budget_samples": 1000, "tested": {"version": 16, "samples": 160, "top1": 0.71875, "loss": 0.83},
            "finished": null, "waits_for": "updates of nano-1", "trouble": null, "bytes_up": 1_572_864,
            "bytes_down": 2_097_152, "updates_per_second": 0.5, "mean_staleness": 1.5,
            "refused": {"norm-too-large": 2}, "turned": {"replayed": 1, "wrong-signature": 4}, "devices": devices,
        });
        Standing {
            coordinator,
            age_seconds: 0.25,
            status: serde_json::from_value(status).unwrap(),
        }
    }

    #[test]
    fn the_pace_is_that_since_an_earlier_look_at_the_same_run() {
        let mut now = standing(Coordinator::Running);
        let since_the_beginning = Pace {
            updates_per_second: 0.5,
            seconds_left: Some(160.0),
        };
        assert_eq!(now.pace(None), Some(since_the_beginning));
        let earlier = now.clone();
        assert_eq!(now.pace(Some(&earlier)), None, "no time has passed");
        now.status.seconds += 10.0;
        now.status.samples += 100;
        now.status.devices[0].counted += 10;
        let since_then = Pace {
            updates_per_second: 1.0,
            seconds_left: Some(70.0),
        };
        assert_eq!(now.pace(Some(&earlier)), Some(since_then));
        let mut other = earlier;
        other.status.run = "00c0ffee00c0fffe".into();
        assert_eq!(now.pace(Some(&other)), now.pace(None));
    }

    #[test]
    fn a_run_that_does_not_go_on_has_no_time_left() {
        let left = |standing: &Standing| standing.pace(None).unwrap().seconds_left;
        assert_eq!(left(&standing(Coordinator::NotRunning)), None);
        let mut finished = standing(Coordinator::Running);
        finished.status.finished = Some("budget-spent".into());
        assert_eq!(left(&finished), None);
        let mut stuck = standing(Coordinator::Running);
        stuck.status.samples = 0;
        assert_eq!(left(&stuck), None);
    }
}
