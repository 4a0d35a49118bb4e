//! What of `model.json` decides what a network computes.

use std::path::Path;

use fedact_recipe::{Affine, Architecture};
use serde::Deserialize;

use crate::StoredError;

/// The file in which a model says what it is.
pub const FILE: &str = "model.json";

/// The part of `model.json` that decides what a network computes.
#[derive(Debug, Clone, Deserialize)]
pub struct Description {
    /// The network.
    pub architecture: Architecture,
    /// Names of the classes, in the order of its logits.
    pub classes: Vec<String>,
    /// The clips that it takes.
    pub input: Input,
    /// What is taken from red, green and blue in 0..=1 before they are divided by `std`.
    pub mean: [f64; 3],
    /// What they are divided by.
    pub std: [f64; 3],
    /// Frames of the clips that it was trained on, where it takes a window of them.
    #[serde(default)]
    pub window_of: Option<i64>,
    /// How the clips that it was trained on were cut, where that is known.
    #[serde(default)]
    pub sampling: Option<serde_json::Value>,
    /// How its activations are stored, where it is quantized.
    pub quantization: Option<Quantization>,
}

/// The clips that the network takes.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Input {
    /// Frames of a clip.
    pub frames: i64,
    /// Pixels of a frame, top to bottom.
    pub height: i64,
    /// Pixels of a frame, left to right.
    pub width: i64,
}

/// How a quantized model stores its activations.
#[derive(Debug, Clone, Deserialize)]
pub struct Quantization {
    /// At each place, in the order of execution.
    pub activations: Vec<Activation>,
}

/// How the activation at one place is stored.
#[derive(Debug, Clone, Deserialize)]
pub struct Activation {
    /// The place, as in `layer1.0.conv1`.
    pub name: String,
    /// How bytes stand for values there.
    pub affine: Affine,
}

impl Description {
    /// Reads `model.json` in the folder of a model.
    ///
    /// # Errors
    /// Names the file that is missing or that does not parse.
    pub fn read(folder: &Path) -> Result<Self, StoredError> {
        let path = folder.join(FILE);
        let text = std::fs::read(&path).map_err(|source| StoredError::Read {
            path: path.clone(),
            source,
        })?;
        let refuse = |message: String| StoredError::Info {
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
