//! What the server remembers, but for its rows of numbers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::turns::Turn;
use super::{ClientId, EndReason, TaskId};
use crate::validation::{NormWindow, Refusal};

/// What the server remembers of a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ClientState {
    pub ready: bool,
    pub task: Option<OpenTask>,
    pub last_closed: Option<TaskId>,
    /// Time between being sent a task and its end, over all tasks.
    pub worked_microseconds: u64,
    /// Seconds that it takes for a sample, once that is known; for strategies that allot work.
    pub pace: Option<f64>,
    /// The sum over all releases of the squared number of its changes; with differential privacy.
    pub squared_contributions: u64,
    /// What [`State::counted_samples`] was when its last update counted, or when it came.
    pub counted_until: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenTask {
    pub id: TaskId,
    pub version: u64,
    /// The round or group that it is for.
    pub gathering: u64,
    pub samples: u64,
    /// In the driver's seconds.
    pub sent_at: f64,
}

/// The open round of FedAvg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Round {
    pub number: u64,
    /// Clients asked that were not ready yet.
    pub waiting: BTreeSet<ClientId>,
    /// Clients that work for it.
    pub working: BTreeSet<ClientId>,
    /// Answers that close it.
    pub wanted: usize,
    /// Answers so far, refused ones included.
    pub answered: usize,
}

/// A group of FedCompass that is under way. Times are the driver's seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Group {
    pub expected: f64,
    pub latest: f64,
    pub fastest_task: f64,
    /// Members that work.
    pub missing: BTreeSet<ClientId>,
    /// Members that are back and wait for the others.
    pub arrived: BTreeSet<ClientId>,
}

/// An update that waits to become part of a version.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Contribution {
    pub client: ClientId,
    pub task: TaskId,
    pub base_version: u64,
    pub staleness: u64,
    /// What its change was multiplied by in the sum.
    pub weight: f64,
}

/// Everything about the server but its rows of numbers; small enough to be written as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub(super) now: f64,
    pub(super) version: u64,
    pub(super) samples: u64,
    /// Samples of the updates that counted, each capped; where changes are gathered.
    pub(super) counted_samples: u64,
    pub(super) next_task: TaskId,
    pub(super) next_round: u64,
    pub(super) clients: Vec<ClientState>,
    /// How many clients have a task.
    pub(super) working: usize,
    /// Clients that are ready and wait for their turn, where not all work at a time.
    pub(super) line: BTreeSet<Turn>,
    pub(super) round: Option<Round>,
    pub(super) groups: BTreeMap<u64, Group>,
    /// Clients of closed groups that wait until all of them can be allotted work.
    pub(super) regroup: BTreeSet<ClientId>,
    /// By the number of their round or group.
    pub(super) gathered: BTreeMap<u64, Vec<Contribution>>,
    pub(super) norms: NormWindow,
    pub(super) refusals: BTreeMap<Refusal, u64>,
    pub(super) refusals_in_a_row: u64,
    pub(super) clipped: u64,
    pub(super) finished: Option<EndReason>,
}

impl State {
    /// A server at version 0 with so many clients, none of them ready.
    pub(super) fn new(clients: usize) -> Self {
        Self {
            now: 0.0,
            version: 0,
            samples: 0,
            counted_samples: 0,
            next_task: 0,
            next_round: 0,
            clients: vec![ClientState::default(); clients],
            working: 0,
            line: BTreeSet::new(),
            round: None,
            groups: BTreeMap::new(),
            regroup: BTreeSet::new(),
            gathered: BTreeMap::new(),
            norms: NormWindow::default(),
            refusals: BTreeMap::new(),
            refusals_in_a_row: 0,
            clipped: 0,
            finished: None,
        }
    }

    /// The version of the parameters that belong to it.
    pub fn version(&self) -> u64 {
        self.version
    }
}
