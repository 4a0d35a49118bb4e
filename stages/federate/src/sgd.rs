//! The clients' optimizer: SGD with momentum on `f(x; z) + (ρ/2)·‖x - x_t‖²`.
//!
//! Xie et al. 2019 (arXiv 1903.03934), algorithm 1, worker: the gradient of the regularised objective
//! is `∇f(x; z) + ρ·(x - x_t)`, with `x_t` the model that the task started from.

use tch::{Kind, Tensor, no_grad};

/// The constants of a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// `γ`.
    pub learning_rate: f64,
    /// Share of the last step's direction that is kept.
    pub momentum: f64,
    /// L2 penalty on tensors of two or more dimensions.
    pub weight_decay: f64,
    /// `ρ`.
    pub proximal_weight: f64,
    /// Largest norm of the gradient of `f`; 0: no limit.
    pub clip_gradient: f64,
}

impl Sgd {
    /// One step on `parameters`, whose gradients are there and are used up. `base` is `x_t`, `velocity`
    /// the direction so far, both tensor by tensor.
    pub fn step(&self, parameters: &mut [Tensor], base: &[Tensor], velocity: &mut [Tensor]) {
        no_grad(|| {
            let scale = self.scale(parameters);
            for ((parameter, base), velocity) in
                parameters.iter_mut().zip(base).zip(velocity.iter_mut())
            {
                let mut gradient = parameter.grad();
                if !gradient.defined() {
                    continue;
                }
                if scale < 1.0 {
                    let _ = gradient.g_mul_scalar_(scale);
                }
                if self.weight_decay > 0.0 && parameter.dim() > 1 {
                    gradient += parameter.detach() * self.weight_decay;
                }
                if self.proximal_weight > 0.0 {
                    gradient += (parameter.detach() - base) * self.proximal_weight;
                }
                let _ = velocity.g_mul_scalar_(self.momentum);
                let _ = velocity.g_add_(&gradient);
                *parameter -= &*velocity * self.learning_rate;
                parameter.zero_grad();
            }
        });
    }

    /// What gradients are multiplied by so that their norm keeps within the limit. A norm that is no
    /// number scales nothing: the server sees such an update for what it is.
    fn scale(&self, parameters: &[Tensor]) -> f64 {
        if self.clip_gradient <= 0.0 {
            return 1.0;
        }
        let squares: Vec<Tensor> = parameters
            .iter()
            .map(Tensor::grad)
            .filter(Tensor::defined)
            .map(|gradient| gradient.square().sum(Kind::Float))
            .collect();
        if squares.is_empty() {
            return 1.0;
        }
        let norm = Tensor::stack(&squares, 0)
            .sum(Kind::Double)
            .sqrt()
            .double_value(&[]);
        if norm > self.clip_gradient {
            self.clip_gradient / norm
        } else {
            1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Tensor};

    use super::*;

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        (0..tensor.numel() as i64)
            .map(|index| tensor.double_value(&[index]))
            .collect()
    }

    /// Two steps from (2, 0) on f(x) = Σ x²/2, whose gradient is x, with base (1, 1).
    fn two_steps(sgd: Sgd) -> Vec<f64> {
        let mut parameters = [Tensor::from_slice(&[2.0_f32, 0.0]).set_requires_grad(true)];
        let base = [Tensor::from_slice(&[1.0_f32, 1.0])];
        let mut velocity = [Tensor::zeros([2], (Kind::Float, Device::Cpu))];
        for _ in 0..2 {
            let loss = parameters[0].square().sum(Kind::Float) / 2.0;
            loss.backward();
            sgd.step(&mut parameters, &base, &mut velocity);
        }
        numbers(&parameters[0])
    }

    const PLAIN: Sgd = Sgd {
        learning_rate: 0.1,
        momentum: 0.0,
        weight_decay: 0.0,
        proximal_weight: 0.0,
        clip_gradient: 0.0,
    };

    fn close(actual: &[f64], expected: [f64; 2]) {
        for (actual, expected) in actual.iter().zip(expected) {
            assert!((actual - expected).abs() < 1e-6, "{actual} for {expected}");
        }
    }

    #[test]
    fn steps_are_those_computed_by_hand() {
        // 2 - 0.1·2 = 1.8; 1.8 - 0.18 = 1.62.
        close(&two_steps(PLAIN), [1.62, 0.0]);
        // Momentum 0.5: v = 2, x = 1.8; v = 1 + 1.8 = 2.8, x = 1.52.
        let momentum = Sgd {
            momentum: 0.5,
            ..PLAIN
        };
        close(&two_steps(momentum), [1.52, 0.0]);
    }

    #[test]
    fn the_proximal_term_pulls_towards_the_base() {
        // ρ = 0.5: g = (2, 0) + 0.5·((2, 0) - (1, 1)) = (2.5, -0.5), x = (1.75, 0.05);
        // g = (1.75, 0.05) + 0.5·(0.75, -0.95) = (2.125, -0.425), x = (1.5375, 0.0925).
        let proximal = Sgd {
            proximal_weight: 0.5,
            ..PLAIN
        };
        close(&two_steps(proximal), [1.5375, 0.0925]);
    }

    #[test]
    fn long_gradients_are_scaled_to_the_limit() {
        // The norm is 2, then 1.9; each step is 0.1·1 long.
        let clipped = Sgd {
            clip_gradient: 1.0,
            ..PLAIN
        };
        close(&two_steps(clipped), [1.8, 0.0]);
    }
}
