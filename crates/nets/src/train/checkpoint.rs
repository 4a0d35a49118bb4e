//! Where training can go on after it was killed.
//!
//! ```text
//! checkpoints/
//!   training.json              the finished epochs and which file belongs to the last   (written last)
//!   epoch-0007.safetensors     `model.*` and `optimizer.*`
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::VarStore;

use super::{EpochRecord, Optimizer, TrainingSettings};
use crate::{NetsError, weights};

const INDEX: &str = "training.json";

/// What stands in `training.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    /// The settings as text: numbers parsed from JSON need not be those that were written, to the
    /// last bit.
    settings: String,
    records: Vec<EpochRecord>,
}

/// Saves the state after the last of `records`, and removes the checkpoint before it.
pub(super) fn save(
    folder: &Path,
    settings: &TrainingSettings,
    records: &[EpochRecord],
    store: &VarStore,
    optimizer: &Optimizer,
) -> Result<(), NetsError> {
    let Some(last) = records.last() else {
        return Ok(());
    };
    let mut tensors = BTreeMap::new();
    for (name, tensor) in weights::of(store) {
        tensors.insert(format!("model.{name}"), tensor);
    }
    for (name, tensor) in optimizer.state() {
        tensors.insert(format!("optimizer.{name}"), tensor);
    }
    let path = weights_path(folder, last.epoch);
    weights::write(&path, &tensors)?;
    sync(&path)?;
    let index = Index {
        settings: text_of(settings),
        records: records.to_vec(),
    };
    let temporary = folder.join(format!("{INDEX}.new"));
    let failed = |path: &Path, source| NetsError::Write {
        path: path.to_owned(),
        source,
    };
    let text = serde_json::to_vec(&index).map_err(|error| failed(&temporary, error.into()))?;
    std::fs::write(&temporary, text).map_err(|error| failed(&temporary, error))?;
    sync(&temporary)?;
    let index_path = folder.join(INDEX);
    std::fs::rename(&temporary, &index_path).map_err(|error| failed(&index_path, error))?;
    if last.epoch > 1 {
        // A file that is already gone is as good as removed.
        let _ = std::fs::remove_file(weights_path(folder, last.epoch - 1));
    }
    Ok(())
}

/// Puts the saved state back and returns the finished epochs; none where there is no checkpoint of
/// the same settings, or where it is damaged: training then starts from the beginning.
pub(super) fn restore(
    folder: &Path,
    settings: &TrainingSettings,
    store: &VarStore,
    optimizer: &mut Optimizer,
) -> Vec<EpochRecord> {
    let Ok(text) = std::fs::read(folder.join(INDEX)) else {
        return Vec::new();
    };
    let Ok(index) = serde_json::from_slice::<Index>(&text) else {
        return Vec::new();
    };
    let Some(last) = index.records.last() else {
        return Vec::new();
    };
    let path = weights_path(folder, last.epoch);
    if index.settings != text_of(settings) || load(&path, store, optimizer).is_err() {
        return Vec::new();
    }
    index.records
}

fn load(path: &Path, store: &VarStore, optimizer: &mut Optimizer) -> Result<(), NetsError> {
    let tensors = weights::read(path)?;
    let part = |prefix: &str| -> BTreeMap<String, Tensor> {
        let strip = |(name, tensor): (&String, &Tensor)| {
            let name = name.strip_prefix(prefix)?.to_owned();
            Some((name, tensor.shallow_clone()))
        };
        tensors.iter().filter_map(strip).collect()
    };
    optimizer.set_state(&part("optimizer."), path)?;
    weights::assign(store, &part("model."), path)
}

fn text_of(settings: &TrainingSettings) -> String {
    serde_json::to_string(settings).unwrap_or_default()
}

fn weights_path(folder: &Path, epoch: u32) -> PathBuf {
    folder.join(format!("epoch-{epoch:04}.safetensors"))
}

fn sync(path: &Path) -> Result<(), NetsError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| NetsError::Write {
            path: path.to_owned(),
            source,
        })
}
