//! What is wrong with a pipeline file: each message says where, what, and what would be right.

use std::path::PathBuf;

use fedact_stage::{Kind, ParamsError};

use crate::{Origin, Place};

/// One thing that is wrong with a pipeline file, or with a `--set` that changes it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
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
    /// An input names instances that a matrix step does not have.
    #[error("{place}: `{key}`: {problem}")]
    UnknownInstance {
        /// Where.
        place: Place,
        /// Dotted path of the input.
        key: String,
        /// What does not fit, with the value.
        problem: String,
        /// The names that select something.
        known: String,
    },
    /// A value stands twice on one axis of a matrix.
    #[error("{origin}: `{key}` has the value {value} twice")]
    RepeatedValue {
        /// Where the second stands.
        origin: Origin,
        /// Dotted path of the axis.
        key: String,
        /// The value.
        value: String,
    },
    /// Two axes of one step would have the same name.
    #[error("{place}: step `{step}` has two axes named `{axis}`: {one} and {other}")]
    RepeatedAxis {
        /// Where the step is.
        place: Place,
        /// Its name.
        step: String,
        /// The name of the axes.
        axis: String,
        /// Where one comes from.
        one: String,
        /// Where the other comes from.
        other: String,
    },
    /// Two axes of one name meet in a step and have different values.
    #[error(
        "{place}: in step `{step}` the axis `{axis}` of `{one}` ({}) meets that of `{other}` ({})",
        one_values.join(", "), other_values.join(", ")
    )]
    AxesDiffer {
        /// Where the step is.
        place: Place,
        /// Its name.
        step: String,
        /// The name of the axes.
        axis: String,
        /// The step that one belongs to.
        one: String,
        /// The values of that one.
        one_values: Vec<String>,
        /// The step that the other belongs to.
        other: String,
        /// The values of that one.
        other_values: Vec<String>,
    },
    /// The values of an axis over an input are steps that have different axes themselves.
    #[error(
        "{origin}: `{key}`: {value} has {}, but {other} has {}",
        axes_of(axes),
        axes_of(other_axes)
    )]
    UnevenAxis {
        /// Where the value is.
        origin: Origin,
        /// Dotted path of the axis.
        key: String,
        /// The value.
        value: String,
        /// The axes of what it names.
        axes: Vec<String>,
        /// Another value.
        other: String,
        /// The axes of what that names.
        other_axes: Vec<String>,
    },
    /// The product of a matrix is too large.
    #[error(
        "{origin}: the matrix of step `{step}` makes {count} instances, but may make at most {limit}"
    )]
    TooManyInstances {
        /// Where the step or the `--set` is.
        origin: Origin,
        /// Its name.
        step: String,
        /// How many there would be, in words.
        count: String,
        /// How many there may be.
        limit: usize,
    },
    /// `resources.cores` for a stage whose results depend on the number.
    #[error(
        "{place}: the results of stage {stage} depend on the number of its threads, which is one of its params"
    )]
    CoresDecideResults {
        /// Where.
        place: Place,
        /// The stage.
        stage: String,
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
}

impl Problem {
    /// Where the value at fault stands; `None` for a `--set` that cannot be read.
    pub fn origin(&self) -> Option<Origin> {
        let place = match self {
            Self::UnknownKey { origin, .. }
            | Self::RepeatedValue { origin, .. }
            | Self::UnevenAxis { origin, .. }
            | Self::TooManyInstances { origin, .. }
            | Self::Params { origin, .. } => return Some(origin.clone()),
            Self::Override { .. } => return None,
            Self::Syntax { place, .. }
            | Self::DuplicateKey { place, .. }
            | Self::MissingKey { place, .. }
            | Self::Shape { place, .. }
            | Self::StepName { place, .. }
            | Self::UnknownStage { place, .. }
            | Self::UnknownInput { place, .. }
            | Self::MissingInput { place, .. }
            | Self::UnknownStep { place, .. }
            | Self::WrongKind { place, .. }
            | Self::WrongCount { place, .. }
            | Self::RepeatedInput { place, .. }
            | Self::UnknownInstance { place, .. }
            | Self::RepeatedAxis { place, .. }
            | Self::AxesDiffer { place, .. }
            | Self::CoresDecideResults { place, .. }
            | Self::Cycle { place, .. }
            | Self::Folder { place, .. } => place,
        };
        Some(Origin::File(place.clone()))
    }

    /// What would mend it.
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
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
            Self::UnknownInstance { known, .. } => known.clone(),
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
            Self::DuplicateKey { .. } | Self::RepeatedInput { .. } | Self::RepeatedValue { .. } => {
                "take one of them out".to_owned()
            }
            Self::RepeatedAxis { .. } => {
                "fix one of them, with `STEP@AXIS=VALUE` or by leaving it out of the matrix".to_owned()
            }
            Self::AxesDiffer { axis, .. } => format!(
                "axes of one name go together, value by value: give both the same list, or hold one at a value, \
                 as in `STEP@{axis}=VALUE`"
            ),
            Self::UnevenAxis { .. } => {
                "name steps with the same axes, or single instances with `STEP@AXIS=VALUE`".to_owned()
            }
            Self::TooManyInstances { .. } => "take values or axes out".to_owned(),
            Self::CoresDecideResults { .. } => {
                "set its param `threads` instead, and leave `resources.cores` out".to_owned()
            }
            Self::Syntax { .. } | Self::Shape { .. } | Self::WrongCount { .. } => return None,
        };
        Some(text)
    }

    /// Whether it is the same fault, found in another instance of the same step.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Params { origin, source, .. },
                Self::Params {
                    origin: other_origin,
                    source: other_source,
                    ..
                },
            ) => origin == other_origin && source == other_source,
            _ => self == other,
        }
    }

    /// Whether it lies in the command, not in the file.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Override { .. }
                | Self::UnknownKey {
                    origin: Origin::Override(_),
                    ..
                }
        )
    }
}

pub(crate) fn did_you_mean(suggestion: Option<&String>) -> String {
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

fn axes_of(names: &[String]) -> String {
    match names {
        [] => "no axes".to_owned(),
        names => format!("the axes {}", names.join(", ")),
    }
}
