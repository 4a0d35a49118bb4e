//! Digests of the files of one folder by path and stat: what saves reading them again.
//!
//! The file is a header, records of one width sorted by path, the paths, the folder's own path, and a checksum. It is used as it
//! lies in memory: loading ten thousand records is one read and one SHA-256, and allocates nothing per file.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::canonical::take;
use crate::stat::Stat;
use crate::walk::Links;
use crate::{Digest, FolderDigest};

const MAGIC: &[u8; 24] = b"fedact stat cache 2    \n";
/// Magic, whether it is complete, digest, files and bytes of the whole, length of the folder's path, number of
/// records.
const HEADER: usize = MAGIC.len() + 8 + 32 + 8 + 8 + 8 + 8;
/// Offset and length of the path, stat, digest, kind.
const RECORD: usize = 4 + 4 + 32 + 32 + 8;
const CHECKSUM: usize = 32;

/// What a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    File,
    Executable,
    /// An empty folder: no stat, no digest.
    Folder,
    /// A link: no stat, the digest of its target.
    Link,
}

impl Kind {
    const ALL: [Self; 4] = [Self::File, Self::Executable, Self::Folder, Self::Link];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) stat: Stat,
    pub(crate) digest: Digest,
}

/// What a record says, its path aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) kind: Kind,
    pub(crate) stat: Stat,
    pub(crate) digest: Digest,
}

/// The digests of one folder, or of the parts of one artifact.
#[derive(Debug, Default)]
pub(crate) struct StatCache {
    /// The file's content, whose checksum and lengths are right; or nothing.
    bytes: Vec<u8>,
    count: usize,
    /// Length of the folder's path.
    folder: usize,
    /// What all of it is, if every entry is there.
    whole: Option<FolderDigest>,
}

impl StatCache {
    /// Keeps the entries whose stats are such that a later change is certain to show in them (see
    /// [`crate::stat`]); the cache is complete if that is all of them.
    pub(crate) fn new(
        mut entries: Vec<Cached>,
        whole: FolderDigest,
        settled: impl Fn(&Stat) -> bool,
        folder: &Path,
    ) -> Self {
        let folder = folder.as_os_str().as_bytes();
        let all = entries.len();
        entries.retain(|entry| {
            matches!(entry.kind, Kind::Folder | Kind::Link) || settled(&entry.stat)
        });
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let complete = entries.len() == all;
        let names: usize = entries.iter().map(|entry| entry.path.len()).sum();
        let mut bytes = Vec::with_capacity(HEADER + entries.len() * RECORD + names + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&u64::from(complete).to_le_bytes());
        bytes.extend_from_slice(whole.digest.as_bytes());
        bytes.extend_from_slice(&whole.files.to_le_bytes());
        bytes.extend_from_slice(&whole.bytes.to_le_bytes());
        bytes.extend_from_slice(&(folder.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&(entries.len() as u64).to_le_bytes());
        let mut offset = 0u32;
        for entry in &entries {
            let length = entry.path.len() as u32;
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.size.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.modified_ns.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.changed_ns.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.inode.to_le_bytes());
            bytes.extend_from_slice(entry.digest.as_bytes());
            bytes.extend_from_slice(&(entry.kind as u64).to_le_bytes());
            offset += length;
        }
        for entry in &entries {
            bytes.extend_from_slice(&entry.path);
        }
        bytes.extend_from_slice(folder);
        let checksum = Digest::of(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        Self {
            bytes,
            count: entries.len(),
            folder: folder.len(),
            whole: complete.then_some(whole),
        }
    }

    /// What a file holds; one that is missing, damaged or of another version holds nothing.
    pub(crate) fn load(file: &Path) -> Self {
        std::fs::read(file)
            .ok()
            .and_then(Self::from_bytes)
            .unwrap_or_default()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        if Digest::of(body).as_bytes() != checksum {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC.as_slice())?;
        let complete = u64::from_le_bytes(take(&mut rest)?) == 1;
        let whole = FolderDigest {
            digest: Digest::from_bytes(take(&mut rest)?),
            files: u64::from_le_bytes(take(&mut rest)?),
            bytes: u64::from_le_bytes(take(&mut rest)?),
        };
        let folder = usize::try_from(u64::from_le_bytes(take(&mut rest)?)).ok()?;
        let count = usize::try_from(u64::from_le_bytes(take(&mut rest)?)).ok()?;
        let (_, names) = rest.split_at_checked(count.checked_mul(RECORD)?)?;
        names.len().checked_sub(folder)?;
        Some(Self {
            bytes,
            count,
            folder,
            whole: complete.then_some(whole),
        })
    }

    /// Replaces the file. Returns whether that worked: who cannot keep a cache goes on without one.
    pub(crate) fn save(&self, file: &Path, scratch: &Path) -> bool {
        let write = || -> std::io::Result<()> {
            let mut temporary = tempfile::NamedTempFile::new_in(scratch)?;
            temporary.write_all(&self.bytes)?;
            temporary.persist(file)?;
            Ok(())
        };
        write().is_ok()
    }

    /// How many records it has.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// What all of it is, if no entry is left out.
    pub(crate) fn whole(&self) -> Option<FolderDigest> {
        self.whole
    }

    /// The folder that it is of.
    pub(crate) fn folder(&self) -> &Path {
        let end = self.bytes.len().saturating_sub(CHECKSUM);
        let path = self.bytes.get(end.saturating_sub(self.folder)..end);
        Path::new(OsStr::from_bytes(path.unwrap_or_default()))
    }

    fn record(&self, index: usize) -> &[u8] {
        let begin = HEADER + index * RECORD;
        &self.bytes[begin..begin + RECORD]
    }

    /// The path of a record; nothing for a number out of range.
    pub(crate) fn path(&self, index: usize) -> &[u8] {
        let mut record = self.record(index);
        let mut number = || take(&mut record).map_or(0, u32::from_le_bytes) as usize;
        let (offset, length) = (number(), number());
        let names = &self.bytes[HEADER + self.count * RECORD..];
        names
            .get(offset..offset.saturating_add(length))
            .unwrap_or_default()
    }

    /// What a record says.
    pub(crate) fn remembered(&self, index: usize) -> Option<Remembered> {
        let mut record = self.record(index).get(8..)?;
        Some(Remembered {
            stat: Stat {
                size: u64::from_le_bytes(take(&mut record)?),
                modified_ns: i64::from_le_bytes(take(&mut record)?),
                changed_ns: i64::from_le_bytes(take(&mut record)?),
                inode: u64::from_le_bytes(take(&mut record)?),
            },
            digest: Digest::from_bytes(take(&mut record)?),
            kind: Kind::of(record[0])?,
        })
    }

    /// The record of a path.
    pub(crate) fn get(&self, path: &[u8]) -> Option<Remembered> {
        let mut from = 0;
        let mut to = self.count;
        while from < to {
            let middle = from.midpoint(to);
            match self.path(middle).cmp(path) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
                std::cmp::Ordering::Equal => return self.remembered(middle),
            }
        }
        None
    }

    /// The digest of a file that has not changed.
    pub(crate) fn digest_of(&self, path: &[u8], stat: &Stat) -> Option<Digest> {
        let remembered = self.get(path)?;
        let file = matches!(remembered.kind, Kind::File | Kind::Executable);
        (file && remembered.stat == *stat).then_some(remembered.digest)
    }
}

/// Where the cache of a folder lies: named after the folder's real path.
pub(crate) fn cache_file(caches: &Path, folder: &Path, links: Links) -> PathBuf {
    let kind = match links {
        Links::Keep => "step",
        Links::Follow => "folder",
    };
    let name = Digest::of(folder.as_os_str().as_bytes());
    caches.join(format!("{kind}-{name}"))
}
