//! The journal: every event that the aggregator is given, on the disk before it is given.
//!
//! ```text
//! journal            magic "FDJL", version (4), run (8), then frames                 (frame.rs)
//! updates/TASK       the update of that task as it came, named by the journal with its SHA-256
//! ```
//!
//! An event is appended and synced, then handled, then acknowledged. Who dies between two of these repeats the later ones:
//! the journal is replayed from the last checkpoint, and what follows from an event (orders, models) is said again.
//! Acknowledged is therefore always in the journal, and the journal holds an update at most once, because only the update
//! of an open task is appended.

mod frame;
mod record;

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{FleetError, files};

pub use frame::{Tail, frames};
pub use record::{Happened, Record};

const MAGIC: [u8; 4] = *b"FDJL";
const VERSION: u32 = 1;
const HEAD: u64 = 16;

/// An open journal, at its end.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    end: u64,
}

/// A record and where the next one begins.
pub type Placed = (Record, u64);

impl Journal {
    /// Where a journal's first record lies.
    pub const BEGIN: u64 = HEAD;

    /// Begins a journal.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path, run: u64) -> Result<(), FleetError> {
        let head = [&MAGIC[..], &VERSION.to_le_bytes(), &run.to_le_bytes()].concat();
        files::write(path, &[&head], files::Lasting::Synced)
    }

    /// Opens a journal at its end and gives its records from byte `from` on. A last record that was not written to its end
    /// was never acknowledged: it is cut off.
    ///
    /// # Errors
    /// The file is not there, is of another run, or is damaged elsewhere than at its end.
    pub fn open(path: &Path, run: u64, from: u64) -> Result<(Self, Vec<Placed>), FleetError> {
        let bytes = std::fs::read(path).map_err(FleetError::file(path))?;
        let (records, end) = read(path, &bytes, run, from)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(FleetError::file(path))?;
        if end < bytes.len() as u64 {
            file.set_len(end).map_err(FleetError::file(path))?;
            file.sync_all().map_err(FleetError::file(path))?;
        }
        file.seek(SeekFrom::Start(end))
            .map_err(FleetError::file(path))?;
        let journal = Self {
            path: path.to_owned(),
            file,
            end,
        };
        Ok((journal, records))
    }

    /// Appends a record; it is on the disk when this returns.
    ///
    /// # Errors
    /// It could not be written. Then nothing may be appended any more: whether it is there, the next opening says.
    pub fn append(&mut self, record: &Record) -> Result<(), FleetError> {
        let frame = frame::frame(&record.to_bytes());
        self.file
            .write_all(&frame)
            .and_then(|()| self.file.sync_data())
            .map_err(FleetError::file(&self.path))?;
        self.end += frame.len() as u64;
        Ok(())
    }

    /// Where the next record will begin.
    pub fn end(&self) -> u64 {
        self.end
    }
}

/// The records of a journal's bytes from `from` on, and where the last whole one ends.
pub fn read(
    path: &Path,
    bytes: &[u8],
    run: u64,
    from: u64,
) -> Result<(Vec<Placed>, u64), FleetError> {
    let invalid = |reason: &str| FleetError::Invalid {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let (head, _) = bytes
        .split_first_chunk::<{ HEAD as usize }>()
        .ok_or_else(|| invalid("it is too short for a journal"))?;
    if head[..4] != MAGIC {
        return Err(invalid("it is no journal"));
    }
    if head[4..8] != VERSION.to_le_bytes() {
        return Err(invalid(
            "it was written by another version of this program; go on with that one",
        ));
    }
    if head[8..] != run.to_le_bytes() {
        return Err(invalid("it is the journal of another run"));
    }
    let damaged = |offset: u64, reason: &str| FleetError::Damaged {
        path: path.to_owned(),
        offset,
        reason: reason.to_owned(),
    };
    let begin = usize::try_from(from)
        .ok()
        .filter(|begin| *begin <= bytes.len() && from >= HEAD)
        .ok_or_else(|| damaged(from, "it is shorter than its checkpoint says"))?;
    let (found, tail) = frames(&bytes[begin..]);
    let mut records = Vec::with_capacity(found.len());
    let mut end = from;
    for payload in found {
        let record = Record::of_bytes(payload)
            .ok_or_else(|| damaged(end, "a record means nothing to this version"))?;
        end += (frame::HEAD + payload.len()) as u64;
        records.push((record, end));
    }
    match tail {
        Tail::Whole | Tail::Torn => Ok((records, end)),
        Tail::Damaged => Err(damaged(end, "a checksum is wrong")),
    }
}
