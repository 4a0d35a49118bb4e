//! Bytes as a journal: records or a reason, and what is read lies within the bytes.
#![no_main]

use std::path::Path;

use fedact_fleet::journal::{Journal, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut journal = [&b"FDJL\x01\0\0\0"[..], &7_u64.to_le_bytes()].concat();
    journal.extend(bytes);
    if let Ok((records, end)) = read(Path::new("journal"), &journal, 7, Journal::BEGIN) {
        assert!(end <= journal.len() as u64);
        assert!(records.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }
});
