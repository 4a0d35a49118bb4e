//! Gradient descent on the variables of a store, with a state that can be saved.

mod kernel;
mod share;
mod variable;

use std::collections::BTreeMap;
use std::path::Path;

use fedact_recipe::{OptimizerSettings, Rule};
use tch::nn::VarStore;
use tch::{Kind, Tensor, no_grad};

use crate::{NetsError, weights};
use kernel::{AdamW, Sgd, Step};
use variable::Variable;

/// Gradient descent on the trainable variables of a store.
#[derive(Debug)]
pub struct Optimizer {
    settings: OptimizerSettings,
    variables: Vec<Variable>,
    steps: i64,
    /// What the next step multiplies gradients with, so that their norm keeps its limit.
    scale: f64,
}

impl Optimizer {
    /// For all variables of a store that want a gradient, in the order of their names. Weight decay
    /// falls on those of two and more dimensions: not on biases, not on batch norm.
    pub fn new(store: &VarStore, settings: OptimizerSettings, weight_decay: f64) -> Self {
        Self::with_leaves(store, store, settings, weight_decay)
    }

    /// The same where a network computes with `leaves`, the variables of the same names in another store: gradients
    /// are theirs, steps are taken in `store`, and leaves that do not share its memory get a copy after each.
    pub fn with_leaves(
        store: &VarStore,
        leaves: &VarStore,
        settings: OptimizerSettings,
        weight_decay: f64,
    ) -> Self {
        let mut leaves = weights::of(leaves);
        let variables = weights::of(store)
            .into_iter()
            .filter(|(_, tensor)| tensor.requires_grad())
            .map(|(name, tensor)| Variable {
                decay: if tensor.dim() >= 2 { weight_decay } else { 0.0 },
                leaf: leaves
                    .remove(&name)
                    .unwrap_or_else(|| tensor.shallow_clone()),
                name,
                tensor,
                gradient: None,
                first: None,
                second: None,
            })
            .collect();
        Self {
            settings,
            variables,
            steps: 0,
            scale: 1.0,
        }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps as u64
    }

    /// Computes the gradients of a loss (a scalar tensor). They replace those before and last until the next step: no
    /// memory is cleared for them, and nothing is added up.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn backward(&mut self, loss: &Tensor) -> Result<(), NetsError> {
        for variable in &mut self.variables {
            variable.gradient = None;
        }
        self.scale = 1.0;
        let leaves: Vec<&Tensor> = self.variables.iter().map(|one| &one.leaf).collect();
        let gradients = Tensor::f_run_backward(&[loss], &leaves, false, false)?;
        no_grad(|| {
            for (variable, gradient) in self.variables.iter_mut().zip(gradients) {
                variable.receive(gradient);
            }
        });
        Ok(())
    }

    /// Has the next step scale all gradients down so that their common Euclidean norm is at most `limit`
    /// (none where it is 0), and returns the norm before.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn clip_gradients(&mut self, limit: f64) -> Result<f64, NetsError> {
        let flat = self.variables.iter().all(Variable::flat);
        let norm = if flat && share::worthwhile(&self.variables) {
            share::sum_of_squares(&mut self.variables).sqrt()
        } else {
            self.norm_by_tensors()?
        };
        self.scale = if limit > 0.0 && norm > limit {
            limit / norm
        } else {
            1.0
        };
        Ok(norm)
    }

    fn norm_by_tensors(&self) -> Result<f64, NetsError> {
        no_grad(|| {
            let gradients = self
                .variables
                .iter()
                .filter_map(|one| one.gradient.as_ref());
            let norms: Vec<Tensor> = gradients
                .map(|gradient| gradient.to_kind(Kind::Float).norm())
                .collect();
            if norms.is_empty() {
                return Ok(0.0);
            }
            Ok(Tensor::f_stack(&norms, 0)?.norm().f_double_value(&[])?)
        })
    }

    /// Takes a step along the gradients and forgets them; variables without one stay where they are.
    pub fn step(&mut self, learning_rate: f64) {
        self.steps += 1;
        no_grad(|| {
            for variable in &mut self.variables {
                if variable.gradient.is_some() {
                    variable.remember(&self.settings);
                }
            }
            if self.variables.iter().all(Variable::flat) {
                let step = self.rule(learning_rate);
                share::advance(&mut self.variables, self.scale, step);
            } else {
                self.step_by_tensors(learning_rate);
            }
        });
        self.scale = 1.0;
        for variable in &mut self.variables {
            variable.gradient = None;
        }
    }

    fn step_by_tensors(&mut self, learning_rate: f64) {
        for variable in &mut self.variables {
            variable.step(&self.settings, self.scale, learning_rate, self.steps);
        }
    }

    /// The rule at the current step.
    fn rule(&self, learning_rate: f64) -> Step {
        let OptimizerSettings { beta1, beta2, .. } = self.settings;
        let corrections = [beta1, beta2].map(|beta| 1.0 - beta.powf(self.steps as f64));
        match self.settings.rule {
            Rule::Sgd => Step::Sgd(Sgd {
                learning_rate: learning_rate as f32,
                momentum: self.settings.momentum as f32,
                nesterov: self.settings.nesterov,
            }),
            Rule::AdamW => Step::AdamW(AdamW {
                share1: (1.0 - beta1) as f32,
                share2: (1.0 - beta2) as f32,
                root_correction: corrections[1].sqrt() as f32,
                step_size: (learning_rate / corrections[0]) as f32,
                epsilon: self.settings.epsilon as f32,
                learning_rate,
            }),
        }
    }

    /// Copies the variables to the leaves that do not share their memory: after the variables have been changed by
    /// anything but a step.
    pub fn refresh(&mut self) {
        for variable in &mut self.variables {
            variable.refresh();
        }
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
                        let mut own = variable.tensor.zeros_like();
                        own.copy_(tensor);
                        Ok(Some(own))
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

#[cfg(test)]
mod tests {
    use tch::Device;

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
        let loss = (matrix.sum(Kind::Float) + vector.sum(Kind::Float)) * 2.0;
        optimizer.backward(&loss).unwrap();
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
        optimizer.step(1.0);
        close(&matrix, 1.0 - 0.5f64.sqrt());
        close(&vector, 1.0 - 0.5f64.sqrt());
        // No limit, and a limit that is kept, change nothing.
        for limit in [0.0, 3.0] {
            let before = vector.double_value(&[0]);
            backward(&mut optimizer, &matrix, &vector);
            assert!((optimizer.clip_gradients(limit).unwrap() - 8f64.sqrt()).abs() < 1e-6);
            optimizer.step(1.0);
            close(&vector, before - 2.0);
        }
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
        optimizer.backward(&vector.sum(Kind::Float)).unwrap();
        optimizer.step(0.1);
        close(&matrix, 1.0);
        assert!(vector.double_value(&[0]) < 1.0);
    }

    /// Some matrices, among them one whose rows lie across its memory, and one of several parts.
    fn larger() -> (VarStore, Vec<Tensor>) {
        let store = VarStore::new(Device::Cpu);
        let shapes: [&[i64]; 4] = [&[7, 5], &[11], &[300, 1000], &[3, 4, 1, 2, 2]];
        let mut tensors = Vec::new();
        for (index, shape) in shapes.into_iter().enumerate() {
            let numbers = shape.iter().product::<i64>();
            let values = Tensor::arange(numbers, (Kind::Float, Device::Cpu)).sin();
            let name = format!("variable{index}");
            tensors.push(store.root().var_copy(&name, &values.reshape(shape)));
        }
        let turned = no_grad(|| tensors[0].transpose(0, 1).contiguous().transpose(0, 1));
        tensors[0].set_data(&turned);
        (store, tensors)
    }

    fn objective(tensors: &[Tensor]) -> Tensor {
        let terms = tensors.iter().map(|tensor| {
            let tensor = tensor.to_kind(Kind::Float);
            (tensor.square() * 3.0 + tensor.cos()).sum(Kind::Float)
        });
        terms.reduce(|sum, term| sum + term).unwrap()
    }

    #[test]
    fn the_kernel_takes_the_steps_of_libtorchs_operations() {
        let rules = [
            OptimizerSettings::default(),
            OptimizerSettings::plain(),
            OptimizerSettings {
                nesterov: false,
                ..OptimizerSettings::default()
            },
            OptimizerSettings {
                rule: Rule::AdamW,
                ..OptimizerSettings::default()
            },
        ];
        for settings in rules {
            let (fast_store, fast) = larger();
            let (slow_store, slow) = larger();
            let mut optimizers = [&fast_store, &slow_store]
                .map(|store| Optimizer::new(store, settings.clone(), 0.01));
            for _ in 0..4 {
                for (tensors, optimizer) in [&fast, &slow].into_iter().zip(&mut optimizers) {
                    optimizer.backward(&objective(tensors)).unwrap();
                    optimizer.scale = 0.3;
                }
                assert!(optimizers[0].variables.iter().all(Variable::flat));
                optimizers[0].step(0.01);
                optimizers[1].steps += 1;
                no_grad(|| {
                    let slow = &mut optimizers[1];
                    for variable in &mut slow.variables {
                        variable.remember(&slow.settings);
                    }
                    slow.step_by_tensors(0.01);
                });
            }
            for (fast, slow) in fast.iter().zip(&slow) {
                let same = match settings.rule {
                    Rule::Sgd => fast.equal(slow),
                    // libtorch's `lerp` rounds otherwise in the last bit.
                    Rule::AdamW => fast.allclose(slow, 1e-5, 1e-6, false),
                };
                assert!(same, "{settings:?}");
            }
        }
    }

    #[test]
    fn the_norm_is_the_one_of_libtorch_and_the_same_on_any_number_of_threads() {
        let (store, tensors) = larger();
        let mut optimizer = Optimizer::new(&store, OptimizerSettings::default(), 0.0);
        optimizer.backward(&objective(&tensors)).unwrap();
        let slow = optimizer.norm_by_tensors().unwrap();
        let threads = tch::get_num_threads();
        let mut norms = [1, 2, 3].map(|threads| {
            tch::set_num_threads(threads);
            optimizer.clip_gradients(0.0).unwrap()
        });
        tch::set_num_threads(threads);
        assert!((norms[0] / slow - 1.0).abs() < 1e-5, "{norms:?}, {slow}");
        norms.sort_by(f64::total_cmp);
        assert_eq!(norms[0].to_bits(), norms[2].to_bits());
    }

    #[test]
    fn a_copy_of_fewer_bits_follows_the_variables_which_keep_theirs() {
        let (store, tensors) = larger();
        let (leaves_store, mut leaves) = larger();
        for (leaf, tensor) in leaves.iter_mut().zip(&tensors).skip(1) {
            let data = no_grad(|| tensor.detach().to_kind(Kind::BFloat16));
            leaf.set_data(&data);
        }
        // One that shares the variable's memory.
        leaves[0].set_data(&tensors[0].detach());
        let settings = OptimizerSettings::default();
        let mut optimizer = Optimizer::with_leaves(&store, &leaves_store, settings, 0.01);
        for _ in 0..3 {
            optimizer.backward(&objective(&leaves)).unwrap();
            assert!(optimizer.variables.iter().all(Variable::flat));
            optimizer.step(1e-4);
        }
        assert!(leaves[0].equal(&tensors[0]));
        for (leaf, tensor) in leaves.iter().zip(&tensors).skip(1) {
            let rounded = tensor.to_kind(Kind::BFloat16);
            assert!(leaf.equal(&rounded));
            assert!(!rounded.to_kind(Kind::Float).equal(tensor));
        }
        let _ = no_grad(|| tensors[2].shallow_clone().fill_(1.5));
        optimizer.refresh();
        assert_eq!(leaves[2].to_kind(Kind::Float).double_value(&[0, 0]), 1.5);
    }
}
