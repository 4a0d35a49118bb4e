//! Where training can go on after it was killed.
//!
//! ```text
//! checkpoints/
//!   training.json              the finished epochs, how far the next one is, and so which file counts
//!                              (written last)
//!   7-0.safetensors            `model.*` and `optimizer.*` after 7 epochs, `mean.*` of the weights so far and
//!                              `best.*` where the settings ask for them
//!   7-120.safetensors          the same after 120 batches more
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::VarStore;

use super::{EpochRecord, Kept, Optimizer, Reached, Sums, TrainingSettings};
use crate::{NetsError, weights};

const INDEX: &str = "training.json";

/// What stands in `training.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    /// The settings as text: numbers parsed from JSON need not be those that were written, to the
    /// last bit.
    settings: String,
    records: Vec<EpochRecord>,
    /// The bits of the records' fractions, for the same reason.
    bits: Vec<u64>,
    partial: Partial,
}

/// The [`Sums`] of an epoch that was not finished, with its fractions as their bits.
#[derive(Debug, Serialize, Deserialize)]
struct Partial {
    batches: usize,
    clips: usize,
    right: i64,
    seconds: u64,
    waited_nanoseconds: u64,
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
            waited_nanoseconds: u64::try_from(sums.waited.as_nanos()).unwrap_or(u64::MAX),
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
            waited: Duration::from_nanos(partial.waited_nanoseconds),
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
    kept: &Kept,
) -> Result<(), NetsError> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in weights::of(store) {
        tensors.insert(format!("model.{name}"), tensor);
    }
    for (name, tensor) in optimizer.state() {
        tensors.insert(format!("optimizer.{name}"), tensor);
    }
    tensors.extend(kept.state());
    let index_path = folder.join(INDEX);
    let before = std::fs::read(&index_path).ok();
    let path = weights_path(folder, records.len(), sums.batches);
    weights::write(&path, &tensors)?;
    sync(&path)?;
    let index = Index {
        settings: text_of(settings),
        records: records.to_vec(),
        bits: bits_of(records),
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
    kept: &mut Kept,
) -> Reached {
    let saved = std::fs::read(folder.join(INDEX))
        .ok()
        .and_then(|text| serde_json::from_slice::<Index>(&text).ok())
        .filter(|index| index.settings == text_of(settings));
    let Some(mut index) = saved else {
        return Reached::default();
    };
    let (path, validated) = (index.weights_path(folder), !index.records.is_empty());
    let whole = put_back(&mut index.records, &index.bits);
    if !whole || load(&path, store, optimizer, kept, validated).is_err() {
        return Reached::default();
    }
    Reached {
        records: index.records,
        sums: index.partial.into(),
    }
}

/// The bits of the records' fractions, one after the other.
fn bits_of(records: &[EpochRecord]) -> Vec<u64> {
    let mut records = records.to_vec();
    let fractions = records.iter_mut().flat_map(EpochRecord::fractions);
    fractions.map(|fraction| fraction.to_bits()).collect()
}

/// Gives the records the fractions that they had; whether there are as many as they have.
fn put_back(records: &mut [EpochRecord], bits: &[u64]) -> bool {
    let fractions: Vec<&mut f64> = records
        .iter_mut()
        .flat_map(EpochRecord::fractions)
        .collect();
    let whole = fractions.len() == bits.len();
    for (fraction, bits) in fractions.into_iter().zip(bits) {
        *fraction = f64::from_bits(*bits);
    }
    whole
}

fn load(
    path: &Path,
    store: &VarStore,
    optimizer: &mut Optimizer,
    kept: &mut Kept,
    validated: bool,
) -> Result<(), NetsError> {
    let tensors = weights::read(path)?;
    let part = |prefix: &str| -> BTreeMap<String, Tensor> {
        let strip = |(name, tensor): (&String, &Tensor)| {
            let name = name.strip_prefix(prefix)?.to_owned();
            Some((name, tensor.shallow_clone()))
        };
        tensors.iter().filter_map(strip).collect()
    };
    kept.set_state(part, validated, store, path)?;
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

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::{Pace, TestRecord};
    use super::*;

    #[test]
    fn fractions_come_back_to_the_last_bit() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut draw = || random.random::<f64>() / 3.0;
        let records: Vec<EpochRecord> = (1..=200)
            .map(|epoch| EpochRecord {
                epoch,
                loss: draw(),
                train_accuracy: draw(),
                gradient_norm: draw(),
                learning_rate: draw(),
                validation: None,
                test: (epoch % 2 == 0).then(|| TestRecord {
                    top1: draw(),
                    top5: draw(),
                    loss: draw(),
                }),
                pace: Some(Pace {
                    seconds: draw(),
                    clips: 8,
                    waited_seconds: draw(),
                }),
            })
            .collect();
        let bits: Vec<u64> =
            serde_json::from_str(&serde_json::to_string(&bits_of(&records)).unwrap()).unwrap();
        let text = serde_json::to_string(&records).unwrap();
        let mut read: Vec<EpochRecord> = serde_json::from_str(&text).unwrap();
        assert!(put_back(&mut read, &bits));
        assert_eq!(read, records);
        assert!(!put_back(&mut read, &bits[1..]));
    }
}
