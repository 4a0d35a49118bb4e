//! A quantized model: made from a float one, kept in a folder, fine-tuned and given a new head.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::executed::archive;
use super::fold::{finite, fold, wide};
use super::network::{Network, Plain, Rounding, Visitor, layers_of, points};
use super::{Affine, CalibrationSettings, Execution, Quantization};
use crate::random::{Purpose, key, normal, stream};
use crate::{FloatModel, ModelInfo, NetsError, files, weights};

/// Deviation of a new head's weights, as a float model's.
const HEAD_DEVIATION: f64 = 0.01;

/// A network with batch norm folded away, whose weights and activations have scales for bytes.
///
/// The folded weights and biases stay in 32 bits as the trainable parameters (`X.weight`, `X.bias`
/// for each convolution `X` and for `fc`); the bytes follow from them and the scales. `model.safetensors`
/// holds both: `X.weight`, `X.bias`, and `X.weight_int8` with `X.weight_scale` (one an output channel).
#[derive(Debug)]
pub struct QuantizedModel {
    /// Classes, geometry, normalisation, and in `quantization` the scales of the activations.
    pub info: ModelInfo,
    quantization: Quantization,
    pub(super) network: Network,
    store: VarStore,
}

impl QuantizedModel {
    /// Folds batch norm, then watches the activations of the folded network on batches of normalised
    /// clips \[clips, 3, frames, height, width\] and gives everything its scale.
    ///
    /// # Errors
    /// A family of networks that has no form in eight bits; names the tensor that is not finite, the
    /// activation that is constant or not finite; no calibration clip at all.
    pub fn from_float(
        float: &FloatModel,
        calibration: impl IntoIterator<Item = Tensor>,
        settings: &CalibrationSettings,
    ) -> Result<Self, NetsError> {
        let layout = layers_of(&float.info.architecture)?;
        let tensors = weights::of(float.var_store());
        let mut folded = BTreeMap::new();
        for layer in layout.convolutions() {
            let (weight, bias) = fold(&tensors, layer)?;
            folded.insert(format!("{}.weight", layer.conv), weight);
            folded.insert(format!("{}.bias", layer.conv), bias);
        }
        for name in ["fc.weight", "fc.bias"] {
            folded.insert(name.to_owned(), wide(&tensors, name)?);
        }
        let quantization = Quantization {
            method: settings.method,
            percentile: settings.percentile,
            tried: Vec::new(),
            improved: Vec::new(),
            calibration_clips: 0,
            activations: Vec::new(),
        };
        let mut model = Self::empty(float.info.clone(), quantization, float.var_store().device())?;
        weights::assign(&model.store, &folded, Path::new(files::WEIGHTS))?;
        model.refresh_scales();
        model.recalibrate(calibration, settings)?;
        Ok(model)
    }

    /// A model whose parameters are all zero and whose activations have no scales yet.
    fn empty(
        info: ModelInfo,
        quantization: Quantization,
        device: Device,
    ) -> Result<Self, NetsError> {
        info.check()?;
        let store = VarStore::new(device);
        let network = Network::new(&store, &layers_of(&info.architecture)?, info.classes.len());
        Ok(Self {
            info: ModelInfo {
                quantization: Some(quantization.clone()),
                ..info
            },
            quantization,
            network,
            store,
        })
    }

    pub(super) fn set_quantization(&mut self, quantization: Quantization) {
        self.info.quantization = Some(quantization.clone());
        self.quantization = quantization;
    }

    /// Logits \[clips, classes\] of normalised clips \[clips, 3, frames, height, width\].
    ///
    /// # Panics
    /// With clips of another shape than the model takes.
    pub fn logits(&self, clips: &Tensor, execution: Execution) -> Tensor {
        match execution {
            Execution::Float => self.forward(clips, execution, &mut Plain),
            Execution::Simulated => self.forward(clips, execution, &mut Rounding(&self.affines())),
        }
    }

    pub(super) fn forward(
        &self,
        clips: &Tensor,
        execution: Execution,
        visitor: &mut impl Visitor,
    ) -> Tensor {
        self.network.forward(clips, execution, visitor)
    }

    /// How the activations are stored, in the order of execution.
    pub(super) fn affines(&self) -> Vec<Affine> {
        let activations = self.quantization.activations.iter();
        activations.map(|activation| activation.affine).collect()
    }

    /// How the activations are stored, and how that was found.
    pub fn quantization(&self) -> &Quantization {
        &self.quantization
    }

    /// The folded weights and biases, all trainable.
    pub fn var_store(&self) -> &VarStore {
        &self.store
    }

    /// Sets the scale of every output channel's weights anew, so that its largest becomes ±127. To be
    /// called after the weights have changed; until then, weights beyond the old range are cut off.
    pub fn refresh_scales(&mut self) {
        self.network
            .layers_mut()
            .for_each(|layer| layer.refresh_scale());
    }

    /// The same model once more, scales of weights as they stand, which shares no memory with this one: to train or change
    /// it beside this one.
    ///
    /// # Errors
    /// libtorch's.
    pub fn twin(&self) -> Result<Self, NetsError> {
        let (info, quantization) = (self.info.clone(), self.quantization.clone());
        let mut twin = Self::empty(info, quantization, self.store.device())?;
        weights::assign(
            &twin.store,
            &weights::of(&self.store),
            Path::new(files::WEIGHTS),
        )?;
        for (twin, layer) in twin.network.layers_mut().zip(self.network.layers()) {
            twin.scale = layer.scale.copy();
        }
        Ok(twin)
    }

    /// The same network with a fresh last layer for other classes; everything before it, and the scales
    /// of all activations, stay. The head depends on `seed` alone. Shares no memory with this model.
    ///
    /// # Errors
    /// No classes.
    pub fn with_new_head(&self, classes: Vec<String>, seed: u64) -> Result<Self, NetsError> {
        let info = ModelInfo {
            classes,
            ..self.info.clone()
        };
        let mut model = Self::empty(info, self.quantization.clone(), self.store.device())?;
        let mut tensors = weights::of(&self.store);
        let outputs = model.info.classes.len() as i64;
        let inputs = tensors["fc.weight"].size()[1];
        let count = (outputs * inputs) as usize;
        let mut random = stream(Purpose::Initialisation, seed, key("fc.weight"), 0);
        let weight = Tensor::from_slice(&normal(&mut random, count, HEAD_DEVIATION));
        tensors.insert("fc.weight".to_owned(), weight.reshape([outputs, inputs]));
        tensors.insert(
            "fc.bias".to_owned(),
            Tensor::zeros([outputs], (Kind::Float, Device::Cpu)),
        );
        weights::assign(&model.store, &tensors, Path::new(files::WEIGHTS))?;
        model.refresh_scales();
        Ok(model)
    }

    /// Bytes of the model on a device: 1 a weight, 4 a bias and a weight scale, 5 an activation
    /// (scale and zero point). The folded 32-bit weights, which only fine-tuning needs, do not count.
    pub fn bytes(&self) -> u64 {
        let layers = self.network.layers();
        let layers: usize = layers
            .map(|layer| layer.weight.numel() + 4 * layer.bias.numel() + 4 * layer.scale.numel())
            .sum();
        (layers + 5 * self.quantization.activations.len()) as u64
    }

    /// Writes `model.json`, `model.safetensors` and, for devices, `model.pt` into an existing folder.
    ///
    /// # Errors
    /// Names the file that cannot be written, or the tensor that is not finite.
    pub fn save(&self, folder: &Path) -> Result<(), NetsError> {
        let mut tensors = weights::of(&self.store);
        for (name, tensor) in &tensors {
            finite(tensor, name)?;
        }
        for layer in self.network.layers() {
            tensors.insert(format!("{}.weight_int8", layer.name), layer.stored_weight());
            let scale = layer.scale.shallow_clone();
            tensors.insert(format!("{}.weight_scale", layer.name), scale);
        }
        weights::write(&folder.join(files::WEIGHTS), &tensors)?;
        let path = folder.join(files::EXECUTED);
        std::fs::write(&path, archive(self)?)
            .map_err(|source| NetsError::Write { path, source })?;
        self.info.save(folder)
    }

    /// Reads a model's folder.
    ///
    /// # Errors
    /// Names the file that is missing or does not fit, the tensor whose bytes are not those of its
    /// weights and scales.
    pub fn load(folder: &Path, device: Device) -> Result<Self, NetsError> {
        let mut model = Self::described(ModelInfo::load(folder)?, device, || {
            folder.join(files::INFO)
        })?;
        let path = folder.join(files::WEIGHTS);
        model.assign(weights::read(&path)?, &path)?;
        Ok(model)
    }

    /// A model of which only the trainable numbers were sent, flat (see [`parameter_shapes`](Self::parameter_shapes)): all
    /// else follows from them and from its `model.json`.
    ///
    /// # Errors
    /// A description of no quantized network; another number of parameters than its network has.
    pub fn from_parameters(
        info: ModelInfo,
        parameters: &[f32],
        device: Device,
    ) -> Result<Self, NetsError> {
        let mut model = Self::described(info, device, || files::INFO.into())?;
        model.copy_parameters_from(parameters)?;
        Ok(model)
    }

    /// The network of a `model.json`, whose parameters are all zero. `path` is for messages.
    fn described(
        info: ModelInfo,
        device: Device,
        path: impl Fn() -> PathBuf,
    ) -> Result<Self, NetsError> {
        let refuse = |message: String| NetsError::Info {
            path: path(),
            message,
        };
        let quantization = info.quantization.clone().ok_or_else(|| {
            refuse(
                "this model is not quantized; make a quantized one with `fedact quantize`".into(),
            )
        })?;
        let names: Vec<_> = quantization
            .activations
            .iter()
            .map(|a| a.name.as_str())
            .collect();
        let points = points(&layers_of(&info.architecture)?);
        if !points
            .iter()
            .map(|point| point.name.as_str())
            .eq(names.iter().copied())
        {
            let message = format!(
                "{} has other activations than {}",
                info.architecture,
                names.join(", ")
            );
            return Err(refuse(message));
        }
        if let Some(bad) = quantization
            .activations
            .iter()
            .find(|a| !a.affine.scale.is_normal() || a.affine.scale < 0.0)
        {
            let message = format!("activation `{}` has scale {}", bad.name, bad.affine.scale);
            return Err(refuse(message));
        }
        Self::empty(info, quantization, device)
    }

    /// Takes parameters, scales and bytes as they stand in a file.
    fn assign(
        &mut self,
        mut tensors: BTreeMap<String, Tensor>,
        path: &Path,
    ) -> Result<(), NetsError> {
        let refuse = |mismatch: String| NetsError::Weights {
            path: path.to_owned(),
            mismatch,
        };
        let device = self.store.device();
        let mut stored = Vec::new();
        for layer in self.network.layers_mut() {
            let mut take = |part: &str, shape: Vec<i64>, kind: Kind| {
                let name = format!("{}.{part}", layer.name);
                let tensor = tensors.remove(&name);
                let tensor = tensor.ok_or_else(|| refuse(format!("missing: {name}")))?;
                if tensor.size() != shape || tensor.kind() != kind {
                    let (size, found) = (tensor.size(), tensor.kind());
                    return Err(refuse(format!(
                        "{name} is {found:?} {size:?} in the file and {kind:?} {shape:?} in the network"
                    )));
                }
                Ok(tensor.to_device(device))
            };
            layer.scale = take("weight_scale", layer.scale.size(), Kind::Float)?;
            stored.push(take("weight_int8", layer.weight.size(), Kind::Int8)?);
        }
        weights::assign(&self.store, &tensors, path)?;
        for (name, tensor) in &weights::of(&self.store) {
            finite(tensor, name).map_err(|error| refuse(error.to_string()))?;
        }
        for (layer, stored) in self.network.layers().zip(stored) {
            if !layer.stored_weight().equal(&stored) {
                let name = &layer.name;
                return Err(refuse(format!(
                    "{name}.weight_int8 is not {name}.weight divided by {name}.weight_scale and rounded"
                )));
            }
        }
        Ok(())
    }
}
