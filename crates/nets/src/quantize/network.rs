//! The folded network: convolutions with bias, and the places where activations become bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Kind, Tensor, no_grad};

use super::{ACTIVATION_MAXIMUM, Affine, WEIGHT_MAXIMUM};
use crate::{BlockLayout, ConvLayout, Layout};

/// How a quantized network is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Execution {
    /// The folded network in 32 bits, nothing rounded.
    Float,
    /// In 32 bits, with every weight and activation rounded to a value that its byte can stand for:
    /// what int8 kernels compute, up to the last bits of sums. Gradients pass straight through the
    /// rounding and stop where a value is cut off (Bengio et al. 2013, arXiv 1308.3432).
    #[default]
    Simulated,
}

/// A place where an activation is stored as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub name: String,
    /// Behind a ReLU, so that no value is negative.
    pub rectified: bool,
}

/// The places of a network in the order of execution: the input, behind each ReLU, and the mean that
/// `fc` sees. Everything a convolution or `fc` reads is among them.
pub(super) fn points(layout: &Layout) -> Vec<Point> {
    let point = |name: &str, rectified| Point {
        name: name.to_owned(),
        rectified,
    };
    let mut points = vec![point("input", false), point("stem", true)];
    for block in &layout.blocks {
        points.push(point(&format!("{}.conv1", block.name), true));
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

/// Rounds every activation to what its byte can stand for, in one operation.
pub(super) struct Rounding<'a>(pub &'a [Affine]);

impl Visitor for Rounding<'_> {
    fn visit(&mut self, point: usize, mut value: Tensor, relu: bool) -> Tensor {
        let Affine { scale, zero_point } = self.0[point];
        // With 0 as the smallest byte's value, cutting off below it is the ReLU. Only the gradient
        // knows a difference: it still passes from half a step below 0.
        if relu && zero_point != 0 {
            value = value.relu_();
        }
        value.fake_quantize_per_tensor_affine(
            f64::from(scale),
            i64::from(zero_point),
            0,
            ACTIVATION_MAXIMUM,
        )
    }
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
    zero_point: Tensor,
    conv: Option<([i64; 3], [i64; 3])>,
}

impl Layer {
    fn new(
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
            zero_point: Tensor::zeros([channels], (Kind::Int, store.device())),
            conv,
        }
    }

    fn convolution(store: &VarStore, layout: &ConvLayout) -> Self {
        let geometry = Some((layout.stride, layout.padding));
        Self::new(store, &layout.conv, &layout.weight_shape(), geometry)
    }

    /// The weight as the execution uses it.
    pub fn effective_weight(&self, execution: Execution) -> Tensor {
        match execution {
            Execution::Float => self.weight.shallow_clone(),
            Execution::Simulated => self.weight.fake_quantize_per_channel_affine(
                &self.scale,
                &self.zero_point,
                0,
                -WEIGHT_MAXIMUM,
                WEIGHT_MAXIMUM,
            ),
        }
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
            let mut sides = vec![1; self.weight.dim()];
            sides[0] = -1;
            let simulated = self.effective_weight(Execution::Simulated);
            let levels = simulated / self.scale.reshape(sides);
            levels.round().to_kind(Kind::Int8)
        })
    }
}

#[derive(Debug)]
struct Block {
    conv1: Layer,
    conv2: Layer,
    downsample: Option<Layer>,
}

/// The layers in the order of execution.
#[derive(Debug)]
pub(super) struct Network {
    stem: Layer,
    blocks: Vec<Block>,
    head: Layer,
}

impl Network {
    /// Adds the parameters, all zero, to a store, in the order of execution.
    pub fn new(store: &VarStore, layout: &Layout, classes: usize) -> Self {
        let block = |layout: &BlockLayout| Block {
            conv1: Layer::convolution(store, &layout.conv1),
            conv2: Layer::convolution(store, &layout.conv2),
            downsample: layout
                .downsample
                .as_ref()
                .map(|layer| Layer::convolution(store, layer)),
        };
        Self {
            stem: Layer::convolution(store, &layout.stem),
            blocks: layout.blocks.iter().map(block).collect(),
            head: Layer::new(store, "fc", &[classes as i64, layout.features], None),
        }
    }

    /// The layers; a block's shortcut comes after its second convolution.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        let blocks = self.blocks.iter().flat_map(|block| {
            [&block.conv1, &block.conv2]
                .into_iter()
                .chain(&block.downsample)
        });
        std::iter::once(&self.stem)
            .chain(blocks)
            .chain([&self.head])
    }

    /// The same, to be changed.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut Layer> {
        let blocks = self.blocks.iter_mut().flat_map(|block| {
            [&mut block.conv1, &mut block.conv2]
                .into_iter()
                .chain(&mut block.downsample)
        });
        std::iter::once(&mut self.stem)
            .chain(blocks)
            .chain([&mut self.head])
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
        let input = visit(clips.shallow_clone(), false);
        let mut state = visit(self.stem.forward(&input, execution), true);
        for block in &self.blocks {
            let inner = visit(block.conv1.forward(&state, execution), true);
            let mut sum = block.conv2.forward(&inner, execution);
            let sum = match &block.downsample {
                Some(layer) => sum.g_add_(&layer.forward(&state, execution)),
                None => sum.g_add_(&state),
            };
            state = visit(sum, true);
        }
        let mean = state.mean_dim([2i64, 3, 4].as_slice(), false, state.kind());
        let features = visit(mean, false);
        self.head.forward(&features, execution)
    }
}
