//! An average of the server's last versions: Shamir, Zhang, "Stochastic Gradient Descent for Non-smooth Optimization:
//! Convergence Results and Optimal Averaging Schemes", ICML 2013, arXiv 1212.1824, section 4 (polynomial-decay averaging).
//!
//! Versions of a run whose steps do not become short jump about the place that they are near to; their mean does not. With
//! `x_1, x_2, …` the versions that are made, and `σ` the share of them that is to count most,
//!
//! ```text
//! a_1 = x_1,      a_t = a_{t-1} + (x_t - a_{t-1}) / (1 + σ·(t - 1))
//! ```
//!
//! which is the paper's with `η = 1/σ - 1`. `σ` = 1 is the mean of all versions. A smaller one forgets the first of them: a share
//! `1 - (1 - σ)^(1/σ)` of all weight, two thirds to three quarters where `σ` is a half or less, is that of the last `σ·t`. So it
//! is an average of the last part of the run wherever the run ends, and costs one row, and one pass over it with each version.
//!
//! What is tested and kept is `a_t`. Clients train from `x_t`, and the strategy knows nothing of it.

use serde::{Deserialize, Serialize};

/// The average that is tested and kept in the place of the last version.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// `σ`, the share of the versions so far that counts most; above 0 and at most 1.
    pub share: f64,
}

impl Average {
    /// What version `version`, at least 1, counts for in the average when it is made.
    pub fn weight(self, version: u64) -> f64 {
        1.0 / (1.0 + self.share * version.saturating_sub(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_share_is_the_mean_and_a_smaller_one_forgets() {
        let mean = Average { share: 1.0 };
        assert_eq!([1, 2, 4].map(|t| mean.weight(t)), [1.0, 0.5, 0.25]);
        let quarter = Average { share: 0.25 };
        // 1 / (1 + 0.25·4) and 1 / (1 + 0.25·12).
        assert_eq!([1, 5, 13].map(|t| quarter.weight(t)), [1.0, 0.5, 0.25]);
    }

    #[test]
    fn most_of_the_weight_is_that_of_the_last_share() {
        for share in [0.1, 0.25, 0.5] {
            let (average, versions) = (Average { share }, 4000_u64);
            let from = versions - (share * versions as f64) as u64;
            // What is left of the versions up to `from` when the last one has been made.
            let left: f64 = (from + 1..=versions)
                .map(|t| 1.0 - average.weight(t))
                .product();
            let expected = (1.0 - share).powf(1.0 / share);
            assert!((left - expected).abs() < 1e-3, "{share}: {left}");
            assert!((0.65..=0.75).contains(&(1.0 - left)), "{share}: {left}");
        }
    }
}
