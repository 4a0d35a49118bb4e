//! In which order a client's clips are trained on.

use fedact_clips::ClipSet;
use fedact_federation::aggregator::ClientId;
use fedact_federation::clock::derived_rng;
use fedact_federation::purpose;
use fedact_nets::data::{Loader, LoaderSettings, Remainder};
use fedact_nets::{ModelInfo, NetsError};
use rand::RngCore;

use crate::FederateParams;

/// The batches of a client, whose clips are at `indices`: their order depends on the seed and the client's number, their
/// random views on that and the clips' ids, so that a device of a fleet makes the same ones of the same clips.
///
/// # Errors
/// No clip; augmentation of classes that are not there.
pub fn batches_of<'a>(
    client: ClientId,
    clips: &'a ClipSet,
    indices: &'a [usize],
    params: &FederateParams,
    model: &ModelInfo,
) -> Result<Loader<'a>, NetsError> {
    let seed = derived_rng(params.seed, &[purpose::CLIENT_ORDER, client as u64]).next_u64();
    let settings = LoaderSettings {
        shuffle: true,
        remainder: Remainder::Keep,
        augmentation: Some(params.augmentation.clone()),
        seed,
        ..LoaderSettings::in_order(params.batch_size, model)
    };
    Loader::new(clips, indices, settings)
}
