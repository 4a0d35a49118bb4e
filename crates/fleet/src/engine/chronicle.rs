//! `chronicle`: what became of every task, a line of JSON each, for the history of the run.
//!
//! All of it follows from the journal and the numbers of the updates together, so it is written while those are at hand. Lines
//! behind the last checkpoint are written again after a restart, and need not be synced before the next one.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fedact_federation::aggregator::{Action, Aggregator, ClientId, EndReason, TaskId};
use serde::{Deserialize, Serialize};

use super::{Progress, Tested};
use crate::FleetError;
use crate::journal::{Happened, Record};
use crate::wire::Took;

const NAME: &str = "chronicle";

/// A line. Times are seconds since the run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// The update of a task came.
    Answered {
        /// Whose.
        client: ClientId,
        /// Of which task.
        task: TaskId,
        /// The version that it started from.
        base_version: u64,
        /// When the task was given out.
        given_at: f64,
        /// When the update was there, whole.
        at: f64,
        /// Clips that were processed, repeats counted.
        samples: u64,
        /// Bytes of the update.
        bytes: u64,
        /// What it took, as the device says.
        took: Took,
    },
    /// An update became part of a version or was refused.
    Decided {
        /// When.
        at: f64,
        /// Whose it was.
        client: ClientId,
        /// Of which task.
        task: TaskId,
        /// The version that it started from.
        base_version: u64,
        /// The version after that.
        version: u64,
        /// Versions made since the base.
        staleness: u64,
        /// The weight that it got; 0 if it was refused.
        weight: f64,
        /// The reason code of a refusal.
        refused: Option<String>,
    },
    /// The model was tested.
    Tested {
        /// When.
        at: f64,
        /// What was found.
        tested: Tested,
        /// Bytes of the updates that had come.
        bytes_up: u64,
        /// Bytes of models that their devices had fetched.
        bytes_down: u64,
    },
    /// The run was over.
    Finished {
        /// When.
        at: f64,
        /// Why.
        reason: EndReason,
    },
}

/// The file, at its end.
#[derive(Debug)]
pub(super) struct Chronicle {
    path: PathBuf,
    file: File,
}

impl Chronicle {
    /// Opens the one in a folder, of which the first `end` bytes are good.
    pub fn open(folder: &Path, end: u64) -> Result<Self, FleetError> {
        let path = folder.join(NAME);
        let error = || FleetError::file(&path);
        let mut options = OpenOptions::new();
        let options = options.create(true).write(true).truncate(false);
        let mut file = options.open(&path).map_err(error())?;
        let length = file.metadata().map_err(error())?.len();
        if length < end {
            return Err(FleetError::Damaged {
                path: path.clone(),
                offset: length,
                reason: "it is shorter than its checkpoint says".into(),
            });
        }
        file.set_len(end).map_err(error())?;
        file.seek(SeekFrom::Start(end)).map_err(error())?;
        Ok(Self { path, file })
    }

    /// Appends lines, and says how many bytes they take.
    pub fn append(&mut self, entries: &[Entry]) -> Result<u64, FleetError> {
        let mut lines = Vec::new();
        for entry in entries {
            // Numbers, texts and nothing else: JSON has words for all of it.
            lines.extend(serde_json::to_vec(entry).unwrap_or_default());
            lines.push(b'\n');
        }
        let written = self.file.write_all(&lines);
        written.map_err(FleetError::file(&self.path))?;
        Ok(lines.len() as u64)
    }

    /// Makes what was appended last.
    pub fn sync(&self) -> Result<(), FleetError> {
        self.file.sync_data().map_err(FleetError::file(&self.path))
    }
}

/// Hands every line of a run's chronicle to `take`, in order.
///
/// # Errors
/// The file cannot be read or is damaged; what `take` says.
pub fn chronicle<E: From<FleetError>>(
    folder: &Path,
    mut take: impl FnMut(Entry) -> Result<(), E>,
) -> Result<(), E> {
    let path = folder.join(NAME);
    let file = File::open(&path).map_err(FleetError::file(&path))?;
    let mut offset = 0;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(FleetError::file(&path))?;
        let entry = serde_json::from_str(&line).map_err(|error| FleetError::Damaged {
            path: path.clone(),
            offset,
            reason: error.to_string(),
        })?;
        offset += line.len() as u64 + 1;
        take(entry)?;
    }
    Ok(())
}

/// What is to be noted of a record: `progress` as it was before, `aggregator` as it is after.
pub(super) fn entries(
    progress: &Progress,
    aggregator: &Aggregator,
    record: &Record,
    actions: &[Action],
) -> Vec<Entry> {
    let at = record.at;
    let open = |client: &ClientId| {
        let member = progress.members.get(*client)?;
        member.assignment.map(|open| (open, member.given_at))
    };
    let mut entries = Vec::new();
    match &record.happened {
        Happened::Update {
            client,
            task,
            bytes,
            took,
            ..
        } => entries.extend(open(client).map(|(open, given_at)| Entry::Answered {
            client: *client,
            task: *task,
            base_version: open.version,
            given_at,
            at,
            samples: open.samples,
            bytes: *bytes,
            took: *took,
        })),
        Happened::Unreadable { client, task, code } => {
            entries.extend(open(client).map(|(open, _)| Entry::Decided {
                at,
                client: *client,
                task: *task,
                base_version: open.version,
                version: aggregator.version(),
                staleness: aggregator.version().saturating_sub(open.version),
                weight: 0.0,
                refused: Some(code.clone()),
            }));
        }
        Happened::Tested(tested) => entries.push(Entry::Tested {
            at,
            tested: *tested,
            bytes_up: progress.bytes_up,
            bytes_down: progress.bytes_down,
        }),
        _ => {}
    }
    for action in actions {
        match action {
            Action::Mixed {
                client,
                task,
                base_version,
                version,
                staleness,
                weight,
            } => entries.push(Entry::Decided {
                at,
                client: *client,
                task: *task,
                base_version: *base_version,
                version: *version,
                staleness: *staleness,
                weight: *weight,
                refused: None,
            }),
            Action::Refused {
                client,
                task,
                base_version,
                reason,
            } => entries.push(Entry::Decided {
                at,
                client: *client,
                task: *task,
                base_version: *base_version,
                version: aggregator.version(),
                staleness: aggregator.version().saturating_sub(*base_version),
                weight: 0.0,
                refused: Some(reason.code().to_owned()),
            }),
            Action::Finished { reason } => entries.push(Entry::Finished {
                at,
                reason: *reason,
            }),
            _ => {}
        }
    }
    entries
}
