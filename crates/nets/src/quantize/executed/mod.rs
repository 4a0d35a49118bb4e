//! A quantized model that runs in eight bits: oneDNN's convolutions, with VNNI or AMX where the processor has them.
//!
//! libtorch's int8 convolutions cannot be called through `tch`, but a TorchScript archive can call them, and is a
//! zip file with a text in it. So a model becomes such an archive, `model.pt`, which is the file to put on a device:
//! it needs libtorch and nothing else, and Python's `torch.jit.load` runs it as [`ExecutedModel`] does.
//!
//! * `lower`: the network's layers as statements that compute with bytes
//! * `program`: those as TorchScript
//! * `pickle`, `archive`: the file
//!
//! What it computes is what [`QuantizedModel::trace`](super::QuantizedModel::trace) says, to the byte: every place is rounded once, residual sums are
//! added in 32 bits. (Training, [`Execution::Simulated`](super::Execution::Simulated), adds up floats where these are whole numbers, so that a
//! value next to the middle between two steps may be rounded to the other one.)
//!
//! Why not `quantized::conv3d` with `quantized::add_relu`: both operands of a residual sum would have to be rounded first,
//! to places that the simulation, and whoever fine-tunes through it, does not have.

mod archive;
mod lower;
mod pickle;
mod program;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use tch::{CModule, Device, IValue, Kind, Tensor, no_grad};

use super::fold::finite;
use super::network::{Layer, layers_of};
use super::{QuantizedModel, Traced};
use crate::{ModelInfo, NetsError, files};
use lower::{Convolution, Form, lower};

/// A quantized model, compiled for this machine's processor.
#[derive(Debug)]
pub struct ExecutedModel {
    /// Classes, geometry, normalisation, and in `quantization` the scales of the activations.
    pub info: ModelInfo,
    module: CModule,
}

/// The archive of a model, as it stands in `model.pt`. Equal models give equal bytes.
///
/// # Errors
/// An activation behind a ReLU whose zero point is not 0; names the tensor that is not finite.
pub fn archive(model: &QuantizedModel) -> Result<Vec<u8>, NetsError> {
    let activations = &model.quantization().activations;
    // Only clips have negative values. Elsewhere, cutting off at the byte 0 is the ReLU.
    if let Some(odd) = activations[1..].iter().find(|a| a.affine.zero_point != 0) {
        let (name, zero_point) = (&odd.name, odd.affine.zero_point);
        return Err(NetsError::Mismatch(format!(
            "activation `{name}` stands behind a ReLU but has zero point {zero_point} and not 0; calibrate the \
             model again"
        )));
    }
    let layout = layers_of(&model.info.architecture)?;
    let lowered = lower(&layout, &model.affines(), model.info.input);
    let mut tensors = Vec::new();
    for convolution in &lowered.convolutions {
        let named = |layer: &&Layer| layer.name == convolution.name;
        let layer = model.network.layers().find(named).ok_or_else(|| {
            NetsError::Mismatch(format!("the network has no layer `{}`", convolution.name))
        })?;
        let parts = [
            ("weight", &layer.weight),
            ("bias", &layer.bias),
            ("scale", &layer.scale),
        ];
        for (part, tensor) in parts {
            finite(tensor, &format!("{}.{part}", layer.name))?;
        }
        tensors.extend(constants(layer, convolution));
    }
    let info = serde_json::to_vec_pretty(&model.info)
        .map_err(|error| NetsError::Mismatch(format!("{}: {error}", files::INFO)))?;
    archive::write(program::CLASS, &program::text(&lowered), &tensors, &info)
}

/// A layer's numbers in the units and the shape that the program wants.
fn constants(layer: &Layer, convolution: &Convolution) -> [(String, Tensor); 3] {
    no_grad(|| {
        let mut weight = layer.stored_weight().to_device(Device::Cpu);
        if weight.dim() == 2 {
            weight = weight.reshape([&weight.size()[..], &[1; 3]].concat());
        }
        // Outputs, inputs, frames, height, width.
        if let Some(middle) = convolution.middle {
            weight = weight.narrow(2, middle, 1).contiguous();
        }
        weight = match convolution.form {
            Form::Volumes => weight,
            // The width becomes channels, a window's values side by side.
            Form::Windows => weight.permute([0, 4, 1, 2, 3]).flatten(1, 2).unsqueeze(-1),
            Form::JoinedFrames => weight.squeeze_dim(-1),
            Form::JoinedPicture => weight.squeeze_dim(2),
        };
        let steps = |tensor: &Tensor| {
            let tensor = tensor.detach().to_device(Device::Cpu);
            tensor.to_kind(Kind::Double) / f64::from(convolution.step)
        };
        let scale = steps(&layer.scale) * f64::from(convolution.input.scale);
        let named = |part: &str, tensor: Tensor| (format!("{}.{part}", layer.name), tensor);
        [
            named("weight_int8", weight),
            named("scale", scale.to_kind(Kind::Float)),
            named("bias", steps(&layer.bias).to_kind(Kind::Float)),
        ]
    })
}

impl ExecutedModel {
    /// Compiles a model for this machine.
    ///
    /// # Errors
    /// As [`archive`]; a libtorch without oneDNN.
    pub fn compile(model: &QuantizedModel) -> Result<Self, NetsError> {
        Self::start(model.info.clone(), &archive(model)?)
    }

    /// Reads a `model.pt`.
    ///
    /// # Errors
    /// Names the file that is missing, cut short, damaged or no such archive; a libtorch without oneDNN.
    pub fn load(path: &Path) -> Result<Self, NetsError> {
        let bytes = std::fs::read(path).map_err(|source| NetsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let refuse = |message: String| NetsError::Archive {
            path: path.to_owned(),
            message,
        };
        let info = archive::check(&bytes).map_err(refuse)?;
        let info = ModelInfo::parse(&info, &within(path))?;
        if info.quantization.is_none() {
            return Err(refuse("the model in it is not quantized".to_owned()));
        }
        Self::start(info, &bytes)
    }

    fn start(info: ModelInfo, bytes: &[u8]) -> Result<Self, NetsError> {
        let module = no_grad(|| CModule::load_data(&mut Cursor::new(bytes)))?;
        Ok(Self { info, module })
    }

    /// Logits \[clips, classes\] of normalised clips \[clips, 3, frames, height, width\], any number of them.
    ///
    /// # Errors
    /// Clips of another shape than the model takes; an archive whose network has other classes than it says; whatever
    /// libtorch refuses.
    pub fn logits(&self, clips: &Tensor) -> Result<Tensor, NetsError> {
        let clips = self.taken(clips)?;
        let logits = no_grad(|| self.module.forward_ts(&[clips]))?;
        let (found, named) = (logits.size()[1], self.info.classes.len());
        if found == named as i64 {
            return Ok(logits);
        }
        Err(NetsError::Mismatch(format!(
            "the archive names {named} classes, but its network tells {found} apart; make it again with `fedact quantize`"
        )))
    }

    /// The same, with the bytes of every place on the way.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    pub fn trace(&self, clips: &Tensor) -> Result<Traced, NetsError> {
        let clips = IValue::Tensor(self.taken(clips)?);
        let answer = no_grad(|| self.module.method_is("places", &[clips]))?;
        if let IValue::Tuple(parts) = answer
            && let Ok([IValue::Tensor(logits), IValue::TensorList(places)]) =
                <[IValue; 2]>::try_from(parts)
        {
            return Ok(Traced { logits, places });
        }
        let message = "the archive's `places` gives no logits with a list of tensors";
        Err(NetsError::Mismatch(message.to_owned()))
    }

    fn taken(&self, clips: &Tensor) -> Result<Tensor, NetsError> {
        self.info.check_batch(clips)?;
        Ok(clips.detach().to_device(Device::Cpu).to_kind(Kind::Float))
    }
}

/// What a fault of the description in an archive is told of.
fn within(path: &Path) -> PathBuf {
    path.join(files::INFO)
}
