//! Why the stage stopped.

use std::path::PathBuf;

use fedact_clips::ClipsError;
use fedact_federation::device::UnknownDevice;
use fedact_federation::history::HistoryError;
use fedact_fleet::FleetError;
use fedact_nets::NetsError;
use fedact_onnx::OnnxError;
use fedact_stage::{OutOfRange, StageError, Stopped};

/// Why a federated run could not be begun, carried on or finished.
#[derive(Debug, thiserror::Error)]
pub enum FederateError {
    /// The stage was started without an input.
    #[error("{0}")]
    MissingInput(String),
    /// A param that does not fit the data or the others.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The clips cannot be read.
    #[error(transparent)]
    Clips(#[from] ClipsError),
    /// The model cannot be read, run or written.
    #[error(transparent)]
    Nets(#[from] NetsError),
    /// The model cannot be written for other runtimes.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A device profile that nobody described.
    #[error("`devices`: {0}; describe it under `profiles` or choose a known one")]
    Device(#[from] UnknownDevice),
    /// The history cannot be written.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A split of the clip set is empty.
    #[error(
        "{path} has no clip in its {split} split; give `extract` a split with clips on both sides",
        path = path.display()
    )]
    EmptySplit {
        /// The clip set.
        path: PathBuf,
        /// `train` or `test`.
        split: &'static str,
    },
    /// Training at the centre left the numbers; nobody else could refuse its result.
    #[error(
        "training at the centre gave a parameter that is not finite after {samples} clips; \
         lower `learning_rate` or `clip_gradient`"
    )]
    Diverged {
        /// Clips processed.
        samples: u64,
    },
    /// A step for a fleet, and no fleet.
    #[error("step `{step}` has `transport: nats`, and no fleet of devices works for it here")]
    NoFleet {
        /// The step.
        step: String,
    },
    /// The clips do not say how they were cut, so devices could not cut theirs alike.
    #[error(
        "{path} does not say how its clips were cut, and devices must cut theirs alike; make it with `fedact extract`",
        path = path.join("dataset.json").display()
    )]
    UnknownCut {
        /// The clip set.
        path: PathBuf,
    },
    /// What the devices must know cannot be written down.
    #[error("the devices cannot be told of the run: {0}")]
    Brief(#[source] serde_json::Error),
    /// The fleet cannot be served.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The system gives no threads for the connection.
    #[error("cannot begin to serve the fleet")]
    Runtime(#[source] std::io::Error),
    /// What a device of a fleet is to do is not said in a way that this program understands.
    #[error(
        "the task cannot be understood: {0}; give all machines of the fleet the same version of fedact"
    )]
    Task(serde_json::Error),
    /// The parameters that a task starts from cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A file of the output or a checkpoint cannot be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The runner asked it to; a checkpoint is kept.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<FederateError> for StageError {
    fn from(error: FederateError) -> Self {
        let invalid = match &error {
            FederateError::Stopped(stopped) => return (*stopped).into(),
            FederateError::Nets(error) => error.invalid_input(),
            FederateError::Fleet(error) => error.invalid_input(),
            FederateError::NoFleet { step } => {
                return Self::invalid(&error).with_remedy(format!(
                    "run `fedact fleet serve FOLDER -f FILE --step {step}`, with the folder that `fedact fleet init` made"
                ));
            }
            FederateError::MissingInput(_)
            | FederateError::OutOfRange(_)
            | FederateError::Clips(_)
            | FederateError::Task(_)
            | FederateError::Device(_)
            | FederateError::UnknownCut { .. }
            | FederateError::EmptySplit { .. } => true,
            FederateError::History(_)
            | FederateError::Onnx(_)
            | FederateError::Brief(_)
            | FederateError::Runtime(_)
            | FederateError::Diverged { .. }
            | FederateError::Read { .. }
            | FederateError::Write { .. } => false,
        };
        if invalid {
            Self::invalid(&error)
        } else {
            Self::failed(&error)
        }
    }
}
