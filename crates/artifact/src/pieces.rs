//! Pieces of results: those that are in no result yet, and results that lend theirs to the next one.
//!
//! Where a result is made of pieces that do not depend on one another, what was done for one key serves the next.
//! A finished piece lies once on the disk: until its result is published in `pieces/<space>/`, whose name stands
//! for all that decides a piece but its own content; from then on in the result, which [`Workspace::borrow`] lays
//! out for whoever makes another one. The store knows neither the names nor the format of pieces: who reads
//! one checks it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::lock::KeyLock;
use crate::objects::read_folder;
use crate::publish::Workspace;
use crate::tree::Linking;
use crate::{ArtifactError, Digest, Store};

/// What is known of one shard of the work on a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardNote {
    /// Which one, counted from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// The machine that did it last.
    pub host: String,
    /// When that began, in seconds since 1970 (UTC).
    pub started: f64,
    /// How long it took; `None` until it is done.
    pub seconds: Option<f64>,
}

impl Store {
    pub(crate) fn pieces_folder(&self) -> PathBuf {
        self.root().join("pieces")
    }

    /// A workspace for one shard of the work on `key`, whose checkpoints it shares. The lock is one of the
    /// shard's own, so that shards are worked on side by side.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn workspace_of_shard(
        &self,
        lock: KeyLock,
        key: &Digest,
    ) -> Result<Workspace, ArtifactError> {
        self.workspace_for(lock, key)
    }

    fn shards_folder(&self, key: &Digest) -> PathBuf {
        self.checkpoints_folder()
            .join(key.to_string())
            .join("shards")
    }

    /// Notes how a shard of the work on a key stands.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn note_shard(&self, key: &Digest, note: &ShardNote) -> Result<(), ArtifactError> {
        let folder = self.shards_folder(key);
        let path = folder.join(format!("{}-of-{}.json", note.number, note.of));
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&folder)?;
            let fresh = tempfile::Builder::new()
                .permissions(fs::Permissions::from_mode(0o666))
                .tempfile_in(self.tmp())?;
            serde_json::to_writer(&fresh, note)?;
            fresh.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(ArtifactError::writing(&path))
    }

    /// The shards that the unfinished work on a key was parted into, as far as they have been begun.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn shards(&self, key: &Digest) -> Result<Vec<ShardNote>, ArtifactError> {
        let folder = self.shards_folder(key);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut notes: Vec<ShardNote> = read_folder(&folder)?
            .iter()
            .filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok())
            .collect();
        notes.sort_by_key(|note| (note.of, note.number));
        Ok(notes)
    }
}

impl Workspace {
    /// The folder of the pieces that are in no result yet and are decided by what `space` stands for. No collection
    /// takes it while this workspace lives.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn pieces(&mut self, space: &Digest) -> Result<PathBuf, ArtifactError> {
        self.pin(space)?;
        let folder = self.store.pieces_folder().join(space.to_string());
        fs::create_dir_all(&folder).map_err(ArtifactError::writing(&folder))?;
        self.pieces = Some(folder.clone());
        Ok(folder)
    }

    /// Lays out the files of another result, to be read while this workspace lives. `None` if the store does not
    /// have it whole.
    ///
    /// Raw objects are symbolic links to the store: hard links would move the change times by which the store
    /// knows that they are right.
    ///
    /// # Errors
    /// The store cannot be read or written to.
    pub fn borrow(&mut self, key: &Digest) -> Result<Option<PathBuf>, ArtifactError> {
        self.pin(key)?;
        let Some(action) = self.store.lookup(key)? else {
            return Ok(None);
        };
        let shelf = self.scratch.path().join("borrowed");
        fs::create_dir_all(&shelf).map_err(ArtifactError::writing(&shelf))?;
        let tree = shelf.join(key.short());
        let laid = self
            .store
            .whole(&action.output)
            .and_then(|manifest| self.store.build(&manifest, &tree, Linking::Symbolic));
        match laid {
            Ok(_) => Ok(Some(tree)),
            Err(error) if error.is_miss() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn pin(&mut self, key: &Digest) -> Result<(), ArtifactError> {
        let pin = match &mut self.pin {
            Some(pin) => pin,
            empty => empty.insert(self.store.pin()?),
        };
        pin.add([key])
    }
}

/// Removes the folder of pieces that has none left. One that is not empty stays, and whoever adds the next piece
/// makes the folder anew.
pub(crate) fn remove_empty(folder: &Path) {
    let _ = fs::remove_dir(folder);
}
