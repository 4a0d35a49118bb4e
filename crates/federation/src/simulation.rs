//! A federated run on one machine: the aggregator driven by the virtual clock.
//!
//! Training is real, time is the devices'. A task's update is computed when the clock reaches its
//! arrival, from the parameters of the version that was sent with it, so staleness is what the clock
//! makes of the devices' speeds and nothing is ever drawn for it. Tasks that have not arrived when
//! the run ends are never computed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::aggregator::{
    Action, Aggregator, ClientId, Config, EndReason, Event, State, TaskId, Update,
};
use crate::clock::{DeviceClock, EventQueue, Load, TaskTimes};
use crate::history::{ClientSummary, Record};

/// One task as the trainer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// Who works; for fine-tuning at the centre, one more than the last client.
    pub client: ClientId,
    /// How many tasks this worker was given before.
    pub nth: u64,
    /// The version it starts from.
    pub base_version: u64,
    /// Clips to process, repeats counted.
    pub samples: u64,
    /// Share of the run's budget that had been spent when it was given out: what a learning-rate
    /// schedule depends on.
    pub progress: f64,
}

/// How good a model is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of test clips whose most likely class is right.
    pub top1: f64,
    /// Mean cross-entropy.
    pub loss: f64,
}

/// What a run needs from outside: learning, testing, and somewhere to write.
pub trait Host {
    /// Why it may fail.
    type Error;

    /// Trains from `base` and gives the new parameters, flat.
    ///
    /// # Errors
    /// Ends the run.
    fn train(&mut self, assignment: &Assignment, base: &[f32]) -> Result<Vec<f32>, Self::Error>;

    /// Tests on the test split.
    ///
    /// # Errors
    /// Ends the run.
    fn evaluate(&mut self, parameters: &[f32]) -> Result<Score, Self::Error>;

    /// Writes a line of history.
    ///
    /// # Errors
    /// Ends the run.
    fn record(&mut self, record: Record) -> Result<(), Self::Error>;
}

/// One client with its device.
#[derive(Debug, Clone)]
pub struct Participant {
    /// Its name and device, for the history.
    pub summary: ClientSummary,
    /// How long its tasks take.
    pub clock: DeviceClock,
    /// Steps of SGD of one of its tasks.
    pub steps_per_task: u64,
}

/// Everything about a run that its checkpoints need not hold.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The clients, in the order of [`Config::clients`].
    pub participants: Vec<Participant>,
    /// Samples between two evaluations.
    pub evaluate_every_samples: u64,
    /// Virtual seconds after which a round of FedAvg closes with what it has.
    pub round_deadline_seconds: Option<f64>,
    /// Samples that make one client-epoch: the mean number of clips of a client.
    pub samples_per_client_epoch: f64,
    /// What a model costs to send to a client.
    pub bytes_down: u64,
    /// What an update costs to send back.
    pub bytes_up: u64,
}

/// What the run has cost and met so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Bytes uploaded by finished tasks.
    pub bytes_up: u64,
    /// Bytes of all downloads that began.
    pub bytes_down: u64,
    /// Updates that counted.
    pub updates: u64,
    /// Updates that were refused.
    pub refused: u64,
    /// Tasks that devices lost.
    pub lost: u64,
    /// Sum of the staleness of the updates that counted.
    pub staleness_sum: u64,
    /// The largest staleness of an update that counted.
    pub max_staleness: u64,
    /// Fewest local steps of an update that counted.
    pub min_steps: Option<u64>,
    /// Most local steps of an update that counted.
    pub max_steps: u64,
}

impl Totals {
    /// Mean staleness of the updates that counted.
    pub fn mean_staleness(&self) -> f64 {
        if self.updates == 0 {
            return 0.0;
        }
        self.staleness_sum as f64 / self.updates as f64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Due {
    Ready { client: ClientId },
    Arrival { task: TaskId },
    Loss { task: TaskId },
    Deadline { round: u64 },
}

#[derive(Debug, Clone)]
struct Flight {
    assignment: Assignment,
    times: TaskTimes,
    base: Arc<Vec<f32>>,
}

/// Everything about a run between two events but its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulationState {
    now: f64,
    due: Vec<(f64, Due)>,
    flights: Vec<(TaskId, Assignment, TaskTimes)>,
    given: Vec<u64>,
    totals: Totals,
    next_evaluation: u64,
    last_score: Option<(u64, Score)>,
    aggregator: State,
}

/// A run between two events: [`Simulation::resume`] goes on from it as if nothing had happened.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// All but the parameters.
    pub state: SimulationState,
    /// The parameters of the current version and of those that tasks in flight started from.
    pub versions: BTreeMap<u64, Arc<Vec<f32>>>,
}

/// A run.
#[derive(Debug)]
pub struct Simulation {
    aggregator: Aggregator,
    setting: Setting,
    queue: EventQueue<Due>,
    flights: BTreeMap<TaskId, Flight>,
    given: Vec<u64>,
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
            given: vec![0; clients],
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
    /// Gives nothing if the snapshot lacks a version that it refers to or does not fit.
    pub fn resume(config: Config, setting: Setting, snapshot: Snapshot) -> Option<Self> {
        let Snapshot { state, versions } = snapshot;
        let length = config.layout.len();
        let clients = setting.participants.len();
        let fits = state.given.len() == clients
            && config.clients.len() == clients
            && versions
                .values()
                .all(|parameters| parameters.len() == length);
        let aggregator_version = state.aggregator.version();
        let parameters = Arc::clone(versions.get(&aggregator_version).filter(|_| fits)?);
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
            aggregator: Aggregator::restore(config, state.aggregator, parameters),
            setting,
            queue,
            flights,
            given: state.given,
            totals: state.totals,
            next_evaluation: state.next_evaluation,
            last_score: state.last_score,
        })
    }

    /// The run as it stands, unless a round is half summed up: then there is nothing to keep yet.
    pub fn snapshot(&self) -> Option<Snapshot> {
        if !self.aggregator.is_at_rest() {
            return None;
        }
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
        Some(Snapshot {
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
        })
    }

    /// Lets the next event happen. Gives the reason once the run is over.
    ///
    /// # Errors
    /// The host's.
    pub fn step<H: Host>(&mut self, host: &mut H) -> Result<Option<EndReason>, H::Error> {
        if let Some(reason) = self.aggregator.finished() {
            return Ok(Some(reason));
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
        // Let go of the base before mixing: if it is the current version, it need not be copied.
        drop(base);
        let participant = &self.setting.participants[assignment.client];
        self.totals.bytes_up += self.setting.bytes_up;
        host.record(Record::Task {
            client: participant.summary.id.clone(),
            base_version: assignment.base_version,
            start: times.start,
            download_end: times.download_end,
            training_end: times.training_end,
            upload_end: times.upload_end,
            samples: assignment.samples,
            steps: participant.steps_per_task,
            bytes_down: self.setting.bytes_down,
            bytes_up: self.setting.bytes_up,
        })?;
        let update = Update {
            client: assignment.client,
            task,
            base_version: assignment.base_version,
            samples: assignment.samples,
            layout: self.aggregator.config().layout.fingerprint(),
            parameters,
        };
        self.handle(Event::UpdateArrived(update), host)?;
        let client = assignment.client;
        self.handle(Event::ClientReady { client }, host)
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
        let actions = self.aggregator.handle(event);
        let mut finished = None;
        let mut mixed = false;
        for action in actions {
            match action {
                Action::Send {
                    client,
                    task,
                    version,
                } => self.send(client, task, version),
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
                    let steps = self.setting.participants[client].steps_per_task;
                    self.totals.updates += 1;
                    self.totals.staleness_sum += staleness;
                    self.totals.max_staleness = self.totals.max_staleness.max(staleness);
                    self.totals.max_steps = self.totals.max_steps.max(steps);
                    let least = self.totals.min_steps.unwrap_or(steps).min(steps);
                    self.totals.min_steps = Some(least);
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

    fn send(&mut self, client: ClientId, task: TaskId, version: u64) {
        let config = self.aggregator.config();
        let samples = config.clients[client].samples_per_task;
        let nth = self.given[client];
        self.given[client] += 1;
        let progress = self.aggregator.samples() as f64 / config.budget_samples.max(1) as f64;
        let assignment = Assignment {
            client,
            nth,
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
