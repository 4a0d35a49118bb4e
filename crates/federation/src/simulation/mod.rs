//! A federated run on one machine: the aggregator driven by the virtual clock.
//!
//! Training is real, time is the devices'. A task's update is computed from the parameters of the version that
//! was sent with it, at the latest when the clock reaches its arrival, so staleness is what the clock makes of the
//! devices' speeds and nothing is ever drawn for it. A host that has several workers trains tasks side by side
//! that are in flight at the same time, with the very same results. Of tasks that have not arrived when the run ends
//! nothing is recorded.
//!
//! Updates travel as messages ([`crate::message`]): what the server gets is what comes out of their bytes, and those are
//! what is counted. The clock must know how long an upload takes before there is anything to encode, so it
//! goes by [`Codec::nominal_bytes`](crate::message::Codec::nominal_bytes), the length before zstd.

mod flights;
mod host;
mod setting;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::aggregator::{
    Action, Aggregator, ClientId, Config, Contents, EndReason, Event, TaskId, Update,
};
use crate::clock::{EventQueue, Load};
use crate::energy::Energy;
use crate::history::Record;
use crate::message::{Channel, Delivery, Header, apply};

pub use host::{Assignment, Host, Score, Training};
pub use setting::{Participant, Setting, Totals, Uplink};
pub use snapshot::{SimulationState, Snapshot};

use flights::{Flight, Flights};
use snapshot::{Due, Given};

/// A run.
#[derive(Debug)]
pub struct Simulation {
    aggregator: Aggregator,
    setting: Setting,
    queue: EventQueue<Due>,
    flights: Flights,
    given: Vec<Given>,
    totals: Totals,
    next_evaluation: u64,
    last_score: Option<(u64, Score)>,
    /// None where encoding would change nothing.
    channel: Option<Channel>,
    /// Bytes of an update as far as the clock knows.
    nominal_up: u64,
    undecided: BTreeMap<TaskId, u64>,
}

impl Simulation {
    /// A run at time 0: writes `start` (a [`Record::Start`]), tests the model, makes every client
    /// ready.
    ///
    /// # Errors
    /// The host's.
    ///
    /// # Panics
    /// If the numbers of clients or parameters disagree, or the uplink's codec has a
    /// [`fault`](crate::message::Codec::fault).
    pub fn begin<H: Host>(
        config: Config,
        setting: Setting,
        parameters: Vec<f32>,
        start: Record,
        host: &mut H,
    ) -> Result<Self, H::Error> {
        assert_eq!(config.clients.len(), setting.participants.len(), "clients");
        let clients = setting.participants.len();
        let (channel, nominal_up) = uplink(&config, &setting);
        let mut simulation = Self {
            channel,
            nominal_up,
            undecided: BTreeMap::new(),
            aggregator: Aggregator::new(config, parameters),
            queue: EventQueue::default(),
            flights: Flights::default(),
            given: vec![Given::default(); clients],
            totals: Totals::default(),
            next_evaluation: setting.evaluate_every_samples,
            last_score: None,
            setting,
        };
        host.record(start)?;
        simulation.evaluate(host)?;
        for client in 0..clients {
            let clock = &simulation.setting.participants[client].clock;
            let time = clock.available_from(0.0);
            simulation.queue.push(time, Due::Ready { client });
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
            residuals,
        } = snapshot;
        let length = config.layout.len();
        let clients = setting.participants.len();
        let fits = state.given.len() == clients
            && config.clients.len() == clients
            && versions
                .values()
                .all(|parameters| parameters.len() == length)
            && residuals
                .iter()
                .all(|(client, residual)| (*client as usize) < clients && residual.len() == length);
        let version = state.aggregator.version();
        let parameters = Arc::clone(versions.get(&version).filter(|_| fits)?);
        let (mut channel, nominal_up) = uplink(&config, &setting);
        if let Some(channel) = &mut channel {
            let residuals = residuals.iter();
            channel.restore(residuals.map(|(client, residual)| (*client, residual.to_vec())));
        }
        let aggregator = Aggregator::restore(config, state.aggregator, parameters, &rows)?;
        let mut flights = Flights::default();
        for (task, assignment, times) in state.flights {
            let base = Arc::clone(versions.get(&assignment.base_version)?);
            flights.insert(
                task,
                Flight {
                    assignment,
                    times,
                    base,
                    trained: None,
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
            channel,
            nominal_up,
            undecided: state.undecided,
        })
    }

    /// The run as it stands. Numbers are shared with it, not copied.
    pub fn snapshot(&self) -> Snapshot {
        let mut versions = BTreeMap::from([(
            self.aggregator.version(),
            Arc::clone(self.aggregator.parameters()),
        )]);
        for (_, flight) in self.flights.iter() {
            versions.insert(flight.assignment.base_version, Arc::clone(&flight.base));
        }
        let flights = self
            .flights
            .iter()
            .map(|(task, flight)| (task, flight.assignment, flight.times))
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
                undecided: self.undecided.clone(),
                aggregator: self.aggregator.state().clone(),
            },
            versions,
            rows: self.aggregator.rows(),
            residuals: self.residuals(),
        }
    }

    fn residuals(&self) -> BTreeMap<u32, Arc<Vec<f32>>> {
        let residuals = self.channel.iter().flat_map(Channel::residuals);
        residuals
            .filter(|(_, residual)| !residual.is_empty())
            .map(|(client, residual)| (client, Arc::new(residual.to_vec())))
            .collect()
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
        let budget = self.aggregator.config().budget_samples;
        let samples_left = budget.saturating_sub(self.aggregator.samples());
        let Some((flight, parameters)) = self.flights.land(task, samples_left, host)? else {
            return Ok(());
        };
        let Flight {
            assignment,
            times,
            base,
            ..
        } = flight;
        let (contents, bytes_up) = self.deliver(task, &assignment, &base, parameters);
        self.undecided.insert(task, bytes_up);
        // Let go of the base before mixing: if it is the current version, it need not be copied.
        drop(base);
        let participant = &self.setting.participants[assignment.client];
        let steps = participant.steps(assignment.samples);
        let energy = Energy::of_task(participant.clock.profile(), &times);
        self.totals.energy += energy;
        self.totals.lost_in_a_row = 0;
        self.totals.bytes_up += bytes_up;
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
            bytes_up,
            joules: energy.joules(),
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

    /// What the server has of a task's result once it has travelled, and the bytes that it took.
    fn deliver(
        &mut self,
        task: TaskId,
        assignment: &Assignment,
        base: &[f32],
        parameters: Vec<f32>,
    ) -> (Contents, u64) {
        let takes_parameters = self.aggregator.config().strategy.takes_parameters();
        let Some(channel) = &mut self.channel else {
            let contents = if takes_parameters {
                Contents::Parameters(parameters)
            } else {
                Contents::Change(change(parameters, base))
            };
            return (contents, self.nominal_up);
        };
        let header = Header {
            run: self.aggregator.config().seed,
            task,
            client: assignment.client as u32,
            base_version: assignment.base_version,
            samples: assignment.samples,
        };
        match channel.carry(&header, base, &parameters) {
            Ok(Delivery { delta, bytes }) if takes_parameters => {
                (Contents::Parameters(apply(base, delta)), bytes)
            }
            Ok(Delivery { delta, bytes }) => (Contents::Change(delta), bytes),
            // A row of another length than the model's, which is refused for it.
            Err(_) => (Contents::Change(Vec::new()), self.nominal_up),
        }
    }

    fn lose<H: Host>(&mut self, task: TaskId, now: f64, host: &mut H) -> Result<(), H::Error> {
        let Some(flight) = self.flights.remove(task) else {
            return Ok(());
        };
        let client = flight.assignment.client;
        self.totals.lost += 1;
        self.totals.lost_in_a_row += 1;
        let clock = &self.setting.participants[client].clock;
        self.totals.energy += Energy::of_task(clock.profile(), &flight.times);
        let back = clock.back_at(now);
        self.handle(Event::ClientLost { client }, host)?;
        if self.totals.lost_in_a_row >= self.setting.max_losses_in_a_row {
            let reason = EndReason::AllTasksLost;
            return self.handle(Event::Stop { reason }, host);
        }
        self.queue.push(back, Due::Ready { client });
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
                    task,
                    base_version,
                    version,
                    staleness,
                    weight,
                } => {
                    mixed = true;
                    self.totals.updates += 1;
                    self.totals.staleness_sum += staleness;
                    self.totals.max_staleness = self.totals.max_staleness.max(staleness);
                    let update = (client, base_version, version, staleness, weight);
                    let record = self.update_record(task, update, None);
                    host.record(record)?;
                }
                Action::Refused {
                    client,
                    task,
                    base_version,
                    reason,
                } => {
                    self.totals.refused += 1;
                    let version = self.aggregator.version();
                    let staleness = version.saturating_sub(base_version);
                    let update = (client, base_version, version, staleness, 0.0);
                    let record = self.update_record(task, update, Some(reason.code().to_owned()));
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
            bytes_up: self.nominal_up,
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
                trained: None,
            },
        );
    }

    fn update_record(
        &mut self,
        task: TaskId,
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
            bytes_up: self.undecided.remove(&task).unwrap_or_default(),
            refused,
        }
    }

    fn evaluate<H: Host>(&mut self, host: &mut H) -> Result<Score, H::Error> {
        let score = host.evaluate(self.aggregator.model())?;
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

/// The way up, where messages must be made, and the length of one that the clock goes by.
fn uplink(config: &Config, setting: &Setting) -> (Option<Channel>, u64) {
    let Uplink { codec, feedback } = &setting.uplink;
    let nominal = codec.nominal_bytes(config.layout.len());
    let channel = if setting.uplink.is_plain() {
        None
    } else {
        // The only model that has no channel is one too large for the format, and goes as it is.
        Channel::new(&config.layout, codec.clone(), *feedback, config.seed).ok()
    };
    (channel, nominal)
}

/// What a task has changed: its parameters less those that it started from, in the place of the former.
fn change(mut parameters: Vec<f32>, base: &[f32]) -> Vec<f32> {
    // A row of another length is refused for it; whatever it lacks is no difference.
    for (number, base) in parameters.iter_mut().zip(base) {
        *number -= base;
    }
    parameters
}
