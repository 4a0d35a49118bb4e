//! Why a network does not run by oneDNN.

use std::path::PathBuf;

use fedact_recipe::OutOfRange;
use fedact_stored::StoredError;

/// Why a network does not run by oneDNN.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Int8Error {
    /// There is no oneDNN of version 3 here.
    #[error("oneDNN cannot be used: {0}")]
    Unavailable(String),
    /// A model that cannot be read.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// A network that cannot be.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The model has no bytes.
    #[error("the model in {path} is not quantized; make a quantized one with `fedact quantize`")]
    NotQuantized {
        /// The model's folder.
        path: PathBuf,
    },
    /// The network has no form in eight bits.
    #[error("{architecture} has no form in eight bits; only residual networks do")]
    NoForm {
        /// The network.
        architecture: String,
    },
    /// `model.json` and the network do not fit together.
    #[error("{path}: {message}; quantize the model again")]
    Description {
        /// The `model.json`.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Bytes that are not whole clips, or none.
    #[error("{found} bytes are no clips of {clip} bytes each")]
    Clips {
        /// Bytes of a clip that the network takes.
        clip: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// oneDNN refuses to make or to run something.
    #[error("oneDNN refuses {what} (status {status})")]
    Refused {
        /// The layer, or what else was asked of it.
        what: String,
        /// Its number: 1 out of memory, 2 invalid arguments, 3 unimplemented, 5 failed at run time.
        status: i32,
    },
}
