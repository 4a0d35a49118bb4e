//! From a finished output folder to a result in the store, so that a kill at any moment leaves either
//! nothing or all of it.
//!
//! 1. Hash every file of the output (in parallel), refuse what an artifact may not contain.
//! 2. Move the files into `objects/`, one rename each, and flush them to the disk.
//! 3. Write the manifest to `tmp/`, flush it, rename it to `manifests/<digest>`, flush the folder.
//! 4. Write the record to `tmp/`, flush it, rename it to `actions/<key>.json`, flush the folder.
//! 5. Remove the checkpoints of the key and the workspace.
//!
//! Until the rename of step 4 the key has no result; objects and manifests without a record are harmless
//! and go with the next collection. After it the result is whole.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use crate::lock::KeyLock;
use crate::objects::{Incoming, sync_folder};
use crate::scan::{self, Links};
use crate::scratch::Scratch;
use crate::stat::StatCache;
use crate::trust::unique_objects;
use crate::{Action, ArtifactError, Digest, Manifest, Provenance, Store, fault};

/// Up to this many files are flushed one by one; more of them by flushing the whole file system once.
const FLUSH_SINGLY: usize = 128;

/// Where a step works: an empty output folder, and the checkpoints of its key. Holds the key's lock.
///
/// Dropped without a publish, the output goes and the checkpoints stay.
#[derive(Debug)]
pub struct Workspace {
    store: Store,
    // Dropped before the lock: whoever waits for the key finds the room tidied.
    scratch: Scratch,
    lock: KeyLock,
    output: PathBuf,
    checkpoints: PathBuf,
    resumed: bool,
}

impl Store {
    /// A workspace for the holder of a key's lock.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn workspace(&self, lock: KeyLock) -> Result<Workspace, ArtifactError> {
        let scratch = Scratch::new(&self.tmp())?;
        let output = scratch.path().join("output");
        fs::create_dir(&output).map_err(ArtifactError::writing(&output))?;
        let resumed = self.has_checkpoints(&lock.key);
        let checkpoints = self.checkpoints_folder().join(lock.key.to_string());
        fs::create_dir_all(&checkpoints).map_err(ArtifactError::writing(&checkpoints))?;
        Ok(Workspace {
            store: self.clone(),
            scratch,
            lock,
            output,
            checkpoints,
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

    fn write_action(&self, action: &Action, scratch: &Path) -> Result<(), ArtifactError> {
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
        sync_folder(&self.actions_folder())
    }

    /// Moves the files of a folder into the objects; the folder is consumed.
    pub(crate) fn take_in(
        &self,
        folder: &Path,
        scratch: &Path,
        progress: impl FnMut(u64, u64),
    ) -> Result<Manifest, ArtifactError> {
        let passing = |name| fault::point(name).map_err(ArtifactError::writing(folder));
        passing("publish: start")?;
        let found = scan::walk(folder, Links::Keep)?;
        let manifest = scan::digest(folder, found, &StatCache::default(), progress)?.manifest;
        manifest.check_contained()?;
        passing("publish: hashed")?;

        // Identical files are one object: the first comes in, the rest go with the folder.
        let objects = unique_objects(&manifest);
        let mut sources: Vec<(Digest, &crate::EntryPath)> = manifest
            .files()
            .map(|(path, _, digest)| (digest, path))
            .collect();
        sources.sort_unstable();
        sources.dedup_by_key(|(digest, _)| *digest);
        let singly = sources.len() <= FLUSH_SINGLY;
        sources
            .par_iter()
            .zip(&objects)
            .try_for_each(|((digest, path), (size, _))| {
                let incoming = Incoming {
                    path: &folder.join(path.as_path()),
                    digest: *digest,
                    size: *size,
                };
                self.objects.insert(&incoming, scratch, singly)
            })?;
        passing("publish: objects stored")?;
        if !singly {
            flush_file_system(self.objects.root())?;
        }
        self.objects
            .sync_names(sources.iter().map(|(digest, _)| digest))?;
        passing("publish: objects synced")?;
        self.write_manifest(&manifest, scratch)?;
        Ok(manifest)
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
        let store = &self.store;
        let (action, manifest) = {
            // From the first object to the record, the collector must not take what looks unused.
            let _shared = store.share_with_collector()?;
            let manifest = store.take_in(&self.output, self.scratch.path(), progress)?;
            let action = Action::new(self.lock.key, preimage, &manifest, provenance);
            store.write_action(&action, self.scratch.path())?;
            (action, manifest)
        };
        let passing = |name| fault::point(name).map_err(ArtifactError::writing(store.root()));
        passing("publish: action stored")?;
        store.remember_objects(&manifest)?;
        fs::remove_dir_all(&self.checkpoints).map_err(ArtifactError::writing(&self.checkpoints))?;
        passing("publish: checkpoints removed")?;
        Ok(action)
    }
}
