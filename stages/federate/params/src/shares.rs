//! Who holds which clips, in a simulation and in the demo of a fleet.

use fedact_clips::{ClipSet, Split};
use fedact_federation::partition::{Held, Share};

use crate::FederateParams;

impl FederateParams {
    /// The clips of the train split, spread over so many clients; fewer where there are not so many subjects.
    pub fn shares(&self, clips: &ClipSet, clients: usize) -> Vec<Share> {
        let held: Vec<Held<'_>> = clips
            .indices(Split::Train)
            .into_iter()
            .map(|index| Held {
                index,
                label: clips.label(index),
                subject: clips.group(index),
            })
            .collect();
        self.partition.spread(&held, clients, self.seed)
    }
}
