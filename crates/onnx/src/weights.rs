//! The numbers of a model, from `model.safetensors`; batch norm folded into the convolution before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fedact_recipe::ConvLayout;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::OnnxError;

/// The file of the weights.
pub(crate) const FILE: &str = "model.safetensors";

/// Added to a variance before its root is taken; torch's default.
const EPSILON: f64 = 1e-5;

/// A tensor of 32-bit numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Floats {
    pub shape: Vec<i64>,
    pub values: Vec<f32>,
}

/// A weight in bytes, with a scale an output channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bytes {
    pub values: Vec<i8>,
    pub scales: Vec<f32>,
}

/// All tensors of a file by name.
#[derive(Debug)]
pub(crate) struct Weights {
    path: PathBuf,
    /// SHA-256 of the file in hexadecimal.
    pub digest: String,
    floats: BTreeMap<String, Floats>,
    bytes: BTreeMap<String, (Vec<i64>, Vec<i8>)>,
}

impl Weights {
    /// Reads `model.safetensors` in the folder of a model.
    pub fn read(folder: &Path) -> Result<Self, OnnxError> {
        let path = folder.join(FILE);
        let file = std::fs::read(&path).map_err(|source| OnnxError::Read {
            path: path.clone(),
            source,
        })?;
        let mut weights = Self {
            digest: hex::encode(Sha256::digest(&file)),
            floats: BTreeMap::new(),
            bytes: BTreeMap::new(),
            path,
        };
        let tensors = SafeTensors::deserialize(&file)
            .map_err(|error| weights.refuse(format!("it is no safetensors file ({error})")))?;
        for (name, view) in tensors.tensors() {
            let shape = view.shape().iter().map(|side| *side as i64).collect();
            match view.dtype() {
                Dtype::F32 => {
                    let numbers = view.data().chunks_exact(4);
                    let values = numbers
                        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                        .collect();
                    weights.floats.insert(name, Floats { shape, values });
                }
                Dtype::I8 => {
                    let values = view.data().iter().map(|byte| byte.cast_signed()).collect();
                    weights.bytes.insert(name, (shape, values));
                }
                // Counters of batches, which nothing here needs.
                _ => {}
            }
        }
        Ok(weights)
    }

    fn refuse(&self, message: String) -> OnnxError {
        OnnxError::Weights {
            path: self.path.clone(),
            message,
        }
    }

    /// A tensor of numbers, checked.
    fn floats(&self, name: &str, shape: &[i64]) -> Result<&Floats, OnnxError> {
        let found = self.floats.get(name);
        let found = found.ok_or_else(|| self.refuse(format!("it has no `{name}`")))?;
        if found.shape != shape {
            let message = format!("`{name}` is {:?} and should be {shape:?}", found.shape);
            return Err(self.refuse(message));
        }
        if found.values.iter().any(|value| !value.is_finite()) {
            let message = format!("`{name}` holds numbers that are NaN or infinite");
            return Err(self.refuse(message));
        }
        Ok(found)
    }

    /// Weight and bias of a convolution, with the batch norm behind it folded in where the model still has
    /// one: `w' = w·γ/√(σ²+ε)` per output channel, `b' = (b − μ)·γ/√(σ²+ε) + β` (Jacob et al. 2018,
    /// arXiv 1712.05877, section 3.2), computed in 64 bits.
    pub fn convolution(
        &self,
        layer: &ConvLayout,
        folded: bool,
    ) -> Result<(Floats, Vec<f32>), OnnxError> {
        let weight = self.floats(&format!("{}.weight", layer.conv), &layer.weight_shape())?;
        let channels = [layer.outputs];
        let bias = if layer.bias || folded {
            let name = format!("{}.bias", layer.conv);
            self.floats(&name, &channels)?.values.clone()
        } else {
            vec![0.0; layer.outputs as usize]
        };
        let norm = match &layer.norm {
            Some(norm) if !folded => norm,
            _ => return Ok((weight.clone(), bias)),
        };
        let part = |part: &str| self.floats(&format!("{norm}.{part}"), &channels);
        let (scale, shift) = (part("weight")?, part("bias")?);
        let (mean, variance) = (part("running_mean")?, part("running_var")?);
        let mut folded = weight.clone();
        let size = folded.values.len() / bias.len().max(1);
        let mut shifts = Vec::with_capacity(bias.len());
        for (channel, filter) in folded.values.chunks_exact_mut(size.max(1)).enumerate() {
            let at = |part: &Floats| f64::from(part.values[channel]);
            let factor = at(scale) / (at(variance) + EPSILON).sqrt();
            if !factor.is_finite() {
                let message = format!("`{norm}.running_var` holds {}", at(variance));
                return Err(self.refuse(message));
            }
            for value in filter {
                *value = (f64::from(*value) * factor) as f32;
            }
            let shifted = (f64::from(bias[channel]) - at(mean)) * factor + at(shift);
            shifts.push(shifted as f32);
        }
        Ok((folded, shifts))
    }

    /// Weight and bias of the last layer.
    pub fn head(&self, name: &str, shape: &[i64; 2]) -> Result<(Floats, Vec<f32>), OnnxError> {
        let weight = self.floats(&format!("{name}.weight"), shape)?.clone();
        let bias = self.floats(&format!("{name}.bias"), &shape[..1])?;
        Ok((weight, bias.values.clone()))
    }

    /// The bytes of a layer's weight and their scales.
    pub fn bytes(&self, layer: &str, shape: &[i64]) -> Result<Bytes, OnnxError> {
        let name = format!("{layer}.weight_int8");
        let found = self.bytes.get(&name);
        let (found, values) = found.ok_or_else(|| self.refuse(format!("it has no `{name}`")))?;
        if found != shape {
            let message = format!("`{name}` is {found:?} and should be {shape:?}");
            return Err(self.refuse(message));
        }
        let name = format!("{layer}.weight_scale");
        let scales = self.floats(&name, &shape[..1])?.values.clone();
        if let Some(bad) = scales.iter().find(|scale| **scale <= 0.0) {
            return Err(self.refuse(format!("`{name}` holds the scale {bad}")));
        }
        Ok(Bytes {
            values: values.clone(),
            scales,
        })
    }
}
