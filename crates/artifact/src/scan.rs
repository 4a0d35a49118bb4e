//! From a folder on disk to a manifest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rayon::prelude::*;

use crate::cache::{Cached, Kind};
use crate::stat::Stat;
use crate::walk::{Found, FoundKind};
use crate::{ArtifactError, Digest, Entry, EntryKind, EntryPath, Manifest};

/// How often progress is told while files are hashed.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// A manifest with what a later scan can save itself.
pub(crate) struct Scanned {
    pub(crate) manifest: Manifest,
    /// Its entries with the stats under which their digests were found.
    pub(crate) cached: Vec<Cached>,
}

/// Takes the digests of what was found, reading only the files whose digests are not known.
/// `progress` hears of bytes read and bytes to read, from the calling thread.
pub(crate) fn digest(
    root: &Path,
    found: Vec<Found>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Scanned, ArtifactError> {
    let mut entries = Vec::with_capacity(found.len());
    let mut cached = Vec::with_capacity(found.len());
    let mut unknown: Vec<Unknown> = Vec::new();
    let mut note = |entry: Entry, kind: Kind, stat: Stat, digest: Digest| {
        cached.push(Cached {
            path: entry.path.as_bytes().to_vec(),
            kind,
            stat,
            digest,
        });
        entries.push(entry);
    };
    for Found { path, kind, .. } in found {
        match kind {
            FoundKind::Folder => {
                let kind = EntryKind::Directory;
                note(
                    Entry { path, kind },
                    Kind::Folder,
                    Stat::default(),
                    Digest::NONE,
                );
            }
            FoundKind::Link(target) => {
                let digest = Digest::of(target.as_bytes());
                let kind = EntryKind::Symlink { target };
                note(Entry { path, kind }, Kind::Link, Stat::default(), digest);
            }
            FoundKind::File {
                stat,
                executable,
                known,
            } => match known {
                Some(sha256) => {
                    let (entry, kind) = file_entry(path, &stat, sha256, executable);
                    note(entry, kind, stat, sha256);
                }
                None => unknown.push(Unknown {
                    path,
                    stat,
                    executable,
                }),
            },
        }
    }
    // Large ones first: a large one that comes last would keep one core busy and the others waiting.
    unknown.sort_unstable_by_key(|file| std::cmp::Reverse(file.stat.size));
    let hashed = hash_all(root, &unknown, &mut progress)?;
    for (file, (stat, sha256)) in unknown.into_iter().zip(hashed) {
        let (entry, kind) = file_entry(file.path, &stat, sha256, file.executable);
        note(entry, kind, stat, sha256);
    }
    Ok(Scanned {
        manifest: Manifest::new(entries)?,
        cached,
    })
}

/// A file that has to be read.
struct Unknown {
    path: EntryPath,
    stat: Stat,
    executable: bool,
}

fn file_entry(path: EntryPath, stat: &Stat, sha256: Digest, executable: bool) -> (Entry, Kind) {
    let kind = EntryKind::File {
        size: stat.size,
        sha256,
        executable,
    };
    let cached = if executable {
        Kind::Executable
    } else {
        Kind::File
    };
    (Entry { path, kind }, cached)
}

/// Hashes in parallel, while this thread tells how far that is.
fn hash_all(
    root: &Path,
    unknown: &[Unknown],
    progress: &mut impl FnMut(u64, u64),
) -> Result<Vec<(Stat, Digest)>, ArtifactError> {
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let total = unknown.iter().map(|file| file.stat.size).sum();
    let done = AtomicU64::new(0);
    progress(0, total);
    let hashed = while_telling(
        || {
            unknown
                .par_iter()
                .map(|file| {
                    let full = root.join(file.path.as_path());
                    hash_file(&full, &file.stat, |bytes| {
                        done.fetch_add(bytes, Ordering::Relaxed);
                    })
                })
                .collect::<Result<Vec<_>, _>>()
        },
        || progress(done.load(Ordering::Relaxed), total),
    )?;
    progress(total, total);
    Ok(hashed)
}

/// Runs `work` on another thread and calls `tell` on this one every now and then until it ends.
pub(crate) fn while_telling<T: Send>(work: impl FnOnce() -> T + Send, mut tell: impl FnMut()) -> T {
    std::thread::scope(|scope| {
        let (finished, ended) = std::sync::mpsc::channel::<()>();
        let worker = scope.spawn(move || {
            let result = work();
            drop(finished);
            result
        });
        while ended.recv_timeout(PROGRESS_INTERVAL)
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            tell();
        }
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Hashes one file, and makes sure that it was the same from the listing to the end of the reading.
fn hash_file(
    path: &PathBuf,
    listed: &Stat,
    advance: impl FnMut(u64),
) -> Result<(Stat, Digest), ArtifactError> {
    let file = File::open(path).map_err(ArtifactError::reading(path))?;
    let (digest, length) = Digest::of_file(&file, advance).map_err(ArtifactError::reading(path))?;
    let stat = file
        .metadata()
        .map(|metadata| Stat::of(&metadata))
        .map_err(ArtifactError::reading(path))?;
    // The change time moves when a link to the file is made elsewhere; content is what counts here.
    let same_content = stat.size == listed.size
        && stat.size == length
        && stat.modified_ns == listed.modified_ns
        && stat.inode == listed.inode;
    if !same_content {
        return Err(ArtifactError::ChangedWhileRead { path: path.clone() });
    }
    Ok((stat, digest))
}
