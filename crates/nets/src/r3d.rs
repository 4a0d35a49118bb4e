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
        let mut state = self.stem.forward(clips, train).relu_();
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
        let ConvLayout {
            stride, padding, ..
        } = &self.layout;
        let state = input.conv3d(&self.weight, None::<&Tensor>, stride, padding, [1; 3], 1);
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
