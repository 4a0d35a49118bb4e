//! What stands in a journal.

use fedact_federation::aggregator::{ClientId, EndReason, TaskId};
use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::engine::Tested;
use crate::wire::Took;

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Seconds since the run began.
    pub at: f64,
    /// What.
    pub happened: Happened,
}

/// What happened; an [`Event`](fedact_federation::aggregator::Event) but for the numbers of an update, which lie beside the
/// journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Happened {
    /// A device can work.
    Ready {
        /// Which.
        client: ClientId,
    },
    /// A device is silent, or has given its task back.
    Lost {
        /// Which.
        client: ClientId,
    },
    /// A device was added to the fleet and takes part from now on; its number is the next one.
    Added {
        /// Clips of an ordinary task of it.
        samples_per_task: u64,
    },
    /// A device that is about to be given a task has said how many clips it has.
    Holds {
        /// Which.
        client: ClientId,
        /// As it says, but no more than are counted.
        clips: u64,
        /// Clips of an ordinary task of it from now on.
        samples_per_task: u64,
        /// Clips at which the run ends from now on.
        budget_samples: u64,
    },
    /// The update of an open task came, whole.
    Update {
        /// Whose.
        client: ClientId,
        /// Of which task.
        task: TaskId,
        /// Of the bytes in `updates/TASK`.
        digest: Digest,
        /// How many they are.
        bytes: u64,
        /// What the task took, as the device says.
        took: Took,
    },
    /// The update of an open task came as it was signed, and is no update of this model. The task is closed.
    Unreadable {
        /// Whose.
        client: ClientId,
        /// Of which task.
        task: TaskId,
        /// The code of the [`MessageError`](fedact_federation::message::MessageError).
        code: String,
    },
    /// The time of a round or group is over.
    Deadline {
        /// Which.
        round: u64,
    },
    /// The model was tested.
    Tested(Tested),
    /// The run is over.
    Stop {
        /// Why.
        reason: EndReason,
    },
}

impl Record {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Numbers, texts and nothing else: JSON has words for all of it.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
