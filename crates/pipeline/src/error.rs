//! Why a pipeline was refused, or could not be run.

use std::path::PathBuf;

use fedact_artifact::ArtifactError;

use crate::Problem;
use crate::problem::did_you_mean;

/// What a user has to mend, from the most to the least of their making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The command was given something it cannot use.
    Usage,
    /// The pipeline file or the data it names.
    Pipeline,
    /// The store.
    Store,
    /// The machine.
    System,
}

/// Why a pipeline cannot be planned or run.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The pipeline file cannot be read.
    #[error("cannot read the pipeline file {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Everything that is wrong with the pipeline file, in its order; never empty.
    #[error("{}", each(.0))]
    Invalid(Vec<Problem>),
    /// The command names a step that the pipeline does not have.
    #[error("{}: {problem}{}", file.display(), did_you_mean(suggestion.as_ref()))]
    NoSuchStep {
        /// The pipeline file.
        file: PathBuf,
        /// What there is not, with the name.
        problem: String,
        /// The step that looks most like it.
        suggestion: Option<String>,
        /// What there is, in words.
        known: String,
    },
    /// The store refused.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// Something on this machine failed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl From<Problem> for PipelineError {
    fn from(problem: Problem) -> Self {
        Self::Invalid(vec![problem])
    }
}

impl PipelineError {
    /// All that is wrong with the pipeline file, where that is it.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid(problems) => problems,
            _ => &[],
        }
    }

    /// What would mend it; of several problems, the first.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Invalid(problems) => problems.first()?.remedy(),
            Self::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("name another pipeline file with `-f FILE`".to_owned())
            }
            Self::NoSuchStep { known, .. } => Some(known.clone()),
            Self::Unreadable { .. } | Self::Artifact(_) | Self::System { .. } => None,
        }
    }

    /// Who has to mend it, which decides the exit code.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NoSuchStep { .. } => Fault::Usage,
            Self::Invalid(problems) if problems.iter().all(Problem::is_usage) => Fault::Usage,
            Self::Artifact(
                ArtifactError::SpecialFile { .. }
                | ArtifactError::ChangedWhileRead { .. }
                | ArtifactError::NotAFolder { .. },
            ) => Fault::Pipeline,
            Self::Artifact(_) => Fault::Store,
            Self::System { .. } => Fault::System,
            Self::Unreadable { .. } | Self::Invalid(_) => Fault::Pipeline,
        }
    }

    /// Names an action of the operating system that failed.
    pub(crate) fn system(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }
}

/// One a line.
fn each(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}
