//! The folders `artifacts/<step>/` while steps read them.
//!
//! A step reads its inputs there, and another run on the same store, with other params, may want to put
//! another output into the same folder. So readers share a lock on the folder, and whoever changes it
//! takes that lock alone. Locks of several folders are taken in the order of their names, and nobody
//! waits for a folder who holds a later one: there is no circle to wait in. They are locks of the
//! operating system (`flock`), free again when their holder dies.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fedact_artifact::{ArtifactError, Digest, Store};
use rustix::fs::{major, minor};

use crate::{PipelineError, Stop};

/// How long a waiter sleeps between two attempts.
const POLL: Duration = Duration::from_millis(50);

/// The folders of the steps.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    store: Store,
    root: PathBuf,
}

/// Keeps a folder as it is until dropped.
#[derive(Debug)]
pub(crate) struct Held(#[allow(dead_code, reason = "held, never read")] File);

/// Why a folder is not to be had.
pub(crate) enum Refusal {
    /// Objects are gone: the step that made them has to run again.
    Gone,
    /// The run was stopped while it waited.
    Stopped,
    /// Something failed.
    Failed(PipelineError),
}

impl From<ArtifactError> for Refusal {
    fn from(error: ArtifactError) -> Self {
        if error.is_miss() {
            Self::Gone
        } else {
            Self::Failed(error.into())
        }
    }
}

impl Folders {
    /// The folders beside a store.
    pub(crate) fn new(store: Store, root: PathBuf) -> Self {
        Self { store, root }
    }

    /// The folder of a step.
    pub(crate) fn of(&self, step: &str) -> PathBuf {
        self.root.join(step)
    }

    /// Makes a step's folder hold exactly an output, and keeps it so. `on_wait` hears, at
    /// most once, that others are in the way, and which processes they are, as far as the system tells.
    pub(crate) fn hold(
        &self,
        step: &str,
        output: &Digest,
        stop: &Stop,
        mut on_wait: impl FnMut(&[u32]),
    ) -> Result<Held, Refusal> {
        let folder = self.of(step);
        let path = self
            .store
            .root()
            .join("locks")
            .join(format!("folder-{step}"));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed(&path))?;
        let mut told = false;
        let mut wait = || {
            if !std::mem::replace(&mut told, true) {
                on_wait(&holders(&file));
            }
        };
        loop {
            acquire(&path, File::try_lock_shared, &file, stop, &mut wait)?;
            if self.store.is_materialized(output, &folder) {
                return Ok(Held(file));
            }
            file.unlock().map_err(failed(&path))?;
            acquire(&path, File::try_lock, &file, stop, &mut wait)?;
            self.store.materialize(output, &folder)?;
            // Between giving up the whole lock and sharing it, somebody else may come: look again.
            file.unlock().map_err(failed(&path))?;
        }
    }
}

fn acquire(
    path: &Path,
    attempt: fn(&File) -> Result<(), TryLockError>,
    file: &File,
    stop: &Stop,
    wait: &mut impl FnMut(),
) -> Result<(), Refusal> {
    loop {
        match attempt(file) {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if stop.asked() => return Err(Refusal::Stopped),
            Err(TryLockError::WouldBlock) => {
                wait();
                std::thread::sleep(POLL);
            }
            Err(TryLockError::Error(error)) => return Err(failed(path)(error)),
        }
    }
}

/// The other processes that have a lock on a file.
fn holders(file: &File) -> Vec<u32> {
    let Ok(metadata) = file.metadata() else {
        return Vec::new();
    };
    let text = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let (device, own) = (metadata.dev(), std::process::id());
    let file = format!(
        "{:02x}:{:02x}:{}",
        major(device),
        minor(device),
        metadata.ino()
    );
    let mut holders: Vec<u32> = text
        .lines()
        .filter_map(|line| {
            // As in `4: FLOCK ADVISORY READ 1234 fe:00:5678 0 EOF`; one who waits has an arrow.
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [_, "FLOCK", _, _, process, locked, ..] if *locked == file => process.parse().ok(),
                _ => None,
            }
        })
        .filter(|process| *process != own && *process != 0)
        .collect();
    holders.dedup();
    holders
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Refusal {
    let action = format!("lock {}", path.display());
    |error| Refusal::Failed(PipelineError::system(action)(error))
}
