//! A run between two events, as it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Assignment, Score, Totals};
use crate::aggregator::{ClientId, Rows, State, TaskId};
use crate::clock::TaskTimes;

/// What comes up when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Due {
    Ready { client: ClientId },
    Arrival { task: TaskId },
    Loss { task: TaskId },
    Deadline { round: u64 },
}

/// What a client was given so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Given {
    pub tasks: u64,
    pub samples: u64,
}

/// Everything about a run between two events but its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulationState {
    pub(super) now: f64,
    pub(super) due: Vec<(f64, Due)>,
    pub(super) flights: Vec<(TaskId, Assignment, TaskTimes)>,
    pub(super) given: Vec<Given>,
    pub(super) totals: Totals,
    pub(super) next_evaluation: u64,
    pub(super) last_score: Option<(u64, Score)>,
    /// Bytes of the messages of which the server has not decided yet.
    pub(super) undecided: BTreeMap<TaskId, u64>,
    pub(super) aggregator: State,
}

/// A run between two events: [`Simulation::resume`] goes on from it as if nothing had happened.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// All but the parameters.
    pub state: SimulationState,
    /// The parameters of the current version and of those that tasks in flight started from.
    pub versions: BTreeMap<u64, Arc<Vec<f32>>>,
    /// The server's other rows of numbers.
    pub rows: Rows,
    /// What clients have not told the server yet, by their numbers.
    pub residuals: BTreeMap<u32, Arc<Vec<f32>>>,
}
