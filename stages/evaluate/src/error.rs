//! Why a report could not be made.

use std::path::PathBuf;

use fedact_clips::ClipsError;
use fedact_federation::history::HistoryError;
use fedact_nets::NetsError;
use fedact_stage::{StageError, Stopped};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// A model cannot be read or tested.
    #[error("model `{step}`")]
    Model {
        /// The model's step.
        step: String,
        /// What is wrong with it.
        #[source]
        source: NetsError,
    },
    /// A clip set cannot be read.
    #[error("clip set `{step}`")]
    Clips {
        /// The clip set's step.
        step: String,
        /// What is wrong with it.
        #[source]
        source: ClipsError,
    },
    /// A history cannot be read.
    #[error("model `{step}`")]
    History {
        /// The model's step.
        step: String,
        /// What is wrong with its history.
        #[source]
        source: HistoryError,
    },
    /// No clip set has the classes of a model.
    #[error(
        "no clip set has the classes of model `{step}`: it knows {model}; the clips have {clips}"
    )]
    NoClips {
        /// The model's step.
        step: String,
        /// Its classes.
        model: String,
        /// Each clip set with its classes.
        clips: String,
    },
    /// A clip set has nothing to test on.
    #[error("clip set `{step}` has no test clips")]
    NothingToTest {
        /// The clip set's step.
        step: String,
    },
    /// The test split of a clip set cannot be asked about.
    #[error("clip set `{step}`")]
    Testing {
        /// The clip set's step.
        step: String,
        /// What is wrong with it.
        #[source]
        source: NetsError,
    },
    /// No clip set has both classes of a mirrored pair.
    #[error("`flip_pairs` names `{first}` and `{second}`, but no clip set has both classes")]
    Mirror {
        /// The first of the pair.
        first: String,
        /// The second.
        second: String,
    },
    /// A picture could not be encoded.
    #[error("cannot encode a picture of clip `{clip}`")]
    Picture {
        /// The clip.
        clip: String,
        /// What the encoder says.
        #[source]
        source: image::ImageError,
    },
    /// A file cannot be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The runner asked it to.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<EvaluateError> for StageError {
    fn from(error: EvaluateError) -> Self {
        match &error {
            EvaluateError::Stopped(stopped) => (*stopped).into(),
            EvaluateError::NoClips { .. } => Self::invalid(&error).with_remedy(
                "add the clip set that the model was trained for to the input `clips`, or leave the model out of `models`",
            ),
            EvaluateError::NothingToTest { .. } => Self::invalid(&error)
                .with_remedy("extract clips with a test split that is not empty"),
            EvaluateError::Mirror { .. } => Self::invalid(&error)
                .with_remedy("write the names as the clip sets' classes are written, or leave the pair out"),
            EvaluateError::Model { source, .. } if !source.invalid_input() => Self::failed(&error),
            EvaluateError::Model { .. } | EvaluateError::Testing { .. } | EvaluateError::Clips { .. } | EvaluateError::History { .. } => {
                Self::invalid(&error)
            }
            EvaluateError::Picture { .. } | EvaluateError::Write { .. } => Self::failed(&error),
        }
    }
}
