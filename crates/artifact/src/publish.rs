//! From a finished output folder to a result in the store, so that a kill at any moment leaves either
//! nothing or all of it.
//!
//! 1. Hash every file of the output (in parallel), refuse what an artifact may not contain.
//! 2. Write very many small files into one pack; move the others into `objects/`, one rename each; flush
//!    both to the disk.
//! 3. Write the manifest to `tmp/`, flush it, rename it to `manifests/<digest>`, flush the folder.
//! 4. Write the record to `tmp/`, flush it, rename it to `actions/<key>.json`, flush the folder.
//! 5. Remove the checkpoints of the key and the workspace.
//!
//! Until the rename of step 4 the key has no result; objects and manifests without a record are harmless
//! and go with the next collection. After it the result is whole.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use crate::cache::StatCache;
use crate::lock::KeyLock;
use crate::objects::{Incoming, sync_folder};
use crate::scan;
use crate::scratch::Scratch;
use crate::walk::{self, Links};
use crate::{
    Action, ArtifactError, Digest, Manifest, Pin, Provenance, Store, fault, layout, pieces,
};

/// Up to this many files are flushed one by one; more of them by flushing the whole file system once.
const FLUSH_SINGLY: usize = 128;

/// Where a step works: an empty output folder, and the checkpoints of its key. Holds the key's lock.
///
/// Dropped without a publish, the output goes and the checkpoints stay.
#[derive(Debug)]
pub struct Workspace {
    pub(crate) store: Store,
    // Dropped before the lock: whoever waits for the key finds the room tidied.
    pub(crate) scratch: Scratch,
    lock: KeyLock,
    output: PathBuf,
    checkpoints: PathBuf,
    /// The folder of unfinished pieces that it works with.
    pub(crate) pieces: Option<PathBuf>,
    /// Keeps what it works with from the collector.
    pub(crate) pin: Option<Pin>,
    resumed: bool,
}

impl Store {
    /// A workspace for the holder of a key's lock.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn workspace(&self, lock: KeyLock) -> Result<Workspace, ArtifactError> {
        let key = lock.key;
        self.workspace_for(lock, &key)
    }

    /// The same with the checkpoints of `key`.
    pub(crate) fn workspace_for(
        &self,
        lock: KeyLock,
        key: &Digest,
    ) -> Result<Workspace, ArtifactError> {
        let scratch = Scratch::new(&self.tmp())?;
        let output = scratch.path().join("output");
        fs::create_dir(&output).map_err(ArtifactError::writing(&output))?;
        let resumed = self.has_checkpoints(key);
        let checkpoints = self.checkpoints_folder().join(key.to_string());
        fs::create_dir_all(&checkpoints).map_err(ArtifactError::writing(&checkpoints))?;
        Ok(Workspace {
            store: self.clone(),
            scratch,
            lock,
            output,
            checkpoints,
            pieces: None,
            pin: None,
            resumed,
        })
    }

    /// Records a result whose objects the store has already: an old output declared good for a new key.
    /// The lock is that of the key.
    ///
    /// # Errors
    /// Objects that are gone ([`ArtifactError::Unavailable`]), a store that cannot be written to.
    pub fn record(
        &self,
        lock: &KeyLock,
        output: &Digest,
        preimage: Value,
        provenance: Provenance,
    ) -> Result<Action, ArtifactError> {
        let scratch = Scratch::new(&self.tmp())?;
        let _shared = self.share_with_collector()?;
        let manifest = self.whole(output)?;
        let action = Action::new(lock.key, preimage, &manifest, provenance);
        self.write_action(&action, scratch.path())?;
        Ok(action)
    }

    pub(crate) fn write_action(
        &self,
        action: &Action,
        scratch: &Path,
    ) -> Result<(), ArtifactError> {
        let file = self.action_file(&action.key);
        let temporary = scratch.join("action.json");
        let bytes = action
            .to_bytes()
            .map_err(|error| ArtifactError::writing(&file)(error.into()))?;
        File::create(&temporary)
            .and_then(|mut open| {
                open.write_all(&bytes)?;
                open.sync_all()
            })
            .and_then(|()| fault::point("action: written"))
            .and_then(|()| fs::rename(&temporary, &file))
            .and_then(|()| fault::point("action: renamed"))
            .map_err(ArtifactError::writing(&file))?;
        sync_folder(&self.actions_folder())?;
        self.note_latest(&action.provenance.step, &action.key);
        Ok(())
    }

    /// The manifest of a finished output, every file hashed, or what an artifact may not contain.
    pub(crate) fn scan_output(
        &self,
        folder: &Path,
        progress: impl FnMut(u64, u64),
    ) -> Result<Manifest, ArtifactError> {
        let passing = |name| fault::point(name).map_err(ArtifactError::writing(folder));
        passing("publish: start")?;
        let found = walk::walk(folder, Links::Keep, &StatCache::default())?;
        let manifest = scan::digest(folder, found, progress)?.manifest;
        manifest.check_contained()?;
        passing("publish: hashed")?;
        Ok(manifest)
    }

    /// From a scanned output to its record: contents, manifest, record, in this order; then what belongs to
    /// an unfinished result goes.
    pub(crate) fn finish(
        &self,
        action: &Action,
        manifest: &Manifest,
        folder: &Path,
        scratch: &Path,
    ) -> Result<(), ArtifactError> {
        {
            // From the first content to the record, the collector must not take what looks unused.
            let _shared = self.share_with_collector()?;
            self.take_in(manifest, folder, scratch)?;
            self.write_manifest(manifest, scratch)?;
            self.write_action(action, scratch)?;
        }
        let passing = |name| fault::point(name).map_err(ArtifactError::writing(self.root()));
        passing("publish: action stored")?;
        self.remember_parts(manifest);
        let checkpoints = self.checkpoints_folder().join(action.key.to_string());
        match fs::remove_dir_all(&checkpoints) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ArtifactError::writing(checkpoints)(error));
            }
            _ => {}
        }
        passing("publish: checkpoints removed")
    }

    /// Takes the contents of a scanned folder into the store, flushed to the disk; the folder is consumed.
    fn take_in(
        &self,
        manifest: &Manifest,
        folder: &Path,
        scratch: &Path,
    ) -> Result<(), ArtifactError> {
        let passing = |name| fault::point(name).map_err(ArtifactError::writing(folder));
        // Identical files are one content: the first comes in, the rest go with the folder.
        let mut sources: HashMap<Digest, &Path> = HashMap::new();
        for (path, _, digest) in manifest.files() {
            sources.entry(digest).or_insert(path.as_path());
        }
        let source = |digest: &Digest| sources.get(digest).copied();
        let packing = layout(manifest);
        self.write_pack(&manifest.digest(), &packing, source, folder, scratch)?;
        let singly = packing.loose.len() <= FLUSH_SINGLY;
        packing.loose.par_iter().try_for_each(|(digest, size)| {
            let incoming = Incoming {
                path: &folder.join(source(digest).unwrap_or(Path::new(""))),
                digest: *digest,
                size: *size,
            };
            self.objects.insert(&incoming, scratch, singly)
        })?;
        passing("publish: objects stored")?;
        if packing.loose.is_empty() {
            return Ok(());
        }
        if !singly {
            flush_file_system(self.objects.root())?;
        }
        self.objects
            .sync_names(packing.loose.iter().map(|(digest, _)| digest))?;
        passing("publish: objects synced")
    }
}

fn flush_file_system(folder: &Path) -> Result<(), ArtifactError> {
    let open = File::open(folder).map_err(ArtifactError::reading(folder))?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&open).map_err(|error| ArtifactError::writing(folder)(error.into()))?;
    #[cfg(not(target_os = "linux"))]
    {
        drop(open);
        rustix::fs::sync();
    }
    Ok(())
}

impl Workspace {
    /// The key.
    pub fn key(&self) -> &Digest {
        &self.lock.key
    }

    /// The empty folder to fill.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// The folder that outlives a killed run of the same key.
    pub fn checkpoints(&self) -> &Path {
        &self.checkpoints
    }

    /// Whether an earlier run of the key left checkpoints.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Makes what is in the output folder the result of the key, with `preimage`, the value that the
    /// key is the digest of. Then the checkpoints and the workspace go and the lock is freed. Whatever
    /// wrote into the output must have ended.
    ///
    /// # Errors
    /// An output that an artifact cannot hold, a full disk; the key then has no result (or its old
    /// one), and the checkpoints stay.
    pub fn publish(self, preimage: Value, provenance: Provenance) -> Result<Action, ArtifactError> {
        self.publish_with_progress(preimage, provenance, |_, _| {})
    }

    /// The same; `progress` hears of bytes hashed and bytes to hash, from this thread.
    ///
    /// # Errors
    /// As [`Workspace::publish`].
    pub fn publish_with_progress(
        self,
        preimage: Value,
        provenance: Provenance,
        progress: impl FnMut(u64, u64),
    ) -> Result<Action, ArtifactError> {
        let manifest = self.store.scan_output(&self.output, progress)?;
        let action = Action::new(self.lock.key, preimage, &manifest, provenance);
        let scratch = self.scratch.path();
        self.store
            .finish(&action, &manifest, &self.output, scratch)?;
        if let Some(pieces) = &self.pieces {
            pieces::remove_empty(pieces);
        }
        Ok(action)
    }
}
