//! FedAsync: Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", arXiv 1903.03934, 2019,
//! algorithm 1 and section 5.2.
//!
//! The server holds version `t` of the model. An update that a client trained from version `τ` makes
//!
//! ```text
//! x_t = (1 - α_t)·x_{t-1} + α_t·x_new,      α_t = α·s(t - τ)
//! ```
//!
//! with one of three functions `s` of the staleness `t - τ` ([`Mixing`]). The client's side of it, SGD
//! on `f(x; z) + (ρ/2)·‖x - x_τ‖²`, is where the model is: in the stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a stale update still counts: `s(staleness)`, in 0..=1, 1 for a fresh update (section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Mixing {
    /// `s = 1`: staleness is not weighed.
    Constant {},
    /// `s = (staleness + 1)^(-a)`.
    Polynomial {
        /// The exponent; published 0.5.
        #[serde(default = "polynomial_a")]
        a: f64,
    },
    /// `s = 1` up to a staleness of `b`, then `1 / (a·(staleness - b) + 1)`.
    Hinge {
        /// How steeply the weight falls beyond `b`; published 10.
        #[serde(default = "hinge_a")]
        a: f64,
        /// The staleness that is still taken as fresh; published 4. It must grow with the number
        /// of clients in flight.
        #[serde(default = "hinge_b")]
        b: f64,
    },
}

fn polynomial_a() -> f64 {
    0.5
}

fn hinge_a() -> f64 {
    10.0
}

fn hinge_b() -> f64 {
    4.0
}

impl Default for Mixing {
    fn default() -> Self {
        Self::Polynomial { a: polynomial_a() }
    }
}

impl Mixing {
    /// `constant`, `polynomial` or `hinge`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant {} => "constant",
            Self::Polynomial { .. } => "polynomial",
            Self::Hinge { .. } => "hinge",
        }
    }

    /// `s(staleness)`.
    pub fn weight(self, staleness: u64) -> f64 {
        let staleness = staleness as f64;
        match self {
            Self::Constant {} => 1.0,
            Self::Polynomial { a } => (staleness + 1.0).powf(-a),
            Self::Hinge { b, .. } if staleness <= b => 1.0,
            Self::Hinge { a, b } => 1.0 / (a * (staleness - b) + 1.0),
        }
    }
}

/// Lowers `α` once the run has made so many versions (the paper halves it at its 800th).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlphaDecay {
    /// What `α` is multiplied by at each of `at_versions`; 0 < factor <= 1.
    pub factor: f64,
    /// The versions at which it happens.
    pub at_versions: Vec<u64>,
}

impl Default for AlphaDecay {
    fn default() -> Self {
        Self {
            factor: 0.5,
            at_versions: Vec::new(),
        }
    }
}

/// The server's constants of FedAsync.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FedAsync {
    /// `α`, the weight of a fresh update, in 0..=1.
    pub alpha: f64,
    /// When `α` falls.
    pub alpha_decay: AlphaDecay,
    /// `s`.
    pub mixing: Mixing,
    /// Updates staler than this are refused: the paper's assumption of a maximal staleness `K`.
    pub max_staleness: Option<u64>,
}

impl FedAsync {
    /// `α_t` for an update that meets version `version` and was trained from `version - staleness`.
    pub fn weight(&self, version: u64, staleness: u64) -> f64 {
        let falls = self
            .alpha_decay
            .at_versions
            .iter()
            .filter(|at| version >= **at)
            .count();
        let alpha = self.alpha * self.alpha_decay.factor.powi(falls as i32);
        alpha * self.mixing.weight(staleness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::mix;

    fn fedasync(mixing: Mixing) -> FedAsync {
        FedAsync {
            alpha: 0.6,
            alpha_decay: AlphaDecay::default(),
            mixing,
            max_staleness: None,
        }
    }

    #[test]
    fn weights_are_those_computed_by_hand() {
        // Constant: 0.6 whatever the staleness. Polynomial, a = 0.5, staleness 3: 0.6 / sqrt(4) = 0.3.
        // Hinge, a = 10, b = 4: 0.6 up to 4; staleness 6: 0.6 / (10 x 2 + 1) = 0.6 / 21.
        let constant = fedasync(Mixing::Constant {});
        assert_eq!(constant.weight(9, 7), 0.6);
        let polynomial = fedasync(Mixing::Polynomial { a: 0.5 });
        assert!((polynomial.weight(9, 3) - 0.3).abs() < 1e-12);
        assert_eq!(polynomial.weight(9, 0), 0.6);
        let hinge = fedasync(Mixing::Hinge { a: 10.0, b: 4.0 });
        assert_eq!(hinge.weight(9, 4), 0.6);
        assert!((hinge.weight(9, 6) - 0.6 / 21.0).abs() < 1e-12);
    }

    #[test]
    fn two_updates_mix_to_the_model_computed_by_hand() {
        // x0 = (1, -2). Fresh update (3, 0) at α = 0.6: (0.4 + 1.8, -0.8 + 0) = (2.2, -0.8).
        // Then (1, 1) from version 0, staleness 1, polynomial a = 1: α = 0.6 / 2 = 0.3:
        // (0.7 x 2.2 + 0.3, 0.7 x -0.8 + 0.3) = (1.84, -0.26).
        let fedasync = fedasync(Mixing::Polynomial { a: 1.0 });
        let mut model = [1.0_f32, -2.0];
        mix(&mut model, &[3.0, 0.0], fedasync.weight(0, 0));
        mix(&mut model, &[1.0, 1.0], fedasync.weight(1, 1));
        assert!((model[0] - 1.84).abs() < 1e-6, "{model:?}");
        assert!((model[1] + 0.26).abs() < 1e-6, "{model:?}");
    }

    #[test]
    fn alpha_falls_at_its_versions() {
        let mut fedasync = fedasync(Mixing::Constant {});
        fedasync.alpha_decay.at_versions = vec![800, 1200];
        assert_eq!(fedasync.weight(799, 0), 0.6);
        assert_eq!(fedasync.weight(800, 0), 0.3);
        assert_eq!(fedasync.weight(1200, 0), 0.15);
    }

    #[test]
    fn a_kind_without_constants_takes_the_published_ones() {
        let parse = |text| serde_json::from_str::<Mixing>(text);
        assert_eq!(
            parse(r#"{"kind": "hinge"}"#).unwrap(),
            Mixing::Hinge { a: 10.0, b: 4.0 }
        );
        assert_eq!(
            parse(r#"{"kind": "polynomial"}"#).unwrap(),
            Mixing::Polynomial { a: 0.5 }
        );
        assert!(parse(r#"{"kind": "constant", "a": 1}"#).is_err());
    }
}
