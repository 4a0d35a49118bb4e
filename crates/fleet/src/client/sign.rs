//! Signs of life.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::keep::Counter;
use crate::Digest;
use crate::identity::Join;
use crate::wire::{Alive, Orders};

/// How far a device is with its clips.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Clips {
    /// Whether they are ready to train on.
    pub ready: bool,
    /// How many there are, if the trainer can tell.
    pub count: Option<NonZeroU64>,
}

/// Makes them, one after the other.
pub(super) struct Signs {
    pub join: Arc<Join>,
    pub run: u64,
    pub count: Counter,
    /// The model that the device has.
    pub held: watch::Receiver<Option<Digest>>,
    pub orders: watch::Receiver<Option<Orders>>,
    pub clips: watch::Receiver<Clips>,
}

impl Signs {
    /// The number of the last orders of the run that were read.
    pub fn read(&self) -> u64 {
        let orders = self.orders.borrow();
        let read = orders.as_ref().filter(|orders| orders.run == self.run);
        read.map_or(0, |orders| orders.sequence)
    }

    /// Whether the device has a task.
    pub fn has_task(&self) -> bool {
        let orders = self.orders.borrow();
        let orders = orders.as_ref();
        orders.is_some_and(|orders| orders.assignment.is_some())
    }

    /// Returns when there are orders of another process of the coordinator than those of this number.
    pub async fn other_process(&mut self, read: u64) {
        let (run, process) = (self.run, Orders::process_of(read));
        let other = |orders: &Option<Orders>| {
            let own = orders.as_ref().filter(|orders| orders.run == run);
            own.is_some_and(|orders| Orders::process_of(orders.sequence) != process)
        };
        if self.orders.wait_for(other).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The next one, signed.
    pub fn next(&self) -> Bytes {
        let clips = *self.clips.borrow();
        let alive = Alive {
            fleet: self.join.fleet.clone(),
            run: self.run,
            device: self.join.device.clone(),
            count: self.count.next(),
            orders: self.read(),
            ready: clips.ready,
            clips: clips.count,
            holds: *self.held.borrow(),
        };
        alive.seal(&self.join.key).into()
    }
}
