//! The bound with every constant, and where each comes from.
//!
//! The published theorem hides its constants in `O(·)` and asks for a `ρ` with
//! `-(1 + 2ρ + ε)·V_2 + (ρ² - ρ/2)·‖x_{τ,h-1} - x_τ‖² ≥ 0` at every local step, which cannot hold at the first one, where the
//! distance is 0. (The condition is given as we remember it: the paper's text could not be laid beside it. Nothing here or in the code
//! depends on it.) So what follows is our own derivation, of the same shape (a term that falls with `T`, one of `α·K·H`, one of `γ` and
//! `H`, one of `K²`), from assumptions that a test can check. It is proved here and published nowhere else: read it as such.
//!
//! # Setting
//!
//! Version `t` is `x_t = (1-α_t)·x_{t-1} + α_t·x'`, where `x'` comes of `H` steps `x ← x - γ·(g + ρ·(x - x_τ))` from
//! `x_τ`, `τ = t-1-s_t`, and `g` is a stochastic gradient of `F` at `x`. Write `‖·‖` for the root of the mean of the square. Assumed:
//!
//! 1. `F` is L-smooth and at least `F*`. (Then it is weakly convex with μ ≤ L; more is not needed.)
//! 2. Every client's gradients are those of `F` on average: `E[g | x] = ∇F(x)`. Noise of different tasks is independent.
//! 3. `‖g‖ ≤ G` wherever the run goes, in the place of the published bounds on the mean squares of stochastic gradients.
//! 4. `γ·ρ ≤ 1`. Staleness and weights do not depend on the noise, as on the virtual clock they do not.
//! 5. `A = max_t α_t·s_t < 1`: no update pulls the model further back than it has come. It takes the place of the maximal
//!    staleness `K`, which it contains (`A ≤ α·K`, and `A < α` for polynomial mixing with `a ≥ 1`).
//!
//! # Derivation
//!
//! * A task moves by `d = -γ·Σ_h w_h·g_h` with `w_h = (1-γρ)^(H-h)`, so its first `h` steps by at most `γ·h·G`. Let `W(H)` be the
//!   sum of the `w_h`: `H` without a proximal term.
//! * `x_t - x_{t-1} = α_t·(d + x_τ - x_{t-1})`, and `x_τ` is `s_t` versions back: by induction
//!   `‖x_t - x_{t-1}‖ ≤ M = α_max·γ·H_max·G / (1-A)`, and `‖x_τ - x_{t-1}‖ ≤ s_t·M`.
//! * L-smoothness: `F(x_t) ≤ F(x_{t-1}) + ⟨∇F(x_{t-1}), x_t - x_{t-1}⟩ + L/2·‖x_t - x_{t-1}‖²`.
//! * Since the task's noise is independent of `x_{t-1}`, and `⟨a, b⟩ = (‖a‖² + ‖b‖² - ‖a-b‖²)/2`,
//!   `E⟨∇F(x_{t-1}), d⟩ ≤ -γ·W(H)/2·(‖∇F(x_{t-1})‖² - L²·(s_t·M + γ·(H-1)·G)²)`.
//! * Cauchy and Schwarz: `E⟨∇F(x_{t-1}), x_τ - x_{t-1}⟩ ≤ G·s_t·M`.
//!
//! Summed over `t` and divided by `Σ α_t·γ·W(H_t)/2`, which is at least `γ·W_min/2·Σ α_t`:
//!
//! ```text
//! min_{t<T} E‖∇F(x_t)‖² ≤ 2·(F(x_0) - F*) / (γ·W_min·Σ α_t)                      descent
//!                        + 2·A'·G·M / (γ·W_min)                                    pull
//!                        + L²·(K·M + γ·(H_max-1)·G)²                               drift
//!                        + L·α_max·(γ·H_max·G + K·M)² / (γ·W_min)                  curvature
//! ```
//!
//! with `A' = Σ α_t·s_t / Σ α_t`, the staleness that updates have on average, weighed as they are. `pull` is the published `α·K·H_max/H_min`,
//! `drift` its `γ·H_max³` (as `γ·L ≤ 1`) and, with `M` put in, its `K²`; `curvature` is what is left of order `α·γ`.

use serde::Serialize;

/// What is known of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Problem {
    /// `L`: gradients at two points differ by at most `L` times the points' distance.
    pub smoothness: f64,
    /// `G`: the root of the largest mean square of a stochastic gradient's norm.
    pub gradient: f64,
    /// `F(x_0) - F*`, or more.
    pub descent: f64,
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Schedule {
    /// `γ`, the clients' learning rate.
    pub learning_rate: f64,
    /// `ρ`, the weight of the proximal term.
    pub proximal: f64,
    /// `H_min`, the fewest local steps of an update.
    pub min_steps: u64,
    /// `H_max`, the most.
    pub max_steps: u64,
    /// `T`, the updates that were mixed in.
    pub versions: u64,
    /// `Σ α_t`.
    pub weight_sum: f64,
    /// `max α_t`.
    pub max_weight: f64,
    /// `K`, the largest staleness.
    pub max_staleness: u64,
    /// `Σ α_t·s_t`.
    pub pull_sum: f64,
    /// `A = max α_t·s_t`.
    pub max_pull: f64,
}

impl Schedule {
    /// A run with these constants before its first update.
    pub fn new(learning_rate: f64, proximal: f64) -> Self {
        Self {
            learning_rate,
            proximal,
            ..Self::default()
        }
    }

    /// Takes in an update: the weight and staleness it was mixed in with, and its local steps.
    pub fn add(&mut self, weight: f64, staleness: u64, steps: u64) {
        let pull = weight * staleness as f64;
        self.min_steps = match self.versions {
            0 => steps,
            _ => self.min_steps.min(steps),
        };
        self.max_steps = self.max_steps.max(steps);
        self.versions += 1;
        self.weight_sum += weight;
        self.max_weight = self.max_weight.max(weight);
        self.max_staleness = self.max_staleness.max(staleness);
        self.pull_sum += pull;
        self.max_pull = self.max_pull.max(pull);
    }

    /// `W(H)`: how much of `steps` gradients is left at the end of a task.
    fn steps_left(&self, steps: u64) -> f64 {
        let kept = 1.0 - self.learning_rate * self.proximal;
        if kept == 1.0 {
            return steps as f64;
        }
        (1.0 - kept.powf(steps as f64)) / (1.0 - kept)
    }
}

/// The terms of the bound; their sum is what `min E‖∇F‖²` stays below.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bound {
    /// What is left because the run is short.
    pub descent: f64,
    /// What stale updates pull back.
    pub pull: f64,
    /// What clients and stale updates learn at other points than the model's.
    pub drift: f64,
    /// What large steps lose where `F` bends.
    pub curvature: f64,
}

impl Bound {
    /// The bound.
    pub fn sum(&self) -> f64 {
        self.descent + self.pull + self.drift + self.curvature
    }
}

/// The bound on `min_{t<T} E‖∇F(x_t)‖²` for a run on a problem; none where its assumptions do not hold (`A ≥ 1`, `γρ > 1`) or
/// nothing was mixed in.
pub fn guarantee(problem: &Problem, schedule: &Schedule) -> Option<Bound> {
    let Problem {
        smoothness,
        gradient,
        descent,
    } = *problem;
    let gamma = schedule.learning_rate;
    let holds = gamma > 0.0
        && gamma * schedule.proximal <= 1.0
        && schedule.max_pull < 1.0
        && schedule.weight_sum > 0.0
        && schedule.min_steps > 0;
    if !holds {
        return None;
    }
    let most = schedule.max_steps as f64;
    let least_left = schedule.steps_left(schedule.min_steps);
    let staleness = schedule.max_staleness as f64;
    let task = gamma * most * gradient;
    let step = schedule.max_weight * task / (1.0 - schedule.max_pull);
    let away = staleness * step + gamma * (most - 1.0) * gradient;
    let mean_staleness = schedule.pull_sum / schedule.weight_sum;
    Some(Bound {
        descent: 2.0 * descent / (gamma * least_left * schedule.weight_sum),
        pull: 2.0 * mean_staleness * gradient * step / (gamma * least_left),
        drift: (smoothness * away).powi(2),
        curvature: smoothness * schedule.max_weight * (task + staleness * step).powi(2)
            / (gamma * least_left),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terms_are_those_computed_by_hand() {
        // γ 0.1, ρ 0, weights 0.25 and 0.1 with staleness 0 and 2, steps 2 and 4; L 2, G 3, F(x_0) - F* = 7.
        // Σα 0.35, Σαs 0.2, A 0.2; task 0.1·4·3 = 1.2; M = 0.25·1.2/0.8 = 0.375.
        let mut schedule = Schedule::new(0.1, 0.0);
        schedule.add(0.25, 0, 2);
        schedule.add(0.1, 2, 4);
        let problem = Problem {
            smoothness: 2.0,
            gradient: 3.0,
            descent: 7.0,
        };
        let bound = guarantee(&problem, &schedule).unwrap();
        // 14 / (0.1·2·0.35) = 200; 2·(0.2/0.35)·3·0.375/0.2 = 6.428571;
        // (2·(2·0.375 + 0.1·3·3))² = 3.3² = 10.89; 2·0.25·(1.2 + 0.75)²/0.2 = 9.50625.
        assert!((bound.descent - 200.0).abs() < 1e-9, "{bound:?}");
        assert!((bound.pull - 45.0 / 7.0).abs() < 1e-9, "{bound:?}");
        assert!((bound.drift - 10.89).abs() < 1e-9, "{bound:?}");
        assert!((bound.curvature - 9.50625).abs() < 1e-9, "{bound:?}");
    }

    #[test]
    fn a_proximal_term_leaves_less_of_the_first_steps() {
        // γρ = 0.5: weights 0.25, 0.5, 1 of three steps.
        let schedule = Schedule::new(0.1, 5.0);
        assert!((schedule.steps_left(3) - 1.75).abs() < 1e-12);
        assert_eq!(Schedule::new(0.1, 0.0).steps_left(3), 3.0);
    }

    #[test]
    fn where_its_assumptions_fail_nothing_is_promised() {
        let problem = Problem {
            smoothness: 1.0,
            gradient: 1.0,
            descent: 1.0,
        };
        assert_eq!(guarantee(&problem, &Schedule::new(0.1, 0.0)), None);
        let mut stale = Schedule::new(0.1, 0.0);
        stale.add(0.5, 2, 1);
        assert_eq!(guarantee(&problem, &stale), None);
        let mut stiff = Schedule::new(0.1, 11.0);
        stiff.add(0.5, 0, 1);
        assert_eq!(guarantee(&problem, &stiff), None);
    }
}
