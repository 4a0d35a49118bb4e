//! X3D (Feichtenhofer 2020, arXiv 2004.04730).
//!
//! Without the dropout that the paper puts before the last layer.

use tch::Tensor;
use tch::nn::Path;

use super::conv_norm::ConvNorm;
use super::memory::channels_last;
use crate::{X3dBlockLayout, X3dLayout};

/// Everything before the last layer.
#[derive(Debug)]
pub(super) struct X3dNet {
    stem: [ConvNorm; 2],
    blocks: Vec<Block>,
    widen: ConvNorm,
    lift: ConvNorm,
}

impl X3dNet {
    pub fn new(root: &Path, layout: &X3dLayout, seed: u64) -> Self {
        let layer = |layer| ConvNorm::new(root, layer, seed);
        let blocks = layout.blocks.iter();
        Self {
            stem: layout.stem.each_ref().map(layer),
            blocks: blocks.map(|block| Block::new(root, block, seed)).collect(),
            widen: layer(&layout.widen),
            lift: layer(&layout.lift),
        }
    }

    /// What the last layer sees, \[clips, features\], and what comes out of each stage.
    pub fn features(&self, clips: &Tensor, train: bool) -> (Tensor, Vec<Tensor>) {
        let [across, through] = &self.stem;
        let state = channels_last(&across.convolve(clips));
        let mut state = through.forward(&state, train).relu_();
        let mut stages = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            if index > 0 && block.shortcut.is_some() {
                stages.push(state.shallow_clone());
            }
            state = block.forward(&state, train);
        }
        let wide = means(&self.widen.forward(&state, train).relu_());
        stages.push(state);
        let features = self.lift.forward(&wide, train).relu_().flatten(1, -1);
        (features, stages)
    }
}

/// Means over frames and space, \[clips, channels, 1, 1, 1\].
fn means(state: &Tensor) -> Tensor {
    state.mean_dim([2i64, 3, 4].as_slice(), true, state.kind())
}

/// An inverted bottleneck and a shortcut around it.
#[derive(Debug)]
struct Block {
    expand: ConvNorm,
    depthwise: ConvNorm,
    squeeze: Option<[ConvNorm; 2]>,
    project: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl Block {
    fn new(root: &Path, layout: &X3dBlockLayout, seed: u64) -> Self {
        let layer = |layer| ConvNorm::new(root, layer, seed);
        Self {
            expand: layer(&layout.expand),
            depthwise: layer(&layout.depthwise),
            squeeze: layout
                .squeeze
                .as_ref()
                .map(|layers| layers.each_ref().map(layer)),
            project: ConvNorm::silent(root, &layout.project, seed),
            shortcut: layout.shortcut.as_ref().map(layer),
        }
    }

    fn forward(&self, input: &Tensor, train: bool) -> Tensor {
        let state = self.expand.forward(input, train).relu_();
        let mut state = self.depthwise.forward(&state, train);
        if let Some([reduce, weigh]) = &self.squeeze {
            let inner = reduce.forward(&means(&state), train).relu_();
            state = state.g_mul(&weigh.forward(&inner, train).sigmoid());
        }
        let mut state = self.project.forward(&state.silu(), train);
        let around = match &self.shortcut {
            Some(layer) => layer.forward(input, train),
            None => input.shallow_clone(),
        };
        state.g_add_(&around).relu_()
    }
}
