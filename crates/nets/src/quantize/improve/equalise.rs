//! Cross-layer equalisation: the channels between two convolutions are scaled to be alike.
//!
//! Nagel et al. 2019 (arXiv 1906.04721), section 4.1. A ReLU lets positive factors through, so
//! `W₂ relu(W₁x + b₁) = (W₂S) relu(S⁻¹W₁x + S⁻¹b₁)` for any diagonal `S > 0`, and the factors
//! `s_i = √(r⁽¹⁾_i·r⁽²⁾_i) / r⁽²⁾_i` (equation 11) make both ranges of channel `i` the same.
//!
//! There, `r⁽¹⁾_i` is the range of a row of `W₁`, because all of `W₁` shares one scale. Here each row has its own, and it is the
//! activation between that shares one. So `r⁽¹⁾_i` is the range of the activation's channel, as the clips have it, and
//! `r⁽²⁾_i` that of the column of `W₂` that reads it.

use tch::{Kind, Tensor, no_grad};

use super::super::network::{Layer, Network, Plain, Visitor};
use super::super::{Execution, QuantizedModel};

/// Where three convolutions and more follow each other, factors of one pair move the ranges of the next; some rounds settle them.
const ROUNDS: usize = 20;

/// The largest factor, and its inverse the smallest: a channel that hardly ever says anything is not blown up without end.
const LARGEST: f64 = 1e4;

/// Two convolutions with nothing but a ReLU between, and nobody else who reads what is there.
struct Pair<'a> {
    /// The place between.
    place: usize,
    first: &'a Layer,
    second: &'a Layer,
}

/// Equalises a model in place and sets the scales of its weights; those of its activations are to be found anew.
pub(super) fn equalise(model: &mut QuantizedModel, clips: &[Tensor]) {
    no_grad(|| {
        let pairs = pairs(&model.network);
        let places = model.quantization().activations.len();
        let mut seen = Maxima((0..places).map(|_| None).collect());
        for batch in clips {
            let _ = model.forward(batch, Execution::Float, &mut seen);
        }
        for _ in 0..ROUNDS {
            for pair in &pairs {
                if let Some(activation) = &mut seen.0[pair.place] {
                    balance((pair.first, pair.second), activation);
                }
            }
        }
    });
    model.refresh_scales();
}

fn pairs(network: &Network) -> Vec<Pair<'_>> {
    let mut pairs = Vec::new();
    // The clips have place 0.
    let mut place = 1;
    let chains = network.blocks.iter().map(|block| &block.convolutions);
    for chain in [&network.stem].into_iter().chain(chains) {
        for (at, two) in chain.windows(2).enumerate() {
            pairs.push(Pair {
                place: place + at,
                first: &two[0],
                second: &two[1],
            });
        }
        place += chain.len();
    }
    pairs
}

/// Scales the channels between two layers; `activation` is the range of each, before and after.
pub(super) fn balance((first, second): (&Layer, &Layer), activation: &mut Tensor) {
    let columns = second.weight.detach().transpose(0, 1).flatten(1, -1);
    let columns = columns.abs().amax(1, false);
    // √(r₁·r₂)/r₂ = √(r₁/r₂). A channel that is dead, or that nobody listens to, stays as it is.
    let factor = (&*activation / &columns).sqrt();
    let usable = (&*activation * &columns).gt(0.0);
    let factor = factor
        .where_scalarother(&usable, 1.0)
        .clamp(1.0 / LARGEST, LARGEST);
    let [mut rows, mut inputs] = [first, second].map(|layer| vec![1; layer.weight.dim()]);
    rows[0] = -1;
    inputs[1] = -1;
    let _ = first.weight.shallow_clone().g_div_(&factor.reshape(rows));
    let _ = first.bias.shallow_clone().g_div_(&factor);
    let _ = second
        .weight
        .shallow_clone()
        .g_mul_(&factor.reshape(inputs));
    *activation = &*activation / factor;
}

/// The largest value of each channel at each place.
struct Maxima(Vec<Option<Tensor>>);

impl Visitor for Maxima {
    fn visit(&mut self, place: usize, value: Tensor, relu: bool) -> Tensor {
        let value = Plain.visit(place, value, relu);
        let largest = value.transpose(0, 1).flatten(1, -1).amax(1, false);
        let largest = largest.to_kind(Kind::Float);
        let before = self.0[place].take();
        self.0[place] = Some(match before {
            Some(before) => before.maximum(&largest),
            None => largest,
        });
        value
    }
}
