//! From the store to a folder that people and stages read: `artifacts/<step>/`.
//!
//! Files are read-only. Raw objects are hard links to the store, so that delivering gigabytes takes
//! milliseconds; compressed objects, the small files of a pack and executable files (whose permissions an
//! object cannot share) are copies. Folders stay writable, so that `rm -rf artifacts` works. The new tree is made in the store's
//! `tmp/` and exchanged with the old one in one step: a reader sees one or the other, never a mixture.
//!
//! A folder that is right already costs one `stat` a file. Edits, deletions and additions there show in
//! the stats; an edit through a hard link damages the object, too, which shows in the same way.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, RenameFlags, renameat_with, statat};

use crate::cache::{self, Cached, Kind};
use crate::scratch::Scratch;
use crate::stat::Stat;
use crate::tree::{Linking, Written};
use crate::trust::Memory;
use crate::walk::Links;
use crate::{ArtifactError, Digest, Entry, EntryKind, FolderDigest, Manifest, Store, fault};

/// What materialising did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Materialized {
    /// The folder was right.
    Unchanged,
    /// The folder was made, or made right.
    Restored {
        /// Files in it.
        files: usize,
        /// Bytes in it.
        bytes: u64,
    },
}

impl Store {
    /// Makes `destination` hold exactly what the manifest with the digest `output` says. Whatever else was
    /// there is removed.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`] if objects are gone or damaged: run the step again. The
    /// destination is then as it was. Links that lead out of the artifact are refused.
    pub fn materialize(
        &self,
        output: &Digest,
        destination: &Path,
    ) -> Result<Materialized, ArtifactError> {
        let destination = self.checked_destination(destination)?;
        if self.is_materialized(output, &destination) {
            return Ok(Materialized::Unchanged);
        }
        let manifest = self.whole(output)?;
        manifest.check_contained()?;
        let passing = |name| fault::point(name).map_err(ArtifactError::writing(&destination));
        passing("materialize: start")?;
        let scratch = self.scratch_beside(&destination)?;
        let tree = scratch.path().join("tree");
        let written = self.build(&manifest, &tree, Linking::Hard)?;
        passing("materialize: linked")?;
        self.remember_tree(&manifest, &tree, written, &destination)?;
        passing("materialize: before swap")?;
        swap(&tree, &destination)?;
        passing("materialize: after swap")?;
        drop(scratch);
        passing("materialize: end")?;
        Ok(Materialized::Restored {
            files: manifest.file_count(),
            bytes: manifest.total_size(),
        })
    }

    /// Whether a folder holds exactly what the manifest with the digest `output` says, by stats where they
    /// can be believed.
    pub fn is_materialized(&self, output: &Digest, destination: &Path) -> bool {
        fs::symlink_metadata(destination).is_ok_and(|metadata| metadata.is_dir())
            && self
                .scan(destination, Links::Keep, |_| false, |_, _| {})
                .is_ok_and(|(there, _)| there.digest == *output)
    }

    /// The absolute destination, whose parent is there and which does not overlap the store.
    fn checked_destination(&self, destination: &Path) -> Result<PathBuf, ArtifactError> {
        let overlaps = || ArtifactError::OverlapsStore {
            destination: destination.to_owned(),
            root: self.root().to_owned(),
        };
        let name = destination.file_name().ok_or_else(overlaps)?;
        let parent = match destination.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(ArtifactError::writing(parent))?;
        let absolute = parent
            .canonicalize()
            .map_err(ArtifactError::reading(parent))?
            .join(name);
        if absolute.starts_with(self.root()) || self.root().starts_with(&absolute) {
            return Err(overlaps());
        }
        Ok(absolute)
    }

    /// A scratch folder from which a rename to the destination is possible: in the store, or, if that
    /// is on another disk, beside the destination.
    fn scratch_beside(&self, destination: &Path) -> Result<Scratch, ArtifactError> {
        let tmp = self.tmp();
        let parent = destination.parent().unwrap_or(&tmp);
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
        if device(parent) == device(&tmp) {
            return Scratch::new(&tmp);
        }
        let beside = parent.join(".fedact-tmp");
        fs::create_dir_all(&beside).map_err(ArtifactError::writing(&beside))?;
        crate::scratch::sweep(&beside)?;
        Scratch::new(&beside)
    }

    /// Saves the stats of the new tree for its later place, and those of the parts, as the change times of
    /// objects moved when they were linked.
    fn remember_tree(
        &self,
        manifest: &Manifest,
        tree: &Path,
        written: Written,
        destination: &Path,
    ) -> Result<(), ArtifactError> {
        let folder = File::open(tree).map_err(ArtifactError::reading(tree))?;
        let mut stats = vec![None; manifest.entries().len()];
        for (entry, stat) in written {
            stats[entry] = Some(stat);
        }
        let cached = manifest
            .entries()
            .par_iter()
            .zip(stats)
            .with_min_len(512)
            .map(|(entry, stat)| {
                cached(entry, stat, folder.as_fd())
                    .map_err(ArtifactError::reading(tree.join(entry.path.as_path())))
            })
            .collect::<Result<_, _>>()?;
        let mut memories = vec![Memory {
            file: cache::cache_file(&self.stats_folder(), destination, Links::Keep),
            cached,
            whole: FolderDigest::of(manifest),
            folder: destination.to_owned(),
            clock: tree.to_owned(),
        }];
        if let Some(parts) = self.stats_of_parts(manifest) {
            memories.push(self.parts_memory(manifest, parts));
        }
        self.remember(memories);
        Ok(())
    }
}

/// What the stat cache of a tree notes of an entry that was made as the manifest says; asks for the stat of a file
/// where it is not given.
fn cached(entry: &Entry, stat: Option<Stat>, tree: BorrowedFd<'_>) -> io::Result<Cached> {
    let path = entry.path.as_bytes();
    let (kind, stat, digest) = match &entry.kind {
        EntryKind::File {
            sha256, executable, ..
        } => {
            let kind = if *executable {
                Kind::Executable
            } else {
                Kind::File
            };
            let stat = match stat {
                Some(stat) => stat,
                None => Stat::of_raw(&statat(tree, path, AtFlags::SYMLINK_NOFOLLOW)?),
            };
            (kind, stat, *sha256)
        }
        EntryKind::Directory => (Kind::Folder, Stat::default(), Digest::NONE),
        EntryKind::Symlink { target } => {
            (Kind::Link, Stat::default(), Digest::of(target.as_bytes()))
        }
    };
    Ok(Cached {
        path: path.to_vec(),
        kind,
        stat,
        digest,
    })
}

/// Puts the tree in the place of whatever is at the destination, which ends up where the tree was.
fn swap(tree: &Path, destination: &Path) -> Result<(), ArtifactError> {
    let failed = |error: io::Error| ArtifactError::writing(destination)(error);
    match fs::symlink_metadata(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return fs::rename(tree, destination).map_err(failed);
        }
        Err(error) => return Err(failed(error)),
        Ok(_) => {}
    }
    if renameat_with(CWD, tree, CWD, destination, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    // A file system that cannot exchange (some network drives): for a moment there is nothing.
    let old = tree.with_extension("old");
    fs::rename(destination, &old)
        .and_then(|()| fs::rename(tree, destination))
        .map_err(failed)
}
