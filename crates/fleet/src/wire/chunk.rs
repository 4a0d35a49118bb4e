//! Pieces of an update.

use super::seal::{HEAD, Kind};
use super::{CHUNK_BYTES, Turned};
use crate::Digest;

/// Bytes before the piece itself.
const BEFORE: usize = HEAD + 48;

/// A piece of an update. Only the digest of the whole says whether it is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk<'bytes> {
    /// The task whose update it is of.
    pub task: u64,
    /// Where in the update it belongs.
    pub offset: u64,
    /// Of the whole update.
    pub digest: Digest,
    /// The piece: not empty, at most [`CHUNK_BYTES`].
    pub bytes: &'bytes [u8],
}

impl<'bytes> Chunk<'bytes> {
    /// The message.
    pub fn seal(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BEFORE + self.bytes.len());
        bytes.extend(Kind::Chunk.head());
        bytes.extend(self.task.to_le_bytes());
        bytes.extend(self.offset.to_le_bytes());
        bytes.extend(self.digest.as_bytes());
        bytes.extend(self.bytes);
        bytes
    }

    /// What follows the first 8 bytes of a message.
    pub(super) fn open(rest: &'bytes [u8]) -> Result<Self, Turned> {
        let (task, rest) = rest.split_first_chunk::<8>().ok_or(Turned::Malformed)?;
        let (offset, rest) = rest.split_first_chunk::<8>().ok_or(Turned::Malformed)?;
        let (digest, bytes) = rest.split_first_chunk::<32>().ok_or(Turned::Malformed)?;
        if bytes.is_empty() {
            return Err(Turned::Malformed);
        }
        if bytes.len() > CHUNK_BYTES {
            return Err(Turned::TooLarge);
        }
        Ok(Self {
            task: u64::from_le_bytes(*task),
            offset: u64::from_le_bytes(*offset),
            digest: Digest::from_bytes(*digest),
            bytes,
        })
    }
}
