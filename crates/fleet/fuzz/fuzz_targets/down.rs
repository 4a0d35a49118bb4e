//! Bytes that a device reads: without the coordinator's signature nothing is believed, and what is believed is of this fleet,
//! and orders are to this device.
#![no_main]

mod signed;

use std::sync::LazyLock;

use fedact_fleet::wire::Down;
use libfuzzer_sys::fuzz_target;
use signed::{Message, Sender};

static COORDINATOR: LazyLock<Sender> = LazyLock::new(Sender::new);

fuzz_target!(|message: Message| {
    let bytes = COORDINATOR.bytes_of(&message);
    let Sender {
        key, fleet, device, ..
    } = &*COORDINATOR;
    match Down::open(&bytes, fleet, device, key) {
        Ok(Down::Orders(orders)) => {
            assert!(message.signed, "a signature out of nothing");
            assert_eq!((&orders.fleet, &orders.device), (fleet, device));
        }
        Ok(Down::Description(description)) => {
            assert!(message.signed, "a signature out of nothing");
            assert_eq!(&description.fleet, fleet);
        }
        Err(reason) => assert!(!reason.code().is_empty()),
    }
});
