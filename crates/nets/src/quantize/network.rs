//! The folded network: convolutions with bias, and the places where activations become bytes.

use fedact_recipe::Execution;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

use super::{ACTIVATION_MAXIMUM, Affine, WEIGHT_MAXIMUM};
use crate::networks::{padded_shortcut, pooled};
use crate::{
    Architecture, BlockLayout, ConvLayout, Layout, NetsError, ResidualLayout, ShortcutLayout,
};

/// A place where an activation is stored as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub name: String,
    /// Behind a ReLU, so that no value is negative.
    pub rectified: bool,
}

/// The layers of a network that has a form in eight bits.
///
/// # Errors
/// X3D and TSM on MobileNetV2 have none here.
pub(super) fn layers_of(architecture: &Architecture) -> Result<ResidualLayout, NetsError> {
    match architecture.layout()? {
        Layout::Residual(layout) => Ok(layout),
        Layout::X3d(_) | Layout::Tsm(_) => Err(NetsError::Mismatch(format!(
            "{architecture} cannot be quantized, only residual networks can; \
             distil it into a student with `model: {{arch: r3d}}` (or mc3, r2plus1d) and quantize that"
        ))),
    }
}

/// The places of a network in the order of execution: the input, behind each ReLU, and the mean that
/// `fc` sees. Everything a convolution or `fc` reads is among them.
///
/// A place behind a convolution within a block is named as what holds both the convolution and its batch
/// norm: `layer1.0.conv1`, or `layer1.0.conv1.0` within a factored one.
pub(super) fn points(layout: &ResidualLayout) -> Vec<Point> {
    let point = |name: &str, rectified| Point {
        name: name.to_owned(),
        rectified,
    };
    let norm = |layer: &ConvLayout| layer.norm.clone().unwrap_or_default();
    let mut points = vec![point("input", false)];
    let inner = layout.stem.len() - 1;
    for layer in &layout.stem[..inner] {
        points.push(point(&norm(layer), true));
    }
    points.push(point("stem", true));
    for block in &layout.blocks {
        let inner = block.convolutions.len() - 1;
        for layer in &block.convolutions[..inner] {
            let norm = norm(layer);
            let holder = norm.rsplit_once('.').map_or("", |(holder, _)| holder);
            points.push(point(holder, true));
        }
        points.push(point(&block.name, true));
    }
    points.push(point("avgpool", true));
    points
}

/// What happens to activations at the points; `relu` says that the value is still to be rectified.
pub(super) trait Visitor {
    fn visit(&mut self, point: usize, value: Tensor, relu: bool) -> Tensor;
}

/// Rectifies and nothing else.
pub(super) struct Plain;

impl Visitor for Plain {
    fn visit(&mut self, _: usize, mut value: Tensor, relu: bool) -> Tensor {
        if relu { value.relu_() } else { value }
    }
}

/// Rounds every activation to what its byte can stand for.
pub(super) struct Rounding<'a>(pub &'a [Affine]);

impl Visitor for Rounding<'_> {
    fn visit(&mut self, point: usize, value: Tensor, relu: bool) -> Tensor {
        let affine = self.0[point];
        let lowest = if relu {
            0
        } else {
            -i64::from(affine.zero_point)
        };
        let highest = ACTIVATION_MAXIMUM - i64::from(affine.zero_point);
        let rounded = no_grad(|| {
            let scale = f64::from(affine.scale);
            let mut levels = value.detach() * f64::from(1.0 / affine.scale);
            // Cutting off at 0 is the ReLU.
            levels.round_().clamp_(lowest, highest).g_mul_scalar_(scale)
        });
        if !value.requires_grad() {
            return rounded;
        }
        let (low, high) = affine.range();
        let low = if relu { 0.0 } else { f64::from(low) };
        straight_through(&value, low, f64::from(high), &rounded)
    }
}

/// A tensor that holds `rounded` and hands its gradient on to `value` where that lies between `low` and
/// `high`. Bit for bit what torch's `fake_quantize_per_tensor_affine` gives, in a fifth of its time: that
/// operation is not vectorised on CPUs.
fn straight_through(value: &Tensor, low: f64, high: f64, rounded: &Tensor) -> Tensor {
    let unit = 6.0 / (high - low);
    let shifted = if low == 0.0 {
        value.shallow_clone()
    } else {
        value - low
    };
    // Of the operations with a gradient of this kind, tch lets only `relu6` cut off at both ends in
    // one pass. No operation has kept the result for its own gradient, so other data may take its place.
    let mut carrier = (shifted * unit).relu6() / unit;
    carrier.set_data(rounded);
    carrier
}

/// A convolution or `fc` with its bias and the scales of its weight.
#[derive(Debug)]
pub(super) struct Layer {
    /// Prefix of its tensors, as in `layer1.0.conv1.0`.
    pub name: String,
    pub weight: Tensor,
    pub bias: Tensor,
    /// One scale an output channel.
    pub scale: Tensor,
    /// Stride and padding of a convolution; `None` for `fc`.
    pub conv: Option<([i64; 3], [i64; 3])>,
}

impl Layer {
    pub fn new(
        store: &VarStore,
        name: &str,
        shape: &[i64],
        conv: Option<([i64; 3], [i64; 3])>,
    ) -> Self {
        let path = name.split('.').fold(store.root(), |path, part| path / part);
        let channels = shape[0];
        Self {
            name: name.to_owned(),
            weight: path.zeros("weight", shape),
            bias: path.zeros("bias", &[channels]),
            scale: Tensor::ones([channels], (Kind::Float, store.device())),
            conv,
        }
    }

    fn convolution(store: &VarStore, layout: &ConvLayout) -> Self {
        let geometry = Some((layout.stride, layout.padding));
        Self::new(store, &layout.conv, &layout.weight_shape(), geometry)
    }

    /// The scales in a shape to multiply the weight with.
    pub fn channel_scale(&self) -> Tensor {
        let mut sides = vec![1; self.weight.dim()];
        sides[0] = -1;
        self.scale.reshape(sides)
    }

    /// The weight as the execution uses it.
    pub fn effective_weight(&self, execution: Execution) -> Tensor {
        match execution {
            Execution::Float => self.weight.shallow_clone(),
            Execution::Simulated => {
                // A weight that grew beyond its scale is stored as the last byte, but unlike an
                // activation keeps its gradient, so that it can come back.
                let mut weight = self.weight.copy();
                weight.set_data(&self.simulated_weight());
                weight
            }
        }
    }

    /// The weight rounded to what its bytes can stand for, without gradient.
    fn simulated_weight(&self) -> Tensor {
        no_grad(|| {
            let scale = self.channel_scale();
            let mut levels = self.weight.detach() * scale.reciprocal();
            let limit = WEIGHT_MAXIMUM as f64;
            levels.round_().clamp_(-limit, limit).g_mul_(&scale)
        })
    }

    pub fn forward(&self, input: &Tensor, execution: Execution) -> Tensor {
        let weight = self.effective_weight(execution);
        match self.conv {
            Some((stride, padding)) => {
                input.conv3d(&weight, Some(&self.bias), stride, padding, [1; 3], 1)
            }
            None => input.linear(&weight, Some(&self.bias)),
        }
    }

    /// Sets every scale so that the largest weight of its channel becomes ±127; 1 where all are zero.
    pub fn refresh_scale(&mut self) {
        no_grad(|| {
            let largest = self.weight.detach().flatten(1, -1).abs().amax(1, false);
            let scale = largest / WEIGHT_MAXIMUM as f64;
            let usable = scale.ge(f64::from(f32::MIN_POSITIVE));
            self.scale = scale.where_scalarother(&usable, 1.0);
        });
    }

    /// The weight as bytes: what the simulation's values are multiples of.
    pub fn stored_weight(&self) -> Tensor {
        no_grad(|| {
            let levels = self.simulated_weight() / self.channel_scale();
            levels.round().to_kind(Kind::Int8)
        })
    }
}

/// Convolutions and a way around them, added.
#[derive(Debug)]
pub(super) struct Block {
    pub convolutions: Vec<Layer>,
    pub shortcut: Shortcut,
}

/// The way around a block.
#[derive(Debug)]
pub(super) enum Shortcut {
    Identity,
    Convolution(Layer),
    Pad { stride: [i64; 3], channels: i64 },
}

impl Shortcut {
    fn layer(&self) -> Option<&Layer> {
        match self {
            Self::Convolution(layer) => Some(layer),
            _ => None,
        }
    }

    fn layer_mut(&mut self) -> Option<&mut Layer> {
        match self {
            Self::Convolution(layer) => Some(layer),
            _ => None,
        }
    }
}

/// The layers in the order of execution.
#[derive(Debug)]
pub(super) struct Network {
    pub stem: Vec<Layer>,
    pub pool: bool,
    pub blocks: Vec<Block>,
    pub head: Layer,
}

impl Network {
    /// Adds the parameters, all zero, to a store, in the order of execution.
    pub fn new(store: &VarStore, layout: &ResidualLayout, classes: usize) -> Self {
        let layer = |layout: &ConvLayout| Layer::convolution(store, layout);
        let block = |layout: &BlockLayout| Block {
            convolutions: layout.convolutions.iter().map(layer).collect(),
            shortcut: match &layout.shortcut {
                ShortcutLayout::Identity => Shortcut::Identity,
                ShortcutLayout::Convolution(layout) => Shortcut::Convolution(layer(layout)),
                ShortcutLayout::Pad { stride, channels } => Shortcut::Pad {
                    stride: *stride,
                    channels: *channels,
                },
            },
        };
        let head = [classes as i64, layout.head.inputs];
        Self {
            stem: layout.stem.iter().map(layer).collect(),
            pool: layout.pool,
            blocks: layout.blocks.iter().map(block).collect(),
            head: Layer::new(store, &layout.head.name, &head, None),
        }
    }

    /// The layers; a block's shortcut comes after its last convolution.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        let blocks = self.blocks.iter();
        let blocks =
            blocks.flat_map(|block| block.convolutions.iter().chain(block.shortcut.layer()));
        self.stem.iter().chain(blocks).chain([&self.head])
    }

    /// The same, to be changed.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut Layer> {
        let blocks = self.blocks.iter_mut().flat_map(|block| {
            let shortcut = block.shortcut.layer_mut();
            block.convolutions.iter_mut().chain(shortcut)
        });
        self.stem.iter_mut().chain(blocks).chain([&mut self.head])
    }

    /// Logits \[clips, classes\] of clips \[clips, 3, frames, height, width\].
    pub fn forward(
        &self,
        clips: &Tensor,
        execution: Execution,
        visitor: &mut impl Visitor,
    ) -> Tensor {
        let mut point = 0;
        let mut visit = |value: Tensor, relu: bool| {
            point += 1;
            visitor.visit(point - 1, value, relu)
        };
        let mut state = visit(innermost_channels(clips), false);
        for layer in &self.stem {
            state = visit(layer.forward(&state, execution), true);
        }
        if self.pool {
            // The largest of values that bytes can stand for is one of them.
            state = pooled(&state);
        }
        for block in &self.blocks {
            let mut sum = block.convolutions[0].forward(&state, execution);
            for layer in &block.convolutions[1..] {
                sum = layer.forward(&visit(sum, true), execution);
            }
            let around = match &block.shortcut {
                Shortcut::Identity => state.shallow_clone(),
                Shortcut::Convolution(layer) => layer.forward(&state, execution),
                Shortcut::Pad { stride, channels } => padded_shortcut(&state, *stride, *channels),
            };
            state = visit(sum.g_add_(&around), true);
        }
        let features = visit(mean_of(&state), false);
        self.head.forward(&features, execution)
    }
}

/// The mean over frames and positions, \[clips, channels\].
pub(super) fn mean_of(state: &Tensor) -> Tensor {
    state.mean_dim([2i64, 3, 4].as_slice(), false, state.kind())
}

/// The same clips with the channels innermost in memory, on CPUs: their convolutions keep that layout,
/// and in it a training step takes half the time at 8 channels, four fifths at 64.
pub(super) fn innermost_channels(clips: &Tensor) -> Tensor {
    if clips.device() != Device::Cpu {
        return clips.shallow_clone();
    }
    let inner = clips.permute([0, 2, 3, 4, 1]).contiguous();
    inner.permute([0, 4, 1, 2, 3])
}
