//! From what activations were to how they shall be stored.

use tch::{Device, Kind, Tensor, no_grad};

use super::network::{Plain, Point, Visitor, layers_of, points};
use super::{
    Activation, CalibrationSettings, Execution, Method, NoiseMeter, Observer, Quantization,
    QuantizedModel, Tried,
};
use crate::NetsError;

impl QuantizedModel {
    /// Gives the activations new scales, from batches of normalised clips that run through the folded
    /// network in float.
    ///
    /// # Errors
    /// As [`from_float`](Self::from_float); the scales are unchanged then.
    pub fn recalibrate(
        &mut self,
        batches: impl IntoIterator<Item = Tensor>,
        settings: &CalibrationSettings,
    ) -> Result<(), NetsError> {
        let points = points(&layers_of(&self.info.architecture)?);
        let mut calibration = Calibration::new(points.len());
        let mut clips = 0;
        let mut kept = Vec::new();
        for batch in batches {
            self.info.check_batch(&batch)?;
            clips += batch.size()[0] as usize;
            let _ = no_grad(|| self.forward(&batch, Execution::Float, &mut calibration));
            if settings.method == Method::Auto {
                kept.push(batch);
            }
        }
        if clips == 0 {
            let message = "calibration needs at least one clip, but was given none";
            return Err(NetsError::Data(message.to_owned()));
        }
        let by = |settings: &CalibrationSettings| {
            Ok::<_, NetsError>(Quantization {
                method: settings.method,
                percentile: settings.percentile,
                tried: Vec::new(),
                improved: Vec::new(),
                calibration_clips: clips,
                activations: calibration.finish(&points, settings)?,
            })
        };
        if settings.method != Method::Auto {
            self.set_quantization(by(settings)?);
            return Ok(());
        }
        let choice = Method::CHOICE.into_iter().map(|method| {
            by(&CalibrationSettings {
                method,
                ..*settings
            })
        });
        let choice: Vec<Quantization> = choice.collect::<Result<_, _>>()?;
        self.choose(choice, &kept);
        Ok(())
    }

    /// Takes the quantization whose simulation leaves the logits of these clips the largest ratio of signal to noise; of
    /// equals the first.
    fn choose(&mut self, choice: Vec<Quantization>, batches: &[Tensor]) {
        let mut best: Option<(f64, Quantization)> = None;
        let mut tried = Vec::new();
        for quantization in choice {
            self.set_quantization(quantization.clone());
            let mut meter = NoiseMeter::new(self);
            for batch in batches {
                let _ = meter.compare((self, self), batch);
            }
            let logits_snr_db = meter.logits();
            tried.push(Tried {
                method: quantization.method,
                improved: Vec::new(),
                logits_snr_db,
                top1_lost: None,
            });
            if best.as_ref().is_none_or(|(most, _)| logits_snr_db > *most) {
                best = Some((logits_snr_db, quantization));
            }
        }
        if let Some((_, quantization)) = best {
            self.set_quantization(Quantization {
                tried,
                ..quantization
            });
        }
    }
}

/// Watches every point of a network that runs in float.
struct Calibration {
    observers: Vec<Observer>,
    /// The first point where a value was not finite.
    broken: Option<usize>,
    values: Vec<f32>,
}

impl Calibration {
    fn new(points: usize) -> Self {
        Self {
            observers: vec![Observer::default(); points],
            broken: None,
            values: Vec::new(),
        }
    }

    /// The activations in the order of the points.
    fn finish(
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
