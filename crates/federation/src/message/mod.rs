//! Updates as messages: what a client sends up is the difference that training made, encoded.
//!
//! [`Encoder`] makes bytes of a delta (`trained - base`, flat), [`Decoder`] gives them back, and [`Feedback`] keeps what
//! a lossy [`Codec`] left out and adds it to the client's next delta; [`Channel`] is all of them for a simulated run. Everything is pure and follows from its arguments.
//!
//! # The format, version 1
//!
//! All integers are little-endian.
//!
//! ```text
//! offset  bytes
//!      0      4  magic "FDUP"
//!      4      1  format version
//!      5      1  numbers: 0 fp32, 1 fp16, 2 int8
//!      6      1  bit 0: only some numbers are there; bit 1: the body is compressed with zstd
//!      7      1  zero
//!      8      4  CRC-32 (IEEE) of all other bytes of the message
//!     12      4  client
//!     16      4  numbers of the model
//!     20      4  bytes of the body, uncompressed
//!     24      8  run
//!     32      8  task
//!     40      8  base version
//!     48      8  samples
//!     56      8  fingerprint of the layout
//!     64      -  body
//! ```
//!
//! The body begins, where only some numbers are there, with how many (4 bytes) and where: ascending indices as gaps
//! between neighbours (the first index; then each index minus the one before, minus 1), in LEB128 of at most 5 bytes.
//! Then the numbers, of the whole model or those, by [`Numbers`]:
//!
//! * fp32, fp16: IEEE 754, in planes: the lowest bytes of all numbers, then the next ones. Signs and exponents are much alike
//!   within a delta, and side by side zstd finds that (the shuffle of Blosc, Alted 2010).
//! * int8: how many numbers share a scale (4 bytes, at least 1), the scales (fp32), one signed byte a number.
//!
//! # What a reader may rely on
//!
//! Sizes are checked before memory is taken: a decoder takes at most three models of memory (one where all numbers are
//! sent) and the body's length, which is bounded by the model's, whatever the bytes say. Bytes that are no message of this model are refused with a
//! [`MessageError`], never with a panic. A changed bit is always noticed (CRC-32), forgery is not: that is the
//! transport's business. Numbers that are not finite travel as such and are refused by [`crate::validation`].

mod channel;
mod codec;
mod decode;
mod encode;
mod error;
mod feedback;
mod header;
mod numbers;
mod sparse;

pub use channel::{Channel, Delivery};
pub use codec::{Codec, Numbers};
pub use decode::{Decoder, Message};
pub use encode::{Encoder, delta, delta_in_place};
pub use error::{DecodeError, MessageError};
pub use feedback::Feedback;
pub use header::{FORMAT_VERSION, Header};

/// The model that a client trained, as the server sees it: `base + delta`, number by number.
///
/// Up to the last bit of each number it is what the client had; of a lossy codec, up to its error.
///
/// # Panics
/// If the slices differ in length, which decoding has ruled out.
pub fn apply(base: &[f32], mut delta: Vec<f32>) -> Vec<f32> {
    apply_in_place(base, &mut delta);
    delta
}

/// The same in the delta's own place, for a base that comes block by block.
///
/// # Panics
/// As [`apply`].
pub fn apply_in_place(base: &[f32], delta: &mut [f32]) {
    assert_eq!(base.len(), delta.len(), "a delta of another length");
    for (number, base) in delta.iter_mut().zip(base) {
        *number += base;
    }
}
