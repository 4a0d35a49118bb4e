//! How far the executed network is from the simulated one, in steps of quantization.

use fedact_nets::NetsError;
use fedact_nets::quantize::{ExecutedModel, QuantizedModel, Traced};
use serde::Serialize;
use tch::{Kind, Tensor};

/// Steps of a byte, from its least value to its largest.
const STEPS: f64 = 255.0;

/// How far two programs are from each other at one place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PlaceSteps {
    /// The activation's name, or `logits`.
    pub name: String,
    /// The largest difference, in steps.
    pub largest: f64,
    /// The share of the values that differ: by any step at a place of bytes, by more than one among the logits.
    pub off: f64,
}

/// The same at all places.
#[derive(Debug)]
pub(crate) struct Steps {
    /// In the order of execution, each layer by itself.
    pub places: Vec<PlaceSteps>,
    /// From end to end.
    pub logits: PlaceSteps,
}

impl Steps {
    /// The largest difference at any place, in steps.
    pub fn largest(&self) -> f64 {
        let largest = self.places.iter().map(|place| place.largest);
        largest.fold(0.0, f64::max)
    }
}

/// Compares the executed network with the simulated one over batches.
///
/// Each layer is asked by itself: the simulation of a place is given the executed bytes of all places before it. So a layer that
/// computes something else is seen, and not what single steps have added up to on the way to it; that is what the logits, from
/// end to end, are for. They are no bytes, and one step is taken to be the 255th part of their range over all clips.
pub(crate) struct StepMeter<'a> {
    model: &'a QuantizedModel,
    executed: &'a ExecutedModel,
    /// Of each place: the largest difference, and how many of how many values differ.
    places: Vec<(f64, u64, u64)>,
}

impl<'a> StepMeter<'a> {
    /// A meter for a model and what it was compiled to.
    pub fn new(model: &'a QuantizedModel, executed: &'a ExecutedModel) -> Self {
        Self {
            model,
            executed,
            places: vec![(0.0, 0, 0); model.quantization().activations.len()],
        }
    }

    /// Has both answer normalised clips, adds up the differences, and hands out the executed network's logits.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub fn compare(&mut self, clips: &Tensor) -> Result<Tensor, NetsError> {
        let Traced { logits, places } = self.executed.trace(clips)?;
        let expected = self.model.trace_along(clips, &places);
        for ((sum, found), expected) in self.places.iter_mut().zip(&places).zip(&expected.places) {
            let difference = (found.to_kind(Kind::Int16) - expected.to_kind(Kind::Int16)).abs();
            sum.0 = sum.0.max(difference.max().double_value(&[]));
            sum.1 += difference.count_nonzero(None::<i64>).int64_value(&[]) as u64;
            sum.2 += difference.numel() as u64;
        }
        Ok(logits)
    }

    /// What was found; and how far the logits, executed and simulated \[clips, classes\], are apart.
    pub fn steps(&self, executed: &Tensor, simulated: &Tensor) -> Steps {
        let activations = &self.model.quantization().activations;
        let places = activations.iter().zip(&self.places);
        let places = places.map(|(activation, (largest, off, all))| PlaceSteps {
            name: activation.name.clone(),
            largest: *largest,
            off: *off as f64 / (*all).max(1) as f64,
        });
        Steps {
            places: places.collect(),
            logits: logits(executed, simulated),
        }
    }
}

/// How far logits are from those that are expected.
fn logits(found: &Tensor, expected: &Tensor) -> PlaceSteps {
    let range = expected.max().double_value(&[]) - expected.min().double_value(&[]);
    let steps = (found - expected).abs() * STEPS / range.max(f64::MIN_POSITIVE);
    PlaceSteps {
        name: "logits".to_owned(),
        largest: steps.max().double_value(&[]),
        off: steps.gt(1.0).mean(Kind::Double).double_value(&[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_logits_is_a_255th_of_their_range() {
        let expected = Tensor::from_slice(&[-5.0f32, 0.0, 20.5, 3.0]).reshape([2, 2]);
        let found = Tensor::from_slice(&[-5.0f32, 0.05, 20.5, 3.25]).reshape([2, 2]);
        let PlaceSteps { largest, off, .. } = logits(&found, &expected);
        assert!((largest - 2.5).abs() < 1e-5, "{largest}");
        assert_eq!(off, 0.25);
        assert_eq!(logits(&expected, &expected).largest, 0.0);
    }
}
