//! `run.json`: which run it is, and under which rules.

use std::path::Path;

use fedact_federation::aggregator::Config;
use serde::{Deserialize, Serialize};

use crate::journal::Journal;
use crate::{Digest, FleetError, files};

/// What a folder says of its run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunFile {
    /// Its number, drawn when it began.
    pub run: u64,
    /// Of the parameters that it began with.
    start: Digest,
    /// Everything that replaying depends on.
    rules: serde_json::Value,
}

const SAMPLES_PER_TASK: &str = "samples_per_task";

/// With how many clients the run in a folder began; nothing where none has begun.
///
/// # Errors
/// The folder's `run.json` cannot be read.
pub fn clients_at_start(folder: &Path) -> Result<Option<usize>, FleetError> {
    let run = RunFile::read(&folder.join("run.json"))?;
    Ok(run.and_then(|run| Some(run.rules[SAMPLES_PER_TASK].as_array()?.len())))
}

impl RunFile {
    pub fn read(path: &Path) -> Result<Option<Self>, FleetError> {
        let Some(bytes) = files::read_if_there(path)? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|error| FleetError::Invalid {
            path: path.to_owned(),
            reason: format!("it describes no run: {error}"),
        })
    }

    /// Begins a run. `run.json` comes last: a folder without it is that of a run that never began.
    pub fn begin(folder: &Path, config: &Config, start: &[f32]) -> Result<Self, FleetError> {
        let run = random()?;
        let bytes = files::bytes_of(start);
        files::write(&folder.join("start"), &[&bytes], files::Lasting::Synced)?;
        Journal::create(&folder.join("journal"), run)?;
        let rules = Self {
            run,
            start: Digest::of(&bytes),
            rules: rules(config),
        };
        let text = serde_json::to_vec_pretty(&rules).unwrap_or_default();
        files::write(&folder.join("run.json"), &[&text], files::Lasting::Synced)?;
        Ok(rules)
    }

    /// The parameters that the run began with.
    pub fn start(&self, folder: &Path, numbers: usize) -> Result<Vec<f32>, FleetError> {
        let path = folder.join("start");
        let bytes = std::fs::read(&path).map_err(FleetError::file(&path))?;
        if Digest::of(&bytes) != self.start || bytes.len() != numbers * 4 {
            return Err(FleetError::Damaged {
                path,
                offset: 0,
                reason: "it is not what the run began with".into(),
            });
        }
        Ok(files::numbers_of(&bytes))
    }

    pub fn check(&self, folder: &Path, config: &Config) -> Result<(), FleetError> {
        let wanted = rules(config);
        let differing: Vec<&str> = wanted
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, value)| self.rules.get(key.as_str()) != Some(value))
            .map(|(key, _)| key.as_str())
            .collect();
        if differing.is_empty() {
            return Ok(());
        }
        Err(FleetError::OtherRules {
            folder: folder.to_owned(),
            reason: differing.join(", "),
        })
    }
}

fn rules(config: &Config) -> serde_json::Value {
    let samples = config.clients.iter().map(|client| client.samples_per_task);
    serde_json::json!({
        "strategy": config.strategy,
        SAMPLES_PER_TASK: samples.collect::<Vec<u64>>(),
        "layout": format!("{:016x}", config.layout.fingerprint()),
        "concurrency": config.concurrency,
        "budget_samples": config.budget_samples,
        "max_update_distance": config.max_update_distance,
        "norm_bound": config.norm_bound,
        "max_samples": config.max_samples,
        "average": config.average,
        "max_refusals_in_a_row": config.max_refusals_in_a_row,
        "seed": config.seed,
    })
}

fn random() -> Result<u64, FleetError> {
    getrandom::u64().map_err(|error| FleetError::Key {
        what: "the number of a run".into(),
        reason: error.to_string(),
    })
}
