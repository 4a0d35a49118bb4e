//! Differential privacy of the clients' data against whoever sees the models: each change is clipped to a norm
//! `C`, and Gaussian noise of standard deviation `σ·C` is added to their sum (McMahan, Ramage, Talwar, Zhang
//! 2018, arXiv 1710.06963, with the server's step of FedBuff or FedAvg behind it).
//!
//! What is spent follows from Rényi differential privacy: one release to which a client contributed `k` changes
//! has sensitivity `k·C`, so it is `(α, α·k²/(2σ²))`-RDP (Mironov 2017, arXiv 1702.07476, proposition 7);
//! releases add up (proposition 1); and `(α, ε)`-RDP is `(ε + ln(1/δ)/(α-1), δ)`-DP (proposition 3). With `S`
//! the sum of `k²` over the releases the best order is `α = 1 + √(2σ²·ln(1/δ)/S)`, which gives
//!
//! ```text
//! ε = S/(2σ²) + √(2·S·ln(1/δ))/σ
//! ```
//!
//! What is protected is all that one client has: two federations are neighbours if in one of them that
//! client's changes are zeros. The server itself is trusted: it sees changes before noise. `S` is that of the
//! client that took part most often, so fast devices decide. No amplification by sampling is claimed, for
//! secret sampling it is not: how long a round takes tells who was in it. Nor is time protected, nor is it
//! against somebody who knows the seed: the noise follows from it, as everything does in a run
//! that must be the same when it is done again.
//!
//! With few clients this is expensive. The noise on the mean of `K` changes is `σ·C/K` in every coordinate; eight
//! clients and a `σ` that gives an `ε` worth its name leave little to learn from.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::vector;

/// The mechanism's constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// `C`: longer changes are scaled down to this Euclidean norm; above 0.
    pub clip: f64,
    /// `σ`: the noise's standard deviation over `C`; above 0.
    pub noise: f64,
    /// `δ` for which `ε` is told; above 0 and below 1. Well below one over the number of clients.
    #[serde(default = "delta")]
    pub delta: f64,
}

fn delta() -> f64 {
    1e-5
}

/// What a run has spent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spent {
    /// `ε`.
    pub epsilon: f64,
    /// `δ`.
    pub delta: f64,
    /// `S`: the sum over all releases of the squared number of changes, of the client with the most.
    pub squared_contributions: u64,
}

impl Privacy {
    /// Scales a change down to the norm `C` if it is longer, and says whether it was.
    pub fn clip(self, change: &mut [f32]) -> bool {
        let norm = vector::norm(change);
        let long = norm > self.clip;
        if long {
            vector::scale(change, self.clip / norm);
        }
        long
    }

    /// Adds noise of standard deviation `σ·C` to every number of a sum of clipped changes.
    pub fn add_noise(self, sum: &mut [f32], rng: &mut impl Rng) {
        let deviation = self.noise * self.clip;
        for number in sum {
            let normal: f64 = StandardNormal.sample(rng);
            *number += (deviation * normal) as f32;
        }
    }

    /// `ε` for the client whose squared contributions come to `squared_contributions`.
    pub fn spent(self, squared_contributions: u64) -> Spent {
        let s = squared_contributions as f64;
        let logarithm = (1.0 / self.delta).ln();
        let epsilon = s / (2.0 * self.noise.powi(2)) + (2.0 * s * logarithm).sqrt() / self.noise;
        Spent {
            epsilon,
            delta: self.delta,
            squared_contributions,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const PRIVACY: Privacy = Privacy {
        clip: 5.0,
        noise: 2.0,
        delta: 1e-5,
    };

    #[test]
    fn epsilon_is_that_computed_by_hand_and_the_least_over_all_orders() {
        // S = 8: 8/8 + √(16·11.5129)/2 = 1 + 6.7861 = 7.7861.
        let epsilon = PRIVACY.spent(8).epsilon;
        assert!((epsilon - 7.7861).abs() < 1e-3, "{epsilon}");
        let at = |order: f64| order * 8.0 / 8.0 + 1e5_f64.ln() / (order - 1.0);
        let least = (1..100_000)
            .map(|step| at(1.0 + f64::from(step) * 1e-3))
            .fold(f64::INFINITY, f64::min);
        assert!((epsilon - least).abs() < 1e-5, "{epsilon} and {least}");
        assert_eq!(PRIVACY.spent(0).epsilon, 0.0);
    }

    #[test]
    fn long_changes_are_clipped_and_short_ones_are_not() {
        let mut long = [6.0_f32, 8.0];
        assert!(PRIVACY.clip(&mut long));
        assert_eq!(long, [3.0, 4.0]);
        let mut short = [3.0_f32, 4.0];
        assert!(!PRIVACY.clip(&mut short));
        assert_eq!(short, [3.0, 4.0]);
    }

    #[test]
    fn noise_has_the_deviation_that_it_should_and_follows_from_its_seed() {
        let noise = |seed| {
            let mut sum = vec![0.0_f32; 20_000];
            PRIVACY.add_noise(&mut sum, &mut ChaCha8Rng::seed_from_u64(seed));
            sum
        };
        let sample = noise(1);
        let deviation = vector::norm(&sample) / (sample.len() as f64).sqrt();
        // A chi distribution of 20,000 degrees: a standard error of half a percent.
        assert!((deviation / 10.0 - 1.0).abs() < 0.025, "{deviation}");
        assert_eq!(sample, noise(1));
        assert_ne!(sample, noise(2));
    }
}
