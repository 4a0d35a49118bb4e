//! Layer by layer through a network, in float and in bytes side by side.

use tch::{Tensor, no_grad};

use super::super::network::{
    Layer, Network, Plain, Rounding, Shortcut, Visitor, innermost_channels, mean_of,
};
use super::super::{Affine, Execution, QuantizedModel};
use crate::NetsError;
use crate::networks::{padded_shortcut, pooled};

/// A layer that may be changed, with what it reads and what it is to put out, a tensor a batch.
pub(super) struct Step<'a> {
    /// Of the network in bytes.
    pub layer: &'a Layer,
    /// What it reads when all layers before it run in bytes, as they are by now.
    pub inputs: &'a [Tensor],
    /// What the float network's layer makes of what that one reads.
    pub targets: &'a [Tensor],
    /// Whether a ReLU follows at once, and no sum comes between.
    pub rectified: bool,
}

impl Step<'_> {
    /// What the layer makes of a batch, its weights rounded.
    pub fn output(&self, input: &Tensor) -> Tensor {
        no_grad(|| self.layer.forward(input, Execution::Simulated))
    }
}

/// What is done with a layer.
pub(super) type Work<'a> = &'a mut dyn FnMut(Step) -> Result<(), NetsError>;

/// Takes clips through the first model in float and through the second in simulated bytes, and has each layer of the second
/// worked on before anything goes on behind it: so a layer can make up for what those before it do. The layers come
/// in the order of execution, a block's shortcut after its last convolution.
///
/// Two passes over the clips, which keep what all of them are at one place of both networks.
///
/// # Errors
/// Those of the work.
pub(super) fn walk(
    (exact, rounded): (&QuantizedModel, &QuantizedModel),
    clips: &[Tensor],
    work: Work,
) -> Result<(), NetsError> {
    let affines = rounded.affines();
    let mut walk = Walk {
        affines: &affines,
        place: 0,
        work,
    };
    no_grad(|| walk.network((&exact.network, &rounded.network), clips))
}

/// The same value in both networks, a tensor a batch.
struct Both {
    exact: Vec<Tensor>,
    rounded: Vec<Tensor>,
}

impl Both {
    fn map(self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        let all = |tensors: Vec<Tensor>| tensors.iter().map(&change).collect();
        Self {
            exact: all(self.exact),
            rounded: all(self.rounded),
        }
    }

    /// Adds what comes around a block.
    fn plus(self, around: &Self) -> Self {
        let sum = |ours: Vec<Tensor>, theirs: &[Tensor]| {
            let pairs = ours.into_iter().zip(theirs);
            pairs.map(|(mut own, other)| own.g_add_(other)).collect()
        };
        Self {
            exact: sum(self.exact, &around.exact),
            rounded: sum(self.rounded, &around.rounded),
        }
    }
}

struct Walk<'a> {
    affines: &'a [Affine],
    /// The next place.
    place: usize,
    work: Work<'a>,
}

impl Walk<'_> {
    fn network(
        &mut self,
        (exact, rounded): (&Network, &Network),
        clips: &[Tensor],
    ) -> Result<(), NetsError> {
        let clips = || clips.iter().map(innermost_channels).collect();
        let clips = Both {
            exact: clips(),
            rounded: clips(),
        };
        let mut state = self.place(clips, false);
        for layers in exact.stem.iter().zip(&rounded.stem) {
            let sum = self.layer(layers, &state, true)?;
            state = self.place(sum, true);
        }
        if exact.pool {
            state = state.map(pooled);
        }
        for (exact, rounded) in exact.blocks.iter().zip(&rounded.blocks) {
            let last = exact.convolutions.len() - 1;
            let mut layers = exact.convolutions.iter().zip(&rounded.convolutions);
            let mut inner: Option<Both> = None;
            for layers in layers.by_ref().take(last) {
                let sum = self.layer(layers, inner.as_ref().unwrap_or(&state), true)?;
                inner = Some(self.place(sum, true));
            }
            let mut sum = None;
            for layers in layers {
                sum = Some(self.layer(layers, inner.as_ref().unwrap_or(&state), false)?);
            }
            drop(inner);
            let around = match (&exact.shortcut, &rounded.shortcut) {
                (Shortcut::Convolution(exact), Shortcut::Convolution(rounded)) => {
                    self.layer((exact, rounded), &state, false)?
                }
                (Shortcut::Pad { stride, channels }, _) => {
                    state.map(|state| padded_shortcut(state, *stride, *channels))
                }
                _ => state,
            };
            let sum = match sum {
                Some(sum) => sum.plus(&around),
                None => around,
            };
            state = self.place(sum, true);
        }
        let features = self.place(state.map(mean_of), false);
        self.layer((&exact.head, &rounded.head), &features, false)?;
        Ok(())
    }

    fn layer(
        &mut self,
        (exact, rounded): (&Layer, &Layer),
        state: &Both,
        rectified: bool,
    ) -> Result<Both, NetsError> {
        let targets: Vec<Tensor> = state
            .exact
            .iter()
            .map(|input| exact.forward(input, Execution::Float))
            .collect();
        (self.work)(Step {
            layer: rounded,
            inputs: &state.rounded,
            targets: &targets,
            rectified,
        })?;
        let outputs = state.rounded.iter();
        Ok(Both {
            exact: targets,
            rounded: outputs
                .map(|input| rounded.forward(input, Execution::Simulated))
                .collect(),
        })
    }

    /// Rectifies, and rounds what runs in bytes.
    fn place(&mut self, sum: Both, relu: bool) -> Both {
        let place = self.place;
        self.place += 1;
        let rounding = |value| Rounding(self.affines).visit(place, value, relu);
        Both {
            exact: sum
                .exact
                .into_iter()
                .map(|value| Plain.visit(place, value, relu))
                .collect(),
            rounded: sum.rounded.into_iter().map(rounding).collect(),
        }
    }
}
