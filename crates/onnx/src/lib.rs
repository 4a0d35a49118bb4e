//! Models as ONNX files that other runtimes run: float, and int8 with `QuantizeLinear` and
//! `DequantizeLinear`.
//!
//! A model's folder is read as it stands (`model.json`, `model.safetensors`), without libtorch, and the graph
//! follows from the layout of its architecture and from the places that it has scales for.
//!
//! What goes in are clips as cameras and clip sets have them: RGB bytes \[clips, frames, height, width, 3\], any
//! number of clips. They are normalised in the graph, because a device that normalises with the wrong mean, or
//! with colours in another order, gives answers that look like answers. What comes out are logits \[clips,
//! classes\].

mod error;
mod graph;
mod layers;
pub mod proto;
mod residual;
mod rounding;
mod source;
mod tsm;
mod value;
mod x3d;

use std::path::{Path, PathBuf};

pub use error::OnnxError;
pub use source::Source;

/// How exactly a graph computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// In 32 bits, batch norm folded.
    Float,
    /// With unsigned bytes as activations, signed ones as weights: ONNX Runtime, OpenVINO.
    Int8,
    /// With signed bytes around 0 alone: TensorRT.
    SymmetricInt8,
}

impl Precision {
    /// The word for it in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float32",
            Self::Int8 => "int8",
            Self::SymmetricInt8 => "symmetric-int8",
        }
    }
}

/// With which convolutions a graph computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Three-dimensional ones, where the network has them.
    Volumes,
    /// Two-dimensional ones alone, over pictures and over the frames of each position: for runtimes that have
    /// no others (TFLite, XNNPACK). R(2+1)D and TSM have this form.
    Pictures,
}

impl Form {
    /// Of its convolutions.
    pub fn dimensions(self) -> u32 {
        match self {
            Self::Volumes => 3,
            Self::Pictures => 2,
        }
    }
}

/// One of the forms in which a model can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// How exactly it computes.
    pub precision: Precision,
    /// With which convolutions.
    pub form: Form,
}

impl Variant {
    /// The name of its file.
    pub fn file_name(self) -> &'static str {
        match (self.precision, self.form) {
            (Precision::Float, Form::Volumes) => "model.onnx",
            (Precision::Float, Form::Pictures) => "model.2d.onnx",
            (Precision::Int8, Form::Volumes) => "model.int8.onnx",
            (Precision::Int8, Form::Pictures) => "model.int8.2d.onnx",
            (Precision::SymmetricInt8, Form::Volumes) => "model.tensorrt.onnx",
            (Precision::SymmetricInt8, Form::Pictures) => "model.tensorrt.2d.onnx",
        }
    }
}

/// Writes the model of one folder into another (or the same) in all forms that it has; gives the paths.
///
/// # Errors
/// Names the file or the tensor that is missing or damaged, or the file that cannot be written.
pub fn write_all(model: &Path, output: &Path) -> Result<Vec<PathBuf>, OnnxError> {
    let source = Source::open(model)?;
    let variants = source.variants().into_iter();
    variants
        .map(|variant| source.write(variant, output))
        .collect()
}
