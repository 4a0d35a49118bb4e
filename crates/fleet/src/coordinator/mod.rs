//! The coordinator: it pulls what devices say, keeps it, lets the aggregator decide, and says what follows.
//!
//! One loop does one thing after the other. What it says is derived from the journal: orders and models that could
//! not be published because the server was away are published when it is back, and all of them when the coordinator
//! starts again. Its memory is bounded by the aggregator's, one model more, the chunks of a pull, and some words a
//! device; differences between models are made chunk by chunk.

mod held;
mod intake;
mod judge;
mod models;
mod newcomers;
mod outlet;
mod parcel;
mod settings;
mod status;
mod watch;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Instant, SystemTime};

use fedact_federation::aggregator::{Action, ClientId, Config, EndReason};
use fedact_federation::message::Message;

use crate::engine::Engine;
use crate::files::{self, Locked};
use crate::identity::{Key, Roster};
use crate::journal::{Happened, Journal, Record};
use crate::link::{self, Door};
use crate::wire::{MOST_UP_BYTES, Orders, Subjects, Turned, Wanted};
use crate::{Digest, FleetError, Name, Stop};

pub use judge::Judge;
pub use settings::{OwnClips, Settings};
pub use status::{DeviceStatus, Status, is_served};

use held::Held;
use intake::Spool;
use judge::Bench;
use outlet::Outlet;
use status::{Pace, Told};
use ways::Way;

/// Messages of one pull, where they are short.
const PULLED: usize = 32;

/// Where they are long, no more than so many bytes are pulled: they lie in memory until they are looked at.
const PULLED_BYTES: usize = 8 * MOST_UP_BYTES;

/// How a coordinator's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The run is over, and every device's orders say so.
    Finished(EndReason),
    /// It was told to stop; the run goes on when it is started again.
    Stopped,
}

/// The coordinator of one run.
#[derive(Debug)]
pub struct Coordinator {
    engine: Engine,
    journal: Journal,
    /// None: all models go down whole.
    held: Option<Held>,
    settings: Settings,
    judge: Option<Bench>,
    /// Where the run was to end by its rules, before any device had said how many clips it has.
    planned_budget: u64,
    roster: Roster,
    key: Key,
    subjects: Subjects,
    /// When this process opened the run, and how many seconds old the run was then: a run's time is that in which it
    /// is served.
    began: Instant,
    before: f64,
    devices: Vec<Seen>,
    /// Devices of the fleet that take part from the next run on.
    latecomers: Vec<Name>,
    /// The number from which this process numbers its orders.
    first_sequence: u64,
    /// Whose orders must be published.
    due: BTreeSet<ClientId>,
    turned: BTreeMap<Turned, u64>,
    since_checkpoint: u64,
    status_written: Option<Instant>,
    pace: Pace,
    told: Option<Told>,
    roster_seen: Option<SystemTime>,
    trouble: Option<String>,
    _lock: Locked,
}

/// What this process knows of a device.
#[derive(Debug)]
struct Seen {
    heard: Instant,
    /// Whether it was heard by this process at all.
    ever: bool,
    count: u64,
    sequence: u64,
    /// The model that it has, as it says.
    holds: Option<Digest>,
    /// The clips that it has, as it says.
    clips: Option<NonZeroU64>,
    /// How it gets the model of its last task.
    way: Option<Way>,
    spool: Option<Spool>,
    wanted: Option<Wanted>,
    turned: u64,
}

impl Coordinator {
    /// Opens the run in `folder`, or begins one there from the parameters that `start` gives; the clients of `config` are the
    /// first devices of the roster, in order: all of them for a new run, and for an old one those that it began with
    /// ([`clients_at_start`](crate::engine::clients_at_start)).
    ///
    /// # Errors
    /// The folder is served by another process, is damaged, or holds a run under other rules; devices would have to be told more than
    /// a message holds.
    pub fn open(
        folder: &Path,
        mut roster: Roster,
        key: Key,
        config: Config,
        settings: Settings,
        start: impl FnOnce() -> Vec<f32>,
    ) -> Result<Self, FleetError> {
        let all_there = |clients: usize| {
            let devices = roster.devices.len();
            let missing = || FleetError::OtherRules {
                folder: folder.to_owned(),
                reason: format!("{clients} clients for the {devices} devices of the fleet"),
            };
            (clients <= devices).then_some(()).ok_or_else(missing)
        };
        all_there(config.clients.len())?;
        // Before anything of the run is there: devices would leave such a description unread, and wait for ever.
        let description = settings.description(&roster.fleet, u64::MAX, &config.layout);
        if let Some(excess) = description.excess() {
            return Err(excess.into());
        }
        files::folder(&folder.join("incoming"))?;
        let lock = Locked::take(folder)?;
        let planned_budget = config.budget_samples;
        let (engine, journal) = Engine::open(folder, config, start)?;
        let held = match &settings.differences {
            Some(_) => Some(Held::at(folder.join("held"))?),
            None => None,
        };
        let clients = engine.progress().members.len();
        all_there(clients)?;
        // Those that were added since are looked at as those are that come later.
        roster.devices.truncate(clients);
        let now = Instant::now();
        let sequence = Orders::first_of(opened(folder)?);
        let devices = roster.devices.iter();
        let devices = devices.map(|_| Seen::new(now, sequence)).collect();
        Ok(Self {
            before: engine.progress().now,
            subjects: Subjects::new(&roster.fleet),
            due: (0..roster.devices.len()).collect(),
            began: now,
            engine,
            journal,
            held,
            settings,
            judge: None,
            planned_budget,
            roster,
            key,
            devices,
            latecomers: Vec::new(),
            first_sequence: sequence,
            turned: BTreeMap::new(),
            pace: Pace::default(),
            told: None,
            since_checkpoint: 0,
            status_written: None,
            roster_seen: None,
            trouble: None,
            _lock: lock,
        })
    }

    /// The run.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The devices that take part, in the order of the aggregator's clients.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Has somebody told how the run stands, about once a second.
    pub fn telling(mut self, told: impl FnMut(&Status) + Send + 'static) -> Self {
        self.told = Some(Told(Box::new(told)));
        self
    }

    /// Serves the run until it ends or `stop` says so.
    ///
    /// Handling an update takes as long as reading and mixing the model does, so this wants a runtime with more than one
    /// thread, lest the connection be neglected meanwhile.
    ///
    /// # Errors
    /// The server does not let the coordinator in, or a file of the run cannot be read or written. Devices and
    /// a server that is away are no errors.
    pub async fn serve(&mut self, stop: &Stop) -> Result<Ended, FleetError> {
        let address = self.roster.addresses().join(", ");
        self.trouble = Some(format!("looking for the NATS server at {address}"));
        self.write_status(true)?;
        let door = Door {
            addresses: self.roster.addresses(),
            authority: self.settings.authority.as_deref(),
            key: &self.key,
            inbox: format!("_INBOX.{}", self.roster.fleet),
            name: "coordinator".into(),
        };
        let connecting = tokio::select! {
            connected = link::connect(&door) => Some(connected?),
            () = stop.stopped() => None,
        };
        let Some(line) = connecting else {
            return Ok(Ended::Stopped);
        };
        self.trouble = None;
        let servers = self.roster.addresses().len();
        let numbers = self.engine.aggregator().parameters().len();
        let longest = MOST_UP_BYTES.min(numbers * 4 + 1024);
        let pulled = (PULLED_BYTES / longest).clamp(1, PULLED);
        let mut outlet = Outlet::new(
            line.clone(),
            self.subjects.clone(),
            self.engine.run(),
            servers,
            numbers,
        );
        loop {
            if line.is_shut() {
                return Err(FleetError::NotLetIn {
                    address,
                    reason: "the server no longer knows the coordinator's key".into(),
                });
            }
            self.judge()?;
            self.watch()?;
            self.publish(&mut outlet).await?;
            self.write_status(false)?;
            if let Some(reason) = self.engine.progress().finished
                && self.due.is_empty()
            {
                self.write_status(true)?;
                return Ok(Ended::Finished(reason));
            }
            if stop.is_set() {
                self.write_status(true)?;
                return Ok(Ended::Stopped);
            }
            let Some(mut batch) = outlet.pull(pulled).await else {
                continue;
            };
            while let Some(pulled) = outlet.next(&mut batch).await {
                let Ok(message) = pulled else {
                    // The consumer is gone, and perhaps all streams with it: everything is said anew.
                    outlet.forget();
                    self.due.extend(0..self.devices.len());
                    break;
                };
                self.take(&message)?;
                // What the message led to is on the disk; a lost acknowledgement brings it again, to no effect.
                let _ = message.ack().await;
                self.publish(&mut outlet).await?;
                if stop.is_set() {
                    break;
                }
            }
        }
    }

    /// Seconds since the run began, as the journal counts them.
    fn now(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    /// Keeps what happened, lets the aggregator decide, and notes whose orders have changed.
    fn commit(&mut self, happened: Happened, message: Option<Message>) -> Result<(), FleetError> {
        let record = Record {
            at: self.now(),
            happened,
        };
        self.journal.append(&record)?;
        let end = self.journal.end();
        let actions = self.engine.handle(&record, message, end)?;
        match record.happened {
            Happened::Ready { client }
            | Happened::Lost { client }
            | Happened::Update { client, .. }
            | Happened::Unreadable { client, .. } => {
                self.due.insert(client);
            }
            Happened::Added { .. }
            | Happened::Holds { .. }
            | Happened::Deadline { .. }
            | Happened::Stop { .. }
            | Happened::Tested(_) => {}
        }
        for action in &actions {
            match action {
                Action::Send { client, .. } => {
                    let device = &mut self.devices[*client];
                    device.heard = Instant::now();
                    device.wanted = None;
                    self.due.insert(*client);
                }
                Action::Finished { .. } => self.due.extend(0..self.devices.len()),
                _ => {}
            }
        }
        self.since_checkpoint += 1;
        if self.since_checkpoint >= self.settings.checkpoint_every {
            self.engine.checkpoint(self.settings.keep_updates)?;
            self.since_checkpoint = 0;
        }
        Ok(())
    }

    /// Counts a message that is turned away.
    fn turn_away(&mut self, client: Option<ClientId>, reason: Turned) {
        *self.turned.entry(reason).or_default() += 1;
        if let Some(client) = client {
            self.devices[client].turned += 1;
        }
    }
}

impl Seen {
    fn new(now: Instant, sequence: u64) -> Self {
        Self {
            heard: now,
            ever: false,
            count: 0,
            sequence,
            holds: None,
            clips: None,
            way: None,
            spool: None,
            wanted: None,
            turned: 0,
        }
    }

    /// A number for the next orders: larger than any before, those of earlier processes included.
    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

/// How often runs beside the one in this folder, or it itself, were opened, this time included: a device that goes from one run to
/// the next must find the orders of the later one newer. Kept in a file and not taken from the clock, which may go back.
fn opened(folder: &Path) -> Result<u64, FleetError> {
    let folder = std::fs::canonicalize(folder).map_err(FleetError::file(folder))?;
    let path = folder.parent().unwrap_or(&folder).join("opened");
    let before = files::read_if_there(&path)?;
    let before = before.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse().ok());
    let times = before.unwrap_or(0_u64) + 1;
    let text = times.to_string();
    files::write(&path, &[text.as_bytes()], files::Lasting::Synced)?;
    Ok(times)
}
