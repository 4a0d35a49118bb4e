//! The first 64 bytes of a message.

use crc32fast::Hasher;

use super::codec::Numbers;
use super::error::MessageError;

/// The version that is written, and the only one that is read.
pub const FORMAT_VERSION: u8 = 1;

pub(super) const LENGTH: usize = crate::layout::HEADER_BYTES as usize;

const MAGIC: [u8; 4] = *b"FDUP";
const CHECKSUM: std::ops::Range<usize> = 8..12;
const SPARSE: u8 = 1;
const COMPRESSED: u8 = 2;

/// What an update is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The run, so that an update for another one is noticed.
    pub run: u64,
    /// The task it answers.
    pub task: u64,
    /// The sender.
    pub client: u32,
    /// The version it was trained from.
    pub base_version: u64,
    /// Clips that were processed, repeats counted.
    pub samples: u64,
}

/// The header with what only the format needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub header: Header,
    pub layout: u64,
    pub model_numbers: u32,
    pub numbers: Numbers,
    pub sparse: bool,
    pub compressed: bool,
    pub body_bytes: u32,
}

impl Frame {
    /// The message of this frame and body; the body as it travels.
    pub fn seal(&self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH + body.len());
        bytes.extend(MAGIC);
        let sparse = if self.sparse { SPARSE } else { 0 };
        let compressed = if self.compressed { COMPRESSED } else { 0 };
        bytes.extend([FORMAT_VERSION, self.numbers.tag(), sparse | compressed, 0]);
        bytes.extend([0; 4]);
        for word in [self.header.client, self.model_numbers, self.body_bytes] {
            bytes.extend(word.to_le_bytes());
        }
        let Header {
            run,
            task,
            base_version,
            samples,
            ..
        } = self.header;
        for word in [run, task, base_version, samples, self.layout] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(body);
        let checksum = checksum_of_head(&bytes).finalize();
        bytes[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The frame of a message and its body, the checksum of both verified.
    pub fn open(bytes: &[u8]) -> Result<(Self, &[u8]), MessageError> {
        let found = bytes.len();
        let (head, body) = bytes
            .split_first_chunk::<LENGTH>()
            .ok_or(MessageError::Short { found })?;
        known(head)?;
        let mut checksum = checksum_of_head(head);
        checksum.update(body);
        verify(head, checksum)?;
        Ok((Self::of(head)?, body))
    }

    /// What the first bytes of a message say whose format is known.
    pub fn of(head: &[u8; LENGTH]) -> Result<Self, MessageError> {
        let unknown = |offset: usize| MessageError::Unknown {
            offset,
            found: head[offset],
        };
        let numbers = Numbers::of_tag(head[5]).ok_or_else(|| unknown(5))?;
        if head[6] & !(SPARSE | COMPRESSED) != 0 {
            return Err(unknown(6));
        }
        if head[7] != 0 {
            return Err(unknown(7));
        }
        let frame = Self {
            header: Header {
                client: word(head, 12),
                run: long(head, 24),
                task: long(head, 32),
                base_version: long(head, 40),
                samples: long(head, 48),
            },
            layout: long(head, 56),
            model_numbers: word(head, 16),
            numbers,
            sparse: head[6] & SPARSE != 0,
            compressed: head[6] & COMPRESSED != 0,
            body_bytes: word(head, 20),
        };
        Ok(frame)
    }
}

/// Whether the first bytes are those of a message of this format.
pub(super) fn known(head: &[u8; LENGTH]) -> Result<(), MessageError> {
    if head[..4] != MAGIC {
        return Err(MessageError::Magic);
    }
    if head[4] != FORMAT_VERSION {
        return Err(MessageError::Version {
            found: head[4],
            expected: FORMAT_VERSION,
        });
    }
    Ok(())
}

/// The checksum of a message so far: that of the body follows.
pub(super) fn checksum_of_head(head: &[u8]) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(&head[..CHECKSUM.start]);
    hasher.update(&head[CHECKSUM.end..]);
    hasher
}

/// Whether the checksum of a whole message is the one that its head names.
pub(super) fn verify(head: &[u8; LENGTH], checksum: Hasher) -> Result<(), MessageError> {
    let (found, expected) = (checksum.finalize(), word(head, CHECKSUM.start));
    if found == expected {
        return Ok(());
    }
    Err(MessageError::Checksum { found, expected })
}

fn word(head: &[u8; LENGTH], offset: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&head[offset..offset + 4]);
    u32::from_le_bytes(bytes)
}

fn long(head: &[u8; LENGTH], offset: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&head[offset..offset + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Damage that the checksum cannot show, because whoever did it computed a new one.
    fn resealed(change: impl Fn(&mut Vec<u8>)) -> MessageError {
        let frame = Frame {
            header: Header {
                run: 1,
                task: 2,
                client: 3,
                base_version: 4,
                samples: 5,
            },
            layout: 6,
            model_numbers: 7,
            numbers: Numbers::Int8,
            sparse: true,
            compressed: false,
            body_bytes: 2,
        };
        let mut bytes = frame.seal(&[8, 9]);
        assert_eq!(Frame::open(&bytes).unwrap(), (frame, &[8, 9][..]));
        change(&mut bytes);
        let checksum = checksum_of_head(&bytes).finalize();
        bytes[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        Frame::open(&bytes).unwrap_err()
    }

    #[test]
    fn a_header_of_another_format_is_refused_for_what_is_wrong_with_it() {
        assert!(matches!(
            resealed(|bytes| bytes[0] = 0),
            MessageError::Magic
        ));
        let error = resealed(|bytes| bytes[4] = 2);
        assert!(matches!(error, MessageError::Version { found: 2, .. }));
        for (offset, value) in [(5, 3), (6, 4), (7, 1)] {
            let error = resealed(|bytes| bytes[offset] = value);
            assert_eq!(error.code(), "malformed", "{error}");
            assert!(
                error.to_string().contains(&format!("byte {offset} ")),
                "{error}"
            );
        }
    }
}
