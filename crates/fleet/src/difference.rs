//! What goes down to a device that has a model already: piece by piece, what makes another one of it.
//!
//! A piece is about those numbers of which the bare model has [`CHUNK_BYTES`](crate::wire::CHUNK_BYTES), and is a message of
//! [`fedact_federation::message`] over them alone, so that its reader checks sizes before it takes memory, and needs no more of it
//! than a piece. Its header has the piece's number as its task and the wanted version as its base version.
//!
//! With an exact [`Codec`] the words of 32 bits differ: of `x` wanted and `y` there, `x - y` modulo 2^32, turned so that small
//! differences of either sign are small words (`2d`, or `-2d - 1` below zero). The bits of neighbouring numbers are neighbouring
//! integers, so where little has changed the upper bytes are zero; they lie side by side in the message, where zstd finds them. What
//! comes out is the version bit for bit.
//!
//! With a lossy codec the numbers differ, and what the device has then is near the version `x` and not equal to it:
//!
//! ```text
//! y' = y + decode(encode(x - y))
//! ```
//!
//! The next difference is taken to `y'`, which both sides know bit for bit. So what one of them left out is in the next one, and errors do
//! not pile up (Gruntkowska, Tyurin, Richtarik, "EF21-P and Friends", arXiv 2209.15218, 2022: the server's shift). A device trains from
//! `y'`, and what it has learned, `trained - y'`, is added to the version itself: the model at the coordinator takes no rounding in.

use fedact_federation::layout::Layout;
use fedact_federation::message::{
    Codec, Decoder, Encoder, Header, MessageError, apply_in_place, delta,
};

use crate::engine::Unfit;
use crate::{Digest, files};

/// Which piece of which difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The run.
    pub run: u64,
    /// The version that is wanted.
    pub version: u64,
    /// The piece, from 0.
    pub piece: u64,
}

/// A piece of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// As it travels.
    pub message: Vec<u8>,
    /// What a device then has: as many bytes as the base's piece.
    pub result: Vec<u8>,
}

impl Place {
    fn header(&self, numbers: usize) -> Header {
        Header {
            run: self.run,
            task: self.piece,
            client: 0,
            base_version: self.version,
            samples: numbers as u64,
        }
    }

    /// The piece that makes `wanted` of `there`, as near as the codec comes: both as many bytes, `f32`, little-endian. What is random about its
    /// rounding derives from the seed, the piece and the digest of the whole base.
    ///
    /// # Errors
    /// The pieces differ in length, or zstd fails.
    ///
    /// # Panics
    /// If the codec has a [`Codec::fault`].
    pub fn make(
        &self,
        codec: &Codec,
        seed: u64,
        base: Digest,
        there: &[u8],
        wanted: &[u8],
    ) -> Result<Made, MessageError> {
        let (there, numbers) = (files::numbers_of(there), files::numbers_of(wanted));
        if there.len() != numbers.len() {
            return Err(MessageError::DeltaLength {
                found: there.len(),
                expected: numbers.len(),
            });
        }
        let layout = Layout::vector(numbers.len());
        let encoder = Encoder::new(&layout, codec.clone())?;
        let header = self.header(numbers.len());
        if codec.is_exact() {
            let words: Vec<f32> = numbers
                .iter()
                .zip(&there)
                .map(|(wanted, there)| turned(wanted.to_bits().wrapping_sub(there.to_bits())))
                .map(f32::from_bits)
                .collect();
            return Ok(Made {
                message: encoder.encode(&header, &words, seed)?,
                result: wanted.to_vec(),
            });
        }
        let first = std::array::from_fn(|place| base.as_bytes()[place]);
        let seed = seed ^ u64::from_le_bytes(first);
        let message = encoder.encode(&header, &delta(&there, &numbers), seed)?;
        let mut result = Decoder::new(&layout).decode(&message)?.delta;
        apply_in_place(&there, &mut result);
        Ok(Made {
            message,
            result: files::bytes_of(&result),
        })
    }

    /// What a device makes of its own piece and of one that came.
    ///
    /// # Errors
    /// The bytes are no message over so many numbers, or one for another place.
    pub fn apply(&self, exact: bool, there: &[u8], message: &[u8]) -> Result<Vec<u8>, Unfit> {
        let there = files::numbers_of(there);
        let decoder = Decoder::new(&Layout::vector(there.len()));
        let message = decoder.decode(message)?;
        if message.header != self.header(there.len()) {
            return Err(Unfit::Header);
        }
        let mut result = message.delta;
        if exact {
            for (number, there) in result.iter_mut().zip(&there) {
                let difference = turned_back(number.to_bits());
                *number = f32::from_bits(there.to_bits().wrapping_add(difference));
            }
        } else {
            apply_in_place(&there, &mut result);
        }
        Ok(files::bytes_of(&result))
    }
}

/// Small differences of either sign as small words.
fn turned(difference: u32) -> u32 {
    (difference << 1) ^ (difference.cast_signed() >> 31).cast_unsigned()
}

fn turned_back(word: u32) -> u32 {
    (word >> 1) ^ (word & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use fedact_federation::message::Numbers;
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place = Place {
        run: 7,
        version: 12,
        piece: 3,
    };

    fn int8() -> Codec {
        Codec {
            numbers: Numbers::Int8,
            ..Codec::exact()
        }
    }

    fn codecs() -> impl Strategy<Value = Codec> {
        let numbers = prop::sample::select(vec![Numbers::Fp32, Numbers::Fp16, Numbers::Int8]);
        let keep = prop::option::of(0.05..1.0);
        (numbers, keep, prop::option::of(1..4)).prop_map(|(numbers, keep, zstd)| Codec {
            numbers,
            keep,
            block: 16,
            zstd,
        })
    }

    /// Numbers of a model, and of one that was trained from it.
    fn models() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        let number = (-1.0_f32..1.0, -0.01_f32..0.01);
        prop::collection::vec(number, 1..200)
            .prop_map(|pairs| pairs.iter().map(|(one, step)| (*one, one + step)).unzip())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn an_exact_difference_gives_any_bits_whatever(
            pairs in prop::collection::vec(any::<(u32, u32)>(), 1..300),
        ) {
            // Any words: infinities and what is no number too.
            let bytes = |words: Vec<u32>| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
            let (there, wanted): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
            let (there, wanted) = (bytes(there), bytes(wanted));
            let made = PLACE.make(&Codec::exact(), 5, Digest::of(&there), &there, &wanted).unwrap();
            prop_assert_eq!(&made.result, &wanted);
            prop_assert_eq!(PLACE.apply(true, &there, &made.message).unwrap(), wanted);
        }

        #[test]
        fn both_sides_have_the_same_bits_by_any_codec(codec in codecs(), (there, wanted) in models()) {
            let (there, wanted) = (files::bytes_of(&there), files::bytes_of(&wanted));
            let base = Digest::of(&there);
            let made = PLACE.make(&codec, 5, base, &there, &wanted).unwrap();
            let device = PLACE.apply(codec.is_exact(), &there, &made.message).unwrap();
            prop_assert_eq!(&device, &made.result);
            prop_assert_eq!(PLACE.make(&codec, 5, base, &there, &wanted).unwrap(), made);
        }

        #[test]
        fn a_piece_for_another_place_or_with_a_changed_bit_is_noticed(
            (there, wanted) in models(),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let (there, wanted) = (files::bytes_of(&there), files::bytes_of(&wanted));
            let mut message = PLACE.make(&int8(), 5, Digest::of(&there), &there, &wanted).unwrap().message;
            for other in [
                Place { run: 8, ..PLACE },
                Place { version: 11, ..PLACE },
                Place { piece: 4, ..PLACE },
            ] {
                prop_assert!(matches!(other.apply(false, &there, &message), Err(Unfit::Header)));
            }
            prop_assert!(PLACE.apply(false, &there[4..], &message).is_err());
            let place = at.index(message.len());
            message[place] ^= 1 << bit;
            prop_assert!(PLACE.apply(false, &there, &message).is_err());
        }
    }

    #[test]
    fn small_differences_of_either_sign_are_small_words() {
        let words = [0, 1, 1_u32.wrapping_neg(), 2, 2_u32.wrapping_neg(), 1 << 31];
        assert_eq!(words.map(turned), [0, 2, 1, 4, 3, u32::MAX]);
        assert_eq!(words.map(|word| turned_back(turned(word))), words);
    }

    #[test]
    fn what_one_difference_leaves_out_is_in_the_next_and_errors_do_not_pile_up() {
        // A model that moves at random, and a device that follows it by differences in eight bits of a quarter of its numbers.
        let numbers = 4000;
        let codec = Codec {
            keep: Some(0.25),
            ..int8()
        };
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let mut wanted = vec![0.0_f32; numbers];
        let mut there = files::bytes_of(&wanted);
        let mut errors = Vec::new();
        for version in 0..200 {
            wanted
                .iter_mut()
                .for_each(|number| *number += 0.1 * random());
            let place = Place { version, ..PLACE };
            let (base, bytes) = (Digest::of(&there), files::bytes_of(&wanted));
            there = place.make(&codec, 5, base, &there, &bytes).unwrap().result;
            let squares = files::numbers_of(&there);
            let squares = squares.iter().zip(&wanted);
            let squares = squares.map(|(there, wanted)| (there - wanted).powi(2));
            errors.push((squares.sum::<f32>() / numbers as f32).sqrt());
        }
        // A step has a root mean square of 0.029. A quarter of the numbers is told each time: none waits much longer than four steps.
        let (early, late) = (errors[20], errors[199]);
        assert!(late < 0.06 && late < 1.5 * early, "{early} {late}");
    }
}
