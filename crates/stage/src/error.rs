//! Why a stage stopped, in words for the person who can mend it.

use std::error::Error;
use std::io;

/// A stage's failure: what happened, and what to do about it.
///
/// Every stage's own error enum turns into this at the boundary of its process; `remedy` names the
/// param or file to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StageError {
    /// What happened, naming the file and the value; causes are joined with `: `.
    pub message: String,
    /// What would mend it, where that is known.
    pub remedy: Option<String>,
    /// The fault lies in the data or params that the user gave (exit code 3), not in the running of
    /// the step (exit code 1).
    pub invalid_input: bool,
    /// Nothing is wrong: the stage was asked to end early and has kept what it could.
    pub stopped: bool,
}

/// The stage was asked to end early; see [`Reporter::go_on`](crate::Reporter::go_on).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped before the end")]
pub struct Stopped;

impl From<Stopped> for StageError {
    fn from(stopped: Stopped) -> Self {
        Self {
            stopped: true,
            ..Self::failed(&stopped)
        }
    }
}

impl StageError {
    /// A step that could not be carried out. Where a full disk is the cause, the remedy says so.
    pub fn failed(error: &dyn Error) -> Self {
        Self {
            message: chain(error),
            remedy: for_lack_of_space(error).then(|| FREE_SPACE.to_owned()),
            invalid_input: false,
            stopped: false,
        }
    }

    /// Input data or params that cannot be used as they are.
    pub fn invalid(error: &dyn Error) -> Self {
        Self {
            invalid_input: true,
            ..Self::failed(error)
        }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// What to do about a full disk.
const FREE_SPACE: &str =
    "free space on that disk: `fedact gc --dry-run` lists what the store could do without";

/// Whether a cause of the error is that a disk is full.
fn for_lack_of_space(error: &dyn Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        let kind = cause.downcast_ref::<io::Error>().map(std::io::Error::kind);
        if matches!(
            kind,
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        ) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// The message of an error followed by those of its causes, skipping a cause that the message before
/// it already ends with.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read clips.jsonl")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_are_joined_to_the_message() {
        let error = Outer(std::io::Error::other("disk on fire"));
        let failure = StageError::failed(&error).with_remedy("put it out");
        assert_eq!(failure.message, "cannot read clips.jsonl: disk on fire");
        assert_eq!(failure.remedy.as_deref(), Some("put it out"));
        assert!(!failure.invalid_input);
        assert!(StageError::invalid(&error).invalid_input);
    }

    #[test]
    fn a_full_disk_has_a_remedy_whoever_meets_it() {
        let full = Outer(std::io::ErrorKind::StorageFull.into());
        let remedy = StageError::failed(&full).remedy.unwrap();
        assert!(remedy.contains("fedact gc"), "{remedy}");
        let other = Outer(std::io::ErrorKind::PermissionDenied.into());
        assert_eq!(StageError::failed(&other).remedy, None);
    }
}
