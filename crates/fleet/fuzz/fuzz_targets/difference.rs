//! Pieces of differences: any bytes, and those of a real piece of which one was changed, give an error or as many bytes as were there; the
//! real piece gives what its maker says.
#![no_main]

use arbitrary::Arbitrary;
use fedact_federation::message::{Codec, Numbers};
use fedact_fleet::Digest;
use fedact_fleet::difference::Place;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    exact: bool,
    /// Numbers there, and those that are wanted.
    pairs: Vec<(u32, u32)>,
    any: Vec<u8>,
    /// Which byte of the real piece is changed, and how.
    changed: (u16, u8),
}

const PLACE: Place = Place {
    run: 7,
    version: 4,
    piece: 3,
};

fuzz_target!(|input: Input| {
    let (there, wanted): (Vec<_>, Vec<_>) = input.pairs.iter().copied().unzip();
    let bytes = |words: Vec<u32>| {
        words
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let (there, wanted) = (bytes(there), bytes(wanted));
    let apply = |message: &[u8]| {
        let applied = PLACE.apply(input.exact, &there, message);
        if let Ok(result) = &applied {
            assert_eq!(result.len(), there.len());
        }
        applied
    };
    let _ = apply(&input.any);
    let codec = match input.exact {
        true => Codec::exact(),
        false => Codec {
            numbers: Numbers::Int8,
            ..Codec::exact()
        },
    };
    // Of numbers that are not finite there is no piece in eight bits.
    let Ok(mut made) = PLACE.make(&codec, 5, Digest::of(&there), &there, &wanted) else {
        return;
    };
    assert_eq!(apply(&made.message).unwrap(), made.result);
    assert!(!input.exact || made.result == wanted);
    let (place, how) = input.changed;
    if let Some(byte) = made.message.get_mut(usize::from(place)) {
        *byte ^= how;
        let _ = apply(&made.message);
    }
});
