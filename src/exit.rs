//! How the command ends: exit codes, and errors as messages with a way out.

use std::process::ExitCode;

use fedact_artifact::ArtifactError;
use fedact_bundle::BundleError;
use fedact_pipeline::{Fault, PipelineError};

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// All is done.
    Done = 0,
    /// A step failed, or this machine did.
    Failed = 1,
    /// The command was used wrongly.
    Usage = 2,
    /// The pipeline file or the data cannot be used.
    Invalid = 3,
    /// The store is damaged or cannot be used.
    Store = 4,
    /// The user interrupted.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why the command did not do what was asked.
#[derive(Debug)]
pub struct Refusal {
    /// The exit code.
    pub code: Code,
    /// What happened.
    pub message: String,
    /// What would mend it.
    pub help: Option<String>,
    /// What else is wrong, in the same way.
    pub others: Vec<(String, Option<String>)>,
}

impl Refusal {
    /// A refusal with a way out.
    pub fn new(code: Code, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: Some(help.into()),
            others: Vec::new(),
        }
    }

    /// A failure of the machine.
    pub fn failed(action: &str, error: &dyn std::error::Error) -> Self {
        Self {
            code: Code::Failed,
            message: format!("cannot {action}: {error}"),
            help: None,
            others: Vec::new(),
        }
    }
}

impl From<PipelineError> for Refusal {
    fn from(error: PipelineError) -> Self {
        let code = match error.fault() {
            Fault::Usage => Code::Usage,
            Fault::Pipeline => Code::Invalid,
            Fault::Store => Code::Store,
            Fault::System => Code::Failed,
        };
        let problems = error.problems().iter();
        let mut all = problems.map(|problem| (problem.to_string(), problem.remedy()));
        let (message, help) = all
            .next()
            .unwrap_or_else(|| (error.to_string(), error.remedy()));
        Self {
            code,
            message,
            help,
            others: all.collect(),
        }
    }
}

impl From<BundleError> for Refusal {
    fn from(error: BundleError) -> Self {
        let code = match error {
            BundleError::Store(error) => return error.into(),
            BundleError::Write { .. } => Code::Failed,
            BundleError::Read { .. }
            | BundleError::NotABundle { .. }
            | BundleError::OtherVersion { .. }
            | BundleError::Damaged { .. } => Code::Invalid,
        };
        Self {
            code,
            message: error.to_string(),
            help: None,
            others: Vec::new(),
        }
    }
}

impl From<ArtifactError> for Refusal {
    fn from(error: ArtifactError) -> Self {
        PipelineError::from(error).into()
    }
}
