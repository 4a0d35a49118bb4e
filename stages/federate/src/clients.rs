//! Who holds which clips.

use fedact_clips::{ClipSet, Split};
use fedact_federation::partition::{Held, Share};

use crate::FederateParams;

/// The clips of the train split, spread over the clients.
pub fn shares(clips: &ClipSet, params: &FederateParams) -> Vec<Share> {
    let held: Vec<Held<'_>> = clips
        .indices(Split::Train)
        .into_iter()
        .map(|index| Held {
            index,
            label: clips.label(index),
            subject: clips.group(index),
        })
        .collect();
    params.partition.spread(&held, params.clients, params.seed)
}
