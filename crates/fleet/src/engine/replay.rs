//! The whole journal again, from the parameters that the run began with.

use std::collections::BTreeMap;
use std::path::Path;

use fedact_federation::aggregator::{Action, Aggregator, Config, EndReason};
use fedact_federation::message::Decoder;

use super::rules::RunFile;
use super::versions::Versions;
use super::{Engine, Progress};
use crate::journal::{Happened, Journal, read};
use crate::{FleetError, files};

/// What a journal says happened.
#[derive(Debug)]
pub struct Replayed {
    /// The model at its end: the one that is kept, which may be an average of versions.
    pub parameters: Vec<f32>,
    /// Its version.
    pub version: u64,
    /// Why the run ended, if it did.
    pub finished: Option<EndReason>,
    /// How often an update stands in the journal, by client and task.
    pub updates: BTreeMap<(usize, u64), u64>,
    /// How often an update became part of a version, by client and task.
    pub mixed: BTreeMap<(usize, u64), u64>,
    /// What was decided of the devices' last tasks, and how many counted.
    pub progress: Progress,
}

/// Replays the journal in `folder`, without its checkpoint and without changing it. `scratch` is a folder for the models in
/// between, which are forgotten as soon as no open task needs them.
///
/// # Errors
/// The journal is damaged or of other rules, or an update is missing.
pub fn replay(folder: &Path, config: Config, scratch: &Path) -> Result<Replayed, FleetError> {
    let run_file = folder.join("run.json");
    let rules = RunFile::read(&run_file)?.ok_or_else(|| FleetError::Invalid {
        path: run_file.clone(),
        reason: "there is no run here".into(),
    })?;
    rules.check(folder, &config)?;
    let path = folder.join("journal");
    let bytes = std::fs::read(&path).map_err(FleetError::file(&path))?;
    let (records, _) = read(&path, &bytes, rules.run, Journal::BEGIN)?;
    files::folder(scratch)?;
    let parameters = rules.start(folder, config.layout.len())?;
    let mut engine = Engine {
        chronicle: None,
        folder: folder.to_owned(),
        run: rules.run,
        decoder: Decoder::new(&config.layout),
        versions: Versions::at(scratch)?,
        progress: Progress::new(config.clients.len(), Journal::BEGIN),
        aggregator: Aggregator::new(config, parameters),
    };
    let mut updates = BTreeMap::new();
    let mut mixed = BTreeMap::new();
    for (record, end) in records {
        let message = match &record.happened {
            Happened::Update {
                client,
                task,
                digest,
                ..
            } => {
                *updates.entry((*client, *task)).or_default() += 1;
                Some(engine.kept_update(*task, *digest)?)
            }
            _ => None,
        };
        for action in engine.handle(&record, message, end)? {
            if let Action::Mixed { client, task, .. } = action {
                *mixed.entry((client, task)).or_default() += 1;
            }
        }
        let open = engine.progress.open_versions();
        engine.versions.forget_all_but(&open)?;
    }
    Ok(Replayed {
        parameters: engine.aggregator.model().to_vec(),
        version: engine.aggregator.version(),
        finished: engine.aggregator.finished(),
        updates,
        mixed,
        progress: engine.progress,
    })
}
