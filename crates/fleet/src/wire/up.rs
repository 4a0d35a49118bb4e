//! What devices say.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::chunk::Chunk;
use super::seal::{self, Kind};
use super::{MOST_UP_BODY, MOST_UP_BYTES, Turned};
use crate::identity::{Key, PublicKey};
use crate::{Digest, Name};

/// "I am here, and have nothing to send": from a device without a task that is ready, a request for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alive {
    /// The fleet.
    pub fleet: Name,
    /// The run that it knows of.
    pub run: u64,
    /// Who it is.
    pub device: Name,
    /// Larger with every such message of a device, over restarts too; so that one that somebody kept and sends
    /// again cannot make a silent device look alive.
    pub count: u64,
    /// The number of the last orders of this run that it has read, 0 before the first. A coordinator believes none that has not read
    /// orders of its own process, so that one that somebody kept passes after a restart as little as before.
    pub orders: u64,
    /// Whether it can work. It cannot while it gets its clips ready, which may take long.
    pub ready: bool,
    /// Clips that it has to train on, if it can tell: the length of its tasks follows from them.
    pub clips: Option<NonZeroU64>,
    /// SHA-256 of the model that it has, if it has one: the next one may come as a difference to it.
    pub holds: Option<Digest>,
}

/// What a task took, as the device measured it. The coordinator does nothing by it: it is for the history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Took {
    /// Bytes that were fetched to have the model.
    pub fetched_bytes: u64,
    /// Milliseconds until the model was there.
    pub fetching_ms: u64,
    /// Milliseconds of training.
    pub training_ms: u64,
}

/// "The update of this task is ready, and this is its digest." Chunks follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The fleet.
    pub fleet: Name,
    /// The run.
    pub run: u64,
    /// Who it is.
    pub device: Name,
    /// The task.
    pub task: u64,
    /// The version it trained from.
    pub base_version: u64,
    /// Clips it processed.
    pub samples: u64,
    /// Length of the update.
    pub bytes: u64,
    /// SHA-256 of the update.
    pub digest: Digest,
    /// What the task took.
    pub took: Took,
    /// As in [`Alive`].
    pub clips: Option<NonZeroU64>,
    /// As in [`Alive`].
    pub holds: Option<Digest>,
    /// The first byte that will follow: 0 at first, the length when it believes to have sent everything. If the
    /// coordinator wants another one, it says so ([`super::Wanted`]).
    pub from: u64,
}

/// "I cannot do this task." The device has another one with its next [`Alive`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// The fleet.
    pub fleet: Name,
    /// The run.
    pub run: u64,
    /// Who it is.
    pub device: Name,
    /// The task.
    pub task: u64,
    /// Why, for people.
    pub reason: String,
}

/// A message of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Up<'bytes> {
    /// It is there.
    Alive(Alive),
    /// It has an update.
    Offer(Offer),
    /// It gives a task back.
    Failed(Failed),
    /// A piece of the update that it offered.
    Chunk(Chunk<'bytes>),
}

impl Alive {
    /// The message, signed.
    pub fn seal(&self, key: &Key) -> Vec<u8> {
        seal::seal(Kind::Alive, self, key)
    }
}

impl Offer {
    /// The message, signed.
    pub fn seal(&self, key: &Key) -> Vec<u8> {
        seal::seal(Kind::Offer, self, key)
    }
}

impl Failed {
    /// The message, signed.
    pub fn seal(&self, key: &Key) -> Vec<u8> {
        seal::seal(Kind::Failed, self, key)
    }
}

impl<'bytes> Up<'bytes> {
    /// Reads a message that came on the subject of `device`. Takes no memory beyond the message's own length.
    ///
    /// # Errors
    /// Why it is turned away: it is none, or not signed by that device for this fleet and run in its own name.
    pub fn open(
        bytes: &'bytes [u8],
        fleet: &Name,
        run: u64,
        device: &Name,
        signer: &PublicKey,
    ) -> Result<Self, Turned> {
        if bytes.len() > MOST_UP_BYTES {
            return Err(Turned::TooLarge);
        }
        let (kind, rest) = seal::kind_of(bytes)?;
        let (named, message) = match kind {
            Kind::Alive => {
                let alive: Alive = seal::open(kind, rest, signer, MOST_UP_BODY)?;
                let named = (alive.fleet.clone(), alive.run, alive.device.clone());
                (named, Self::Alive(alive))
            }
            Kind::Offer => {
                let offer: Offer = seal::open(kind, rest, signer, MOST_UP_BODY)?;
                let named = (offer.fleet.clone(), offer.run, offer.device.clone());
                (named, Self::Offer(offer))
            }
            Kind::Failed => {
                let failed: Failed = seal::open(kind, rest, signer, MOST_UP_BODY)?;
                let named = (failed.fleet.clone(), failed.run, failed.device.clone());
                (named, Self::Failed(failed))
            }
            Kind::Chunk => return Ok(Self::Chunk(Chunk::open(rest)?)),
            Kind::Orders | Kind::Description => return Err(Turned::Malformed),
        };
        let (of_fleet, of_run, of_device) = named;
        if of_fleet != *fleet {
            Err(Turned::OtherFleet)
        } else if of_device != *device {
            Err(Turned::OtherDevice)
        } else if of_run != run {
            Err(Turned::OtherRun)
        } else {
            Ok(message)
        }
    }
}
