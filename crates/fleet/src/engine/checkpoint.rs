//! `checkpoint`: the aggregator and the devices at some byte of the journal.
//!
//! ```text
//! offset  bytes
//!      0      8  length of the JSON
//!      8      -  JSON: run, numbers of the model, the aggregator's state, the progress, the names of its rows
//!      -      -  the parameters, then the rows (f32, little-endian)
//!      -     32  SHA-256 of everything above
//! ```

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use fedact_federation::aggregator::{Aggregator, Client, Config, Rows, State};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::progress::Progress;
use crate::{FleetError, files};

const NAME: &str = "checkpoint";

/// No state of a fleet is larger; a length beyond it is damage.
const MOST_JSON: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    run: u64,
    numbers: usize,
    state: State,
    progress: Progress,
    rows: Vec<String>,
}

pub(super) fn write(
    folder: &Path,
    run: u64,
    aggregator: &Aggregator,
    progress: &Progress,
) -> Result<(), FleetError> {
    let path = folder.join(NAME);
    let rows = aggregator.rows();
    let head = Head {
        run,
        numbers: aggregator.parameters().len(),
        state: aggregator.state().clone(),
        progress: progress.clone(),
        rows: rows.keys().cloned().collect(),
    };
    let json = serde_json::to_vec(&head).map_err(|error| FleetError::Invalid {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    let mut file = files::Unfinished::begin_hashed(&path)?;
    file.add(&(json.len() as u64).to_le_bytes())?;
    file.add(&json)?;
    file.add_numbers(aggregator.parameters())?;
    for row in rows.values() {
        file.add_numbers(row)?;
    }
    let digest = file.digest();
    file.add(digest.as_bytes())?;
    file.finish(files::Lasting::Synced)
}

/// The checkpoint of a folder, if there is one.
pub(super) fn read(
    folder: &Path,
    run: u64,
    config: &Config,
) -> Result<Option<(Aggregator, Progress)>, FleetError> {
    let path = folder.join(NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FleetError::file(&path)(error)),
    };
    let mut reader = Hashing {
        inner: BufReader::new(file),
        hash: Sha256::new(),
    };
    let damaged = |reason: &str| FleetError::Damaged {
        path: path.clone(),
        offset: 0,
        reason: format!(
            "{reason}; if the run kept its updates, remove it, and the whole journal is replayed"
        ),
    };
    let cut = |_| damaged("it is too short");
    let mut length = [0; 8];
    reader.read_exact(&mut length).map_err(cut)?;
    let length = u64::from_le_bytes(length);
    if length > MOST_JSON {
        return Err(damaged("its length is wrong"));
    }
    let mut json = vec![0; length as usize];
    reader.read_exact(&mut json).map_err(cut)?;
    let head: Head = serde_json::from_slice(&json)
        .map_err(|error| damaged(&format!("it cannot be read: {error}")))?;
    if head.run != run || head.numbers != config.layout.len() {
        return Err(damaged("it is of another run"));
    }
    let mut row = || {
        let mut bytes = vec![0; head.numbers * 4];
        reader.read_exact(&mut bytes).map_err(cut)?;
        Ok::<_, FleetError>(Arc::new(files::numbers_of(&bytes)))
    };
    let parameters = row()?;
    let mut rows = Rows::new();
    for name in &head.rows {
        rows.insert(name.clone(), row()?);
    }
    let mut expected = [0; 32];
    reader.inner.read_exact(&mut expected).map_err(cut)?;
    if reader.hash.finalize()[..] != expected {
        return Err(damaged("its digest is wrong"));
    }
    let mut config = config.clone();
    let newcomers = head.progress.newcomers.iter();
    config.clients.extend(newcomers.map(|samples| Client {
        samples_per_task: *samples,
    }));
    config.budget_samples = head
        .progress
        .budget_samples
        .unwrap_or(config.budget_samples);
    for (client, member) in config.clients.iter_mut().zip(&head.progress.members) {
        client.samples_per_task = member.samples_per_task.unwrap_or(client.samples_per_task);
    }
    let aggregator = Aggregator::restore(config, head.state, parameters, &rows)
        .ok_or_else(|| damaged("its parts do not fit each other"))?;
    Ok(Some((aggregator, head.progress)))
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
