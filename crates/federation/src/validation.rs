//! What an update must be before it counts, and the reason code of each refusal.

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
    /// A parameter is NaN or infinite.
    NotFinite,
    /// The update lies further from the server's model than the norm bound allows.
    TooFar,
    /// More versions were made since its base than the strategy allows.
    TooStale,
    /// Its round was closed without it.
    LateForRound,
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
            Self::NotFinite => "not-finite",
            Self::TooFar => "too-far",
            Self::TooStale => "too-stale",
            Self::LateForRound => "late-for-round",
            Self::RunFinished => "run-finished",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// Checks the numbers of an update against the server's model: finite, and no further from it than
/// `max_distance` in the Euclidean norm. What is mixed in is `α_t` of exactly this distance, so the
/// bound limits what one update can do.
///
/// # Errors
/// The reason.
pub fn check_numbers(
    model: &[f32],
    update: &[f32],
    max_distance: Option<f64>,
) -> Result<(), Refusal> {
    if model.len() != update.len() {
        return Err(Refusal::WrongLayout);
    }
    if !update.iter().all(|number| number.is_finite()) {
        return Err(Refusal::NotFinite);
    }
    let Some(max_distance) = max_distance else {
        return Ok(());
    };
    let squared: f64 = model
        .iter()
        .zip(update)
        .map(|(number, new)| (f64::from(*new) - f64::from(*number)).powi(2))
        .sum();
    if squared.sqrt() > max_distance {
        return Err(Refusal::TooFar);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_checked_for_length_value_and_distance() {
        let model = [0.0_f32, 0.0];
        assert_eq!(check_numbers(&model, &[3.0, 4.0], Some(5.0)), Ok(()));
        assert_eq!(
            check_numbers(&model, &[3.0, 4.1], Some(5.0)),
            Err(Refusal::TooFar)
        );
        assert_eq!(
            check_numbers(&model, &[3.0, f32::NAN], None),
            Err(Refusal::NotFinite)
        );
        assert_eq!(
            check_numbers(&model, &[f32::INFINITY, 0.0], None),
            Err(Refusal::NotFinite)
        );
        assert_eq!(
            check_numbers(&model, &[1.0], None),
            Err(Refusal::WrongLayout)
        );
    }

    #[test]
    fn codes_are_what_serde_writes() {
        for refusal in [
            Refusal::TaskAlreadyApplied,
            Refusal::TooStale,
            Refusal::NotFinite,
        ] {
            assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.code());
        }
    }
}
