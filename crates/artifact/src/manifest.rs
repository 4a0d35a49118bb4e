//! What an artifact holds: a sorted list of entries, and the digest of it.

use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{ArtifactError, Digest, EntryPath, LinkTarget};

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
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    entries: Vec<Entry>,
    /// Asked for at every turn, and never different: taken once.
    digest: OnceLock<Digest>,
}

impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Manifest {}

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
        // Neighbours mostly lie in one folder: its parents are looked up once.
        let mut checked: &[u8] = &[];
        for entry in &entries {
            for parent in entry.path.parents() {
                if checked.starts_with(parent)
                    && checked.get(parent.len()).is_none_or(|b| *b == b'/')
                {
                    continue;
                }
                checked = parent;
                if let Ok(above) =
                    entries.binary_search_by(|other| other.path.as_bytes().cmp(parent))
                {
                    let above = &entries[above];
                    return conflict(&above.path, &above.kind, "a folder with something in it");
                }
            }
        }
        Ok(Self {
            entries,
            digest: OnceLock::new(),
        })
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
        // Sizes may come from elsewhere, and claim anything.
        self.files()
            .fold(0, |sum, (_, size, _)| sum.saturating_add(size))
    }

    /// SHA-256 of the canonical bytes ([`Manifest::to_bytes`]).
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| Digest::of(self.to_bytes()))
    }

    /// Notes a digest that is known already.
    pub(crate) fn set_digest(&self, digest: Digest) {
        let _ = self.digest.set(digest);
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

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::*;

    fn path() -> impl Strategy<Value = EntryPath> {
        let name = prop_oneof![
            "[a-c]{1,2}",
            "[ \\n\"'\\\\%*ü世-]{1,4}",
            Just("...".to_owned()),
        ]
        .prop_map(String::into_bytes);
        let latin = proptest::collection::vec(0x80u8..=0xff, 1..3);
        let name = prop_oneof![4 => name, 1 => latin];
        proptest::collection::vec(name, 1..4).prop_map(|names| {
            let bytes = names.join(&b'/');
            EntryPath::new(std::ffi::OsString::from_vec(bytes)).unwrap()
        })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let file = (any::<u64>(), any::<[u8; 32]>(), any::<bool>()).prop_map(
            |(size, bytes, executable)| EntryKind::File {
                size,
                sha256: Digest::from_bytes(bytes),
                executable,
            },
        );
        let link = "[a-z./]{1,8}".prop_map(|target| EntryKind::Symlink {
            target: LinkTarget::new(target),
        });
        let kind = prop_oneof![3 => file, 1 => link, 1 => Just(EntryKind::Directory)];
        (path(), kind).prop_map(|(path, kind)| Entry { path, kind })
    }

    /// Entries, of which those that do not go together with earlier ones are left out.
    pub(crate) fn entries() -> impl Strategy<Value = Vec<Entry>> {
        proptest::collection::vec(entry(), 0..12).prop_map(|entries| {
            let mut together: Vec<Entry> = Vec::new();
            for entry in entries {
                together.push(entry);
                if Manifest::new(together.clone()).is_err() {
                    together.pop();
                }
            }
            together
        })
    }

    proptest! {
        #[test]
        fn the_order_of_entries_does_not_matter(
            (entries, shuffled) in entries().prop_flat_map(|entries| {
                (Just(entries.clone()), Just(entries).prop_shuffle())
            })
        ) {
            let one = Manifest::new(entries).unwrap();
            let other = Manifest::new(shuffled).unwrap();
            prop_assert_eq!(one.digest(), other.digest());
            prop_assert_eq!(one, other);
        }

        #[test]
        fn a_manifest_survives_json(entries in entries()) {
            let manifest = Manifest::new(entries).unwrap();
            let json = serde_json::to_string(&manifest).unwrap();
            let back: Manifest = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back.digest(), manifest.digest());
            prop_assert_eq!(back, manifest);
        }

        #[test]
        fn different_manifests_have_different_digests(one in entries(), other in entries()) {
            let (one, other) = (Manifest::new(one).unwrap(), Manifest::new(other).unwrap());
            prop_assert_eq!(one == other, one.digest() == other.digest());
        }

        #[test]
        fn every_entry_is_found_by_its_path(entries in entries()) {
            let manifest = Manifest::new(entries.clone()).unwrap();
            prop_assert_eq!(manifest.entries().len(), entries.len());
            for entry in &entries {
                prop_assert_eq!(manifest.get(&entry.path), Some(entry));
            }
        }
    }

    pub(crate) fn file(path: &str, content: &str, executable: bool) -> Entry {
        Entry {
            path: EntryPath::new(path).unwrap(),
            kind: EntryKind::File {
                size: content.len() as u64,
                sha256: Digest::of(content),
                executable,
            },
        }
    }

    #[test]
    fn entries_that_cannot_both_be_there_are_refused() {
        let refused = |entries: Vec<Entry>| Manifest::new(entries).unwrap_err().to_string();
        assert!(refused(vec![file("a", "1", false), file("a", "2", false)]).contains("`a`"));
        assert!(refused(vec![file("a", "1", false), file("a/b", "2", false)]).contains("`a`"));
        // `a-b` sorts between `a` and `a/b`.
        let three = vec![
            file("a", "1", false),
            file("a-b", "1", false),
            file("a/b", "2", false),
        ];
        assert!(refused(three).contains("`a`"));
    }

    #[test]
    fn contents_that_count_change_the_digest() {
        let digest = |entry| Manifest::new(vec![entry]).unwrap().digest();
        let plain = digest(file("a", "x", false));
        assert_ne!(plain, digest(file("a", "x", true)));
        assert_ne!(plain, digest(file("a", "y", false)));
        assert_ne!(plain, digest(file("b", "x", false)));
    }
}
