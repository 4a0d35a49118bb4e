//! Why a message of a device does not get as far as the aggregator.

use serde::{Deserialize, Serialize};

/// Why a message was turned away before the aggregator saw it. What the aggregator refuses has reasons of its own
/// ([`fedact_federation::validation::Refusal`]); where both have a reason, the code is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turned {
    /// No message of a fleet.
    NoMessage,
    /// Written by another version of this program.
    OtherFormatVersion,
    /// Longer than anything that a device may send.
    TooLarge,
    /// A header or body that means nothing.
    Malformed,
    /// The subject names no device of this fleet.
    UnknownClient,
    /// The device was sent away.
    Revoked,
    /// Not signed by the device whose subject it came on.
    WrongSignature,
    /// Signed for another fleet.
    OtherFleet,
    /// Signed for another run.
    OtherRun,
    /// Signed by a device, and naming another one.
    OtherDevice,
    /// Came before.
    Replayed,
    /// The device was never given this task, or has been given another one since.
    UnknownTask,
    /// The task's update was counted or refused before.
    TaskAlreadyApplied,
    /// The update names another base version than the one its task was sent with.
    UnknownBaseVersion,
    /// The update claims another number of samples than its task has.
    WrongSampleCount,
    /// The bytes are not those that were signed.
    Damaged,
    /// The run had ended.
    RunFinished,
}

impl Turned {
    /// The reason code, as in `wrong-signature`.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoMessage => "no-message",
            Self::OtherFormatVersion => "other-format-version",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::UnknownClient => "unknown-client",
            Self::Revoked => "revoked",
            Self::WrongSignature => "wrong-signature",
            Self::OtherFleet => "other-fleet",
            Self::OtherRun => "other-run",
            Self::OtherDevice => "other-device",
            Self::Replayed => "replayed",
            Self::UnknownTask => "unknown-task",
            Self::TaskAlreadyApplied => "task-already-applied",
            Self::UnknownBaseVersion => "unknown-base-version",
            Self::WrongSampleCount => "wrong-sample-count",
            Self::Damaged => "damaged",
            Self::RunFinished => "run-finished",
        }
    }
}

impl std::fmt::Display for Turned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
