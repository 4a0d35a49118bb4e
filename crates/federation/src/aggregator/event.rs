//! What happens to the server, and what it does.

use serde::{Deserialize, Serialize};

use super::{Client, ClientId, TaskId};
use crate::validation::Refusal;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A client can work. From one that already has a task: it has lost it.
    ClientReady {
        /// Which.
        client: ClientId,
    },
    /// One more client may take part from now on; its number is the next one. Nothing happens under a strategy that counts on
    /// the clients that it began with ([`Strategy::admits_newcomers`](crate::strategy::Strategy::admits_newcomers)).
    ClientAdded {
        /// What is known of it.
        client: Client,
    },
    /// An ordinary task of a client has so many samples from now on, and the run as many as follows from it; a task that is open keeps its
    /// length.
    ClientHolds {
        /// Which.
        client: ClientId,
        /// Clips that such a task processes, repeats counted.
        samples_per_task: u64,
        /// The run ends when tasks of so many samples have reached the server.
        budget_samples: u64,
    },
    /// An update came in.
    UpdateArrived(Update),
    /// A client is gone, and its task with it, until it says that it is ready.
    ClientLost {
        /// Which.
        client: ClientId,
    },
    /// The time of a round or group is over.
    RoundDeadline {
        /// Which, as in [`Action::RoundOpened`] or [`Action::GroupOpened`].
        round: u64,
    },
    /// Nothing more will happen, or somebody wants it to end.
    Stop {
        /// Why.
        reason: EndReason,
    },
}

/// What an update carries, flat and as long as the layout.
#[derive(Debug, Clone, PartialEq)]
pub enum Contents {
    /// The trained parameters: for strategies that mix models.
    Parameters(Vec<f32>),
    /// The trained parameters less those of the base version: for all others.
    Change(Vec<f32>),
}

impl Contents {
    /// The numbers, whatever they are.
    pub fn numbers(&self) -> &[f32] {
        match self {
            Self::Parameters(numbers) | Self::Change(numbers) => numbers,
        }
    }

    /// The same to be changed.
    pub fn numbers_mut(&mut self) -> &mut Vec<f32> {
        match self {
            Self::Parameters(numbers) | Self::Change(numbers) => numbers,
        }
    }
}

/// What a client sends back.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The sender.
    pub client: ClientId,
    /// The task it was for.
    pub task: TaskId,
    /// The version it trained from.
    pub base_version: u64,
    /// Clips it processed.
    pub samples: u64,
    /// [`Layout::fingerprint`](crate::layout::Layout::fingerprint) of the network it trained.
    pub layout: u64,
    /// What it learned, as [`Strategy::takes_parameters`](crate::strategy::Strategy::takes_parameters) says.
    pub contents: Contents,
}

/// Something to do or to record. All actions that one event causes come together, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Give the client a task on [`Aggregator::parameters`](super::Aggregator::parameters), whose version is
    /// the current one when the event has been handled.
    Send {
        /// To whom.
        client: ClientId,
        /// The task's number.
        task: TaskId,
        /// The version that is sent.
        version: u64,
        /// Clips to process, repeats counted.
        samples: u64,
    },
    /// A round began; a driver that has a deadline for rounds starts it now.
    RoundOpened {
        /// The round's number, from 0.
        round: u64,
        /// How many clients it asks.
        asked: usize,
    },
    /// A group was founded; the driver says [`Event::RoundDeadline`] when its time is over.
    GroupOpened {
        /// The group's number, from 0.
        group: u64,
        /// When, in the driver's seconds.
        closes_at: f64,
    },
    /// An update counted.
    Mixed {
        /// The sender.
        client: ClientId,
        /// Its task.
        task: TaskId,
        /// The version it was trained from.
        base_version: u64,
        /// The version it became part of.
        version: u64,
        /// Versions made since its base.
        staleness: u64,
        /// Its weight in that version.
        weight: f64,
    },
    /// An update did not count.
    Refused {
        /// The sender, as it called itself.
        client: ClientId,
        /// The task it named.
        task: TaskId,
        /// The version it named.
        base_version: u64,
        /// Why.
        reason: Refusal,
    },
    /// The run is over; always the last action of all.
    Finished {
        /// Why.
        reason: EndReason,
    },
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// The work was done.
    BudgetSpent,
    /// The model is as good as it was to become.
    TargetReached,
    /// Nothing but refusals for a long time.
    AllUpdatesRefused,
    /// Nothing but tasks that devices lost for a long time.
    AllTasksLost,
    /// No client is left that could bring an update.
    NoClientsLeft,
    /// Somebody stopped it.
    Stopped,
}

impl EndReason {
    /// The code in histories, as in `budget-spent`.
    pub fn code(self) -> &'static str {
        match self {
            Self::BudgetSpent => "budget-spent",
            Self::TargetReached => "target-reached",
            Self::AllUpdatesRefused => "all-updates-refused",
            Self::AllTasksLost => "all-tasks-lost",
            Self::NoClientsLeft => "no-clients-left",
            Self::Stopped => "stopped",
        }
    }
}
