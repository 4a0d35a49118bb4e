//! The folders and links of an artifact made elsewhere, into which its contents come by digest, in any
//! order, and from several threads.
//!
//! Nothing written here is believed for having been written: the way into the store ([`Store::adopt`]) hashes
//! every file again.
//!
//! [`Store::adopt`]: crate::Store::adopt

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::{ArtifactError, Digest, EntryKind, EntryPath, Manifest};

/// The folder of an artifact whose folders and links are there, and whose files come in one by one.
#[derive(Debug)]
pub struct Outline<'a> {
    folder: &'a Path,
    places: BTreeMap<Digest, Places<'a>>,
}

/// Where a content goes.
#[derive(Debug)]
struct Places<'a> {
    size: u64,
    paths: Vec<(&'a EntryPath, bool)>,
}

impl<'a> Outline<'a> {
    /// Makes the folders and links of an artifact in an empty folder.
    ///
    /// # Errors
    /// A link that leaves the artifact; a folder that cannot be written to.
    pub fn new(folder: &'a Path, manifest: &'a Manifest) -> Result<Self, ArtifactError> {
        manifest.check_contained()?;
        let mut places: BTreeMap<Digest, Places<'a>> = BTreeMap::new();
        let mut made: Option<PathBuf> = None;
        for entry in manifest.entries() {
            let path = folder.join(entry.path.as_path());
            let parent = match entry.kind {
                EntryKind::Directory => Some(path.as_path()),
                _ => path.parent(),
            };
            if let Some(parent) = parent
                && made.as_deref() != Some(parent)
            {
                fs::create_dir_all(parent).map_err(ArtifactError::writing(parent))?;
                made = Some(parent.to_owned());
            }
            match &entry.kind {
                EntryKind::Directory => {}
                EntryKind::Symlink { target } => {
                    symlink(target.as_path(), &path).map_err(ArtifactError::writing(&path))?;
                }
                EntryKind::File {
                    size,
                    sha256,
                    executable,
                } => places
                    .entry(*sha256)
                    .or_insert_with(|| Places {
                        size: *size,
                        paths: Vec::new(),
                    })
                    .paths
                    .push((&entry.path, *executable)),
            }
        }
        Ok(Self { folder, places })
    }

    /// The contents that it needs: digest and size, each once, in the order of the digests.
    pub fn contents(&self) -> impl Iterator<Item = (Digest, u64)> {
        self.places
            .iter()
            .map(|(digest, places)| (*digest, places.size))
    }

    /// A new, empty file for a content, which the caller fills; then [`Outline::filled`].
    ///
    /// # Errors
    /// The file cannot be made, or is there already.
    pub fn create(&self, content: &Digest) -> Result<Option<File>, ArtifactError> {
        let Some(path) = self.first(content) else {
            return Ok(None);
        };
        File::create_new(&path)
            .map(Some)
            .map_err(ArtifactError::writing(path))
    }

    /// Says that the file of a content is complete: it comes to the other places that have the same
    /// content, too.
    ///
    /// # Errors
    /// A copy cannot be made.
    pub fn filled(&self, content: &Digest) -> Result<(), ArtifactError> {
        let (Some(first), Some(places)) = (self.first(content), self.places.get(content)) else {
            return Ok(());
        };
        for (index, (path, executable)) in places.paths.iter().enumerate() {
            let path = self.folder.join(path.as_path());
            if index > 0 {
                fs::copy(&first, &path).map_err(ArtifactError::writing(&path))?;
            }
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(&path, Permissions::from_mode(mode))
                .map_err(ArtifactError::writing(&path))?;
        }
        Ok(())
    }

    fn first(&self, content: &Digest) -> Option<PathBuf> {
        let (path, _) = self.places.get(content)?.paths.first()?;
        Some(self.folder.join(path.as_path()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{Entry, LinkTarget};

    #[test]
    fn contents_come_to_all_their_places_with_the_right_permissions() {
        let file = |path: &str, content: &str, executable| Entry {
            path: EntryPath::new(path).unwrap(),
            kind: EntryKind::File {
                size: content.len() as u64,
                sha256: Digest::of(content),
                executable,
            },
        };
        let entry = |path: &str, kind| Entry {
            path: EntryPath::new(path).unwrap(),
            kind,
        };
        let manifest = Manifest::new(vec![
            file("a/one", "same", false),
            file("b/c/two", "same", true),
            file("three", "other", false),
            entry("empty", EntryKind::Directory),
            entry(
                "a/link",
                EntryKind::Symlink {
                    target: LinkTarget::new("../three"),
                },
            ),
        ])
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let outline = Outline::new(folder.path(), &manifest).unwrap();
        let mut sizes: Vec<u64> = outline.contents().map(|(_, size)| size).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [4, 5]);
        for content in ["same", "other"] {
            let mut file = outline.create(&Digest::of(content)).unwrap().unwrap();
            file.write_all(content.as_bytes()).unwrap();
            outline.filled(&Digest::of(content)).unwrap();
        }
        assert!(outline.create(&Digest::of("unknown")).unwrap().is_none());
        let home = tempfile::tempdir().unwrap();
        let store = crate::Store::open(home.path().join("store")).unwrap();
        let there = store.scan_output(folder.path(), |_, _| {}).unwrap();
        assert_eq!(there, manifest);
    }

    #[test]
    fn a_link_that_leaves_the_artifact_is_refused() {
        let manifest = Manifest::new(vec![Entry {
            path: EntryPath::new("link").unwrap(),
            kind: EntryKind::Symlink {
                target: LinkTarget::new("../outside"),
            },
        }])
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            Outline::new(folder.path(), &manifest),
            Err(ArtifactError::EscapingLink { .. })
        ));
    }
}
