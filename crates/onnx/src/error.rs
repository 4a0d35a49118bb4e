//! Why a model could not be written as an ONNX file.

use std::path::PathBuf;

use fedact_recipe::OutOfRange;
use fedact_stored::StoredError;

/// Why a model could not be written as an ONNX file; every message names the file or the tensor and the
/// way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A model that cannot be read.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// A file that cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A network that cannot be.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// Int8 is asked of a model that has no scales.
    #[error(
        "the model in {path} is not quantized, so that it has no int8 form; make a quantized one with \
         `fedact quantize`, or write it in float"
    )]
    NotQuantized {
        /// The model's folder.
        path: PathBuf,
    },
    /// Two-dimensional convolutions are asked of a network that sees frames and space at once.
    #[error(
        "{architecture} has 3-D convolutions that no 2-D ones stand for; distil it into a student with \
         `model: {{arch: r2plus1d}}`, or write it with 3-D convolutions"
    )]
    NoPictures {
        /// The network.
        architecture: String,
    },
    /// `model.json` names places that the network does not have.
    #[error(
        "{path} has scales for {names}, which are no places of this network; quantize it again with this program"
    )]
    UnknownPlaces {
        /// The `model.json`.
        path: PathBuf,
        /// The places.
        names: String,
    },
}
