//! What is done about a network that loses too much in eight bits.
//!
//! | improvement | what it changes | what it costs |
//! | --- | --- | --- |
//! | `equalise` | scales of channels between convolutions; no function | two passes over the clips |
//! | `bias` | biases | two passes |
//! | `round` | which way a weight is rounded | some hundred small steps a layer |
//! | `tune` | weights, biases and ranges | a training |
//!
//! They are made in this order, each on top of those before it. `auto` tries one after the other, keeps what makes the network
//! better and stops when it is good enough; a list is done whole. Either way each is judged, on clips that
//! nothing was learned from where there are any, and never on the test split.
//!
//! All but `equalise` change numbers that the float network has as well. So an improved model goes with a
//! reference: the folded network in float whose logits it is to have.

mod bias;
mod equalise;
mod judge;
mod round;
#[cfg(test)]
mod tests;
mod tune;
mod walk;

use std::rc::Rc;

use fedact_recipe::{Choice, Enough, Improve, ImproveSettings, Improvement};
use tch::Tensor;

use super::{CalibrationSettings, Quantization, QuantizedModel, Tried};
use crate::{Classifier, NetsError};
use judge::{Judge, Verdict};
use tune::Lesson;
use walk::walk;

/// Clips with their labels, in batches.
#[derive(Debug, Default)]
pub struct Examples {
    /// Normalised, \[clips, 3, frames, height, width\].
    pub clips: Vec<Tensor>,
    /// \[clips\], i64.
    pub labels: Vec<Tensor>,
}

/// All that improving takes.
pub struct Improving<'a> {
    /// How ranges are found anew where activations change.
    pub calibration: &'a CalibrationSettings,
    /// What is done.
    pub settings: &'a ImproveSettings,
    /// What is learned from: the clips of the calibration.
    pub examples: &'a Examples,
    /// What is judged by; at least one clip.
    pub judged: &'a Examples,
    /// Whom `tune` listens to; `None`: the network itself in float.
    pub teacher: Option<&'a dyn Classifier>,
}

/// A model, and what it is to be.
#[derive(Debug)]
pub struct Improved {
    /// To be run in eight bits.
    pub model: QuantizedModel,
    /// To be run in float: the same function as the network that was quantized, in the model's own channels.
    pub reference: QuantizedModel,
}

/// Told of each improvement how much of it is done, of how much; an error ends it.
pub type Watch<'a> = &'a mut dyn FnMut(Improvement, u64, u64) -> Result<(), NetsError>;

impl QuantizedModel {
    /// Makes a freshly quantized model better, as the settings say.
    ///
    /// # Errors
    /// The watcher's. A network that equalised clips break, or a training that does: the message names the place.
    pub fn improve(self, improving: &Improving, watch: Watch) -> Result<Improved, NetsError> {
        let settings = improving.settings;
        if settings.improve.is_none() {
            return Ok(Improved {
                reference: self.twin()?,
                model: self,
            });
        }
        let judge = Judge::new(&self, improving.judged)?;
        let mut told = self.quantization().tried.clone();
        let mut best = Candidate {
            improved: Vec::new(),
            reference: Rc::new(self.twin()?),
            verdict: judge.hear(&self),
            model: self,
        };
        told.push(best.tried());
        for improvement in settings.improve.candidates() {
            if settings.improve == BY_RULE && best.verdict.is(&settings.enough) {
                break;
            }
            let next = best.with(improvement, improving, &judge, watch)?;
            told.push(next.tried());
            if settings.improve != BY_RULE || next.beats(&best) {
                best = next;
            }
        }
        let Candidate {
            improved,
            reference,
            mut model,
            ..
        } = best;
        let quantization = Quantization {
            tried: told,
            improved,
            ..model.quantization().clone()
        };
        model.set_quantization(quantization);
        let reference = Rc::try_unwrap(reference).or_else(|shared| shared.twin())?;
        Ok(Improved { model, reference })
    }
}

const BY_RULE: Improve = Improve::By(Choice::Auto);

/// A model with some improvements made.
struct Candidate {
    improved: Vec<Improvement>,
    reference: Rc<QuantizedModel>,
    model: QuantizedModel,
    verdict: Verdict,
}

impl Candidate {
    fn tried(&self) -> Tried {
        Tried {
            method: self.model.quantization().method,
            improved: self.improved.clone(),
            logits_snr_db: self.verdict.logits_snr_db,
            top1_lost: Some(self.verdict.top1_lost),
        }
    }

    /// This one with an improvement more.
    fn with(
        &self,
        improvement: Improvement,
        improving: &Improving,
        judge: &Judge,
        watch: Watch,
    ) -> Result<Self, NetsError> {
        let clips = &improving.examples.clips;
        let improved = [self.improved.as_slice(), &[improvement]].concat();
        let mut watch = |done, total| watch(improvement, done, total);
        let mut reference = Rc::clone(&self.reference);
        let model = match improvement {
            Improvement::Equalise => {
                let mut equal = self.reference.twin()?;
                watch(0, 2)?;
                equalise::equalise(&mut equal, clips);
                watch(1, 2)?;
                let calibration = CalibrationSettings {
                    method: equal.quantization().method,
                    ..*improving.calibration
                };
                equal.recalibrate(clips.iter().map(Tensor::shallow_clone), &calibration)?;
                watch(2, 2)?;
                let model = equal.twin()?;
                reference = Rc::new(equal);
                model
            }
            Improvement::Bias | Improvement::Round => {
                let settings = improving.settings;
                let model = self.reference.twin()?;
                let total = model.network.layers().count() as u64;
                let mut done = 0;
                walk((&self.reference, &model), clips, &mut |step| {
                    watch(done, total)?;
                    done += 1;
                    if improved.contains(&Improvement::Round) {
                        round::round(&step, &settings.round, settings.seed)?;
                    }
                    if improved.contains(&Improvement::Bias) {
                        bias::correct(&step);
                    }
                    Ok(())
                })?;
                watch(total, total)?;
                model
            }
            Improvement::Tune => {
                let mut model = self.model.twin()?;
                let teacher = improving.teacher;
                let lesson = Lesson::new(improving.examples, &self.reference, teacher)?;
                let settings = improving.settings;
                tune::tune(
                    &mut model,
                    &lesson,
                    &settings.tune,
                    settings.seed,
                    &mut watch,
                )?;
                model
            }
        };
        Ok(Self {
            verdict: judge.hear(&model),
            improved,
            reference,
            model,
        })
    }

    /// Whether this one is kept and the other is not. What has not been trained is told apart by the ratio of signal to noise
    /// alone, which is finer than shares of some dozen clips. Training may leave the float network's logits for better
    /// ones, so there the classes come first.
    fn beats(&self, other: &Self) -> bool {
        let (own, others) = (self.verdict, other.verdict);
        let cleaner = own.logits_snr_db > others.logits_snr_db;
        if self.improved.last() != Some(&Improvement::Tune) {
            return cleaner;
        }
        own.top1_lost < others.top1_lost || own.top1_lost == others.top1_lost && cleaner
    }
}

impl Verdict {
    fn is(self, enough: &Enough) -> bool {
        self.logits_snr_db >= enough.logits_snr_db && self.top1_lost <= enough.top1_lost
    }
}
