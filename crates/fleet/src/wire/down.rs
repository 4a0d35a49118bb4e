//! What the coordinator says.

use fedact_federation::layout::Layout;
use fedact_federation::message::Codec;
use serde::{Deserialize, Serialize};

use super::seal::{self, Kind};
use super::{MOST_DOWN_BODY, Turned};
use crate::identity::{Key, PublicKey};
use crate::{Digest, Name};

/// What a device should do, whole: the last one counts, and says everything that came before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// The fleet.
    pub fleet: Name,
    /// The run.
    pub run: u64,
    /// For whom.
    pub device: Name,
    /// Larger with every orders to a device, over restarts too: a process of the coordinator numbers its own from
    /// [`Self::first_of`] on.
    pub sequence: u64,
    /// The open task, if there is one.
    pub assignment: Option<Assignment>,
    /// How the task's model is made of one that the device has; none: it comes whole.
    pub difference: Option<Difference>,
    /// What became of the task before.
    pub verdict: Option<Verdict>,
    /// What is missing of the update that was offered.
    pub wanted: Option<Wanted>,
    /// Why the run is over, if it is: the code of an
    /// [`EndReason`](fedact_federation::aggregator::EndReason).
    pub finished: Option<String>,
}

/// A task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Its number.
    pub task: u64,
    /// The device's number, as it stands in the header of its update.
    pub client: u32,
    /// The version to start from.
    pub version: u64,
    /// Clips to process, repeats counted.
    pub samples: u64,
    /// How many tasks this device was given before.
    pub nth: u64,
    /// Clips of all those tasks together: where this one begins in the endless repetition of the device's clips.
    pub samples_before: u64,
    /// Clips of all tasks that had reached the coordinator when this one was given out.
    pub spent_samples: u64,
    /// The run ends when those are so many.
    pub budget_samples: u64,
    /// SHA-256 of that version's bytes (`f32`, little-endian).
    pub model: Digest,
}

/// The way from a model that a device has to the one that its task starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// SHA-256 of the model that the device has.
    pub base: Digest,
    /// SHA-256 of what it then has: the version itself, or what comes near it.
    pub result: Digest,
    /// Whether the bits differ by this, or the numbers.
    pub exact: bool,
}

/// What became of an update: it is in the journal, and this was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The task.
    pub task: u64,
    /// The reason code of a refusal; none: it counts.
    pub refused: Option<String>,
}

/// What is missing of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The task.
    pub task: u64,
    /// The first missing byte.
    pub from: u64,
}

/// What every device must know of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The fleet.
    pub fleet: Name,
    /// The run.
    pub run: u64,
    /// How the model's numbers lie.
    pub layout: Layout,
    /// How updates are encoded.
    pub codec: Codec,
    /// Whether devices add to an update what the last one left out.
    pub feedback: bool,
    /// What the random rounding of lossy codecs derives from.
    pub seed: u64,
    /// Seconds after which a silent device's task is given up.
    pub lease_seconds: f64,
    /// What the trainer must know, as its own counterpart wrote it.
    pub settings: serde_json::Value,
}

/// A message of the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum Down {
    /// To one device.
    Orders(Orders),
    /// To all.
    Description(Description),
}

/// A process numbers its orders from its own number times two to this power on.
const ORDERS_OF_A_PROCESS: u32 = 40;

impl Orders {
    /// The number below all those that the coordinator's process of this number gives to orders.
    pub fn first_of(process: u64) -> u64 {
        process << ORDERS_OF_A_PROCESS
    }

    /// The number of the process that gave orders this number.
    pub fn process_of(sequence: u64) -> u64 {
        sequence >> ORDERS_OF_A_PROCESS
    }

    /// The message, signed.
    pub fn seal(&self, key: &Key) -> Vec<u8> {
        seal::seal(Kind::Orders, self, key)
    }
}

/// A description that fits into no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excess {
    /// Bytes that it takes.
    pub bytes: usize,
    /// The most that it may take.
    pub most: usize,
    /// The part of it that most of them are, as in `settings.model.classes`.
    pub part: String,
}

impl Description {
    /// What is too much of it, if anything: devices would leave it unread.
    pub(crate) fn excess(&self) -> Option<Excess> {
        let value = serde_json::to_value(self).unwrap_or_default();
        let bytes = length(&value);
        (bytes > MOST_DOWN_BODY).then(|| Excess {
            bytes,
            most: MOST_DOWN_BODY,
            part: heaviest(&value),
        })
    }

    /// The message, signed.
    pub fn seal(&self, key: &Key) -> Vec<u8> {
        seal::seal(Kind::Description, self, key)
    }
}

impl Down {
    /// Reads a message of the coordinator of `fleet`; orders must be to `device`.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn open(
        bytes: &[u8],
        fleet: &Name,
        device: &Name,
        signer: &PublicKey,
    ) -> Result<Self, Turned> {
        let (kind, rest) = seal::kind_of(bytes)?;
        let (of_fleet, message) = match kind {
            Kind::Orders => {
                let orders: Orders = seal::open(kind, rest, signer, MOST_DOWN_BODY)?;
                if orders.device != *device {
                    return Err(Turned::OtherDevice);
                }
                (orders.fleet.clone(), Self::Orders(orders))
            }
            Kind::Description => {
                let description: Description = seal::open(kind, rest, signer, MOST_DOWN_BODY)?;
                let of_fleet = description.fleet.clone();
                (of_fleet, Self::Description(description))
            }
            _ => return Err(Turned::Malformed),
        };
        if of_fleet == *fleet {
            Ok(message)
        } else {
            Err(Turned::OtherFleet)
        }
    }
}

/// Bytes of a value as it travels.
fn length(value: &serde_json::Value) -> usize {
    serde_json::to_vec(value).map_or(0, |bytes| bytes.len())
}

/// The keys that lead to most of a value's bytes, as far down as one of them has more than half.
fn heaviest(value: &serde_json::Value) -> String {
    let mut keys = Vec::new();
    let mut value = value;
    while let Some(object) = value.as_object() {
        let all = length(value);
        let most = object.iter().max_by_key(|(_, part)| length(part));
        let Some((key, part)) = most.filter(|(_, part)| 2 * length(part) > all) else {
            break;
        };
        keys.push(key.as_str());
        value = part;
    }
    keys.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(settings: serde_json::Value) -> Description {
        Description {
            fleet: Name::new("lab").unwrap(),
            run: u64::MAX,
            layout: Layout::vector(4),
            codec: Codec::default(),
            feedback: false,
            seed: 0,
            lease_seconds: 60.0,
            settings,
        }
    }

    #[test]
    fn a_description_that_is_too_long_is_found_with_the_part_that_makes_it_so() {
        let classes = vec!["a class of many"; 100_000];
        let settings = serde_json::json!({"model": {"classes": classes, "depth": 18}, "params": 3});
        let excess = description(settings).excess().unwrap();
        assert_eq!(excess.part, "settings.model.classes");
        assert!(excess.bytes > 18 * 100_000, "{excess:?}");
    }

    #[test]
    fn a_description_without_excess_is_one_that_devices_read() {
        let key = Key::generate();
        let name = Name::new("lab").unwrap();
        // To the byte: without its text, this is how long it is.
        let empty = length(&serde_json::to_value(description("".into())).unwrap());
        for (letters, fits) in [
            (MOST_DOWN_BODY - empty, true),
            (MOST_DOWN_BODY - empty + 1, false),
        ] {
            let description = description("x".repeat(letters).into());
            assert_eq!(description.excess().is_none(), fits);
            let opened = Down::open(&description.seal(&key), &name, &name, &key.public());
            assert_eq!(opened.is_ok(), fits, "{opened:?}");
        }
    }
}
