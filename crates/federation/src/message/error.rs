//! Why bytes are no update.

/// Why a message was not made or not taken. Each has a reason code for counts and histories.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The delta has another length than the model.
    #[error(
        "a delta of {found} numbers for a model of {expected}; take the difference of the model that was sent"
    )]
    DeltaLength {
        /// Numbers of the delta.
        found: usize,
        /// Numbers of the model.
        expected: usize,
    },
    /// The model does not fit the format.
    #[error(
        "a model of {numbers} numbers is too large for one message; the format ends at 400 million"
    )]
    ModelTooLarge {
        /// Numbers of the model.
        numbers: usize,
    },
    /// There is not even a header.
    #[error(
        "{found} bytes are no message: its header alone has 64; it was cut short, or is something else"
    )]
    Short {
        /// Bytes that are there.
        found: usize,
    },
    /// It does not begin as a message does.
    #[error("the bytes do not begin with FDUP: they are no update")]
    Magic,
    /// Written by another version of this program.
    #[error(
        "format version {found}, and this program reads {expected}; run the same version on both sides"
    )]
    Version {
        /// The version in the message.
        found: u8,
        /// The version that is read here.
        expected: u8,
    },
    /// A bit changed on the way, or bytes are missing or too many.
    #[error(
        "the checksum is {found:08x} and should be {expected:08x}: the message was damaged; send it again"
    )]
    Checksum {
        /// As computed.
        found: u32,
        /// As the message says.
        expected: u32,
    },
    /// Precision or flags that this version does not have.
    #[error("byte {offset} of the header is {found}, which format version 1 does not know")]
    Unknown {
        /// Where in the header.
        offset: usize,
        /// What stands there.
        found: u8,
    },
    /// It is of another network.
    #[error(
        "an update of a network with layout {found:016x}, and this run has {expected:016x}; the client must fetch this run's model"
    )]
    Layout {
        /// The fingerprint in the message.
        found: u64,
        /// This model's.
        expected: u64,
    },
    /// It claims another number of parameters.
    #[error("an update of {found} numbers for a model of {expected}")]
    NumberCount {
        /// As the message says.
        found: u64,
        /// This model's.
        expected: u64,
    },
    /// The body has another length than its header and this model allow.
    #[error("a body of {found} bytes where {expected} are expected or the most that can be")]
    BodyLength {
        /// Bytes that are there or announced.
        found: u64,
        /// Bytes that there should be, or the most.
        expected: u64,
    },
    /// The body cannot be decompressed.
    #[error("the body cannot be decompressed")]
    Compression(#[source] std::io::Error),
    /// The body ends within something.
    #[error("the body ends within its {within}")]
    Cut {
        /// Within what.
        within: &'static str,
    },
    /// An index beyond the model, or none at all.
    #[error(
        "index number {nth} of the body lies beyond the model's {numbers} numbers or is too long"
    )]
    Index {
        /// Which of the indices, from 0.
        nth: usize,
        /// Numbers of the model.
        numbers: usize,
    },
    /// More numbers than the model has.
    #[error("{found} numbers are said to be there of a model of {numbers}")]
    KeptCount {
        /// As the body says.
        found: u32,
        /// Numbers of the model.
        numbers: usize,
    },
    /// Blocks of no number.
    #[error("scales for blocks of 0 numbers")]
    Block,
}

/// Why a message was not taken that had to be read first.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is no message of the model.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
}

impl MessageError {
    /// The reason code, as in `damaged`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DeltaLength { .. } | Self::ModelTooLarge { .. } => "not-sendable",
            Self::Short { .. } | Self::Magic => "no-message",
            Self::Version { .. } => "other-format-version",
            Self::Checksum { .. } => "damaged",
            Self::Layout { .. } | Self::NumberCount { .. } => "wrong-layout",
            Self::Unknown { .. }
            | Self::BodyLength { .. }
            | Self::Compression(_)
            | Self::Cut { .. }
            | Self::Index { .. }
            | Self::KeptCount { .. }
            | Self::Block => "malformed",
        }
    }
}
