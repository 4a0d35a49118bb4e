//! What of `model.json` a graph needs.

use std::path::Path;

use fedact_recipe::Architecture;
use serde::Deserialize;

use crate::OnnxError;

/// The file in which a model says what it is.
pub(crate) const FILE: &str = "model.json";

/// The part of `model.json` that decides a graph.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Description {
    pub architecture: Architecture,
    pub classes: Vec<String>,
    pub input: Input,
    pub mean: [f64; 3],
    pub std: [f64; 3],
    /// How the clips that it was trained on were cut, where that is known.
    #[serde(default)]
    pub sampling: Option<serde_json::Value>,
    pub quantization: Option<Quantization>,
}

/// The clips that the network takes.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Input {
    pub frames: i64,
    pub height: i64,
    pub width: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Quantization {
    pub activations: Vec<Activation>,
}

/// How the activation at one place is stored.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Activation {
    pub name: String,
    pub affine: Affine,
}

/// `value = scale × (byte − zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Affine {
    pub scale: f32,
    pub zero_point: u8,
}

impl Affine {
    /// The step of the signed bytes −127..=127 around 0 that reach as far.
    pub fn symmetric_scale(self) -> f32 {
        let below = f32::from(self.zero_point);
        let above = f32::from(u8::MAX - self.zero_point);
        self.scale * below.max(above) / 127.0
    }
}

impl Description {
    /// Reads `model.json` in the folder of a model.
    pub fn read(folder: &Path) -> Result<Self, OnnxError> {
        let path = folder.join(FILE);
        let text = std::fs::read(&path).map_err(|source| OnnxError::Read {
            path: path.clone(),
            source,
        })?;
        let refuse = |message: String| OnnxError::Info {
            path: path.clone(),
            message,
        };
        let description: Self =
            serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
        let Input {
            frames,
            height,
            width,
        } = description.input;
        if [frames, height, width].iter().any(|side| *side < 1) {
            return Err(refuse(format!(
                "no network takes clips of {frames} frames of {width}x{height}"
            )));
        }
        Ok(description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symmetric_bytes_reach_as_far_as_the_unsigned_ones() {
        let rectified = Affine {
            scale: 0.02,
            zero_point: 0,
        };
        assert!((rectified.symmetric_scale() * 127.0 - 5.1).abs() < 1e-5);
        let lopsided = Affine {
            scale: 1.0,
            zero_point: 200,
        };
        assert!((lopsided.symmetric_scale() * 127.0 - 200.0).abs() < 1e-4);
    }
}
