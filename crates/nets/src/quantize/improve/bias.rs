//! Bias correction: what rounding adds to the mean of a channel is taken off its bias.
//!
//! Nagel et al. 2019 (arXiv 1906.04721), section 4.2, in the form of appendix D, which measures the mean on clips instead of
//! deriving it from batch norm: `b_j ← b_j − E[(W̃x̃)_j − (Wx)_j]` (the expectation is their equation 1), where
//! `x̃` is what the layer reads once the layers before it have been rounded and corrected.

use tch::{Kind, Tensor, no_grad};

use super::walk::Step;

/// Corrects the biases of a layer, so that the mean of each output channel over clips and positions is that of the float network.
pub(super) fn correct(step: &Step) {
    no_grad(|| {
        let mut shift: Option<Tensor> = None;
        let mut count = 0;
        for (input, target) in step.inputs.iter().zip(step.targets) {
            let error = step.output(input) - target;
            count += error.numel() as i64 / error.size()[1];
            let sum = by_channel(&error).sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
            shift = Some(match shift {
                Some(before) => before + sum,
                None => sum,
            });
        }
        if let Some(shift) = shift {
            let mean = (shift / count as f64).to_kind(Kind::Float);
            let _ = step.layer.bias.shallow_clone().g_sub_(&mean);
        }
    });
}

/// \[clips, channels, ...\] as \[channels, all the rest\].
fn by_channel(tensor: &Tensor) -> Tensor {
    tensor.transpose(0, 1).flatten(1, -1)
}
