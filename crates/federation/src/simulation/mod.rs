//! A federated run on one machine: the aggregator driven by the virtual clock.
//!
//! Training is real, time is the devices'. A task's update is computed when the clock reaches its
//! arrival, from the parameters of the version that was sent with it, so staleness is what the clock
//! makes of the devices' speeds and nothing is ever drawn for it. Tasks that have not arrived when
//! the run ends are never computed.

mod host;
mod setting;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::aggregator::{
    Action, Aggregator, ClientId, Config, Contents, EndReason, Event, TaskId, Update,
};
use crate::clock::{EventQueue, Load, TaskTimes};
use crate::history::Record;

pub use host::{Assignment, Host, Score};
pub use setting::{Participant, Setting, Totals};
pub use snapshot::{SimulationState, Snapshot};

use snapshot::{Due, Given};

#[derive(Debug, Clone)]
struct Flight {
    assignment: Assignment,
    times: TaskTimes,
    base: Arc<Vec<f32>>,
}

/// A run.
#[derive(Debug)]
pub struct Simulation {
    aggregator: Aggregator,
    setting: Setting,
    queue: EventQueue<Due>,
    flights: BTreeMap<TaskId, Flight>,
    given: Vec<Given>,
    totals: Totals,
    next_evaluation: u64,
    last_score: Option<(u64, Score)>,
}

impl Simulation {
    /// A run at time 0: writes `start` (a [`Record::Start`]), tests the model, makes every client
    /// ready.
    ///
    /// # Errors
    /// The host's.
    ///
    /// # Panics
    /// If the numbers of clients or parameters disagree.
    pub fn begin<H: Host>(
        config: Config,
        setting: Setting,
        parameters: Vec<f32>,
        start: Record,
        host: &mut H,
    ) -> Result<Self, H::Error> {
        assert_eq!(config.clients.len(), setting.participants.len(), "clients");
        let clients = setting.participants.len();
        let mut simulation = Self {
            aggregator: Aggregator::new(config, parameters),
            queue: EventQueue::default(),
            flights: BTreeMap::new(),
            given: vec![Given::default(); clients],
            totals: Totals::default(),
            next_evaluation: setting.evaluate_every_samples,
            last_score: None,
            setting,
        };
        host.record(start)?;
        simulation.evaluate(host)?;
        for client in 0..clients {
            simulation.queue.push(0.0, Due::Ready { client });
        }
        Ok(simulation)
    }

    /// Carries on from a snapshot taken under the same config and setting.
    ///
    /// Gives nothing if the snapshot lacks something that it refers to or does not fit.
    pub fn resume(config: Config, setting: Setting, snapshot: Snapshot) -> Option<Self> {
        let Snapshot {
            state,
            versions,
            rows,
        } = snapshot;
        let length = config.layout.len();
        let clients = setting.participants.len();
        let fits = state.given.len() == clients
            && config.clients.len() == clients
            && versions
                .values()
                .all(|parameters| parameters.len() == length);
        let version = state.aggregator.version();
        let parameters = Arc::clone(versions.get(&version).filter(|_| fits)?);
        let aggregator = Aggregator::restore(config, state.aggregator, parameters, &rows)?;
        let mut flights = BTreeMap::new();
        for (task, assignment, times) in state.flights {
            let base = Arc::clone(versions.get(&assignment.base_version)?);
            flights.insert(
                task,
                Flight {
                    assignment,
                    times,
                    base,
                },
            );
        }
        let mut queue = EventQueue::starting_at(state.now);
        for (time, due) in state.due {
            queue.push(time, due);
        }
        Some(Self {
            aggregator,
            setting,
            queue,
            flights,
            given: state.given,
            totals: state.totals,
            next_evaluation: state.next_evaluation,
            last_score: state.last_score,
        })
    }

    /// The run as it stands. Numbers are shared with it, not copied.
    pub fn snapshot(&self) -> Snapshot {
        let mut versions = BTreeMap::from([(
            self.aggregator.version(),
            Arc::clone(self.aggregator.parameters()),
        )]);
        for flight in self.flights.values() {
            versions.insert(flight.assignment.base_version, Arc::clone(&flight.base));
        }
        let flights = self
            .flights
            .iter()
            .map(|(task, flight)| (*task, flight.assignment, flight.times))
            .collect();
        Snapshot {
            state: SimulationState {
                now: self.queue.now(),
                due: self.queue.pending(),
                flights,
                given: self.given.clone(),
                totals: self.totals.clone(),
                next_evaluation: self.next_evaluation,
                last_score: self.last_score,
                aggregator: self.aggregator.state().clone(),
            },
            versions,
            rows: self.aggregator.rows(),
        }
    }

    /// Lets the next event happen. Gives the reason once the run is over.
    ///
    /// # Errors
    /// The host's.
    pub fn step<H: Host>(&mut self, host: &mut H) -> Result<Option<EndReason>, H::Error> {
        if let Some(reason) = self.aggregator.finished() {
            return Ok(Some(reason));
        }
        if self.is_good_enough() {
            let reason = EndReason::TargetReached;
            self.handle(Event::Stop { reason }, host)?;
            return Ok(self.aggregator.finished());
        }
        match self.queue.pop() {
            None => {
                let reason = EndReason::NoClientsLeft;
                self.handle(Event::Stop { reason }, host)?;
            }
            Some((_, Due::Ready { client })) => {
                self.handle(Event::ClientReady { client }, host)?;
            }
            Some((_, Due::Deadline { round })) => {
                self.handle(Event::RoundDeadline { round }, host)?;
            }
            Some((now, Due::Loss { task })) => self.lose(task, now, host)?,
            Some((_, Due::Arrival { task })) => self.arrive(task, host)?,
        }
        Ok(self.aggregator.finished())
    }

    /// The server.
    pub fn aggregator(&self) -> &Aggregator {
        &self.aggregator
    }

    /// The virtual time.
    pub fn now(&self) -> f64 {
        self.queue.now()
    }

    /// What it has cost so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The last evaluation.
    pub fn last_score(&self) -> Option<Score> {
        self.last_score.map(|(_, score)| score)
    }

    /// Samples of the tasks that reached the server, in passes of a mean client over its clips.
    pub fn client_epochs(&self) -> f64 {
        self.aggregator.samples() as f64 / self.setting.samples_per_client_epoch
    }

    fn is_good_enough(&self) -> bool {
        let score = self.last_score.map(|(_, score)| score.top1);
        let target = self.setting.target_top1;
        target.is_some_and(|target| score.is_some_and(|top1| top1 >= target))
    }

    fn arrive<H: Host>(&mut self, task: TaskId, host: &mut H) -> Result<(), H::Error> {
        let Some(Flight {
            assignment,
            times,
            base,
        }) = self.flights.remove(&task)
        else {
            return Ok(());
        };
        let parameters = host.train(&assignment, &base)?;
        let contents = if self.aggregator.config().strategy.takes_parameters() {
            Contents::Parameters(parameters)
        } else {
            Contents::Change(change(parameters, &base))
        };
        // Let go of the base before mixing: if it is the current version, it need not be copied.
        drop(base);
        let steps = self.steps(assignment.client, assignment.samples);
        let participant = &self.setting.participants[assignment.client];
        self.totals.bytes_up += self.setting.bytes_up;
        self.totals.max_steps = self.totals.max_steps.max(steps);
        self.totals.min_steps = Some(self.totals.min_steps.unwrap_or(steps).min(steps));
        host.record(Record::Task {
            client: participant.summary.id.clone(),
            base_version: assignment.base_version,
            start: times.start,
            download_end: times.download_end,
            training_end: times.training_end,
            upload_end: times.upload_end,
            samples: assignment.samples,
            steps,
            bytes_down: self.setting.bytes_down,
            bytes_up: self.setting.bytes_up,
        })?;
        let update = Update {
            client: assignment.client,
            task,
            base_version: assignment.base_version,
            samples: assignment.samples,
            layout: self.aggregator.config().layout.fingerprint(),
            contents,
        };
        self.handle(Event::UpdateArrived(update), host)?;
        if self.is_good_enough() {
            // It need not be given another task.
            return Ok(());
        }
        let client = assignment.client;
        self.handle(Event::ClientReady { client }, host)
    }

    /// Steps of a task of so many samples, a step that was begun counting as one.
    fn steps(&self, client: ClientId, samples: u64) -> u64 {
        let ordinary = self.aggregator.config().clients[client].samples_per_task;
        let steps = self.setting.participants[client].steps_per_task;
        (samples * steps).div_ceil(ordinary.max(1))
    }

    fn lose<H: Host>(&mut self, task: TaskId, now: f64, host: &mut H) -> Result<(), H::Error> {
        let Some(flight) = self.flights.remove(&task) else {
            return Ok(());
        };
        let client = flight.assignment.client;
        self.totals.lost += 1;
        self.handle(Event::ClientLost { client }, host)?;
        let profile = self.setting.participants[client].clock.profile();
        let away = profile
            .drop_out
            .as_ref()
            .map_or(0.0, |drop_out| drop_out.return_seconds);
        self.queue.push(now + away, Due::Ready { client });
        Ok(())
    }

    fn handle<H: Host>(&mut self, event: Event, host: &mut H) -> Result<(), H::Error> {
        let actions = self.aggregator.handle_at(self.queue.now(), event);
        let mut finished = None;
        let mut mixed = false;
        for action in actions {
            match action {
                Action::Send {
                    client,
                    task,
                    version,
                    samples,
                } => self.send(client, task, version, samples),
                Action::GroupOpened { group, closes_at } => {
                    self.queue.push(closes_at, Due::Deadline { round: group });
                }
                Action::RoundOpened { round, .. } => {
                    if let Some(seconds) = self.setting.round_deadline_seconds {
                        let due = self.queue.now() + seconds;
                        self.queue.push(due, Due::Deadline { round });
                    }
                }
                Action::Mixed {
                    client,
                    base_version,
                    version,
                    staleness,
                    weight,
                    ..
                } => {
                    mixed = true;
                    self.totals.updates += 1;
                    self.totals.staleness_sum += staleness;
                    self.totals.max_staleness = self.totals.max_staleness.max(staleness);
                    let update = (client, base_version, version, staleness, weight);
                    let record = self.update_record(update, None);
                    host.record(record)?;
                }
                Action::Refused {
                    client,
                    base_version,
                    reason,
                    ..
                } => {
                    self.totals.refused += 1;
                    let version = self.aggregator.version();
                    let staleness = version.saturating_sub(base_version);
                    let update = (client, base_version, version, staleness, 0.0);
                    let record = self.update_record(update, Some(reason.code().to_owned()));
                    host.record(record)?;
                }
                Action::Finished { reason } => finished = Some(reason),
            }
        }
        if mixed && self.aggregator.samples() >= self.next_evaluation {
            let every = self.setting.evaluate_every_samples.max(1);
            self.next_evaluation = (self.aggregator.samples() / every + 1) * every;
            self.evaluate(host)?;
        }
        if let Some(reason) = finished {
            self.end(reason, host)?;
        }
        Ok(())
    }

    fn send(&mut self, client: ClientId, task: TaskId, version: u64, samples: u64) {
        let config = self.aggregator.config();
        let Given {
            tasks: nth,
            samples: samples_before,
        } = self.given[client];
        self.given[client].tasks += 1;
        self.given[client].samples += samples;
        let progress = self.aggregator.samples() as f64 / config.budget_samples.max(1) as f64;
        let assignment = Assignment {
            client,
            nth,
            samples_before,
            base_version: version,
            samples,
            progress: progress.min(1.0),
        };
        let load = Load {
            samples,
            bytes_down: self.setting.bytes_down,
            bytes_up: self.setting.bytes_up,
        };
        let clock = &self.setting.participants[client].clock;
        let times = clock.schedule(nth, self.queue.now(), load);
        self.totals.bytes_down += self.setting.bytes_down;
        match times.lost_at {
            Some(at) => self.queue.push(at, Due::Loss { task }),
            None => self.queue.push(times.upload_end, Due::Arrival { task }),
        }
        let base = Arc::clone(self.aggregator.parameters());
        self.flights.insert(
            task,
            Flight {
                assignment,
                times,
                base,
            },
        );
    }

    fn update_record(
        &self,
        (client, base_version, version, staleness, weight): (ClientId, u64, u64, u64, f64),
        refused: Option<String>,
    ) -> Record {
        Record::Update {
            time: self.queue.now(),
            client: self.setting.participants[client].summary.id.clone(),
            base_version,
            version,
            staleness,
            weight,
            bytes_up: self.setting.bytes_up,
            refused,
        }
    }

    fn evaluate<H: Host>(&mut self, host: &mut H) -> Result<Score, H::Error> {
        let score = host.evaluate(self.aggregator.parameters())?;
        self.last_score = Some((self.aggregator.version(), score));
        host.record(Record::Evaluation {
            time: self.queue.now(),
            version: self.aggregator.version(),
            samples: self.aggregator.samples(),
            client_epochs: self.client_epochs(),
            bytes_up: self.totals.bytes_up,
            bytes_down: self.totals.bytes_down,
            top1: score.top1,
            loss: score.loss,
        })?;
        Ok(score)
    }

    fn end<H: Host>(&mut self, reason: EndReason, host: &mut H) -> Result<(), H::Error> {
        let score = match self.last_score {
            Some((version, score)) if version == self.aggregator.version() => score,
            _ => self.evaluate(host)?,
        };
        host.record(Record::End {
            reason: reason.code().to_owned(),
            time: self.queue.now(),
            version: self.aggregator.version(),
            samples: self.aggregator.samples(),
            client_epochs: self.client_epochs(),
            bytes_up: self.totals.bytes_up,
            bytes_down: self.totals.bytes_down,
            top1: score.top1,
        })
    }
}

/// What a task has changed: its parameters less those that it started from, in the place of the former.
fn change(mut parameters: Vec<f32>, base: &[f32]) -> Vec<f32> {
    // A row of another length is refused for it; whatever it lacks is no difference.
    for (number, base) in parameters.iter_mut().zip(base) {
        *number -= base;
    }
    parameters
}
