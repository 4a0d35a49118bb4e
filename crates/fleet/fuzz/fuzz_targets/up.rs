//! Bytes on a device's subject, as they come and with a signature that is right: only chunks are taken unsigned, and
//! whatever is taken names this fleet, run and device.
#![no_main]

use std::sync::LazyLock;

use fedact_fleet::Name;
use fedact_fleet::identity::{Key, PublicKey};
use fedact_fleet::wire::Up;
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<PublicKey> = LazyLock::new(|| Key::generate().public());

fuzz_target!(|bytes: &[u8]| {
    let fleet = Name::new("lab").expect("a name");
    let device = Name::new("nano-1").expect("a name");
    match Up::open(bytes, &fleet, 1, &device, &KEY) {
        Ok(Up::Chunk(chunk)) => assert_eq!(chunk.seal(), bytes),
        Ok(_) => panic!("a signature out of nothing"),
        Err(reason) => assert!(!reason.code().is_empty()),
    }
});
