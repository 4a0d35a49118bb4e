//! What follows from the events for each device. Small enough to be written as JSON.

use std::collections::{BTreeMap, BTreeSet};

use fedact_federation::aggregator::{Action, ClientId, EndReason};
use serde::{Deserialize, Serialize};

use super::verdict_of;
use crate::journal::{Happened, Record};
use crate::wire::{Assignment, Verdict};

/// What is known of the devices after so much of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The byte of the journal up to which all is contained.
    pub journal_end: u64,
    /// By client.
    pub members: Vec<Member>,
    /// Clips of an ordinary task of each client that was added since the run began: the last ones of `members`.
    #[serde(default)]
    pub newcomers: Vec<u64>,
    /// Clips at which the run ends, since a device has said how many it has.
    #[serde(default)]
    pub budget_samples: Option<u64>,
    /// Rounds and groups that close at some time, in seconds since the run began.
    pub deadlines: Vec<(f64, u64)>,
    /// When rounds were opened, for drivers that give them a time.
    pub open_round: Option<(f64, u64)>,
    /// The last round whose time was said to be over.
    pub closed_round: Option<u64>,
    /// Tasks lost since one was last answered.
    pub lost_in_a_row: u64,
    /// Updates refused by the aggregator or not readable, by code.
    pub refused: BTreeMap<String, u64>,
    /// Updates that became part of a version.
    pub mixed: u64,
    /// Sum of their staleness.
    pub staleness_sum: u64,
    /// The largest of it.
    pub max_staleness: u64,
    /// Fewest and most samples of a task that was answered.
    pub samples_between: Option<(u64, u64)>,
    /// Bytes of the updates that came.
    pub bytes_up: u64,
    /// Bytes of models that their devices fetched for them, as they say.
    pub bytes_down: u64,
    /// The byte of the chronicle up to which all is contained.
    pub chronicle_end: u64,
    /// What the last test of the model said.
    pub tested: Option<Tested>,
    /// Why the run is over.
    pub finished: Option<EndReason>,
    /// When the last event was, in seconds since the run began.
    pub now: f64,
}

/// A device as the run knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Whether it is there.
    pub presence: Presence,
    /// Clips that it has, as it said last; no more than are counted.
    #[serde(default)]
    pub clips: Option<u64>,
    /// Clips of an ordinary task of it, since it has said how many it has.
    #[serde(default)]
    pub samples_per_task: Option<u64>,
    /// Its open task.
    pub assignment: Option<Assignment>,
    /// When that was given out, in seconds since the run began.
    pub given_at: f64,
    /// What became of its last one.
    pub verdict: Option<Verdict>,
    /// Updates that counted.
    pub counted: u64,
    /// Updates that did not.
    pub refused: u64,
    /// Tasks that it lost.
    pub lost: u64,
    /// Tasks that it was given.
    pub given_tasks: u64,
    /// Their samples.
    pub given_samples: u64,
}

/// How good a model was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tested {
    /// Which version.
    pub version: u64,
    /// Samples of tasks that had reached the coordinator.
    pub samples: u64,
    /// Share of test clips whose most likely class is right, 0 to 1.
    pub top1: f64,
    /// Mean cross-entropy; none when the model has diverged.
    pub loss: Option<f64>,
}

/// Whether a device is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It never came, or is silent, or has just answered.
    #[default]
    Away,
    /// It can work, and the strategy has no task for it yet.
    Waiting,
    /// It has a task.
    Working,
}

impl Progress {
    pub(super) fn new(clients: usize, journal_end: u64) -> Self {
        Self {
            journal_end,
            members: vec![Member::default(); clients],
            newcomers: Vec::new(),
            budget_samples: None,
            deadlines: Vec::new(),
            open_round: None,
            closed_round: None,
            lost_in_a_row: 0,
            refused: BTreeMap::new(),
            mixed: 0,
            staleness_sum: 0,
            max_staleness: 0,
            samples_between: None,
            bytes_up: 0,
            bytes_down: 0,
            chronicle_end: 0,
            tested: None,
            finished: None,
            now: 0.0,
        }
    }

    /// The versions that open tasks started from.
    pub fn open_versions(&self) -> BTreeSet<u64> {
        let members = self.members.iter();
        members
            .filter_map(|member| member.assignment.map(|assignment| assignment.version))
            .collect()
    }

    /// Mean staleness of the updates that became part of a version; nothing before the first one.
    pub fn mean_staleness(&self) -> Option<f64> {
        (self.mixed > 0).then(|| self.staleness_sum as f64 / self.mixed as f64)
    }

    pub(super) fn assign(&mut self, client: ClientId, assignment: Assignment, at: f64) {
        if let Some(member) = self.members.get_mut(client) {
            member.presence = Presence::Working;
            member.assignment = Some(assignment);
            member.given_at = at;
            member.given_tasks += 1;
            member.given_samples += assignment.samples;
        }
    }

    pub(super) fn note_event(&mut self, record: &Record, actions: &[Action]) {
        self.now = self.now.max(record.at);
        match &record.happened {
            Happened::Ready { client } => self.change(*client, |member| {
                member.presence = Presence::Waiting;
                member.assignment = None;
            }),
            Happened::Lost { client } => {
                let members = self.members.get(*client);
                if members.is_some_and(|member| member.assignment.is_some()) {
                    self.lost_in_a_row += 1;
                }
                self.change(*client, |member| {
                    member.presence = Presence::Away;
                    member.lost += u64::from(member.assignment.take().is_some());
                });
            }
            Happened::Added { samples_per_task } => {
                self.newcomers.push(*samples_per_task);
                self.members.push(Member::default());
            }
            Happened::Holds {
                client,
                clips,
                samples_per_task,
                budget_samples,
            } => {
                self.budget_samples = Some(*budget_samples);
                self.change(*client, |member| {
                    member.clips = Some(*clips);
                    member.samples_per_task = Some(*samples_per_task);
                });
            }
            Happened::Update {
                client,
                task,
                bytes,
                took,
                ..
            } => {
                let member = self.members.get(*client);
                if let Some(open) = member.and_then(|member| member.assignment) {
                    let between = self.samples_between;
                    let (least, most) = between.unwrap_or((open.samples, open.samples));
                    self.samples_between = Some((least.min(open.samples), most.max(open.samples)));
                }
                self.bytes_up += bytes;
                // A device may say anything.
                self.bytes_down = self.bytes_down.saturating_add(took.fetched_bytes);
                self.answer(*client, verdict_of(*task, *client, actions));
            }
            Happened::Unreadable { client, task, code } => {
                let refused = Some(code.clone());
                self.answer(
                    *client,
                    Verdict {
                        task: *task,
                        refused,
                    },
                );
            }
            Happened::Deadline { round } => {
                self.deadlines.retain(|(_, open)| open != round);
                self.closed_round = Some(*round);
            }
            Happened::Tested(tested) => self.tested = Some(*tested),
            Happened::Stop { .. } => {}
        }
        for action in actions {
            match action {
                Action::RoundOpened { round, .. } => self.open_round = Some((record.at, *round)),
                Action::GroupOpened { group, closes_at } => {
                    self.deadlines.push((*closes_at, *group));
                }
                Action::Finished { reason } => {
                    self.finished = Some(*reason);
                    self.deadlines.clear();
                    self.open_round = None;
                    for member in &mut self.members {
                        member.assignment = None;
                    }
                }
                Action::Mixed { staleness, .. } => {
                    self.mixed += 1;
                    self.staleness_sum += staleness;
                    self.max_staleness = self.max_staleness.max(*staleness);
                }
                Action::Send { .. } | Action::Refused { .. } => {}
            }
        }
    }

    fn answer(&mut self, client: ClientId, verdict: Verdict) {
        self.lost_in_a_row = 0;
        if let Some(code) = &verdict.refused {
            *self.refused.entry(code.clone()).or_default() += 1;
        }
        self.change(client, |member| {
            member.presence = Presence::Away;
            member.assignment = None;
            match verdict.refused {
                None => member.counted += 1,
                Some(_) => member.refused += 1,
            }
            member.verdict = Some(verdict);
        });
    }

    fn change(&mut self, client: ClientId, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(client) {
            change(member);
        }
    }
}
