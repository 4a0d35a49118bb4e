//! The 3-D residual network, laid out as torchvision's `VideoResNet` with basic blocks (Tran et al.
//! 2018, arXiv 1711.11248).

use tch::nn::{Path, VarStore};
use tch::{Kind, Tensor, no_grad};

use crate::random::{Purpose, key, normal, stream};
use crate::{BlockLayout, ConvLayout, Layout};

/// Added to a variance before its root is taken; torch's default.
pub(crate) const EPSILON: f64 = 1e-5;

/// Share of a batch's statistics in the running ones; torch's default.
const MOMENTUM: f64 = 0.1;

/// A float network whose parameters live in a variable store under torchvision's names.
#[derive(Debug)]
pub struct R3d {
    stem: ConvNorm,
    blocks: Vec<Block>,
    weight: Tensor,
    bias: Tensor,
}

impl R3d {
    /// Adds the parameters to a store, initialised as torchvision does: convolutions by He's normal
    /// distribution over outputs (2015, arXiv 1502.01852), `fc` with deviation 0.01.
    pub fn new(store: &VarStore, layout: &Layout, classes: usize, seed: u64) -> Self {
        let root = store.root();
        let fc = &root / "fc";
        let classes = classes as i64;
        Self {
            stem: ConvNorm::new(&root, &layout.stem, seed),
            blocks: layout
                .blocks
                .iter()
                .map(|block| Block::new(&root, block, seed))
                .collect(),
            weight: random(&fc, "weight", &[classes, layout.features], 0.01, seed),
            bias: fc.zeros("bias", &[classes]),
        }
    }

    /// Logits \[clips, classes\] of clips \[clips, 3, frames, height, width\].
    ///
    /// With `train`, batch norm uses the batch's own statistics and updates the running ones.
    pub fn forward(&self, clips: &Tensor, train: bool) -> Tensor {
        let features = self.features(clips, train);
        features.linear(&self.weight, Some(&self.bias))
    }

    /// What `fc` sees: means over frames and space, \[clips, 8 x width\].
    pub fn features(&self, clips: &Tensor, train: bool) -> Tensor {
        // The stem is faster with channels first, everything behind it with channels last.
        let state = self.stem.convolve(clips);
        let mut state = self.stem.normalise(&channels_last(&state), train).relu_();
        for block in &self.blocks {
            state = block.forward(&state, train);
        }
        state.mean_dim([2i64, 3, 4].as_slice(), false, state.kind())
    }
}

/// A convolution without bias and the batch norm behind it.
#[derive(Debug)]
struct ConvNorm {
    layout: ConvLayout,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    batches: Tensor,
}

impl ConvNorm {
    fn new(root: &Path, layout: &ConvLayout, seed: u64) -> Self {
        let conv = descend(root, &layout.conv);
        let norm = descend(root, &layout.norm);
        let channels = [layout.outputs];
        let fan_out = layout.outputs * layout.kernel.iter().product::<i64>();
        let deviation = (2.0 / fan_out as f64).sqrt();
        let counter = Tensor::zeros([], (Kind::Int64, root.device()));
        Self {
            weight: random(&conv, "weight", &layout.weight_shape(), deviation, seed),
            scale: norm.ones("weight", &channels),
            shift: norm.zeros("bias", &channels),
            running_mean: norm.zeros_no_train("running_mean", &channels),
            running_var: norm.ones_no_train("running_var", &channels),
            batches: norm.add("num_batches_tracked", counter, false),
            layout: layout.clone(),
        }
    }

    fn forward(&self, input: &Tensor, train: bool) -> Tensor {
        self.normalise(&self.convolve(input), train)
    }

    fn convolve(&self, input: &Tensor) -> Tensor {
        let none = None::<&Tensor>;
        let (stride, padding) = (self.layout.stride, self.layout.padding);
        if self.layout.kernel[0] == 3 && padding[0] == 1 && input.size()[2] == 1 {
            // A single frame between two of padding: only the kernel's middle has something to see.
            let weight = self.weight.select(2, 1);
            let (input, stride, padding) = (input.squeeze_dim(2), &stride[1..], &padding[1..]);
            return input
                .conv2d(&weight, none, stride, padding, [1; 2], 1)
                .unsqueeze(2);
        }
        input.conv3d(&self.weight, none, stride, padding, [1; 3], 1)
    }

    fn normalise(&self, state: &Tensor, train: bool) -> Tensor {
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

/// Two convolutions and a shortcut around them.
#[derive(Debug)]
struct Block {
    conv1: ConvNorm,
    conv2: ConvNorm,
    downsample: Option<ConvNorm>,
}

impl Block {
    fn new(root: &Path, layout: &BlockLayout, seed: u64) -> Self {
        Self {
            conv1: ConvNorm::new(root, &layout.conv1, seed),
            conv2: ConvNorm::new(root, &layout.conv2, seed),
            downsample: layout
                .downsample
                .as_ref()
                .map(|layer| ConvNorm::new(root, layer, seed)),
        }
    }

    fn forward(&self, input: &Tensor, train: bool) -> Tensor {
        let inner = self.conv1.forward(input, train).relu_();
        let mut outer = self.conv2.forward(&inner, train);
        let shortcut = match &self.downsample {
            Some(layer) => layer.forward(input, train),
            None => input.shallow_clone(),
        };
        outer.g_add_(&shortcut).relu_()
    }
}

/// The same tensor with its channels side by side in memory: libtorch then takes the kernels for
/// that layout, which on CPUs are faster from 16 channels on, above all backward.
fn channels_last(tensor: &Tensor) -> Tensor {
    tensor
        .permute([0, 2, 3, 4, 1])
        .contiguous()
        .permute([0, 4, 1, 2, 3])
}

fn descend<'a>(root: &Path<'a>, name: &str) -> Path<'a> {
    name.split('.')
        .fold(root.clone(), |path, part| path.sub(part))
}

/// A variable drawn from a normal distribution; its stream depends on the seed and its name alone.
fn random(path: &Path, name: &str, shape: &[i64], deviation: f64, seed: u64) -> Tensor {
    let count = shape.iter().product::<i64>() as usize;
    let mut source = stream(Purpose::Initialisation, seed, key(&path.path(name)), 0);
    let values = Tensor::from_slice(&normal(&mut source, count, deviation)).reshape(shape);
    path.var_copy(name, &values)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::Architecture;

    #[test]
    fn a_single_frame_takes_the_short_way_to_the_same_numbers() {
        let layout = Architecture::default().layout().unwrap();
        for layer in [
            &layout.blocks[0].conv1,
            &layout.blocks[2].conv1,
            &layout.stem,
        ] {
            let store = VarStore::new(Device::Cpu);
            let unit = ConvNorm::new(&store.root(), layer, 1);
            let shape = [2, layer.inputs, 1, 9, 9];
            let input = Tensor::randn(shape, (Kind::Float, Device::Cpu));
            let input = channels_last(&input).set_requires_grad(true);
            let short = unit.convolve(&input);
            let (stride, padding) = (layer.stride, layer.padding);
            let long = input.conv3d(&unit.weight, None::<&Tensor>, stride, padding, [1; 3], 1);
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

    #[test]
    fn the_running_statistics_follow_the_batches_of_training_alone() {
        let store = VarStore::new(Device::Cpu);
        let architecture = Architecture {
            depth: 10,
            width: 2,
            ..Architecture::default()
        };
        let network = R3d::new(&store, &architecture.layout().unwrap(), 3, 1);
        let clips = Tensor::randn([2, 3, 4, 16, 16], (Kind::Float, Device::Cpu));
        let counter = &store.variables()["layer4.0.conv2.1.num_batches_tracked"];
        let mean = &store.variables()["layer4.0.conv2.1.running_mean"];
        assert_eq!(network.forward(&clips, false).size(), [2, 3]);
        assert_eq!(counter.int64_value(&[]), 0);
        assert_eq!(mean.abs().sum(Kind::Float).double_value(&[]), 0.0);
        let _ = network.forward(&clips, true);
        assert_eq!(counter.int64_value(&[]), 1);
        assert!(mean.abs().sum(Kind::Float).double_value(&[]) > 0.0);
    }

    #[test]
    fn initial_weights_have_hes_deviation_and_depend_on_seed_and_name() {
        let draw = |seed| {
            let store = VarStore::new(Device::Cpu);
            let layout = Architecture::default().layout().unwrap();
            R3d::new(&store, &layout, 3, seed);
            store.variables()
        };
        let (first, second, other) = (draw(1), draw(1), draw(2));
        let name = "layer3.1.conv1.0.weight";
        let deviation = first[name].std(true).double_value(&[]);
        let expected = (2.0f64 / (64.0 * 27.0)).sqrt();
        assert!((deviation / expected - 1.0).abs() < 0.02, "{deviation}");
        assert!(first[name].equal(&second[name]));
        assert!(!first[name].equal(&other[name]));
        assert!(!first[name].equal(&first["layer3.1.conv2.0.weight"]));
    }
}
