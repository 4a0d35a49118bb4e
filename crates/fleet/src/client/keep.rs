//! What a device keeps over restarts, in its folder.
//!
//! ```text
//! update            the last update: a line of JSON, then the message, then what a lossy codec left out of it
//! model-DIGEST      the last model that was fetched            (models.rs)
//! fetching-DIGEST   what there is of the next one so far
//! count             beyond the last number that an `alive` has carried
//! ```
//!
//! What a codec left out stands in one file with the update that it was left out of: were they two, a device that was killed
//! between them would add it twice, or never.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::wire::Took;
use crate::{Digest, FleetError, files};

/// Numbers of `alive` messages that a process takes for itself: more than it will ever send.
const BLOCK: u64 = 1_000_000_000;

/// The folder of a device.
#[derive(Debug)]
pub(super) struct Keep {
    folder: PathBuf,
    counter: Counter,
}

/// An update that was computed.
#[derive(Debug)]
pub(super) struct Computed {
    pub update: Vec<u8>,
    pub digest: Digest,
    pub took: Took,
}

#[derive(Serialize, Deserialize)]
struct Head {
    run: u64,
    task: u64,
    update: usize,
    digest: Digest,
    took: Took,
}

/// Numbers for `alive` messages, one larger than the other.
#[derive(Debug, Clone)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Keep {
    pub fn open(folder: &Path) -> Result<Self, FleetError> {
        let path = folder.join("count");
        let stored = files::read_if_there(&path)?;
        let stored = stored.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse().ok());
        // The clock as well, for a device that comes back with an empty folder.
        let clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = clock.map_or(0, |since| since.as_micros() as u64);
        let first = stored.unwrap_or(0_u64).max(micros);
        let next = (first + BLOCK).to_string();
        files::write(&path, &[next.as_bytes()], files::Lasting::Synced)?;
        Ok(Self {
            folder: folder.to_owned(),
            counter: Counter(Arc::new(AtomicU64::new(first))),
        })
    }

    pub fn counter(&self) -> Counter {
        self.counter.clone()
    }

    /// The update of this task, if it was computed.
    pub fn computed(&self, run: u64, task: u64) -> Result<Option<Computed>, FleetError> {
        let Some((head, rest)) = self.read()? else {
            return Ok(None);
        };
        if (head.run, head.task) != (run, task) {
            return Ok(None);
        }
        let mut update = rest;
        update.truncate(head.update);
        // A file that was damaged is as good as none: the task is done again.
        let whole = Digest::of(&update) == head.digest;
        Ok(whole.then_some(Computed {
            update,
            digest: head.digest,
            took: head.took,
        }))
    }

    /// What the codec left out of the last update of this run; empty if nothing was.
    pub fn residual(&self, run: u64) -> Result<Vec<f32>, FleetError> {
        let kept = self.read()?.filter(|(head, _)| head.run == run);
        let residual = kept.and_then(|(head, rest)| rest.get(head.update..).map(files::numbers_of));
        Ok(residual.unwrap_or_default())
    }

    /// Keeps an update in the place of the last one.
    pub fn keep(
        &self,
        run: u64,
        task: u64,
        update: Vec<u8>,
        residual: &[f32],
        took: Took,
    ) -> Result<Computed, FleetError> {
        let digest = Digest::of(&update);
        let head = Head {
            run,
            task,
            update: update.len(),
            digest,
            took,
        };
        let mut line = serde_json::to_vec(&head).unwrap_or_default();
        line.push(b'\n');
        let residual = files::bytes_of(residual);
        let parts = [&line[..], &update, &residual];
        files::write(&self.path(), &parts, files::Lasting::Synced)?;
        Ok(Computed {
            update,
            digest,
            took,
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.join("update")
    }

    fn read(&self) -> Result<Option<(Head, Vec<u8>)>, FleetError> {
        let Some(mut bytes) = files::read_if_there(&self.path())? else {
            return Ok(None);
        };
        let line = bytes.iter().position(|byte| *byte == b'\n');
        let head = line.and_then(|line| serde_json::from_slice(&bytes[..line]).ok());
        Ok(line.zip(head).map(|(line, head)| {
            bytes.drain(..=line);
            (head, bytes)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_comes_back_with_what_was_left_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::open(folder.path()).unwrap();
        assert!(keep.computed(1, 2).unwrap().is_none());
        let update = b"line\nbreak".to_vec();
        let took = Took {
            fetched_bytes: 7,
            fetching_ms: 5,
            training_ms: 3,
        };
        keep.keep(1, 2, update.clone(), &[0.5, -1.0], took).unwrap();
        let computed = keep.computed(1, 2).unwrap().unwrap();
        assert_eq!((computed.update, computed.took), (update, took));
        assert!(keep.computed(1, 3).unwrap().is_none());
        assert!(keep.computed(2, 2).unwrap().is_none());
        assert_eq!(keep.residual(1).unwrap(), [0.5, -1.0]);
        assert!(keep.residual(2).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_update_is_computed_again() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::open(folder.path()).unwrap();
        keep.keep(1, 2, vec![7; 100], &[], Took::default()).unwrap();
        let path = folder.path().join("update");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(keep.computed(1, 2).unwrap().is_none());
        std::fs::write(&path, "no line").unwrap();
        assert!(keep.computed(1, 2).unwrap().is_none());
    }

    #[test]
    fn numbers_of_messages_grow_over_restarts_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let first = Keep::open(folder.path()).unwrap().counter().next();
        let second = Keep::open(folder.path()).unwrap().counter().next();
        assert!(second > first);
    }
}
