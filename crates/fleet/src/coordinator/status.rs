//! `status.json`: how the run stands, for whoever looks.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Coordinator;
use crate::engine::{Presence, Tested};
use crate::files::{self, Locked};
use crate::{FleetError, Name};

/// How a run stands. Written once a second, and when the coordinator ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The fleet.
    pub fleet: Name,
    /// The run, in hexadecimal.
    pub run: String,
    /// Seconds since it began.
    pub seconds: f64,
    /// The model's version.
    pub version: u64,
    /// Samples of tasks that reached the coordinator.
    pub samples: u64,
    /// The run ends when they are so many.
    pub budget_samples: u64,
    /// What the last test said, where models are tested.
    pub tested: Option<Tested>,
    /// Why the run is over, if it is.
    pub finished: Option<String>,
    /// What it waits for, if it is not.
    pub waits_for: Option<String>,
    /// The last thing that went wrong.
    pub trouble: Option<String>,
    /// Bytes of the updates that came.
    pub bytes_up: u64,
    /// Bytes of models that their devices fetched for them.
    pub bytes_down: u64,
    /// Updates that were read in the last minute, over its seconds.
    pub updates_per_second: f64,
    /// Versions made between an update's base and its arrival, the mean over those that counted.
    pub mean_staleness: Option<f64>,
    /// Updates that were read and did not count, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Messages that this process turned away before that, by reason.
    pub turned: BTreeMap<String, u64>,
    /// The devices.
    pub devices: Vec<DeviceStatus>,
    /// Devices that were added when the run was under way, and take part from the next one on.
    #[serde(default)]
    pub next_run: Vec<Name>,
}

/// How a device stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Its name.
    pub name: Name,
    /// Whether it is there.
    pub presence: Presence,
    /// Whether it was sent away.
    pub revoked: bool,
    /// Clips that it has, if it has said so; no more than are counted.
    #[serde(default)]
    pub clips: Option<u64>,
    /// Its open task.
    pub task: Option<u64>,
    /// Versions made since that task's base.
    pub staleness: Option<u64>,
    /// Seconds since it was heard, if this process heard it.
    pub silent_seconds: Option<f64>,
    /// Updates that counted.
    pub counted: u64,
    /// Updates that did not.
    pub refused: u64,
    /// Tasks that it lost.
    pub lost: u64,
    /// Messages on its subject that this process turned away.
    pub turned: u64,
}

const NAME: &str = "status.json";

/// Whether a coordinator has the run in this folder open now, on this machine.
pub fn is_served(folder: &Path) -> bool {
    Locked::is_taken(folder)
}

/// Whoever is told how the run stands.
pub(super) struct Told(pub Box<dyn FnMut(&Status) + Send>);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

/// How fast updates come: their number at the times when the status was written, for a minute back.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    const WINDOW: Duration = Duration::from_secs(60);

    /// Takes down how many there are now.
    fn note(&mut self, now: Instant, updates: u64) {
        self.0.push_back((now, updates));
        while self.0.len() > 2 && now.duration_since(self.0[0].0) > Self::WINDOW {
            self.0.pop_front();
        }
    }

    /// Updates a second.
    fn per_second(&self) -> f64 {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else {
            return 0.0;
        };
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        if seconds > 0.0 {
            (last.1 - first.1) as f64 / seconds
        } else {
            0.0
        }
    }
}

impl Status {
    /// How long ago the coordinator of a run wrote last; nothing if it never did. A clock that was set back makes
    /// no negative times.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn age(folder: &Path) -> Result<Option<Duration>, FleetError> {
        let path = folder.join(NAME);
        match std::fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(written) => Ok(Some(written.elapsed().unwrap_or_default())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FleetError::file(&path)(error)),
        }
    }

    /// Reads what the coordinator of a run wrote last.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read(folder: &Path) -> Result<Self, FleetError> {
        let path = folder.join(NAME);
        let bytes = std::fs::read(&path).map_err(FleetError::file(&path))?;
        serde_json::from_slice(&bytes).map_err(|error| FleetError::Invalid {
            path,
            reason: error.to_string(),
        })
    }

    /// The devices that were added since an earlier look at the same run, and whether they take part in this run or from the next
    /// one on.
    pub fn added_since<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'a Name, bool)> + 'a {
        let taken_in = self.devices.iter().skip(before.devices.len());
        let later = self.next_run.iter();
        let later = later.filter(|name| !before.next_run.contains(name));
        let taken_in = taken_in.map(|device| (&device.name, true));
        taken_in.chain(later.map(|name| (name, false)))
    }
}

impl Coordinator {
    /// How the run stands.
    pub fn status(&self) -> Status {
        let (progress, aggregator) = (self.engine.progress(), self.engine.aggregator());
        let turned = self.turned.iter();
        let members = self
            .roster
            .devices
            .iter()
            .zip(&progress.members)
            .enumerate();
        let devices = members.map(|(client, (device, member))| DeviceStatus {
            name: device.name.clone(),
            presence: member.presence,
            revoked: device.revoked,
            clips: member.clips,
            task: member.assignment.map(|open| open.task),
            staleness: member
                .assignment
                .map(|open| aggregator.version() - open.version),
            silent_seconds: self.silence(client),
            counted: member.counted,
            refused: member.refused,
            lost: member.lost,
            turned: self.devices[client].turned,
        });
        let devices: Vec<DeviceStatus> = devices.collect();
        Status {
            fleet: self.roster.fleet.clone(),
            run: format!("{:016x}", self.engine.run()),
            seconds: self.now(),
            version: aggregator.version(),
            samples: aggregator.samples(),
            budget_samples: aggregator.config().budget_samples,
            tested: progress.tested,
            finished: progress.finished.map(|reason| reason.code().to_owned()),
            waits_for: progress.finished.is_none().then(|| waits_for(&devices)),
            trouble: self.trouble.clone(),
            bytes_up: progress.bytes_up,
            bytes_down: progress.bytes_down,
            updates_per_second: self.pace.per_second(),
            mean_staleness: progress.mean_staleness(),
            refused: progress.refused.clone(),
            turned: turned
                .map(|(reason, count)| (reason.code().to_owned(), *count))
                .collect(),
            devices,
            next_run: self.latecomers.clone(),
        }
    }

    /// Writes the status, once a second unless it must be now.
    pub(super) fn write_status(&mut self, now: bool) -> Result<(), FleetError> {
        let recent = |written: &Instant| written.elapsed() < Duration::from_secs(1);
        if !now && self.status_written.as_ref().is_some_and(recent) {
            return Ok(());
        }
        let path = self.engine.folder().join(NAME);
        let members = self.engine.progress().members.iter();
        let updates = members.map(|member| member.counted + member.refused).sum();
        let moment = Instant::now();
        self.pace.note(moment, updates);
        let status = self.status();
        let text = serde_json::to_vec_pretty(&status).unwrap_or_default();
        files::write(&path, &[&text], files::Lasting::Derived)?;
        self.status_written = Some(moment);
        if let Some(Told(told)) = &mut self.told {
            told(&status);
        }
        Ok(())
    }
}

fn waits_for(devices: &[DeviceStatus]) -> String {
    let named = |presence: Presence| {
        let those = devices
            .iter()
            .filter(move |device| device.presence == presence);
        those.map(|device| device.name.as_str()).collect::<Vec<_>>()
    };
    let working = named(Presence::Working);
    if !working.is_empty() {
        return format!("updates of {}", working.join(", "));
    }
    let away = named(Presence::Away);
    if away.len() == devices.len() {
        return format!("a device: none of {} is there", devices.len());
    }
    format!("{}, whom the strategy wants next", away.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_minute() {
        let mut pace = Pace::default();
        assert_eq!(pace.per_second(), 0.0);
        let begin = Instant::now();
        // Ten a second for a minute, then one a second for another.
        for second in 0..=120 {
            let updates = if second < 60 {
                10 * second
            } else {
                540 + second
            };
            pace.note(begin + Duration::from_secs(second), updates);
        }
        assert_eq!(pace.per_second(), 1.0);
        assert!(pace.0.len() <= 61);
    }
}
