//! How the server turns the clients' models into the next version.

mod fedasync;
mod fedavg;

use serde::{Deserialize, Serialize};

pub use fedasync::{AlphaDecay, FedAsync, Mixing, mix};
pub use fedavg::{FedAvg, WeightedMean};

/// A strategy with its constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Strategy {
    /// Every update is mixed in on arrival, weighted down by its staleness.
    FedAsync(FedAsync),
    /// Rounds: the mean of all updates of a round, weighted by samples.
    FedAvg(FedAvg),
}
