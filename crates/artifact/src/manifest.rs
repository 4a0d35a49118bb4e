//! What an artifact holds: a sorted list of entries, and the digest of it.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Hasher;
use crate::{ArtifactError, Digest, EntryPath, LinkTarget};

/// The first bytes of what a manifest's digest is taken of; a new layout gets a new number.
const CANONICAL_HEADER: &[u8] = b"fedact manifest 1\n";

/// One thing in an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is.
    pub path: EntryPath,
    /// What it is.
    #[serde(flatten)]
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EntryKind {
    /// A file.
    File {
        /// Bytes.
        size: u64,
        /// Of its content.
        sha256: Digest,
        /// Whether its owner may execute it. No other permission is kept.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        executable: bool,
    },
    /// A folder with nothing in it; the others follow from the paths.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it points, as written.
        target: LinkTarget,
    },
}

impl EntryKind {
    fn name(&self) -> &'static str {
        match self {
            Self::File { .. } => "a file",
            Self::Directory => "an empty folder",
            Self::Symlink { .. } => "a link",
        }
    }
}

/// The entries of an artifact, sorted by the bytes of their paths, each path once.
///
/// In JSON it is the list of the entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
}

impl Manifest {
    /// Sorts and checks entries.
    ///
    /// # Errors
    /// Two entries with one path, or an entry below something that is not a folder (or that says it
    /// is an empty one).
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, ArtifactError> {
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let conflict = |path: &EntryPath, first: &EntryKind, second: &'static str| {
            Err(ArtifactError::Conflict {
                path: path.to_string(),
                first: first.name(),
                second,
            })
        };
        for pair in entries.windows(2) {
            if pair[0].path == pair[1].path {
                return conflict(&pair[0].path, &pair[0].kind, pair[1].kind.name());
            }
        }
        let by_path: HashMap<&[u8], &Entry> = entries
            .iter()
            .map(|entry| (entry.path.as_bytes(), entry))
            .collect();
        for entry in &entries {
            for parent in entry.path.parents() {
                if let Some(above) = by_path.get(parent) {
                    return conflict(&above.path, &above.kind, "a folder with something in it");
                }
            }
        }
        Ok(Self { entries })
    }

    /// The entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at a path.
    pub fn get(&self, path: &EntryPath) -> Option<&Entry> {
        self.entries
            .binary_search_by(|entry| entry.path.cmp(path))
            .ok()
            .map(|index| &self.entries[index])
    }

    /// The files: path, size, digest.
    pub fn files(&self) -> impl Iterator<Item = (&EntryPath, u64, Digest)> {
        self.entries.iter().filter_map(|entry| match entry.kind {
            EntryKind::File { size, sha256, .. } => Some((&entry.path, size, sha256)),
            _ => None,
        })
    }

    /// How many files.
    pub fn file_count(&self) -> usize {
        self.files().count()
    }

    /// Bytes of all files; identical files count each.
    pub fn total_size(&self) -> u64 {
        self.files().map(|(_, size, _)| size).sum()
    }

    /// SHA-256 of the canonical bytes: a header, then for each entry in order a letter (`f` file, `x`
    /// executable file, `d` empty folder, `l` link), a space, for files the size and the digest with a
    /// space after each, the path, a zero byte, and for links the target and a zero byte.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(CANONICAL_HEADER);
        for entry in &self.entries {
            match &entry.kind {
                EntryKind::File {
                    size,
                    sha256,
                    executable,
                } => {
                    let letter = if *executable { 'x' } else { 'f' };
                    hasher.update(format!("{letter} {size} {sha256} ").as_bytes());
                    hasher.update(entry.path.as_bytes());
                }
                EntryKind::Directory => {
                    hasher.update(b"d ");
                    hasher.update(entry.path.as_bytes());
                }
                EntryKind::Symlink { target } => {
                    hasher.update(b"l ");
                    hasher.update(entry.path.as_bytes());
                    hasher.update(b"\0");
                    hasher.update(target.as_bytes());
                }
            }
            hasher.update(b"\0");
        }
        hasher.finish().0
    }

    /// Refuses links that lead out of the artifact: what is published and materialised must be whole.
    ///
    /// # Errors
    /// The first such link.
    pub fn check_contained(&self) -> Result<(), ArtifactError> {
        for entry in &self.entries {
            if let EntryKind::Symlink { target } = &entry.kind
                && !target.stays_inside(&entry.path)
            {
                return Err(ArtifactError::EscapingLink {
                    path: entry.path.to_string(),
                    target: target.to_string(),
                });
            }
        }
        Ok(())
    }
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::deserialize(deserializer)?;
        Self::new(entries).map_err(serde::de::Error::custom)
    }
}
