//! Signs of life.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::keep::Counter;
use crate::Digest;
use crate::identity::Join;
use crate::wire::Alive;

/// Makes them, one after the other.
pub(super) struct Signs {
    pub join: Arc<Join>,
    pub run: u64,
    pub count: Counter,
    /// The model that the device has.
    pub held: watch::Receiver<Option<Digest>>,
}

impl Signs {
    /// The next one, signed.
    pub fn next(&self) -> Bytes {
        let alive = Alive {
            fleet: self.join.fleet.clone(),
            run: self.run,
            device: self.join.device.clone(),
            count: self.count.next(),
            holds: *self.held.borrow(),
        };
        alive.seal(&self.join.key).into()
    }
}
