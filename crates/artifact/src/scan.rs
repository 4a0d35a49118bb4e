//! From a folder on disk to a manifest.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rayon::prelude::*;

use crate::stat::{Cached, Stat, StatCache};
use crate::{ArtifactError, Digest, Entry, EntryKind, EntryPath, LinkTarget, Manifest};

/// How often progress is told while files are hashed.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What to do with symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are part of the artifact: outputs.
    Keep,
    /// They are read through, as a stage that opens the files would: folders of the user's. A link
    /// that leads nowhere, or to a folder that it lies in, is kept.
    Follow,
}

/// Something found in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) path: EntryPath,
    pub(crate) kind: FoundKind,
}

#[derive(Debug, Clone)]
pub(crate) enum FoundKind {
    File { stat: Stat, executable: bool },
    Directory,
    Symlink(LinkTarget),
}

/// Lists a folder and all below it, in no particular order; folders only where they are empty.
pub(crate) fn walk(root: &Path, links: Links) -> Result<Vec<Found>, ArtifactError> {
    let metadata = fs::metadata(root).map_err(ArtifactError::reading(root))?;
    if !metadata.is_dir() {
        return Err(ArtifactError::NotAFolder {
            path: root.to_owned(),
        });
    }
    let above = [(metadata.dev(), metadata.ino())];
    walk_folder(root, Path::new(""), links, &above)
}

/// `above` holds device and inode of the folders around and including this one, to notice circles.
fn walk_folder(
    root: &Path,
    inner: &Path,
    links: Links,
    above: &[(u64, u64)],
) -> Result<Vec<Found>, ArtifactError> {
    let folder = root.join(inner);
    let children: Vec<fs::DirEntry> = fs::read_dir(&folder)
        .and_then(Iterator::collect)
        .map_err(ArtifactError::reading(&folder))?;
    let found: Vec<Vec<Found>> = children
        .par_iter()
        // Asking for one file's stat takes a microsecond or two: not worth a task of its own.
        .with_min_len(64)
        .map(|child| {
            let path = inner.join(child.file_name());
            let metadata = child
                .metadata()
                .map_err(ArtifactError::reading(root.join(&path)))?;
            walk_child(root, &path, metadata, links, above)
        })
        .collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn walk_child(
    root: &Path,
    path: &Path,
    metadata: Metadata,
    links: Links,
    above: &[(u64, u64)],
) -> Result<Vec<Found>, ArtifactError> {
    let full = || root.join(path);
    let one = |kind| {
        Ok(vec![Found {
            path: EntryPath::new(path)?,
            kind,
        }])
    };
    if metadata.is_symlink() {
        let target = fs::read_link(full()).map_err(ArtifactError::reading(full()))?;
        let link = FoundKind::Symlink(LinkTarget::new(target));
        if links == Links::Keep {
            return one(link);
        }
        return match fs::metadata(full()) {
            Ok(behind) if behind.is_dir() && above.contains(&(behind.dev(), behind.ino())) => {
                one(link)
            }
            Ok(behind) => walk_child(root, path, behind, links, above),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(ArtifactError::reading(full())(error))
            }
            Err(_) => one(link),
        };
    }
    if metadata.is_dir() {
        let mut above = above.to_vec();
        above.push((metadata.dev(), metadata.ino()));
        let inside = walk_folder(root, path, links, &above)?;
        return if inside.is_empty() {
            one(FoundKind::Directory)
        } else {
            Ok(inside)
        };
    }
    let kind = metadata.file_type();
    if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
        return Err(ArtifactError::SpecialFile { path: full() });
    }
    one(FoundKind::File {
        stat: Stat::of(&metadata),
        executable: metadata.mode() & 0o100 != 0,
    })
}

/// A manifest with what a later scan can save itself.
pub(crate) struct Scanned {
    pub(crate) manifest: Manifest,
    /// The files with the stats under which their digests were found.
    pub(crate) files: Vec<Cached>,
    /// How many files had to be read.
    pub(crate) read: usize,
}

/// Takes the digests of what was found, reading only the files that the cache does not know.
/// `progress` hears of bytes read and bytes to read, from the calling thread.
pub(crate) fn digest(
    root: &Path,
    found: Vec<Found>,
    cache: &StatCache,
    mut progress: impl FnMut(u64, u64),
) -> Result<Scanned, ArtifactError> {
    let mut entries = Vec::with_capacity(found.len());
    let mut files = Vec::with_capacity(found.len());
    let mut unknown: Vec<(EntryPath, Stat, bool)> = Vec::new();
    for Found { path, kind } in found {
        match kind {
            FoundKind::Directory => entries.push(Entry {
                path,
                kind: EntryKind::Directory,
            }),
            FoundKind::Symlink(target) => entries.push(Entry {
                path,
                kind: EntryKind::Symlink { target },
            }),
            FoundKind::File { stat, executable } => {
                let Some(sha256) = cache.get(path.as_bytes(), &stat) else {
                    unknown.push((path, stat, executable));
                    continue;
                };
                files.push(Cached {
                    path: path.as_bytes().to_vec(),
                    stat,
                    digest: sha256,
                });
                entries.push(file_entry(path, &stat, sha256, executable));
            }
        }
    }
    let read = unknown.len();
    for ((path, _, executable), (stat, sha256)) in hash_all(root, &unknown, &mut progress)?
        .into_iter()
        .map(|(index, hashed)| (unknown[index].clone(), hashed))
    {
        files.push(Cached {
            path: path.as_bytes().to_vec(),
            stat,
            digest: sha256,
        });
        entries.push(file_entry(path, &stat, sha256, executable));
    }
    Ok(Scanned {
        manifest: Manifest::new(entries)?,
        files,
        read,
    })
}

fn file_entry(path: EntryPath, stat: &Stat, sha256: Digest, executable: bool) -> Entry {
    Entry {
        path,
        kind: EntryKind::File {
            size: stat.size,
            sha256,
            executable,
        },
    }
}

type Hashed = (usize, (Stat, Digest));

/// Hashes in parallel, while this thread tells how far that is.
fn hash_all(
    root: &Path,
    unknown: &[(EntryPath, Stat, bool)],
    progress: &mut impl FnMut(u64, u64),
) -> Result<Vec<Hashed>, ArtifactError> {
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let total = unknown.iter().map(|(_, stat, _)| stat.size).sum();
    let done = AtomicU64::new(0);
    progress(0, total);
    let hashed = while_telling(
        || {
            unknown
                .par_iter()
                .enumerate()
                .map(|(index, (path, stat, _))| {
                    let full = root.join(path.as_path());
                    let hashed = hash_file(&full, stat, |bytes| {
                        done.fetch_add(bytes, Ordering::Relaxed);
                    })?;
                    Ok((index, hashed))
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
