//! The numbers of a model, from `model.safetensors`; batch norm folded into the convolution before it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fedact_recipe::{ConvLayout, quantize_weight};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use sha2::{Digest, Sha256};

use crate::StoredError;

/// The file of the weights.
const FILE: &str = "model.safetensors";

/// Bytes at the beginning of the file: the length of the header that follows, in little-endian order.
const LENGTH: usize = size_of::<u64>();

/// Added to a variance before its root is taken; torch's default.
const EPSILON: f64 = 1e-5;

/// A tensor of 32-bit numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Floats {
    /// Length of each side.
    pub shape: Vec<i64>,
    /// The numbers, row by row.
    pub values: Vec<f32>,
}

/// A weight in bytes, with a scale an output channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Bytes {
    /// Outputs, inputs, kernel.
    pub values: Vec<i8>,
    /// The real value of 1 in each output channel.
    pub scales: Vec<f32>,
}

/// The tensors of a file.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    file: File,
    /// What stands in front of the tensors' bytes.
    header: Metadata,
    /// Where those begin.
    begin: u64,
}

impl Weights {
    /// Opens `model.safetensors` in the folder of a model.
    ///
    /// # Errors
    /// Names the file that is missing, cut short or no such file.
    pub fn open(folder: &Path) -> Result<Self, StoredError> {
        let path = folder.join(FILE);
        let unreadable = |source| StoredError::Read {
            path: path.clone(),
            source,
        };
        let damaged = |message: String| StoredError::Weights {
            path: path.clone(),
            message,
        };
        let file = File::open(&path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let header = read_header(&file, length).map_err(unreadable)?;
        let begin = (LENGTH + header.len()) as u64;
        let header: Metadata = serde_json::from_slice(&header)
            .map_err(|error| damaged(format!("it is no safetensors file ({error})")))?;
        let whole = begin + header.data_len() as u64;
        if length != whole {
            return Err(damaged(format!(
                "it has {length} bytes and should have {whole}"
            )));
        }
        Ok(Self {
            path,
            file,
            header,
            begin,
        })
    }

    /// SHA-256 of the file in hexadecimal.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub fn digest(&self) -> Result<String, StoredError> {
        let mut hasher = Sha256::new();
        let (mut block, mut at) = (vec![0; 1 << 18], 0);
        loop {
            let read = self.file.read_at(&mut block, at);
            match read.map_err(|source| self.unreadable(source))? {
                0 => return Ok(hex::encode(hasher.finalize())),
                count => {
                    hasher.update(&block[..count]);
                    at += count as u64;
                }
            }
        }
    }

    fn unreadable(&self, source: io::Error) -> StoredError {
        StoredError::Read {
            path: self.path.clone(),
            source,
        }
    }

    fn refuse(&self, message: String) -> StoredError {
        StoredError::Weights {
            path: self.path.clone(),
            message,
        }
    }

    /// The bytes of a tensor, which must have this type and shape.
    fn tensor(&self, name: &str, dtype: Dtype, shape: &[i64]) -> Result<Vec<u8>, StoredError> {
        let info = self.header.info(name).filter(|info| info.dtype == dtype);
        let info = info.ok_or_else(|| self.refuse(format!("it has no `{name}`")))?;
        if !info
            .shape
            .iter()
            .map(|side| *side as i64)
            .eq(shape.iter().copied())
        {
            let message = format!("`{name}` is {:?} and should be {shape:?}", info.shape);
            return Err(self.refuse(message));
        }
        let (from, to) = info.data_offsets;
        let mut bytes = vec![0; to - from];
        let read = self
            .file
            .read_exact_at(&mut bytes, self.begin + from as u64);
        read.map_err(|source| self.unreadable(source))?;
        Ok(bytes)
    }

    /// A tensor of numbers, checked.
    fn floats(&self, name: &str, shape: &[i64]) -> Result<Floats, StoredError> {
        let bytes = self.tensor(name, Dtype::F32, shape)?;
        let numbers = bytes.chunks_exact(4);
        let found = Floats {
            shape: shape.to_vec(),
            values: numbers
                .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                .collect(),
        };
        if found.values.iter().any(|value| !value.is_finite()) {
            let message = format!("`{name}` holds numbers that are NaN or infinite");
            return Err(self.refuse(message));
        }
        Ok(found)
    }

    /// Weight and bias of a convolution, with the batch norm behind it folded in where the model still has
    /// one: `w' = w·γ/√(σ²+ε)` per output channel, `b' = (b − μ)·γ/√(σ²+ε) + β` (Jacob et al. 2018,
    /// arXiv 1712.05877, section 3.2), computed in 64 bits.
    ///
    /// # Errors
    /// Names the tensor that is missing, of another shape or not finite.
    pub fn convolution(
        &self,
        layer: &ConvLayout,
        folded: bool,
    ) -> Result<(Floats, Vec<f32>), StoredError> {
        let weight = self.floats(&format!("{}.weight", layer.conv), &layer.weight_shape())?;
        let channels = [layer.outputs];
        let bias = if layer.bias || folded {
            let name = format!("{}.bias", layer.conv);
            self.floats(&name, &channels)?.values
        } else {
            vec![0.0; layer.outputs as usize]
        };
        let norm = match &layer.norm {
            Some(norm) if !folded => norm,
            _ => return Ok((weight, bias)),
        };
        let part = |part: &str| self.floats(&format!("{norm}.{part}"), &channels);
        let (scale, shift) = (part("weight")?, part("bias")?);
        let (mean, variance) = (part("running_mean")?, part("running_var")?);
        let mut folded = weight;
        let size = folded.values.len() / bias.len().max(1);
        let mut shifts = Vec::with_capacity(bias.len());
        for (channel, filter) in folded.values.chunks_exact_mut(size.max(1)).enumerate() {
            let at = |part: &Floats| f64::from(part.values[channel]);
            let factor = at(&scale) / (at(&variance) + EPSILON).sqrt();
            if !factor.is_finite() {
                let message = format!("`{norm}.running_var` holds {}", at(&variance));
                return Err(self.refuse(message));
            }
            for value in filter {
                *value = (f64::from(*value) * factor) as f32;
            }
            let shifted = (f64::from(bias[channel]) - at(&mean)) * factor + at(&shift);
            shifts.push(shifted as f32);
        }
        Ok((folded, shifts))
    }

    /// Weight and bias of the last layer.
    ///
    /// # Errors
    /// Names the tensor that is missing, of another shape or not finite.
    pub fn head(&self, name: &str, shape: &[i64; 2]) -> Result<(Floats, Vec<f32>), StoredError> {
        let weight = self.floats(&format!("{name}.weight"), shape)?;
        Ok((weight, self.bias(name, shape[0])?))
    }

    /// The bias of a layer of a quantized model, or of the last one.
    ///
    /// # Errors
    /// Names the tensor that is missing, of another shape or not finite.
    pub fn bias(&self, layer: &str, channels: i64) -> Result<Vec<f32>, StoredError> {
        Ok(self.floats(&format!("{layer}.bias"), &[channels])?.values)
    }

    /// The bytes of a layer's weight and their scales, held against the weight itself.
    ///
    /// # Errors
    /// Names the tensor that is missing, of another shape or not what it should be, or the scale that is not above 0.
    pub fn bytes(&self, layer: &str, shape: &[i64]) -> Result<Bytes, StoredError> {
        let name = format!("{layer}.weight_int8");
        let values = self.tensor(&name, Dtype::I8, shape)?;
        let name = format!("{layer}.weight_scale");
        let scales = self.floats(&name, &shape[..1])?.values;
        if let Some(bad) = scales.iter().find(|scale| **scale <= 0.0) {
            return Err(self.refuse(format!("`{name}` holds the scale {bad}")));
        }
        let values: Vec<i8> = values.into_iter().map(u8::cast_signed).collect();
        // A bit that fell over in a file is seen here: the two say the same.
        let weight = self.floats(&format!("{layer}.weight"), shape)?.values;
        let each = (weight.len() / scales.len().max(1)).max(1);
        let channels = weight.chunks_exact(each).zip(&scales);
        let rounded = channels.flat_map(|(weights, scale)| {
            let weights = weights.iter();
            weights.map(|weight| quantize_weight(*weight, *scale))
        });
        if !rounded.eq(values.iter().copied()) {
            return Err(self.refuse(format!(
                "{layer}.weight_int8 is not {layer}.weight divided by {layer}.weight_scale and rounded"
            )));
        }
        Ok(Bytes { values, scales })
    }
}

/// The header, as far as the file has it.
fn read_header(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut size = [0; LENGTH];
    let Some(most) = length.checked_sub(LENGTH as u64) else {
        return Ok(Vec::new());
    };
    file.read_exact_at(&mut size, 0)?;
    let mut header = vec![0; u64::from_le_bytes(size).min(most) as usize];
    file.read_exact_at(&mut header, LENGTH as u64)?;
    Ok(header)
}
