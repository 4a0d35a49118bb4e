//! Gradient descent on the variables of a store, with a state that can be saved.

use std::collections::BTreeMap;
use std::path::Path;

use fedact_recipe::{OptimizerSettings, Rule};
use tch::nn::VarStore;
use tch::{Tensor, no_grad};

use crate::{NetsError, weights};

/// One trainable variable and what the rule remembers of it.
#[derive(Debug)]
struct Variable {
    name: String,
    tensor: Tensor,
    decay: f64,
    /// Momentum, or the running mean of gradients; undefined until the first step.
    first: Option<Tensor>,
    /// The running mean of squared gradients.
    second: Option<Tensor>,
}

/// Gradient descent on the trainable variables of a store.
#[derive(Debug)]
pub struct Optimizer {
    settings: OptimizerSettings,
    variables: Vec<Variable>,
    steps: i64,
}

impl Optimizer {
    /// For all variables of a store that want a gradient, in the order of their names. Weight decay
    /// falls on those of two and more dimensions: not on biases, not on batch norm.
    pub fn new(store: &VarStore, settings: OptimizerSettings, weight_decay: f64) -> Self {
        let variables = weights::of(store)
            .into_iter()
            .filter(|(_, tensor)| tensor.requires_grad())
            .map(|(name, tensor)| Variable {
                decay: if tensor.dim() >= 2 { weight_decay } else { 0.0 },
                name,
                tensor,
                first: None,
                second: None,
            })
            .collect();
        Self {
            settings,
            variables,
            steps: 0,
        }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps as u64
    }

    /// Forgets all gradients.
    pub fn zero_gradients(&mut self) {
        for variable in &mut self.variables {
            variable.tensor.zero_grad();
        }
    }

    /// Scales all gradients down so that their common Euclidean norm is at most `limit` (none where
    /// it is 0), and returns the norm before.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn clip_gradients(&mut self, limit: f64) -> Result<f64, NetsError> {
        no_grad(|| {
            let gradients: Vec<Tensor> = self
                .variables
                .iter()
                .map(|variable| variable.tensor.grad())
                .filter(Tensor::defined)
                .collect();
            if gradients.is_empty() {
                return Ok(0.0);
            }
            let norms: Vec<Tensor> = gradients.iter().map(Tensor::norm).collect();
            let norm = Tensor::f_stack(&norms, 0)?.norm().f_double_value(&[])?;
            if limit > 0.0 && norm > limit {
                for mut gradient in gradients {
                    let _ = gradient.g_mul_scalar_(limit / norm);
                }
            }
            Ok(norm)
        })
    }

    /// Takes a step along the gradients; variables without one stay where they are.
    pub fn step(&mut self, learning_rate: f64) {
        self.steps += 1;
        no_grad(|| {
            for variable in &mut self.variables {
                let gradient = variable.tensor.grad();
                if gradient.defined() {
                    match self.settings.rule {
                        Rule::Sgd => variable.sgd(&self.settings, gradient, learning_rate),
                        Rule::AdamW => {
                            variable.adamw(&self.settings, &gradient, learning_rate, self.steps);
                        }
                    }
                }
            }
        });
    }

    /// What the rule remembers, by name: to go on later as if nothing had happened.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::from([("steps".to_owned(), Tensor::from(self.steps))]);
        for variable in &self.variables {
            for (part, tensor) in [("first", &variable.first), ("second", &variable.second)] {
                if let Some(tensor) = tensor {
                    state.insert(format!("{part}.{}", variable.name), tensor.shallow_clone());
                }
            }
        }
        state
    }

    /// Takes over what [`state`](Self::state) gave. `path` is for the message only.
    ///
    /// # Errors
    /// Names what is missing or of another shape.
    pub fn set_state(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        path: &Path,
    ) -> Result<(), NetsError> {
        let refuse = |mismatch: String| NetsError::Weights {
            path: path.to_owned(),
            mismatch,
        };
        let steps = state
            .get("steps")
            .ok_or_else(|| refuse("missing: steps".to_owned()))?;
        self.steps = steps.f_int64_value(&[])?;
        for variable in &mut self.variables {
            let restore = |part: &str| {
                let name = format!("{part}.{}", variable.name);
                match state.get(&name) {
                    Some(tensor) if tensor.size() == variable.tensor.size() => {
                        let tensor = tensor.to_device(variable.tensor.device());
                        Ok(Some(tensor.copy()))
                    }
                    Some(_) => Err(refuse(format!("of another shape: {name}"))),
                    None => Ok(None),
                }
            };
            (variable.first, variable.second) = (restore("first")?, restore("second")?);
        }
        Ok(())
    }
}

impl Variable {
    fn sgd(&mut self, settings: &OptimizerSettings, gradient: Tensor, learning_rate: f64) {
        let gradient = if self.decay > 0.0 {
            gradient + &self.tensor * self.decay
        } else {
            gradient
        };
        let step = if settings.momentum > 0.0 {
            let momentum = match &mut self.first {
                Some(momentum) => {
                    let _ = momentum.g_mul_scalar_(settings.momentum).g_add_(&gradient);
                    momentum
                }
                empty => empty.insert(gradient.copy()),
            };
            if settings.nesterov {
                gradient + &*momentum * settings.momentum
            } else {
                momentum.shallow_clone()
            }
        } else {
            gradient
        };
        let _ = self.tensor.g_sub_(&(step * learning_rate));
    }

    fn adamw(
        &mut self,
        settings: &OptimizerSettings,
        gradient: &Tensor,
        learning_rate: f64,
        steps: i64,
    ) {
        let OptimizerSettings { beta1, beta2, .. } = *settings;
        let zeros = || gradient.zeros_like();
        let first = self.first.get_or_insert_with(zeros);
        let second = self.second.get_or_insert_with(zeros);
        if self.decay > 0.0 {
            let _ = self.tensor.g_mul_scalar_(1.0 - learning_rate * self.decay);
        }
        let _ = first.lerp_(gradient, 1.0 - beta1);
        let _ = second.lerp_(&gradient.square(), 1.0 - beta2);
        let steps = steps as f64;
        let (correct1, correct2) = (1.0 - beta1.powf(steps), 1.0 - beta2.powf(steps));
        let root = second.sqrt() / correct2.sqrt() + settings.epsilon;
        let step = &*first / root * (learning_rate / correct1);
        let _ = self.tensor.g_sub_(&step);
    }
}

/// The largest magnitude among all variables' gradients, for tests of convergence.
#[cfg(test)]
fn largest_gradient(optimizer: &Optimizer) -> f64 {
    optimizer
        .variables
        .iter()
        .map(|variable| variable.tensor.grad().abs().max().double_value(&[]))
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// A matrix (decayed) and a vector (not decayed), with given gradients.
    fn variables() -> (VarStore, Tensor, Tensor) {
        let store = VarStore::new(Device::Cpu);
        let matrix = store.root().ones("matrix", &[1, 1]);
        let vector = store.root().ones("vector", &[1]);
        (store, matrix, vector)
    }

    /// Gives both variables the gradient 2.
    fn backward(optimizer: &mut Optimizer, matrix: &Tensor, vector: &Tensor) {
        optimizer.zero_gradients();
        ((matrix.sum(Kind::Float) + vector.sum(Kind::Float)) * 2.0).backward();
    }

    fn close(tensor: &Tensor, expected: f64) {
        let found = tensor.sum(Kind::Double).double_value(&[]);
        assert!(
            (found - expected).abs() < 1e-6,
            "{found} instead of {expected}"
        );
    }

    #[test]
    fn nesterov_steps_are_those_computed_by_hand() {
        let (store, matrix, vector) = variables();
        let mut optimizer = Optimizer::new(&store, OptimizerSettings::default(), 0.5);
        backward(&mut optimizer, &matrix, &vector);
        optimizer.step(0.1);
        // Vector: momentum 2, step 2 + 0.9*2 = 3.8. Matrix: gradient 2 + 0.5, step 2.5 * 1.9.
        close(&vector, 1.0 - 0.38);
        close(&matrix, 1.0 - 0.475);
        backward(&mut optimizer, &matrix, &vector);
        optimizer.step(0.1);
        // Vector: momentum 0.9*2 + 2 = 3.8, step 2 + 0.9*3.8 = 5.42.
        close(&vector, 0.62 - 0.542);
    }

    #[test]
    fn adamw_steps_are_those_computed_by_hand() {
        let (store, matrix, vector) = variables();
        let settings = OptimizerSettings {
            rule: Rule::AdamW,
            ..OptimizerSettings::default()
        };
        let mut optimizer = Optimizer::new(&store, settings, 0.5);
        for step in 1..=3 {
            backward(&mut optimizer, &matrix, &vector);
            optimizer.step(0.1);
            // A constant gradient moves by the learning rate each step, whatever its size.
            close(&vector, 1.0 - 0.1 * f64::from(step));
        }
        // Decay: 1*0.95-0.1 = 0.85; 0.85*0.95-0.1 = 0.7075; 0.7075*0.95-0.1 = 0.572125.
        close(&matrix, 0.572_125);
    }

    #[test]
    fn clipping_bounds_the_norm_of_all_gradients_together() {
        let (store, matrix, vector) = variables();
        let mut optimizer = Optimizer::new(&store, OptimizerSettings::plain(), 0.0);
        backward(&mut optimizer, &matrix, &vector);
        let norm = optimizer.clip_gradients(1.0).unwrap();
        assert!((norm - 8f64.sqrt()).abs() < 1e-6);
        assert!((largest_gradient(&optimizer) - 0.5f64.sqrt()).abs() < 1e-6);
        assert!((optimizer.clip_gradients(0.0).unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_restored_state_goes_on_like_the_original() {
        for rule in [Rule::Sgd, Rule::AdamW] {
            let settings = OptimizerSettings {
                rule,
                ..OptimizerSettings::default()
            };
            let (store, matrix, vector) = variables();
            let mut first = Optimizer::new(&store, settings.clone(), 0.1);
            backward(&mut first, &matrix, &vector);
            first.step(0.1);
            let (other_store, other_matrix, other_vector) = variables();
            weights::assign(&other_store, &weights::of(&store), Path::new("a")).unwrap();
            let mut second = Optimizer::new(&other_store, settings, 0.1);
            second.set_state(&first.state(), Path::new("a")).unwrap();
            assert_eq!(second.steps(), 1);
            for _ in 0..3 {
                backward(&mut first, &matrix, &vector);
                first.step(0.1);
                backward(&mut second, &other_matrix, &other_vector);
                second.step(0.1);
            }
            assert!(
                matrix.equal(&other_matrix) && vector.equal(&other_vector),
                "{rule:?}"
            );
        }
    }

    #[test]
    fn variables_without_a_gradient_stay() {
        let (store, matrix, vector) = variables();
        let mut optimizer = Optimizer::new(&store, OptimizerSettings::default(), 0.5);
        vector.sum(Kind::Float).backward();
        optimizer.step(0.1);
        close(&matrix, 1.0);
        assert!(vector.double_value(&[0]) < 1.0);
    }
}
