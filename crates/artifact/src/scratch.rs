//! Folders for work in progress: `tmp/<id>/`, beside `tmp/<id>.lock`, which its owner holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ArtifactError;
use crate::lock::LockFile;

/// A folder that goes away with its owner: when dropped, or, if the owner was killed, with the next
/// sweep.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    _lock: LockFile,
}

impl Scratch {
    pub(crate) fn new(tmp: &Path) -> Result<Self, ArtifactError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let moment = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos());
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let id = format!("{}-{moment:x}-{count}", std::process::id());
            // The lock comes first, so that no sweep ever sees the folder without an owner.
            let Ok(lock) = LockFile::try_acquire(&tmp.join(format!("{id}.lock")))? else {
                continue;
            };
            let path = tmp.join(&id);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, _lock: lock }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(ArtifactError::writing(path)(error)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what dead owners left; returns how many folders and files went.
pub(crate) fn sweep(tmp: &Path) -> Result<usize, ArtifactError> {
    let mut removed = 0;
    for entry in fs::read_dir(tmp).map_err(ArtifactError::reading(tmp))? {
        let path = entry.map_err(ArtifactError::reading(tmp))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let id = name.strip_suffix(".lock").unwrap_or(name).to_owned();
        // A nameless temporary file of this very moment has no lock and no folder.
        let _lock = match LockFile::try_acquire(&tmp.join(format!("{id}.lock"))) {
            Ok(Ok(lock)) => lock,
            Ok(Err(_)) => continue,
            // There is no place for a lock: the next one may have one, and what goes with it makes some.
            Err(error) if error.is_full_disk() => continue,
            Err(error) => return Err(error),
        };
        let left = tmp.join(&id);
        let gone = match fs::symlink_metadata(&left) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&left),
            Ok(_) => fs::remove_file(&left),
            Err(_) => continue,
        };
        // What cannot go now goes later: a child that is dying may still write there, and a folder may
        // have lost its write permission.
        removed += usize::from(gone.is_ok());
    }
    Ok(removed)
}
