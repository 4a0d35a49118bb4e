//! How the server turns what the clients send into the next version.
//!
//! | Strategy | When a version is made | Memory beside the model |
//! | --- | --- | --- |
//! | [`FedAsync`] | with every update | none |
//! | [`FedAvg`] | with every round | one row, or the round's changes for a robust [`Combination`] |
//! | [`FedBuff`], FADAS | with every `K` changes | one row, or `K` changes |
//! | [`FedCompass`] | when a group has arrived | one row for every group under way |
//! | [`Cached`]: CA2FL, ACE | with every `M` changes | one row **for every client**, and two |
//!
//! A row is as long as the model. A [`ServerOptimizer`] adds up to three, an [`Average`] of the versions one.

mod average;
mod cached;
mod combination;
mod fedasync;
mod fedavg;
mod fedbuff;
mod fedcompass;
mod optimizer;
mod privacy;

use serde::{Deserialize, Serialize};

pub use average::Average;
pub use cached::{Cached, Calibration};
pub use combination::{Combination, Combined};
pub use fedasync::{AlphaDecay, FedAsync, Mixing};
pub use fedavg::FedAvg;
pub use fedbuff::{FedBuff, ServerStep, UpdateWeights, Work};
pub use fedcompass::{Allotment, FedCompass, GroupTimes};
pub use optimizer::{Moments, OptimizerMemory, ServerOptimizer};
pub use privacy::{Privacy, Spent};

/// A strategy with its constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Strategy {
    /// Every update is mixed in on arrival, weighted down by its staleness.
    FedAsync(FedAsync),
    /// Rounds: the mean of all changes of a round, weighted by samples.
    FedAvg(FedAvg),
    /// A step with every so many changes, whoever sent them.
    FedBuff(FedBuff),
    /// A step with every group of clients whose work was allotted so that they arrive together.
    FedCompass(FedCompass),
    /// A step along what all clients sent last.
    Cached(Cached),
}

impl Strategy {
    /// Whether an update must carry the trained parameters; all others are of changes since the base.
    pub fn takes_parameters(&self) -> bool {
        matches!(self, Self::FedAsync(_))
    }

    /// Updates staler than this are refused.
    pub fn max_staleness(&self) -> Option<u64> {
        match self {
            Self::FedAsync(fedasync) => fedasync.max_staleness,
            Self::FedAvg(_) => None,
            Self::FedBuff(fedbuff) => fedbuff.max_staleness,
            Self::FedCompass(compass) => compass.max_staleness,
            Self::Cached(cached) => cached.max_staleness,
        }
    }

    /// How changes become one.
    pub fn combination(&self) -> Combination {
        match self {
            Self::FedAvg(fedavg) => fedavg.step.combination,
            Self::FedBuff(fedbuff) => fedbuff.step.combination,
            Self::FedAsync(_) | Self::FedCompass(_) | Self::Cached(_) => Combination::Mean,
        }
    }

    /// Whether clients that were not there at the beginning can take part. With differential privacy the size of a round is fixed
    /// beforehand, and strategies that keep every client's last change divide by all clients from the first version on.
    pub fn admits_newcomers(&self) -> bool {
        self.privacy().is_none() && !matches!(self, Self::Cached(_))
    }

    /// How one change becomes a step.
    pub fn optimizer(&self) -> ServerOptimizer {
        match self {
            Self::FedAsync(_) => ServerOptimizer::default(),
            Self::FedAvg(fedavg) => fedavg.step.optimizer,
            Self::FedBuff(fedbuff) => fedbuff.step.optimizer,
            Self::FedCompass(compass) => compass.optimizer,
            Self::Cached(cached) => cached.optimizer,
        }
    }

    /// Clipping and noise, where asked for.
    pub fn privacy(&self) -> Option<Privacy> {
        match self {
            Self::FedAvg(fedavg) => fedavg.step.privacy,
            Self::FedBuff(fedbuff) => fedbuff.step.privacy,
            Self::FedAsync(_) | Self::FedCompass(_) | Self::Cached(_) => None,
        }
    }
}
