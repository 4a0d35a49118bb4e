//! The running mean of a network's weights, which often answers better than the weights that were reached last.

use std::collections::BTreeMap;
use std::path::Path;

use tch::nn::VarStore;
use tch::{Tensor, no_grad};

use crate::{NetsError, weights};

/// The exponential running mean of everything in a store: parameters, and the statistics of batch norm, which go
/// with them. Counters are copied.
#[derive(Debug)]
pub(super) struct Average {
    decay: f64,
    means: BTreeMap<String, Tensor>,
}

impl Average {
    /// Begins at what is in the store.
    pub fn new(store: &VarStore, decay: f64) -> Self {
        Self {
            decay,
            means: copies(store),
        }
    }

    /// Takes in the weights after the step that makes it `steps` of them. The first steps keep less of what was there
    /// before (`(1 + steps) / (10 + steps)`, as TensorFlow's `ExponentialMovingAverage` does), so that the random
    /// numbers at the beginning are soon forgotten.
    pub fn step(&mut self, store: &VarStore, steps: u64) {
        let steps = steps as f64;
        let decay = self.decay.min((1.0 + steps) / (10.0 + steps));
        no_grad(|| {
            for (name, tensor) in weights::of(store) {
                let Some(mean) = self.means.get_mut(&name) else {
                    continue;
                };
                if tensor.is_floating_point() {
                    let _ = mean.lerp_(&tensor, 1.0 - decay);
                } else {
                    mean.copy_(&tensor);
                }
            }
        });
    }

    /// Puts the mean where the weights are, and the weights where the mean was; doing it again undoes it.
    pub fn exchange(&mut self, store: &VarStore) {
        no_grad(|| {
            for (name, mut tensor) in weights::of(store) {
                if let Some(mean) = self.means.get_mut(&name) {
                    let kept = tensor.copy();
                    tensor.copy_(mean);
                    mean.copy_(&kept);
                }
            }
        });
    }

    /// The mean, by name.
    pub fn state(&self) -> &BTreeMap<String, Tensor> {
        &self.means
    }

    /// Takes over what [`state`](Self::state) gave. `path` is for the message only.
    pub fn set_state(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        path: &Path,
    ) -> Result<(), NetsError> {
        for (name, mean) in &mut self.means {
            match state.get(name) {
                Some(tensor) if tensor.size() == mean.size() => {
                    no_grad(|| mean.f_copy_(tensor))?;
                }
                _ => {
                    return Err(NetsError::Weights {
                        path: path.to_owned(),
                        mismatch: format!("missing or of another shape: the mean of {name}"),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Everything in a store, in memory of its own.
pub(super) fn copies(store: &VarStore) -> BTreeMap<String, Tensor> {
    let copy = |(name, tensor): (String, Tensor)| (name, no_grad(|| tensor.detach().copy()));
    weights::of(store).into_iter().map(copy).collect()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn store() -> (VarStore, Tensor, Tensor) {
        let store = VarStore::new(Device::Cpu);
        let weight = store.root().zeros("weight", &[2]);
        let counter = Tensor::from(0i64);
        let counter = store.root().add("batches", counter, false);
        (store, weight, counter)
    }

    fn set(tensor: &Tensor, value: f64) {
        let _ = no_grad(|| tensor.shallow_clone().fill_(value));
    }

    fn value(tensor: &Tensor) -> f64 {
        tensor
            .to_kind(Kind::Double)
            .mean(Kind::Double)
            .double_value(&[])
    }

    #[test]
    fn the_mean_is_the_one_computed_by_hand_and_counters_are_copied() {
        let (store, weight, counter) = store();
        let mut average = Average::new(&store, 0.5);
        let mut expected = 0.0;
        for steps in 1..30u32 {
            set(&weight, f64::from(steps));
            set(&counter, f64::from(steps));
            average.step(&store, steps.into());
            let decay = (f64::from(1 + steps) / f64::from(10 + steps)).min(0.5);
            expected = decay * expected + (1.0 - decay) * f64::from(steps);
        }
        assert!((value(&average.state()["weight"]) - expected).abs() < 1e-4);
        assert_eq!(average.state()["batches"].int64_value(&[]), 29);
        assert_eq!(value(&weight), 29.0);
    }

    #[test]
    fn exchanging_twice_changes_nothing() {
        let (store, weight, _) = store();
        let mut average = Average::new(&store, 0.5);
        set(&weight, 3.0);
        average.exchange(&store);
        assert_eq!(
            (value(&weight), value(&average.state()["weight"])),
            (0.0, 3.0)
        );
        average.exchange(&store);
        assert_eq!(
            (value(&weight), value(&average.state()["weight"])),
            (3.0, 0.0)
        );
    }

    #[test]
    fn a_state_that_lacks_a_mean_is_refused_by_name() {
        let (store, ..) = store();
        let mut average = Average::new(&store, 0.5);
        let mut state = copies(&store);
        average.set_state(&state, Path::new("a")).unwrap();
        state.remove("weight");
        let error = average.set_state(&state, Path::new("a")).unwrap_err();
        assert!(error.to_string().contains("the mean of weight"), "{error}");
    }
}
