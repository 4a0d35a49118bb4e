//! Bytes on their way: limits, and comparison with what was asked for.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::RemoteError;
use crate::blobs::BlobName;

/// How long a remote may take before it is given up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection to be made.
    pub connect: Duration,
    /// For a request, whatever its size; also between two pieces of an answer.
    pub answer: Duration,
    /// Bytes a second, below which it is given up: what is slower is made anew as fast.
    pub slowest: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(4),
            answer: Duration::from_secs(8),
            slowest: 128 << 10,
        }
    }
}

impl Limits {
    /// The time for a request that moves so many bytes.
    pub(crate) fn for_bytes(&self, bytes: u64) -> Duration {
        self.answer + Duration::from_secs(bytes / self.slowest.max(1))
    }
}

/// Copies a source of at most `most` bytes; `None` if it has more.
pub(crate) fn copy_at_most(
    source: &mut dyn Read,
    most: u64,
    sink: &mut dyn Write,
) -> io::Result<Option<u64>> {
    let copied = io::copy(&mut source.take(most.saturating_add(1)), sink)?;
    Ok((copied <= most).then_some(copied))
}

/// The error for a blob with more bytes than it can have.
pub(crate) fn too_long(remote: &str, name: &BlobName, most: u64) -> RemoteError {
    RemoteError::Lying {
        remote: remote.to_owned(),
        what: name.to_string(),
        reason: format!("it has more than {most} bytes"),
    }
}
