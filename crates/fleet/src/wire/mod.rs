//! What coordinator and devices say to each other, byte by byte.
//!
//! # Subjects
//!
//! | Subject | Who writes | Stream | Kept |
//! | --- | --- | --- | --- |
//! | `fleet.F.up.DEVICE` | that device | `FLEET-F-UP` | until the coordinator has taken it; at most [`WINDOW`] of a device |
//! | `fleet.F.down.DEVICE` | the coordinator | `FLEET-F-DOWN` | the last: the device's [`Orders`] |
//! | `fleet.F.run` | the coordinator | `FLEET-F-DOWN` | the last: the run's [`Description`] |
//! | `fleet.F.model.RUN.VERSION.CHUNK` | the coordinator | `FLEET-F-MODEL` | as long as the device of an open task gets it so |
//! | `fleet.F.model.RUN.VERSION-BASE.CHUNK` | the coordinator | `FLEET-F-MODEL` | the same, of a [`Difference`]; BASE: the first 16 digits of the base's digest |
//!
//! The coordinator reads by a pull consumer alone and answers no requests, so that nobody can push anything
//! into its memory. A device publishes to its one subject and asks the server for last values by subject. The `up`
//! stream refuses new messages of a device whose window is full: that is the flow control of uploads, and why a device
//! that floods harms itself alone.
//!
//! # Messages, version 4
//!
//! All integers are little-endian.
//!
//! ```text
//! offset  bytes
//!      0      4  magic "FDFL"
//!      4      1  format version
//!      5      1  kind: 1 alive, 2 offer, 3 failed, 4 chunk, 5 orders, 6 description
//!      6      2  zero
//!
//! of all but chunks:
//!      8     64  Ed25519 signature of the sender over "fedact-fleet", the 8 bytes above, and the body
//!     72      -  body: JSON, no unknown keys
//!
//! of chunks:
//!      8      8  task
//!     16      8  offset of the bytes in the update
//!     24     32  SHA-256 of the whole update
//!     56      -  bytes of the update
//! ```
//!
//! An update is a message of [`fedact_federation::message`]. Its digest stands in a signed [`Offer`] with fleet,
//! run, device, task and base version, which comes before its first chunk: chunks need no signature of their own.
//! Chunks of a model are its bare bytes (`f32`, little-endian), or what the same bytes of another model are changed by
//! ([`crate::difference`]); the digest of what comes out stands in signed [`Orders`].

mod chunk;
mod down;
mod seal;
mod subjects;
mod turned;
mod up;

pub use chunk::Chunk;
pub(crate) use down::Excess;
pub use down::{Assignment, Description, Difference, Down, Orders, Verdict, Wanted};
pub use seal::FORMAT_VERSION;
pub use subjects::Subjects;
pub use turned::Turned;
pub use up::{Alive, Failed, Offer, Took, Up};

/// Bytes of an update or a model in one message; a NATS server takes a megabyte unless it is told otherwise.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Messages of one device that may wait for the coordinator.
pub const WINDOW: i64 = 64;

/// No message of a device is longer.
pub const MOST_UP_BYTES: usize = CHUNK_BYTES + 64;

/// No signed body of a device is longer.
const MOST_UP_BODY: usize = 4 << 10;

/// No signed body of the coordinator is longer.
const MOST_DOWN_BODY: usize = 900 << 10;
