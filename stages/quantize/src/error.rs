//! Why a model could not be quantized.

use std::path::PathBuf;

use fedact_clips::ClipsError;
use fedact_nets::NetsError;
use fedact_onnx::OnnxError;
use fedact_stage::{StageError, Stopped};

use fedact_quantize_params::FEWEST_CLIPS;

/// Why a model could not be quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The model cannot be read, does not fit the clips, or is broken.
    #[error(transparent)]
    Nets(#[from] NetsError),
    /// The model cannot be written for other runtimes.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The clips cannot be read.
    #[error(transparent)]
    Clips(#[from] ClipsError),
    /// The model is quantized already.
    #[error("the model in {path} is already quantized")]
    AlreadyQuantized {
        /// The model's folder.
        path: PathBuf,
    },
    /// The teacher is quantized.
    #[error("the teacher in {path} is quantized, and only a float model teaches")]
    QuantizedTeacher {
        /// The teacher's folder.
        path: PathBuf,
    },
    /// The teacher is one of other classes or other clips.
    #[error("the teacher in {path} does not fit: {source}")]
    Teacher {
        /// The teacher's folder.
        path: PathBuf,
        /// What does not fit.
        source: NetsError,
    },
    /// The teacher takes a window of the clips, or normalises them, unlike the student.
    #[error(
        "the teacher in {path} looks at other frames of a clip, or normalises them otherwise, than the model"
    )]
    TeacherSeesOther {
        /// The teacher's folder.
        path: PathBuf,
    },
    /// The training split is too small to calibrate on.
    #[error("{path} has {found} training clips, but calibration needs at least {FEWEST_CLIPS}")]
    TooFewClips {
        /// The clip set's folder.
        path: PathBuf,
        /// Clips of its training split.
        found: usize,
    },
    /// There is nothing to measure the accuracy on.
    #[error("{path} has no test clips, so the accuracy of the int8 model cannot be measured")]
    NoTestClips {
        /// The clip set's folder.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The runner asked it to.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<QuantizeError> for StageError {
    fn from(error: QuantizeError) -> Self {
        let remedy = match &error {
            QuantizeError::Stopped(stopped) => return (*stopped).into(),
            QuantizeError::Nets(NetsError::Stopped) => return Stopped.into(),
            QuantizeError::QuantizedTeacher { .. } | QuantizeError::Teacher { .. } => {
                "give a float model of the same classes as input `teacher`, or none: the model then listens to itself"
            }
            QuantizeError::TeacherSeesOther { .. } => {
                "give a teacher with the model's `frames`, `mean` and `std`, or none: the model then listens to itself"
            }
            QuantizeError::AlreadyQuantized { .. } => {
                "give the float model that it was made from as input `model`"
            }
            QuantizeError::TooFewClips { .. } | QuantizeError::NoTestClips { .. } => {
                "extract clips from more videos, or set the split of `extract` otherwise"
            }
            QuantizeError::Write { .. } => {
                return Self::failed(&error).with_remedy("free some space or mend the permissions");
            }
            QuantizeError::Onnx(_) => return Self::failed(&error),
            QuantizeError::Nets(nets) if !nets.invalid_input() => return Self::failed(&error),
            QuantizeError::Nets(_) | QuantizeError::Clips(_) => return Self::invalid(&error),
        };
        Self::invalid(&error).with_remedy(remedy)
    }
}
