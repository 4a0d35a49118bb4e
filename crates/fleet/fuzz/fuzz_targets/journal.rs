//! Bytes as a journal, and payloads in frames whose checksums are right: records or a reason, and what is read lies within the
//! bytes.
#![no_main]

use std::path::Path;

use arbitrary::Arbitrary;
use fedact_fleet::journal::{Journal, read};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    framed: Vec<Vec<u8>>,
    /// What comes after the frames.
    tail: Vec<u8>,
}

const RUN: u64 = 7;

fuzz_target!(|input: Input| {
    let mut journal = [&b"FDJL\x01\0\0\0"[..], &RUN.to_le_bytes()].concat();
    for payload in &input.framed {
        let mut head = [
            (payload.len() as u32).to_le_bytes(),
            crc32fast::hash(payload).to_le_bytes(),
        ]
        .concat();
        head.extend(crc32fast::hash(&head).to_le_bytes());
        journal.extend(head);
        journal.extend(payload);
    }
    journal.extend(&input.tail);
    if let Ok((records, end)) = read(Path::new("journal"), &journal, RUN, Journal::BEGIN) {
        assert!(records.len() >= input.framed.len());
        assert!(end <= journal.len() as u64);
        assert!(records.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }
});
