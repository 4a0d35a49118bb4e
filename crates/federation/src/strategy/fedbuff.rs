//! FedBuff: Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba, "Federated Learning with Buffered
//! Asynchronous Aggregation", AISTATS 2022, arXiv 2106.06639, algorithm 1.
//!
//! Every ready client gets a task at once. The changes `Δ_i = x_new - x_τ` that arrive are summed up, each
//! with the weight `s = (1 + t - τ)^(-a)` of its staleness (published `a` = 1/2), and with the `K`-th the server
//! takes a step along their sum over `K`:
//!
//! ```text
//! Δ_t = (1/K)·Σ s(t - τ_i)·Δ_i,      x_{t+1} = x_t + η_g·Δ_t
//! ```
//!
//! Divided by `K` and not by the weights, so a buffer of stale changes makes a shorter step. The step is that of
//! a [`ServerOptimizer`]: with [`ServerOptimizer::Fadas`] and `a` = 0 it is FADAS. What is in the buffer when a
//! run ends makes one last step.

use serde::{Deserialize, Serialize};

use super::{Combination, Privacy, ServerOptimizer};

/// What follows when enough changes are there: they are combined, and the server takes a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerStep {
    /// How many changes become one.
    pub combination: Combination,
    /// How one change becomes a step.
    pub optimizer: ServerOptimizer,
    /// Clipping and noise before either; with [`Combination::Mean`] alone.
    pub privacy: Option<Privacy>,
}

/// The server's constants of FedBuff.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FedBuff {
    /// `K`, the changes of a step; at least 1.
    pub size: usize,
    /// `a`; 0: staleness is not weighed.
    pub staleness_exponent: f64,
    /// Staler changes are refused.
    pub max_staleness: Option<u64>,
    /// What follows when the buffer is full.
    pub step: ServerStep,
}

impl Default for FedBuff {
    fn default() -> Self {
        Self {
            size: 4,
            staleness_exponent: 0.5,
            max_staleness: None,
            step: ServerStep::default(),
        }
    }
}

impl FedBuff {
    /// `s(staleness)`.
    pub fn weight(&self, staleness: u64) -> f64 {
        staleness_weight(staleness, self.staleness_exponent)
    }
}

/// `(1 + staleness)^(-exponent)`.
pub(super) fn staleness_weight(staleness: u64, exponent: f64) -> f64 {
    (1.0 + staleness as f64).powf(-exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_weight_is_one_over_the_root_of_one_more_than_the_staleness() {
        let fedbuff = FedBuff::default();
        assert_eq!(fedbuff.weight(0), 1.0);
        assert_eq!(fedbuff.weight(3), 0.5);
        assert_eq!(fedbuff.weight(8), 1.0 / 3.0);
    }
}
