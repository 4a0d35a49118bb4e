//! Listing a folder and all below it, with a `stat` of each file and, where a cache knows the file under
//! that stat, its digest.
//!
//! This is what a run with nothing to do spends its time on: one system call a file, on all cores, relative
//! to the open folder, so that the kernel walks no path twice.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::cache::{Kind, StatCache};
use crate::stat::Stat;
use crate::{ArtifactError, Digest, EntryPath, LinkTarget};

/// How many names of one folder a thread takes at a time: a `stat` takes a microsecond or two, not worth a
/// task of its own.
const CHUNK: usize = 256;

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
    /// Whether the cache has just this.
    pub(crate) as_cached: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum FoundKind {
    File {
        stat: Stat,
        executable: bool,
        /// Its digest, if it has not changed since that was taken.
        known: Option<Digest>,
    },
    /// An empty one.
    Folder,
    Link(LinkTarget),
}

/// Lists a folder and all below it, in no particular order; folders only where they are empty.
pub(crate) fn walk(
    root: &Path,
    links: Links,
    cache: &StatCache,
) -> Result<Vec<Found>, ArtifactError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open =
        rustix::fs::openat(CWD, root, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOTDIR => ArtifactError::NotAFolder {
                path: root.to_owned(),
            },
            other => ArtifactError::reading(root)(other.into()),
        })?;
    let walk = Walk {
        root,
        open,
        links,
        cache,
    };
    walk.folder(b"", &[])
}

struct Walk<'a> {
    root: &'a Path,
    open: OwnedFd,
    links: Links,
    cache: &'a StatCache,
}

/// What the names of a folder turned out to be.
#[derive(Default)]
struct Listed {
    found: Vec<Found>,
    /// Folders, as paths from the root.
    folders: Vec<Vec<u8>>,
}

impl Walk<'_> {
    fn full(&self, inner: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(inner))
    }

    fn reading(&self, inner: &[u8]) -> impl FnOnce(Errno) -> ArtifactError {
        let path = self.full(inner);
        |error| ArtifactError::reading(path)(error.into())
    }

    /// `above` holds device and inode of the folders around this one, to notice circles of links.
    fn folder(&self, inner: &[u8], above: &[(u64, u64)]) -> Result<Vec<Found>, ArtifactError> {
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if self.links == Links::Keep {
            flags |= OFlags::NOFOLLOW;
        }
        let name = if inner.is_empty() {
            b".".as_slice()
        } else {
            inner
        };
        let folder = rustix::fs::openat(&self.open, name, flags, Mode::empty())
            .and_then(Dir::new)
            .map_err(self.reading(inner))?;
        let mut around = above.to_vec();
        if self.links == Links::Follow {
            let stat = folder.stat().map_err(self.reading(inner))?;
            around.push(identity(&stat));
        }
        let listed = self.list(folder, inner, &around)?;
        // The folder is closed by now: however deep the tree, few folders are open at a time.
        let below: Vec<Vec<Found>> = listed
            .folders
            .par_iter()
            .map(|folder| {
                let mut inside = self.folder(folder, &around)?;
                if inside.is_empty() {
                    inside.push(self.found(folder, FoundKind::Folder));
                }
                Ok(inside)
            })
            .collect::<Result<_, ArtifactError>>()?;
        let mut found = listed.found;
        found.extend(below.into_iter().flatten());
        Ok(found)
    }

    fn list(
        &self,
        mut folder: Dir,
        inner: &[u8],
        around: &[(u64, u64)],
    ) -> Result<Listed, ArtifactError> {
        let mut names: Vec<(CString, FileType)> = Vec::new();
        while let Some(entry) = folder.read() {
            let entry = entry.map_err(self.reading(inner))?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push((name.to_owned(), entry.file_type()));
            }
        }
        let open = folder.fd().map_err(self.reading(inner))?;
        let list = |names: &[(CString, FileType)]| {
            let mut listed = Listed::default();
            for (name, kind) in names {
                self.child(open, inner, name, *kind, around, &mut listed)?;
            }
            Ok(listed)
        };
        if names.len() <= CHUNK {
            return list(&names);
        }
        let parts: Vec<Listed> = names
            .par_chunks(CHUNK)
            .map(list)
            .collect::<Result<_, ArtifactError>>()?;
        let mut all = Listed::default();
        for part in parts {
            all.found.extend(part.found);
            all.folders.extend(part.folders);
        }
        Ok(all)
    }

    fn child(
        &self,
        folder: BorrowedFd<'_>,
        inner: &[u8],
        name: &CStr,
        kind: FileType,
        around: &[(u64, u64)],
        listed: &mut Listed,
    ) -> Result<(), ArtifactError> {
        let mut path = Vec::with_capacity(inner.len() + 1 + name.to_bytes().len());
        path.extend_from_slice(inner);
        if !inner.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        if kind == FileType::Directory {
            listed.folders.push(path);
            return Ok(());
        }
        let mut stat = rustix::fs::statat(folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.reading(&path))?;
        if file_type(&stat) == FileType::Symlink {
            let behind = match self.links {
                Links::Keep => None,
                Links::Follow => match rustix::fs::statat(folder.as_fd(), name, AtFlags::empty()) {
                    Ok(behind) => Some(behind),
                    Err(Errno::ACCESS) => return Err(self.reading(&path)(Errno::ACCESS)),
                    Err(_) => None,
                },
            };
            match behind {
                Some(behind)
                    if file_type(&behind) != FileType::Directory
                        || !around.contains(&identity(&behind)) =>
                {
                    stat = behind;
                }
                _ => {
                    let target = rustix::fs::readlinkat(folder, name, Vec::new())
                        .map_err(self.reading(&path))?;
                    let link = FoundKind::Link(LinkTarget::from_bytes(target.to_bytes()));
                    listed.found.push(self.found(&path, link));
                    return Ok(());
                }
            }
        }
        match file_type(&stat) {
            FileType::Directory => listed.folders.push(path),
            FileType::RegularFile => {
                let kind = FoundKind::File {
                    stat: Stat::of_raw(&stat),
                    executable: stat.st_mode & 0o100 != 0,
                    known: None,
                };
                listed.found.push(self.found(&path, kind));
            }
            _ => {
                return Err(ArtifactError::SpecialFile {
                    path: self.full(&path),
                });
            }
        }
        Ok(())
    }

    /// Compares with the cache.
    fn found(&self, path: &[u8], mut kind: FoundKind) -> Found {
        let remembered = self.cache.get(path);
        let as_cached = remembered.is_some_and(|remembered| match &mut kind {
            FoundKind::File {
                stat,
                executable,
                known,
            } => {
                let file = matches!(remembered.kind, Kind::File | Kind::Executable);
                if !file || remembered.stat != *stat {
                    return false;
                }
                *known = Some(remembered.digest);
                (remembered.kind == Kind::Executable) == *executable
            }
            FoundKind::Folder => remembered.kind == Kind::Folder,
            FoundKind::Link(target) => {
                remembered.kind == Kind::Link && remembered.digest == Digest::of(target.as_bytes())
            }
        });
        Found {
            path: EntryPath::of_listed(path.to_vec()),
            kind,
            as_cached,
        }
    }
}

fn file_type(stat: &rustix::fs::Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[allow(clippy::unnecessary_cast, reason = "not unnecessary everywhere")]
fn identity(stat: &rustix::fs::Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}
