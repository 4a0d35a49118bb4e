//! Batch norm folded into the convolution before it.

use std::collections::BTreeMap;

use tch::{Kind, Tensor, no_grad};

use crate::networks::EPSILON;
use crate::{ConvLayout, NetsError};

/// Weight and bias of a convolution that computes what convolution and batch norm compute together
/// in use: `w' = w·γ/√(σ²+ε)` per output channel, `b' = β − μ·γ/√(σ²+ε)` (Jacob et al. 2018, arXiv
/// 1712.05877, section 3.2). Computed in 64 bits.
///
/// # Errors
/// Names the tensor that is missing or holds numbers that are not finite, as a negative variance
/// leads to.
pub(super) fn fold(
    tensors: &BTreeMap<String, Tensor>,
    layer: &ConvLayout,
) -> Result<(Tensor, Tensor), NetsError> {
    let name = layer.norm.as_deref().ok_or_else(|| {
        NetsError::Data(format!(
            "the convolution `{}` has no batch norm",
            layer.conv
        ))
    })?;
    let norm = |part: &str| wide(tensors, &format!("{name}.{part}"));
    no_grad(|| {
        let weight = wide(tensors, &format!("{}.weight", layer.conv))?;
        let factor = norm("weight")? / (norm("running_var")? + EPSILON).sqrt();
        let bias = norm("bias")? - norm("running_mean")? * &factor;
        let weight = weight * factor.reshape([-1, 1, 1, 1, 1]);
        let folded = [("weight", weight), ("bias", bias)].map(|(part, tensor)| {
            let tensor = tensor.to_kind(Kind::Float);
            let what = format!("{}.{part} with {name} folded in", layer.conv);
            finite(&tensor, &what).map(|()| tensor)
        });
        let [weight, bias] = folded;
        Ok((weight?, bias?))
    })
}

/// A tensor of the checkpoint in 64 bits, checked.
pub(super) fn wide(tensors: &BTreeMap<String, Tensor>, name: &str) -> Result<Tensor, NetsError> {
    let tensor = tensors
        .get(name)
        .ok_or_else(|| NetsError::Data(format!("the model has no `{name}`")))?;
    finite(tensor, name)?;
    Ok(tensor.detach().to_kind(Kind::Double))
}

/// Refuses a tensor with NaN or infinity.
pub(super) fn finite(tensor: &Tensor, name: &str) -> Result<(), NetsError> {
    let bad = no_grad(|| {
        tensor
            .isfinite()
            .logical_not()
            .sum(Kind::Int64)
            .int64_value(&[])
    });
    if bad == 0 {
        return Ok(());
    }
    Err(NetsError::Data(format!(
        "`{name}` holds {bad} of {} numbers that are NaN or infinite; the model is broken, train it \
         again",
        tensor.numel()
    )))
}
