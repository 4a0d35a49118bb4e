//! What comes from devices: checked, put together, handed on once.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fedact_federation::aggregator::ClientId;
use sha2::{Digest as _, Sha256};

use super::{Coordinator, OwnClips};
use crate::engine::Presence;
use crate::journal::Happened;
use crate::wire::{Alive, Chunk, Failed, Offer, Took, Turned, Up, Wanted};
use crate::{Digest, FleetError, files};

/// An update that is coming in: a file that grows from its first byte to its last. What is there survives
/// a restart; its digest grows with it, and is checked when it is complete.
#[derive(Debug)]
pub(super) struct Spool {
    task: u64,
    digest: Digest,
    bytes: u64,
    took: Took,
    received: u64,
    /// SHA-256 of what was received.
    hash: Sha256,
    path: PathBuf,
    file: File,
}

impl Spool {
    fn open(folder: &Path, client: ClientId, offer: &Offer) -> Result<Self, FleetError> {
        let incoming = folder.join("incoming");
        let own = format!("{client}-");
        let name = format!("{own}{}-{}", offer.task, offer.digest);
        let entries = std::fs::read_dir(&incoming).map_err(FleetError::file(&incoming))?;
        for entry in entries.flatten() {
            let found = entry.file_name();
            let found = found.to_string_lossy();
            if found.starts_with(&own) && found != name {
                files::remove(&entry.path())?;
            }
        }
        let path = incoming.join(name);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(FleetError::file(&path))?;
        let mut received = file.metadata().map_err(FleetError::file(&path))?.len();
        if received > offer.bytes {
            file.set_len(0).map_err(FleetError::file(&path))?;
            received = 0;
        }
        // What an earlier process has received.
        let hash = match received {
            0 => Sha256::new(),
            _ => files::Pieces::open(&path)?.hash()?,
        };
        Ok(Self {
            task: offer.task,
            digest: offer.digest,
            bytes: offer.bytes,
            took: offer.took,
            received,
            hash,
            path,
            file,
        })
    }

    fn is_of(&self, offer: &Offer) -> bool {
        (self.task, self.digest, self.bytes) == (offer.task, offer.digest, offer.bytes)
    }
}

impl Coordinator {
    /// Takes in one message of a device. Whatever it holds, what comes of it is on the disk when this returns.
    pub(super) fn take(&mut self, message: &async_nats::Message) -> Result<(), FleetError> {
        let device = self.subjects.device_of(&message.subject);
        if device.is_some_and(|device| self.is_latecomer(device)) {
            return Ok(());
        }
        let Some(client) = device.and_then(|device| self.roster.place(device)) else {
            self.turn_away(None, Turned::UnknownClient);
            return Ok(());
        };
        let device = &self.roster.devices[client];
        if device.revoked {
            self.turn_away(Some(client), Turned::Revoked);
            return Ok(());
        }
        let (fleet, run) = (&self.roster.fleet, self.engine.run());
        match Up::open(&message.payload, fleet, run, &device.name, &device.key) {
            Err(reason) => {
                if reason == Turned::OtherFormatVersion {
                    self.trouble = Some(format!(
                        "{} speaks another version of the messages; give all machines of the fleet the same version of fedact",
                        device.name
                    ));
                }
                self.turn_away(Some(client), reason);
                Ok(())
            }
            Ok(Up::Chunk(chunk)) => self.take_chunk(client, &chunk),
            Ok(Up::Alive(alive)) => self.take_alive(client, &alive),
            Ok(Up::Offer(offer)) => self.take_offer(client, &offer),
            Ok(Up::Failed(failed)) => self.take_failed(client, &failed),
        }
    }

    fn hear(&mut self, client: ClientId) {
        let device = &mut self.devices[client];
        device.heard = Instant::now();
        device.ever = true;
    }

    fn take_alive(&mut self, client: ClientId, alive: &Alive) -> Result<(), FleetError> {
        if alive.count <= self.devices[client].count {
            self.turn_away(Some(client), Turned::Replayed);
            return Ok(());
        }
        if alive.orders <= self.first_sequence {
            // Of a device that has read nothing of this process's yet, or kept from an earlier one: only the device can answer to orders.
            self.due.insert(client);
            return Ok(());
        }
        self.devices[client].count = alive.count;
        self.hear(client);
        self.note_held(client, alive.holds);
        self.note_clips(client, alive.clips);
        let away = self.engine.progress().members[client].presence == Presence::Away;
        if away && alive.ready {
            self.ready(client)?;
        }
        Ok(())
    }

    /// Notes how many clips a device has, for its next task.
    fn note_clips(&mut self, client: ClientId, clips: Option<NonZeroU64>) {
        let device = &mut self.devices[client];
        device.clips = clips.or(device.clips);
    }

    fn take_failed(&mut self, client: ClientId, failed: &Failed) -> Result<(), FleetError> {
        self.hear(client);
        let open = self.engine.progress().members[client].assignment;
        if open.is_none_or(|open| open.task != failed.task) {
            self.turn_away(Some(client), Turned::UnknownTask);
            return Ok(());
        }
        let shown: String = failed.reason.chars().take(200).collect();
        let name = &self.roster.devices[client].name;
        self.trouble = Some(format!("{name} gave task {} back: {shown}", failed.task));
        self.commit(Happened::Lost { client }, None)
    }

    fn take_offer(&mut self, client: ClientId, offer: &Offer) -> Result<(), FleetError> {
        let progress = self.engine.progress();
        let member = &progress.members[client];
        let verdict = member.verdict.as_ref();
        let reason = if progress.finished.is_some() {
            Some(Turned::RunFinished)
        } else if member
            .assignment
            .is_some_and(|open| open.task == offer.task)
        {
            None
        } else if verdict.is_some_and(|verdict| verdict.task == offer.task) {
            Some(Turned::TaskAlreadyApplied)
        } else {
            Some(Turned::UnknownTask)
        };
        if let Some(reason) = reason {
            // The device may have missed the orders that say so.
            self.due.insert(client);
            self.turn_away(Some(client), reason);
            return Ok(());
        }
        self.hear(client);
        self.note_held(client, offer.holds);
        self.note_clips(client, offer.clips);
        if let Some(reason) = self.misfit(client, offer) {
            self.turn_away(Some(client), reason);
            return self.close_unread(client, offer.task, reason.code());
        }
        let device = &mut self.devices[client];
        if !device
            .spool
            .as_ref()
            .is_some_and(|spool| spool.is_of(offer))
        {
            device.spool = Some(Spool::open(self.engine.folder(), client, offer)?);
        }
        let (received, bytes) = device
            .spool
            .as_ref()
            .map_or((0, offer.bytes), |spool| (spool.received, spool.bytes));
        if received == bytes {
            return self.complete(client);
        }
        if received != offer.from {
            self.want(client, offer.task, received, true);
        }
        Ok(())
    }

    /// What is wrong with an offer for the open task. Its length is held against the model's before anything is kept.
    fn misfit(&self, client: ClientId, offer: &Offer) -> Option<Turned> {
        let open = self.engine.progress().members[client].assignment?;
        let numbers = self.engine.aggregator().parameters().len() as u64;
        // Every number in four bytes, with an index of five before it, and what a message has beside them.
        let most = 256 + numbers * 9;
        if offer.base_version != open.version {
            Some(Turned::UnknownBaseVersion)
        } else if offer.samples != open.samples {
            Some(Turned::WrongSampleCount)
        } else if offer.bytes == 0 || offer.bytes > most {
            Some(Turned::TooLarge)
        } else {
            None
        }
    }

    fn take_chunk(&mut self, client: ClientId, chunk: &Chunk<'_>) -> Result<(), FleetError> {
        let open = self.engine.progress().members[client].assignment;
        if open.is_none_or(|open| open.task != chunk.task) {
            // What is left of an update that needed no more.
            return Ok(());
        }
        let device = &mut self.devices[client];
        let spool = device
            .spool
            .as_mut()
            .filter(|spool| (spool.task, spool.digest) == (chunk.task, chunk.digest));
        let Some(spool) = spool else {
            self.want(client, chunk.task, 0, false);
            return Ok(());
        };
        let length = chunk.bytes.len() as u64;
        if chunk.offset > spool.received {
            let from = spool.received;
            self.want(client, chunk.task, from, false);
            return Ok(());
        }
        if chunk.offset < spool.received || length > spool.bytes - spool.received {
            return Ok(());
        }
        spool
            .file
            .write_all(chunk.bytes)
            .map_err(FleetError::file(&spool.path))?;
        spool.hash.update(chunk.bytes);
        spool.received += length;
        let complete = spool.received == spool.bytes;
        device.wanted = None;
        self.hear(client);
        if complete {
            self.complete(client)?;
        }
        Ok(())
    }

    /// Tells a device what is missing of its update; the same again only if it asked.
    fn want(&mut self, client: ClientId, task: u64, from: u64, asked: bool) {
        let wanted = Some(Wanted { task, from });
        if asked || self.devices[client].wanted != wanted {
            self.devices[client].wanted = wanted;
            self.due.insert(client);
        }
    }

    /// An update is there as a whole.
    fn complete(&mut self, client: ClientId) -> Result<(), FleetError> {
        let open = self.engine.progress().members[client].assignment;
        let (Some(spool), Some(open)) = (self.devices[client].spool.take(), open) else {
            return Ok(());
        };
        if spool.hash.finalize()[..] != spool.digest.as_bytes()[..] {
            files::remove(&spool.path)?;
            self.turn_away(Some(client), Turned::Damaged);
            self.want(client, spool.task, 0, true);
            return Ok(());
        }
        let message = match self.engine.decode(client, &open, &spool.path)? {
            Ok(message) => message,
            Err(unfit) => {
                files::remove(&spool.path)?;
                return self.close_unread(client, spool.task, unfit.code());
            }
        };
        spool
            .file
            .sync_all()
            .map_err(FleetError::file(&spool.path))?;
        let kept = self.engine.update_path(spool.task);
        std::fs::rename(&spool.path, &kept).map_err(FleetError::file(&kept))?;
        files::sync_folder_of(&kept)?;
        let update = Happened::Update {
            client,
            task: spool.task,
            digest: spool.digest,
            bytes: spool.bytes,
            took: spool.took,
        };
        self.commit(update, Some(message))?;
        self.ready(client)
    }

    /// Closes a task whose update can never count; else its device would offer it for ever.
    fn close_unread(&mut self, client: ClientId, task: u64, code: &str) -> Result<(), FleetError> {
        let unreadable = Happened::Unreadable {
            client,
            task,
            code: code.to_owned(),
        };
        self.commit(unreadable, None)?;
        self.ready(client)
    }

    /// A device can work: one that was away, or has just sent an update. What it has said of its clips counts from here on; were it in the
    /// journal whenever it is said, a device could fill that by saying something else each time.
    fn ready(&mut self, client: ClientId) -> Result<(), FleetError> {
        if self.engine.progress().finished.is_some() {
            return Ok(());
        }
        if let Some(said) = self.devices[client].clips {
            let config = self.engine.aggregator().config();
            let (length, budget) = (
                config.clients[client].samples_per_task,
                config.budget_samples,
            );
            let known = self.engine.progress().members[client].clips;
            let (clips, samples_per_task, budget_samples) = match self.settings.own_clips {
                Some(own) => self.lengths(client, said.get(), own),
                None => (said.get(), length, budget),
            };
            if (Some(clips), samples_per_task, budget_samples) != (known, length, budget) {
                let holds = Happened::Holds {
                    client,
                    clips,
                    samples_per_task,
                    budget_samples,
                };
                self.commit(holds, None)?;
            }
        }
        self.commit(Happened::Ready { client }, None)
    }

    /// What follows from the clips that a device says it has: how many of them count, its tasks' samples and those of the run.
    fn lengths(&self, client: ClientId, said: u64, own: OwnClips) -> (u64, u64, u64) {
        let clips = said.min(own.most);
        let samples_per_task = own.length.samples(clips);
        let members = self.engine.progress().members.iter().enumerate();
        let others = members.filter(|(other, _)| *other != client);
        let lengths = others.filter_map(|(_, member)| member.samples_per_task);
        let (count, all) = lengths
            .chain([samples_per_task])
            .fold((0_u128, 0_u128), |(count, all), samples| {
                (count + 1, all + u128::from(samples))
            });
        let budget_samples = u128::from(own.tasks) * all / count;
        let budget_samples = u64::try_from(budget_samples).unwrap_or(u64::MAX);
        (clips, samples_per_task, budget_samples)
    }
}
