//! Bytes that a device reads: without the coordinator's signature, nothing is believed.
#![no_main]

use std::sync::LazyLock;

use fedact_fleet::Name;
use fedact_fleet::identity::{Key, PublicKey};
use fedact_fleet::wire::Down;
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<PublicKey> = LazyLock::new(|| Key::generate().public());

fuzz_target!(|bytes: &[u8]| {
    let fleet = Name::new("lab").expect("a name");
    let device = Name::new("nano-1").expect("a name");
    assert!(Down::open(bytes, &fleet, &device, &KEY).is_err());
});
