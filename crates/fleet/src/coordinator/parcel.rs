//! What is published of a model: all of it, or what makes it of one that a device has. Read piece by piece.

use fedact_federation::message::{Codec, MessageError};

use super::held::Held;
use crate::difference::Place;
use crate::engine::Reading;
use crate::files::{Lasting, Pieces, Unfinished};
use crate::wire::{Assignment, CHUNK_BYTES};
use crate::{Digest, FleetError};

/// What lies in the stream of models, or is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parcel {
    pub version: u64,
    /// None: the whole version.
    pub base: Option<Digest>,
}

/// Why a parcel cannot be read.
pub(super) enum Unreadable {
    /// The base is not there any more, or not as long as it was: the whole model must do.
    Base,
    File(FleetError),
}

impl From<FleetError> for Unreadable {
    fn from(error: FleetError) -> Self {
        Self::File(error)
    }
}

impl From<MessageError> for Unreadable {
    fn from(error: MessageError) -> Self {
        Self::File(error.into())
    }
}

/// A parcel that is being read.
pub(super) struct Source<'run> {
    model: Digest,
    wanted: Reading,
    between: Option<Between<'run>>,
}

/// What there is beside the wanted model.
struct Between<'run> {
    codec: &'run Codec,
    seed: u64,
    place: Place,
    base: Digest,
    there: Pieces,
    held: &'run Held,
    /// What the device will have, if that is not the version itself.
    result: Option<Unfinished>,
}

impl<'run> Source<'run> {
    /// The whole model of a task.
    pub fn whole(open: &Assignment, wanted: Reading) -> Self {
        Self {
            model: open.model,
            wanted,
            between: None,
        }
    }

    /// What makes it of a base.
    pub fn between(
        whole: Self,
        (run, open): (u64, &Assignment),
        (base, held): (Digest, &'run Held),
        (codec, seed): (&'run Codec, u64),
    ) -> Result<Self, Unreadable> {
        let there = Pieces::open_if_there(&held.path(base))?.ok_or(Unreadable::Base)?;
        let result = match codec.is_exact() {
            true => None,
            false => Some(Unfinished::begin_hashed(&held.growing())?),
        };
        let place = Place {
            run,
            version: open.version,
            piece: 0,
        };
        let between = Some(Between {
            codec,
            seed,
            place,
            base,
            there,
            held,
            result,
        });
        Ok(Self { between, ..whole })
    }

    /// The next piece; none after the last one.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Unreadable> {
        let wanted = self.wanted.next(CHUNK_BYTES)?;
        let Some(between) = &mut self.between else {
            return Ok((!wanted.is_empty()).then_some(wanted));
        };
        let there = between.there.next(CHUNK_BYTES)?;
        if there.len() != wanted.len() {
            return Err(Unreadable::Base);
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let Between {
            codec, seed, base, ..
        } = *between;
        let made = between.place.make(codec, seed, base, &there, &wanted)?;
        between.place.piece += 1;
        if let Some(result) = &mut between.result {
            result.add(&made.result)?;
        }
        Ok(Some(made.message))
    }

    /// What a device has that took all pieces. A version that is not what it was is found now; of a base that is not the device finds out,
    /// which has something else then.
    pub fn finish(self) -> Result<Digest, FleetError> {
        self.wanted.check()?;
        let Some(between) = self.between else {
            return Ok(self.model);
        };
        let Some(result) = between.result else {
            return Ok(self.model);
        };
        let digest = result.digest();
        result.finish_as(between.held.path(digest), Lasting::Derived)?;
        Ok(digest)
    }
}
