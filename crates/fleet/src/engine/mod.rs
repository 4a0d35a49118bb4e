//! The run without a network: the aggregator, what follows from its actions for each device, and the files that both are
//! made of again. A live run and a replay are the same calls.
//!
//! ```text
//! run.json         the run's number and rules
//! start            the parameters that it began with (f32, little-endian)
//! journal          every event                                        (journal)
//! updates/TASK     every update that counted or was refused since the checkpoint, as it came; all, if they are kept
//! versions/N       the model of every version that an open task started from
//! checkpoint       the aggregator and the devices at some byte of the journal  (checkpoint.rs)
//! chronicle        what became of every task, for the history          (chronicle.rs)
//! ```
//!
//! Memory is the aggregator's, and one more model while an update is mixed in: base versions are read from `versions` block by
//! block when they are needed, and so is an update from its file, unless its codec has made it shorter than the model.

mod checkpoint;
mod chronicle;
mod progress;
mod replay;
mod rules;
mod versions;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fedact_federation::aggregator::{
    Action, Aggregator, Client, ClientId, Config, Contents, Event, Update,
};
use fedact_federation::message::{DecodeError, Decoder, Message, MessageError};

use crate::journal::{Happened, Journal, Placed, Record};
use crate::wire::{Assignment, Verdict};
use crate::{Digest, FleetError, files};

pub use chronicle::{Entry, chronicle};
pub use progress::{Member, Presence, Progress, Tested};
pub use replay::{Replayed, replay};
pub use rules::clients_at_start;

use chronicle::Chronicle;
use rules::RunFile;
pub(crate) use versions::Reading;
use versions::Versions;

/// A run between two events.
#[derive(Debug)]
pub struct Engine {
    folder: PathBuf,
    run: u64,
    aggregator: Aggregator,
    decoder: Decoder,
    versions: Versions,
    progress: Progress,
    /// None in a replay.
    chronicle: Option<Chronicle>,
}

impl Engine {
    /// Opens the run in a folder, or begins one there, and brings it to where its journal ends. The clients of `config` are those
    /// that the run began with ([`clients_at_start`]); those that were added since are in the journal.
    ///
    /// # Errors
    /// The folder holds a run under other rules or is damaged, or a file cannot be read or written.
    pub fn open(
        folder: &Path,
        config: Config,
        start: impl FnOnce() -> Vec<f32>,
    ) -> Result<(Self, Journal), FleetError> {
        files::folder(&folder.join("updates"))?;
        let run_file = folder.join("run.json");
        let rules = match RunFile::read(&run_file)? {
            Some(rules) => rules,
            None => RunFile::begin(folder, &config, &start())?,
        };
        rules.check(folder, &config)?;
        let versions = Versions::at(&folder.join("versions"))?;
        let decoder = Decoder::new(&config.layout);
        let (aggregator, progress) = match checkpoint::read(folder, rules.run, &config)? {
            Some(kept) => kept,
            None => {
                let clients = config.clients.len();
                let parameters = rules.start(folder, config.layout.len())?;
                let progress = Progress::new(clients, Journal::BEGIN);
                (Aggregator::new(config, parameters), progress)
            }
        };
        let chronicle = Chronicle::open(folder, progress.chronicle_end)?;
        let mut engine = Self {
            chronicle: Some(chronicle),
            folder: folder.to_owned(),
            run: rules.run,
            aggregator,
            decoder,
            versions,
            progress,
        };
        let from = engine.progress.journal_end;
        let (journal, records) = Journal::open(&folder.join("journal"), rules.run, from)?;
        engine.catch_up(records)?;
        Ok((engine, journal))
    }

    fn catch_up(&mut self, records: Vec<Placed>) -> Result<(), FleetError> {
        for (record, end) in records {
            let message = match &record.happened {
                Happened::Update { task, digest, .. } => Some(self.kept_update(*task, *digest)?),
                _ => None,
            };
            self.handle(&record, message, end)?;
        }
        Ok(())
    }

    /// The run's number.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The aggregator.
    pub fn aggregator(&self) -> &Aggregator {
        &self.aggregator
    }

    /// What follows for the devices.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Where the update of a task lies, or will.
    pub fn update_path(&self, task: u64) -> PathBuf {
        self.folder.join("updates").join(task.to_string())
    }

    /// The bytes of a version that an open task started from.
    ///
    /// # Errors
    /// They are not there.
    pub(crate) fn model(&self, assignment: &Assignment) -> Result<Reading, FleetError> {
        self.versions.open(assignment.version, assignment.model)
    }

    /// Where they lie.
    pub(crate) fn model_path(&self, assignment: &Assignment) -> PathBuf {
        self.versions.path(assignment.version)
    }

    /// Reads an update that lies in a file, without handling it. Says why it is none for this task, if it is not.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn decode(
        &self,
        client: ClientId,
        assignment: &Assignment,
        path: &Path,
    ) -> Result<Result<Message, Unfit>, FleetError> {
        let message = match self.read_update(path) {
            Ok(message) => message,
            Err(DecodeError::Message(error)) => return Ok(Err(error.into())),
            Err(DecodeError::Read(error)) => return Err(FleetError::file(path)(error)),
        };
        let header = message.header;
        let own = header.run == self.run
            && usize::try_from(header.client) == Ok(client)
            && header.task == assignment.task
            && header.base_version == assignment.version
            && header.samples == assignment.samples;
        Ok(if own { Ok(message) } else { Err(Unfit::Header) })
    }

    fn read_update(&self, path: &Path) -> Result<Message, DecodeError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let read_at = |bytes: &mut [u8], place| file.read_exact_at(bytes, place);
        self.decoder.decode_from(length, read_at)
    }

    fn kept_update(&self, task: u64, digest: Digest) -> Result<Message, FleetError> {
        let path = self.update_path(task);
        let found = files::digest_if_there(&path)?.ok_or_else(|| FleetError::Invalid {
            path: path.clone(),
            reason: "the update is not there: its run did not keep its updates (`keep_updates`), and goes on \
                     from its checkpoint alone"
                .into(),
        })?;
        let damaged = |reason: String| FleetError::Damaged {
            path: path.clone(),
            offset: 0,
            reason,
        };
        if found != digest {
            return Err(damaged("its digest is not the journal's".into()));
        }
        let decoded = self.read_update(&path);
        decoded.map_err(|error| damaged(error.to_string()))
    }

    /// Handles what the journal holds; `end` is where its record ends there. The message is that of an update.
    ///
    /// # Errors
    /// A file cannot be read or written: then the engine must be opened anew.
    pub fn handle(
        &mut self,
        record: &Record,
        message: Option<Message>,
        end: u64,
    ) -> Result<Vec<Action>, FleetError> {
        let event = match &record.happened {
            Happened::Ready { client } => Some(Event::ClientReady { client: *client }),
            Happened::Lost { client } | Happened::Unreadable { client, .. } => {
                Some(Event::ClientLost { client: *client })
            }
            Happened::Added { samples_per_task } => Some(Event::ClientAdded {
                client: Client {
                    samples_per_task: *samples_per_task,
                },
            }),
            Happened::Holds {
                client,
                samples_per_task,
                budget_samples,
                ..
            } => Some(Event::ClientHolds {
                client: *client,
                samples_per_task: *samples_per_task,
                budget_samples: *budget_samples,
            }),
            Happened::Deadline { round } => Some(Event::RoundDeadline { round: *round }),
            Happened::Stop { reason } => Some(Event::Stop { reason: *reason }),
            Happened::Update { client, .. } => {
                Some(Event::UpdateArrived(self.update(*client, message)?))
            }
            Happened::Tested(_) => None,
        };
        let actions = event.map(|event| self.aggregator.handle_at(record.at, event));
        let actions = actions.unwrap_or_default();
        if let Some(chronicle) = &mut self.chronicle {
            let (progress, aggregator) = (&self.progress, &self.aggregator);
            let entries = chronicle::entries(progress, aggregator, record, &actions);
            self.progress.chronicle_end += chronicle.append(&entries)?;
        }
        self.progress.note_event(record, &actions);
        for action in &actions {
            if let Action::Send {
                client,
                task,
                version,
                samples,
            } = *action
            {
                let model = self.versions.keep(version, self.aggregator.parameters())?;
                let member = self.progress.members.get(client);
                let assignment = Assignment {
                    task,
                    client: client as u32,
                    version,
                    samples,
                    nth: member.map_or(0, |member| member.given_tasks),
                    samples_before: member.map_or(0, |member| member.given_samples),
                    spent_samples: self.aggregator.samples(),
                    budget_samples: self.aggregator.config().budget_samples,
                    model,
                };
                self.progress.assign(client, assignment, record.at);
            }
        }
        self.progress.journal_end = end;
        Ok(actions)
    }

    /// What the aggregator is given of an update: the change, or what it makes of the base.
    fn update(&self, client: ClientId, message: Option<Message>) -> Result<Update, FleetError> {
        let open = self
            .progress
            .members
            .get(client)
            .and_then(|member| member.assignment);
        let (Some(assignment), Some(message)) = (open, message) else {
            return Err(FleetError::Damaged {
                path: self.folder.join("journal"),
                offset: self.progress.journal_end,
                reason: format!("an update of client {client}, which had no task"),
            });
        };
        let contents = if self.aggregator.config().strategy.takes_parameters() {
            Contents::Parameters(self.applied(&assignment, message.delta)?)
        } else {
            Contents::Change(message.delta)
        };
        Ok(Update {
            client,
            task: message.header.task,
            base_version: message.header.base_version,
            samples: message.header.samples,
            layout: self.aggregator.config().layout.fingerprint(),
            contents,
        })
    }

    /// What an update makes of its base, in the update's own memory.
    fn applied(&self, open: &Assignment, mut delta: Vec<f32>) -> Result<Vec<f32>, FleetError> {
        let mut done = 0;
        let read = self.versions.read(open.version, open.model, |bytes| {
            let base = files::each_number_of(bytes);
            let end = delta.len().min(done + base.len());
            for (number, base) in delta[done..end].iter_mut().zip(base) {
                *number += base;
            }
            done = end;
        });
        read.map(|()| delta)
    }

    /// Keeps the run as it is, so that a restart replays only what comes after, and forgets models that no open task
    /// starts from; and updates, unless they are kept for a replay of the whole run.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn checkpoint(&mut self, keep_updates: bool) -> Result<(), FleetError> {
        let open = self.progress.open_versions();
        self.versions.sync(&open)?;
        if let Some(chronicle) = &self.chronicle {
            chronicle.sync()?;
        }
        checkpoint::write(&self.folder, self.run, &self.aggregator, &self.progress)?;
        self.versions.forget_all_but(&open)?;
        if keep_updates {
            return Ok(());
        }
        // Every update that lies there is in the journal and in the checkpoint, or will be offered again.
        files::empty(&self.folder.join("updates"))
    }
}

/// Why bytes whose digest was signed are no update for their task.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// They cannot be read.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Their header names another run, client, task, base version or number of samples.
    #[error("its header does not say what was signed")]
    Header,
}

impl Unfit {
    /// The reason code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Message(error) => error.code(),
            Self::Header => "other-header",
        }
    }
}

/// What a record says of the task that it closed.
pub(crate) fn verdict_of(task: u64, client: ClientId, actions: &[Action]) -> Verdict {
    let refused = actions.iter().find_map(|action| match action {
        Action::Refused {
            client: of_client,
            task: of_task,
            reason,
            ..
        } if (*of_client, *of_task) == (client, task) => Some(reason.code().to_owned()),
        _ => None,
    });
    Verdict { task, refused }
}
