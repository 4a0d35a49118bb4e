//! By what improvements are told apart.

use tch::{Kind, Tensor, no_grad};

use super::super::noise::energy;
use super::super::{Execution, QuantizedModel, decibels};
use super::Examples;
use crate::NetsError;

/// What the judged clips say of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Verdict {
    /// Ratio of signal to noise of the logits, in dB, against the network before it was quantized.
    pub logits_snr_db: f64,
    /// The share of the clips that the float network gets right beyond those that the model does; negative where the model
    /// gets more.
    pub top1_lost: f64,
}

/// Clips, and what the float network makes of them.
pub(super) struct Judge<'a> {
    judged: &'a Examples,
    /// Its logits, a tensor a batch.
    float: Vec<Tensor>,
}

impl<'a> Judge<'a> {
    /// `reference` in float is what models are held against.
    pub fn new(reference: &QuantizedModel, judged: &'a Examples) -> Result<Self, NetsError> {
        if judged.clips.is_empty() {
            let message = "improvements are judged by clips, but there are none; give the training split more of them";
            return Err(NetsError::Data(message.to_owned()));
        }
        let clips = judged.clips.iter();
        let float = clips.map(|clips| no_grad(|| reference.logits(clips, Execution::Float)));
        let float = float.collect();
        Ok(Self { judged, float })
    }

    /// The verdict on a model, in simulated bytes.
    pub fn hear(&self, model: &QuantizedModel) -> Verdict {
        let (mut signal, mut noise) = (0.0, 0.0);
        let (mut lost, mut clips) = (0, 0);
        let batches = self.judged.clips.iter().zip(&self.judged.labels);
        for ((batch, labels), exact) in batches.zip(&self.float) {
            let rough = model.rounded_logits(batch);
            signal += energy(exact);
            noise += energy(&(exact - &rough));
            lost += right(exact, labels) - right(&rough, labels);
            clips += batch.size()[0];
        }
        Verdict {
            logits_snr_db: decibels(signal, noise),
            top1_lost: lost as f64 / clips as f64,
        }
    }
}

/// How many clips get their own class.
fn right(logits: &Tensor, labels: &Tensor) -> i64 {
    let same = logits.argmax(1, false).eq_tensor(labels);
    same.sum(Kind::Int64).int64_value(&[])
}
