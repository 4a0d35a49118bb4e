//! Bytes on a device's subject, as they come and under a signature that is right: without one only chunks are taken, and
//! whatever is taken names this fleet, run and device.
#![no_main]

mod signed;

use std::sync::LazyLock;

use fedact_fleet::wire::Up;
use libfuzzer_sys::fuzz_target;
use signed::{Message, Sender};

const RUN: u64 = 1;

static DEVICE: LazyLock<Sender> = LazyLock::new(Sender::new);

fuzz_target!(|message: Message| {
    let bytes = DEVICE.bytes_of(&message);
    let Sender {
        key, fleet, device, ..
    } = &*DEVICE;
    let named = match Up::open(&bytes, fleet, RUN, device, key) {
        Ok(Up::Chunk(chunk)) => {
            assert_eq!(chunk.seal(), bytes);
            return;
        }
        Ok(Up::Alive(alive)) => (alive.fleet, alive.run, alive.device),
        Ok(Up::Offer(offer)) => (offer.fleet, offer.run, offer.device),
        Ok(Up::Failed(failed)) => (failed.fleet, failed.run, failed.device),
        Err(reason) => {
            assert!(!reason.code().is_empty());
            return;
        }
    };
    assert!(message.signed, "a signature out of nothing");
    assert_eq!(named, (fleet.clone(), RUN, device.clone()));
});
