//! Where training can go on after it was killed.
//!
//! ```text
//! checkpoints/
//!   training.json              the finished epochs, how far the next one is, and so which file counts
//!                              (written last)
//!   7-0.safetensors            `model.*` and `optimizer.*` after 7 epochs
//!   7-120.safetensors          the same after 120 batches more
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::VarStore;

use super::{EpochRecord, Optimizer, Reached, Sums, TrainingSettings};
use crate::{NetsError, weights};

const INDEX: &str = "training.json";

/// What stands in `training.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    /// The settings as text: numbers parsed from JSON need not be those that were written, to the
    /// last bit.
    settings: String,
    records: Vec<EpochRecord>,
    partial: Partial,
}

/// The [`Sums`] of an epoch that was not finished, with its fractions as their bits.
#[derive(Debug, Serialize, Deserialize)]
struct Partial {
    batches: usize,
    clips: usize,
    right: i64,
    seconds: u64,
    loss: u64,
    norm: u64,
    rate: u64,
}

impl From<&Sums> for Partial {
    fn from(sums: &Sums) -> Self {
        Self {
            batches: sums.batches,
            clips: sums.clips,
            right: sums.right,
            seconds: sums.seconds.to_bits(),
            loss: sums.loss.to_bits(),
            norm: sums.norm.to_bits(),
            rate: sums.rate.to_bits(),
        }
    }
}

impl From<Partial> for Sums {
    fn from(partial: Partial) -> Self {
        Self {
            batches: partial.batches,
            clips: partial.clips,
            right: partial.right,
            seconds: f64::from_bits(partial.seconds),
            loss: f64::from_bits(partial.loss),
            norm: f64::from_bits(partial.norm),
            rate: f64::from_bits(partial.rate),
        }
    }
}

/// Saves the state after the last of `records` and the batches in `sums`, and removes the checkpoint
/// before it.
pub(super) fn save(
    folder: &Path,
    settings: &TrainingSettings,
    records: &[EpochRecord],
    sums: &Sums,
    store: &VarStore,
    optimizer: &Optimizer,
) -> Result<(), NetsError> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in weights::of(store) {
        tensors.insert(format!("model.{name}"), tensor);
    }
    for (name, tensor) in optimizer.state() {
        tensors.insert(format!("optimizer.{name}"), tensor);
    }
    let index_path = folder.join(INDEX);
    let before = std::fs::read(&index_path).ok();
    let path = weights_path(folder, records.len(), sums.batches);
    weights::write(&path, &tensors)?;
    sync(&path)?;
    let index = Index {
        settings: text_of(settings),
        records: records.to_vec(),
        partial: sums.into(),
    };
    let temporary = folder.join(format!("{INDEX}.new"));
    let failed = |path: &Path, source| NetsError::Write {
        path: path.to_owned(),
        source,
    };
    let text = serde_json::to_vec(&index).map_err(|error| failed(&temporary, error.into()))?;
    std::fs::write(&temporary, text).map_err(|error| failed(&temporary, error))?;
    sync(&temporary)?;
    std::fs::rename(&temporary, &index_path).map_err(|error| failed(&index_path, error))?;
    let old = before.and_then(|text| serde_json::from_slice::<Index>(&text).ok());
    if let Some(old) = old.map(|index| index.weights_path(folder))
        && old != path
    {
        // A file that is already gone is as good as removed.
        let _ = std::fs::remove_file(old);
    }
    Ok(())
}

impl Index {
    fn weights_path(&self, folder: &Path) -> PathBuf {
        weights_path(folder, self.records.len(), self.partial.batches)
    }
}

/// Puts the saved state back and says how far it is; at the beginning where there is no checkpoint of
/// the same settings, or where it is damaged.
pub(super) fn restore(
    folder: &Path,
    settings: &TrainingSettings,
    store: &VarStore,
    optimizer: &mut Optimizer,
) -> Reached {
    let saved = std::fs::read(folder.join(INDEX))
        .ok()
        .and_then(|text| serde_json::from_slice::<Index>(&text).ok())
        .filter(|index| index.settings == text_of(settings));
    let Some(index) = saved else {
        return Reached::default();
    };
    if load(&index.weights_path(folder), store, optimizer).is_err() {
        return Reached::default();
    }
    Reached {
        records: index.records,
        sums: index.partial.into(),
    }
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
    weights::assign(store, &part("model."), path)?;
    optimizer.refresh();
    Ok(())
}

fn text_of(settings: &TrainingSettings) -> String {
    serde_json::to_string(settings).unwrap_or_default()
}

fn weights_path(folder: &Path, epochs: usize, batches: usize) -> PathBuf {
    folder.join(format!("{epochs}-{batches}.safetensors"))
}

fn sync(path: &Path) -> Result<(), NetsError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| NetsError::Write {
            path: path.to_owned(),
            source,
        })
}
