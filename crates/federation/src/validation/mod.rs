//! What an update must be before it counts, and the reason code of each refusal.

mod norms;

pub use norms::{BeyondBound, NormBound, NormWindow};

use serde::{Deserialize, Serialize};

/// Why an update was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The client was never registered.
    UnknownClient,
    /// The server never gave this client this task, or has given it another one since.
    UnknownTask,
    /// The task's update was counted or refused before.
    TaskAlreadyApplied,
    /// The update names another base version than the one its task was sent with.
    UnknownBaseVersion,
    /// The update claims another number of samples than its task has.
    WrongSampleCount,
    /// The update is for another network, or has another number of parameters.
    WrongLayout,
    /// The update carries parameters where the strategy takes changes, or the other way round.
    WrongContents,
    /// A number is NaN or infinite.
    NotFinite,
    /// The update goes further than the fixed bound allows.
    TooFar,
    /// The update goes further than the bound that follows the running median allows.
    UnusualNorm,
    /// Too few norms are known to judge it by.
    NormNotKnownYet,
    /// More versions were made since its base than the strategy allows.
    TooStale,
    /// Its round was closed without it.
    LateForRound,
    /// The others of its buffer or round are further from it than from each other.
    Outlier,
    /// The run had ended.
    RunFinished,
}

impl Refusal {
    /// The reason code, as in `not-finite`.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownClient => "unknown-client",
            Self::UnknownTask => "unknown-task",
            Self::TaskAlreadyApplied => "task-already-applied",
            Self::UnknownBaseVersion => "unknown-base-version",
            Self::WrongSampleCount => "wrong-sample-count",
            Self::WrongLayout => "wrong-layout",
            Self::WrongContents => "wrong-contents",
            Self::NotFinite => "not-finite",
            Self::TooFar => "too-far",
            Self::UnusualNorm => "unusual-norm",
            Self::NormNotKnownYet => "norm-not-known-yet",
            Self::TooStale => "too-stale",
            Self::LateForRound => "late-for-round",
            Self::Outlier => "outlier",
            Self::RunFinished => "run-finished",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// Checks how far an update goes, as the Euclidean norm of what it changes: finite, which it is if all its
/// numbers are, and at most `most`.
///
/// # Errors
/// The reason.
pub fn check_norm(norm: f64, most: Option<f64>) -> Result<(), Refusal> {
    if !norm.is_finite() {
        return Err(Refusal::NotFinite);
    }
    match most {
        Some(most) if norm > most => Err(Refusal::TooFar),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_checked_for_value_and_bound() {
        assert_eq!(check_norm(5.0, Some(5.0)), Ok(()));
        assert_eq!(check_norm(5.1, Some(5.0)), Err(Refusal::TooFar));
        assert_eq!(check_norm(1e30, None), Ok(()));
        assert_eq!(check_norm(f64::NAN, None), Err(Refusal::NotFinite));
        assert_eq!(
            check_norm(f64::INFINITY, Some(1.0)),
            Err(Refusal::NotFinite)
        );
    }

    #[test]
    fn codes_are_what_serde_writes() {
        for refusal in [
            Refusal::TaskAlreadyApplied,
            Refusal::TooStale,
            Refusal::NotFinite,
            Refusal::NormNotKnownYet,
            Refusal::Outlier,
        ] {
            assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.code());
        }
    }
}
