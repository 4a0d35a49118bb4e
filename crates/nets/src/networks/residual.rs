//! R3D, MC3 and R(2+1)D (Tran et al. 2018, arXiv 1711.11248; Hara et al. 2018, arXiv 1711.09577).

use tch::nn::Path;
use tch::{Kind, Tensor};

use super::conv_norm::ConvNorm;
use super::memory::channels_last;
use crate::{BlockLayout, ResidualLayout, STEM_POOL, ShortcutLayout};

/// Everything before the last layer.
#[derive(Debug)]
pub(super) struct ResidualNet {
    stem: Vec<ConvNorm>,
    pool: bool,
    blocks: Vec<Block>,
}

impl ResidualNet {
    pub fn new(root: &Path, layout: &ResidualLayout, seed: u64) -> Self {
        let layers = layout.stem.iter();
        let blocks = layout.blocks.iter();
        Self {
            stem: layers
                .map(|layer| ConvNorm::new(root, layer, seed))
                .collect(),
            pool: layout.pool,
            blocks: blocks.map(|block| Block::new(root, block, seed)).collect(),
        }
    }

    /// Means over frames and space, \[clips, features\].
    pub fn features(&self, clips: &Tensor, train: bool) -> Tensor {
        // The first convolution is faster with channels first, everything behind it with channels last.
        let (first, rest) = (&self.stem[0], &self.stem[1..]);
        let state = channels_last(&first.convolve(clips));
        let mut state = first.normalise(state, train).relu_();
        for layer in rest {
            state = layer.forward(&state, train).relu_();
        }
        if self.pool {
            state = pooled(&state);
        }
        for block in &self.blocks {
            state = block.forward(&state, train);
        }
        state.mean_dim([2i64, 3, 4].as_slice(), false, Kind::Float)
    }
}

/// The max-pool behind Hara's stem.
pub(crate) fn pooled(state: &Tensor) -> Tensor {
    let (kernel, stride, padding) = STEM_POOL;
    state.max_pool3d([kernel; 3], [stride; 3], [padding; 3], [1; 3], false)
}

/// Convolutions and a shortcut around them.
#[derive(Debug)]
struct Block {
    convolutions: Vec<ConvNorm>,
    shortcut: Shortcut,
}

#[derive(Debug)]
enum Shortcut {
    Identity,
    Convolution(ConvNorm),
    Pad { stride: [i64; 3], channels: i64 },
}

impl Block {
    fn new(root: &Path, layout: &BlockLayout, seed: u64) -> Self {
        let layers = layout.convolutions.iter();
        Self {
            convolutions: layers
                .map(|layer| ConvNorm::new(root, layer, seed))
                .collect(),
            shortcut: match &layout.shortcut {
                ShortcutLayout::Identity => Shortcut::Identity,
                ShortcutLayout::Convolution(layer) => {
                    Shortcut::Convolution(ConvNorm::new(root, layer, seed))
                }
                ShortcutLayout::Pad { stride, channels } => Shortcut::Pad {
                    stride: *stride,
                    channels: *channels,
                },
            },
        }
    }

    fn forward(&self, input: &Tensor, train: bool) -> Tensor {
        let mut outer = self.convolutions[0].forward(input, train);
        for layer in &self.convolutions[1..] {
            outer = layer.forward(&outer.relu_(), train);
        }
        let around = match &self.shortcut {
            Shortcut::Identity => input.shallow_clone(),
            Shortcut::Convolution(layer) => layer.forward(input, train),
            Shortcut::Pad { stride, channels } => padded_shortcut(input, *stride, *channels),
        };
        outer.g_add_(&around).relu_()
    }
}

/// A shortcut without parameters: the values at the stride's positions, and zeros in new channels behind
/// the old ones. Its gradient is that of the values (Hara's published code cuts it).
pub(crate) fn padded_shortcut(input: &Tensor, stride: [i64; 3], channels: i64) -> Tensor {
    let axes = (2i64..).zip(stride).filter(|(_, step)| *step > 1);
    let kept = axes.fold(input.shallow_clone(), |state, (axis, step)| {
        state.slice(axis, None, None, step)
    });
    kept.constant_pad_nd([0, 0, 0, 0, 0, 0, 0, channels])
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tch::nn::VarStore;

    use super::*;
    use crate::networks::Network;
    use crate::{Architecture, Residual, Stem};

    fn randn(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    #[test]
    fn the_running_statistics_follow_the_batches_of_training_alone() {
        let store = VarStore::new(Device::Cpu);
        let layout = Architecture::r3d(10, 2).layout().unwrap();
        let network = Network::new(&store, &layout, 3, 1);
        let clips = randn(&[2, 3, 4, 16, 16]);
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
            Network::new(&store, &layout, 3, seed);
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

    #[test]
    fn a_padded_shortcut_is_an_average_pool_of_one_and_zeros_and_hands_its_gradient_on() {
        let input = channels_last(&randn(&[2, 4, 5, 6, 7])).set_requires_grad(true);
        let output = padded_shortcut(&input, [2; 3], 3);
        let pooled = input.avg_pool3d([1; 3], [2; 3], [0; 3], false, true, None);
        assert!(output.narrow(1, 0, 4).equal(&pooled));
        assert_eq!(output.size(), [2, 7, 3, 3, 4]);
        let zeros = output.narrow(1, 4, 3).abs().max().double_value(&[]);
        assert_eq!(zeros, 0.0);
        output.sum(Kind::Float).backward();
        // One for every value that is kept: two clips, four channels, 3x3x4 positions.
        let total = input.grad().sum(Kind::Float).double_value(&[]);
        assert_eq!(total, f64::from(2 * 4 * 3 * 3 * 4));
    }

    /// With the convolutions of every block silenced, all that learns does so through the shortcuts.
    #[test]
    fn the_stem_learns_through_padded_shortcuts() {
        let store = VarStore::new(Device::Cpu);
        let architecture = Architecture::Residual(Residual {
            depth: 10,
            width: 4,
            stem: Stem::Hara,
            shortcut: crate::Shortcut::Pad,
            ..Residual::default()
        });
        let network = Network::new(&store, &architecture.layout().unwrap(), 3, 1);
        for (name, variable) in store.variables() {
            if name.starts_with("layer") && name.contains("conv2.1.weight") {
                let _ = tch::no_grad(|| variable.shallow_clone().zero_());
            }
        }
        let logits = network.forward(&randn(&[2, 3, 8, 32, 32]), true);
        logits.square().sum(Kind::Float).backward();
        let gradient = store.variables()["stem.0.weight"].grad();
        assert!(gradient.abs().max().double_value(&[]) > 0.0);
    }

    #[test]
    fn tensors_keep_their_channels_innermost_behind_haras_stem() {
        let state = channels_last(&randn(&[2, 8, 4, 10, 10]));
        assert_eq!(pooled(&state).stride()[1], 1);
        assert_eq!(padded_shortcut(&state, [2; 3], 8).stride()[1], 1);
    }
}
