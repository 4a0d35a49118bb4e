//! The server as a pure state machine: `(state, event) -> (state, actions)`.
//!
//! It knows no clock, no network, no files and no tensor library, so the simulation and a real network
//! drive the very same code. Its memory is that of one model (FedAvg: of one more, in double precision)
//! plus a few words a client.
//!
//! | Event | FedAsync | FedAvg |
//! | --- | --- | --- |
//! | [`Event::ClientReady`] | gets a task at once | gets a task if the open round asked for it and has none from it yet |
//! | [`Event::UpdateArrived`] | checked, mixed in at once: a new version | checked, taken into the round's mean |
//! | [`Event::ClientLost`] | its task is forgotten | the round no longer waits for it |
//! | [`Event::RoundDeadline`] | nothing | the round closes with what has arrived |
//!
//! A run ends when tasks with as many samples as the budget have reached the server, refused ones
//! included (the work was done), or when nothing but refusals came in for a long time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::clock::derived_rng;
use crate::layout::Layout;
use crate::strategy::{FedAsync, FedAvg, Strategy, WeightedMean, mix};
use crate::validation::{Refusal, check_numbers};

/// A client's number: its place in [`Config::clients`].
pub type ClientId = usize;

/// A task's number; later tasks have larger ones.
pub type TaskId = u64;

const ROUND_SELECTION: u64 = 2;

/// What the server knows of a client before the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Clips that one of its tasks processes, repeats counted.
    pub samples_per_task: u64,
}

/// The rules of a run.
#[derive(Debug, Clone)]
pub struct Config {
    /// How updates become versions.
    pub strategy: Strategy,
    /// The clients that may take part.
    pub clients: Vec<Client>,
    /// How the parameters lie in their slice.
    pub layout: Layout,
    /// The run ends when tasks of so many samples have reached the server.
    pub budget_samples: u64,
    /// Updates further from the model than this (Euclidean norm) are refused.
    pub max_update_distance: Option<f64>,
    /// The run ends after so many refusals with no update counted between.
    pub max_refusals_in_a_row: u64,
    /// What the selection of rounds derives from.
    pub seed: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A client can work. From one that already has a task: it has lost it.
    ClientReady {
        /// Which.
        client: ClientId,
    },
    /// An update came in.
    UpdateArrived(Update),
    /// A client is gone, and its task with it, until it says that it is ready.
    ClientLost {
        /// Which.
        client: ClientId,
    },
    /// The time of a round is over.
    RoundDeadline {
        /// Which round, as in [`Action::RoundOpened`].
        round: u64,
    },
    /// Nothing more will happen, or somebody wants it to end.
    Stop {
        /// Why.
        reason: EndReason,
    },
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
    /// [`Layout::fingerprint`] of the network it trained.
    pub layout: u64,
    /// The trained parameters, flat.
    pub parameters: Vec<f32>,
}

/// Something to do or to record. All actions that one event causes come together, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Give the client a task on [`Aggregator::parameters`], whose version is the current one when
    /// the event has been handled.
    Send {
        /// To whom.
        client: ClientId,
        /// The task's number.
        task: TaskId,
        /// The version that is sent.
        version: u64,
    },
    /// A round began; a driver that has a deadline for rounds starts it now.
    RoundOpened {
        /// The round's number, from 0.
        round: u64,
        /// How many clients it asks.
        asked: usize,
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
    /// Nothing but refusals for a long time.
    AllUpdatesRefused,
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
            Self::AllUpdatesRefused => "all-updates-refused",
            Self::NoClientsLeft => "no-clients-left",
            Self::Stopped => "stopped",
        }
    }
}

/// What the server remembers of a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ClientState {
    ready: bool,
    task: Option<OpenTask>,
    last_closed: Option<TaskId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct OpenTask {
    id: TaskId,
    version: u64,
    round: u64,
}

/// The open round of FedAvg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Round {
    number: u64,
    /// Clients asked that were not ready yet.
    waiting: BTreeSet<ClientId>,
    /// Clients that work for it.
    working: BTreeSet<ClientId>,
    /// Counted updates: client, task, samples.
    arrived: Vec<(ClientId, TaskId, u64)>,
    /// Answers that close it.
    wanted: usize,
    /// Answers so far, refused ones included.
    answered: usize,
}

/// Everything about the server but its parameters; small enough to be written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u64,
    samples: u64,
    next_task: TaskId,
    next_round: u64,
    clients: Vec<ClientState>,
    round: Option<Round>,
    refusals: BTreeMap<Refusal, u64>,
    refusals_in_a_row: u64,
    finished: Option<EndReason>,
}

impl State {
    /// The version of the parameters that belong to it.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// The server.
#[derive(Debug, Clone)]
pub struct Aggregator {
    config: Config,
    fingerprint: u64,
    state: State,
    parameters: Arc<Vec<f32>>,
    mean: Option<WeightedMean>,
}

impl Aggregator {
    /// A server at version 0.
    ///
    /// # Panics
    /// If `parameters` does not have the layout's length.
    pub fn new(config: Config, parameters: Vec<f32>) -> Self {
        let state = State {
            version: 0,
            samples: 0,
            next_task: 0,
            next_round: 0,
            clients: vec![ClientState::default(); config.clients.len()],
            round: None,
            refusals: BTreeMap::new(),
            refusals_in_a_row: 0,
            finished: None,
        };
        Self::restore(config, state, Arc::new(parameters))
    }

    /// A server as it was when [`Self::state`] and [`Self::parameters`] were kept. They must be kept
    /// when [`Self::is_at_rest`].
    ///
    /// # Panics
    /// If `parameters` does not have the layout's length, or `state` not the config's clients.
    pub fn restore(config: Config, state: State, parameters: Arc<Vec<f32>>) -> Self {
        assert_eq!(config.layout.len(), parameters.len(), "parameters");
        assert_eq!(config.clients.len(), state.clients.len(), "clients");
        Self {
            fingerprint: config.layout.fingerprint(),
            config,
            state,
            parameters,
            mean: None,
        }
    }

    /// The parameters of the current version.
    pub fn parameters(&self) -> &Arc<Vec<f32>> {
        &self.parameters
    }

    /// Everything else.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The rules.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The current version: how many times the parameters have changed.
    pub fn version(&self) -> u64 {
        self.state.version
    }

    /// Samples of the tasks that reached the server.
    pub fn samples(&self) -> u64 {
        self.state.samples
    }

    /// How many updates were refused, by reason.
    pub fn refusals(&self) -> &BTreeMap<Refusal, u64> {
        &self.state.refusals
    }

    /// Why the run is over, if it is.
    pub fn finished(&self) -> Option<EndReason> {
        self.state.finished
    }

    /// Whether [`Self::state`] and [`Self::parameters`] are all there is: no round is half summed up.
    pub fn is_at_rest(&self) -> bool {
        self.mean.is_none()
    }

    /// Takes in an event and says what to do.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.state.finished.is_some() {
            if let Event::UpdateArrived(update) = event {
                self.refuse(&update, Refusal::RunFinished, &mut actions);
            }
            return actions;
        }
        let mut readied = None;
        match event {
            Event::ClientReady { client } => {
                readied = Some(client);
                if let Some(state) = self.state.clients.get_mut(client) {
                    let lost = state.task.take().is_some();
                    state.ready = true;
                    if lost {
                        self.stop_waiting_for(client);
                    }
                }
            }
            Event::ClientLost { client } => {
                if let Some(state) = self.state.clients.get_mut(client) {
                    state.ready = false;
                    state.task = None;
                    self.stop_waiting_for(client);
                }
            }
            Event::UpdateArrived(update) => self.take(update, &mut actions),
            Event::RoundDeadline { round } => {
                if self
                    .state
                    .round
                    .as_ref()
                    .is_some_and(|open| open.number == round)
                {
                    self.close_round(&mut actions);
                }
            }
            Event::Stop { reason } => self.finish(reason, &mut actions),
        }
        self.close_round_if_answered(&mut actions);
        self.end_if_due(&mut actions);
        self.send_tasks(readied, &mut actions);
        actions
    }

    /// Checks an update and counts it.
    fn take(&mut self, update: Update, actions: &mut Vec<Action>) {
        let task = match self.open_task(&update) {
            Ok(task) => task,
            // Whoever sent this holds none of the server's tasks: it is counted, and changes nothing.
            Err(reason) => return self.refuse(&update, reason, actions),
        };
        let client = &mut self.state.clients[update.client];
        client.task = None;
        client.last_closed = Some(task.id);
        self.state.samples += self.config.clients[update.client].samples_per_task;
        let outcome = self
            .check(&update, task)
            .and_then(|()| match &self.config.strategy {
                Strategy::FedAsync(fedasync) => {
                    let staleness = self.state.version - task.version;
                    let weight = accept(fedasync, self.state.version, staleness)?;
                    Ok(Some((staleness, weight)))
                }
                Strategy::FedAvg(_) => match &self.state.round {
                    Some(round) if round.number == task.round => Ok(None),
                    _ => Err(Refusal::LateForRound),
                },
            });
        if let Some(round) = &mut self.state.round
            && round.number == task.round
        {
            round.working.remove(&update.client);
            round.answered += 1;
        }
        match outcome {
            Err(reason) => {
                self.state.refusals_in_a_row += 1;
                self.refuse(&update, reason, actions);
            }
            Ok(Some((staleness, weight))) => {
                let model: &mut Vec<f32> = Arc::make_mut(&mut self.parameters);
                mix(model, &update.parameters, weight);
                self.state.version += 1;
                self.state.refusals_in_a_row = 0;
                actions.push(Action::Mixed {
                    client: update.client,
                    task: update.task,
                    base_version: update.base_version,
                    version: self.state.version,
                    staleness,
                    weight,
                });
            }
            Ok(None) => {
                let length = self.parameters.len();
                self.mean
                    .get_or_insert_with(|| WeightedMean::new(length))
                    .add(&update.parameters, update.samples);
                self.state.refusals_in_a_row = 0;
                if let Some(round) = &mut self.state.round {
                    round
                        .arrived
                        .push((update.client, update.task, update.samples));
                }
            }
        }
    }

    /// The open task that an update is for.
    fn open_task(&self, update: &Update) -> Result<OpenTask, Refusal> {
        let client = self
            .state
            .clients
            .get(update.client)
            .ok_or(Refusal::UnknownClient)?;
        match client.task {
            Some(task) if task.id == update.task => Ok(task),
            _ if client.last_closed == Some(update.task) => Err(Refusal::TaskAlreadyApplied),
            _ => Err(Refusal::UnknownTask),
        }
    }

    fn check(&self, update: &Update, task: OpenTask) -> Result<(), Refusal> {
        if update.base_version != task.version {
            return Err(Refusal::UnknownBaseVersion);
        }
        if update.samples != self.config.clients[update.client].samples_per_task {
            return Err(Refusal::WrongSampleCount);
        }
        if update.layout != self.fingerprint {
            return Err(Refusal::WrongLayout);
        }
        check_numbers(
            &self.parameters,
            &update.parameters,
            self.config.max_update_distance,
        )
    }

    fn refuse(&mut self, update: &Update, reason: Refusal, actions: &mut Vec<Action>) {
        *self.state.refusals.entry(reason).or_default() += 1;
        actions.push(Action::Refused {
            client: update.client,
            task: update.task,
            base_version: update.base_version,
            reason,
        });
    }

    fn stop_waiting_for(&mut self, client: ClientId) {
        if let Some(round) = &mut self.state.round {
            round.waiting.remove(&client);
            round.working.remove(&client);
        }
    }

    fn close_round_if_answered(&mut self, actions: &mut Vec<Action>) {
        let complete = self.state.round.as_ref().is_some_and(|round| {
            round.answered >= round.wanted || (round.waiting.is_empty() && round.working.is_empty())
        });
        if complete {
            self.close_round(actions);
        }
    }

    /// Makes the round's mean the next version; without any update the version stays.
    fn close_round(&mut self, actions: &mut Vec<Action>) {
        let Some(round) = self.state.round.take() else {
            return;
        };
        let Some(mean) = self.mean.take() else {
            return;
        };
        let samples = mean.samples();
        let Some(parameters) = mean.finish() else {
            return;
        };
        self.parameters = Arc::new(parameters);
        self.state.version += 1;
        for (client, task, n) in round.arrived {
            actions.push(Action::Mixed {
                client,
                task,
                base_version: self.state.version - 1,
                version: self.state.version,
                staleness: 0,
                weight: n as f64 / samples,
            });
        }
    }

    fn end_if_due(&mut self, actions: &mut Vec<Action>) {
        // A round that is under way is finished first: its work would be lost otherwise.
        if self.state.finished.is_some() || self.state.round.is_some() {
            return;
        }
        if self.state.samples >= self.config.budget_samples {
            self.finish(EndReason::BudgetSpent, actions);
        } else if self.state.refusals_in_a_row >= self.config.max_refusals_in_a_row {
            self.finish(EndReason::AllUpdatesRefused, actions);
        }
    }

    fn finish(&mut self, reason: EndReason, actions: &mut Vec<Action>) {
        self.close_round(actions);
        self.state.finished = Some(reason);
        actions.push(Action::Finished { reason });
    }

    /// Gives work to the client that has just become ready, and to all that a new round asks for.
    fn send_tasks(&mut self, readied: Option<ClientId>, actions: &mut Vec<Action>) {
        if self.state.finished.is_some() {
            return;
        }
        let fedavg = match &self.config.strategy {
            Strategy::FedAsync(_) => {
                if let Some(client) = readied.filter(|client| *client < self.state.clients.len()) {
                    self.send(client, 0, actions);
                }
                return;
            }
            Strategy::FedAvg(fedavg) => fedavg.clone(),
        };
        let (mut round, candidates) = match self.state.round.take() {
            Some(round) => (round, readied.into_iter().collect()),
            None => {
                let round = self.open_round(&fedavg);
                actions.push(Action::RoundOpened {
                    round: round.number,
                    asked: round.waiting.len(),
                });
                let asked: Vec<ClientId> = round.waiting.iter().copied().collect();
                (round, asked)
            }
        };
        for client in candidates {
            if round.waiting.contains(&client) && self.state.clients[client].ready {
                round.waiting.remove(&client);
                round.working.insert(client);
                self.send(client, round.number, actions);
            }
        }
        self.state.round = Some(round);
    }

    fn open_round(&mut self, fedavg: &FedAvg) -> Round {
        let number = self.state.next_round;
        self.state.next_round += 1;
        let mut clients: Vec<ClientId> = (0..self.state.clients.len()).collect();
        let (asked, wanted) = fedavg.round_size(clients.len());
        if asked < clients.len() {
            let mut rng = derived_rng(self.config.seed, &[ROUND_SELECTION, number]);
            clients.shuffle(&mut rng);
            clients.truncate(asked);
        }
        Round {
            number,
            waiting: clients.into_iter().collect(),
            working: BTreeSet::new(),
            arrived: Vec::new(),
            wanted,
            answered: 0,
        }
    }

    fn send(&mut self, client: ClientId, round: u64, actions: &mut Vec<Action>) {
        let task = self.state.next_task;
        self.state.next_task += 1;
        let state = &mut self.state.clients[client];
        state.ready = false;
        state.task = Some(OpenTask {
            id: task,
            version: self.state.version,
            round,
        });
        actions.push(Action::Send {
            client,
            task,
            version: self.state.version,
        });
    }
}

/// The weight of an update of this staleness, or its refusal.
fn accept(fedasync: &FedAsync, version: u64, staleness: u64) -> Result<f64, Refusal> {
    if fedasync.max_staleness.is_some_and(|max| staleness > max) {
        return Err(Refusal::TooStale);
    }
    Ok(fedasync.weight(version, staleness))
}
