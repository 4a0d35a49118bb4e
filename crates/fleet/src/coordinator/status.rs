//! `status.json`: how the run stands, for whoever looks.

use std::collections::BTreeMap;
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
    /// Bytes of updates that this process kept.
    pub bytes_up: u64,
    /// Updates that were read and did not count, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Messages that this process turned away before that, by reason.
    pub turned: BTreeMap<String, u64>,
    /// The devices.
    pub devices: Vec<DeviceStatus>,
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
            bytes_up: self.bytes_up,
            refused: progress.refused.clone(),
            turned: turned
                .map(|(reason, count)| (reason.code().to_owned(), *count))
                .collect(),
            devices,
        }
    }

    /// Writes the status, once a second unless it must be now.
    pub(super) fn write_status(&mut self, now: bool) -> Result<(), FleetError> {
        let recent = |written: &Instant| written.elapsed() < Duration::from_secs(1);
        if !now && self.status_written.as_ref().is_some_and(recent) {
            return Ok(());
        }
        let path = self.engine.folder().join(NAME);
        let text = serde_json::to_vec_pretty(&self.status()).unwrap_or_default();
        files::write(&path, &[&text], files::Lasting::Derived)?;
        self.status_written = Some(Instant::now());
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
