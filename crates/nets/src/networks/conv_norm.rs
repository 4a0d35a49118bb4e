//! A convolution and the batch norm behind it, which every family is made of.

use tch::nn::Path;
use tch::{Kind, Tensor, no_grad};

use super::initial::{descend, random};
use super::memory::channels_last;
use crate::ConvLayout;

/// Added to a variance before its root is taken; torch's default.
pub(crate) const EPSILON: f64 = 1e-5;

/// Share of a batch's statistics in the running ones; torch's default.
const MOMENTUM: f64 = 0.1;

/// What has at most as many channels, the clips, has them far from one another in memory.
const FEW_CHANNELS: i64 = 3;

/// Weights of fewer numbers are turned around in no time. They stay as they are, and with them the last bits of what
/// small networks learn: sums over a weight depend on how it lies.
const MANY_NUMBERS: usize = 1 << 16;

/// A convolution and the batch norm behind it, where there is one.
#[derive(Debug)]
pub(super) struct ConvNorm {
    layout: ConvLayout,
    weight: Tensor,
    bias: Option<Tensor>,
    norm: Option<Norm>,
}

#[derive(Debug)]
struct Norm {
    scale: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    batches: Tensor,
}

impl ConvNorm {
    pub fn new(root: &Path, layout: &ConvLayout, seed: u64) -> Self {
        let path = descend(root, &layout.conv);
        let fan_out = layout.outputs * layout.kernel.iter().product::<i64>();
        let deviation = (2.0 / fan_out as f64).sqrt();
        let mut weight = random(&path, "weight", &layout.weight_shape(), deviation, seed);
        if layout.inputs > FEW_CHANNELS && weight.numel() >= MANY_NUMBERS {
            // As the convolution wants it, which else would turn it around in every pass.
            no_grad(|| weight.set_data(&channels_last(&weight.detach())));
        }
        Self {
            weight,
            bias: layout.bias.then(|| path.zeros("bias", &[layout.outputs])),
            norm: layout
                .norm
                .as_ref()
                .map(|name| Norm::new(&descend(root, name), layout.outputs)),
            layout: layout.clone(),
        }
    }

    /// The same, putting out zeros until it has learned: a block that ends with it begins as its shortcut
    /// (Goyal et al. 2017, arXiv 1706.02677, section 5.1).
    pub fn silent(root: &Path, layout: &ConvLayout, seed: u64) -> Self {
        let unit = Self::new(root, layout, seed);
        if let Some(norm) = &unit.norm {
            let _ = no_grad(|| norm.scale.shallow_clone().zero_());
        }
        unit
    }

    pub fn forward(&self, input: &Tensor, train: bool) -> Tensor {
        self.normalise(self.convolve(input), train)
    }

    /// The convolution alone.
    pub fn convolve(&self, input: &Tensor) -> Tensor {
        let ConvLayout {
            kernel,
            stride,
            padding,
            groups,
            ..
        } = self.layout;
        let bias = self.bias.as_ref();
        if self.layout.planar {
            let (stride, padding) = (&stride[1..], &padding[1..]);
            return input.conv2d(&self.weight, bias, stride, padding, [1; 2], groups);
        }
        if kernel[0] > 1 && padding[0] == kernel[0] / 2 && input.size()[2] == 1 {
            // A single frame between frames of padding: only the kernel's middle has something to see.
            // Channels go to the end and back, so that the gradient lies as the weight does.
            let weight = self.weight.permute([0, 2, 3, 4, 1]);
            let weight = weight.select(1, padding[0]).permute([0, 3, 1, 2]);
            let (input, stride, padding) = (input.squeeze_dim(2), &stride[1..], &padding[1..]);
            return input
                .conv2d(&weight, bias, stride, padding, [1; 2], groups)
                .unsqueeze(2);
        }
        let (mut margins, mut padded) = (padding, None);
        if input.kind() == Kind::BFloat16 && kernel[0] > input.size()[2] {
            // Where no output sees the whole kernel over frames, oneDNN's kernels of AVX-512 in bfloat16 (which serve where there is
            // no AMX: Zen 4 and 5, Cooper Lake) leave parts of the weight's gradient unwritten. Frames of zeros let all outputs see it.
            let frames = std::mem::take(&mut margins[0]);
            padded = Some(input.constant_pad_nd([0, 0, 0, 0, frames, frames]));
        }
        let input = padded.as_ref().unwrap_or(input);
        input.conv3d(&self.weight, bias, stride, margins, [1; 3], groups)
    }

    /// The batch norm alone.
    pub fn normalise(&self, state: Tensor, train: bool) -> Tensor {
        match &self.norm {
            Some(norm) => norm.forward(&state, train),
            None => state,
        }
    }
}

impl Norm {
    fn new(path: &Path, channels: i64) -> Self {
        let channels = [channels];
        let counter = Tensor::zeros([], (Kind::Int64, path.device()));
        Self {
            scale: path.ones("weight", &channels),
            shift: path.zeros("bias", &channels),
            running_mean: path.zeros_no_train("running_mean", &channels),
            running_var: path.ones_no_train("running_var", &channels),
            batches: path.add("num_batches_tracked", counter, false),
        }
    }

    fn forward(&self, state: &Tensor, train: bool) -> Tensor {
        if train {
            let mut batches = self.batches.shallow_clone();
            let _ = no_grad(|| batches.g_add_scalar_(1));
        }
        state.batch_norm(
            Some(&self.scale),
            Some(&self.shift),
            Some(&self.running_mean),
            Some(&self.running_var),
            train,
            MOMENTUM,
            EPSILON,
            true,
        )
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tch::nn::VarStore;

    use super::*;
    use crate::{Architecture, Layout};

    #[test]
    fn in_bfloat16_gradients_are_those_of_32_bits_however_few_frames_there_are() {
        let settings = [
            r#"{"width": 16}"#,
            r#"{"arch": "r2plus1d", "width": 16}"#,
            r#"{"arch": "x3d"}"#,
        ];
        let layouts = settings.map(|settings| {
            let architecture: Architecture = serde_json::from_str(settings).unwrap();
            architecture.layout().unwrap()
        });
        let all = layouts.iter().flat_map(Layout::convolutions);
        let long = all.filter(|layer| layer.kernel[0] > 1);
        let cases = long
            .step_by(4)
            .flat_map(|layer| [1, 2, 3, 4].map(|frames| (layer, frames)));
        for (layer, frames) in cases {
            let what = format!("{} with {frames} frames", layer.conv);
            let store = VarStore::new(Device::Cpu);
            let mut unit = ConvNorm::new(&store.root(), layer, 1);
            let shape = [2, layer.inputs, frames, 7, 7];
            let input = Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16);
            let mut gradients = |kind: Kind| {
                unit.weight = unit
                    .weight
                    .detach()
                    .to_kind(Kind::BFloat16)
                    .to_kind(kind)
                    .set_requires_grad(true);
                let input = channels_last(&input.to_kind(kind)).set_requires_grad(true);
                // What freed memory holds is no number: whoever reads it shows it.
                drop(
                    (1..40)
                        .map(|n| Tensor::full([n * 1777], f64::NAN, (Kind::Float, Device::Cpu)))
                        .collect::<Vec<_>>(),
                );
                let sum = unit
                    .convolve(&input)
                    .to_kind(Kind::Float)
                    .square()
                    .sum(Kind::Float);
                let gradients = Tensor::run_backward(&[sum], &[&input, &unit.weight], false, false);
                gradients
                    .iter()
                    .map(|gradient| gradient.to_kind(Kind::Float))
                    .collect::<Vec<_>>()
            };
            let (narrow, wide) = (gradients(Kind::BFloat16), gradients(Kind::Float));
            for (narrow, wide) in narrow.iter().zip(&wide) {
                let off = (narrow - wide).norm().double_value(&[]) / wide.norm().double_value(&[]);
                assert!(off < 0.02, "{what}: {off} of the gradient");
            }
        }
    }

    #[test]
    fn a_single_frame_takes_the_short_way_to_the_same_numbers() {
        let layouts = ["r3d", "r2plus1d", "x3d"].map(|arch| {
            let settings = serde_json::json!({"arch": arch, "width": 16});
            let architecture: Architecture = serde_json::from_value(settings).unwrap();
            architecture.layout().unwrap()
        });
        let all = layouts.iter().flat_map(Layout::convolutions);
        let long = all.filter(|layer| layer.kernel[0] > 1);
        for layer in long.step_by(5) {
            let store = VarStore::new(Device::Cpu);
            let unit = ConvNorm::new(&store.root(), layer, 1);
            let shape = [2, layer.inputs, 1, 9, 9];
            let input = Tensor::randn(shape, (Kind::Float, Device::Cpu));
            let input = channels_last(&input).set_requires_grad(true);
            let short = unit.convolve(&input);
            let (stride, padding, none) = (layer.stride, layer.padding, None::<&Tensor>);
            let long = input.conv3d(&unit.weight, none, stride, padding, [1; 3], layer.groups);
            assert_eq!(short.size(), long.size());
            assert!(short.allclose(&long, 1e-4, 1e-5, false), "{}", layer.conv);
            let gradients = |output: &Tensor| {
                let sum = output.square().sum(Kind::Float);
                Tensor::run_backward(&[sum], &[&input, &unit.weight], false, false)
            };
            for (short, long) in gradients(&short).iter().zip(gradients(&long)) {
                assert!(short.allclose(&long, 1e-3, 1e-3, false), "{}", layer.conv);
            }
        }
    }
}
