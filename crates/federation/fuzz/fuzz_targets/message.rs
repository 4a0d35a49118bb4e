//! Bytes from the network, with and without a checksum and a layout that are right: a decoder gives a model of the right
//! size or a reason.
#![no_main]

use arbitrary::Arbitrary;
use fedact_federation::layout::Layout;
use fedact_federation::message::{DecodeError, Decoder};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    numbers: u16,
    /// Whether to put in what a sender who means harm knows: layout, number of parameters and checksum.
    informed: bool,
    bytes: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let layout = Layout::vector(usize::from(input.numbers));
    let mut bytes = input.bytes;
    if input.informed && bytes.len() >= 64 {
        bytes[..5].copy_from_slice(b"FDUP\x01");
        bytes[16..20].copy_from_slice(&u32::from(input.numbers).to_le_bytes());
        bytes[56..64].copy_from_slice(&layout.fingerprint().to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..8]);
        hasher.update(&bytes[12..]);
        let checksum = hasher.finalize();
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    }
    let decoder = Decoder::new(&layout);
    let known = decoder.header(&bytes).is_ok();
    let in_memory = decoder.decode(&bytes);
    if let Ok(message) = &in_memory {
        assert!(known);
        assert_eq!(message.delta.len(), layout.len());
    }
    // From where it lies it is the same, or refused for the same reason.
    let in_a_file = decoder.decode_from(bytes.len() as u64, |part, place| {
        let place = place as usize;
        part.copy_from_slice(&bytes[place..place + part.len()]);
        Ok(())
    });
    match (in_memory, in_a_file) {
        (Ok(one), Ok(other)) => {
            let bits = |delta: Vec<f32>| delta.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(one.header, other.header);
            assert_eq!(bits(one.delta), bits(other.delta));
        }
        (Err(one), Err(DecodeError::Message(other))) => assert_eq!(one.code(), other.code()),
        different => panic!("{different:?}"),
    }
});
