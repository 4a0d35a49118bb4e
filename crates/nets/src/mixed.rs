//! A network that computes in bfloat16 while its parameters are kept in 32 bits.

use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

use crate::networks::channels_last;
use crate::train::Trainable;
use crate::{Classifier, FloatModel, ModelInfo, NetsError, Network, Outputs, weights};

/// A model's twin that computes in bfloat16 (Kalamkar et al. 2019, arXiv 1905.12322).
///
/// Convolutions have a copy of the model's weights in bfloat16, and what flows between layers is bfloat16; sums inside
/// of them are in 32 bits. Batch norm, its statistics, the last layer and whatever looks at the logits are in
/// 32 bits and share the model's memory. Steps are taken in the model's own 32 bits, so that small ones are not lost,
/// and the model is what is saved: a checkpoint holds nothing of the twin.
#[derive(Debug)]
pub struct MixedModel<'a> {
    model: &'a FloatModel,
    network: Network,
    leaves: VarStore,
}

impl<'a> MixedModel<'a> {
    /// The twin of a model, which follows its parameters when an optimizer for both takes a step.
    ///
    /// # Errors
    /// A description that no network could have.
    pub fn new(model: &'a FloatModel) -> Result<Self, NetsError> {
        let leaves = VarStore::new(model.device());
        let layout = model.info.architecture.layout()?;
        let network = Network::new(&leaves, &layout, model.info.classes.len(), 0);
        let originals = weights::of(model.var_store());
        no_grad(|| {
            for (name, mut leaf) in leaves.variables() {
                let shared = originals[&name].detach();
                // Weights and biases of convolutions; all else has one axis, or two (the last layer).
                let layer = name.rsplit_once('.').map_or("", |(layer, _)| layer);
                let weight = originals.get(&format!("{layer}.weight"));
                let convolution = weight.is_some_and(|weight| weight.dim() >= 4);
                let data = if convolution {
                    shared.to_kind(Kind::BFloat16)
                } else {
                    shared
                };
                leaf.set_data(&data);
            }
        });
        Ok(Self {
            model,
            network,
            leaves,
        })
    }

    /// Logits \[clips, classes\] in 32 bits, of normalised clips \[clips, 3, frames, height, width\].
    ///
    /// With `train`, batch norm uses the batch's own statistics and updates the model's.
    pub fn logits(&self, clips: &Tensor, train: bool) -> Tensor {
        self.network.forward(&narrowed(clips), train)
    }

    /// As [`FloatModel::outputs`]; logits and features are in 32 bits, what comes out of stages is not.
    pub fn outputs(&self, clips: &Tensor) -> Outputs {
        no_grad(|| self.network.outputs(&narrowed(clips), false))
    }
}

/// Clips as the twin takes them: in bfloat16 the first convolution, too, is faster with channels last, and what it puts
/// out need not be turned round for the layers behind it, nor its gradient on the way back.
fn narrowed(clips: &Tensor) -> Tensor {
    channels_last(&clips.to_kind(Kind::BFloat16))
}

impl Classifier for MixedModel<'_> {
    fn info(&self) -> &ModelInfo {
        &self.model.info
    }

    fn device(&self) -> Device {
        self.leaves.device()
    }

    fn classify(&self, clips: &Tensor) -> Tensor {
        no_grad(|| self.logits(clips, false))
    }
}

impl Trainable for MixedModel<'_> {
    fn var_store(&self) -> &VarStore {
        self.model.var_store()
    }

    fn leaves(&self) -> &VarStore {
        &self.leaves
    }

    fn train_outputs(&self, clips: &Tensor) -> Outputs {
        self.network.outputs(&narrowed(clips), true)
    }
}
