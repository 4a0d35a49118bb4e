//! The server as a pure state machine: `(state, event) -> (state, actions)`.
//!
//! It knows no network, no files and no tensor library, so the simulation and a real network drive the very
//! same code. Nor does it look at a clock: a driver that has one says with each event when it happened
//! ([`Aggregator::handle_at`]), which only strategies that allot work ask for. Its memory is that of the model,
//! of the rows that [`strategy`](crate::strategy) lists, and a few words a client.
//!
//! | Event | FedAsync | FedAvg | FedBuff, CA2FL, ACE | FedCompass |
//! | --- | --- | --- | --- | --- |
//! | [`Event::ClientReady`] | gets a task at once, or when it is its turn | gets a task if the open round asked for it and has none from it yet | gets a task at once, or when it is its turn | gets as much work as its group leaves time for |
//! | [`Event::UpdateArrived`] | checked, mixed in at once: a new version | checked, taken into the round | checked, taken into the buffer; the last one makes a version | checked, taken into the group |
//! | [`Event::ClientLost`] | its task is forgotten | the round no longer waits for it | its task is forgotten | its group no longer waits for it |
//! | [`Event::RoundDeadline`] | nothing | the round closes with what has arrived | nothing | the group closes with what has arrived |
//! | [`Event::ClientAdded`] | may take part | may take part from the next round on | may take part (FedBuff) | may take part |
//! | [`Event::ClientHolds`] | its next tasks have that length | the same, and its updates weigh as much | as under FedAsync | the same, and its share is another |
//!
//! A run ends when tasks with as many samples as the budget have reached the server, refused ones
//! included (the work was done), or when nothing but refusals came in for a long time. What has been gathered by
//! then makes one last version, unless the model is already as good as it was to become.

mod event;
mod gathering;
mod groups;
mod memory;
mod rounds;
mod state;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::layout::Layout;
use crate::strategy::{Average, Spent, Strategy};
use crate::validation::{NormBound, Refusal, check_norm};
use crate::vector;

pub use event::{Action, Contents, EndReason, Event, Update};
pub use memory::Rows;
pub use state::State;

use memory::Memory;
use state::{ClientState, OpenTask};

/// A client's number: its place in [`Config::clients`].
pub type ClientId = usize;

/// A task's number; later tasks have larger ones.
pub type TaskId = u64;

/// The one buffer of strategies that have one.
const BUFFER: u64 = 0;

/// What the server knows of a client before the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Clips that an ordinary task of it processes, repeats counted.
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
    /// Under FedAsync, FedBuff, CA2FL and ACE no more clients than these work at a time; at least 1. Nothing: all that are
    /// ready do.
    pub concurrency: Option<usize>,
    /// The run ends when tasks of so many samples have reached the server.
    pub budget_samples: u64,
    /// Updates that change more than this (Euclidean norm) are refused. What counts is the distance from the
    /// server's model where parameters are mixed, which is what α_t is of, and the change's own norm elsewhere.
    pub max_update_distance: Option<f64>,
    /// The same norm is held against that of other clients' updates.
    pub norm_bound: Option<NormBound>,
    /// Where updates are weighted by their samples, none counts for more than so many.
    pub max_samples: Option<u64>,
    /// What is tested and kept is this average of the versions; nothing: the last one.
    pub average: Option<Average>,
    /// The run ends after so many refusals with no update counted between.
    pub max_refusals_in_a_row: u64,
    /// What the selection of rounds and the noise of differential privacy derive from.
    pub seed: u64,
}

impl Config {
    /// Rules without a bound: of clients whose ordinary tasks process so many samples, as many at a time as are ready. No number
    /// of refusals ends the run, and the seed is 0.
    pub fn unbounded(
        strategy: Strategy,
        samples_per_task: impl IntoIterator<Item = u64>,
        layout: Layout,
        budget_samples: u64,
    ) -> Self {
        let clients = samples_per_task.into_iter();
        Self {
            strategy,
            clients: clients
                .map(|samples_per_task| Client { samples_per_task })
                .collect(),
            layout,
            concurrency: None,
            budget_samples,
            max_update_distance: None,
            norm_bound: None,
            max_samples: None,
            average: None,
            max_refusals_in_a_row: u64::MAX,
            seed: 0,
        }
    }

    /// Samples as far as they count.
    fn capped_samples(&self, samples: u64) -> u64 {
        samples.min(self.max_samples.unwrap_or(u64::MAX))
    }

    /// Samples of an ordinary task of a client, as far as they count.
    fn capped(&self, client: &Client) -> u64 {
        self.capped_samples(client.samples_per_task)
    }
}

/// The server.
#[derive(Debug, Clone)]
pub struct Aggregator {
    config: Config,
    fingerprint: u64,
    /// Samples of ordinary tasks of all clients, each capped.
    capped_samples: u64,
    state: State,
    parameters: Arc<Vec<f32>>,
    memory: Memory,
}

impl Aggregator {
    /// A server at version 0.
    ///
    /// # Panics
    /// If `parameters` does not have the layout's length.
    pub fn new(config: Config, parameters: Vec<f32>) -> Self {
        let state = State::new(config.clients.len());
        assert_eq!(config.layout.len(), parameters.len(), "parameters");
        Self::with(config, state, Arc::new(parameters), Memory::default())
    }

    /// A server as it was when [`Self::state`], [`Self::parameters`] and [`Self::rows`] were kept.
    ///
    /// Gives nothing if they do not fit the config or each other.
    pub fn restore(
        config: Config,
        state: State,
        parameters: Arc<Vec<f32>>,
        rows: &Rows,
    ) -> Option<Self> {
        let length = config.layout.len();
        let memory = Memory::from_rows(rows, length)?;
        let strategy = &config.strategy;
        let kept = |gathering: &u64, contributions: usize| {
            if strategy.combination().is_sum() {
                memory.sums.contains_key(gathering)
            } else {
                memory.held.get(gathering).map_or(0, Vec::len) == contributions
            }
        };
        let averaged = config.average.is_some() && state.version > 0;
        let fits = parameters.len() == length
            && memory.average.is_some() == averaged
            && state.clients.len() == config.clients.len()
            && state
                .gathered
                .iter()
                .all(|(gathering, contributions)| kept(gathering, contributions.len()));
        fits.then(|| Self::with(config, state, parameters, memory))
    }

    fn with(config: Config, state: State, parameters: Arc<Vec<f32>>, memory: Memory) -> Self {
        let clients = config.clients.iter();
        Self {
            fingerprint: config.layout.fingerprint(),
            capped_samples: clients.map(|client| config.capped(client)).sum(),
            config,
            state,
            parameters,
            memory,
        }
    }

    /// The parameters of the current version.
    pub fn parameters(&self) -> &Arc<Vec<f32>> {
        &self.parameters
    }

    /// What is tested and kept: the average of the versions, where the rules ask for one, and else the current version.
    pub fn model(&self) -> &Arc<Vec<f32>> {
        self.memory.average.as_ref().unwrap_or(&self.parameters)
    }

    /// Everything else but [`Self::rows`].
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its rows of numbers beside the parameters; shared, not copied.
    pub fn rows(&self) -> Rows {
        self.memory.rows()
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

    /// How many updates were scaled down to a bound before they counted.
    pub fn clipped(&self) -> u64 {
        self.state.clipped
    }

    /// What the models so far tell of a client, if the strategy bounds it.
    pub fn privacy_spent(&self) -> Option<Spent> {
        let clients = self.state.clients.iter();
        let most = clients.map(|client| client.squared_contributions).max();
        let privacy = self.config.strategy.privacy()?;
        Some(privacy.spent(most.unwrap_or(0)))
    }

    /// Why the run is over, if it is.
    pub fn finished(&self) -> Option<EndReason> {
        self.state.finished
    }

    /// Takes in an event and says what to do, for drivers without a clock: no time has passed. FedCompass then
    /// learns of no speeds.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        self.handle_at(self.state.now, event)
    }

    /// Takes in an event that happens at `now`, in seconds from wherever the driver counts, and says what to
    /// do. Time does not go back: an earlier `now` than the last is taken as the last.
    pub fn handle_at(&mut self, now: f64, event: Event) -> Vec<Action> {
        self.state.now = self.state.now.max(now);
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
                if client < self.state.clients.len() {
                    readied = Some(client);
                    let lost = self.close_task(client).is_some();
                    self.state.clients[client].ready = true;
                    self.join_the_line(client);
                    if lost {
                        self.stop_waiting_for(client);
                    }
                }
            }
            Event::ClientLost { client } => {
                if client < self.state.clients.len() {
                    self.leave_the_line(client);
                    self.state.clients[client].ready = false;
                    self.close_task(client);
                    self.stop_waiting_for(client);
                }
            }
            Event::ClientAdded { client } => self.add(client),
            Event::ClientHolds {
                client,
                samples_per_task,
                budget_samples,
            } => self.lengthen(client, samples_per_task, budget_samples),
            Event::UpdateArrived(update) => self.take(update, &mut actions),
            Event::RoundDeadline { round } => {
                if self.state.groups.contains_key(&round) {
                    self.close_group(round, &mut actions);
                }
                let open = self.state.round.as_ref();
                if open.is_some_and(|open| open.number == round) {
                    self.close_round(&mut actions);
                }
            }
            Event::Stop { reason } => self.finish(reason, &mut actions),
        }
        self.close_what_is_complete(&mut actions);
        self.end_if_due(&mut actions);
        self.send_tasks(readied, &mut actions);
        actions
    }

    fn add(&mut self, client: Client) {
        if self.config.strategy.admits_newcomers() {
            self.capped_samples += self.config.capped(&client);
            self.config.clients.push(client);
            self.state.clients.push(ClientState {
                counted_until: self.state.counted_samples,
                ..ClientState::default()
            });
        }
    }

    /// Gives a client's ordinary tasks another length, and with it another share of all samples, and the run another budget.
    fn lengthen(&mut self, client: ClientId, samples_per_task: u64, budget_samples: u64) {
        let Some(known) = self.config.clients.get(client).copied() else {
            return;
        };
        let now = Client { samples_per_task };
        self.capped_samples -= self.config.capped(&known);
        self.capped_samples += self.config.capped(&now);
        self.config.clients[client] = now;
        self.config.budget_samples = budget_samples;
    }

    /// Checks an update and counts it.
    fn take(&mut self, mut update: Update, actions: &mut Vec<Action>) {
        let task = match self.open_task(&update) {
            Ok(task) => task,
            // Whoever sent this holds none of the server's tasks: it is counted, and changes nothing.
            Err(reason) => return self.refuse(&update, reason, actions),
        };
        self.learn_pace(update.client, task);
        self.close_task(update.client);
        self.state.clients[update.client].last_closed = Some(task.id);
        self.state.samples += task.samples;
        let staleness = self.state.version - task.version;
        let admitted = self.admit(&mut update, task, staleness);
        if let Some(round) = &mut self.state.round
            && round.number == task.gathering
        {
            round.working.remove(&update.client);
            round.answered += 1;
        }
        match admitted {
            Err(reason) => {
                self.state.refusals_in_a_row += 1;
                self.leave_group(update.client);
                self.refuse(&update, reason, actions);
            }
            Ok(()) => {
                self.state.refusals_in_a_row = 0;
                self.count(update, task, staleness, actions);
            }
        }
    }

    /// Lets an update that passed all checks have its part in the model, now or later.
    fn count(&mut self, update: Update, task: OpenTask, staleness: u64, actions: &mut Vec<Action>) {
        match (&self.config.strategy, &update.contents) {
            (Strategy::FedAsync(fedasync), contents) => {
                let weight = fedasync.weight(self.state.version, staleness);
                let model: &mut Vec<f32> = Arc::make_mut(&mut self.parameters);
                vector::mix(model, contents.numbers(), weight);
                self.next_version();
                actions.push(Action::Mixed {
                    client: update.client,
                    task: update.task,
                    base_version: update.base_version,
                    version: self.state.version,
                    staleness,
                    weight,
                });
            }
            (Strategy::FedAvg(_), _) => self.gather(task.gathering, update, staleness),
            (Strategy::FedBuff(_) | Strategy::Cached(_), _) => {
                self.gather(BUFFER, update, staleness);
            }
            (Strategy::FedCompass(_), _) => {
                self.gather_in_group(task.gathering, update, staleness, actions);
            }
        }
    }

    /// The parameters have changed.
    fn next_version(&mut self) {
        self.state.version += 1;
        let Some(average) = self.config.average else {
            return;
        };
        match &mut self.memory.average {
            // The first version is its own average.
            None => self.memory.average = Some(Arc::new(self.parameters.to_vec())),
            Some(row) => vector::mix(
                Arc::make_mut(row).as_mut_slice(),
                &self.parameters,
                average.weight(self.state.version),
            ),
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

    /// Checks everything about an update, the cheap things first, and scales it down to the bounds that scale.
    fn admit(
        &mut self,
        update: &mut Update,
        task: OpenTask,
        staleness: u64,
    ) -> Result<(), Refusal> {
        let config = &self.config;
        if update.base_version != task.version {
            return Err(Refusal::UnknownBaseVersion);
        }
        if update.samples != task.samples {
            return Err(Refusal::WrongSampleCount);
        }
        let is_parameters = matches!(update.contents, Contents::Parameters(_));
        if is_parameters != config.strategy.takes_parameters() {
            return Err(Refusal::WrongContents);
        }
        let numbers = update.contents.numbers_mut();
        if update.layout != self.fingerprint || numbers.len() != self.parameters.len() {
            return Err(Refusal::WrongLayout);
        }
        let norm = if is_parameters {
            vector::distance(numbers, &self.parameters)
        } else {
            vector::norm(numbers)
        };
        check_norm(norm, config.max_update_distance)?;
        let limit = config.strategy.max_staleness();
        if limit.is_some_and(|limit| staleness > limit) {
            return Err(Refusal::TooStale);
        }
        if matches!(config.strategy, Strategy::FedAvg(_)) {
            let round = self.state.round.as_ref();
            if round.is_none_or(|round| round.number != task.gathering) {
                return Err(Refusal::LateForRound);
            }
        }
        if let Some(bound) = &config.norm_bound {
            let clients = config.clients.len();
            let scale = bound.judge(&mut self.state.norms, update.client, norm, clients)?;
            if scale < 1.0 {
                self.state.clipped += 1;
                if is_parameters {
                    // Towards the server's model: what is left of the way is `scale`.
                    vector::mix(numbers, &self.parameters, 1.0 - scale);
                } else {
                    vector::scale(numbers, scale);
                }
            }
        }
        if let Some(privacy) = config.strategy.privacy()
            && privacy.clip(numbers)
        {
            self.state.clipped += 1;
        }
        Ok(())
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
        self.leave_group(client);
    }

    fn close_what_is_complete(&mut self, actions: &mut Vec<Action>) {
        let size = match &self.config.strategy {
            Strategy::FedAsync(_) => return,
            Strategy::FedAvg(_) => return self.close_round_if_answered(actions),
            Strategy::FedCompass(_) => return self.close_complete_groups(actions),
            Strategy::FedBuff(fedbuff) => fedbuff.size,
            Strategy::Cached(cached) => cached.size,
        };
        let gathered = self.state.gathered.get(&BUFFER).map_or(0, Vec::len);
        if gathered >= size {
            self.make_version(BUFFER, actions);
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
        // A model that is as good as it was to become is left alone.
        if reason != EndReason::TargetReached {
            self.close_round(actions);
            self.merge_gathered();
            self.make_version(BUFFER, actions);
        }
        self.state.finished = Some(reason);
        actions.push(Action::Finished { reason });
    }

    /// Gives work to the client that has just become ready, and to all that were waiting for what happened.
    fn send_tasks(&mut self, readied: Option<ClientId>, actions: &mut Vec<Action>) {
        if self.state.finished.is_some() {
            return;
        }
        match &self.config.strategy {
            Strategy::FedAvg(fedavg) => {
                let fedavg = fedavg.clone();
                self.send_in_round(&fedavg, readied, actions);
            }
            Strategy::FedCompass(compass) => {
                let compass = *compass;
                self.send_in_groups(&compass, readied, actions);
            }
            Strategy::FedAsync(_) | Strategy::FedBuff(_) | Strategy::Cached(_) => {
                if let Some(concurrency) = self.config.concurrency {
                    self.send_in_turn(concurrency, actions);
                } else if let Some(client) = readied {
                    let samples = self.config.clients[client].samples_per_task;
                    self.send(client, BUFFER, samples, actions);
                }
            }
        }
    }

    fn send(&mut self, client: ClientId, gathering: u64, samples: u64, actions: &mut Vec<Action>) {
        let task = self.state.next_task;
        self.state.next_task += 1;
        self.state.working += 1;
        let state = &mut self.state.clients[client];
        state.ready = false;
        state.task = Some(OpenTask {
            id: task,
            version: self.state.version,
            gathering,
            samples,
            sent_at: self.state.now,
        });
        actions.push(Action::Send {
            client,
            task,
            version: self.state.version,
            samples,
        });
    }
}
