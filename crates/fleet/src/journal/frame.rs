//! Frames: what makes a torn tail known from damage.
//!
//! ```text
//! offset  bytes
//!      0      4  length of the payload
//!      4      4  CRC-32 (IEEE) of the payload
//!      8      4  CRC-32 of the 8 bytes above
//!     12      -  payload
//! ```
//!
//! Each frame is synced before the next is written, so that at most the last one can be torn: it may be short, or long
//! enough and end in zeros or in anything else. The length has a checksum of its own: without it, one wrong bit in the middle
//! of a file would look like a very long last frame, and all that follows would be cut off.

/// Bytes before a payload.
pub const HEAD: usize = 12;

/// How bytes end after their last whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// With it.
    Whole,
    /// With a frame that was not written to its end.
    Torn,
    /// With something that no torn frame looks like.
    Damaged,
}

/// A payload as a frame.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD + payload.len());
    frame.extend((payload.len() as u32).to_le_bytes());
    frame.extend(crc32fast::hash(payload).to_le_bytes());
    frame.extend(crc32fast::hash(&frame).to_le_bytes());
    frame.extend(payload);
    frame
}

/// The payloads of the whole frames that bytes begin with, and what comes after them.
pub fn frames(mut bytes: &[u8]) -> (Vec<&[u8]>, Tail) {
    let mut payloads = Vec::new();
    loop {
        if bytes.is_empty() {
            return (payloads, Tail::Whole);
        }
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
            return (payloads, Tail::Torn);
        };
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if crc32fast::hash(&head[..8]) != word(8) {
            // The head itself was torn, and a file system has put zeros where nothing was written.
            let written = bytes.iter().rposition(|byte| *byte != 0);
            let torn = written.is_none_or(|last| last < HEAD);
            return (payloads, if torn { Tail::Torn } else { Tail::Damaged });
        }
        let length = word(0) as usize;
        let Some((payload, after)) = rest.split_at_checked(length) else {
            return (payloads, Tail::Torn);
        };
        if crc32fast::hash(payload) != word(4) {
            let last = after.iter().all(|byte| *byte == 0);
            return (payloads, if last { Tail::Torn } else { Tail::Damaged });
        }
        payloads.push(payload);
        bytes = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..8)
    }

    fn file(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for payload in payloads {
            bytes.extend(frame(payload));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    proptest! {
        #[test]
        fn a_tail_torn_at_any_byte_leaves_all_frames_before_it(
            payloads in payloads(),
            at in any::<prop::sample::Index>(),
            zeros in 0..40_usize,
        ) {
            let (mut bytes, ends) = file(&payloads);
            let cut = at.index(bytes.len() + 1);
            bytes.truncate(cut);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            prop_assert_eq!(&frames(&bytes).0[..], &payloads[..whole]);
            prop_assert_ne!(frames(&bytes).1, Tail::Damaged);
            // The file system had made room for the frame, and not filled it.
            bytes.extend(vec![0; zeros]);
            let (found, tail) = frames(&bytes);
            prop_assert!(found.len() >= whole);
            prop_assert_eq!(&found[..whole], &payloads[..whole]);
            prop_assert_ne!(tail, Tail::Damaged);
        }

        #[test]
        fn a_changed_bit_before_the_last_frame_is_damage_and_never_a_tail(
            payloads in prop::collection::vec(prop::collection::vec(1..=255_u8, 1..60), 2..8),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let (mut bytes, ends) = file(&payloads);
            let before_last = ends[ends.len() - 2];
            let place = at.index(before_last);
            bytes[place] ^= 1 << bit;
            let frame = ends.iter().rposition(|end| *end <= place).unwrap();
            let (found, tail) = frames(&bytes);
            prop_assert_eq!(&found[..], &payloads[..frame]);
            prop_assert_eq!(tail, Tail::Damaged);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (found, _) = frames(&bytes);
            let used: usize = found.iter().map(|payload| payload.len() + HEAD).sum();
            prop_assert!(used <= bytes.len());
        }
    }
}
