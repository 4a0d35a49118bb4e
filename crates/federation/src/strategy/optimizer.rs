//! The server's optimizer: how a combined change becomes a step of the model.
//!
//! Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan, "Adaptive Federated Optimization", ICLR
//! 2021, arXiv 2003.00295, algorithm 2: the clients' mean change `Δ_t` is taken for a negative gradient,
//!
//! ```text
//! m_t = β₁·m_{t-1} + (1 - β₁)·Δ_t
//! v_t = β₂·v_{t-1} + (1 - β₂)·Δ_t²                            FedAdam
//! v_t = v_{t-1} - (1 - β₂)·Δ_t²·sign(v_{t-1} - Δ_t²)          FedYogi
//! x_{t+1} = x_t + η·m_t / (√v_t + τ)
//! ```
//!
//! from `m_{-1} = 0` and `v_{-1} = τ²`, without a correction for the first steps. Plain averaging is `η = 1`
//! without momentum; with `m_t = β·m_{t-1} + Δ_t` it is FedAvgM (Hsu, Qi, Brown 2019, arXiv 1909.06335).
//!
//! # Momentum and staleness
//!
//! Momentum carries the model on while changes are under way, so that they are of a place that it has left. Of a quadratic of
//! curvature `h`, where a client's change is `-γ·h·x`, steps `a = η·γ·h` with changes of the last version but one are stable
//! for `a/(1-β) < 1` whatever `β` is, and with fresh ones up to `2·(1+β)/(1-β)`: one version's delay takes away all that momentum
//! gives. What helps is to let clients begin where the momentum alone will have carried the model, `D` versions ahead: with `D` = 1 that
//! is Nesterov's momentum, and DANA (Hakimi, Barkai, Gabel, Schuster, "Taming Momentum in a Distributed Asynchronous Environment",
//! 2019, arXiv 1907.11612) does it for as many steps as workers are under way. With `x̂_t = x_t + η·(β + … + β^D)·m_t` for what is sent out,
//! `m_t = β·m_{t-1} + Δ_t` and `x_t = x_{t-1} + η·m_t`, the place sent out moves by
//!
//! ```text
//! x̂_t = x̂_{t-1} + η·(β^D·m_t + (1 - β^D)/(1 - β)·Δ_t)
//! ```
//!
//! so the server need not keep `x_t`: with `D` (`look_ahead`) above 0 the model is `x̂`. It is plain momentum with `D` = 0, and the
//! larger `D` is, the nearer it comes to steps without momentum and `1/(1-β)` as long. For β = 0.9 and a delay of one
//! version, `D` = 2 is stable up to `a/(1-β)` = 3.
//!
//! FADAS (Wang, Wang, Lu, Chen, "FADAS: Towards Federated Adaptive Asynchronous Optimization", ICML 2024,
//! arXiv 2407.18365) divides by the largest `v` so far, as AMSGrad does, and lowers the rate of a step whose
//! stalest change is older than a threshold `τ_c`:
//!
//! ```text
//! v̂_t = max(v̂_{t-1}, v_t),   η_t = η if τ_t ≤ τ_c, else min(η, 1/τ_t),   x_{t+1} = x_t + η_t·m_t / (√v̂_t + ε)
//! ```
//!
//! Where its `v` starts, the sources that were at hand do not say; here it is 0, as in AMSGrad.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which optimizer, with its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ServerOptimizer {
    /// `m = momentum·m + Δ`, `x = x + learning_rate·m`, looked ahead: plain averaging by default.
    Sgd {
        /// `η`; 1 takes the mean change as it is.
        #[serde(default = "one")]
        learning_rate: f64,
        /// `β`, at least 0 and below 1.
        #[serde(default)]
        momentum: f64,
        /// `D`, the versions that the model is ahead of where its momentum has carried it, 0 or more: about as many as an update is
        /// stale, and one. 1 is Nesterov's momentum.
        #[serde(default)]
        look_ahead: f64,
    },
    /// FedAdam.
    Adam(Moments),
    /// FedYogi: its second moment falls no faster than it rises.
    Yogi(Moments),
    /// FADAS: the largest second moment so far, and a rate that falls with the delay.
    Fadas {
        /// `η`.
        #[serde(default = "adaptive_rate")]
        learning_rate: f64,
        /// `β₁`, at least 0 and below 1.
        #[serde(default = "beta1")]
        beta1: f64,
        /// `β₂`, at least 0 and below 1.
        #[serde(default = "beta2")]
        beta2: f64,
        /// `ε`, above 0.
        #[serde(default = "adaptivity")]
        epsilon: f64,
        /// `τ_c`, the staleness up to which the rate is kept.
        #[serde(default = "delay_threshold")]
        delay_threshold: u64,
    },
}

/// The constants of FedAdam and FedYogi.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Moments {
    /// `η`.
    pub learning_rate: f64,
    /// `β₁`, at least 0 and below 1; published 0.9.
    pub beta1: f64,
    /// `β₂`, at least 0 and below 1; published 0.99.
    pub beta2: f64,
    /// `τ`, above 0: coordinates that change less than this are hardly scaled up; published 1e-3.
    pub tau: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            learning_rate: adaptive_rate(),
            beta1: beta1(),
            beta2: beta2(),
            tau: adaptivity(),
        }
    }
}

fn one() -> f64 {
    1.0
}

/// What the mean change of a client's task is per coordinate, in order of magnitude: `m / √v` is near 1.
fn adaptive_rate() -> f64 {
    0.003
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.99
}

fn adaptivity() -> f64 {
    1e-3
}

fn delay_threshold() -> u64 {
    10
}

impl Default for ServerOptimizer {
    fn default() -> Self {
        Self::Sgd {
            learning_rate: one(),
            momentum: 0.0,
            look_ahead: 0.0,
        }
    }
}

/// What an optimizer remembers from step to step: none, one, two or three rows as long as the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OptimizerMemory {
    /// `m`.
    pub first: Option<Arc<Vec<f32>>>,
    /// `v`.
    pub second: Option<Arc<Vec<f32>>>,
    /// `v̂`.
    pub largest: Option<Arc<Vec<f32>>>,
}

impl ServerOptimizer {
    /// `sgd`, `adam`, `yogi` or `fadas`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd { .. } => "sgd",
            Self::Adam(_) => "adam",
            Self::Yogi(_) => "yogi",
            Self::Fadas { .. } => "fadas",
        }
    }

    /// FADAS with the constants of its definition here.
    pub fn fadas() -> Self {
        Self::Fadas {
            learning_rate: adaptive_rate(),
            beta1: beta1(),
            beta2: beta2(),
            epsilon: adaptivity(),
            delay_threshold: delay_threshold(),
        }
    }

    /// `η_t` for a step whose stalest change has this staleness.
    pub fn learning_rate(self, max_staleness: u64) -> f64 {
        match self {
            Self::Sgd { learning_rate, .. } => learning_rate,
            Self::Adam(moments) | Self::Yogi(moments) => moments.learning_rate,
            Self::Fadas {
                learning_rate,
                delay_threshold,
                ..
            } if max_staleness > delay_threshold => learning_rate.min(1.0 / max_staleness as f64),
            Self::Fadas { learning_rate, .. } => learning_rate,
        }
    }

    /// Takes one step of `model` along `change`, both as long as the layout.
    ///
    /// # Panics
    /// If the rows differ in length.
    pub fn step(
        self,
        model: &mut [f32],
        change: &[f32],
        max_staleness: u64,
        memory: &mut OptimizerMemory,
    ) {
        assert_eq!(model.len(), change.len(), "a change of another length");
        let rate = self.learning_rate(max_staleness) as f32;
        match self {
            Self::Sgd { momentum: 0.0, .. } => {
                for (x, change) in model.iter_mut().zip(change) {
                    *x += rate * change;
                }
            }
            Self::Sgd {
                momentum,
                look_ahead,
                ..
            } => {
                let first = row(&mut memory.first, model.len(), 0.0);
                let kept = momentum.powf(look_ahead);
                let along_momentum = rate * kept as f32;
                let along_change = rate * ((1.0 - kept) / (1.0 - momentum)) as f32;
                let momentum = momentum as f32;
                for ((x, change), m) in model.iter_mut().zip(change).zip(first) {
                    *m = momentum * *m + change;
                    *x += along_momentum * *m + along_change * change;
                }
            }
            Self::Adam(moments) => {
                let kept = moments.beta2 as f32;
                moments.step(model, change, memory, |v, square| {
                    kept * v + (1.0 - kept) * square
                });
            }
            Self::Yogi(moments) => {
                let taken = 1.0 - moments.beta2 as f32;
                moments.step(model, change, memory, |v, square| {
                    let difference = v - square;
                    // `signum` of zero is one, and the sign of zero is none.
                    let sign = if difference == 0.0 {
                        0.0
                    } else {
                        difference.signum()
                    };
                    v - taken * square * sign
                });
            }
            Self::Fadas {
                beta1,
                beta2,
                epsilon,
                ..
            } => {
                let (beta1, beta2, epsilon) = (beta1 as f32, beta2 as f32, epsilon as f32);
                let length = model.len();
                let first = row(&mut memory.first, length, 0.0);
                let second = row(&mut memory.second, length, 0.0);
                let largest = row(&mut memory.largest, length, 0.0);
                let moments = first.iter_mut().zip(second).zip(largest);
                for ((x, change), ((m, v), most)) in model.iter_mut().zip(change).zip(moments) {
                    *m = beta1 * *m + (1.0 - beta1) * change;
                    *v = beta2 * *v + (1.0 - beta2) * change * change;
                    *most = most.max(*v);
                    *x += rate * *m / (most.sqrt() + epsilon);
                }
            }
        }
    }
}

impl Moments {
    fn step(
        self,
        model: &mut [f32],
        change: &[f32],
        memory: &mut OptimizerMemory,
        next_second: impl Fn(f32, f32) -> f32,
    ) {
        let (rate, beta1, tau) = (
            self.learning_rate as f32,
            self.beta1 as f32,
            self.tau as f32,
        );
        let length = model.len();
        let first = row(&mut memory.first, length, 0.0);
        let second = row(&mut memory.second, length, tau * tau);
        for ((x, change), (m, v)) in model
            .iter_mut()
            .zip(change)
            .zip(first.iter_mut().zip(second))
        {
            *m = beta1 * *m + (1.0 - beta1) * change;
            *v = next_second(*v, change * change);
            *x += rate * *m / (v.sqrt() + tau);
        }
    }
}

/// The row itself, made of `start` if there is none yet.
fn row(slot: &mut Option<Arc<Vec<f32>>>, length: usize, start: f32) -> &mut [f32] {
    let row = slot.get_or_insert_with(|| Arc::new(vec![start; length]));
    Arc::make_mut(row).as_mut_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One model of one number, from 1, along changes 0.5 and then -0.25.
    fn two_steps(optimizer: ServerOptimizer) -> [f64; 2] {
        let mut memory = OptimizerMemory::default();
        let mut model = [1.0_f32];
        optimizer.step(&mut model, &[0.5], 0, &mut memory);
        let first = f64::from(model[0]);
        optimizer.step(&mut model, &[-0.25], 0, &mut memory);
        [first, f64::from(model[0])]
    }

    fn close(actual: [f64; 2], expected: [f64; 2]) {
        for (actual, expected) in actual.iter().zip(expected) {
            assert!((actual - expected).abs() < 1e-6, "{actual} for {expected}");
        }
    }

    const MOMENTS: Moments = Moments {
        learning_rate: 0.1,
        beta1: 0.5,
        beta2: 0.75,
        tau: 0.1,
    };

    #[test]
    fn plain_steps_add_the_change_and_momentum_keeps_some_of_the_last() {
        close(two_steps(ServerOptimizer::default()), [1.5, 1.25]);
        // m = 0.5, x = 1 + 0.8·0.5 = 1.4; m = 0.5·0.5 - 0.25 = 0, x stays.
        let momentum = ServerOptimizer::Sgd {
            learning_rate: 0.8,
            momentum: 0.5,
            look_ahead: 0.0,
        };
        close(two_steps(momentum), [1.4, 1.4]);
    }

    #[test]
    fn a_model_looked_ahead_is_where_its_momentum_would_carry_it() {
        let ahead = |look_ahead| ServerOptimizer::Sgd {
            learning_rate: 0.8,
            momentum: 0.5,
            look_ahead,
        };
        // One version, Nesterov's: m = 0.5, x = 1.4, x̂ = 1.4 + 0.8·0.5·0.5 = 1.6; m = 0, x = x̂ = 1.4.
        close(two_steps(ahead(1.0)), [1.6, 1.4]);
        // Two: x̂ = 1.4 + 0.8·(0.5 + 0.25)·0.5 = 1.7.
        close(two_steps(ahead(2.0)), [1.7, 1.4]);
        // For ever: 1 + 0.8·0.5/(1 - 0.5) = 1.8, and without memory: 1.8 - 0.4.
        close(two_steps(ahead(1000.0)), [1.8, 1.4]);
    }

    #[test]
    fn looking_ahead_bears_delays_that_momentum_alone_does_not() {
        // f(x) = x²/2 with changes of the last version but one: a/(1-β) = 1.5 is unstable without, stable with.
        let ends_at = |look_ahead: f64| {
            let optimizer = ServerOptimizer::Sgd {
                learning_rate: 0.15,
                momentum: 0.9,
                look_ahead,
            };
            let (mut memory, mut model, mut last) =
                (OptimizerMemory::default(), [1.0_f32], 1.0_f32);
            for _ in 0..400 {
                let change = -last;
                last = model[0];
                optimizer.step(&mut model, &[change], 0, &mut memory);
            }
            model[0].abs()
        };
        let (alone, ahead) = (ends_at(0.0), ends_at(2.0));
        assert!(alone.is_nan() || alone > 1e3, "{alone}");
        assert!(ahead < 1e-3, "{ahead}");
    }

    #[test]
    fn adam_is_that_computed_by_hand() {
        // v₋₁ = 0.01. m = 0.25, v = 0.75·0.01 + 0.25·0.25 = 0.07, x = 1 + 0.1·0.25/(√0.07 + 0.1).
        // m = 0.125 - 0.125 = 0, so the second step is none.
        let first = 1.0 + 0.025 / (0.07_f64.sqrt() + 0.1);
        close(two_steps(ServerOptimizer::Adam(MOMENTS)), [first, first]);
    }

    #[test]
    fn yogi_moves_its_second_moment_by_its_sign() {
        // v = 0.01 - 0.25·0.25·sign(0.01 - 0.25) = 0.0725: m as with Adam, so again one step.
        let first = 1.0 + 0.025 / (0.0725_f64.sqrt() + 0.1);
        close(two_steps(ServerOptimizer::Yogi(MOMENTS)), [first, first]);
        // From there, Δ² = 0.0625 is below v, which falls by a quarter of it and no more.
        let mut memory = OptimizerMemory::default();
        let optimizer = ServerOptimizer::Yogi(MOMENTS);
        optimizer.step(&mut [1.0], &[0.5], 0, &mut memory);
        optimizer.step(&mut [1.0], &[-0.25], 0, &mut memory);
        let v = f64::from(memory.second.unwrap()[0]);
        assert!((v - (0.0725 - 0.25 * 0.0625)).abs() < 1e-7, "{v}");
    }

    #[test]
    fn fadas_keeps_the_largest_second_moment_and_slows_down_for_the_late() {
        let fadas = ServerOptimizer::Fadas {
            learning_rate: 0.5,
            beta1: 0.0,
            beta2: 0.5,
            epsilon: 0.1,
            delay_threshold: 3,
        };
        // v = 0.125 = v̂, x = 1 + 0.5·0.5/(√0.125 + 0.1). v = 0.0625 + 0.03125 < v̂, which stays.
        let scale = 0.125_f64.sqrt() + 0.1;
        let first = 1.0 + 0.25 / scale;
        close(two_steps(fadas), [first, first - 0.125 / scale]);
        assert_eq!(fadas.learning_rate(3), 0.5);
        assert_eq!(fadas.learning_rate(4), 0.25);
        let slow = ServerOptimizer::Fadas {
            learning_rate: 0.1,
            beta1: 0.0,
            beta2: 0.5,
            epsilon: 0.1,
            delay_threshold: 3,
        };
        assert_eq!(slow.learning_rate(4), 0.1, "1/4 is more than it has");
    }

    #[test]
    fn a_kind_without_constants_takes_the_published_ones() {
        let parse = |text| serde_json::from_str::<ServerOptimizer>(text);
        assert_eq!(
            parse(r#"{"kind": "sgd"}"#).unwrap(),
            ServerOptimizer::default()
        );
        assert_eq!(
            parse(r#"{"kind": "yogi"}"#).unwrap(),
            ServerOptimizer::Yogi(Moments::default())
        );
        assert_eq!(
            parse(r#"{"kind": "fadas"}"#).unwrap(),
            ServerOptimizer::fadas()
        );
        assert!(parse(r#"{"kind": "adam", "rate": 1}"#).is_err());
    }
}
