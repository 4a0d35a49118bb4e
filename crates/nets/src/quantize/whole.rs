//! A network in whole numbers: what int8 kernels compute, held in floats.
//!
//! A convolution's products and sums are whole numbers, and 32-bit floats hold those exactly up to 2^24: of 255 times 127 that is a row of
//! 518 products at their ends, and many thousands as they come. So the sums are those of the kernels, where the straight-through simulation
//! (`network`) multiplies values with weights and rounds every sum. What is done with them, in steps of the place behind and in 32 bits, is what the
//! kernels do, in their order. Without gradients; for training there is the simulation, which differs in last bits, and so here and there by a step.

use tch::{Kind, Tensor, no_grad};

use super::network::{Layer, Network, Shortcut, innermost_channels, mean_of};
use super::{ACTIVATION_MAXIMUM, Affine};
use crate::networks::{padded_shortcut, pooled};

/// What logits are counted in.
const UNIT: f32 = 1.0;

impl Network {
    /// Logits \[clips, classes\] of normalised clips \[clips, 3, frames, height, width\]. `place` is given the levels (byte less zero
    /// point) of each place in the order of execution, and gives those with which it goes on.
    pub fn in_whole_numbers(
        &self,
        clips: &Tensor,
        affines: &[Affine],
        place: impl FnMut(usize, Tensor) -> Tensor,
    ) -> Tensor {
        let mut places = Places {
            affines,
            nth: 0,
            place,
        };
        no_grad(|| {
            let mut here = places.next();
            let clips = innermost_channels(clips) * f64::from(1.0 / here.scale);
            let mut state = places.round(clips, false);
            for layer in &self.stem {
                let behind = places.next();
                state = places.round(layer.in_steps(&state, here, behind.scale), true);
                here = behind;
            }
            if self.pool {
                state = pooled(&state);
            }
            for block in &self.blocks {
                let last = block.convolutions.len() - 1;
                let (mut within, mut inner) = (here, state.shallow_clone());
                for layer in &block.convolutions[..last] {
                    let behind = places.next();
                    inner = places.round(layer.in_steps(&inner, within, behind.scale), true);
                    within = behind;
                }
                let behind = places.next();
                let mut sum = block.convolutions[last].in_steps(&inner, within, behind.scale);
                let around = match &block.shortcut {
                    Shortcut::Identity => &state * here.in_steps_of(behind),
                    Shortcut::Convolution(layer) => layer.in_steps(&state, here, behind.scale),
                    Shortcut::Pad { stride, channels } => {
                        padded_shortcut(&state, *stride, *channels) * here.in_steps_of(behind)
                    }
                };
                state = places.round(sum.g_add_(&around), true);
                here = behind;
            }
            let behind = places.next();
            let features = places.round(mean_of(&state) * here.in_steps_of(behind), false);
            self.head.in_steps(&features, behind, UNIT)
        })
    }
}

/// The places of a network, one after the other.
struct Places<'a, F> {
    affines: &'a [Affine],
    nth: usize,
    place: F,
}

impl<F: FnMut(usize, Tensor) -> Tensor> Places<'_, F> {
    /// How the next place is stored.
    fn next(&self) -> Affine {
        self.affines[self.nth]
    }

    /// What is counted in its steps, rounded; `relu` says that it is still to be rectified.
    fn round(&mut self, mut steps: Tensor, relu: bool) -> Tensor {
        let zero_point = i64::from(self.next().zero_point);
        let lowest = if relu { 0 } else { -zero_point };
        let highest = ACTIVATION_MAXIMUM - zero_point;
        let levels = steps.round_().clamp_(lowest, highest);
        self.nth += 1;
        (self.place)(self.nth - 1, levels)
    }
}

impl Layer {
    /// What the layer makes of levels, counted in steps of so much.
    fn in_steps(&self, levels: &Tensor, affine: Affine, step: f32) -> Tensor {
        let weight = self.stored_weight().to_kind(Kind::Float);
        let sums = match self.conv {
            Some((stride, padding)) => {
                levels.conv3d(&weight, None::<&Tensor>, stride, padding, [1; 3], 1)
            }
            None => levels.linear(&weight, None::<&Tensor>),
        };
        let mut sides = vec![1; sums.dim()];
        sides[1] = -1;
        let in_steps = |tensor: &Tensor, unit: f32| {
            let factor = f64::from(unit) / f64::from(step);
            let wide = tensor.detach().to_kind(Kind::Double) * factor;
            wide.to_kind(Kind::Float).reshape(&sides)
        };
        let scaled = sums * in_steps(&self.scale, affine.scale);
        scaled + in_steps(&self.bias, UNIT)
    }
}
