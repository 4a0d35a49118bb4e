//! What every kind of remote can do: keep named blobs.

use std::io::{Read, Write};

use fedact_artifact::Digest;

use crate::RemoteError;

/// The name of a blob, in the layout that Bazel's HTTP caches speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobName {
    /// `ac/<key>`: what is claimed to be the result of a key.
    Entry(Digest),
    /// `cas/<sha256>`: bytes, named by their digest.
    Content(Digest),
}

impl BlobName {
    /// The folder of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Entry(_) => "ac",
            Self::Content(_) => "cas",
        }
    }

    /// The digest in it.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Entry(digest) | Self::Content(digest) => digest,
        }
    }
}

impl std::fmt::Display for BlobName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind(), self.digest())
    }
}

/// A place that keeps named blobs. What comes out of it is not believed: whoever asks compares it with
/// its name.
///
/// All calls block their thread, for a time that grows with the bytes asked for and no longer.
pub trait Blobs: Send + Sync {
    /// Where it is, for messages; without a password.
    fn place(&self) -> &str;

    /// Whether there is a blob of this name.
    ///
    /// # Errors
    /// No answer.
    fn has(&self, name: &BlobName) -> Result<bool, RemoteError>;

    /// Writes a blob into `sink`, and says how long it is; `None` if there is no such blob. One with
    /// more than `most` bytes is not what was asked for, and an error.
    ///
    /// # Errors
    /// No answer, or one that is too long or breaks off. The sink may have got a part then.
    fn get(
        &self,
        name: &BlobName,
        most: u64,
        sink: &mut dyn Write,
    ) -> Result<Option<u64>, RemoteError>;

    /// Keeps a blob of `size` bytes, whole or not at all; replaces one of the same name.
    ///
    /// # Errors
    /// No answer, no permission, or a source that cannot be read.
    fn put(&self, name: &BlobName, size: u64, source: &mut dyn Read) -> Result<(), RemoteError>;
}

/// A small blob as a whole.
///
/// # Errors
/// As [`Blobs::get`].
pub(crate) fn read(
    blobs: &dyn Blobs,
    name: &BlobName,
    most: u64,
) -> Result<Option<Vec<u8>>, RemoteError> {
    let mut bytes = Vec::new();
    Ok(blobs.get(name, most, &mut bytes)?.map(|_| bytes))
}
