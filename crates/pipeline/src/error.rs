//! Why a pipeline was refused: each message says where, what, and what would be right.

use std::fmt;
use std::path::PathBuf;

use fedact_artifact::ArtifactError;
use fedact_stage::{Kind, ParamsError};

use crate::Place;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The pipeline file.
    File(Place),
    /// `--set` on the command line, as the user wrote it.
    Override(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => place.fmt(f),
            Self::Override(text) => write!(f, "--set {text}"),
        }
    }
}

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
    /// The file is not YAML.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A key stands twice in one mapping.
    #[error("{place}: `{key}` is here for the second time; line {first_line} has it first")]
    DuplicateKey {
        /// Where the second is.
        place: Place,
        /// Dotted path.
        key: String,
        /// Line of the first.
        first_line: usize,
    },
    /// A key that has no meaning at its place.
    #[error("{origin}: unknown key `{key}`{}", did_you_mean(suggestion.as_ref()))]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// Dotted path.
        key: String,
        /// The known key that looks most like it.
        suggestion: Option<String>,
        /// What is known there.
        known: Vec<String>,
    },
    /// A key that must be there is not.
    #[error("{place}: `{key}` is missing")]
    MissingKey {
        /// The mapping it should be in.
        place: Place,
        /// Dotted path.
        key: String,
        /// What it should hold.
        expected: String,
    },
    /// A value of the wrong shape.
    #[error("{place}: `{key}` is {found}, but must be {expected}")]
    Shape {
        /// Where.
        place: Place,
        /// Dotted path.
        key: String,
        /// What is there.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A step's name that cannot be a folder's.
    #[error("{place}: `{name}` cannot be the name of a step")]
    StepName {
        /// Where.
        place: Place,
        /// The name.
        name: String,
    },
    /// A stage that does not exist.
    #[error("{place}: `steps.{step}.stage`: unknown stage `{stage}`{}", did_you_mean(suggestion.as_ref()))]
    UnknownStage {
        /// Where.
        place: Place,
        /// The step.
        step: String,
        /// The stage it names.
        stage: String,
        /// The stage that looks most like it.
        suggestion: Option<String>,
        /// All stages.
        known: Vec<String>,
    },
    /// An input that the stage does not take.
    #[error("{place}: stage {stage} has no input `{input}`{}", did_you_mean(suggestion.as_ref()))]
    UnknownInput {
        /// Where.
        place: Place,
        /// The stage.
        stage: String,
        /// The input.
        input: String,
        /// The input that looks most like it.
        suggestion: Option<String>,
        /// The inputs that it takes.
        known: Vec<String>,
    },
    /// An input that the stage needs is left out.
    #[error("{place}: step `{step}` lacks the input `{input}` of stage {stage}")]
    MissingInput {
        /// The step.
        place: Place,
        /// Its name.
        step: String,
        /// Its stage.
        stage: String,
        /// The input.
        input: String,
        /// What it is for.
        summary: String,
        /// What it takes.
        kinds: Vec<Kind>,
    },
    /// An input names a step that does not exist.
    #[error("{place}: `{key}`: there is no step `{name}`{}", did_you_mean(suggestion.as_ref()))]
    UnknownStep {
        /// Where.
        place: Place,
        /// Dotted path of the input.
        key: String,
        /// The name.
        name: String,
        /// The step that looks most like it.
        suggestion: Option<String>,
    },
    /// An input is bound to something of another kind.
    #[error(
        "{place}: `{key}`: step `{source_step}` makes {found}, but stage {stage} needs {}",
        any_of(expected)
    )]
    WrongKind {
        /// Where.
        place: Place,
        /// Dotted path of the input.
        key: String,
        /// The step that the input names.
        source_step: String,
        /// What that makes.
        found: Kind,
        /// The stage whose input it is.
        stage: String,
        /// What it accepts.
        expected: Vec<Kind>,
    },
    /// A list for an input that takes one, or an empty list for one that needs some.
    #[error("{place}: `{key}` lists {count}, but stage {stage} takes {expected}")]
    WrongCount {
        /// Where.
        place: Place,
        /// Dotted path of the input.
        key: String,
        /// The stage.
        stage: String,
        /// How many there are.
        count: usize,
        /// How many it takes, in words.
        expected: &'static str,
    },
    /// One list names the same thing twice, so that the stage could not tell them apart.
    #[error("{place}: `{key}` names `{name}` twice")]
    RepeatedInput {
        /// Where.
        place: Place,
        /// Dotted path of the input.
        key: String,
        /// The name.
        name: String,
    },
    /// Steps that wait for one another.
    #[error("{place}: the steps go round in a circle: {}", circle.join(" -> "))]
    Cycle {
        /// The first step of the circle.
        place: Place,
        /// Each step needs the next; the last is the first again.
        circle: Vec<String>,
    },
    /// A stage refused its params.
    #[error("{origin}: step `{step}`: {source}")]
    Params {
        /// Where the key at fault was given.
        origin: Origin,
        /// The step.
        step: String,
        /// The stage.
        stage: String,
        /// What is wrong.
        source: ParamsError,
    },
    /// An input folder that is not there, or not a folder.
    #[error("{place}: `{key}`: {} {problem}", path.display())]
    Folder {
        /// Where.
        place: Place,
        /// Dotted path of the input.
        key: String,
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A `--set` that cannot be read.
    #[error("--set {text}: {problem}")]
    Override {
        /// As written.
        text: String,
        /// What is wrong.
        problem: String,
        /// What would be right.
        remedy: String,
    },
    /// The command names a step that the pipeline does not have.
    #[error("{}: there is no step `{name}`{}", file.display(), did_you_mean(suggestion.as_ref()))]
    NoSuchStep {
        /// The pipeline file.
        file: PathBuf,
        /// The name.
        name: String,
        /// The step that looks most like it.
        suggestion: Option<String>,
        /// All steps.
        known: Vec<String>,
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

impl PipelineError {
    /// What would mend it.
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "name another pipeline file with `-f FILE`".to_owned()
            }
            Self::UnknownKey { known, .. } => format!("known here: {}", known.join(", ")),
            Self::MissingKey { key, expected, .. } => format!("add `{key}`: {expected}"),
            Self::StepName { .. } => "a name begins with a small letter or a digit, goes on with small \
                letters, digits, `-` and `_`, and is not `store`"
                .to_owned(),
            Self::UnknownStage { known, .. } => format!("the stages are {}", known.join(", ")),
            Self::UnknownInput { known, .. } if known.is_empty() => "it takes no inputs".to_owned(),
            Self::UnknownInput { known, .. } => format!("its inputs are {}", known.join(", ")),
            Self::MissingInput {
                input,
                summary,
                kinds,
                ..
            } => format!(
                "add `{input}:` with the name of a step that makes {}, or `{{path: FOLDER}}` \
                 ({summary})",
                any_of(kinds)
            ),
            Self::UnknownStep { .. } => {
                "an input is the name of a step, or `{path: FOLDER}` for files of your own".to_owned()
            }
            Self::WrongKind { expected, .. } => {
                format!("name a step that makes {}", any_of(expected))
            }
            Self::Cycle { .. } => "take one of these inputs out".to_owned(),
            Self::Params { stage, .. } => {
                format!("`fedact schema {stage}` lists the params, their ranges and defaults")
            }
            Self::Folder { .. } => {
                "a relative path counts from the folder of the pipeline file; put the data there or \
                 change the path"
                    .to_owned()
            }
            Self::Override { remedy, .. } => remedy.clone(),
            Self::NoSuchStep { known, .. } => format!("its steps are {}", known.join(", ")),
            Self::DuplicateKey { .. } | Self::RepeatedInput { .. } => "take one of them out".to_owned(),
            Self::Unreadable { .. }
            | Self::Syntax { .. }
            | Self::Shape { .. }
            | Self::WrongCount { .. }
            | Self::Artifact(_)
            | Self::System { .. } => return None,
        };
        Some(text)
    }

    /// Who has to mend it, which decides the exit code.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Override { .. } | Self::NoSuchStep { .. } => Fault::Usage,
            Self::UnknownKey {
                origin: Origin::Override(_),
                ..
            } => Fault::Usage,
            Self::Artifact(
                ArtifactError::SpecialFile { .. }
                | ArtifactError::ChangedWhileRead { .. }
                | ArtifactError::NotAFolder { .. },
            ) => Fault::Pipeline,
            Self::Artifact(_) => Fault::Store,
            Self::System { .. } => Fault::System,
            _ => Fault::Pipeline,
        }
    }

    /// Names an action of the operating system that failed.
    pub(crate) fn system(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }
}

fn did_you_mean(suggestion: Option<&String>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

/// Kinds as a choice in words.
fn any_of(kinds: &[Kind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}
