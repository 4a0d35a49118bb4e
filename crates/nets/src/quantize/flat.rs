//! All trainable numbers as one flat slice, which is what a federation mixes.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use super::QuantizedModel;
use crate::NetsError;

/// Where a tensor stands in the flat slice: after those before it, row by row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterShape {
    /// As in `layer1.0.conv1.0.weight`.
    pub name: String,
    /// Length of each side.
    pub shape: Vec<usize>,
}

impl QuantizedModel {
    /// The trainable tensors in their fixed order, that of execution, each weight before its bias.
    pub fn parameter_shapes(&self) -> Vec<ParameterShape> {
        let shape = |name: String, tensor: &Tensor| ParameterShape {
            name,
            shape: tensor.size().iter().map(|side| *side as usize).collect(),
        };
        self.network
            .layers()
            .flat_map(|layer| {
                [
                    shape(format!("{}.weight", layer.name), &layer.weight),
                    shape(format!("{}.bias", layer.name), &layer.bias),
                ]
            })
            .collect()
    }

    /// The trainable tensors themselves, in the order of
    /// [`parameter_shapes`](Self::parameter_shapes); they share memory with the model.
    pub fn trainable(&self) -> Vec<Tensor> {
        self.network
            .layers()
            .flat_map(|layer| [layer.weight.shallow_clone(), layer.bias.shallow_clone()])
            .collect()
    }

    /// How many trainable numbers there are.
    pub fn parameter_count(&self) -> usize {
        self.trainable().iter().map(Tensor::numel).sum()
    }

    /// Copies every trainable number out.
    ///
    /// # Errors
    /// A slice of another length than [`parameter_count`](Self::parameter_count).
    pub fn copy_parameters_to(&self, flat: &mut [f32]) -> Result<(), NetsError> {
        self.check_length(flat.len())?;
        let mut rest = flat;
        for tensor in self.trainable() {
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(tensor.numel());
            let tensor = no_grad(|| tensor.detach().to_device(Device::Cpu).contiguous());
            tensor.f_copy_data(part, part.len())?;
            rest = tail;
        }
        Ok(())
    }

    /// Copies every trainable number in and refreshes the scales of the weights.
    ///
    /// # Errors
    /// A slice of another length than [`parameter_count`](Self::parameter_count).
    pub fn copy_parameters_from(&mut self, flat: &[f32]) -> Result<(), NetsError> {
        self.check_length(flat.len())?;
        let mut rest = flat;
        for mut tensor in self.trainable() {
            let (part, tail) = rest.split_at(tensor.numel());
            let values = Tensor::f_from_slice(part)?.to_kind(Kind::Float);
            no_grad(|| tensor.f_copy_(&values.reshape(tensor.size())))?;
            rest = tail;
        }
        self.refresh_scales();
        Ok(())
    }

    fn check_length(&self, length: usize) -> Result<(), NetsError> {
        let expected = self.parameter_count();
        if length == expected {
            return Ok(());
        }
        Err(NetsError::Mismatch(format!(
            "the model has {expected} parameters, but the slice has {length}"
        )))
    }
}
