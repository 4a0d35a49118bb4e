//! What the file system tells of a file without reading it, and a cache of digests under it.
//!
//! A cached digest is believed while path, size, modification time, change time and inode are all as
//! they were, and (git's racy rule) only if both times lay well before the moment at which the file
//! was read: a file changed twice within one tick of the clock looks the same the second time.

use std::fs::Metadata;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Digest;
use crate::canonical::take;

const HEADER: &[u8; 20] = b"fedact stat cache 1\n";

/// Longer than a tick of any file system with sub-second times (Linux: 1 to 10 ms).
pub(crate) const FINE_TICK_NS: i64 = 25_000_000;
/// Of file systems that keep whole seconds; FAT keeps every second one.
const COARSE_TICK_NS: i64 = 2_000_000_000;

/// What must be as it was for a cached digest to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    pub(crate) modified_ns: i64,
    pub(crate) changed_ns: i64,
    pub(crate) inode: u64,
}

impl Stat {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000) + rest;
        Self {
            size: metadata.size(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// The moment from which on a change of the file is certain to show.
    pub(crate) fn settled_ns(&self) -> i64 {
        let whole_seconds =
            self.modified_ns % 1_000_000_000 == 0 && self.changed_ns % 1_000_000_000 == 0;
        let tick = if whole_seconds {
            COARSE_TICK_NS
        } else {
            FINE_TICK_NS
        };
        self.modified_ns.max(self.changed_ns).saturating_add(tick)
    }
}

/// Digests of the files of one folder, by path and stat.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StatCache {
    /// Sorted by path.
    entries: Vec<Cached>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) path: Vec<u8>,
    pub(crate) stat: Stat,
    pub(crate) digest: Digest,
}

impl StatCache {
    /// Keeps the entries that can be believed, given that every file was read at or after `read_ns`.
    pub(crate) fn new(mut entries: Vec<Cached>, read_ns: i64) -> Self {
        entries.retain(|entry| entry.stat.settled_ns() < read_ns);
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Self { entries }
    }

    /// The digest of a file that has not changed.
    pub(crate) fn get(&self, path: &[u8], stat: &Stat) -> Option<Digest> {
        let index = self
            .entries
            .binary_search_by(|entry| entry.path.as_slice().cmp(path))
            .ok()?;
        let entry = &self.entries[index];
        (entry.stat == *stat).then_some(entry.digest)
    }

    /// What a file holds; one that is missing, damaged or of another version holds nothing.
    pub(crate) fn load(file: &Path) -> Self {
        std::fs::read(file)
            .ok()
            .and_then(|bytes| Self::from_bytes(&bytes))
            .unwrap_or_default()
    }

    /// Replaces the file. Returns whether that worked: who cannot keep a cache goes on without one.
    pub(crate) fn save(&self, file: &Path, scratch: &Path) -> bool {
        let write = || -> std::io::Result<()> {
            let mut temporary = tempfile::NamedTempFile::new_in(scratch)?;
            temporary.write_all(&self.to_bytes())?;
            temporary.persist(file)?;
            Ok(())
        };
        write().is_ok()
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for entry in &self.entries {
            bytes.extend_from_slice(&(entry.path.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&entry.path);
            bytes.extend_from_slice(&entry.stat.size.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.modified_ns.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.changed_ns.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.inode.to_le_bytes());
            bytes.extend_from_slice(entry.digest.as_bytes());
        }
        let checksum = Digest::of(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if Digest::of(body).as_bytes() != checksum {
            return None;
        }
        let mut rest = body.strip_prefix(HEADER.as_slice())?;
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(take(&mut rest)?) as usize;
            let path;
            (path, rest) = rest.split_at_checked(length)?;
            let stat = Stat {
                size: u64::from_le_bytes(take(&mut rest)?),
                modified_ns: i64::from_le_bytes(take(&mut rest)?),
                changed_ns: i64::from_le_bytes(take(&mut rest)?),
                inode: u64::from_le_bytes(take(&mut rest)?),
            };
            entries.push(Cached {
                path: path.to_vec(),
                stat,
                digest: Digest::from_bytes(take(&mut rest)?),
            });
        }
        Some(Self { entries })
    }
}

/// The present moment on the clock of the file system that holds `folder`, which need not be this
/// machine's (network drives): the modification time of a file made just now.
pub(crate) fn file_system_now_ns(folder: &Path) -> std::io::Result<i64> {
    let file = tempfile::tempfile_in(folder)?;
    Ok(Stat::of(&file.metadata()?).modified_ns)
}

/// Where the cache of a folder lies: named after the folder's real path.
pub(crate) fn cache_file(caches: &Path, folder: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    caches.join(Digest::of(folder.as_os_str().as_bytes()).to_string())
}
