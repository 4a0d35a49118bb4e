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
//!
//! # Uneven clients
//!
//! Published, every update counts as any other does. So a client counts in the model as often as it sends, and those that are
//! fast or have few clips send most. FedAvg's aim is another: with `n_i` clips in a task of client `i` of `N`, and `n = Σ n_i`, a
//! round moves the model along `Σ (n_i/n)·Δ_i`. [`UpdateWeights`] multiplies each change by a weight `w` that makes up for it:
//!
//! ```text
//! equal:   w = 1
//! clips:   w = min(K, n_i / (n/N))
//! share:   w = min(K, (n_i/n)·(c - c_i) / (n/N))
//! ```
//!
//! `c` counts the clips of all updates that have counted so far, this one included, and `c_i` is what it was when the client's
//! last one counted (0 before its first). The differences `c - c_i` of one client add up to all work, however often it sends: after
//! `c` clips the weights of client `i` have come to `(n_i/n)·c/(n/N)`, less what its next update will count for. So with every `n`
//! clips, the work of one of FedAvg's rounds, the buffers move the model by
//!
//! ```text
//! (N/K)·Σ (n_i/n)·Δ_i
//! ```
//!
//! in all: along FedAvg's mean, `N/K` of its steps far, whatever the speeds are, and nothing need be known or estimated of
//! them. With equal clips, where clients send in turn, every weight is 1. By `clips` that sum is `(N/K)·Σ p_i·Δ_i` with `p_i` the
//! client's part of the work that is done: clips are made up for, speed is not.
//!
//! A client that joins late, or was away, stands for the work since it came or since its last update. `w ≤ K` means that no update
//! moves the model further than its client went, and is where one that sends very seldom counts for less than its share. Staleness
//! is weighed beside it; with `a` = 0 the sums are exact. Robust rules count heads, and differential privacy bounds
//! what one update does, so under both `w` = 1.

use schemars::JsonSchema;
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

/// What a change in a buffer counts for, beside its staleness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpdateWeights {
    /// As much as any other, as published: a client counts as often as it sends.
    #[default]
    Equal,
    /// By the clips that it was trained on: a client counts by the work that it does.
    Clips,
    /// By its client's share of all clips, for all the work since the client's last change: a client counts as it does in
    /// FedAvg, however seldom it sends.
    Share,
}

/// Work in clips, as far as the weight of a change depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// `n_i`, of the client's task.
    pub own: u64,
    /// `n`, of a task of each client.
    pub all: u64,
    /// `N`.
    pub clients: usize,
    /// `c - c_i`, of all updates that counted since the client's last one; its own new one included.
    pub since: u64,
}

impl UpdateWeights {
    /// `equal`, `clips` or `share`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Clips => "clips",
            Self::Share => "share",
        }
    }

    /// `w`, in a buffer of so many changes.
    pub fn weight(self, work: &Work, size: usize) -> f64 {
        let all = work.all.max(1) as f64;
        let (share, mean) = (work.own as f64 / all, all / work.clients.max(1) as f64);
        let weight = match self {
            Self::Equal => return 1.0,
            Self::Clips => work.own as f64 / mean,
            Self::Share => share * work.since as f64 / mean,
        };
        weight.min(size as f64)
    }
}

/// The server's constants of FedBuff.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FedBuff {
    /// `K`, the changes of a step; at least 1.
    pub size: usize,
    /// `a`; 0: staleness is not weighed.
    pub staleness_exponent: f64,
    /// `w`.
    pub update_weights: UpdateWeights,
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
            update_weights: UpdateWeights::Equal,
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

    #[test]
    fn weights_make_up_for_clips_and_for_speed_as_computed_by_hand() {
        // Four clients of 40 clips together, 10 in the mean.
        let weight = |weights: UpdateWeights, own, since| {
            let work = Work {
                own,
                all: 40,
                clients: 4,
                since,
            };
            weights.weight(&work, 4)
        };
        assert_eq!(weight(UpdateWeights::Equal, 20, 70), 1.0);
        assert_eq!(weight(UpdateWeights::Clips, 20, 70), 2.0);
        assert_eq!(weight(UpdateWeights::Clips, 5, 70), 0.5);
        // Half of the clips, and 60 since the last time: (20/40)·60/10; a mean client after a round of all: 1.
        assert_eq!(weight(UpdateWeights::Share, 20, 60), 3.0);
        assert_eq!(weight(UpdateWeights::Share, 10, 40), 1.0);
        // (20/40)·100/10 = 5 is more than the buffer is divided by.
        assert_eq!(weight(UpdateWeights::Share, 20, 100), 4.0);
    }
}
