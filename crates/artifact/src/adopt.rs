//! Taking in a result that was made elsewhere: on another machine, and brought by a file or a remote store.
//!
//! It goes the way of a publish: every file is hashed, and nothing is taken on trust. Whether the result is
//! what its key would give can only be known from who announces it; that its bytes are what was announced
//! is known here.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lock::KeyLock;
use crate::scratch::Scratch;
use crate::{Action, ArtifactError, Digest, Store};

/// A folder in the store's `tmp/` to lay out the files of an artifact in. Gone when dropped.
#[derive(Debug)]
pub struct ScratchTree {
    scratch: Scratch,
    tree: PathBuf,
}

impl ScratchTree {
    /// The folder, empty at first.
    pub fn path(&self) -> &Path {
        &self.tree
    }
}

impl Store {
    /// An empty folder on the disk of the store, from which files move in without a copy.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn scratch_tree(&self) -> Result<ScratchTree, ArtifactError> {
        let scratch = Scratch::new(&self.tmp())?;
        let tree = scratch.path().join("output");
        fs::create_dir(&tree).map_err(ArtifactError::writing(&tree))?;
        Ok(ScratchTree { scratch, tree })
    }

    /// Makes what is in `tree` the result of a key, as `announced` by who made it. The lock is that of the
    /// key. Its checkpoints go: the result is there.
    ///
    /// # Errors
    /// [`ArtifactError::NotAsAnnounced`] if the record belongs to another key, its key is not the digest of
    /// its preimage, or the files are not those that it names; nothing is recorded then. Otherwise as
    /// [`crate::Workspace::publish`].
    pub fn adopt(
        &self,
        lock: KeyLock,
        announced: Action,
        tree: ScratchTree,
    ) -> Result<Action, ArtifactError> {
        let step = announced.provenance.step.clone();
        let refused = |what, announced, found| {
            Err(ArtifactError::NotAsAnnounced {
                step,
                what,
                announced,
                found,
            })
        };
        if announced.key != lock.key {
            return refused("key", announced.key, lock.key);
        }
        let key = Digest::of_json(&announced.preimage);
        if key != announced.key {
            return refused("key", announced.key, key);
        }
        let manifest = self.scan_output(&tree.tree, |_, _| {})?;
        if manifest.digest() != announced.output {
            return refused("output", announced.output, manifest.digest());
        }
        // What it claims of its size is not taken on trust either.
        let action = Action::new(
            announced.key,
            announced.preimage,
            &manifest,
            announced.provenance,
        );
        self.finish(&action, &manifest, &tree.tree, tree.scratch.path())?;
        Ok(action)
    }
}
