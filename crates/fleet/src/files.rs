//! Files that are there as a whole or not at all, and rows of numbers as bytes.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use sha2::{Digest as _, Sha256};

use crate::{Digest, FleetError};

/// How often a folder is asked for before it is taken to be another process's, and the pause between: whoever only
/// looks holds it for a moment.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// Whether a file must survive a loss of power at once, or may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// On the disk when the call returns.
    Synced,
    /// Whole or absent after a killed process, anything after a loss of power.
    Derived,
}

/// Writes a file under another name and gives it its own when it is complete.
pub(crate) fn write(path: &Path, parts: &[&[u8]], lasting: Lasting) -> Result<(), FleetError> {
    write_with(path, parts, lasting, 0o644)
}

/// The same for a secret: readable by its owner alone from the first byte on.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), FleetError> {
    write_with(path, &[bytes], Lasting::Synced, 0o600)
}

fn write_with(path: &Path, parts: &[&[u8]], lasting: Lasting, mode: u32) -> Result<(), FleetError> {
    let mut unfinished = Unfinished::begin_with(path, mode)?;
    for part in parts {
        unfinished.add(part)?;
    }
    unfinished.finish(lasting)
}

/// Numbers that are bytes as well, at a time.
pub(crate) const BLOCK: usize = 1 << 16;

/// A file that grows under another name.
pub(crate) struct Unfinished {
    path: PathBuf,
    other: PathBuf,
    file: File,
    hash: Option<Sha256>,
}

impl Unfinished {
    /// Begins one that can say its digest.
    pub fn begin_hashed(path: &Path) -> Result<Self, FleetError> {
        let unhashed = Self::begin_with(path, 0o644)?;
        Ok(Self {
            hash: Some(Sha256::new()),
            ..unhashed
        })
    }

    fn begin_with(path: &Path, mode: u32) -> Result<Self, FleetError> {
        let mut other = path.as_os_str().to_owned();
        other.push(".new");
        let other = PathBuf::from(other);
        // One that was left behind may have other permissions.
        remove(&other)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&other)
            .map_err(FleetError::file(&other))?;
        Ok(Self {
            path: path.to_owned(),
            other,
            file,
            hash: None,
        })
    }

    pub fn add(&mut self, bytes: &[u8]) -> Result<(), FleetError> {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        let written = self.file.write_all(bytes);
        written.map_err(FleetError::file(&self.other))
    }

    /// Adds numbers, of which only a block is in memory as bytes as well.
    pub fn add_numbers(&mut self, numbers: &[f32]) -> Result<(), FleetError> {
        each_block(numbers, |bytes| self.add(bytes))
    }

    /// SHA-256 of what is there so far, if it was begun so.
    pub fn digest(&self) -> Digest {
        let hash = self.hash.clone().unwrap_or_default();
        Digest::from_bytes(hash.finalize().into())
    }

    /// Gives the file a name in the place of its own.
    pub fn finish_as(mut self, path: PathBuf, lasting: Lasting) -> Result<(), FleetError> {
        self.path = path;
        self.finish(lasting)
    }

    /// Gives the file its own name.
    pub fn finish(self, lasting: Lasting) -> Result<(), FleetError> {
        if lasting == Lasting::Synced {
            self.file
                .sync_all()
                .map_err(FleetError::file(&self.other))?;
        }
        std::fs::rename(&self.other, &self.path).map_err(FleetError::file(&self.path))?;
        if lasting == Lasting::Synced {
            sync_folder_of(&self.path)?;
        }
        Ok(())
    }
}

/// A file that is read piece by piece.
pub(crate) struct Pieces {
    path: PathBuf,
    file: File,
}

impl Pieces {
    /// A file at its beginning.
    pub fn open(path: &Path) -> Result<Self, FleetError> {
        let file = File::open(path).map_err(FleetError::file(path))?;
        let path = path.to_owned();
        Ok(Self { path, file })
    }

    /// The same; none if it is not there.
    pub fn open_if_there(path: &Path) -> Result<Option<Self>, FleetError> {
        match Self::open(path) {
            Err(FleetError::File { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    /// Which it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long it is.
    pub fn length(&self) -> Result<u64, FleetError> {
        let metadata = self.file.metadata();
        Ok(metadata.map_err(FleetError::file(&self.path))?.len())
    }

    /// SHA-256 of all that is left.
    pub fn hash(&mut self) -> Result<Sha256, FleetError> {
        let (mut hash, mut block) = (Sha256::new(), Vec::with_capacity(4 * BLOCK));
        loop {
            self.fill(&mut block, 4 * BLOCK)?;
            if block.is_empty() {
                return Ok(hash);
            }
            hash.update(&block);
        }
    }

    /// So many bytes more, or those that are left.
    pub fn next(&mut self, bytes: usize) -> Result<Vec<u8>, FleetError> {
        let mut piece = Vec::with_capacity(bytes);
        self.fill(&mut piece, bytes)?;
        Ok(piece)
    }

    /// The same in the place of what was read before.
    pub fn fill(&mut self, piece: &mut Vec<u8>, bytes: usize) -> Result<(), FleetError> {
        piece.clear();
        let read = (&self.file).take(bytes as u64).read_to_end(piece);
        read.map_err(FleetError::file(&self.path))?;
        Ok(())
    }
}

/// Makes names in the folder of this path last.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), FleetError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let open = File::open(folder).map_err(FleetError::file(folder))?;
    open.sync_all().map_err(FleetError::file(folder))
}

/// Makes a file's contents last.
pub(crate) fn sync(path: &Path) -> Result<(), FleetError> {
    let open = File::open(path).map_err(FleetError::file(path))?;
    open.sync_all().map_err(FleetError::file(path))
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) -> Result<(), FleetError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FleetError::file(path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes all files in a folder.
pub(crate) fn empty(folder: &Path) -> Result<(), FleetError> {
    for entry in std::fs::read_dir(folder).map_err(FleetError::file(folder))? {
        remove(&entry.map_err(FleetError::file(folder))?.path())?;
    }
    Ok(())
}

/// A file's bytes, if it is there.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, FleetError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FleetError::file(path)(error)),
    }
}

/// SHA-256 of a file, if it is there, read block by block.
pub(crate) fn digest_if_there(path: &Path) -> Result<Option<Digest>, FleetError> {
    let Some(mut pieces) = Pieces::open_if_there(path)? else {
        return Ok(None);
    };
    let hash = pieces.hash()?;
    Ok(Some(Digest::from_bytes(hash.finalize().into())))
}

/// A file with a secret, which nobody else may read.
pub(crate) fn read_secret(path: &Path) -> Result<String, FleetError> {
    let metadata = std::fs::metadata(path).map_err(FleetError::file(path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FleetError::OpenToOthers {
            path: path.to_owned(),
            mode,
        });
    }
    std::fs::read_to_string(path).map_err(FleetError::file(path))
}

/// Makes a folder and those above it.
pub(crate) fn folder(path: &Path) -> Result<(), FleetError> {
    std::fs::create_dir_all(path).map_err(FleetError::file(path))
}

/// Numbers as they lie in files and messages: `f32`, little-endian.
pub(crate) fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// Hands numbers on as bytes, block by block in the same memory.
pub(crate) fn each_block(
    numbers: &[f32],
    mut take: impl FnMut(&[u8]) -> Result<(), FleetError>,
) -> Result<(), FleetError> {
    let mut bytes = Vec::with_capacity(4 * BLOCK.min(numbers.len()));
    for block in numbers.chunks(BLOCK) {
        bytes.clear();
        bytes.extend(block.iter().flat_map(|number| number.to_le_bytes()));
        take(&bytes)?;
    }
    Ok(())
}

/// The numbers of such bytes; bytes after the last whole number are left out.
pub(crate) fn numbers_of(bytes: &[u8]) -> Vec<f32> {
    each_number_of(bytes).collect()
}

/// The same, one after the other.
pub(crate) fn each_number_of(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// A folder that no other process uses meanwhile.
#[derive(Debug)]
pub(crate) struct Locked(#[allow(dead_code)] File);

impl Locked {
    /// Takes it, until this is dropped or the process ends, however it does.
    pub fn take(folder: &Path) -> Result<Self, FleetError> {
        let path = folder.join("lock");
        let file = File::create(&path).map_err(FleetError::file(&path))?;
        for _ in 0..ATTEMPTS {
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(Self(file));
            }
            std::thread::sleep(PAUSE);
        }
        Err(FleetError::Served {
            folder: folder.to_owned(),
        })
    }

    /// Takes what is locked by this file as soon as nobody else has it; for what takes a moment.
    pub fn wait_for(path: &Path) -> Result<Self, FleetError> {
        let file = File::create(path).map_err(FleetError::file(path))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| FleetError::file(path)(error.into()))?;
        Ok(Self(file))
    }

    /// Whether a process has it now.
    pub fn is_taken(folder: &Path) -> bool {
        File::open(folder.join("lock")).is_ok_and(|file| {
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_for_as_long_as_somebody_has_it_and_looking_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(!Locked::is_taken(path));
        assert!(!Locked::is_taken(&path.join("none")));
        let locked = Locked::take(path).unwrap();
        assert!(Locked::is_taken(path));
        let error = Locked::take(path).unwrap_err().to_string();
        assert!(error.contains("served by another process"), "{error}");
        drop(locked);
        assert!(!Locked::is_taken(path));
        // One who looks lets go before the last attempt.
        let looking = File::open(path.join("lock")).unwrap();
        rustix::fs::flock(&looking, FlockOperation::NonBlockingLockShared).unwrap();
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(PAUSE);
            drop(looking);
        });
        Locked::take(path).unwrap();
        leaving.join().unwrap();
    }
}
