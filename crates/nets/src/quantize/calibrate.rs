//! From what activations were to how they shall be stored.

use tch::{Device, Kind, Tensor};

use super::network::{Plain, Point, Visitor};
use super::{Activation, CalibrationSettings, Observer};
use crate::NetsError;

/// Watches every point of a network that runs in float.
pub(super) struct Calibration {
    observers: Vec<Observer>,
    /// The first point where a value was not finite.
    broken: Option<usize>,
    values: Vec<f32>,
}

impl Calibration {
    pub fn new(points: usize) -> Self {
        Self {
            observers: vec![Observer::default(); points],
            broken: None,
            values: Vec::new(),
        }
    }

    /// The activations in the order of the points.
    pub fn finish(
        &self,
        points: &[Point],
        settings: &CalibrationSettings,
    ) -> Result<Vec<Activation>, NetsError> {
        if let Some(point) = self.broken {
            return Err(NetsError::Data(format!(
                "calibration met values that are NaN or infinite in activation `{}`; the model is \
                 broken or the clips are not normalised as it wants them",
                points[point].name
            )));
        }
        let activations = self.observers.iter().zip(points);
        activations
            .map(|(observer, point)| {
                let affine = observer.affine(settings).ok_or_else(|| {
                    NetsError::Data(format!(
                        "activation `{}` was {} throughout calibration, so no scale can be given to \
                         it; calibrate on other or more clips, or train a model whose layers are \
                         alive",
                        point.name,
                        observer.maximum()
                    ))
                })?;
                Ok(Activation {
                    name: point.name.clone(),
                    affine,
                    minimum: observer.minimum(),
                    maximum: observer.maximum(),
                })
            })
            .collect()
    }
}

impl Visitor for Calibration {
    fn visit(&mut self, point: usize, value: Tensor, relu: bool) -> Tensor {
        let value = Plain.visit(point, value, relu);
        let flat = value
            .to_device(Device::Cpu)
            .to_kind(Kind::Float)
            .contiguous();
        self.values.resize(flat.numel(), 0.0);
        flat.copy_data(&mut self.values, flat.numel());
        if !self.observers[point].observe(&self.values) && self.broken.is_none() {
            self.broken = Some(point);
        }
        value
    }
}
