//! AdaRound: whether a weight is rounded up or down is learned, layer by layer.
//!
//! Nagel et al. 2020 (arXiv 2004.10568). The weights of a layer are `W̃ = s·clip(⌊W/s⌋ + h(V), −127, 127)` (equation 22) with the
//! rectified sigmoid `h(V) = clip(σ(V)·(ζ−γ) + γ, 0, 1)` (equation 23), and `V` minimises
//! `‖f(Wx) − f(W̃x̃)‖² + λ·Σ(1 − |2h(V) − 1|^β)` (equations 24 and 25): `x̃` is what the layer reads once the layers before
//! it are rounded, `f` the ReLU where one follows, and β falls, so that each `h` ends at 0 or 1.
//!
//! Rounding changes what a layer says about single positions, so it is learned from rows: what the kernel reads at some positions
//! of some clips. A step is then a product of two matrices, whatever the convolution.

use fedact_recipe::{OptimizerSettings, RoundSettings, Rule};
use rand::Rng;
use rand::seq::SliceRandom;
use tch::nn::VarStore;
use tch::{Kind, Tensor, no_grad, with_grad};

use super::super::WEIGHT_MAXIMUM;
use super::super::network::Layer;
use super::walk::Step;
use crate::NetsError;
use crate::random::{Purpose, key, stream};
use crate::train::Optimizer;

/// How far the sigmoid is stretched beyond 0 and 1 (γ and ζ, section 3.2).
const STRETCH: (f64, f64) = (-0.1, 1.1);

/// λ. The first term is counted so that rounding all weights to the nearest makes 1 a weight.
const PENALTY: f64 = 0.01;

/// β at first and at last.
const SHARPNESS: (f64, f64) = (20.0, 2.0);

/// The share of the steps in which nothing pulls `h` to its ends yet.
const WARM_UP: f64 = 0.2;

/// Of so many clips one is kept back, to see whether what was learned from the others holds for it.
const KEPT_BACK: usize = 4;

/// What a layer reads at some positions, and what it is to put out there.
pub(super) struct Rows {
    /// \[rows, weights a channel\].
    pub inputs: Tensor,
    /// \[rows, channels\].
    pub targets: Tensor,
}

/// Learns how to round the weights of a layer, and sets them to what their bytes will stand for. A channel for which that turns out
/// no better on other clips than rounding to the nearest keeps the nearest: where there are more weights than rows, what is
/// learned may hold for these rows alone. So do the weights that have given their channel its scale.
pub(super) fn round(step: &Step, settings: &RoundSettings, seed: u64) -> Result<(), NetsError> {
    let layer = step.layer;
    let (rows, others) = Rows::draw(step, settings.positions, seed);
    let nearest = nearest(layer);
    let learned = learn(layer, &rows, &nearest, step.rectified, settings)?;
    no_grad(|| {
        let error = |levels: &Tensor| {
            let weight = levels * scale(layer);
            others.error(&weight, &layer.bias, step.rectified)
        };
        let better = error(&learned).lt_tensor(&error(&nearest)).unsqueeze(1);
        let levels = learned.where_self(&better, &nearest);
        let weight = (levels * scale(layer)).reshape(layer.weight.size());
        layer.weight.shallow_clone().copy_(&weight);
    });
    Ok(())
}

/// The scales, \[channels, 1\].
fn scale(layer: &Layer) -> Tensor {
    layer.scale.unsqueeze(1)
}

/// The bytes to which the weights are nearest, as floats \[channels, weights a channel\].
pub(super) fn nearest(layer: &Layer) -> Tensor {
    no_grad(|| layer.stored_weight().to_kind(Kind::Float).flatten(1, -1))
}

/// The bytes that are learned.
pub(super) fn learn(
    layer: &Layer,
    rows: &Rows,
    nearest: &Tensor,
    rectified: bool,
    settings: &RoundSettings,
) -> Result<Tensor, NetsError> {
    let limit = WEIGHT_MAXIMUM as f64;
    let (low, high) = STRETCH;
    let (floor, beginning, share) = no_grad(|| {
        let levels = layer.weight.detach().flatten(1, -1) / scale(layer);
        let floor = levels.floor();
        // The inverse of `h` at the weight's own fraction: at first nothing is rounded.
        let sigmoid = (&levels - &floor - low) / (high - low);
        let error = rows.error(&(nearest * scale(layer)), &layer.bias, rectified);
        // A channel that rounds without error has nothing to learn.
        let share = error.clamp_min(1e-30).reciprocal() * rows.inputs.size()[1] as f64;
        (floor, sigmoid.logit(None::<f64>), share)
    });
    let store = VarStore::new(beginning.device());
    let variable = store.root().var_copy("rounding", &beginning);
    let rule = OptimizerSettings {
        rule: Rule::AdamW,
        ..OptimizerSettings::default()
    };
    let mut optimizer = Optimizer::new(&store, rule, 0.0);
    let upward = || (variable.sigmoid() * (high - low) + low).clamp(0.0, 1.0);
    let count = rows.inputs.size()[0];
    let batch = (settings.batch_size as i64).min(count);
    for step in 0..settings.iterations {
        let from = i64::from(step) * batch % (count - batch + 1).max(1);
        let part = rows.part(from, batch);
        let loss = with_grad(|| {
            let upward = upward();
            let weight = (&floor + &upward).clamp(-limit, limit) * scale(layer);
            let error = part.error(&weight, &layer.bias.detach(), rectified);
            let loss = (error * &share).sum(Kind::Float);
            match sharpness(f64::from(step) / f64::from(settings.iterations)) {
                Some(beta) => {
                    let decided = (upward * 2.0 - 1.0).abs().pow_tensor_scalar(beta);
                    let undecided: Tensor = 1.0 - decided;
                    loss + undecided.sum(Kind::Float) * PENALTY
                }
                None => loss,
            }
        });
        optimizer.backward(&loss)?;
        optimizer.step(settings.learning_rate);
    }
    Ok(no_grad(|| {
        let levels = floor + upward().ge(0.5).to_kind(Kind::Float);
        // Were the largest weight of a channel rounded down, its scale would be another when it is next looked at.
        let fixed = nearest.abs().ge(limit);
        nearest.where_self(&fixed, &levels.clamp(-limit, limit))
    }))
}

/// β at a share of all steps; `None` in the warm-up. It falls along half a cosine.
fn sharpness(share: f64) -> Option<f64> {
    if share < WARM_UP {
        return None;
    }
    let rest = (share - WARM_UP) / (1.0 - WARM_UP);
    let (first, last) = SHARPNESS;
    Some(last + 0.5 * (first - last) * (1.0 + (std::f64::consts::PI * rest).cos()))
}

impl Rows {
    /// Draws rows from all batches by their numbers of positions, all where there are fewer, and shuffles them: those to learn from, and
    /// those of the clips that are kept back (the same where there are too few clips).
    fn draw(step: &Step, positions: usize, seed: u64) -> (Self, Self) {
        let mut random = stream(Purpose::Rounding, seed, key(&step.layer.name), 0);
        let there = |target: &Tensor| target.numel() / target.size()[1] as usize;
        let all: usize = step.targets.iter().map(there).sum();
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        let (mut learned, mut kept) = (Vec::new(), Vec::new());
        let (mut row, mut clips) = (0, 0);
        for (input, target) in step.inputs.iter().zip(step.targets) {
            let (own, batch) = (there(target), target.size()[0] as usize);
            let places: Vec<usize> = if all <= positions {
                (0..own).collect()
            } else {
                let share = (positions * own).div_ceil(all);
                (0..share).map(|_| random.random_range(0..own)).collect()
            };
            for place in &places {
                let clip = clips + place * batch / own;
                let list = match clip % KEPT_BACK + 1 {
                    KEPT_BACK => &mut kept,
                    _ => &mut learned,
                };
                list.push(row);
                row += 1;
            }
            clips += batch;
            let (input, target) = at(step.layer, input, target, &places);
            inputs.push(input);
            targets.push(target);
        }
        if kept.is_empty() {
            kept.clone_from(&learned);
        }
        learned.shuffle(&mut random);
        let (inputs, targets) = (Tensor::cat(&inputs, 0), Tensor::cat(&targets, 0));
        let these = |rows: &[i64]| {
            let rows = Tensor::from_slice(rows).to_device(inputs.device());
            Self {
                inputs: inputs.index_select(0, &rows),
                targets: targets.index_select(0, &rows),
            }
        };
        no_grad(|| (these(&learned), these(&kept)))
    }

    fn part(&self, from: i64, count: i64) -> Self {
        Self {
            inputs: self.inputs.narrow(0, from, count),
            targets: self.targets.narrow(0, from, count),
        }
    }

    /// The mean squared error of each channel with such a weight \[channels, weights a channel\].
    fn error(&self, weight: &Tensor, bias: &Tensor, rectified: bool) -> Tensor {
        let output = self.inputs.linear(weight, Some(bias));
        let difference = if rectified {
            output.relu() - self.targets.relu()
        } else {
            output - &self.targets
        };
        let square = difference.square();
        square.mean_dim([0i64].as_slice(), false, Kind::Float)
    }
}

/// What a layer reads \[places, weights a channel\] and puts out \[places, channels\] at these places, which are counted clip by clip
/// and, within one, as its output is: frames, rows, columns.
fn at(layer: &Layer, input: &Tensor, target: &Tensor, places: &[usize]) -> (Tensor, Tensor) {
    let places: Vec<i64> = places.iter().map(|place| *place as i64).collect();
    let Some((stride, padding)) = layer.conv else {
        let places = Tensor::from_slice(&places);
        return (
            input.index_select(0, &places),
            target.index_select(0, &places),
        );
    };
    let sides = &target.size()[2..];
    let mut rest = Tensor::from_slice(&places);
    let mut axes = Vec::new();
    for side in sides.iter().rev() {
        axes.push(rest.remainder(*side));
        rest = rest.floor_divide_scalar(*side);
    }
    let [column, row, frame] =
        [&axes[0], &axes[1], &axes[2]].map(|axis| Some(axis.shallow_clone()));
    let index = [Some(rest), None, frame, row, column];
    let [t, h, w] = padding;
    let kernel = &layer.weight.size()[2..];
    let mut windows = input.constant_pad_nd([w, w, h, h, t, t]);
    for (axis, (kernel, stride)) in kernel.iter().zip(stride).enumerate() {
        windows = windows.unfold(axis as i64 + 2, *kernel, stride);
    }
    (windows.index(&index).flatten(1, -1), target.index(&index))
}
