//! How much quantization changes a network, place by place.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use super::network::{Plain, Visitor};
use super::{Execution, QuantizedModel};

/// What a ratio of signal to noise is given as where there is no noise at all.
pub const NOISELESS_DECIBELS: f64 = 200.0;

/// The ratio of signal to noise at one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaceNoise {
    /// The activation's name, or `logits`.
    pub name: String,
    /// `10·log10(Σ float² / Σ (float − simulated)²)` in dB, between ±200.
    pub snr_db: f64,
}

/// Adds up signal and noise over batches.
#[derive(Debug, Clone)]
pub struct NoiseMeter {
    places: Vec<(String, f64, f64)>,
}

/// Logits \[clips, classes\] of the same clips, both ways.
#[derive(Debug)]
pub struct Compared {
    /// Of the folded network in float.
    pub float: Tensor,
    /// Of the simulated int8 network.
    pub simulated: Tensor,
}

impl NoiseMeter {
    /// A meter for the activations of a model, and its logits.
    pub fn new(model: &QuantizedModel) -> Self {
        let activations = model.quantization().activations.iter();
        let names = activations.map(|activation| activation.name.as_str());
        Self {
            places: names
                .chain(["logits"])
                .map(|name| (name.to_owned(), 0.0, 0.0))
                .collect(),
        }
    }

    /// Runs a batch of normalised clips through the first model in float and through the second in simulated bytes, and adds the
    /// differences. The first is the second as it was before anything but its scales was changed.
    ///
    /// # Panics
    /// With clips of another shape than the model takes.
    pub fn compare(
        &mut self,
        (reference, model): (&QuantizedModel, &QuantizedModel),
        clips: &Tensor,
    ) -> Compared {
        no_grad(|| {
            let mut plain = Recording(Vec::new());
            let float = reference.forward(clips, Execution::Float, &mut plain);
            let (affines, mut rounded) = (model.affines(), Vec::new());
            let simulated = model.whole(clips, |nth, levels| {
                rounded.push(&levels * f64::from(affines[nth].scale));
                levels
            });
            let exact = plain.0.iter().chain([&float]);
            let rough = rounded.iter().chain([&simulated]);
            for ((place, exact), rough) in self.places.iter_mut().zip(exact).zip(rough) {
                place.1 += energy(exact);
                place.2 += energy(&(exact - rough));
            }
            Compared { float, simulated }
        })
    }

    /// The ratios, in the order of execution; `logits` last.
    pub fn places(&self) -> Vec<PlaceNoise> {
        let places = self.places.iter();
        places
            .map(|(name, signal, noise)| PlaceNoise {
                name: name.clone(),
                snr_db: decibels(*signal, *noise),
            })
            .collect()
    }

    /// The ratio at the logits, in dB.
    pub fn logits(&self) -> f64 {
        let last = self.places.last();
        last.map_or(NOISELESS_DECIBELS, |(_, signal, noise)| {
            decibels(*signal, *noise)
        })
    }
}

/// Rectifies, and keeps every value.
struct Recording(Vec<Tensor>);

impl Visitor for Recording {
    fn visit(&mut self, point: usize, value: Tensor, relu: bool) -> Tensor {
        let value = Plain.visit(point, value, relu);
        self.0.push(value.shallow_clone());
        value
    }
}

/// Sum of squares, in 64 bits.
pub(super) fn energy(values: &Tensor) -> f64 {
    values.square().sum(Kind::Double).double_value(&[])
}

/// `10·log10(signal / noise)`, limited to ±[`NOISELESS_DECIBELS`].
pub fn decibels(signal: f64, noise: f64) -> f64 {
    if noise == 0.0 {
        return NOISELESS_DECIBELS;
    }
    let ratio = 10.0 * (signal / noise).log10();
    ratio.clamp(-NOISELESS_DECIBELS, NOISELESS_DECIBELS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decibels_by_hand() {
        assert!((decibels(100.0, 1.0) - 20.0).abs() < 1e-12);
        assert!((decibels(2.0, 4.0) + 3.0103).abs() < 1e-4);
        assert_eq!(decibels(1.0, 0.0), NOISELESS_DECIBELS);
        assert_eq!(decibels(0.0, 1.0), -NOISELESS_DECIBELS);
    }
}
