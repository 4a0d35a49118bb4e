//! A trainable variable, and what a rule remembers of it.

use fedact_recipe::{OptimizerSettings, Rule};
use tch::{Device, Kind, Tensor, no_grad};

/// One trainable variable and what the rule remembers of it.
#[derive(Debug)]
pub(super) struct Variable {
    pub name: String,
    /// What is learned, in 32 bits.
    pub tensor: Tensor,
    /// What the network computes with: the same tensor, one that shares its memory, or a copy of fewer bits.
    pub leaf: Tensor,
    pub decay: f64,
    /// Of the leaf, with the leaf's layout in memory; `None` where nothing came back to it.
    pub gradient: Option<Tensor>,
    /// Momentum, or the running mean of gradients; `None` until the first step.
    pub first: Option<Tensor>,
    /// The running mean of squared gradients.
    pub second: Option<Tensor>,
}

impl Variable {
    /// Whether the leaf must be told when the tensor changes.
    pub fn copied(&self) -> bool {
        self.leaf.data_ptr() != self.tensor.data_ptr()
    }

    /// Copies what is learned to what computes.
    pub fn refresh(&mut self) {
        if self.copied() {
            no_grad(|| self.leaf.copy_(&self.tensor));
        }
    }

    /// Makes room for what the rule remembers.
    pub fn remember(&mut self, settings: &OptimizerSettings) {
        let zeros = || self.tensor.zeros_like();
        if settings.rule == Rule::AdamW || settings.momentum > 0.0 {
            self.first.get_or_insert_with(zeros);
        }
        if settings.rule == Rule::AdamW {
            self.second.get_or_insert_with(zeros);
        }
    }

    /// Takes over a gradient, in the layout of the leaf.
    pub fn receive(&mut self, gradient: Tensor) {
        self.gradient = gradient.defined().then(|| {
            if same_layout(&gradient, &self.leaf) {
                return gradient;
            }
            let mut laid = self.leaf.empty_like();
            laid.copy_(&gradient);
            laid
        });
    }

    /// Whether all of it can be walked through as one stretch of memory, on this processor.
    pub fn flat(&self) -> bool {
        let plain = self.tensor.device() == Device::Cpu
            && self.tensor.kind() == Kind::Float
            && matches!(self.leaf.kind(), Kind::Float | Kind::BFloat16)
            && dense(&self.tensor);
        let others = [&self.gradient, &self.first, &self.second];
        plain
            && same_layout(&self.leaf, &self.tensor)
            && others
                .into_iter()
                .flatten()
                .all(|other| same_layout(other, &self.tensor))
    }

    /// A step with operations of libtorch: for devices whose memory is not ours, and what the kernel must agree with.
    pub fn step(
        &mut self,
        settings: &OptimizerSettings,
        scale: f64,
        learning_rate: f64,
        steps: i64,
    ) {
        let Some(gradient) = &self.gradient else {
            return;
        };
        let mut gradient = gradient.to_kind(Kind::Float);
        if scale != 1.0 {
            gradient *= scale;
        }
        match settings.rule {
            Rule::Sgd => self.sgd(settings, gradient, learning_rate),
            Rule::AdamW => self.adamw(settings, &gradient, learning_rate, steps),
        }
        self.refresh();
    }

    fn sgd(&mut self, settings: &OptimizerSettings, gradient: Tensor, learning_rate: f64) {
        let gradient = if self.decay > 0.0 {
            gradient + &self.tensor * self.decay
        } else {
            gradient
        };
        let step = match &mut self.first {
            Some(momentum) => {
                let _ = momentum.g_mul_scalar_(settings.momentum).g_add_(&gradient);
                if settings.nesterov {
                    gradient + &*momentum * settings.momentum
                } else {
                    momentum.shallow_clone()
                }
            }
            None => gradient,
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
        let (Some(first), Some(second)) = (&mut self.first, &mut self.second) else {
            return;
        };
        let OptimizerSettings { beta1, beta2, .. } = *settings;
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

/// Whether two tensors of one shape lie alike in memory.
fn same_layout(one: &Tensor, other: &Tensor) -> bool {
    let strides = one.stride().into_iter().zip(other.stride());
    let mut strides = one.size().into_iter().zip(strides);
    strides.all(|(size, (one, other))| size == 1 || one == other)
}

/// Whether a tensor fills one stretch of memory, in whatever order of its axes.
fn dense(tensor: &Tensor) -> bool {
    let mut axes: Vec<(i64, i64)> = tensor.stride().into_iter().zip(tensor.size()).collect();
    axes.retain(|(_, size)| *size != 1);
    axes.sort_unstable();
    let filled = axes.iter().try_fold(1, |filled, (stride, size)| {
        (*stride == filled).then_some(filled * size)
    });
    filled.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tensors_without_gaps_are_dense() {
        let grid = Tensor::zeros([4, 6, 1], (Kind::Float, Device::Cpu));
        assert!(dense(&grid) && dense(&grid.transpose(0, 1)));
        assert!(
            !dense(&grid.narrow(1, 0, 3)) && !dense(&grid.narrow(0, 0, 1).expand([3, 6, 1], false))
        );
        assert!(same_layout(&grid, &grid.zeros_like()));
        let turned = grid.permute([1, 0, 2]).contiguous().permute([1, 0, 2]);
        assert!(!same_layout(&grid, &turned));
    }
}
