//! The history of a run on real devices, in the format of a simulation's.
//!
//! Times are those of the run's own clock: seconds in which it was served. When a task was given out and when its update was whole the
//! coordinator knows; how long fetching and training took within, the device has said. What is left counts as upload, waiting for
//! a server or a coordinator that was away included. Nobody measured energy, so there is none.

use std::collections::BTreeMap;
use std::path::Path;

use fedact_federation::aggregator::{ClientId, TaskId};
use fedact_federation::history::{ClientSummary, HistoryWriter, Record};
use fedact_fleet::engine::{Entry, Tested, chronicle};
use fedact_fleet::wire::Took;

use super::plan::Plan;
use crate::drive::Outcome;
use crate::{FederateError, FederateParams, rules};

/// What stands in the place of a device profile.
const DEVICE: &str = "real device";

/// A device of the run.
#[derive(Debug)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// The clips that it has, if it has said so.
    pub clips: Option<u64>,
}

/// Writes the history of the run in `folder` to `path`, and gives the time at which the run was over. `devices` are those of the
/// roster, in order.
///
/// # Errors
/// A file cannot be read or written, or the chronicle is damaged.
pub fn write(
    path: &Path,
    folder: &Path,
    devices: &[Device],
    plan: &Plan,
    params: &FederateParams,
    outcome: &Outcome,
) -> Result<f64, FederateError> {
    let mut writer = HistoryWriter::create(path)?;
    writer.write(&start(folder, devices, plan, params, outcome)?)?;
    let mut telling = Telling {
        devices,
        plan,
        batch_size: params.batch_size as u64,
        bytes_of: BTreeMap::new(),
        ended: None,
        top1: 0.0,
    };
    chronicle(folder, |entry| {
        if let Some(record) = telling.tell(entry) {
            writer.write(&record)?;
        }
        Ok::<(), FederateError>(())
    })?;
    let time = telling.ended.unwrap_or(outcome.seconds);
    writer.write(&Record::End {
        reason: outcome.reason.to_owned(),
        time,
        version: outcome.version,
        samples: outcome.samples,
        client_epochs: outcome.client_epochs,
        bytes_up: outcome.bytes_up,
        bytes_down: outcome.bytes_down,
        top1: telling.top1,
    })?;
    writer.sync()?;
    Ok(time)
}

/// The first line. How fast the devices are is what they measured themselves to be.
fn start(
    folder: &Path,
    devices: &[Device],
    plan: &Plan,
    params: &FederateParams,
    outcome: &Outcome,
) -> Result<Record, FederateError> {
    let mut speeds = vec![(0_u64, 0.0_f64); devices.len()];
    chronicle(folder, |entry| {
        if let Entry::Answered {
            client,
            samples,
            took,
            ..
        } = entry
            && let Some((clips, seconds)) = speeds.get_mut(client)
        {
            *clips += samples;
            *seconds += took.training_ms as f64 / 1e3;
        }
        Ok::<(), FederateError>(())
    })?;
    let clients = devices.iter().zip(speeds);
    let taken = plan.samples_per_client_epoch.round() as u64;
    let clients = clients.map(|(device, (clips, seconds))| ClientSummary {
        id: device.name.clone(),
        device: DEVICE.to_owned(),
        clips: device.clips.unwrap_or(taken),
        clips_per_second: if seconds > 0.0 {
            clips as f64 / seconds
        } else {
            0.0
        },
    });
    let numbers = outcome.parameters.len() as u64;
    Ok(rules::start(
        params,
        numbers,
        4 * numbers,
        clients.collect(),
    ))
}

/// The lines of a history, one after the other.
struct Telling<'a> {
    devices: &'a [Device],
    plan: &'a Plan,
    batch_size: u64,
    /// Of updates that were answered and not decided yet.
    bytes_of: BTreeMap<TaskId, u64>,
    ended: Option<f64>,
    top1: f64,
}

impl Telling<'_> {
    fn name(&self, client: ClientId) -> String {
        let device = self.devices.get(client);
        device.map_or_else(String::new, |device| device.name.clone())
    }

    fn tell(&mut self, entry: Entry) -> Option<Record> {
        match entry {
            Entry::Answered {
                client,
                task,
                base_version,
                given_at,
                at,
                samples,
                bytes,
                took,
            } => {
                self.bytes_of.insert(task, bytes);
                let (download_end, training_end) = within(given_at, at, &took);
                Some(Record::Task {
                    client: self.name(client),
                    base_version,
                    start: given_at,
                    download_end,
                    training_end,
                    upload_end: at,
                    samples,
                    steps: samples.div_ceil(self.batch_size),
                    bytes_down: took.fetched_bytes,
                    bytes_up: bytes,
                    joules: 0.0,
                })
            }
            Entry::Decided {
                at,
                client,
                task,
                base_version,
                version,
                staleness,
                weight,
                refused,
            } => Some(Record::Update {
                time: at,
                client: self.name(client),
                base_version,
                version,
                staleness,
                weight,
                bytes_up: self.bytes_of.remove(&task).unwrap_or_default(),
                refused,
            }),
            Entry::Tested {
                at,
                tested,
                bytes_up,
                bytes_down,
            } => Some(self.tested(at, tested, bytes_up, bytes_down)),
            Entry::Finished { at, .. } => {
                self.ended = Some(at);
                None
            }
        }
    }

    fn tested(&mut self, at: f64, tested: Tested, bytes_up: u64, bytes_down: u64) -> Record {
        self.top1 = tested.top1;
        // A test says how good the model was that was there when it began: at first and at last nothing else happened meanwhile.
        let time = match (tested.version, self.ended) {
            (0, _) if tested.samples == 0 => 0.0,
            (_, Some(ended)) => ended,
            _ => at,
        };
        Record::Evaluation {
            time,
            version: tested.version,
            samples: tested.samples,
            client_epochs: self.plan.client_epochs_of(tested.samples),
            bytes_up,
            bytes_down,
            top1: tested.top1,
            loss: tested.loss.unwrap_or(f64::NAN),
        }
    }
}

/// When a task's download and training ended. A device may say anything: nothing lasts longer than the task.
fn within(given_at: f64, at: f64, took: &Took) -> (f64, f64) {
    let seconds = |milliseconds: u64| milliseconds as f64 / 1e3;
    let download_end = (given_at + seconds(took.fetching_ms)).min(at);
    let training_end = (download_end + seconds(took.training_ms)).min(at);
    (download_end, training_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_says_of_a_task_fits_into_it() {
        let took = |fetching_ms, training_ms| Took {
            fetched_bytes: 0,
            fetching_ms,
            training_ms,
        };
        assert_eq!(within(10.0, 20.0, &took(2000, 5000)), (12.0, 17.0));
        assert_eq!(within(10.0, 20.0, &took(2000, 50_000)), (12.0, 20.0));
        assert_eq!(within(10.0, 20.0, &took(u64::MAX, 1)), (20.0, 20.0));
    }
}
