//! Models as they stand in a folder: `model.json` and `model.safetensors`.

use std::path::Path;

use tch::nn::VarStore;
use tch::{Device, Tensor, no_grad};

use crate::quantize::QuantizedModel;
use crate::{ModelInfo, NetsError, Network, Outputs, files, weights};

/// Whatever sorts clips into classes.
pub trait Classifier {
    /// Classes, geometry, normalisation.
    fn info(&self) -> &ModelInfo;

    /// Where its parameters are.
    fn device(&self) -> Device;

    /// Logits \[clips, classes\] of normalised clips \[clips, 3, frames, height, width\], as in use:
    /// without gradients and with the running statistics of batch norm.
    fn classify(&self, clips: &Tensor) -> Tensor;
}

/// A float network with its description.
#[derive(Debug)]
pub struct FloatModel {
    /// Classes, geometry, normalisation.
    pub info: ModelInfo,
    network: Network,
    store: VarStore,
}

impl FloatModel {
    /// A fresh network; its parameters depend on `info` and `seed` alone.
    ///
    /// # Errors
    /// A description that no network could have.
    pub fn new(info: ModelInfo, seed: u64, device: Device) -> Result<Self, NetsError> {
        info.check()?;
        let store = VarStore::new(device);
        let layout = info.architecture.layout()?;
        let network = Network::new(&store, &layout, info.classes.len(), seed);
        Ok(Self {
            info,
            network,
            store,
        })
    }

    /// Reads a model's folder.
    ///
    /// # Errors
    /// Names the file that is missing or does not fit.
    pub fn load(folder: &Path, device: Device) -> Result<Self, NetsError> {
        let info = ModelInfo::load(folder)?;
        if info.quantization.is_some() {
            return Err(NetsError::Info {
                path: folder.join(files::INFO),
                message: "this model is quantized; a float model is needed here, as `fedact \
                          distill` makes it"
                    .to_owned(),
            });
        }
        let model = Self::new(info, 0, device)?;
        let path = folder.join(files::WEIGHTS);
        weights::assign(&model.store, &weights::read(&path)?, &path)?;
        Ok(model)
    }

    /// Writes `model.json` and `model.safetensors` into an existing folder.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), NetsError> {
        weights::write(&folder.join(files::WEIGHTS), &weights::of(&self.store))?;
        self.info.save(folder)
    }

    /// Logits \[clips, classes\] of normalised clips \[clips, 3, frames, height, width\].
    ///
    /// With `train`, batch norm uses the batch's own statistics and updates the running ones.
    pub fn logits(&self, clips: &Tensor, train: bool) -> Tensor {
        self.network.forward(clips, train)
    }

    /// What the network makes of normalised clips \[clips, 3, frames, height, width\] on the way to its answer, as
    /// in use: see [`Classifier::classify`].
    pub fn outputs(&self, clips: &Tensor) -> Outputs {
        no_grad(|| self.network.outputs(clips, false))
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The parameters and buffers by name.
    pub fn var_store(&self) -> &VarStore {
        &self.store
    }

    /// Trainable numbers.
    pub fn parameters(&self) -> u64 {
        parameters(&self.store)
    }

    /// Bytes of everything that `model.safetensors` holds, statistics of batch norm included.
    pub fn bytes(&self) -> u64 {
        let size = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
        let variables = self.store.variables();
        variables.values().map(|tensor| size(tensor) as u64).sum()
    }
}

impl Classifier for FloatModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn device(&self) -> Device {
        self.store.device()
    }

    fn classify(&self, clips: &Tensor) -> Tensor {
        no_grad(|| self.logits(clips, false))
    }
}

/// A float or a quantized model, whichever the folder holds.
#[derive(Debug)]
pub enum Model {
    /// With batch norm, in 32 bits.
    Float(FloatModel),
    /// With batch norm folded away, in 8 bits.
    Quantized(QuantizedModel),
}

impl Model {
    /// Reads a model's folder; `model.json` says which kind it is.
    ///
    /// # Errors
    /// Names the file that is missing or does not fit.
    pub fn load(folder: &Path, device: Device) -> Result<Self, NetsError> {
        if ModelInfo::load(folder)?.quantization.is_some() {
            QuantizedModel::load(folder, device).map(Self::Quantized)
        } else {
            FloatModel::load(folder, device).map(Self::Float)
        }
    }

    /// The parameters and buffers by name.
    pub fn var_store(&self) -> &VarStore {
        match self {
            Self::Float(model) => model.var_store(),
            Self::Quantized(model) => model.var_store(),
        }
    }

    /// Trainable numbers.
    pub fn parameters(&self) -> u64 {
        parameters(self.var_store())
    }

    /// Bytes that a device stores: see [`FloatModel::bytes`] and [`QuantizedModel::bytes`].
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Float(model) => model.bytes(),
            Self::Quantized(model) => model.bytes(),
        }
    }
}

impl Classifier for Model {
    fn info(&self) -> &ModelInfo {
        match self {
            Self::Float(model) => model.info(),
            Self::Quantized(model) => model.info(),
        }
    }

    fn device(&self) -> Device {
        self.var_store().device()
    }

    fn classify(&self, clips: &Tensor) -> Tensor {
        match self {
            Self::Float(model) => model.classify(clips),
            Self::Quantized(model) => model.classify(clips),
        }
    }
}

fn parameters(store: &VarStore) -> u64 {
    let variables = store.trainable_variables();
    let count = |variable: &Tensor| variable.numel() as u64;
    variables.iter().map(count).sum()
}

/// What a quantized model computes when it is only asked for classes.
impl Classifier for QuantizedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn device(&self) -> Device {
        self.var_store().device()
    }

    fn classify(&self, clips: &Tensor) -> Tensor {
        self.rounded_logits(clips)
    }
}
