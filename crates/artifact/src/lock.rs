//! Locks that free themselves when their holder dies, and say who holds them.
//!
//! A lock is an advisory lock of the operating system (`flock`) on a small file. The kernel releases it
//! with the process, however that dies, so there is nothing to steal and no process number to guess
//! about. The file's content only tells who holds it. A lock file is removed by its holder while it
//! still holds the lock; whoever locks a file that is no longer the one at its path tries again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::is_full;
use crate::{ArtifactError, Digest};

/// How long a waiter sleeps between two attempts.
const POLL: Duration = Duration::from_millis(50);

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockOwner {
    /// Process number on its host.
    pub pid: u32,
    /// Name of the host.
    pub host: String,
    /// When it took the lock, in seconds since 1970 (UTC).
    pub started: u64,
}

impl LockOwner {
    /// This process, now.
    pub fn this_process() -> Self {
        Self {
            pid: std::process::id(),
            host: host_name(),
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        }
    }

    /// Who is meant when the holder has not yet written its name.
    fn unknown() -> Self {
        Self {
            pid: 0,
            host: "unknown".to_owned(),
            started: 0,
        }
    }
}

impl std::fmt::Display for LockOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.pid == 0 {
            f.write_str("another process")
        } else {
            write!(f, "process {} on {}", self.pid, self.host)
        }
    }
}

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The right to work on one key, until dropped.
#[derive(Debug)]
pub struct KeyLock {
    pub(crate) key: Digest,
    _file: LockFile,
}

impl KeyLock {
    /// The key.
    pub fn key(&self) -> &Digest {
        &self.key
    }
}

/// What an attempt to lock without waiting gives.
#[derive(Debug)]
pub enum Attempt {
    /// The lock.
    Locked(KeyLock),
    /// Somebody has it.
    HeldBy(LockOwner),
}

/// Locks the file for a key without waiting.
pub(crate) fn try_lock_key(path: &Path, key: &Digest) -> Result<Attempt, ArtifactError> {
    Ok(match LockFile::try_acquire(path)? {
        Ok(file) => Attempt::Locked(KeyLock {
            key: *key,
            _file: file,
        }),
        Err(owner) => Attempt::HeldBy(owner),
    })
}

/// Locks the file for a key; `on_wait` hears whom it waits for, at once and whenever that changes.
pub(crate) fn lock_key(
    path: &Path,
    key: &Digest,
    mut on_wait: impl FnMut(&LockOwner),
) -> Result<KeyLock, ArtifactError> {
    let mut told: Option<LockOwner> = None;
    loop {
        match try_lock_key(path, key)? {
            Attempt::Locked(lock) => return Ok(lock),
            Attempt::HeldBy(owner) => {
                if told.as_ref() != Some(&owner) {
                    on_wait(&owner);
                    told = Some(owner);
                }
                std::thread::sleep(POLL);
            }
        }
    }
}

/// An exclusively locked file that vanishes when dropped.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    file: File,
}

impl LockFile {
    /// Creates and locks the file, or says who holds it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Result<Self, LockOwner>, ArtifactError> {
        loop {
            let mut file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Err(read_owner(&mut file))),
                Err(TryLockError::Error(source)) => {
                    return Err(ArtifactError::writing(path)(source));
                }
            }
            if !is_current(&file, path) {
                continue;
            }
            let owner = serde_json::to_vec(&LockOwner::this_process()).unwrap_or_default();
            match file.set_len(0).and_then(|()| file.write_all(&owner)) {
                // A lock it is all the same, and a collection, which frees space, needs some.
                Err(error) if is_full(&error) => {}
                written => written.map_err(ArtifactError::writing(path))?,
            }
            return Ok(Ok(Self {
                path: path.to_owned(),
                file,
            }));
        }
    }

    /// Who holds the lock, if anybody; takes nothing and creates nothing.
    pub(crate) fn holder(path: &Path) -> Option<LockOwner> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_owner(&mut file)),
            _ => None,
        }
    }

    /// The locked file, for those that keep more in it than the owner.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // While the lock is still held: nobody else can have locked this file and believe it current.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> Result<File, ArtifactError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(ArtifactError::writing(path))
}

/// Whether the open file is still the one at the path.
fn is_current(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => open.ino() == there.ino() && open.dev() == there.dev(),
        _ => false,
    }
}

fn read_owner(file: &mut File) -> LockOwner {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_string(&mut text))
        .ok()
        .and_then(|_| serde_json::from_str(text.lines().next()?).ok())
        .unwrap_or_else(LockOwner::unknown)
}

/// A lock that many may share and one may have alone: publishers share it, the collector takes it for
/// the moments in which it deletes.
#[derive(Debug)]
pub(crate) struct CollectLock(#[allow(dead_code, reason = "held, never read")] File);

impl CollectLock {
    /// Waits for a collector to pause.
    pub(crate) fn shared(path: &Path) -> Result<Self, ArtifactError> {
        let file = open(path)?;
        file.lock_shared().map_err(ArtifactError::writing(path))?;
        Ok(Self(file))
    }

    /// Waits for all publishers.
    pub(crate) fn exclusive(path: &Path) -> Result<Self, ArtifactError> {
        let file = open(path)?;
        file.lock().map_err(ArtifactError::writing(path))?;
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_second_comer_hears_who_is_inside_and_gets_in_when_that_one_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let key = Digest::of("key");
        let first = lock_key(&path, &key, |_| panic!("nobody to wait for")).unwrap();
        assert!(matches!(
            try_lock_key(&path, &key).unwrap(),
            Attempt::HeldBy(owner) if owner.pid == std::process::id()
        ));
        assert_eq!(LockFile::holder(&path).unwrap().pid, std::process::id());

        let (told, heard) = mpsc::channel();
        let waiter = {
            let path = path.clone();
            std::thread::spawn(move || {
                lock_key(&path, &key, |owner| told.send(owner.clone()).unwrap()).unwrap();
            })
        };
        let owner = heard.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(owner.pid, std::process::id());
        assert_eq!(owner.host, host_name());
        drop(first);
        waiter.join().unwrap();
        assert_eq!(LockFile::holder(&path), None);
        assert!(!path.exists(), "lock files are not left lying about");
    }

    #[test]
    fn many_threads_never_hold_one_key_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let key = Digest::of("key");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let Attempt::Locked(lock) = try_lock_key(&path, &key).unwrap() else {
                            continue;
                        };
                        use std::sync::atomic::Ordering::SeqCst;
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        std::thread::yield_now();
                        assert_eq!(inside.fetch_sub(1, SeqCst), 1);
                        drop(lock);
                    }
                });
            }
        });
    }
}
