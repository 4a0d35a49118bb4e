//! Why a model cannot be read.

use std::path::PathBuf;

/// Why a model cannot be read; every message names the file and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// A file that cannot be read.
    #[error(
        "cannot read {path}; is this the folder of a model, as `fedact distill` or `fedact quantize` makes it?"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A `model.json` that does not parse.
    #[error("{path}: {message}")]
    Info {
        /// The `model.json`.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Weights that are no safetensors file, or do not fit the network.
    #[error("{path}: {message}; the model is damaged, make it again")]
    Weights {
        /// The `model.safetensors`.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}
