//! Why a bundle could not be written or read.

use std::io;
use std::path::PathBuf;

use fedact_artifact::ArtifactError;

use crate::FORMAT;

/// Why a bundle could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The bundle.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The bundle.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a file of `fedact export`: {reason}", file.display())]
    NotABundle {
        /// The file.
        file: PathBuf,
        /// How that shows.
        reason: String,
    },
    /// The file has another layout.
    #[error(
        "{} has format version {found}, but this fedact reads version {FORMAT}: use the fedact that wrote it, or export again with this one",
        file.display()
    )]
    OtherVersion {
        /// The bundle.
        file: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The file is not what was written, or was never right.
    #[error("{} is damaged: {reason}; nothing was taken from it, export it again", file.display())]
    Damaged {
        /// The bundle.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A store failed.
    #[error(transparent)]
    Store(#[from] ArtifactError),
}
