//! Everything that can go wrong with the store, in words that name the file and the way out.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Damage, Digest, STORE_VERSION};

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder could not be written, for a reason that has no variant of its own.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk (or the user's quota on it) is full.
    #[error(
        "no space left on the disk that holds {}: free some with `fedact gc` (it lists what it would remove with --dry-run) or delete other files there; nothing that was finished is lost",
        folder.display()
    )]
    DiskFull {
        /// The folder on the full disk.
        folder: PathBuf,
    },
    /// The store (or the place of what is materialised from it) may not be written to.
    #[error(
        "{} is not writable ({source}): mount it writable, change its owner (`sudo chown -R \"$USER\" {}`), or choose another artifacts folder",
        path.display(), path.display()
    )]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store was made by a version of fedact that writes it differently.
    #[error(
        "the store {} has format version {found}, but this fedact reads and writes version {STORE_VERSION}: use the fedact that made it, or move the folder away and run again",
        root.display()
    )]
    OtherVersion {
        /// The store.
        root: PathBuf,
        /// What its version file says.
        found: String,
    },
    /// A folder that holds other things was given as the store.
    #[error(
        "{} is not a store: it has no `version` file, and it is not empty (it holds `{found}`); choose another folder",
        root.display()
    )]
    NotAStore {
        /// The folder.
        root: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// A path that an artifact may not contain.
    #[error("the path `{path}` cannot be part of an artifact: it {reason}")]
    InvalidPath {
        /// The path, unreadable bytes replaced.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two entries of a manifest that cannot both be there.
    #[error("the artifact has `{path}` both as {first} and as {second}")]
    Conflict {
        /// The path.
        path: String,
        /// What one entry says it is.
        first: &'static str,
        /// What the other one says it is.
        second: &'static str,
    },
    /// A symbolic link that leaves the artifact.
    #[error(
        "the link `{path}` points to `{target}`, outside of its artifact: an artifact must hold all that it needs; write a copy instead of a link"
    )]
    EscapingLink {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// A pipe, socket or device.
    #[error("{} is neither a file nor a folder nor a link: remove it", path.display())]
    SpecialFile {
        /// Where it is.
        path: PathBuf,
    },
    /// Something else than a folder where a folder is needed.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// Where it is.
        path: PathBuf,
    },
    /// A file changed while its digest was taken.
    #[error(
        "{} changed while it was being read: wait until whatever writes it has finished, and run again",
        path.display()
    )]
    ChangedWhileRead {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are no manifest.
    #[error("this is not a manifest: {reason}")]
    InvalidManifest {
        /// What is wrong.
        reason: &'static str,
    },
    /// A result from elsewhere is not what its record says.
    #[error(
        "the result announced for step `{step}` is not what came: its {what} should be {announced} and is {found}; it was not taken in"
    )]
    NotAsAnnounced {
        /// The step it was made for.
        step: String,
        /// What differs.
        what: &'static str,
        /// As the record says.
        announced: Digest,
        /// As it is.
        found: Digest,
    },
    /// Objects are gone or damaged, so this output cannot be delivered: a miss, not a breakdown.
    #[error("the store no longer has this output whole: {}", summary(damage))]
    Unavailable {
        /// What is wrong, object by object.
        damage: Vec<Damage>,
    },
    /// A materialised folder would lie over the store itself.
    #[error("{} cannot be materialised: it overlaps the store {}", destination.display(), root.display())]
    OverlapsStore {
        /// The folder asked for.
        destination: PathBuf,
        /// The store.
        root: PathBuf,
    },
}

impl ArtifactError {
    /// Whether the answer is to run the step again rather than to stop.
    pub fn is_miss(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether there is no space left to write to.
    pub(crate) fn is_full_disk(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    /// Turns a failure to read `path` into its error, for `map_err`.
    pub(crate) fn reading(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read {
            path: path.as_ref().to_owned(),
            source,
        }
    }

    /// Turns a failure to write `path` into its error, for `map_err`; tells a full disk and a missing
    /// permission from the rest.
    pub fn writing(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.as_ref();
            match source.kind() {
                _ if is_full(&source) => Self::DiskFull {
                    folder: lasting_folder(path),
                },
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Self::Unwritable {
                        path: lasting_folder(path),
                        source,
                    }
                }
                _ => Self::Write {
                    path: path.to_owned(),
                    source,
                },
            }
        }
    }
}

/// Whether a write failed for lack of space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// A folder that is still there when the message is read: the store that `path` lies in (its
/// temporary folders go), or else the nearest folder around it.
fn lasting_folder(path: &Path) -> PathBuf {
    let is_store =
        |folder: &&Path| folder.join("version").is_file() && folder.join("objects").is_dir();
    path.ancestors()
        .find(is_store)
        .or_else(|| path.ancestors().find(|folder| folder.is_dir()))
        .unwrap_or(path)
        .to_owned()
}

fn summary(damage: &[Damage]) -> String {
    let mut text = damage.first().map(ToString::to_string).unwrap_or_default();
    if damage.len() > 1 {
        text.push_str(&format!(" (and {} more)", damage.len() - 1));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_full_disk_is_recognised_and_the_message_says_how_to_free_space() {
        let full = Path::new("/dev/full");
        let error = std::fs::OpenOptions::new()
            .write(true)
            .open(full)
            .and_then(|mut file| file.write_all(b"x"))
            .map_err(ArtifactError::writing(full))
            .unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ArtifactError::DiskFull { .. }), "{text}");
        assert!(
            text.contains("/dev") && text.contains("fedact gc"),
            "{text}"
        );
    }

    #[test]
    fn the_store_is_named_and_not_a_temporary_folder_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::Store::open(folder.path().join("store")).unwrap();
        let within = store.root().join("tmp/17-1/output/model.safetensors");
        for kind in [
            io::ErrorKind::StorageFull,
            io::ErrorKind::ReadOnlyFilesystem,
        ] {
            let text = ArtifactError::writing(&within)(io::Error::from(kind)).to_string();
            assert!(text.contains(&store.root().display().to_string()), "{text}");
            assert!(!text.contains("tmp/17-1"), "{text}");
        }
    }

    #[test]
    fn a_missing_permission_is_told_from_other_failures() {
        let denied = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let error = ArtifactError::writing("/mnt/store")(denied);
        assert!(matches!(error, ArtifactError::Unwritable { .. }));
        let other = ArtifactError::writing("/mnt/store")(io::Error::other("broken"));
        assert!(matches!(other, ArtifactError::Write { .. }));
    }
}
