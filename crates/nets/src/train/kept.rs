//! Which weights a training ends with: the last or the best, as they are or as their running mean.

use std::collections::BTreeMap;
use std::path::Path;

use fedact_recipe::{Keep, TrainingSettings};
use tch::Tensor;
use tch::nn::VarStore;

use super::average::{Average, copies};
use super::{EpochRecord, TestRecord};
use crate::{NetsError, weights};

/// Where in `records` the epoch is whose weights are kept; `None` without epochs.
pub fn kept_epoch(records: &[EpochRecord], keep: Keep) -> Option<usize> {
    match keep {
        Keep::Last => records.len().checked_sub(1),
        Keep::Best => best(records),
    }
}

/// Whether so many epochs have passed behind the best one that training ends; never with a patience of 0.
pub fn out_of_patience(records: &[EpochRecord], patience: u32) -> bool {
    let behind = |best: usize| records.len() - 1 - best >= patience as usize;
    patience > 0 && best(records).is_some_and(behind)
}

/// The first of the epochs that no other was better than on the validation clips.
fn best(records: &[EpochRecord]) -> Option<usize> {
    let validated = records
        .iter()
        .enumerate()
        .filter_map(|(at, record)| Some((at, record.validation.as_ref()?)));
    let better = |one: &TestRecord, other: &TestRecord| {
        one.top1 > other.top1 || (one.top1 == other.top1 && one.loss < other.loss)
    };
    validated
        .reduce(|best, next| if better(next.1, best.1) { next } else { best })
        .map(|(at, _)| at)
}

/// What is remembered of weights beside those in the network.
#[derive(Debug)]
pub(super) struct Kept {
    average: Option<Average>,
    keep: Keep,
    best: Option<BTreeMap<String, Tensor>>,
}

impl Kept {
    pub fn new(store: &VarStore, settings: &TrainingSettings) -> Self {
        let average = (settings.ema > 0.0).then(|| Average::new(store, settings.ema));
        Self {
            average,
            keep: settings.keep,
            best: None,
        }
    }

    /// A step has been taken.
    pub fn step(&mut self, store: &VarStore, steps: u64) {
        if let Some(average) = &mut self.average {
            average.step(store, steps);
        }
    }

    /// Puts the weights that are tested into the network, or those that are trained; by turns.
    pub fn exchange(&mut self, store: &VarStore) {
        if let Some(average) = &mut self.average {
            average.exchange(store);
        }
    }

    /// An epoch is over, and the weights that were tested are in the network.
    pub fn epoch(&mut self, store: &VarStore, records: &[EpochRecord]) {
        if self.keep == Keep::Best && best(records) == records.len().checked_sub(1) {
            self.best = Some(copies(store));
        }
    }

    /// Puts the weights that are kept into the network, in which those are that are trained.
    pub fn finish(&mut self, store: &VarStore) -> Result<(), NetsError> {
        self.exchange(store);
        match &self.best {
            Some(best) => weights::assign(store, best, Path::new("the best epoch")),
            None => Ok(()),
        }
    }

    /// All of it by name, for a checkpoint.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::new();
        let mut add = |part: &str, tensors: &BTreeMap<String, Tensor>| {
            for (name, tensor) in tensors {
                state.insert(format!("{part}.{name}"), tensor.shallow_clone());
            }
        };
        if let Some(average) = &self.average {
            add("mean", average.state());
        }
        if let Some(best) = &self.best {
            add("best", best);
        }
        state
    }

    /// Takes over what [`state`](Self::state) gave: `of` has the tensors of one part. `validated` is whether there
    /// must be a best epoch. `path` is for the message only.
    pub fn set_state(
        &mut self,
        of: impl Fn(&str) -> BTreeMap<String, Tensor>,
        validated: bool,
        store: &VarStore,
        path: &Path,
    ) -> Result<(), NetsError> {
        if let Some(average) = &mut self.average {
            average.set_state(&of("mean."), path)?;
        }
        if self.keep == Keep::Best && validated {
            let best = of("best.");
            weights::check(store, &best, path)?;
            self.best = Some(best);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(validated: &[(f64, f64)]) -> Vec<EpochRecord> {
        let record = |(at, (top1, loss)): (usize, &(f64, f64))| EpochRecord {
            epoch: at as u32 + 1,
            loss: 1.0,
            train_accuracy: 0.5,
            gradient_norm: 1.0,
            learning_rate: 0.1,
            validation: Some(TestRecord {
                top1: *top1,
                top5: 1.0,
                loss: *loss,
            }),
            test: None,
            pace: None,
        };
        validated.iter().enumerate().map(record).collect()
    }

    #[test]
    fn the_best_epoch_is_the_most_accurate_then_the_one_of_least_loss_then_the_first() {
        let records = records(&[(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.6, 0.1), (0.7, 0.8)]);
        assert_eq!(kept_epoch(&records, Keep::Best), Some(2));
        assert_eq!(kept_epoch(&records, Keep::Last), Some(4));
        assert_eq!(kept_epoch(&[], Keep::Best), None);
    }

    #[test]
    fn patience_ends_so_many_epochs_behind_the_best() {
        let records = records(&[(0.5, 1.0), (0.7, 0.9), (0.6, 0.8), (0.6, 0.1)]);
        assert!(!out_of_patience(&records[..3], 2));
        assert!(out_of_patience(&records, 2));
        assert!(!out_of_patience(&records, 3));
        assert!(!out_of_patience(&records, 0));
        assert!(!out_of_patience(&[], 1));
    }
}
