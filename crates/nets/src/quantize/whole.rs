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
        mut place: impl FnMut(usize, Tensor) -> Tensor,
    ) -> Tensor {
        no_grad(|| {
            let mut rest = affines.iter().enumerate();
            // The affine of the next place, and what becomes of a value in its steps.
            let mut next = || {
                let (nth, affine) = rest.next().unwrap_or((affines.len(), &affines[0]));
                (nth, *affine)
            };
            let mut round = |(nth, affine): (usize, Affine), mut steps: Tensor, relu: bool| {
                let zero_point = i64::from(affine.zero_point);
                let lowest = if relu { 0 } else { -zero_point };
                let highest = ACTIVATION_MAXIMUM - zero_point;
                place(nth, steps.round_().clamp_(lowest, highest))
            };
            let mut here = next();
            let clips = innermost_channels(clips) * f64::from(1.0 / here.1.scale);
            let mut state = round(here, clips, false);
            for layer in &self.stem {
                let behind = next();
                state = round(behind, layer.in_steps(&state, here.1, behind.1.scale), true);
                here = behind;
            }
            if self.pool {
                state = pooled(&state);
            }
            for block in &self.blocks {
                let last = block.convolutions.len() - 1;
                let (mut within, mut inner) = (here, state.shallow_clone());
                for layer in &block.convolutions[..last] {
                    let behind = next();
                    inner = round(
                        behind,
                        layer.in_steps(&inner, within.1, behind.1.scale),
                        true,
                    );
                    within = behind;
                }
                let behind = next();
                let step = behind.1.scale;
                let mut sum = block.convolutions[last].in_steps(&inner, within.1, step);
                let ratio = f64::from(here.1.scale) / f64::from(step);
                let around = match &block.shortcut {
                    Shortcut::Identity => &state * ratio,
                    Shortcut::Convolution(layer) => layer.in_steps(&state, here.1, step),
                    Shortcut::Pad { stride, channels } => {
                        padded_shortcut(&state, *stride, *channels) * ratio
                    }
                };
                state = round(behind, sum.g_add_(&around), true);
                here = behind;
            }
            let behind = next();
            let ratio = f64::from(here.1.scale) / f64::from(behind.1.scale);
            let features = round(behind, mean_of(&state) * ratio, false);
            self.head.in_steps(&features, behind.1, UNIT)
        })
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
