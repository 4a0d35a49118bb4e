//! The networks, with their parameters in a variable store under the names of their layout.

mod conv_norm;
mod head;
mod initial;
mod memory;
mod residual;
mod tsm;
mod x3d;

use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::Layout;

pub(crate) use conv_norm::EPSILON;
use head::Head;
pub(crate) use memory::channels_last;
use residual::ResidualNet;
pub(crate) use residual::{padded_shortcut, pooled};
use tsm::TsmNet;
use x3d::X3dNet;

/// What a network makes of clips on the way to its answer.
#[derive(Debug)]
pub struct Outputs {
    /// \[clips, classes\].
    pub logits: Tensor,
    /// What the last layer sees, \[clips, features\].
    pub features: Tensor,
    /// What comes out of each stage, from the first to the last, \[clips, channels, frames, height, width\]. A stage ends
    /// where the next block changes the shape.
    pub stages: Vec<Tensor>,
}

/// A float network whose parameters live in a variable store.
#[derive(Debug)]
pub struct Network {
    body: Body,
    head: Head,
}

/// Everything before the last layer.
#[derive(Debug)]
enum Body {
    Residual(ResidualNet),
    X3d(Box<X3dNet>),
    Tsm(Box<TsmNet>),
}

impl Network {
    /// Adds the parameters to a store. Each depends on `seed` and its name alone: convolutions follow He's
    /// normal distribution over outputs (2015, arXiv 1502.01852), the last layer one of deviation 0.01.
    pub fn new(store: &VarStore, layout: &Layout, classes: usize, seed: u64) -> Self {
        let root = store.root();
        let body = match layout {
            Layout::Residual(layout) => Body::Residual(ResidualNet::new(&root, layout, seed)),
            Layout::X3d(layout) => Body::X3d(Box::new(X3dNet::new(&root, layout, seed))),
            Layout::Tsm(layout) => Body::Tsm(Box::new(TsmNet::new(&root, layout, seed))),
        };
        Self {
            body,
            head: Head::new(&root, layout.head(), classes, seed),
        }
    }

    /// Logits \[clips, classes\] of clips \[clips, 3, frames, height, width\].
    ///
    /// With `train`, batch norm uses the batch's own statistics and updates the running ones.
    pub fn forward(&self, clips: &Tensor, train: bool) -> Tensor {
        self.outputs(clips, train).logits
    }

    /// The same with what led to it.
    pub fn outputs(&self, clips: &Tensor, train: bool) -> Outputs {
        let (features, stages) = match &self.body {
            Body::Residual(network) => network.features(clips, train),
            Body::X3d(network) => network.features(clips, train),
            Body::Tsm(network) => network.features(clips, train),
        };
        // The last layer is in 32 bits, whatever the others compute in.
        let features = features.to_kind(Kind::Float);
        Outputs {
            logits: self.head.forward(&features),
            features,
            stages,
        }
    }
}
