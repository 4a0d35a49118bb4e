//! How small FedAsync makes the gradient: the published bound's terms, and one with every constant.
//!
//! * [`terms`]: the factors that a run decides, of the bound as published. For a network, whose constants nobody
//!   knows, it says which term dominates and what would lower it; [`explain`] puts that into words.
//! * [`guarantee`]: a bound with explicit constants for problems whose own are known. It is the one that tests hold runs of the
//!   real aggregator against.
//!
//! The published one (Xie, Koyejo, Gupta 2019, arXiv 1903.03934, theorem 2: `F` L-smooth and μ-weakly convex, `ρ > μ`, `γ < 1/L`,
//! staleness at most `K`, between `H_min` and `H_max` local steps):
//!
//! ```text
//! min_t E‖∇F(x_t)‖² ≤ E[F(x_0) - F(x_T)] / (α·γ·ε·T·H_min)
//!                    + O(γ·H_max³ + α·K·H_max) / (ε·H_min)
//!                    + O(α²·γ·K²·H_max² + γ·K²·H_max²) / (ε·H_min)
//! ```

mod explain;
mod guarantee;

use serde::Serialize;

pub use explain::explain;
pub use guarantee::{Bound, Problem, Schedule, guarantee};

/// What a run decides about the bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Observed {
    /// `α`, the weight of a fresh update.
    pub alpha: f64,
    /// `γ`, the clients' learning rate.
    pub learning_rate: f64,
    /// `T`, the versions made.
    pub versions: u64,
    /// `K`, the largest staleness that was seen.
    pub max_staleness: u64,
    /// `H_min`, the fewest local steps of a task.
    pub min_steps: u64,
    /// `H_max`, the most local steps of a task.
    pub max_steps: u64,
}

/// The factors of the three terms, with `ε` and all constants within `O(·)` taken as 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BoundTerms {
    /// `1 / (α·γ·T·H_min)`: how far the start is from the end; multiplies `E[F(x_0) - F(x_T)]`.
    pub descent: f64,
    /// `(γ·H_max³ + α·K·H_max) / H_min`: drift of the clients and of the mixing.
    pub drift: f64,
    /// `(α²·γ·K²·H_max² + γ·K²·H_max²) / H_min`: staleness.
    pub staleness: f64,
}

/// The factors for what was observed; none if nothing was learned.
pub fn terms(observed: &Observed) -> Option<BoundTerms> {
    let Observed {
        alpha,
        learning_rate: gamma,
        ..
    } = *observed;
    let t = observed.versions as f64;
    let k = observed.max_staleness as f64;
    let (min, max) = (observed.min_steps as f64, observed.max_steps as f64);
    if !(alpha > 0.0 && gamma > 0.0 && t > 0.0 && min > 0.0) {
        return None;
    }
    Some(BoundTerms {
        descent: 1.0 / (alpha * gamma * t * min),
        drift: (gamma * max.powi(3) + alpha * k * max) / min,
        staleness: (alpha.powi(2) + 1.0) * gamma * (k * max).powi(2) / min,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terms_are_those_computed_by_hand() {
        // α 0.5, γ 0.1, T 10, K 2, H from 2 to 4:
        // 1 / (0.5·0.1·10·2) = 1; (0.1·64 + 0.5·2·4) / 2 = 5.2; (0.25 + 1)·0.1·64 / 2 = 4.
        let observed = Observed {
            alpha: 0.5,
            learning_rate: 0.1,
            versions: 10,
            max_staleness: 2,
            min_steps: 2,
            max_steps: 4,
        };
        let terms = terms(&observed).unwrap();
        assert!((terms.descent - 1.0).abs() < 1e-12);
        assert!((terms.drift - 5.2).abs() < 1e-12);
        assert!((terms.staleness - 4.0).abs() < 1e-12);
        assert_eq!(
            super::terms(&Observed {
                versions: 0,
                ..observed
            }),
            None
        );
    }
}
