//! FedAvg: McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-Efficient Learning of Deep
//! Networks from Decentralized Data", arXiv 1602.05629, 2016, algorithm 1.
//!
//! A round sends the model to `m` clients, waits for them, and replaces the model by
//! `Σ (n_k / n)·x_k` over the clients `k` that answered, `n_k` being the samples of each and `n` their
//! sum; which is a step of length 1 along the same mean of their changes, and so it is computed, for the
//! step may be that of another [`ServerOptimizer`](super::ServerOptimizer) as well. With a proximal term in the clients' objective it is FedProx (Li et al., arXiv 1812.06127,
//! algorithm 2). Selecting more clients than are waited for is Bonawitz et al., arXiv 1902.01046,
//! section 9.

use serde::{Deserialize, Serialize};

use super::ServerStep;

/// The server's constants of FedAvg.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FedAvg {
    /// How many answers make a round; none: all clients'.
    pub clients_per_round: Option<usize>,
    /// How many more clients are asked than are waited for, as a share of `clients_per_round`.
    pub over_selection: f64,
    /// What follows when the answers are there.
    pub step: ServerStep,
}

impl FedAvg {
    /// How many clients a round asks, and how many answers close it, of `available`.
    pub fn round_size(&self, available: usize) -> (usize, usize) {
        let wanted = self
            .clients_per_round
            .unwrap_or(available)
            .clamp(1, available.max(1));
        let asked = (wanted as f64 * (1.0 + self.over_selection)).ceil() as usize;
        (asked.min(available), wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_asks_more_than_it_waits_for_but_never_more_than_there_are() {
        let all = FedAvg::default();
        assert_eq!(all.round_size(8), (8, 8));
        let some = FedAvg {
            clients_per_round: Some(10),
            over_selection: 0.3,
            ..FedAvg::default()
        };
        assert_eq!(some.round_size(100), (13, 10));
        assert_eq!(some.round_size(12), (12, 10));
        assert_eq!(some.round_size(5), (5, 5));
    }
}
