//! Pins: the keys that a run in progress needs, which no collection takes.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::lock::{LockFile, LockOwner};
use crate::objects::read_folder;
use crate::{ArtifactError, Digest, Store};

/// Keeps keys from being collected until dropped (or until its process dies).
#[derive(Debug)]
pub struct Pin {
    store: Store,
    file: LockFile,
}

impl Store {
    /// An empty pin. Pin a key before looking it up: what was found then stays.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn pin(&self) -> Result<Pin, ArtifactError> {
        for number in 0u32.. {
            let name = format!("{}-{number}", std::process::id());
            if let Ok(file) = LockFile::try_acquire(&self.pins_folder().join(name))? {
                return Ok(Pin {
                    store: self.clone(),
                    file,
                });
            }
        }
        unreachable!("a process has fewer than four billion pins")
    }

    /// The pinned keys, each with who pinned it. Pins of dead processes are removed.
    pub(crate) fn pinned(&self) -> Result<BTreeMap<Digest, LockOwner>, ArtifactError> {
        let mut pinned = BTreeMap::new();
        for path in read_folder(&self.pins_folder())? {
            // Whoever can lock it has found its owner dead; dropping the lock removes the file.
            if let Err(owner) = LockFile::try_acquire(&path)? {
                for key in keys_in(&path) {
                    pinned.insert(key, owner.clone());
                }
            }
        }
        Ok(pinned)
    }
}

fn keys_in(path: &Path) -> Vec<Digest> {
    std::fs::read_to_string(path).map_or_else(
        |_| Vec::new(),
        |text| {
            text.lines()
                .skip(1)
                .filter_map(|line| line.parse().ok())
                .collect()
        },
    )
}

impl Pin {
    /// Adds keys.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn add<'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a Digest>,
    ) -> Result<(), ArtifactError> {
        // A collector that has read the pins deletes before this returns, or sees the keys.
        let _shared = self.store.share_with_collector()?;
        let mut lines = String::new();
        for key in keys {
            lines.push_str(&format!("\n{key}"));
        }
        let path = self.store.pins_folder();
        let file = self.file.file();
        file.seek(SeekFrom::End(0))
            .and_then(|_| file.write_all(lines.as_bytes()))
            .map_err(ArtifactError::writing(path))
    }

    /// The keys in it.
    ///
    /// # Errors
    /// The pin's file cannot be read.
    pub fn keys(&mut self) -> Result<Vec<Digest>, ArtifactError> {
        let mut text = String::new();
        let path = self.store.pins_folder();
        let file = self.file.file();
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.read_to_string(&mut text))
            .map_err(ArtifactError::reading(path))?;
        Ok(text
            .lines()
            .skip(1)
            .filter_map(|line| line.parse().ok())
            .collect())
    }
}
