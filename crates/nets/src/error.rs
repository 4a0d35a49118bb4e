//! Why a model could not be read, written, built or trained.

use std::path::PathBuf;

use fedact_clips::ClipsError;
use fedact_recipe::OutOfRange;
use tch::TchError;

/// Why a model could not be read, written, built or trained; every message names the file or the
/// value and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetsError {
    /// A file that cannot be read.
    #[error("cannot read {path}; is this the folder of a model, as `fedact distill` makes it?")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A `model.json` that does not parse or describes a model that cannot be.
    #[error("{path}: {message}")]
    Info {
        /// The `model.json`.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A model made by another version of the program.
    #[error(
        "{path} has format version {found}, and this program reads version {expected}; \
         make the model again with this program, or use the program that made it"
    )]
    Version {
        /// The `model.json`.
        path: PathBuf,
        /// The version found.
        found: String,
        /// The version that this program reads.
        expected: u32,
    },
    /// A file that is not safetensors or is damaged.
    #[error("{path} is no readable safetensors file: {message}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// A checkpoint of another program that cannot be read.
    #[error("{path} is no readable PyTorch checkpoint: {message}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// A `model.pt` that is none, or is damaged.
    #[error("{path} is no model that runs in eight bits, or is damaged: {message}; copy it again")]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Weights that do not fit the network they are loaded into.
    #[error("the weights in {path} do not fit the network: {mismatch}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is missing, unexpected or of another shape.
        mismatch: String,
    },
    /// A setting that cannot be used.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A model and clips, or two models, that do not belong together.
    #[error("{0}")]
    Mismatch(String),
    /// Data that cannot be trained or tested on.
    #[error("{0}")]
    Data(String),
    /// A device that this machine or this libtorch does not have.
    #[error("{0}")]
    Device(String),
    /// Training that left the numbers.
    #[error(
        "the {what} became {value} in epoch {epoch}, batch {batch} (clips {clips}); \
         lower `learning_rate`, lengthen `warmup_epochs` or set `clip_gradient`"
    )]
    Diverged {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// What it became, as in `NaN`.
        value: String,
        /// Counted from 1.
        epoch: u32,
        /// Counted from 1.
        batch: usize,
        /// The ids of the clips in the batch.
        clips: String,
    },
    /// A clip set that cannot be read.
    #[error(transparent)]
    Clips(#[from] ClipsError),
    /// Whoever watched asked for it; a checkpoint is kept where there is a folder for it.
    #[error("stopped before the end")]
    Stopped,
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl From<TchError> for NetsError {
    fn from(error: TchError) -> Self {
        let text = match error {
            TchError::Torch(text) => text,
            other => other.to_string(),
        };
        // libtorch appends its C++ stack to the message.
        Self::Torch(text.lines().next().unwrap_or_default().to_owned())
    }
}

impl NetsError {
    /// Whether the fault lies in the user's data or params and not in the running.
    pub fn invalid_input(&self) -> bool {
        !matches!(
            self,
            Self::Write { .. } | Self::Diverged { .. } | Self::Stopped | Self::Torch(_)
        )
    }
}
